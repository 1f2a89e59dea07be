import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chooseTellingPlaces, hashEnd } from "../../../src/policy/telling-places.ts";

/** How many keys of one length have the same hash, at most. */
function mostAlike(keys: readonly string[]): number {
  const places = chooseTellingPlaces(keys);
  const seen = new Map<string, number>();
  for (const key of keys) {
    const spot = `${key.length} ${hashEnd(places, key, key.length)}`;
    seen.set(spot, (seen.get(spot) ?? 0) + 1);
  }
  return Math.max(...seen.values());
}

const numbered = (make: (digits: string) => string) =>
  Array.from({ length: 10_000 }, (_, i) => make(String(i).padStart(4, "0")));

describe("the places chosen tell keys apart", () => {
  test.each([
    ["that differ on the left", numbered((digits) => `n${digits}.farm.example.com`)],
    ["that differ on the right", numbered((digits) => `farm.example.n${digits}`)],
    ["that differ in the middle", numbered((digits) => `very-long-name-${digits}-of-a-farm.in.a.region.example.com`)],
    ["that differ in places far apart", numbered(([a, b, c, d]) => `${a}-farm${b}.example${c}.in-the-cloud.com${d}`)],
    ["of 253 bytes", numbered((digits) => `${digits}.${"a".repeat(244)}.com`)],
  ])("%s", (_, keys) => {
    expect(mostAlike(keys)).toBeLessThanOrEqual(2);
  });

  test("of which each differs from the others in one place of its own", () => {
    const keys = Array.from({ length: 60 }, (_, i) => `${"a".repeat(i)}b${"a".repeat(59 - i)}`);
    expect(mostAlike(keys)).toBeLessThanOrEqual(2);
  });
});

test("the end of a longer text has the hash of the key", () => {
  const key = fc.string({ unit: fc.constantFrom("a", "b", "."), minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(fc.uniqueArray(key, { minLength: 1, maxLength: 40 }), fc.string(), (keys, before) => {
      const places = chooseTellingPlaces(keys);
      for (const one of keys) {
        expect(hashEnd(places, before + one, one.length)).toBe(hashEnd(places, one, one.length));
        expect(hashEnd(places, one, one.length)).not.toBe(0);
      }
    }),
  );
});

test("a length that no key has, shorter or longer, has no hash", () => {
  const places = chooseTellingPlaces(["abc", "abcde"]);
  expect([0, 1, 2, 4, 6, 400].map((length) => hashEnd(places, "x".repeat(400), length))).toEqual([0, 0, 0, 0, 0, 0]);
});
