/**
 * Host names to the patterns that cover them, in no more time than a cache hit, so there is no cache.
 *
 * Every suffix of every pattern has an entry, and an entry lists all patterns that cover the names below it: the
 * longest suffix of a name that has an entry says everything. Suffixes are looked up in a flat open-addressing table,
 * the whole name first, since most names stand in a rule as they are. To read a character is dear and to compare
 * strings is cheap, so the hash is of a few characters only (`telling-places`), and the key is compared in full: a
 * collision costs time and never an answer. What is ugly below, in `standing-allows` and in `telling-places` is so
 * because bench/matching.bench.ts shows that it pays (docs/benchmarks.md).
 */
import { compileGlob } from "./glob.ts";
import type { GlobPattern, Pattern } from "./pattern.ts";
import { type TellingPlaces, chooseTellingPlaces, hashEnd } from "./telling-places.ts";

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
type Candidate = {
  readonly number: number;
  readonly head: string;
  readonly tail: string;
  /** Of a name with that head and tail. */
  readonly matches: (hostname: string) => boolean;
};

const none = -1;
/** Longer names are not in DNS, and no pattern covers them. */
const maxNameLength = 253;
/** Such a name has at most 127 labels; each has at most one suffix pattern, and the whole name one exact pattern. */
const maxCoveringWithoutGlobs = 128;

/** Numbers of a slot: the hash; the only number of the entry's list, or where the list begins; the rest. */
const slotSize = 4;
const slotHash = 0;
const slotList = 1;
/** Length of the key (0 in a free slot), whether the list ends in an exact pattern, holds a glob, length of the list. */
const slotInfo = 2;
const infoKeyLength = 0xff;
const infoExactShift = 8;
const infoGlob = 0x200;
const infoListShift = 10;

/** So many entries fit the CPU's second-level cache, however much of it is free. */
const smallTable = 10_000;

/** What a lookup reads. */
type Table = {
  readonly maxLength: number;
  readonly places: TellingPlaces;
  /** `slotSize` numbers for each slot. */
  readonly slots: Int32Array;
  /** By slot; "" where it is free. */
  readonly keys: readonly string[];
  readonly hashShift: number;
  readonly lists: Int32Array;
  readonly candidates: readonly Candidate[];
  readonly covering: Int32Array;
};

