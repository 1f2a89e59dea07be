/**
 * Host names to the patterns that cover them, in not much more time than a cache hit, so there is no cache.
 *
 * Every suffix of every pattern has an entry, and an entry lists all patterns that cover the names below it: the
 * longest suffix of a name that has an entry says everything. One pass from the right packs the name into words of
 * four bytes with a rolling hash and notes the dots, without a branch on them; then its suffixes are looked up, the
 * longest first, in a flat open-addressing table. Keys are compared in full, so a collision of hashes costs time and
 * never an answer. What is ugly below is so because bench/matching.bench.ts shows that it pays (docs/benchmarks.md).
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

/** A suffix while the table is built. `below` is what covers names below it: pattern numbers, or ~index of a glob. */
type Entry = { exact: number; suffix: number; globs: NumberedGlob[]; below: readonly number[] };
type NumberedGlob = { readonly pattern: GlobPattern; readonly number: number };
/** A glob with what every name that it matches begins and ends with: cheaper to ask than the glob. */
type Candidate = NumberedGlob & { readonly head: string; readonly tail: string };

const none = -1;
const dot = 0x2e;
const hashPrime = 0x01000193;
const spreadPrime = 0x9e3779b1 | 0;
/** Longer names are not in DNS, and no pattern covers them. */
const maxNameLength = 253;
/** Such a name has at most 127 labels; each has at most one suffix pattern, and the whole name one exact pattern. */
const maxCoveringWithoutGlobs = 128;

/** Four numbers make a slot, so that one probe costs one line of the CPU's cache. */
const slotSize = 4;
const slotHash = 0;
/** Where the key begins in `keys`; 0 in a free slot. */
const slotKey = 1;
/** The only number of the entry's list, or where the list begins in `lists`. */
const slotList = 2;
/** Length of the key, whether the list ends in an exact pattern, whether it holds a glob, length of the list. */
const slotInfo = 3;
const infoKeyLength = 0xff;
const infoExactShift = 8;
const infoGlob = 0x200;
const infoListShift = 10;

/**
 * The name at hand, from its right end: words of four bytes, the hash before each of them, the places of dots. One for
 * all tables, since nothing here waits, and so that the compiler knows where they are.
 */
const words = new Int32Array(64);
const hashes = new Int32Array(64);
const dots = new Int32Array(256);

