/** IP addresses and CIDR blocks as bytes, so that one comparison serves both families. */
import { isIPv4, isIPv6 } from "node:net";

/** A parsed address. IPv4-mapped IPv6 (`::ffff:a.b.c.d`) is its IPv4 address: the same packets reach it. */
export type Address = {
  readonly family: 4 | 6;
  /** 4 or 16 bytes, network order. */
  readonly bytes: Uint8Array;
  /** Canonical text (RFC 5952 for IPv6), without brackets. */
  readonly text: string;
};

/** A block of addresses: `bytes` has no bit set beyond `prefix`. */
export type Cidr = {
  readonly family: 4 | 6;
  readonly bytes: Uint8Array;
  /** Length of the prefix in bits: 0 to 32, or 0 to 128. */
  readonly prefix: number;
  /** Canonical text, always with a `/prefix`. */
  readonly text: string;
};

/** Parses a canonical dotted quad or an IPv6 address without brackets; zone ids and every other spelling are undefined. */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return address4(Uint8Array.from(text.split("."), Number));
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const bytes = bytesOfIPv6(text);
  return isMapped(bytes) ? address4(bytes.slice(12)) : { family: 6, bytes, text: textOfIPv6(bytes) };
}

/** The address made of 4 or 16 bytes. */
export function addressOfBytes(bytes: Uint8Array): Address {
  if (bytes.length === 4) return address4(bytes);
  return isMapped(bytes) ? address4(bytes.slice(12)) : { family: 6, bytes, text: textOfIPv6(bytes) };
}

/**
 * Parses `address` or `address/prefix`. Bits set beyond the prefix are a problem (`10.0.0.1/8` is a typing slip
 * more often than a block), answered with what was probably meant.
 */
export function parseCidr(text: string): Cidr | { readonly problem: string } {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return { problem: "is no address and no CIDR block" };
  const bits = address.bytes.length * 8;
  let prefix = bits;
  if (slash >= 0) {
    const digits = text.slice(slash + 1);
    if (!/^(0|[1-9]\d{0,2})$/.test(digits)) return { problem: "has no number behind the slash" };
    // `::ffff:10.0.0.0/104` is 10.0.0.0/8.
    const mapped = address.family === 4 && text.includes(":") ? 96 : 0;
    prefix = Number(digits) - mapped;
    if (prefix < 0) return { problem: "has a prefix under 96 bits, and so is more than IPv4-mapped addresses" };
    if (prefix > bits) return { problem: `has a prefix beyond ${bits + mapped} bits` };
  }
  const bytes = maskBytes(address.bytes, prefix);
  const block = blockText(address, prefix);
  if (!bytes.every((byte, i) => byte === address.bytes[i])) {
    return { problem: `has bits set beyond its prefix: write ${block}` };
  }
  return { family: address.family, bytes, prefix, text: block };
}

/** Text of the block of this prefix that holds the address, as in `Cidr.text`. */
export function blockText(address: Address, prefix: number): string {
  return `${addressText(address.family, maskBytes(address.bytes, prefix))}/${prefix}`;
}

/** Text of a block for people: a block that is one address stands without its prefix. */
export function shortText({ bytes, prefix, text }: Cidr): string {
  return prefix === bytes.length * 8 ? text.slice(0, text.indexOf("/")) : text;
}

/** True when the block holds the address. */
export function cidrContains(cidr: Cidr, address: Address): boolean {
  if (cidr.family !== address.family) return false;
  const whole = cidr.prefix >> 3;
  for (let i = 0; i < whole; i++) if (cidr.bytes[i] !== address.bytes[i]) return false;
  const rest = cidr.prefix & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return ((cidr.bytes[whole] ?? 0) & mask) === ((address.bytes[whole] ?? 0) & mask);
}

function address4(bytes: Uint8Array): Address {
  return { family: 4, bytes, text: bytes.join(".") };
}

function addressText(family: 4 | 6, bytes: Uint8Array): string {
  return family === 4 ? bytes.join(".") : textOfIPv6(bytes);
}

function maskBytes(bytes: Uint8Array, prefix: number): Uint8Array {
  return bytes.map((byte, i) => {
    const kept = Math.min(8, Math.max(0, prefix - i * 8));
    return byte & ((0xff << (8 - kept)) & 0xff);
  });
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** Expects text that `isIPv6` has accepted. */
function bytesOfIPv6(text: string): Uint8Array {
  const [head = "", tail] = text.split("::", 2);
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  const middle = Array.from({ length: 8 - left.length - right.length }, () => 0);
  const bytes = new Uint8Array(16);
  [...left, ...middle, ...right].forEach((group, i) => {
    bytes[i * 2] = group >> 8;
    bytes[i * 2 + 1] = group & 0xff;
  });
  return bytes;
}

function groupsOf(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((part) => {
    if (!part.includes(".")) return [Number.parseInt(part, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = part.split(".").map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function textOfIPv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0));
  let best = { start: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > best.length) best = { start: i, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.start < 0) return hex.join(":");
  return `${hex.slice(0, best.start).join(":")}::${hex.slice(best.start + best.length).join(":")}`;
}
