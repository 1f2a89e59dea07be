/** Bytes of files that nobody stores: each byte follows from its offset, so that every piece is made, and checked, alone. */

/** A prime a little below 1 MiB: a piece of a power of two that comes from a wrong offset has wrong bytes. */
const period = 1_048_573;

const table = createTable();

/** The bytes from `offset` on. They are shared and not copied where that can be: read only. */
export function payload(offset: number, length: number): Buffer {
  const start = offset % period;
  if (start + length <= table.length) return table.subarray(start, start + length);
  const parts: Buffer[] = [];
  for (let done = 0; done < length; done += period) parts.push(payload(offset + done, Math.min(period, length - done)));
  return Buffer.concat(parts);
}

/** Where bytes that should stand at `offset` are first wrong, as a place in the file; undefined where all are right. */
export function firstWrongByte(bytes: Buffer, offset: number): number | undefined {
  const right = payload(offset, bytes.length);
  if (bytes.equals(right)) return undefined;
  return offset + bytes.findIndex((byte, i) => byte !== right[i]);
}

/** Two periods of a xorshift generator (Marsaglia 2003), so that a piece up to one period is one slice. */
function createTable(): Buffer {
  const bytes = Buffer.alloc(2 * period);
  let state = 0x9e3779b9;
  for (let i = 0; i < period; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state & 0xff;
  }
  bytes.copy(bytes, period, 0, period);
  return bytes;
}
