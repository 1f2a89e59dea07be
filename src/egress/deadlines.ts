/**
 * Deadlines in bulk: one coarse clock for all sockets in place of a timer for each. To move a deadline is to write a
 * number, which is what a busy connection does with every chunk.
 */

import { type Chain, type Link, createChain } from "./chain.ts";

export type Deadline = {
  /** Moves it to `ms` from now. Does nothing once it has been cancelled or has expired. */
  readonly move: (ms: number) => void;
  readonly cancel: () => void;
};

export type Deadlines = {
  /** Calls `expire` once, at most one tick late, never early and never before `after` has returned. */
  readonly after: (ms: number, expire: () => void) => Deadline;
};

const tickMs = 100;
const slots = 512;

/** `now` never goes back. The clock ticks only while somebody waits. What `expire` throws, `onProblem` is told. */
export function createDeadlines(now: () => number, onProblem: (error: unknown) => void): Deadlines {
  return new Wheel(now, onProblem);
}

/**
 * Each slot holds what is looked at when the clock passes it. Who is due later, by a move or by a deadline of more than
 * one turn, goes to another slot then. (Classes, as in all that is made for each tunnel: a closure for each method of
 * each of them would cost more than what it does.)
 */
class Wheel implements Deadlines {
  readonly now: () => number;
  readonly #onProblem: (error: unknown) => void;
  readonly #slots: Chain<Waiting>[] = Array.from({ length: slots }, () => createChain());
  #count = 0;
  #at = 0;
  #clock: NodeJS.Timeout | undefined;

  constructor(now: () => number, onProblem: (error: unknown) => void) {
    this.now = now;
    this.#onProblem = onProblem;
  }

  after(ms: number, expire: () => void): Deadline {
    if (this.#clock === undefined) {
      this.#at = Math.floor(this.now() / tickMs);
      this.#clock = setInterval(() => this.#turn(), tickMs);
    }
    const waiting = new Waiting(this, this.now() + ms, expire);
    this.#count += 1;
    this.file(waiting);
    return waiting;
  }

  file(waiting: Waiting): void {
    const ticks = Math.min(slots - 1, Math.max(1, Math.ceil((waiting.dueAt - this.#at * tickMs) / tickMs)));
    waiting.slot = (this.#at + ticks) % slots;
    waiting.link = this.#slots[waiting.slot]?.add(waiting);
  }

  unfile(waiting: Waiting): void {
    if (waiting.link !== undefined) this.#slots[waiting.slot]?.remove(waiting.link);
    waiting.link = undefined;
  }

  remove(waiting: Waiting): void {
    this.unfile(waiting);
    this.#count -= 1;
    if (this.#count > 0) return;
    clearInterval(this.#clock);
    this.#clock = undefined;
  }

  #turn(): void {
    const until = Math.floor(this.now() / tickMs);
    // After a long pause every slot is looked at once, not once for every turn that was missed.
    this.#at = Math.max(this.#at, until - slots);
    while (this.#at < until) {
      this.#at += 1;
      const slot = this.#slots[this.#at % slots];
      if (slot !== undefined && slot.size() > 0) slot.each((waiting) => this.#look(waiting));
    }
  }

  #look(waiting: Waiting): void {
    if (waiting.dueAt > this.now()) {
      this.unfile(waiting);
      this.file(waiting);
      return;
    }
    this.remove(waiting);
    try {
      waiting.expire();
    } catch (error) {
      this.#onProblem(error);
    }
  }
}

class Waiting implements Deadline {
  readonly #wheel: Wheel;
  dueAt: number;
  slot = 0;
  /** Undefined once it is over. */
  link: Link<Waiting> | undefined = undefined;
  readonly expire: () => void;

  constructor(wheel: Wheel, dueAt: number, expire: () => void) {
    this.#wheel = wheel;
    this.dueAt = dueAt;
    this.expire = expire;
  }

  move(ms: number): void {
    if (this.link === undefined) return;
    const dueAt = this.#wheel.now() + ms;
    const isSooner = dueAt < this.dueAt;
    this.dueAt = dueAt;
    // Later is found out when the slot is passed.
    if (!isSooner) return;
    this.#wheel.unfile(this);
    this.#wheel.file(this);
  }

  cancel(): void {
    if (this.link !== undefined) this.#wheel.remove(this);
  }
}
