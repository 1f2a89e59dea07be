/** The head of a response as it goes on the wire, for sockets that no HTTP server writes to. */
import type { RawFields } from "./fields.ts";

export function responseHeadBytes(status: number, phrase: string, fields: RawFields): Buffer {
  return Buffer.from(responseHeadText(status, phrase, fields), "latin1");
}

/** The same as a latin1 string. `more` is whole lines. */
export function responseHeadText(status: number, phrase: string, fields: RawFields, more = ""): string {
  let text = `HTTP/1.1 ${status} ${isReasonPhrase(phrase) ? phrase : ""}\r\n`;
  for (let i = 0; i + 1 < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return `${text}${more}\r\n`;
}

/** What a reason phrase may hold (RFC 9112 section 4). */
export function isReasonPhrase(phrase: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(phrase);
}