/** Builds the table. The position of a pattern in the list is its number; no two patterns have the same text. */
export function createHostTable(patterns: readonly Pattern[]): HostTable {
  const { entries, candidates } = collectEntries(patterns);
  const maxLength = longest(entries.keys());
  const places = chooseTellingPlaces(entries.keys());
  const covering = new Int32Array(maxCoveringWithoutGlobs + candidates.length);
  const table: Table = { maxLength, places, ...fillSlots(entries, places), candidates, covering };
  return {
    lookup: (hostname) => {
      const slot = findSlot(table, hostname);
      return slot === none ? 0 : list(table, hostname, slot);
    },
    covering,
    sharedSuffix: (hostname) => table.keys[findSlot(table, hostname)] ?? "",
  };
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

/** The slot of the longest suffix that has an entry, or none. */
function findSlot(table: Table, hostname: string): number {
  if (hostname.length > table.maxLength) return findSlotOfLong(table, hostname);
  for (let start = 0; ;) {
    const slot = probe(table, hostname, start);
    if (slot !== none) return slot;
    const dot = hostname.indexOf(".", start);
    if (dot === -1) return none;
    start = dot + 1;
  }
}

/** A name longer than any key may have many labels, and few of them in an entry: begins with the shortest suffix. */
function findSlotOfLong(table: Table, hostname: string): number {
  if (hostname.length > maxNameLength) return none;
  let found = none;
  for (let dot = hostname.lastIndexOf("."); dot > 0; dot = hostname.lastIndexOf(".", dot - 1)) {
    const slot = probe(table, hostname, dot + 1);
    // Every suffix of an entry is an entry.
    if (slot === none) break;
    found = slot;
  }
  return found;
}

/** The slot whose key is what the name has from `start`, or none. */
function probe({ places, slots, keys, hashShift }: Table, hostname: string, start: number): number {
  const length = hostname.length - start;
  const hash = hashEnd(places, hostname, length);
  if (hash === 0) return none;
  const lastSlot = keys.length - 1;
  for (let slot = hash >>> hashShift; ; slot = (slot + 1) & lastSlot) {
    const at = slot * slotSize;
    const info = slots[at + slotInfo] ?? 0;
    if (info === 0) return none;
    if (slots[at + slotHash] !== hash || (info & infoKeyLength) !== length) continue;
    const key = keys[slot] ?? "";
    if (start === 0 ? hostname === key : hostname.endsWith(key)) return slot;
  }
}

/** Lists what covers the name, whose longest suffix with an entry is the key of the slot. */
function list(table: Table, hostname: string, slot: number): number {
  const { slots, lists, covering } = table;
  const info = slots[slot * slotSize + slotInfo] ?? 0;
  const at = slots[slot * slotSize + slotList] ?? 0;
  const size = info >> infoListShift;
  const whole = (info & infoKeyLength) === hostname.length;
  const listed = whole ? size : size - ((info >> infoExactShift) & 1);
  if ((info & infoGlob) !== 0) return listWithGlobs(table, hostname, at, size, listed);
  if (size === 1) covering[0] = at;
  else for (let i = 0; i < listed; i++) covering[i] = lists[at + i] ?? 0;
  return listed;
}

function listWithGlobs(table: Table, hostname: string, at: number, size: number, listed: number): number {
  const { lists, candidates, covering } = table;
  let count = 0;
  for (let i = 0; i < listed; i++) {
    const number = size === 1 ? at : (lists[at + i] ?? 0);
    const glob = number < 0 ? candidates[~number] : undefined;
    if (glob === undefined) covering[count++] = number;
    else if (isMatch(glob, hostname)) covering[count++] = glob.number;
  }
  return count;
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

/** Half of the slots or more stay free, of a small table three quarters. A list of one stands in the slot. */
function fillSlots(entries: ReadonlyMap<string, Entry>, places: TellingPlaces) {
  const room = entries.size <= smallTable ? 4 : 2;
  const slotBits = Math.ceil(Math.log2(Math.max(4, entries.size * room)));
  const hashShift = 32 - slotBits;
  const slots = new Int32Array(slotSize * 2 ** slotBits);
  const keys = Array.from({ length: 2 ** slotBits }, () => "");
  const numbers: number[] = [];
  for (const [key, entry] of entries) {
    const whole = entry.exact === none ? entry.below : [...entry.below, entry.exact];
    const hash = hashEnd(places, key, key.length);
    let slot = hash >>> hashShift;
    while (keys[slot] !== "") slot = (slot + 1) & (keys.length - 1);
    keys[slot] = flatCopy(key);
    slots[slot * slotSize + slotHash] = hash;
    slots[slot * slotSize + slotList] = whole.length === 1 ? (whole[0] ?? 0) : numbers.length;
    slots[slot * slotSize + slotInfo] =
      key.length |
      (Number(entry.exact !== none) << infoExactShift) |
      (entry.below.some((number) => number < 0) ? infoGlob : 0) |
      (whole.length << infoListShift);
    if (whole.length !== 1) for (const number of whole) numbers.push(number);
  }
  return { slots, keys, hashShift, lists: Int32Array.from(numbers) };
}

/** A string of its own: a slice of another is slower to compare, and two objects to fetch. */
function flatCopy(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
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
  return { number, head, tail, matches: glob.includes("**") ? pattern.matches : matcherOfLabels(glob, pattern.suffix) };
}

/**
 * The literal suffix is part of the tail, so minimatch need not see it: it takes a third of the time for the labels
 * before it. Not so for `**`, which matches no label at all only where another stands behind it.
 */
function matcherOfLabels(glob: string, suffix: string): (hostname: string) => boolean {
  const matches = compileGlob(glob.slice(0, -suffix.length - 1).replaceAll(".", "/"));
  return (hostname) => {
    const labels = hostname.slice(0, -suffix.length - 1);
    return matches(labels.includes(".") ? labels.replaceAll(".", "/") : labels);
  };
}

function isMatch({ head, tail, matches }: Candidate, hostname: string): boolean {
  return hostname.startsWith(head) && hostname.endsWith(tail) && matches(hostname);
}

function longest(keys: Iterable<string>): number {
  let length = 0;
  for (const key of keys) length = Math.max(length, key.length);
  return length;
}
