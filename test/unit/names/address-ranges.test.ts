/** Sets of addresses, held against the naive ones of single addresses. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress, parseCidr } from "../../../src/names/address.ts";
import {
  allAddresses,
  blocksOfRanges,
  complementOf,
  intersectRanges,
  noAddresses,
  rangesBetween,
  rangesKey,
  rangesOfCidr,
  subtractRanges,
  uniteRanges,
} from "../../../src/names/address-ranges.ts";

function blocks(...texts: readonly string[]) {
  return uniteRanges(
    texts.map((text) => {
      const cidr = parseCidr(text);
      if ("problem" in cidr) throw new Error(`${text} ${cidr.problem}`);
      return rangesOfCidr(cidr);
    }),
  );
}

describe("blocks of a set", () => {
  test.each<[string, readonly string[], readonly string[], readonly string[]]>([
    ["one without the other", ["10.0.0.0/8"], ["10.128.0.0/9"], ["10.0.0.0/9"]],
    ["one without itself", ["10.0.0.0/8"], ["10.0.0.0/8"], []],
    ["one of the other family taken away", ["10.0.0.0/8"], ["::/0"], ["10.0.0.0/8"]],
    ["neighbours that are one", ["10.0.0.0/9", "10.128.0.0/9"], [], ["10.0.0.0/8"]],
    ["all of IPv6 without its first half", ["::/0"], ["::/1"], ["8000::/1"]],
    ["a hole of one address", ["192.0.2.0/30"], ["192.0.2.1"], ["192.0.2.0/32", "192.0.2.2/31"]],
  ])("%s", (_title, from, taken, expected) => {
    expect(blocksOfRanges(subtractRanges(blocks(...from), blocks(...taken)))).toEqual(expected);
  });

  test("of everything are two", () => {
    expect(blocksOfRanges(allAddresses)).toEqual(["0.0.0.0/0", "::/0"]);
    expect(rangesKey(complementOf(allAddresses))).toBe(rangesKey(noAddresses));
  });

  test("between two addresses", () => {
    const between = (from: string, to: string) => rangesBetween(parseAddress(from)!, parseAddress(to)!);
    expect(blocksOfRanges(between("10.0.0.1", "10.0.0.6")!)).toEqual([
      "10.0.0.1/32",
      "10.0.0.2/31",
      "10.0.0.4/31",
      "10.0.0.6/32",
    ]);
    expect([between("10.0.0.2", "10.0.0.1"), between("10.0.0.1", "::1")]).toEqual([undefined, undefined]);
  });
});

test("agree with sets of single addresses, and come back from their blocks", () => {
  const some = fc.array(
    fc.tuple(fc.nat(63), fc.nat(63)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
    { maxLength: 4 },
  );
  const at = (n: number) => parseAddress(`192.0.2.${n}`)!;
  const rangesOf = (list: readonly (readonly [number, number])[]) =>
    uniteRanges(list.map(([a, b]) => rangesBetween(at(a), at(b))!));
  const holds = (list: readonly (readonly [number, number])[], n: number) => list.some(([a, b]) => n >= a && n <= b);
  fc.assert(
    fc.property(some, some, (a, b) => {
      const both = intersectRanges(rangesOf(a), rangesOf(b));
      const only = subtractRanges(rangesOf(a), rangesOf(b));
      const single = (keep: (n: number) => boolean) =>
        rangesKey(uniteRanges([...Array(64).keys()].filter(keep).map((n) => rangesBetween(at(n), at(n))!)));
      expect(rangesKey(both)).toBe(single((n) => holds(a, n) && holds(b, n)));
      expect(rangesKey(only)).toBe(single((n) => holds(a, n) && !holds(b, n)));
      expect(rangesKey(blocks(...blocksOfRanges(only)))).toBe(rangesKey(only));
    }),
  );
});
