/** The first handshake message of a plaintext TLS stream, put together from its records (RFC 8446 sections 4 and 5.1). */
import { uint16 } from "./hello-fields.ts";

/** How far the records of a prefix have been walked: a value to go on from when the prefix has grown. */
export type RecordWalk = {
  /** Where the first record of the message begins. */
  readonly start: number;
  /** Where the first record begins that is not whole yet. */
  readonly at: number;
  /** Bytes of the message in the records before `at`. */
  readonly gathered: number;
  /** What those records hold of the message's own header, as a big-endian number. */
  readonly header: number;
};

/** A prefix of a stream, as far as its record and handshake headers tell. */
export type HandshakeReading =
  | {
      readonly kind: "message";
      /** Holds the body of the message from `start` to `end`: the prefix itself, or a copy when it came in several records. */
      readonly bytes: Uint8Array;
      readonly start: number;
      readonly end: number;
      /** Bytes of the prefix up to the end of the message. */
      readonly length: number;
      /** The record that ends the message holds nothing behind it. */
      readonly endsRecord: boolean;
    }
  | { readonly kind: "incomplete"; readonly walk: RecordWalk }
  | { readonly kind: "malformed"; readonly detail: string }
  | { readonly kind: "too_large" };

/** ContentType `handshake`. */
export const handshakeRecord = 22;
/** Bytes of a record header: type, version, length. */
export const recordHeaderBytes = 5;

const maxRecordBytes = 2 ** 14;
const messageHeaderBytes = 4;

/** The walk that has not begun, for a message whose first record begins at `start`. */
export function walkFrom(start: number): RecordWalk {
  return { start, at: start, gathered: 0, header: 0 };
}

/**
 * Reads the handshake message of the given type that begins where `walk` began.
 *
 * Only headers are looked at, each of them once when the walk of the answer before is handed in: a peer that sends
 * tiny records in tiny segments does not make the work grow with the square of the bytes.
 * Nothing beyond the first `capBytes` of the prefix has a say, and a message that must end beyond them is too large
 * from the moment its length is known: an answer once given is the answer for every longer prefix.
 * The version of a record is ignored but for its major byte; records without content and records of another type
 * inside the message are malformed (RFC 8446 section 5.1).
 */
export function readHandshake(prefix: Uint8Array, capBytes: number, type: number, walk: RecordWalk): HandshakeReading {
  const { start } = walk;
  let { at, gathered, header } = walk;
  const limit = Math.min(prefix.length, capBytes);
  while (at < limit) {
    if (prefix[at] !== handshakeRecord) return malformed("record type");
    if (at + 1 < limit && prefix[at + 1] !== 3) return malformed("record version");
    const payload = at + recordHeaderBytes;
    if (payload > limit) break;
    const length = uint16(prefix, at + 3);
    if (length === 0 || length > maxRecordBytes) return malformed("record length");
    const here = Math.min(length, limit - payload);
    if (gathered === 0 && here > 0 && prefix[payload] !== type) return malformed("handshake type");

    let headerHere = header;
    for (let i = 0; i < here && gathered + i < messageHeaderBytes; i++)
      headerHere = headerHere * 256 + (prefix[payload + i] ?? 0);
    if (gathered + here >= messageHeaderBytes) {
      // The first of the four header bytes is the type.
      const total = messageHeaderBytes + (headerHere % 2 ** 24);
      const missing = total - gathered;
      if (earliestEnd(payload, length, missing) > capBytes) return { kind: "too_large" };
      if (missing <= here) {
        const where =
          gathered === 0 ? { bytes: prefix, start: payload, end: payload + total } : joinRecords(prefix, start, total);
        return {
          kind: "message",
          bytes: where.bytes,
          start: where.start + messageHeaderBytes,
          end: where.end,
          length: payload + missing,
          endsRecord: missing === length,
        };
      }
    }
    if (here < length) break;
    header = headerHere;
    gathered += length;
    at = payload + length;
  }
  return prefix.length >= capBytes
    ? { kind: "too_large" }
    : { kind: "incomplete", walk: { start, at, gathered, header } };
}

/** Where a message ends at the earliest that needs `missing` bytes from `payload` on: in that record, or in full ones behind it. */
function earliestEnd(payload: number, length: number, missing: number): number {
  const recordsBehind = Math.max(0, Math.ceil((missing - length) / maxRecordBytes));
  return payload + missing + recordsBehind * recordHeaderBytes;
}

/** Expects records that have been walked, with at least `total` bytes of content. */
function joinRecords(
  prefix: Uint8Array,
  start: number,
  total: number,
): { bytes: Uint8Array; start: number; end: number } {
  const bytes = new Uint8Array(total);
  let at = start;
  let filled = 0;
  while (filled < total) {
    const payload = at + recordHeaderBytes;
    const length = uint16(prefix, at + 3);
    const taken = Math.min(length, total - filled);
    bytes.set(prefix.subarray(payload, payload + taken), filled);
    filled += taken;
    at = payload + length;
  }
  return { bytes, start: 0, end: total };
}

function malformed(detail: string): HandshakeReading {
  return { kind: "malformed", detail };
}

/**
 * True when one of the records that begin in these bytes, the first at their start, is a handshake record. Behind a
 * ClientHello only early data may come before the server has answered: change_cipher_spec and application data (RFC
 * 8446 section 4.2.10 and appendix D.4).
 */
export function holdsHandshake(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] === handshakeRecord) return true;
    at += recordHeaderBytes + (((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0));
  }
  return false;
}
