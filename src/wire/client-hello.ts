/** Reads the TLS ClientHello at the head of a tunnel, strictly: what two readers could take in two ways is malformed. */
import { parseHostname } from "../names/hostname.ts";
import { type RecordWalk, handshakeRecord, readHandshake, walkFrom } from "./handshake.ts";
import type { HelloReading } from "./hello.ts";
import {
  extensionsProblem,
  findExtension,
  isGrease,
  sessionIdEnd,
  tlsVersion,
  uint16,
  vector16End,
  vector8End,
} from "./hello-fields.ts";

type Malformed = { readonly kind: "malformed"; readonly detail: string };

const clientHelloType = 1;
const maxAlpn = 16;

const extensionType = {
  serverName: 0,
  alpn: 16,
  preSharedKey: 41,
  supportedVersions: 43,
  encryptedClientHello: 0xfe0d,
  encryptedServerName: 0xffce,
};

const unwalked = walkFrom(0);

/**
 * Reads a prefix of what a client sends, of which at most `capBytes` (record headers included) may go by before its
 * ClientHello ends. Pure, and final: whatever is not `incomplete` stays the answer for every longer prefix.
 * Headers are judged as they arrive, the rest once the hello is whole. A hello in one record is read in place.
 * `walk` is that of an `incomplete` answer to a shorter prefix: it saves work and changes nothing.
 * (RFC 8446 sections 4.1.2, 4.2 and 5.1; RFC 6066 section 3; RFC 7301 section 3.1; RFC 8701.)
 *
 * The words of `detail`: `record type`, `record version`, `record length`, `handshake type`, `trailing bytes`,
 * `session_id`, `cipher_suites`, `compression_methods`, `extensions length`, `extension length`, `duplicate extension`,
 * `pre_shared_key not last`, `server_name`, `server_name entries`, `server_name host`, `supported_versions`,
 * `legacy_version`, `alpn`.
 */
export function parseClientHello(prefix: Uint8Array, capBytes: number, walk: RecordWalk = unwalked): HelloReading {
  if (prefix.length > 0 && prefix[0] !== handshakeRecord) return { kind: "not_tls" };
  if (prefix.length > 1 && prefix[1] !== 3) return { kind: "not_tls" };
  const reading = readHandshake(prefix, capBytes, clientHelloType, walk);
  if (reading.kind !== "message") return reading;
  // A second message in the record would be a second hello that nobody has judged.
  if (!reading.endsRecord) return malformed("trailing bytes");
  return parseBody(reading.bytes, reading.start, reading.end, reading.length);
}

function parseBody(bytes: Uint8Array, start: number, end: number, length: number): HelloReading {
  const cipherSuites = sessionIdEnd(bytes, start, end);
  if (cipherSuites < 0) return malformed("session_id");

  const compressionMethods = vector16End(bytes, cipherSuites, end);
  const cipherSuitesBytes = compressionMethods - cipherSuites - 2;
  if (cipherSuitesBytes < 2 || cipherSuitesBytes % 2 !== 0) return malformed("cipher_suites");

  const extensions = vector8End(bytes, compressionMethods, end);
  if (!holdsZero(bytes, compressionMethods + 1, extensions)) return malformed("compression_methods");

  // Clients older than extensions end here.
  const first = extensions === end ? end : extensions + 2;
  if (extensions !== end && vector16End(bytes, extensions, end) !== end) return malformed("extensions length");
  const problem = extensionsProblem(bytes, first, end);
  if (problem !== undefined) return malformed(problem);

  const preSharedKey = findExtension(bytes, first, end, extensionType.preSharedKey);
  if (preSharedKey >= 0 && vector16End(bytes, preSharedKey, end) !== end) return malformed("pre_shared_key not last");

  const serverName = readServerName(bytes, findExtension(bytes, first, end, extensionType.serverName));
  if (serverName !== null && typeof serverName !== "string") return serverName;

  const versions = findExtension(bytes, first, end, extensionType.supportedVersions);
  const maxVersion = versions < 0 ? readLegacyVersion(bytes, start) : readSupportedVersions(bytes, versions);
  if (typeof maxVersion !== "number") return maxVersion;

  const alpn = readAlpn(bytes, findExtension(bytes, first, end, extensionType.alpn));
  if ("kind" in alpn) return alpn;

  const ech =
    findExtension(bytes, first, end, extensionType.encryptedClientHello) >= 0 ||
    findExtension(bytes, first, end, extensionType.encryptedServerName) >= 0;
  return { kind: "hello", serverName, maxVersion, alpn, ech, length };
}

/** Compression method 0 (null) must be offered; an empty list, or one that does not fit (`end` -1), offers nothing. */
function holdsZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] === 0) return true;
  return false;
}

/** RFC 6066 section 3: exactly one name, of type host_name. `data` is where the extension's data vector begins, or -1. */
function readServerName(bytes: Uint8Array, data: number): string | null | Malformed {
  if (data < 0) return null;
  const end = data + 2 + uint16(bytes, data);
  const list = data + 2;
  if (vector16End(bytes, list, end) !== end) return malformed("server_name");
  const entry = list + 2;
  const nameEnd = vector16End(bytes, entry + 1, end);
  if (bytes[entry] !== 0 || nameEnd !== end) return malformed("server_name entries");
  const text = latin1(bytes, entry + 3, end);
  // A trailing dot is against RFC 6066, but clients send it, and it names no other host.
  return parseHostname(text) === undefined ? malformed("server_name host") : text;
}

/** The highest version this proxy knows among those offered; drafts, GREASE and versions yet to come are passed over. */
function readSupportedVersions(bytes: Uint8Array, data: number): number | Malformed {
  const end = data + 2 + uint16(bytes, data);
  const list = data + 2;
  const listBytes = end - list - 1;
  if (vector8End(bytes, list, end) !== end || listBytes === 0 || listBytes % 2 !== 0)
    return malformed("supported_versions");
  let highest = 0;
  for (let at = list + 1; at < end; at += 2) {
    const version = uint16(bytes, at);
    if (version >= tlsVersion.ssl3 && version <= tlsVersion.tls13 && version > highest) highest = version;
  }
  return highest;
}

/** Without supported_versions no more than TLS 1.2 can be negotiated, whatever legacy_version says (RFC 8446 section 4.2.1). */
function readLegacyVersion(bytes: Uint8Array, at: number): number | Malformed {
  const version = uint16(bytes, at);
  return version < tlsVersion.ssl3 ? malformed("legacy_version") : Math.min(version, tlsVersion.tls12);
}

/** RFC 7301 section 3.1: a list of non-empty names, not empty itself. */
function readAlpn(bytes: Uint8Array, data: number): readonly string[] | Malformed {
  const protocols: string[] = [];
  if (data < 0) return protocols;
  const end = data + 2 + uint16(bytes, data);
  const list = data + 2;
  if (vector16End(bytes, list, end) !== end || end - list === 2) return malformed("alpn");
  let at = list + 2;
  while (at < end) {
    const next = vector8End(bytes, at, end);
    const nameBytes = next - at - 1;
    if (nameBytes < 1) return malformed("alpn");
    const grease = nameBytes === 2 && isGrease(uint16(bytes, at + 1));
    if (!grease && protocols.length < maxAlpn) protocols.push(latin1(bytes, at + 1, next));
    at = next;
  }
  return protocols;
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i] ?? 0);
  return text;
}

function malformed(detail: string): Malformed {
  return { kind: "malformed", detail };
}
