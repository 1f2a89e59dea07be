/**
 * Every suffix of every pattern with what covers the names below it, as the host table is built from: a tree in flat
 * arrays, since an object and a slice of a text for each of its nodes is what makes a large policy slow to load.
 */
import type { GlobPattern, Pattern } from "./pattern.ts";

/** Which suffixes there are, by number; one comes after its parent. */
export type SuffixTree = {
  /** The same suffix without its first label; -1 where it has no other. */
  readonly parents: Int32Array;
  /** How many characters it has; no name has more than 253. */
  readonly lengths: Uint8Array;
  /** Where each pattern has its entry, by number of the pattern. */
  readonly ofPattern: Int32Array;
};

/** By number of the suffix. */
export type HostEntries = SuffixTree & {
  /** Strings of their own, and no slices of others, which are slower to compare and two objects to fetch. */
  readonly keys: readonly string[];
  /** The number of the pattern that is this very name; -1 without one. */
  readonly exact: readonly number[];
  /** Where in `lists` stands what covers the names below the entry, and how many: the least specific first. */
  readonly belowAt: Int32Array;
  readonly belowCount: Int32Array;
  /** 1 where a glob is among them. */
  readonly hasGlob: Uint8Array;
  /** Numbers of patterns, or ~index of one of `globs`. */
  readonly lists: readonly number[];
  readonly globs: readonly NumberedGlob[];
};
export type NumberedGlob = { readonly pattern: GlobPattern; readonly number: number };

const none = -1;
const dot = 0x2e;
const leastSlots = 256;
const copiedAtOnce = 1000;
const hashPrime = 0x01000193;
const spreadPrime = 0x9e3779b1 | 0;

/** Numbers patterns, and knows their suffixes. */
export type EntryCollector = {
  /** `literal` is what the pattern has at its right end. Patterns are numbered from 0; equal ones have one number. */
  readonly numberOf: (pattern: Pattern, literal: string) => number;
  /** To be asked once, at the end. */
  readonly entries: () => HostEntries;
};

export function createEntryCollector(): EntryCollector {
  const suffixes = createSuffixCollector();
  /** By entry: the numbers of the exact name and of the `*.` pattern. */
  const exact: number[] = [];
  const wildcards: number[] = [];
  const globs = new Map<number, NumberedGlob[]>();
  const globNumbers = new Map<string, number>();
  const ofPattern: number[] = [];
  const numberOf = (pattern: Pattern, literal: string): number => {
    const entry = suffixes.entryOf(literal);
    while (exact.length <= entry) {
      exact.push(none);
      wildcards.push(none);
    }
    const number = ofPattern.length;
    if (pattern.kind === "glob") {
      const known = globNumbers.get(pattern.text);
      if (known !== undefined) return known;
      globNumbers.set(pattern.text, number);
      const others = globs.get(entry);
      if (others === undefined) globs.set(entry, [{ pattern, number }]);
      else others.push({ pattern, number });
    } else {
      const numbers = pattern.kind === "exact" ? exact : wildcards;
      const known = numbers[entry] ?? none;
      if (known !== none) return known;
      numbers[entry] = number;
    }
    ofPattern.push(entry);
    return number;
  };
  const entries = (): HostEntries => {
    const parents = Int32Array.from(suffixes.parents);
    return {
      keys: flatCopies(suffixes.keys),
      parents,
      lengths: Uint8Array.from(suffixes.keys, (key) => key.length),
      exact,
      ofPattern: Int32Array.from(ofPattern),
      ...listBelow(parents, wildcards, globs),
    };
  };
  return { numberOf, entries };
}

