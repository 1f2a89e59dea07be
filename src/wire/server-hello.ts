/** Reads which TLS version a server has chosen, from the first bytes it sends. */
import { readHandshake, recordHeaderBytes, walkFrom } from "./handshake.ts";
import type { ServerHelloReading } from "./hello.ts";
import { alertRecord } from "./tls-alert.ts";
import { extensionsProblem, findExtension, sessionIdEnd, tlsVersion, uint16, vector16End } from "./hello-fields.ts";

const serverHelloType = 2;
const cipherAndCompressionBytes = 3;
const alertBodyBytes = 2;
const supportedVersions = 43;

/**
 * Reads a prefix of what a server sends, of which at most `capBytes` may go by before its ServerHello ends: plaintext
 * alerts, then a ServerHello (a HelloRetryRequest is one, RFC 8446 section 4.1.4). Pure, and final: whatever is not
 * `incomplete` stays the answer for every longer prefix, and it comes with the last byte of the ServerHello, whatever
 * its record holds behind it.
 *
 * The words of `detail`: `record type`, `record version`, `record length`, `alert length`, `handshake type`,
 * `session_id`, `cipher_suite`, `extensions length`, `extension length`, `duplicate extension`, `supported_versions`,
 * `legacy_version`.
 */
export function parseServerHello(prefix: Uint8Array, capBytes: number): ServerHelloReading {
  const limit = Math.min(prefix.length, capBytes);
  let pass = 0;
  while (pass < limit && prefix[pass] === alertRecord) {
    const body = pass + recordHeaderBytes;
    if (pass + 1 < limit && prefix[pass + 1] !== 3) return malformed("record version");
    if (body <= limit && uint16(prefix, pass + 3) !== alertBodyBytes) return malformed("alert length");
    if (body + alertBodyBytes > limit)
      return prefix.length >= capBytes ? { kind: "too_large" } : { kind: "incomplete", pass };
    pass = body + alertBodyBytes;
  }
  const reading = readHandshake(prefix, capBytes, serverHelloType, walkFrom(pass));
  if (reading.kind === "incomplete") return { kind: "incomplete", pass };
  if (reading.kind !== "message") return reading;
  return parseBody(reading.bytes, reading.start, reading.end);
}

function parseBody(bytes: Uint8Array, start: number, end: number): ServerHelloReading {
  const cipherSuite = sessionIdEnd(bytes, start, end);
  if (cipherSuite < 0) return malformed("session_id");
  const extensions = cipherSuite + cipherAndCompressionBytes;
  if (extensions > end) return malformed("cipher_suite");

  // Servers older than extensions end here.
  const first = extensions === end ? end : extensions + 2;
  if (extensions !== end && vector16End(bytes, extensions, end) !== end) return malformed("extensions length");
  const problem = extensionsProblem(bytes, first, end);
  if (problem !== undefined) return malformed(problem);

  return readVersion(uint16(bytes, start), bytes, findExtension(bytes, first, end, supportedVersions));
}

/**
 * The version that client and server will speak, and no number that only one of them would read so: TLS 1.3 is chosen
 * by supported_versions behind a legacy_version of 1.2, everything older by legacy_version alone (RFC 8446 sections
 * 4.1.3 and 4.2.1). A newer TLS is unknown here, and malformed.
 */
function readVersion(legacyVersion: number, bytes: Uint8Array, data: number): ServerHelloReading {
  if (data < 0) {
    const known = legacyVersion >= tlsVersion.ssl3 && legacyVersion <= tlsVersion.tls12;
    return known ? { kind: "hello", version: legacyVersion } : malformed("legacy_version");
  }
  if (uint16(bytes, data) !== 2 || uint16(bytes, data + 2) !== tlsVersion.tls13) return malformed("supported_versions");
  return legacyVersion === tlsVersion.tls12
    ? { kind: "hello", version: tlsVersion.tls13 }
    : malformed("legacy_version");
}

function malformed(detail: string): ServerHelloReading {
  return { kind: "malformed", detail };
}
