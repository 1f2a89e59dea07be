/** Connections at rest: who gets which, and when they are closed. */
import { afterEach, expect, test } from "vitest";
import type { Deadlines } from "../../../src/egress/deadlines.ts";
import { type PoolKey, createPool } from "../../../src/egress/pool.ts";
import { createUpstreams, destinationOf, restingOrigin } from "../../support/upstream.ts";

const upstreams = createUpstreams();
afterEach(() => upstreams.close());

const policy = {};
const key: PoolKey = { host: "a.example", port: 80, policy };
const here = destinationOf("127.0.0.1");
const elsewhere = destinationOf("127.0.0.2");

type Waiting = { readonly ms: number; readonly expire: () => void };

/** Deadlines that expire when they are told to. */
function fakeDeadlines(): { readonly deadlines: Deadlines; readonly waiting: Set<Waiting> } {
  const waiting = new Set<Waiting>();
  const deadlines: Deadlines = {
    after: (ms, expire) => {
      const one = { ms, expire };
      waiting.add(one);
      return { move: () => {}, cancel: () => void waiting.delete(one) };
    },
  };
  return { deadlines, waiting };
}

const others: Readonly<Record<string, readonly [PoolKey, ReturnType<typeof destinationOf>]>> = {
  "another host": [{ ...key, host: "b.example" }, here],
  "a host that begins like it": [{ ...key, host: "a.example:8" }, here],
  "another port": [{ ...key, port: 81 }, here],
  "another policy that says the same": [{ ...key, policy: {} }, here],
  "another address": [key, elsewhere],
  "another port at the address": [key, destinationOf("127.0.0.1", 8080)],
};
test.each(Object.entries(others))("is not given away for %s", (_, [asked, destination]) => {
  const pool = createPool(fakeDeadlines().deadlines);
  const origin = restingOrigin();
  pool.keep(key, origin);
  expect(pool.take(asked, [destination])).toBeUndefined();
  expect(origin.isDestroyed()).toBe(false);
  expect(pool.take(key, [elsewhere, here])).toBe(origin);
});

test("is given away once, the latest first", () => {
  const { deadlines, waiting } = fakeDeadlines();
  const pool = createPool(deadlines);
  const [first, second, third] = [restingOrigin(), restingOrigin(elsewhere), restingOrigin()];
  for (const origin of [first, second, third]) pool.keep(key, origin);
  expect(pool.take(key, [here])).toBe(third);
  expect(pool.take(key, [here])).toBe(first);
  expect(pool.take(key, [here])).toBeUndefined();
  expect(waiting.size).toBe(1);
});

test("32 for a target and 512 in all are kept, the others closed", () => {
  const { deadlines, waiting } = fakeDeadlines();
  const pool = createPool(deadlines);
  const kept = (host: string): number => {
    const all = Array.from({ length: 40 }, () => restingOrigin());
    for (const origin of all) pool.keep({ ...key, host }, origin);
    return all.filter((origin) => !origin.isDestroyed()).length;
  };
  const counts = Array.from({ length: 17 }, (_, i) => kept(`${i}.example`));
  expect(counts).toEqual([...Array.from({ length: 16 }, () => 32), 0]);
  expect(waiting.size).toBe(512);
  // Places are given back.
  expect(pool.take({ ...key, host: "3.example" }, [here])).toBeDefined();
  expect(kept("17.example")).toBe(1);
});

test("is closed when nobody has come for it in 30 s", () => {
  const { deadlines, waiting } = fakeDeadlines();
  const pool = createPool(deadlines);
  const origin = restingOrigin();
  pool.keep(key, origin);
  expect([...waiting].map(({ ms }) => ms)).toEqual([30_000]);
  for (const { expire } of waiting) expire();
  expect([origin.isDestroyed(), pool.take(key, [here])]).toEqual([true, undefined]);
});

test("is forgotten when the origin closes it", async () => {
  const { deadlines, waiting } = fakeDeadlines();
  const pool = createPool(deadlines);
  const { origin, peer, ask, closed } = await upstreams.openOrigin();
  const told = ask();
  peer.write("HTTP/1.1 204 No\r\n\r\n");
  await told.over;
  pool.keep(key, origin);
  peer.end();
  await closed;
  expect(waiting.size).toBe(0);
  expect(pool.take(key, [here])).toBeUndefined();
});

test("says nothing to the pool any more once it was given away", () => {
  const { deadlines, waiting } = fakeDeadlines();
  const pool = createPool(deadlines);
  const [lent, other] = [restingOrigin(), restingOrigin()];
  pool.keep(key, lent);
  pool.take(key, [here]);
  pool.keep(key, other);
  lent.leave();
  expect(waiting.size).toBe(1);
  expect(pool.take(key, [here])).toBe(other);
});

test("is not kept where it does not rest", () => {
  const { deadlines, waiting } = fakeDeadlines();
  const pool = createPool(deadlines);
  const origin = restingOrigin();
  origin.destroy();
  pool.keep(key, origin);
  expect([waiting.size, pool.take(key, [here])]).toEqual([0, undefined]);
});

test("another policy in force closes what was opened under the one before, then and later", () => {
  const pool = createPool(fakeDeadlines().deadlines);
  const next = {};
  const [old, late, current] = [restingOrigin(), restingOrigin(), restingOrigin()];
  pool.keep(key, old);
  pool.use(next);
  pool.keep(key, late);
  pool.keep({ ...key, policy: next }, current);
  expect([old, late, current].map((origin) => origin.isDestroyed())).toEqual([true, true, false]);
  expect(pool.take({ ...key, policy: next }, [here])).toBe(current);
});

test("a closed pool has closed all, and closes what comes", () => {
  const { deadlines, waiting } = fakeDeadlines();
  const pool = createPool(deadlines);
  const [before, after] = [restingOrigin(), restingOrigin()];
  pool.keep(key, before);
  pool.close();
  pool.keep(key, after);
  expect([before.isDestroyed(), after.isDestroyed(), waiting.size]).toEqual([true, true, 0]);
});
