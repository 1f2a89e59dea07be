/** The host table: which patterns cover a name, in which order, and what is shared where none does. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createHostTable, createHostTableBuilder, eachSuffix, literalSuffix } from "../../../src/policy/host-table.ts";
import { patternsOf } from "../../support/policy.ts";

function tableOf(...texts: readonly string[]) {
  const patterns = texts.flatMap((text) => patternsOf(text, true));
  const table = createHostTable(patterns);
  return {
    /** Texts of the covering patterns, the most specific first. */
    covering: (hostname: string) => {
      const count = table.lookup(hostname);
      return Array.from(table.covering.subarray(0, count), (number) => patterns[number]?.text).reverse();
    },
    sharedSuffix: (hostname: string) => {
      const entry = table.sharedEntry(hostname);
      return entry < 0 ? "" : hostname.slice(-(table.tree.lengths[entry] ?? 0));
    },
  };
}

/** Mulberry32: the same numbers on every run. */
function scrambler(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

describe("covering patterns, the most specific first", () => {
  test.each<[string, readonly string[], string, readonly string[]]>([
    ["nothing covers in an empty table", [], "a.x.com", []],
    [
      "exact, then suffixes from the longest",
      ["*.com.example", "*.x.com.example", "a.x.com.example"],
      "a.x.com.example",
      ["a.x.com.example", "*.x.com.example", "*.com.example"],
    ],
    ["an apex is covered by its exact name and its suffix", ["*.x.com", "x.com"], "x.com", ["x.com", "*.x.com"]],
    [
      "a glob stands before the suffix of its length",
      ["*.x.com", "glob:a*.x.com"],
      "a.x.com",
      ["glob:a*.x.com", "*.x.com"],
    ],
    ["and behind a longer suffix", ["*.a.x.com", "glob:**.x.com"], "b.a.x.com", ["*.a.x.com", "glob:**.x.com"]],
    [
      "globs by literal characters, then file order",
      ["glob:a*.x.com", "glob:*c.x.com", "glob:ab*.x.com"],
      "abc.x.com",
      ["glob:ab*.x.com", "glob:a*.x.com", "glob:*c.x.com"],
    ],
    ["a glob that does not match is left out", ["glob:b*.x.com"], "a.x.com", []],
    [
      "a ** of no labels covers the apex, below the exact name",
      ["glob:**.x.com", "x.com"],
      "x.com",
      ["x.com", "glob:**.x.com"],
    ],
    ["an exact name below covers nothing above", ["a.x.com"], "x.com", []],
    ["an exact name above covers nothing below", ["x.com"], "a.x.com", []],
    ["a suffix behind a gap of labels is found", ["*.x.com", "e.d.c.b.x.com"], "q.b.x.com", ["*.x.com"]],
    ["a single label", ["intranet", "*.corp"], "intranet", ["intranet"]],
    ["a suffix of one label", ["*.corp"], "a.b.corp", ["*.corp"]],
    ["labels are borders", ["*.x.com"], "evilx.com", []],
  ])("%s", (_sentence, texts, hostname, expected) => {
    expect(tableOf(...texts).covering(hostname)).toEqual(expected);
  });

  test("a name of 127 labels with a pattern on each of them", () => {
    const hostname = Array.from({ length: 127 }, () => "a").join(".");
    const suffixes: string[] = [];
    eachSuffix(hostname, (suffix) => suffixes.push(`*.${suffix}`));
    const covering = tableOf(...suffixes, hostname).covering(hostname);
    expect(covering).toHaveLength(128);
    expect(covering[0]).toBe(hostname);
    expect(covering.at(-1)).toBe("*.a");
  });

  test("two lookups do not disturb one another's answer once it was read", () => {
    const table = tableOf("*.x.com", "*.y.com");
    expect(table.covering("a.x.com")).toEqual(["*.x.com"]);
    expect(table.covering("a.z.com")).toEqual([]);
    expect(table.covering("a.y.com")).toEqual(["*.y.com"]);
  });

  test("names whose hashes are equal are told apart, and every one of many names is found", () => {
    // So many that whole 32-bit hashes collide: about n squared over 2^33 pairs among them, and as many with the others.
    // All are of one length, and of whole words of four: nothing but the comparison of keys tells them apart.
    const scattered = (seed: number): string[] => {
      const next = scrambler(seed);
      const part = () => next().toString(36).padStart(7, "0");
      return Array.from({ length: 200_000 }, () => `${part()}${part()}.x.com`);
    };
    const names = scattered(1);
    const patterns = names.map((text) => ({ kind: "exact" as const, text }));
    const table = createHostTable(patterns);
    const lost = names.filter((hostname, number) => table.lookup(hostname) !== 1 || table.covering[0] !== number);
    const mistaken = scattered(2).filter((hostname) => table.lookup(hostname) > 0);
    expect([lost, mistaken]).toEqual([[], []]);
  });

  test("the table finds what comparing with every pattern finds", () => {
    const label = fc.constantFrom("a", "b", "ab", "c");
    const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => `${labels.join(".")}.x.com`);
    const pattern = fc.oneof(
      name,
      name.map((text) => `*.${text}`),
    );
    fc.assert(
      fc.property(fc.uniqueArray(pattern, { maxLength: 20 }), name, (texts, hostname) => {
        const expected = texts.filter(
          (text) => text === hostname || (`.${hostname}`.endsWith(text.replace("*", "")) && text.startsWith("*")),
        );
        const found = tableOf(...texts).covering(hostname);
        expect(new Set(found)).toEqual(new Set(expected));
        expect(found).toHaveLength(expected.length);
      }),
      { numRuns: 300 },
    );
  });
});

