/** What is done to an input to make the next one: bits, lengths, cuts, repetitions, splices, words of the format. */
import type { Random } from "./random.ts";

/** Inputs do not grow beyond this: a finding must be readable. */
const maxBytes = 64 * 1024;

/** One to three changes to `input`; `words` are what a grammar would put there. */
export function mutate(
  random: Random,
  input: Uint8Array,
  corpus: readonly Uint8Array[],
  words: readonly string[] = [],
): Uint8Array {
  let bytes: Buffer = Buffer.from(input);
  for (let left = random.pick([1, 1, 1, 2, 2, 3]); left > 0; left--) {
    if (words.length > 0 && random.chance(0.3)) bytes = changeLine(random, bytes, words);
    else if (words.length > 0 && random.chance(0.4)) bytes = insertWord(random, bytes, random.pick(words));
    else bytes = random.pick(changes)(random, bytes, corpus);
  }
  return bytes.subarray(0, maxBytes);
}

type Change = (random: Random, bytes: Buffer, corpus: readonly Uint8Array[]) => Buffer;

/** Where the bytes `from` to `to` are replaced. */
function splice(bytes: Buffer, from: number, to: number, between: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, from), between, bytes.subarray(to)]);
}

/** Most spots of interest are in heads and headers: half of them are looked for in the first 64 bytes. */
function spot(random: Random, bytes: Buffer): number {
  return random.below(random.chance(0.5) ? Math.min(bytes.length, 64) : bytes.length);
}

function stretch(random: Random, bytes: Buffer): readonly [from: number, to: number] {
  const from = spot(random, bytes);
  return [from, Math.min(bytes.length, from + 1 + random.below(random.chance(0.7) ? 8 : bytes.length))];
}

function insertWord(random: Random, bytes: Buffer, word: string): Buffer {
  const at = spot(random, bytes);
  return splice(bytes, at, random.chance(0.5) ? at : Math.min(bytes.length, at + word.length), Buffer.from(word));
}

/** Takes a line out, repeats it, moves it, or gives it another value: what is left is still nearly well-formed. */
function changeLine(random: Random, bytes: Buffer, words: readonly string[]): Buffer {
  const lines = bytes.toString("latin1").split("\n");
  const at = random.below(lines.length);
  const [line = ""] = lines.splice(at, 1);
  const put = (where: number, text: string): void => void lines.splice(where, 0, text);
  const change = random.below(4);
  if (change === 1) put(random.below(lines.length + 1), line);
  if (change === 2) put(at, `${line}\n${line}`);
  if (change === 3)
    put(
      at,
      line.replace(/(: ?|- |, )[^,]*/, (_, before: string) => before + random.pick(words)),
    );
  return Buffer.from(lines.join("\n"), "latin1");
}

function flipBit(random: Random, bytes: Buffer): Buffer {
  const at = spot(random, bytes);
  const flipped = (bytes[at] ?? 0) ^ (1 << random.below(8));
  return splice(bytes, at, at + 1, Uint8Array.of(flipped));
}

function setByte(random: Random, bytes: Buffer): Buffer {
  const at = spot(random, bytes);
  const edges = [0, 1, 2, 3, 9, 10, 13, 22, 32, 0x2e, 0x2f, 0x3a, 0x40, 0x5c, 0x7f, 0x80, 0xff];
  return splice(bytes, at, at + 1, Uint8Array.of(random.chance(0.5) ? random.pick(edges) : random.below(256)));
}

/** A field of one, two or three bytes, moved a little or to its edge: what lengths are afraid of. */
function changeLength(random: Random, bytes: Buffer): Buffer {
  const width = 1 + random.below(3);
  const at = spot(random, bytes);
  if (at + width > bytes.length) return bytes;
  const now = bytes.readUIntBE(at, width);
  const edges = [0, 1, 2 ** (8 * width) - 1, bytes.length - at, bytes.length - at - width, now * 2];
  const moved = random.chance(0.7) ? now + random.pick([-4, -2, -1, 1, 2, 4]) : random.pick(edges);
  const changed = Buffer.from(bytes);
  changed.writeUIntBE(Math.max(0, moved) % 2 ** (8 * width), at, width);
  return changed;
}

function truncate(random: Random, bytes: Buffer): Buffer {
  return bytes.subarray(0, random.below(bytes.length + 1));
}

function remove(random: Random, bytes: Buffer): Buffer {
  const [from, to] = stretch(random, bytes);
  return splice(bytes, from, to, Buffer.alloc(0));
}

function duplicate(random: Random, bytes: Buffer): Buffer {
  const [from, to] = stretch(random, bytes);
  const copies = random.chance(0.9) ? 1 : 1 + random.below(60);
  return splice(bytes, to, to, Buffer.concat(Array.from({ length: copies }, () => bytes.subarray(from, to))));
}

function move(random: Random, bytes: Buffer): Buffer {
  const [from, to] = stretch(random, bytes);
  const rest = splice(bytes, from, to, Buffer.alloc(0));
  const at = random.below(rest.length + 1);
  return splice(rest, at, at, bytes.subarray(from, to));
}

function crossOver(random: Random, bytes: Buffer, corpus: readonly Uint8Array[]): Buffer {
  const other = Buffer.from(random.pick(corpus));
  const [from, to] = stretch(random, other);
  const at = spot(random, bytes);
  if (random.chance(0.3)) return Buffer.concat([bytes.subarray(0, at), other.subarray(from)]);
  return splice(bytes, at, random.chance(0.5) ? at : Math.min(bytes.length, at + to - from), other.subarray(from, to));
}

function insertNoise(random: Random, bytes: Buffer): Buffer {
  const at = spot(random, bytes);
  return splice(bytes, at, at, Buffer.from(Array.from({ length: 1 + random.below(8) }, () => random.below(256))));
}

const changes: readonly Change[] = [
  flipBit,
  flipBit,
  setByte,
  setByte,
  changeLength,
  changeLength,
  truncate,
  remove,
  remove,
  duplicate,
  duplicate,
  move,
  crossOver,
  crossOver,
  insertNoise,
];
