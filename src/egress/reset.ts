/** Ends a connection in such a way that its peer cannot take what it got for the whole. */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** What TLS sockets are made of: Node resets only the socket below, and throws where it is asked to reset them. */
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
  else resetNow(socket);
}

/** Closes a connection at once: by a reset where bytes for the peer are still here, for it would take the rest for all. */
export function cutSocket(socket: Socket): void {
  if (socket.destroyed || socket.writableLength === 0) socket.destroy();
  else resetNow(socket);
}

/**
 * Whether a socket that has just said `end` was reset; then `error` follows. Where a reset comes together with the last
 * bytes, libuv reads no further and says `end` (`uv__stream_io`, on POLLHUP after a part of a read): only who writes is
 * told. Not to be known of a socket whose own side has ended, nor inside TLS, nor while writes are pending.
 */
export function isReset(socket: Socket): boolean {
  if (!socket.destroyed && !socket.writableEnded && !(socket instanceof TLSSocket)) socket.write("");
  return socket.errored !== null;
}

function resetNow(socket: Socket): void {
  const transport = transports.get(socket) ?? socket;
  if (transport instanceof TLSSocket) socket.destroy();
  else transport.resetAndDestroy();
}
