/** Ends a connection in such a way that its peer cannot take what it got for the whole. */
import type { Socket } from "node:net";

/** What TLS sockets of clients are made of: Node resets only the socket below. */
const transports = new WeakMap<Socket, Socket>();

export function noteTransport(secured: Socket, transport: Socket): void {
  transports.set(secured, transport);
}

/**
 * Sends a reset, where there is something to break off: a socket whose FIN is on its way may finish, since the peer
 * gets all there is. (Node 20 could not reset it either: `resetAndDestroy` during a shutdown fails with EINVAL, and
 * then neither closes the handle nor says `close`.) A plain `destroy` sends a FIN, which claims that this was all.
 */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.writableEnded && !socket.writableFinished) socket.destroySoon();
  else (transports.get(socket) ?? socket).resetAndDestroy();
}
