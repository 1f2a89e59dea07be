/**
 * Host names to the patterns that cover them: one pass from the right with a rolling hash, probing a flat
 * open-addressing table at each dot (design/performance.md: as fast as a cache hit, so there is no cache).
 *
 * Every suffix of every pattern has an entry, so the first probe that finds nothing ends the pass: no longer suffix
 * can be there. Keys are compared in full, so a collision of hashes costs time and never an answer.
 */
import type { GlobPattern, Pattern } from "./pattern.ts";

export type HostTable = {
  /**
   * Fills `covering` with the numbers of the patterns that cover the name, the least specific first, and returns how
   * many. The array is the table's own and holds until the next call: the hot path allocates nothing.
   */
  readonly lookup: (hostname: string) => number;
  readonly covering: Int32Array;
  /** Right-hand labels that some pattern shares with the name, as the longest such suffix; "" without any. */
  readonly sharedSuffix: (hostname: string) => string;
};

type Entry = { exact: number; suffix: number; globs: { readonly pattern: GlobPattern; readonly number: number }[] };

const none = -1;
const dot = 0x2e;
/** FNV-1a, 32 bits. */
const hashSeed = 0x811c9dc5;
const hashPrime = 0x01000193;
/** A canonical name has at most 127 labels; each has at most one suffix pattern, and the whole name one exact pattern. */
const maxCoveringWithoutGlobs = 128;

/** Builds the table. The position of a pattern in the list is its number; no two patterns have the same text. */
export function createHostTable(patterns: readonly Pattern[]): HostTable {
  const entries = collectEntries(patterns);
  const keys = [...entries.keys()];
  const records = [...entries.values()].map((entry) => ({ ...entry, globs: leastSpecificFirst(entry.globs) }));
  const exact = Int32Array.from(records, (entry) => entry.exact);
  const suffix = Int32Array.from(records, (entry) => entry.suffix);
  const globs = records.map((entry) => (entry.globs.length === 0 ? undefined : entry.globs));
  const mask = tableSize(keys.length) - 1;
  const slots = fillSlots(keys, mask);
  const globCount = patterns.filter((pattern) => pattern.kind === "glob").length;
  const covering = new Int32Array(maxCoveringWithoutGlobs + globCount);

  /** The entry whose key is `hostname` from `start` on, or none. */
  const probe = (hash: number, hostname: string, start: number): number => {
    const length = hostname.length - start;
    for (let slot = spread(hash) & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot * 2 + 1] ?? none;
      if (entry === none) return none;
      if (slots[slot * 2] !== hash) continue;
      const key = keys[entry] ?? "";
      if (key.length === length && hostname.endsWith(key)) return entry;
    }
  };

  const lookup = (hostname: string): number => {
    let count = 0;
    let hash = hashSeed;
    for (let i = hostname.length - 1; i >= -1; i--) {
      const c = i < 0 ? dot : hostname.charCodeAt(i);
      if (c === dot) {
        const entry = probe(hash, hostname, i + 1);
        if (entry === none) return count;
        const number = suffix[entry] ?? none;
        if (number !== none) covering[count++] = number;
        const candidates = globs[entry];
        if (candidates !== undefined) {
          for (const glob of candidates) if (glob.pattern.matches(hostname)) covering[count++] = glob.number;
        }
        if (i < 0) {
          const whole = exact[entry] ?? none;
          if (whole !== none) covering[count++] = whole;
        }
      }
      hash = Math.imul(hash ^ c, hashPrime);
    }
    return count;
  };

  const sharedSuffix = (hostname: string): string => {
    let hash = hashSeed;
    let shared = hostname.length;
    for (let i = hostname.length - 1; i >= -1; i--) {
      const c = i < 0 ? dot : hostname.charCodeAt(i);
      if (c === dot) {
        if (probe(hash, hostname, i + 1) === none) break;
        shared = i + 1;
      }
      hash = Math.imul(hash ^ c, hashPrime);
    }
    return hostname.slice(shared);
  };

  return { lookup, covering, sharedSuffix };
}

/** The literal labels at the right end of a pattern: where its table entry is. */
export function literalSuffix(pattern: Pattern): string {
  switch (pattern.kind) {
    case "exact":
      return pattern.text;
    case "suffix":
      return pattern.apex;
    case "glob":
      return pattern.suffix;
  }
}

/** Calls `visit` with every suffix of a name that begins at a label, the shortest first. */
export function eachSuffix(name: string, visit: (suffix: string) => void): void {
  for (let at = name.lastIndexOf("."); at >= 0; at = at === 0 ? -1 : name.lastIndexOf(".", at - 1)) {
    visit(name.slice(at + 1));
  }
  visit(name);
}

function collectEntries(patterns: readonly Pattern[]): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  const entryOf = (key: string): Entry => {
    let entry = entries.get(key);
    if (entry === undefined) entries.set(key, (entry = { exact: none, suffix: none, globs: [] }));
    return entry;
  };
  for (const [number, pattern] of patterns.entries()) {
    const key = literalSuffix(pattern);
    eachSuffix(key, entryOf);
    const entry = entryOf(key);
    if (pattern.kind === "exact") entry.exact = number;
    else if (pattern.kind === "suffix") entry.suffix = number;
    else entry.globs.push({ pattern, number });
  }
  return entries;
}

/** Among globs of one literal suffix: more literal characters are more specific, then file order. */
function leastSpecificFirst(globs: Entry["globs"]): Entry["globs"] {
  return globs.toSorted((a, b) => a.pattern.literalCharacters - b.pattern.literalCharacters || b.number - a.number);
}

/** A power of two at least twice the number of keys, so that probes stay short. */
function tableSize(keys: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(4, keys * 2)));
}

/** Pairs of (hash, entry); entry is -1 in a free slot. */
function fillSlots(keys: readonly string[], mask: number): Int32Array {
  const slots = new Int32Array((mask + 1) * 2).fill(none);
  for (const [entry, key] of keys.entries()) {
    let hash = hashSeed;
    for (let i = key.length - 1; i >= 0; i--) hash = Math.imul(hash ^ key.charCodeAt(i), hashPrime);
    let slot = spread(hash) & mask;
    while (slots[slot * 2 + 1] !== none) slot = (slot + 1) & mask;
    slots[slot * 2] = hash;
    slots[slot * 2 + 1] = entry;
  }
  return slots;
}

/** FNV leaves its low bits poorly mixed; this folds the high ones in. */
function spread(hash: number): number {
  return hash ^ (hash >>> 15) ^ (hash >>> 7);
}