/** Builds the table. The position of a pattern in the list is its number; no two patterns have the same text. */
export function createHostTable(patterns: readonly Pattern[]): HostTable {
  const { entries, candidates } = collectEntries(patterns);
  const { maxLength, maxLabels } = measureLongest(entries.keys());
  const { slots, hashShift, keys, lists } = fillSlots(entries);
  const covering = new Int32Array(maxCoveringWithoutGlobs + candidates.length);

  const lookup = (hostname: string): number => {
    let suffix = scan(hostname, maxLength, maxLabels);
    while (--suffix >= 0) {
      const start = (dots[suffix] ?? 0) + 1;
      const slot = probe(slots, keys, hashShift, hostname.length - start);
      if (slot !== none) return list(hostname, slot, start === 0);
    }
    return 0;
  };

  const list = (hostname: string, slot: number, whole: boolean): number => {
    const info = slots[slot + slotInfo] ?? 0;
    const at = slots[slot + slotList] ?? 0;
    const size = info >> infoListShift;
    const listed = whole ? size : size - ((info >> infoExactShift) & 1);
    if ((info & infoGlob) !== 0) return listWithGlobs(hostname, at, size, listed);
    if (size === 1) covering[0] = at;
    else for (let i = 0; i < listed; i++) covering[i] = lists[at + i] ?? 0;
    return listed;
  };

  const listWithGlobs = (hostname: string, at: number, size: number, listed: number): number => {
    let count = 0;
    for (let i = 0; i < listed; i++) {
      const number = size === 1 ? at : (lists[at + i] ?? 0);
      const glob = number < 0 ? candidates[~number] : undefined;
      if (glob === undefined) covering[count++] = number;
      else if (isMatch(glob, hostname)) covering[count++] = glob.number;
    }
    return count;
  };

  const sharedSuffix = (hostname: string): string => {
    let suffix = scan(hostname, maxLength, maxLabels);
    while (--suffix >= 0) {
      const start = (dots[suffix] ?? 0) + 1;
      if (probe(slots, keys, hashShift, hostname.length - start) !== none) return hostname.slice(start);
    }
    return "";
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

/**
 * Reads a name from the right, as far as keys of so many characters and labels can reach. Returns how many suffixes
 * there are; they begin behind `dots`.
 */
function scan(name: string, maxLength: number, maxLabels: number): number {
  const length = name.length;
  if (length > maxNameLength) return 0;
  const end = Math.max(0, length - maxLength - 1);
  let count = 0;
  let word = 0;
  let hash = 0;
  let seen = 0;
  let i = length - 1;
  for (; i >= end + 3 && count < maxLabels; i -= 4) {
    const a = name.charCodeAt(i);
    const b = name.charCodeAt(i - 1);
    const c = name.charCodeAt(i - 2);
    const d = name.charCodeAt(i - 3);
    const four = (a << 24) | (b << 16) | (c << 8) | d;
    seen |= a | b | c | d;
    words[word] = four;
    hashes[word++] = hash;
    hash = Math.imul(hash ^ four, hashPrime);
    hash ^= hash >>> 15;
    // Each place is written down, and stays only if it is a dot.
    dots[count] = i;
    count += ((a ^ dot) - 1) >>> 31;
    dots[count] = i - 1;
    count += ((b ^ dot) - 1) >>> 31;
    dots[count] = i - 2;
    count += ((c ^ dot) - 1) >>> 31;
    dots[count] = i - 3;
    count += ((d ^ dot) - 1) >>> 31;
  }
  if (count < maxLabels) {
    let rest = 0;
    for (let shift = 24; i >= end; i--, shift -= 8) {
      const a = name.charCodeAt(i);
      seen |= a;
      rest |= a << shift;
      dots[count] = i;
      count += ((a ^ dot) - 1) >>> 31;
    }
    words[word] = rest;
    hashes[word] = hash;
    if (i < 0) dots[count++] = -1;
  }
  // Of a character that is no byte the words hold something else: such a name is covered by nothing.
  return seen > 0xff ? 0 : count;
}

/** What the last word of a suffix of this length holds of it; 0 where its words are full. */
function restOf(length: number): number {
  const bits = (length & 3) * 8;
  return bits === 0 ? 0 : (words[length >> 2] ?? 0) & ~(-1 >>> bits);
}

function hashOf(length: number, rest: number): number {
  return Math.imul((hashes[length >> 2] ?? 0) ^ rest ^ (length << 8), spreadPrime);
}

/** The slot of the suffix of this length of the name at hand, or none. */
function probe(slots: Int32Array, keys: Int32Array, hashShift: number, length: number): number {
  const rest = restOf(length);
  const hash = hashOf(length, rest);
  const fullWords = length >> 2;
  const lastNumber = slots.length - 1;
  probing: for (let slot = (hash >>> hashShift) * slotSize; ; slot = (slot + slotSize) & lastNumber) {
    const key = slots[slot + slotKey] ?? 0;
    if (key === 0) return none;
    if (slots[slot + slotHash] !== hash || ((slots[slot + slotInfo] ?? 0) & infoKeyLength) !== length) continue;
    for (let word = 0; word < fullWords; word++) if (keys[key + word] !== words[word]) continue probing;
    if ((length & 3) === 0 || keys[key + fullWords] === rest) return slot;
  }
}

/** All suffixes of all patterns; each comes after the suffixes that it ends in. */
function collectEntries(patterns: readonly Pattern[]) {
  const entries = new Map<string, Entry>();
  const entryOf = (key: string): Entry => {
    let entry = entries.get(key);
    if (entry === undefined) entries.set(key, (entry = { exact: none, suffix: none, globs: [], below: [] }));
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
  const candidates: Candidate[] = [];
  for (const [key, entry] of entries) {
    const parent = key.includes(".") ? entries.get(key.slice(key.indexOf(".") + 1)) : undefined;
    const own = entry.suffix === none ? [] : [entry.suffix];
    for (const glob of leastSpecificFirst(entry.globs)) own.push(~(candidates.push(toCandidate(glob)) - 1));
    const above = parent?.below ?? [];
    entry.below = own.length === 0 ? above : [...above, ...own];
  }
  return { entries, candidates };
}

/** Half of the slots or more stay free. Keys are words, one key behind the other; a list of one stands in the slot. */
function fillSlots(entries: ReadonlyMap<string, Entry>) {
  const slotBits = Math.ceil(Math.log2(Math.max(4, entries.size * 2)));
  const hashShift = 32 - slotBits;
  const slots = new Int32Array(slotSize * 2 ** slotBits);
  const keyWords = [0];
  const numbers: number[] = [];
  for (const [key, entry] of entries) {
    scan(key, maxNameLength, maxNameLength);
    const rest = restOf(key.length);
    const hash = hashOf(key.length, rest);
    const whole = entry.exact === none ? entry.below : [...entry.below, entry.exact];
    let slot = (hash >>> hashShift) * slotSize;
    while (slots[slot + slotKey] !== 0) slot = (slot + slotSize) & (slots.length - 1);
    slots[slot + slotHash] = hash;
    slots[slot + slotKey] = keyWords.length;
    slots[slot + slotList] = whole.length === 1 ? (whole[0] ?? 0) : numbers.length;
    slots[slot + slotInfo] =
      key.length |
      (Number(entry.exact !== none) << infoExactShift) |
      (entry.below.some((number) => number < 0) ? infoGlob : 0) |
      (whole.length << infoListShift);
    if (whole.length !== 1) for (const number of whole) numbers.push(number);
    for (let word = 0; word < key.length >> 2; word++) keyWords.push(words[word] ?? 0);
    if ((key.length & 3) !== 0) keyWords.push(rest);
  }
  return { slots, hashShift, keys: Int32Array.from(keyWords), lists: Int32Array.from(numbers) };
}

/** Among globs of one literal suffix: more literal characters are more specific, then file order. */
function leastSpecificFirst(globs: readonly NumberedGlob[]): readonly NumberedGlob[] {
  return globs.toSorted((a, b) => a.pattern.literalCharacters - b.pattern.literalCharacters || b.number - a.number);
}

/** What stands before the first wildcard and behind the last; `**.x.com` matches x.com, so its dot does not count. */
function toCandidate({ pattern, number }: NumberedGlob): Candidate {
  const glob = pattern.text.replace(/^glob:/, "");
  const head = glob.replace(/[*?].*$/, "");
  const tail = glob.replace(/^.*\*\*\./, "").replace(/^.*[*?]/, "");
  return { pattern, number, head, tail };
}

function isMatch({ pattern, head, tail }: Candidate, hostname: string): boolean {
  return hostname.startsWith(head) && hostname.endsWith(tail) && pattern.matches(hostname);
}

/** Characters and labels of the longest key in each respect: no longer suffix of a name needs to be looked up. */
function measureLongest(keys: Iterable<string>): { readonly maxLength: number; readonly maxLabels: number } {
  let maxLength = 0;
  let maxLabels = 0;
  for (const key of keys) {
    maxLength = Math.max(maxLength, key.length);
    maxLabels = Math.max(maxLabels, key.split(".").length);
  }
  return { maxLength, maxLabels };
}
