/** Which connection to an origin a client's connection is given back, and what binds one to it. */
import { expect, test } from "vitest";
import type { Destination } from "../../../src/egress/admit.ts";
import type { PoolKey } from "../../../src/egress/pool.ts";
import {
  type Binding,
  authenticatesConnection,
  closeBound,
  hasBound,
  keepBound,
  takeBound,
} from "../../../src/ingress/bound-origins.ts";
import { destinationOf, restingOrigin } from "../../support/upstream.ts";

const policy = {};
const key: PoolKey = { host: "a.example", port: 80, policy };
const here = destinationOf("127.0.0.1");
const elsewhere = destinationOf("127.0.0.2");

const bindingOf = (destroyed = false): Binding => ({ socket: { destroyed }, bound: [] });

const others: Readonly<Record<string, readonly [PoolKey, Destination]>> = {
  "another host": [{ ...key, host: "b.example" }, here],
  "another port": [{ ...key, port: 81 }, here],
  "another policy": [{ ...key, policy: {} }, here],
  "an address that is not admitted": [key, elsewhere],
};
test.each(Object.entries(others))("it is not given back for %s", (_, [asked, destination]) => {
  const binding = bindingOf();
  const origin = restingOrigin();
  keepBound(binding, key, origin);
  expect(takeBound(binding, asked, [destination])).toBeUndefined();
  expect(takeBound(binding, key, [elsewhere, here])).toBe(origin);
});

test("it is given back once, and only while it rests", () => {
  const binding = bindingOf();
  const origin = restingOrigin();
  keepBound(binding, key, origin);
  expect([hasBound(binding, key), takeBound(binding, key, [here])]).toEqual([true, origin]);
  expect([hasBound(binding, key), takeBound(binding, key, [here])]).toEqual([false, undefined]);
  keepBound(binding, key, origin);
  origin.destroy();
  expect([hasBound(binding, key), takeBound(binding, key, [here])]).toEqual([false, undefined]);
});

test("one for each origin is kept, eight in all, and none of another policy", () => {
  const binding = bindingOf();
  const [first, second] = [restingOrigin(), restingOrigin()];
  keepBound(binding, key, first);
  keepBound(binding, key, second);
  expect([first.isResting(), second.isResting()]).toEqual([false, true]);
  const more = Array.from({ length: 8 }, () => restingOrigin());
  for (const [i, origin] of more.entries()) keepBound(binding, { ...key, port: 1000 + i }, origin);
  expect([second.isResting(), more.every((origin) => origin.isResting())]).toEqual([false, true]);
  const next = restingOrigin();
  keepBound(binding, { ...key, policy: {} }, next);
  expect([next.isResting(), more.some((origin) => origin.isResting())]).toEqual([true, false]);
});

test("all are closed with the client, and what comes back later as well", () => {
  const binding = bindingOf();
  const origin = restingOrigin();
  keepBound(binding, key, origin);
  closeBound(binding);
  expect([origin.isResting(), hasBound(binding, key)]).toEqual([false, false]);
  const late = restingOrigin();
  keepBound(bindingOf(true), key, late);
  expect(late.isResting()).toBe(false);
});

test.each([
  ["NTLM TlRMTVNTUAAB", true],
  ["negotiate YII=", true],
  ["Negotiate", true],
  ['Basic realm="x", NTLM', true],
  ["Basic TlRM", false],
  ["NTLMv3 x", false],
  ["Bearer ntlm", false],
])("%s holds for a connection: %s", (value, expected) => {
  expect(authenticatesConnection(["WWW-Authenticate", value], "www-authenticate")).toBe(expected);
  expect(authenticatesConnection(["Authorization", value], "www-authenticate")).toBe(false);
});
