/** Sets of addresses as sorted ranges, so that "these but not those" can be worked out and written as blocks. */
import { type Address, type Cidr, addressOfBytes, blockText } from "./address.ts";

/** Disjoint, not touching, ascending; both ends belong to a range. */
export type AddressRanges = { readonly four: readonly Range[]; readonly six: readonly Range[] };
export type Range = { readonly first: bigint; readonly last: bigint };

const lastOf = { four: (1n << 32n) - 1n, six: (1n << 128n) - 1n } as const;

export const noAddresses: AddressRanges = { four: [], six: [] };
export const allAddresses: AddressRanges = {
  four: [{ first: 0n, last: lastOf.four }],
  six: [{ first: 0n, last: lastOf.six }],
};

export function rangesOfCidr({ family, bytes, prefix }: Cidr): AddressRanges {
  const first = numberOf(bytes);
  const last = first + (1n << BigInt(bytes.length * 8 - prefix)) - 1n;
  return family === 4 ? { four: [{ first, last }], six: [] } : { four: [], six: [{ first, last }] };
}

/** Both ends included; undefined where they are of two families or the wrong way round. */
export function rangesBetween(from: Address, to: Address): AddressRanges | undefined {
  const range = { first: numberOf(from.bytes), last: numberOf(to.bytes) };
  if (from.family !== to.family || range.first > range.last) return undefined;
  return from.family === 4 ? { four: [range], six: [] } : { four: [], six: [range] };
}

export function uniteRanges(sets: readonly AddressRanges[]): AddressRanges {
  return { four: unite(sets.flatMap(({ four }) => four)), six: unite(sets.flatMap(({ six }) => six)) };
}

export function complementOf({ four, six }: AddressRanges): AddressRanges {
  return { four: complement(four, lastOf.four), six: complement(six, lastOf.six) };
}

export function intersectRanges(a: AddressRanges, b: AddressRanges): AddressRanges {
  // De Morgan: the sets are small, and one way to be right is enough.
  return complementOf(uniteRanges([complementOf(a), complementOf(b)]));
}

export function subtractRanges(a: AddressRanges, b: AddressRanges): AddressRanges {
  return intersectRanges(a, complementOf(b));
}

export function isNoAddress({ four, six }: AddressRanges): boolean {
  return four.length === 0 && six.length === 0;
}

/** The same for the same addresses, and for no others. */
export function rangesKey({ four, six }: AddressRanges): string {
  const text = (ranges: readonly Range[]): string =>
    ranges.map(({ first, last }) => `${first.toString(16)}-${last.toString(16)}`).join(",");
  return `${text(four)};${text(six)}`;
}

/** The fewest blocks that hold exactly these addresses, in canonical text. */
export function blocksOfRanges({ four, six }: AddressRanges): readonly string[] {
  return [...four.flatMap((range) => blocks(range, 32)), ...six.flatMap((range) => blocks(range, 128))];
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function unite(ranges: readonly Range[]): readonly Range[] {
  const sorted = [...ranges].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const united: Range[] = [];
  for (const range of sorted) {
    const before = united.at(-1);
    if (before === undefined || range.first > before.last + 1n) united.push(range);
    else if (range.last > before.last) united[united.length - 1] = { first: before.first, last: range.last };
  }
  return united;
}

function complement(ranges: readonly Range[], end: bigint): readonly Range[] {
  const gaps: Range[] = [];
  let next = 0n;
  for (const { first, last } of ranges) {
    if (first > next) gaps.push({ first: next, last: first - 1n });
    next = last + 1n;
  }
  if (next <= end) gaps.push({ first: next, last: end });
  return gaps;
}

function blocks({ first, last }: Range, bits: number): readonly string[] {
  const found: string[] = [];
  for (let at = first; at <= last;) {
    let free = 0;
    while (free < bits && (at & ((1n << BigInt(free + 1)) - 1n)) === 0n && at + (1n << BigInt(free + 1)) - 1n <= last) {
      free++;
    }
    const bytes = Uint8Array.from({ length: bits / 8 }, (_, i) => Number((at >> BigInt(bits - 8 * (i + 1))) & 0xffn));
    const text = blockText(bits === 128 ? { family: 6, bytes, text: "" } : addressOfBytes(bytes), bits - free);
    found.push(text);
    at += 1n << BigInt(free);
  }
  return found;
}
