/** Reads a socket ahead of whoever is to have its bytes: they are held, up to a cap, until they have been judged. */
import type { Socket } from "node:net";
import { type HeldBytes, createHeldBytes } from "./held-bytes.ts";

/** What a peer has sent ahead, whoever reads it. */
export type Ahead = {
  /** What has come and nobody has taken, in one piece. */
  readonly held: () => Buffer;
  /** True once the peer has said that no more will come. */
  readonly ended: () => boolean;
  /** Hands out the first `length` held bytes; they are held no longer. */
  readonly take: (length: number) => Buffer;
  /**
   * Calls `look` after every chunk and at the end; and soon, where there is something to look at by now. One watcher at
   * a time; `unwatch` ends it.
   */
  readonly watch: (look: () => void) => void;
  readonly unwatch: () => void;
};

/** Hands out all that is held. */
export function takeAll(ahead: Ahead): Buffer {
  return ahead.take(ahead.held().length);
}

export type ReadAhead = Ahead & {
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
  const fed = feedAhead(head, socket.readableEnded, guard);
  // Paused before anybody looks: who looks may hand the socket on, and the next owner reads.
  const onData = (chunk: Buffer): void => {
    if (fed.held().length + chunk.length >= capBytes) socket.pause();
    fed.feed(chunk);
  };
  const onEnd = (): void => fed.end();
  socket.on("data", onData);
  socket.on("end", onEnd);
  socket.resume();
  return {
    held: () => fed.held(),
    ended: () => fed.ended(),
    take: (length) => fed.take(length),
    watch: (look) => fed.watch(look),
    unwatch: () => fed.unwatch(),
    stop: () => {
      fed.unwatch();
      socket.removeListener("end", onEnd);
      socket.removeListener("data", onData);
      socket.pause();
    },
  };
}

/** Bytes ahead for an owner of a socket, who feeds it what he is told. */
export type FedAhead = Ahead & {
  readonly feed: (chunk: Buffer) => void;
  readonly end: () => void;
};

export function feedAhead(head: Buffer, ended: boolean, guard: Guard): FedAhead {
  return new Fed(head, ended, guard);
}

class Fed implements FedAhead {
  readonly #bytes: HeldBytes;
  readonly #guard: Guard;
  #ended: boolean;
  #look: (() => void) | undefined;

  constructor(head: Buffer, ended: boolean, guard: Guard) {
    this.#bytes = createHeldBytes(head);
    this.#ended = ended;
    this.#guard = guard;
  }

  held(): Buffer {
    return this.#bytes.view();
  }

  ended(): boolean {
    return this.#ended;
  }

  take(length: number): Buffer {
    return this.#bytes.take(length);
  }

  feed(chunk: Buffer): void {
    this.#bytes.hold(chunk);
    this.#progress();
  }

  end(): void {
    this.#ended = true;
    this.#progress();
  }

  watch(look: () => void): void {
    this.#look = look;
    if (this.#bytes.length() === 0 && !this.#ended) return;
    queueMicrotask(() => {
      if (this.#look === look) this.#progress();
    });
  }

  unwatch(): void {
    this.#look = undefined;
  }

  #progress(): void {
    if (this.#look !== undefined) this.#guard(this.#look);
  }
}
