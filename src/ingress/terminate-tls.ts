/**
 * TLS to the proxy itself: handshakes by Node, on sockets that were accepted and counted before. There is no callback
 * in it that a client could make throw (CVE-2026-21637): one certificate for all names, a fixed list of protocols.
 */
import type { Socket } from "node:net";
import { type TLSSocket, createServer } from "node:tls";
import type { ListenerTls } from "../config/settings.ts";
import { noteTransport } from "../egress/reset.ts";
import { type SubjectAttribute, parseSubject } from "../identity/subject.ts";

export type Secured = {
  readonly socket: Socket;
  /** Of the client's certificate, where the listener asks for one. */
  readonly subject: readonly SubjectAttribute[] | undefined;
};

/** Shakes hands on a socket, which has a listener for errors; calls `done` once it has worked, else closes it. */
export type TerminateTls = (socket: Socket, done: (secured: Secured) => void) => void;

/** `onProblem` is told of what should not have happened; a client that fails is none. */
export function createTlsTerminator(
  { cert, key, clientCa }: ListenerTls,
  handshakeTimeout: number,
  onProblem: (error: unknown) => void,
): TerminateTls {
  const waiting = new Map<string, { readonly raw: Socket; readonly done: (secured: Secured) => void }>();
  const server = createServer({
    cert,
    key,
    minVersion: "TLSv1.2",
    honorCipherOrder: true,
    ALPNProtocols: ["http/1.1"],
    handshakeTimeout,
    ...(clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
  });
  server.on("tlsClientError", (_, socket) => {
    socket.on("error", () => {});
    socket.destroy();
  });
  server.on("secureConnection", (socket) => {
    socket.on("error", () => {});
    try {
      onSecure(socket);
    } catch (error) {
      onProblem(error);
      socket.destroy();
    }
  });

  function onSecure(socket: TLSSocket): void {
    const found = waiting.get(pairOf(socket));
    if (found === undefined) {
      socket.destroy();
      return;
    }
    const { raw, done } = found;
    socket.allowHalfOpen = true;
    const subject = clientCa === undefined ? undefined : parseSubject(socket.getPeerX509Certificate()?.subject ?? "");
    noteTransport(socket, raw);
    done({ socket, subject });
  }

  return (raw, done) => {
    // Node does not say which socket a secure one was made of; no two at a time have the same ends.
    const pair = pairOf(raw);
    waiting.set(pair, { raw, done });
    raw.once("close", () => {
      if (waiting.get(pair)?.raw === raw) waiting.delete(pair);
    });
    // Who leaves during the handshake is not waited for: a socket that may be half open would not even say so.
    raw.allowHalfOpen = false;
    server.emit("connection", raw);
  };
}

function pairOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
