/** Host names in canonical form: ASCII lower case, no trailing dot, labels that DNS can carry. */
import { type Address, parseAddress } from "./address.ts";

/** A canonical DNS name: `a-z 0-9 - _ .`, 1 to 253 characters, labels of 1 to 63, never a number at the end. */
export type Hostname = string & { readonly __brand: "Hostname" };

/** What a client may name: a host name, or an address literal. */
export type Host =
  | { readonly kind: "name"; readonly name: Hostname }
  | { readonly kind: "address"; readonly address: Address };

const maxNameLength = 253;
const maxLabelLength = 63;

/**
 * Parses a host as it stands on the wire: in an authority, a Host field or an SNI.
 *
 * Strips exactly one trailing dot (threats.md 1, "trailing dot"), folds case, and refuses whatever a resolver
 * could read in another way: percent signs, non-ASCII, empty labels, names whose last label is a number
 * (WHATWG URL, "ends in a number") unless they are a canonical dotted quad. Brackets only hold an IPv6 address
 * (RFC 3986 section 3.2.2). Returns undefined for anything malformed.
 */
export function parseHost(text: string): Host | undefined {
  if (text.charCodeAt(0) === 0x5b) return parseBracketed(text);
  const name = parseHostname(text);
  if (name !== undefined) return { kind: "name", name };
  const address = parseAddress(text);
  return address?.family === 4 ? { kind: "address", address } : undefined;
}

/** Parses a DNS name; an address or a name that ends in a number is undefined. */
export function parseHostname(text: string): Hostname | undefined {
  let end = text.length;
  if (end > 1 && text.charCodeAt(end - 1) === 0x2e) end -= 1;
  if (end === 0 || end > maxNameLength) return undefined;
  let labelStart = 0;
  let fold = false;
  for (let i = 0; i < end; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x2e) {
      if (i === labelStart || i - labelStart > maxLabelLength) return undefined;
      labelStart = i + 1;
    } else if (c >= 0x41 && c <= 0x5a) {
      fold = true;
    } else if (!isHostCharacter(c)) {
      return undefined;
    }
  }
  if (end === labelStart || end - labelStart > maxLabelLength) return undefined;
  if (isNumericLabel(text, labelStart, end)) return undefined;
  const bare = end === text.length ? text : text.slice(0, end);
  return (fold ? bare.toLowerCase() : bare) as Hostname;
}

/** Writes a host as it stands in an authority: IPv6 in brackets. */
export function formatHost(host: Host): string {
  if (host.kind === "name") return host.name;
  return host.address.family === 6 ? `[${host.address.text}]` : host.address.text;
}

/** Two hosts are the same when their canonical spellings are. */
export function sameHost(a: Host, b: Host): boolean {
  return a.kind === b.kind && formatHost(a) === formatHost(b);
}

function parseBracketed(text: string): Host | undefined {
  if (text.charCodeAt(text.length - 1) !== 0x5d) return undefined;
  const inner = text.slice(1, -1);
  if (!inner.includes(":")) return undefined;
  const address = parseAddress(inner);
  return address === undefined ? undefined : { kind: "address", address };
}

function isHostCharacter(c: number): boolean {
  return (c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c === 0x2d || c === 0x5f;
}

/** `123`, `0x7f`, `0x`: what inet_aton and the WHATWG parser take for a number at the end of a name. */
function isNumericLabel(text: string, start: number, end: number): boolean {
  const hex = end - start >= 2 && text.charCodeAt(start) === 0x30 && (text.charCodeAt(start + 1) | 0x20) === 0x78;
  for (let i = hex ? start + 2 : start; i < end; i++) {
    const c = text.charCodeAt(i);
    const digit = c >= 0x30 && c <= 0x39;
    const hexDigit = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x66;
    if (!digit && !(hex && hexDigit)) return false;
  }
  return true;
}