describe("the longest suffix that a pattern shares with a name", () => {
  test.each([
    ["labels of an exact name", "q.b.x.com", "b.x.com"],
    ["only whole labels", "qb.x.com", "x.com"],
    ["the literal labels of a glob", "q.g.x.com", "g.x.com"],
    ["the name itself", "a.b.x.com", "a.b.x.com"],
    ["a top level", "other.com", "com"],
    ["nothing", "a.net", ""],
  ])("%s", (_sentence, hostname, shared) => {
    expect(tableOf("a.b.x.com", "glob:*c.g.x.com").sharedSuffix(hostname)).toBe(shared);
  });
});

describe("patterns have numbers", () => {
  test("in the order in which they come, and equal ones have one", () => {
    const { numberOf, finish } = createHostTableBuilder();
    const texts = [
      "x.com",
      "*.x.com",
      "glob:a*.x.com",
      "*.x.com",
      "x.com",
      "glob:a*.x.com",
      "glob:b*.x.com",
      "b.x.com",
    ];
    expect(texts.flatMap((text) => patternsOf(text).map(numberOf))).toEqual([0, 1, 2, 1, 0, 2, 3, 4]);
    const table = finish();
    expect([...table.covering.subarray(0, table.lookup("b.x.com"))]).toEqual([1, 3, 4]);
  });

  test("and each its place in the tree of suffixes", () => {
    const { tree, sharedEntry } = createHostTable(
      ["a.x.com", "*.x.com", "glob:*c.g.x.com"].flatMap((text) => patternsOf(text)),
    );
    const [name, suffix, glob] = tree.ofPattern;
    expect([name, suffix, glob, suffix]).toEqual(["a.x.com", "q.x.com", "q.g.x.com", "x.com"].map(sharedEntry));
    expect([tree.parents[name!], tree.parents[glob!]]).toEqual([suffix, suffix]);
    expect([tree.lengths[name!], tree.lengths[suffix!], tree.lengths[glob!]]).toEqual([7, 5, 7]);
    expect(tree.parents[sharedEntry("com")]).toBe(-1);
    expect(sharedEntry("a.net")).toBe(-1);
  });
});

describe("suffixes of a name and of a pattern", () => {
  test.each([
    ["three labels", "a.x.com", ["com", "x.com", "a.x.com"]],
    ["one label", "corp", ["corp"]],
  ])("%s", (_sentence, hostname, expected) => {
    const suffixes: string[] = [];
    eachSuffix(hostname, (suffix) => suffixes.push(suffix));
    expect(suffixes).toEqual(expected);
  });

  test.each([
    ["an exact name is all literal", "a.x.com", "a.x.com"],
    ["a suffix is its apex", "*.x.com", "x.com"],
    ["a glob is literal behind its last wildcard", "glob:a.b*.c.x.com", "c.x.com"],
  ])("%s", (_sentence, text, expected) => {
    expect(patternsOf(text).map(literalSuffix)).toEqual([expected]);
  });
});