/** Reads each name once, from the right: at every dot the hash is that of a suffix. */
function createSuffixCollector() {
  const keys: string[] = [];
  const parents: number[] = [];
  const hashes: number[] = [];
  /** Open addressing: the number of the entry, or -1. */
  let slots = new Int32Array(leastSlots).fill(none);
  const place = (hash: number, entry: number): void => {
    let slot = spread(hash) & (slots.length - 1);
    while (slots[slot] !== none) slot = (slot + 1) & (slots.length - 1);
    slots[slot] = entry;
  };
  const add = (key: string, hash: number, parent: number): number => {
    const entry = keys.push(key) - 1;
    parents.push(parent);
    hashes.push(hash);
    if (keys.length * 2 > slots.length) {
      slots = new Int32Array(slots.length * 4).fill(none);
      for (let other = 0; other < entry; other++) place(hashes[other] ?? 0, other);
    }
    place(hash, entry);
    return entry;
  };
  const find = (literal: string, start: number, hash: number): number => {
    const length = literal.length - start;
    for (let slot = spread(hash) & (slots.length - 1); ; slot = (slot + 1) & (slots.length - 1)) {
      const entry = slots[slot] ?? none;
      if (entry === none) return none;
      const key = keys[entry] ?? "";
      if (hashes[entry] === hash && key.length === length && literal.endsWith(key)) return entry;
    }
  };
  const entryOf = (literal: string): number => {
    let hash = 0;
    let entry = none;
    for (let at = literal.length - 1; at >= 0; at--) {
      hash = Math.imul(hash ^ literal.charCodeAt(at), hashPrime);
      if (at > 0 && literal.charCodeAt(at - 1) !== dot) continue;
      const known = find(literal, at, hash);
      entry = known === none ? add(literal.slice(at), hash, entry) : known;
    }
    return entry;
  };
  return { keys, parents, entryOf };
}

function spread(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), spreadPrime);
  return mixed ^ (mixed >>> 16);
}

/** An entry without a wildcard of its own shares its parent's list. */
function listBelow(
  parents: Int32Array,
  wildcards: readonly number[],
  globsAt: ReadonlyMap<number, readonly NumberedGlob[]>,
): Pick<HostEntries, "belowAt" | "belowCount" | "hasGlob" | "lists" | "globs"> {
  const belowAt = new Int32Array(parents.length);
  const belowCount = new Int32Array(parents.length);
  const hasGlob = new Uint8Array(parents.length);
  const lists: number[] = [];
  const globs: NumberedGlob[] = [];
  for (let entry = 0; entry < parents.length; entry++) {
    const parent = parents[entry] ?? none;
    const at = parent === none ? 0 : (belowAt[parent] ?? 0);
    const count = parent === none ? 0 : (belowCount[parent] ?? 0);
    const wildcard = wildcards[entry] ?? none;
    const ownGlobs = globsAt.get(entry);
    belowAt[entry] = at;
    belowCount[entry] = count;
    hasGlob[entry] = ownGlobs !== undefined || (parent !== none && hasGlob[parent] === 1) ? 1 : 0;
    if (wildcard === none && ownGlobs === undefined) continue;
    belowAt[entry] = lists.length;
    for (let i = at; i < at + count; i++) lists.push(lists[i] ?? 0);
    if (wildcard !== none) lists.push(wildcard);
    for (const glob of leastSpecificFirst(ownGlobs ?? [])) lists.push(~(globs.push(glob) - 1));
    belowCount[entry] = lists.length - (belowAt[entry] ?? 0);
  }
  return { belowAt, belowCount, hasGlob, lists, globs };
}

/** Among globs of one literal suffix: more literal characters are more specific, then file order. */
function leastSpecificFirst(globs: readonly NumberedGlob[]): readonly NumberedGlob[] {
  if (globs.length < 2) return globs;
  return globs.toSorted((a, b) => a.pattern.literalCharacters - b.pattern.literalCharacters || b.number - a.number);
}

/** Many at once: a buffer for each would be dear, and all of them in one text too long. */
function flatCopies(texts: readonly string[]): readonly string[] {
  const copies: string[] = [];
  for (let from = 0; from < texts.length; from += copiedAtOnce) {
    const some = texts.slice(from, from + copiedAtOnce);
    const bytes = Buffer.from(some.join(""), "latin1");
    let at = 0;
    for (const { length } of some) copies.push(bytes.toString("latin1", at, (at += length)));
  }
  return copies;
}
