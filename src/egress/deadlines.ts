/**
 * Deadlines in bulk: one coarse clock for all sockets in place of a timer for each. To move a deadline is to write a
 * number, which is what a busy connection does with every chunk.
 */

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
  const wheel: Set<Waiting>[] = Array.from({ length: slots }, () => new Set());
  let count = 0;
  let at = 0;
  let clock: NodeJS.Timeout | undefined;

  const file = (waiting: Waiting): void => {
    const ticks = Math.min(slots - 1, Math.max(1, Math.ceil((waiting.dueAt - at * tickMs) / tickMs)));
    waiting.slot = (at + ticks) % slots;
    wheel[waiting.slot]?.add(waiting);
  };
  const remove = (waiting: Waiting): void => {
    wheel[waiting.slot]?.delete(waiting);
    waiting.slot = gone;
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
      if (slot === undefined || slot.size === 0) continue;
      for (const waiting of [...slot]) look(waiting, slot);
    }
  };
  const look = (waiting: Waiting, slot: Set<Waiting>): void => {
    if (!slot.has(waiting)) return;
    if (waiting.dueAt > now()) {
      slot.delete(waiting);
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
      const waiting: Waiting = { dueAt: now() + ms, slot: gone, expire };
      count += 1;
      file(waiting);
      return {
        move: (newMs) => {
          if (waiting.slot === gone) return;
          const dueAt = now() + newMs;
          const isSooner = dueAt < waiting.dueAt;
          waiting.dueAt = dueAt;
          // Later is found out when the slot is passed.
          if (!isSooner) return;
          wheel[waiting.slot]?.delete(waiting);
          file(waiting);
        },
        cancel: () => {
          if (waiting.slot !== gone) remove(waiting);
        },
      };
    },
  };
}

const gone = -1;

type Waiting = { dueAt: number; slot: number; readonly expire: () => void };
