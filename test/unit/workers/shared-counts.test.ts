/** Connections counted over several workers that tell each other now and then. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CountsChange } from "../../../src/workers/messages.ts";
import { type SharedCounts, createSharedCounts } from "../../../src/workers/shared-counts.ts";

type Crew = {
  readonly counts: readonly SharedCounts[];
  /** Delivers what was said. */
  readonly deliver: () => void;
  readonly said: CountsChange[];
};

function crew(workers: number, limit: number, ownLimit = limit): Crew {
  const due: (() => void)[] = [];
  const mail: (() => void)[] = [];
  const said: CountsChange[] = [];
  const counts: SharedCounts[] = Array.from({ length: workers }, (_, from) =>
    createSharedCounts({
      limit,
      ownLimit,
      workers,
      say: (change) => {
        said.push(change);
        for (const [to, other] of counts.entries()) if (to !== from) mail.push(() => other.hear(from, change));
      },
      soon: (run) => due.push(run),
    }),
  );
  const deliver = (): void => {
    for (const run of due.splice(0)) run();
    for (const letter of mail.splice(0)) letter();
  };
  return { counts, deliver, said };
}

describe("one worker alone", () => {
  test("counts like one process: the client's own limit first", () => {
    const { counts } = crew(1, 3);
    const [one] = counts;
    expect(["a", "a", "a", "b", "b"].map((address) => one!.enter(address, 2))).toEqual([
      undefined,
      undefined,
      "per_client",
      undefined,
      "connections",
    ]);
    one!.leave("a");
    expect([one!.total(), one!.enter("b", 2)]).toEqual([2, undefined]);
  });

  test("takes no more than it has files for, though there is room elsewhere", () => {
    const { counts } = crew(2, 10, 1);
    expect([counts[0]!.enter("a", 9), counts[0]!.enter("b", 9)]).toEqual([undefined, "connections"]);
  });
});

describe("two workers", () => {
  test("a client may have all its connections at one of them", () => {
    const { counts, deliver } = crew(2, 100_000);
    for (let i = 0; i < 1000; i++) {
      expect(counts[0]!.enter("a", 1000)).toBeUndefined();
      deliver();
    }
    expect(counts[0]!.enter("a", 1000)).toBe("per_client");
  });

  test("what one has the other counts, and stops counting when it is gone", () => {
    const { counts, deliver } = crew(2, 5);
    const [one, two] = counts;
    for (let i = 0; i < 3; i++) one!.enter("a", 3);
    deliver();
    expect([two!.enter("a", 3), two!.enter("b", 3), two!.enter("b", 3), two!.enter("b", 3)]).toEqual([
      "per_client",
      undefined,
      undefined,
      "connections",
    ]);
    two!.forget(0);
    expect([two!.enter("b", 3), two!.enter("a", 3)]).toEqual([undefined, undefined]);
  });

  test("few connections of many clients are not worth a word", () => {
    const { counts, deliver, said } = crew(2, 1_000_000);
    for (let i = 0; i < 5000; i++) counts[0]!.enter(`client ${i}`, 1000);
    for (let i = 0; i < 5000; i++) counts[0]!.leave(`client ${i}`);
    deliver();
    expect(said).toEqual([]);
  });
});

test("whatever comes and goes: off by a 32nd of the limit at most once all is delivered, and nothing is left at the end", () => {
  const step = fc.record({
    worker: fc.nat(2),
    address: fc.constantFrom("a", "b"),
    act: fc.constantFrom("enter", "enter", "leave", "deliver"),
    times: fc.integer({ min: 1, max: 40 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(1, 40, 400), (steps, perClient) => {
      const { counts, deliver } = crew(3, 100_000);
      const held = counts.map(() => new Map<string, number>());
      const sum = (address: string): number => held.reduce((all, one) => all + (one.get(address) ?? 0), 0);
      for (const { worker, address, act, times } of steps) {
        for (let i = 0; i < times; i++) {
          const mine = held[worker]!;
          const count = mine.get(address) ?? 0;
          if (act === "deliver") deliver();
          else if (act === "leave" && count > 0) {
            counts[worker]!.leave(address);
            mine.set(address, count - 1);
          } else if (act === "enter") {
            deliver();
            const refused = counts[worker]!.enter(address, perClient);
            if (refused === undefined) mine.set(address, count + 1);
            if (refused === undefined) expect(sum(address)).toBeLessThanOrEqual(perClient * (1 + 1 / 32));
            else expect(sum(address)).toBeGreaterThanOrEqual(perClient * (1 - 1 / 32));
          }
        }
      }
      for (const [worker, mine] of held.entries()) {
        for (const [address, count] of mine) for (let i = 0; i < count; i++) counts[worker]!.leave(address);
      }
      deliver();
      expect(counts.map((one) => one.total())).toEqual([0, 0, 0]);
      for (const one of counts) {
        expect(one.enter("a", 1)).toBeUndefined();
        one.leave("a");
      }
    }),
    { numRuns: 60 },
  );
});
