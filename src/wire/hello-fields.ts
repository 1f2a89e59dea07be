/** What ClientHello and ServerHello are both made of, read in place: vectors, a session id, extensions (RFC 8446 sections 3.4, 4.1 and 4.2). */

/** Versions as they stand on the wire. */
export const tlsVersion = { ssl3: 0x0300, tls12: 0x0303, tls13: 0x0304 } as const;

const versionAndRandomBytes = 34;
const maxSessionIdBytes = 32;

/** A big-endian number of two bytes. Whether both belong to what is read, the caller knows. */
export function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/** Where the vector with a length of one byte at `at` ends; -1 when it, or its length, does not fit before `end`. */
export function vector8End(bytes: Uint8Array, at: number, end: number): number {
  const vectorEnd = at + 1 + (bytes[at] ?? 0);
  return vectorEnd > end ? -1 : vectorEnd;
}

/** Where the vector with a length of two bytes at `at` ends; -1 when it, or its length, does not fit before `end`. */
export function vector16End(bytes: Uint8Array, at: number, end: number): number {
  const vectorEnd = at + 2 + uint16(bytes, at);
  return vectorEnd > end ? -1 : vectorEnd;
}

/** Where the fields that begin every hello end (legacy_version, random, session id); -1 when they do not fit before `end`. */
export function sessionIdEnd(bytes: Uint8Array, start: number, end: number): number {
  const sessionId = start + versionAndRandomBytes;
  const sessionEnd = vector8End(bytes, sessionId, end);
  return sessionEnd - sessionId - 1 > maxSessionIdBytes ? -1 : sessionEnd;
}

/** One of the sixteen values 0x0a0a, 0x1a1a … 0xfafa that mean nothing (RFC 8701). */
export function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}

/**
 * What is wrong with the extensions from `start` to `end`: lengths that do not add up, or a type that comes twice
 * (RFC 8446 section 4.2: a peer that took the other one would see another hello). Undefined when nothing is.
 */
export function extensionsProblem(bytes: Uint8Array, start: number, end: number): string | undefined {
  const seen = new Set<number>();
  let at = start;
  while (at < end) {
    const next = vector16End(bytes, at + 2, end);
    if (next < 0) return "extension length";
    const type = uint16(bytes, at);
    if (seen.has(type)) return "duplicate extension";
    seen.add(type);
    at = next;
  }
  return undefined;
}

/**
 * Where the data vector of an extension begins (its two bytes of length), or -1 when it is absent.
 * Expects extensions in which `extensionsProblem` found nothing.
 */
export function findExtension(bytes: Uint8Array, start: number, end: number, type: number): number {
  let at = start;
  while (at < end) {
    if (uint16(bytes, at) === type) return at + 2;
    at += 4 + uint16(bytes, at + 2);
  }
  return -1;
}
