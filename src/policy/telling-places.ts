/**
 * Which characters tell the keys of a table apart, found out when the table is built: a hash of those few is as good as
 * a hash of all, and reading a character is what costs in JavaScript (docs/benchmarks.md). A hash says only where a key
 * can be; whoever uses it compares the key in full.
 */

/**
 * By length of the key, places counted from its right end (1 is the last character): four of them in the bytes of one
 * number, 0 where no key has the length; the others in `more`, from `moreFrom[length]` to `moreFrom[length + 1]`.
 */
export type TellingPlaces = {
  readonly four: Int32Array;
  readonly moreFrom: Int32Array;
  readonly more: Uint8Array;
};

const alwaysRead = 4;
/** Keys of one length that are alike at all places chosen, at most: so many may have to be compared for one lookup. */
const mostAlike = 2;
/** Keys by which the places are judged: enough to choose well, and building stays quick among millions. */
const sampleSize = 1000;
const hashPrime = 0x01000193;
const spreadPrime = 0x9e3779b1 | 0;

/** Chooses places for keys of 1 to 255 bytes, no two of them the same. */
export function chooseTellingPlaces(keys: Iterable<string>): TellingPlaces {
  const byLength: string[][] = [];
  for (const key of keys) (byLength[key.length] ??= []).push(key);
  const four = new Int32Array(byLength.length);
  const moreFrom = new Int32Array(byLength.length + 1);
  const more: number[] = [];
  for (let length = 1; length < byLength.length; length++) {
    const [a = 1, b = 1, c = 1, d = 1, ...others] = choosePlaces(byLength[length] ?? [], length);
    if (byLength[length] !== undefined) four[length] = a | (b << 8) | (c << 16) | (d << 24);
    more.push(...others);
    moreFrom[length + 1] = more.length;
  }
  return { four, moreFrom, more: Uint8Array.from(more) };
}

/** Hashes the last `length` characters of a text as the key that they may be; 0 where no key has that length. */
export function hashEnd(telling: TellingPlaces, text: string, length: number): number {
  const places = telling.four[length] ?? 0;
  if (places === 0) return 0;
  const end = text.length;
  const a = text.charCodeAt(end - (places & 0xff));
  const b = text.charCodeAt(end - ((places >>> 8) & 0xff));
  const c = text.charCodeAt(end - ((places >>> 16) & 0xff));
  const d = text.charCodeAt(end - (places >>> 24));
  let hash = Math.imul(a ^ (b << 8) ^ (c << 16) ^ (d << 24), hashPrime) ^ length;
  if (telling.more.length > 0) hash = addMore(telling, text, length, hash);
  return Math.imul(hash ^ (hash >>> 15), spreadPrime) | 1;
}

/** Apart from `hashEnd`, which is then small enough for the compiler to inline. */
function addMore({ moreFrom, more }: TellingPlaces, text: string, length: number, four: number): number {
  const last = moreFrom[length + 1] ?? 0;
  let hash = four;
  for (let at = moreFrom[length] ?? 0; at < last; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(text.length - (more[at] ?? 0)), hashPrime);
  }
  return hash;
}

/** Groups of keys by their position: where the groups end among the members. Arrays, since there may be very many. */
type Crowds = { readonly members: Int32Array; readonly ends: readonly number[] };

/** Greedy: the place that parts most keys, then the one that parts most of what is still alike, until few are. */
function choosePlaces(keys: readonly string[], length: number): readonly number[] {
  const characters = Buffer.from(keys.join(""), "latin1");
  const places: number[] = [];
  // Names differ most on the left, which will do where there is nothing to part.
  let free = Array.from({ length }, (_, i) => length - i);
  let crowds: Crowds = { members: Int32Array.from(keys, (_, i) => i), ends: [keys.length] };
  for (;;) {
    const few = places.length < alwaysRead ? 1 : mostAlike;
    crowds = withoutSmall(crowds, few);
    const isParted = crowds.ends.length === 0;
    const best = isParted ? free[0] : bestOf(free, characters, length, sampleOf(crowds));
    if (best === undefined || (isParted && places.length >= alwaysRead)) return places;
    places.push(best);
    free = free.filter((place) => place !== best);
    crowds = part(crowds, characters, length, best);
  }
}

function withoutSmall({ members, ends }: Crowds, few: number): Crowds {
  const kept: number[] = [];
  let size = 0;
  let from = 0;
  for (const to of ends) {
    if (to - from > few) {
      members.copyWithin(size, from, to);
      kept.push((size += to - from));
    }
    from = to;
  }
  return { members: members.subarray(0, size), ends: kept };
}

/** Some of each crowd where there are few crowds, some crowds where there are many. */
function sampleOf({ members, ends }: Crowds): Crowds {
  const sampled = ends.slice(0, sampleSize / 2);
  const share = Math.max(2, Math.floor(sampleSize / sampled.length));
  const some: number[] = [];
  let from = 0;
  const sampleEnds = sampled.map((to) => {
    const step = Math.ceil((to - from) / share);
    for (let i = from; i < to; i += step) some.push(members[i] ?? 0);
    from = to;
    return some.length;
  });
  return { members: Int32Array.from(some), ends: sampleEnds };
}

function bestOf(
  places: readonly number[],
  characters: Uint8Array,
  length: number,
  { members, ends }: Crowds,
): number | undefined {
  let best: number | undefined;
  let most = 0;
  // In which crowd each character was seen last.
  const seen = new Int32Array(0x100);
  let crowd = 0;
  for (const place of places) {
    let parts = 0;
    let from = 0;
    for (const to of ends) {
      crowd++;
      for (let i = from; i < to; i++) {
        const character = characters[((members[i] ?? 0) + 1) * length - place] ?? 0;
        if (seen[character] === crowd) continue;
        seen[character] = crowd;
        parts++;
      }
      from = to;
    }
    if (parts > most) [best, most] = [place, parts];
  }
  return best;
}

/** Keys that are alike at the place stay together, in the order in which they stood. */
function part({ members, ends }: Crowds, characters: Uint8Array, length: number, place: number): Crowds {
  const parted = new Int32Array(members.length);
  const partedEnds: number[] = [];
  const counts = new Int32Array(0x100);
  const next = new Int32Array(0x100);
  const characterOf = (i: number): number => characters[((members[i] ?? 0) + 1) * length - place] ?? 0;
  let from = 0;
  for (const to of ends) {
    const seen: number[] = [];
    for (let i = from; i < to; i++) {
      const character = characterOf(i);
      if (counts[character] === 0) seen.push(character);
      counts[character] = (counts[character] ?? 0) + 1;
    }
    let end = from;
    for (const character of seen) {
      next[character] = end;
      end += counts[character] ?? 0;
      partedEnds.push(end);
      counts[character] = 0;
    }
    for (let i = from; i < to; i++) {
      const character = characterOf(i);
      const at = next[character] ?? 0;
      parted[at] = members[i] ?? 0;
      next[character] = at + 1;
    }
    from = to;
  }
  return { members: parted, ends: partedEnds };
}
