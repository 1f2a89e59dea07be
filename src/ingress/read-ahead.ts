/** Reads a socket ahead of whoever is to have its bytes: they are held, up to a cap, until they have been judged. */
import type { Socket } from "node:net";
import type { Upstream } from "../egress/inflow.ts";
import { createHeldBytes } from "./held-bytes.ts";

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
 * Reads a client, which has sent `head` already. With `capBytes` held it is paused, so at most one chunk more is in
 * memory. Owns no socket: errors and closing are the caller's.
 */
export function readAhead(socket: Socket, head: Buffer, capBytes: number, guard: Guard): ReadAhead {
  const { ahead, hold, onEnd } = createReadAhead(socket, head, guard, () => {
    socket.removeListener("data", onData);
    socket.pause();
  });
  // Paused before anybody looks: who looks may hand the socket on, and the next owner reads.
  const onData = (chunk: Buffer): void => {
    if (ahead.held().length + chunk.length >= capBytes) socket.pause();
    hold(chunk, false);
  };
  socket.on("data", onData);
  socket.on("end", onEnd);
  socket.resume();
  return ahead;
}

/** Reads an upstream, of which nothing has been read. With `capBytes` held it is paused. */
export function readUpstreamAhead({ socket, inflow }: Upstream, capBytes: number, guard: Guard): ReadAhead {
  const { ahead, hold, onEnd } = createReadAhead(socket, Buffer.alloc(0), guard, () => socket.pause());
  inflow.give((chunk) => {
    if (ahead.held().length + chunk.length >= capBytes) socket.pause();
    hold(chunk, true);
    return "used";
  });
  socket.on("end", onEnd);
  inflow.resume();
  return ahead;
}

function createReadAhead(
  socket: Socket,
  head: Buffer,
  guard: Guard,
  stopReading: () => void,
): {
  readonly ahead: ReadAhead;
  readonly hold: (chunk: Buffer, isLent: boolean) => void;
  readonly onEnd: () => void;
} {
  const bytes = createHeldBytes(head);
  let ended = socket.readableEnded;
  let look: (() => void) | undefined;
  const progress = (): void => {
    if (look !== undefined) guard(look);
  };
  const onEnd = (): void => {
    ended = true;
    progress();
  };
  return {
    hold: (chunk, isLent) => {
      bytes.hold(chunk, isLent);
      progress();
    },
    onEnd,
    ahead: {
      held: bytes.view,
      ended: () => ended,
      take: bytes.take,
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
        socket.removeListener("end", onEnd);
        stopReading();
      },
    },
  };
}
