/** The head of a response as bytes, for sockets that no HTTP server writes to. */
import type { RawFields } from "./fields.ts";

/** A response head as bytes, for sockets that no HTTP server writes to. */
export function responseHeadBytes(status: number, phrase: string, fields: RawFields): Buffer {
  const lines = [`HTTP/1.1 ${status} ${isReasonPhrase(phrase) ? phrase : ""}`];
  for (let i = 0; i + 1 < fields.length; i += 2) lines.push(`${fields[i]}: ${fields[i + 1]}`);
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

/** What a reason phrase may hold (RFC 9112 section 4). */
export function isReasonPhrase(phrase: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(phrase);
}
