/** Values that are sent together, and restarts that wait longer each time. */
import { describe, expect, test } from "vitest";
import { createBatches } from "../../../src/workers/batches.ts";
import { errorFacts, errorOf } from "../../../src/workers/messages.ts";
import { createRestartDelay } from "../../../src/workers/restart-delay.ts";

describe("a batch", () => {
  const sent: { items: readonly number[]; dropped: number }[] = [];
  const due: (() => void)[] = [];
  const batches = createBatches<number>({
    maxItems: 3,
    intervalMs: 100,
    send: (items, dropped) => sent.push({ items, dropped }),
    later: (run, afterMs) => {
      expect(afterMs).toBe(100);
      due.push(run);
    },
  });

  test("waits for others once, holds so many, and says how many did not fit", () => {
    for (let i = 1; i <= 5; i++) batches.add(i);
    expect([sent, due.length]).toEqual([[], 1]);
    due.shift()?.();
    expect(sent.splice(0)).toEqual([{ items: [1, 2, 3], dropped: 2 }]);
    batches.add(6);
    due.shift()?.();
    expect(sent.splice(0)).toEqual([{ items: [6], dropped: 0 }]);
  });

  test("can be sent at once, and is then not sent again", () => {
    batches.add(7);
    batches.flush();
    due.shift()?.();
    expect(sent).toEqual([{ items: [7], dropped: 0 }]);
  });
});

describe("a restart", () => {
  test("is at once after a long life, and waits ever longer after short ones, half a minute at most", () => {
    const { after } = createRestartDelay();
    expect(after(10_000)).toBe(0);
    const delays = Array.from({ length: 40 }, () => after(50));
    expect(delays.slice(0, 5)).toEqual([100, 200, 400, 800, 1600]);
    expect(delays.at(-1)).toBe(30_000);
    expect([after(3_600_000), after(50)]).toEqual([0, 100]);
  });
});

describe("an error", () => {
  test("arrives with what it said of itself", () => {
    const error = Object.assign(new Error("listen EADDRINUSE"), { code: "EADDRINUSE", address: "::1", port: 3128 });
    expect(errorOf(structuredClone(errorFacts(error)))).toMatchObject({
      message: "listen EADDRINUSE",
      code: "EADDRINUSE",
      address: "::1",
      port: 3128,
    });
    expect(Object.keys(errorOf(errorFacts("plain")))).toEqual([]);
  });
});
