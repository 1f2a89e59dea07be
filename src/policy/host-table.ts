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
import { type HostEntries, type NumberedGlob, type SuffixTree, createEntryCollector } from "./host-entries.ts";
import type { Pattern } from "./pattern.ts";
import { type TellingPlaces, chooseTellingPlaces, hashEnd } from "./telling-places.ts";

export type HostTable = {
  /**
   * Fills `covering` with the numbers of the patterns that cover the name, the least specific first, and returns how
   * many. The array is the table's own and holds until the next call: the hot path allocates nothing.
   */
  readonly lookup: (hostname: string) => number;
  readonly covering: Int32Array;
  /** The longest suffix that some pattern shares with the name, whole labels, by its number in the tree; -1 without any. */
  readonly sharedEntry: (hostname: string) => number;
  /** All suffixes that have an entry. */
  readonly tree: SuffixTree;
};

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

/** Numbers of a slot: the hash; the only number of the entry's list, or where the list begins; two more. */
const slotSize = 4;
const slotHash = 0;
const slotList = 1;
/** Length of the key (0 in a free slot), whether the list ends in an exact pattern, holds a glob, length of the list. */
const slotInfo = 2;
const infoKeyLength = 0xff;
const infoExactShift = 8;
const infoGlob = 0x200;
const infoListShift = 10;
/** The number of the entry. */
const slotEntry = 3;

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

/** A table of patterns that are still to come. */
export type HostTableBuilder = {
  /** Patterns are numbered from 0, in the order in which they come; equal ones have one number. */
  readonly numberOf: (pattern: Pattern) => number;
  /** To be asked once, at the end. */
  readonly finish: () => HostTable;
};

export function createHostTableBuilder(): HostTableBuilder {
  const collector = createEntryCollector();
  return {
    numberOf: (pattern) => collector.numberOf(pattern, literalSuffix(pattern)),
    finish: () => tableOf(collector.entries()),
  };
}

/** Builds the table. The position of a pattern in the list is its number; no two patterns have the same text. */
export function createHostTable(patterns: readonly Pattern[]): HostTable {
  const { numberOf, finish } = createHostTableBuilder();
  for (const pattern of patterns) numberOf(pattern);
  return finish();
}

function tableOf(entries: HostEntries): HostTable {
  const candidates = entries.globs.map(toCandidate);
  const maxLength = entries.lengths.reduce((most, length) => Math.max(most, length), 0);
  const places = chooseTellingPlaces(entries.keys);
  const covering = new Int32Array(maxCoveringWithoutGlobs + candidates.length);
  const table: Table = { maxLength, places, ...fillSlots(entries, places), candidates, covering };
  return {
    lookup: (hostname) => {
      const slot = findSlot(table, hostname);
      return slot === none ? 0 : list(table, hostname, slot);
    },
    covering,
    sharedEntry: (hostname) => {
      const slot = findSlot(table, hostname);
      return slot === none ? none : (table.slots[slot * slotSize + slotEntry] ?? none);
    },
    tree: { parents: entries.parents, lengths: entries.lengths, ofPattern: entries.ofPattern },
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

/** Half of the slots or more stay free, of a small table three quarters. A list of one stands in the slot. */
function fillSlots(entries: HostEntries, places: TellingPlaces) {
  const { keys: texts, exact, belowAt, belowCount, hasGlob } = entries;
  const room = texts.length <= smallTable ? 4 : 2;
  const slotBits = Math.ceil(Math.log2(Math.max(4, texts.length * room)));
  const hashShift = 32 - slotBits;
  const slots = new Int32Array(slotSize * 2 ** slotBits);
  const keys = Array.from<string>({ length: 2 ** slotBits }).fill("");
  const lists = [...entries.lists];
  for (let entry = 0; entry < texts.length; entry++) {
    const key = texts[entry] ?? "";
    const hash = hashEnd(places, key, key.length);
    let slot = hash >>> hashShift;
    while (slots[slot * slotSize + slotInfo] !== 0) slot = (slot + 1) & (keys.length - 1);
    keys[slot] = key;
    const name = exact[entry] ?? none;
    const [at, below] = [belowAt[entry] ?? 0, belowCount[entry] ?? 0];
    const size = below + Number(name !== none);
    let list = at;
    if (size === 1) list = name === none ? (lists[at] ?? 0) : name;
    else if (name !== none) {
      list = lists.length;
      for (let i = at; i < at + below; i++) lists.push(lists[i] ?? 0);
      lists.push(name);
    }
    slots[slot * slotSize + slotHash] = hash;
    slots[slot * slotSize + slotList] = list;
    slots[slot * slotSize + slotInfo] =
      key.length |
      (Number(name !== none) << infoExactShift) |
      (hasGlob[entry] === 1 ? infoGlob : 0) |
      (size << infoListShift);
    slots[slot * slotSize + slotEntry] = entry;
  }
  return { slots, keys, hashShift, lists: Int32Array.from(lists) };
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
