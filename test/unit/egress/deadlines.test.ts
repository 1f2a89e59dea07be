import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Deadlines, createDeadlines } from "../../../src/egress/deadlines.ts";

/** One turn of the clock is 100 ms: nobody is told early, nor more than a turn late. */
const tick = 100;
const problems: unknown[] = [];
let deadlines: Deadlines;

beforeEach(() => {
  vi.useFakeTimers();
  problems.length = 0;
  deadlines = createDeadlines(
    () => performance.now(),
    (error) => problems.push(error),
  );
});
afterEach(() => {
  vi.useRealTimers();
});

function waiting(ms: number): {
  readonly expired: () => number;
  readonly move: (ms: number) => void;
  cancel: () => void;
} {
  let count = 0;
  const deadline = deadlines.after(ms, () => (count += 1));
  return { expired: () => count, move: (to) => deadline.move(to), cancel: () => deadline.cancel() };
}

describe("a deadline", () => {
  test.each([1, 99, 100, 101, 5_000, 51_200, 3_600_000])("of %d ms is not early, and not a tick late", (ms) => {
    const one = waiting(ms);
    vi.advanceTimersByTime(ms - 1);
    expect(one.expired()).toBe(0);
    vi.advanceTimersByTime(tick + 1);
    expect(one.expired()).toBe(1);
    vi.advanceTimersByTime(10 * ms);
    expect(one.expired()).toBe(1);
  });

  test("that is moved away again and again does not expire", () => {
    const one = waiting(1_000);
    for (let i = 0; i < 200; i++) {
      vi.advanceTimersByTime(900);
      one.move(1_000);
    }
    expect(one.expired()).toBe(0);
    vi.advanceTimersByTime(1_000 + tick);
    expect(one.expired()).toBe(1);
  });

  test("may be moved nearer", () => {
    const one = waiting(60_000);
    one.move(500);
    vi.advanceTimersByTime(500 + tick);
    expect(one.expired()).toBe(1);
  });

  test("that is cancelled does not expire, and cannot be moved", () => {
    const one = waiting(1_000);
    one.cancel();
    one.move(500);
    vi.advanceTimersByTime(10_000);
    expect(one.expired()).toBe(0);
  });

  test("that breaks harms no other", () => {
    deadlines.after(100, () => {
      throw new Error("broken");
    });
    const one = waiting(100);
    vi.advanceTimersByTime(200 + tick);
    expect([one.expired(), problems.length]).toEqual([1, 1]);
  });

  test("may be set while others expire", () => {
    let second = 0;
    deadlines.after(100, () => void deadlines.after(100, () => (second += 1)));
    vi.advanceTimersByTime(150);
    expect(second).toBe(0);
    vi.advanceTimersByTime(100 + tick);
    expect(second).toBe(1);
  });
});

test("the clock stands still where nobody waits", () => {
  const [one, two] = [waiting(1_000), waiting(2_000)];
  expect(vi.getTimerCount()).toBe(1);
  one.cancel();
  two.cancel();
  expect(vi.getTimerCount()).toBe(0);
  waiting(10);
  vi.advanceTimersByTime(10 + tick);
  expect(vi.getTimerCount()).toBe(0);
});
