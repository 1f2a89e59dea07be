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

/** Greedy: the place that parts most keys, then the one that parts most of what is still alike, until few are. */
function choosePlaces(keys: readonly string[], length: number): readonly number[] {
  const places: number[] = [];
  // Names differ most on the left, which will do where there is nothing to part.
  let free = Array.from({ length }, (_, i) => length - i);
  let crowds: readonly (readonly string[])[] = [keys];
  for (;;) {
    const few = places.length < alwaysRead ? 1 : mostAlike;
    crowds = crowds.filter((crowd) => crowd.length > few);
    const best = crowds.length > 0 ? bestOf(free, sampleOf(crowds)) : free[0];
    if (best === undefined || (crowds.length === 0 && places.length >= alwaysRead)) return places;
    places.push(best);
    free = free.filter((place) => place !== best);
    crowds = crowds.flatMap((crowd) => part(crowd, best));
  }
}

/** Some of each crowd where there are few crowds, some crowds where there are many. */
function sampleOf(crowds: readonly (readonly string[])[]): readonly (readonly string[])[] {
  const sample = crowds.slice(0, sampleSize / 2);
  const share = Math.max(2, Math.floor(sampleSize / sample.length));
  return sample.map((crowd) => {
    const step = Math.ceil(crowd.length / share);
    return crowd.filter((_, i) => i % step === 0);
  });
}

function bestOf(places: readonly number[], crowds: readonly (readonly string[])[]): number | undefined {
  let best: number | undefined;
  let most = 0;
  for (const place of places) {
    let parts = 0;
    for (const crowd of crowds) parts += new Set(crowd.map((key) => key.charCodeAt(key.length - place))).size;
    if (parts > most) [best, most] = [place, parts];
  }
  return best;
}

function part(keys: readonly string[], place: number): readonly (readonly string[])[] {
  const parts = new Map<number, string[]>();
  for (const key of keys) {
    const character = key.charCodeAt(key.length - place);
    const same = parts.get(character);
    if (same === undefined) parts.set(character, [key]);
    else same.push(key);
  }
  return [...parts.values()];
}
