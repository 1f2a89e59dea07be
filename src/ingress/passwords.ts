/** Compares passwords one after the other, in a thread that exists only once somebody has to be asked. */
import { Worker } from "node:worker_threads";
import type { Answer, Question } from "./bcrypt-thread.ts";

/** Undefined: so many wait already that it would take too long. Never rejects; what cannot be compared does not fit. */
export type ComparePassword = (password: string, hash: string) => Promise<boolean | undefined>;

export type Passwords = {
  readonly compare: ComparePassword;
  /** Ends the thread; what waits does not fit. */
  readonly close: () => void;
};

/** Of about 100 ms each: who comes later is better told to come again. */
const maxWaiting = 50;

export function createPasswords(onProblem: (error: unknown) => void): Passwords {
  const waiting = new Map<number, (fits: boolean) => void>();
  let thread: Worker | undefined;
  let count = 0;

  const giveUp = (dead: Worker): void => {
    if (thread !== dead) return;
    thread = undefined;
    for (const settle of waiting.values()) settle(false);
    waiting.clear();
  };
  const start = (): Worker => {
    // Beside this file, and compiled as it is.
    const started = new Worker(new URL(import.meta.url.replace(/passwords(\.[jt]s)$/, "bcrypt-thread$1")));
    started.unref();
    started.on("message", ({ id, fits }: Answer) => {
      waiting.get(id)?.(fits);
      waiting.delete(id);
    });
    started.on("error", (error) => {
      onProblem(error);
      giveUp(started);
    });
    started.on("exit", () => giveUp(started));
    return started;
  };

  return {
    compare: (password, hash) => {
      if (waiting.size >= maxWaiting) return Promise.resolve(undefined);
      thread ??= start();
      count += 1;
      const question: Question = { id: count, password, hash };
      const answer = new Promise<boolean>((fulfil) => waiting.set(question.id, fulfil));
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
      thread.postMessage(question);
      return answer;
    },
    close: () => {
      const ended = thread;
      if (ended === undefined) return;
      giveUp(ended);
      void ended.terminate();
    },
  };
}
