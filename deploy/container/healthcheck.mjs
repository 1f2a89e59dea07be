/// <reference types="node" />
// Exit 0 where the admin server says that the process lives, 1 where it does not within 2 s. Its address is that of
// SALLYPORT_ADMIN, else port 9180 of this machine; 0.0.0.0 and [::] are asked on loopback.
const { SALLYPORT_ADMIN: address = "127.0.0.1:9180" } = process.env;
const reachable = address.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
try {
  const { ok } = await fetch(`http://${reachable}/healthz`, { signal: AbortSignal.timeout(2000) });
  process.exit(ok ? 0 : 1);
} catch {
  process.exit(1);
}
