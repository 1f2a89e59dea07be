/** Is a response head one that may be passed on? Node's parser has refused most of what is broken; this is the rest. */
import type { IncomingMessage } from "node:http";
import { type RawFields, fieldValues } from "../wire/fields.ts";

export type ResponseHeadReading =
  | { readonly kind: "head"; readonly status: number; readonly fields: RawFields }
  | { readonly kind: "malformed"; readonly detail: string };

/** interface.md, "Refusals": more 1xx responses than this are an attack, not news. */
export const maxInterimResponses = 16;

/** Judges the final head of an origin (RFC 9112 section 6, threats.md section 4). */
export function judgeResponseHead(response: IncomingMessage): ResponseHeadReading {
  const { statusCode: status = 0, rawHeaders } = response;
  if (status < 200 || status > 599) return malformed("the origin's status is none");
  if (status === 407) return malformed("the origin asks for proxy credentials");
  const codings = fieldValues(rawHeaders, "transfer-encoding");
  if (codings.length > 1 || (codings.length === 1 && codings[0]?.trim().toLowerCase() !== "chunked")) {
    return malformed("the origin uses a transfer coding other than chunked");
  }
  const lengths = fieldValues(rawHeaders, "content-length");
  if (lengths.length > 1 || (lengths.length === 1 && codings.length === 1)) return malformed("the origin's framing is ambiguous");
  return { kind: "head", status, fields: status === 204 ? withoutLength(rawHeaders) : rawHeaders };
}

/** A 204 has no Content-Length (RFC 9110 section 8.6). */
function withoutLength(fields: RawFields): RawFields {
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() !== "content-length") kept.push(fields[i] ?? "", fields[i + 1] ?? "");
  }
  return kept;
}

function malformed(detail: string): ResponseHeadReading {
  return { kind: "malformed", detail };
}
