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
  // A wheel: each slot holds what is looked at when the clock passes it. Who is due later, by a move or by a deadline
  // of more than one turn, goes to another slot then.
  const wheel: Chain<Waiting>[] = Array.from({ length: slots }, () => createChain());
  let count = 0;
  let at = 0;
  let clock: NodeJS.Timeout | undefined;

  const file = (waiting: Waiting): void => {
    const ticks = Math.min(slots - 1, Math.max(1, Math.ceil((waiting.dueAt - at * tickMs) / tickMs)));
    waiting.slot = (at + ticks) % slots;
    waiting.link = wheel[waiting.slot]?.add(waiting);
  };
  const unfile = (waiting: Waiting): void => {
    if (waiting.link !== undefined) wheel[waiting.slot]?.remove(waiting.link);
    waiting.link = undefined;
  };
  const remove = (waiting: Waiting): void => {
    unfile(waiting);
    count -= 1;
    if (count > 0) return;
    clearInterval(clock);
    clock = undefined;
  };
  const turn = (): void => {
    const until = Math.floor(now() / tickMs);
    // After a long pause every slot is looked at once, not once for every turn that was missed.
    at = Math.max(at, until - slots);
    while (at < until) {
      at += 1;
      const slot = wheel[at % slots];
      if (slot !== undefined && slot.size() > 0) slot.each(look);
    }
  };
  const look = (waiting: Waiting): void => {
    if (waiting.dueAt > now()) {
      unfile(waiting);
      file(waiting);
      return;
    }
    remove(waiting);
    try {
      waiting.expire();
    } catch (error) {
      onProblem(error);
    }
  };

  return {
    after: (ms, expire) => {
      if (clock === undefined) {
        at = Math.floor(now() / tickMs);
        clock = setInterval(turn, tickMs);
      }
      const waiting: Waiting = { dueAt: now() + ms, slot: 0, link: undefined, expire };
      count += 1;
      file(waiting);
      return {
        move: (newMs) => {
          if (waiting.link === undefined) return;
          const dueAt = now() + newMs;
          const isSooner = dueAt < waiting.dueAt;
          waiting.dueAt = dueAt;
          // Later is found out when the slot is passed.
          if (!isSooner) return;
          unfile(waiting);
          file(waiting);
        },
        cancel: () => {
          if (waiting.link !== undefined) remove(waiting);
        },
      };
    },
  };
}

type Waiting = { dueAt: number; slot: number; link: Link<Waiting> | undefined; readonly expire: () => void };
