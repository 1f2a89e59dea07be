/** Closing so that the last words are heard: a reset would throw away an answer that the client has not read yet. */
import type { Socket } from "node:net";
import { disown } from "../egress/socket-owner.ts";

/** How long a refused client may take to notice. */
export const lingerMs = 2_000;
/** How much of what it still sends is read and thrown away; beyond that it is left to TCP to stop it. */
const lingerBytes = 256 * 1024;

/**
 * Sends `bytes`, ends our side, then reads and discards until the client ends its own, at most `lingerBytes` and
 * `lingerMs`, and destroys. Takes the socket over: nobody owns it any more, and listeners of the caller's own are off. `closed` is called once,
 * and never before this has returned.
 */
export function endAndLinger(socket: Socket, bytes: Uint8Array | undefined, closed: () => void): void {
  disown(socket);
  socket.on("error", () => socket.destroy());
  if (socket.destroyed) {
    queueMicrotask(closed);
    return;
  }
  let discarded = 0;
  const deadline = setTimeout(() => socket.destroy(), lingerMs);
  socket.once("close", () => {
    clearTimeout(deadline);
    closed();
  });
  socket.once("end", () => socket.destroySoon());
  socket.on("data", (chunk) => {
    discarded += chunk.length;
    if (discarded > lingerBytes) socket.pause();
  });
  if (bytes === undefined) socket.end();
  else socket.end(bytes);
  if (socket.readableEnded) socket.destroySoon();
  else socket.resume();
}
