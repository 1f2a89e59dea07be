/**
 * The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): what a load balancer says of a client before the
 * client's own first byte. Strict: whatever two readers could read in two ways is malformed.
 */
import { type Address, addressOfBytes, parseAddress } from "../names/address.ts";

/** `source` is undefined where the balancer speaks for itself, or of a client that has no IP address. */
export type ProxyHeader = {
  readonly kind: "header";
  readonly source: Address | undefined;
  /** Bytes that the header fills; what follows is the client's. */
  readonly length: number;
};

export type ProxyHeaderReading =
  | ProxyHeader
  /** No header yet, but nothing that could not become one. */
  | { readonly kind: "incomplete" }
  /** `detail` is a short constant for log and tests. */
  | { readonly kind: "malformed"; readonly detail: string };

/** Longest line of version 1, its CRLF included (section 2.1). */
const maxLineBytes = 107;
/** What version 2 may add to its 16 bytes: addresses, and some extensions. The format itself allows 64 KiB. */
export const maxBlockBytes = 4096;

/** Reads the header at the start of a prefix of a connection. An answer stays the answer whatever follows. */
export function parseProxyHeader(bytes: Uint8Array): ProxyHeaderReading {
  const first = bytes[0];
  if (first === undefined) return incomplete;
  if (first === signature[0]) return parseBlock(bytes);
  if (first === lineStart[0]) return parseLine(bytes);
  return malformed("no PROXY header");
}

const incomplete = { kind: "incomplete" } as const;
const lineStart = Buffer.from("PROXY ", "latin1");
const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");

function parseLine(bytes: Uint8Array): ProxyHeaderReading {
  if (!startsAs(bytes, lineStart)) return malformed("no PROXY header");
  const seen = Math.min(bytes.length, maxLineBytes);
  let end = -1;
  for (let i = lineStart.length; i < seen; i++) {
    const c = bytes[i] ?? 0;
    if (c === 0x0d) {
      end = i;
      break;
    }
    if (c < 0x20 || c > 0x7e) return malformed("a byte that no line may hold");
  }
  if (end < 0) return bytes.length < maxLineBytes ? incomplete : malformed("a line that is too long");
  if (end + 1 >= maxLineBytes) return malformed("a line that is too long");
  const last = bytes[end + 1];
  if (last === undefined) return incomplete;
  if (last !== 0x0a) return malformed("a CR alone");
  const length = end + 2;
  const words = Buffer.from(bytes.subarray(lineStart.length, end)).toString("latin1").split(" ");
  if (words[0] === "UNKNOWN") return { kind: "header", source: undefined, length };
  const [protocol = "", from = "", to = "", fromPort = "", toPort = "", ...more] = words;
  const wants6 = protocol === "TCP6";
  if (!wants6 && protocol !== "TCP4") return malformed("an unknown protocol");
  if (more.length > 0 || !isPort(fromPort) || !isPort(toPort)) return malformed("no two ports");
  const source = parseAddress(from);
  if (source === undefined || parseAddress(to) === undefined) return malformed("no two addresses");
  if (from.includes(":") !== wants6 || to.includes(":") !== wants6) return malformed("addresses of another family");
  return { kind: "header", source, length };
}

function parseBlock(bytes: Uint8Array): ProxyHeaderReading {
  if (!startsAs(bytes, signature)) return malformed("no PROXY header");
  const versionAndCommand = bytes[12];
  if (versionAndCommand === undefined) return incomplete;
  if (versionAndCommand !== local && versionAndCommand !== proxied) return malformed("an unknown version or command");
  const family = bytes[13];
  if (family === undefined) return incomplete;
  const addressBytes = blockFamilies.get(family);
  if (addressBytes === undefined) return malformed("an unknown family");
  const [high, low] = [bytes[14], bytes[15]];
  if (high === undefined || low === undefined) return incomplete;
  const blockBytes = high * 256 + low;
  if (blockBytes > maxBlockBytes) return malformed("a block that is too long");
  if (versionAndCommand === proxied && blockBytes < addressBytes) return malformed("a block without its addresses");
  const length = blockStart + blockBytes;
  if (bytes.length < length) return incomplete;
  // What comes with LOCAL is to be skipped, whatever it is (section 2.2).
  if (versionAndCommand === local) return { kind: "header", source: undefined, length };
  // Of a family without addresses nobody knows where they end and the extensions begin.
  if (family !== unspecified && !areExtensions(bytes.subarray(blockStart + addressBytes, length)))
    return malformed("extensions that do not end where the block does");
  const sourceBytes = family === tcp4 ? 4 : family === tcp6 ? 16 : 0;
  const source =
    sourceBytes === 0
      ? undefined
      : addressOfBytes(Uint8Array.from(bytes.subarray(blockStart, blockStart + sourceBytes)));
  return { kind: "header", source, length };
}

const blockStart = 16;
const local = 0x20;
const proxied = 0x21;
const unspecified = 0x00;
const tcp4 = 0x11;
const tcp6 = 0x21;
/** Bytes of the addresses of each family that can stand before a stream; UNIX sockets have no address that counts. */
const blockFamilies: ReadonlyMap<number, number> = new Map([
  [unspecified, 0],
  [tcp4, 12],
  [tcp6, 36],
  [0x31, 216],
]);

/** Type, length of two bytes, value; none of them is asked for, but each has to end where it says. */
function areExtensions(bytes: Uint8Array): boolean {
  let at = 0;
  while (at + 3 <= bytes.length) at += 3 + (bytes[at + 1] ?? 0) * 256 + (bytes[at + 2] ?? 0);
  return at === bytes.length;
}

/** As far as both go. */
function startsAs(bytes: Uint8Array, start: Uint8Array): boolean {
  const length = Math.min(bytes.length, start.length);
  for (let i = 0; i < length; i++) if (bytes[i] !== start[i]) return false;
  return true;
}

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65535;
}

function malformed(detail: string): ProxyHeaderReading {
  return { kind: "malformed", detail };
}
