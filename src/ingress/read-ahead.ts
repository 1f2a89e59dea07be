/** Reads a socket ahead of whoever is to have its bytes: they are held, up to a cap, until they have been judged. */
import type { Socket } from "node:net";

export type ReadAhead = {
  /** What has come and nobody has taken, in one piece. */
  readonly held: () => Buffer;
  /** True once the peer has said that no more will come. */
  readonly ended: () => boolean;
  /** Hands out the first `length` held bytes; they are held no longer. */
  readonly take: (length: number) => Buffer;
  /** Calls `look` soon, then after every chunk and at the end. One watcher at a time; `unwatch` ends it. */
  readonly watch: (look: () => void) => void;
  readonly unwatch: () => void;
  /** Stops reading and leaves the socket paused, to its next owner. What is held stays to be taken. */
  readonly stop: () => void;
};

/** Runs a step and answers for what it throws: an event has no caller who could. */
export type Guard = (step: () => void) => void;

/**
 * Reads `socket`, which has sent `head` already. With `capBytes` held it is paused, so at most one chunk more is in
 * memory. Owns no socket: errors and closing are the caller's.
 */
export function readAhead(socket: Socket, head: Buffer, capBytes: number, guard: Guard): ReadAhead {
  // Bytes `from` to `end` of `buffer` are held. It grows twofold, so that a peer which sends single bytes does not make
  // the work grow with their square; the first chunk is held where it lies. Nothing is ever moved to the front: what
  // was taken may still wait in a socket's queue.
  let buffer = head;
  let from = 0;
  let end = head.length;
  let ended = socket.readableEnded;
  let look: (() => void) | undefined;

  const held = (): Buffer => buffer.subarray(from, end);
  const grow = (needed: number): void => {
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * (end - from)));
    buffer.copy(larger, 0, from, end);
    end -= from;
    from = 0;
    buffer = larger;
  };
  const hold = (chunk: Buffer): void => {
    if (from === end) {
      buffer = chunk;
      from = 0;
      end = chunk.length;
      return;
    }
    if (end + chunk.length > buffer.length) grow(end - from + chunk.length);
    chunk.copy(buffer, end);
    end += chunk.length;
  };
  const progress = (): void => {
    if (look !== undefined) guard(look);
  };
  const onData = (chunk: Buffer): void => {
    hold(chunk);
    if (end - from >= capBytes) socket.pause();
    progress();
  };
  const onEnd = (): void => {
    ended = true;
    progress();
  };
  socket.on("data", onData);
  socket.on("end", onEnd);
  socket.resume();

  return {
    held,
    ended: () => ended,
    take: (length) => {
      const taken = buffer.subarray(from, Math.min(end, from + length));
      from += taken.length;
      return taken;
    },
    watch: (watcher) => {
      look = watcher;
      queueMicrotask(() => {
        if (look === watcher) progress();
      });
    },
    unwatch: () => {
      look = undefined;
    },
    stop: () => {
      look = undefined;
      socket.removeListener("data", onData);
      socket.removeListener("end", onEnd);
      socket.pause();
    },
  };
}
