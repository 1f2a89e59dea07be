/** Reads the PROXY header off an accepted connection, before anybody else reads. */
import type { Socket } from "node:net";
import type { Deadlines } from "../egress/deadlines.ts";
import { type ProxyHeader, maxBlockBytes, parseProxyHeader } from "../wire/proxy-protocol.ts";

export type ProxyHeaderFinding =
  | ProxyHeader
  | { readonly kind: "malformed"; readonly detail: string }
  /** The peer left without a byte, as the health check of a load balancer does. */
  | { readonly kind: "nothing" };

/** The longest header is shorter; more than that is never held. */
const mostBytes = maxBlockBytes + 64;

/**
 * Calls `done` once, never before this has returned and not at all for a socket that is closed before. The socket is
 * then paused, and has what followed the header to be read. It has a listener for errors.
 */
export function readProxyHeader(
  socket: Socket,
  deadlines: Deadlines,
  timeoutMs: number,
  done: (finding: ProxyHeaderFinding) => void,
): void {
  let held = Buffer.alloc(0);
  const deadline = deadlines.after(timeoutMs, () => settle({ kind: "malformed", detail: "a header that is late" }));
  socket.on("data", onData);
  socket.on("end", onEnd);
  socket.on("close", leave);

  function onData(chunk: Buffer): void {
    held = Buffer.concat([held, chunk]);
    const reading = parseProxyHeader(held);
    if (reading.kind === "header") {
      leave();
      socket.pause();
      if (held.length > reading.length) socket.unshift(held.subarray(reading.length));
      done(reading);
    } else if (reading.kind === "malformed") settle(reading);
    else if (held.length > mostBytes) settle({ kind: "malformed", detail: "a header that is too long" });
  }

  function onEnd(): void {
    settle(held.length === 0 ? { kind: "nothing" } : { kind: "malformed", detail: "a header that breaks off" });
  }

  function settle(finding: ProxyHeaderFinding): void {
    leave();
    done(finding);
  }

  function leave(): void {
    deadline.cancel();
    socket.removeListener("data", onData);
    socket.removeListener("end", onEnd);
    socket.removeListener("close", leave);
  }
}
