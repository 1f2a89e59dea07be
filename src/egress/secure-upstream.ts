/** TLS to a parent proxy, over a socket that was dialled, and so admitted, before. */
import type { Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import type { Host } from "../names/hostname.ts";
import type { Sink, Upstream } from "./inflow.ts";
import { noteTransport } from "./reset.ts";

/** A secured socket is the receiver's: paused, half-open allowed, with an error listener that ignores. */
export type SecureResult =
  | { readonly kind: "secured"; readonly socket: Socket }
  /** `code` is Node's or OpenSSL's word for what is wrong. The socket has been destroyed. */
  | { readonly kind: "failed"; readonly code: string };

/**
 * Shakes hands as a client, and verifies the certificate against the authorities that Node trusts. `done` is told once,
 * never before this has returned, and not after `cancel`, which destroys the socket.
 */
export function secureSocket(
  raw: Socket,
  host: Host,
  timeoutMs: number,
  done: (result: SecureResult) => void,
): { readonly cancel: () => void } {
  let over = false;
  // For an address there is no SNI (RFC 6066 section 3); the certificate is compared with it all the same.
  const named = host.kind === "name" ? { servername: host.name, host: host.name } : { host: host.address.text };
  const socket = tlsConnect({ socket: raw, ...named, minVersion: "TLSv1.2", ALPNProtocols: ["http/1.1"] });
  noteTransport(socket, raw);
  socket.on("error", (error: NodeJS.ErrnoException) => fail(error.code ?? "TLS"));
  const deadline = setTimeout(() => fail("ETIMEDOUT"), timeoutMs);
  const onClose = (): void => fail("ECONNRESET");
  socket.on("close", onClose);
  socket.on("end", onClose);
  socket.once("secureConnect", () => {
    if (!stop()) return;
    socket.pause();
    done({ kind: "secured", socket });
  });
  return {
    cancel: () => {
      if (stop()) socket.destroy();
    },
  };

  function fail(code: string): void {
    if (!stop()) return;
    socket.destroy();
    done({ kind: "failed", code });
  }

  function stop(): boolean {
    if (over) return false;
    over = true;
    clearTimeout(deadline);
    socket.removeListener("close", onClose);
    socket.removeListener("end", onClose);
    return true;
  }
}

/** A paused stream as an upstream: its bytes are chunks of their own, and stay as they are. */
export function streamUpstream(socket: Socket): Upstream {
  let sink: Sink = () => "full";
  socket.on("data", (bytes: Buffer) => {
    if (sink(bytes) === "full") socket.pause();
  });
  return {
    socket,
    inflow: {
      give: (next) => {
        sink = next;
      },
      leave: () => {},
      pause: () => void socket.pause(),
      resume: () => void socket.resume(),
    },
  };
}
