/** Is a response head one that may be passed on? Node's parser has refused most of what is broken; this is the rest. */
import type { IncomingMessage } from "node:http";
import { type RawFields, forwardedResponseFields, hasField } from "../wire/fields.ts";
import { type ResponseFraming, judgeResponseFraming } from "../wire/parse-response-head.ts";
import type { Failure } from "../wire/refusal.ts";
import { isReasonPhrase } from "../wire/response-head-bytes.ts";

export type ResponseHeadReading =
  | ResponseHead
  | { readonly kind: "malformed"; readonly failure: Failure; readonly detail: string };

export type ResponseHead = {
  readonly kind: "head";
  readonly status: number;
  readonly phrase: string;
  readonly fields: RawFields;
};

/** interface.md, "Refusals": more 1xx responses than this are an attack, not news. */
export const maxInterimResponses = 16;

/** Node's client keeps a little more than that of a response, and drops the rest without a word. */
const maxFields = 999;

/** What there is of a final head before it has been judged. */
export type RawResponseHead = Omit<ResponseHead, "kind"> & { readonly httpVersion: string };

/** Judges the head of an answer that Node's parser has read. */
export function judgeResponse(
  method: string,
  { statusCode: status = 0, statusMessage: phrase = "", rawHeaders: fields, httpVersion }: IncomingMessage,
  pseudonym: string,
  nowMs: number,
  isParent = false,
): ResponseHeadReading {
  if (httpVersion !== "1.1" && httpVersion !== "1.0") return malformed("the origin speaks another version of HTTP");
  const framing = judgeResponseFraming(method, status, httpVersion, fields);
  return judgeResponseHead({ status, phrase, fields, httpVersion }, framing, pseudonym, nowMs, isParent);
}

/**
 * Judges the final head of an origin, or of a parent proxy on its behalf (RFC 9112 section 6, threats.md section 4). The fields of the answer are those for
 * the client: end-to-end, with our Via, and a Date where the origin gave none (RFC 9110 section 6.6.1).
 */
export function judgeResponseHead(
  { status, phrase, fields: sent, httpVersion }: RawResponseHead,
  framing: ResponseFraming,
  pseudonym: string,
  nowMs: number,
  isParent = false,
): ResponseHeadReading {
  if (status < 200 || status > 599) return malformed("the origin's status is none");
  if (status === 407 && isParent) {
    return { kind: "malformed", failure: "http_request_denied", detail: "the parent proxy asks for credentials (407)" };
  }
  if (status === 407) return malformed("the origin asks for proxy credentials");
  if (sent.length / 2 > maxFields) {
    const detail = "the origin's response has too many fields";
    return { kind: "malformed", failure: "http_response_header_section_size", detail };
  }
  if (!isReasonPhrase(phrase)) return malformed("the origin's reason phrase holds control characters");
  if (framing.kind === "malformed") return malformed(`the origin's framing is refused: ${framing.detail}`);
  // A 204 has no Content-Length (RFC 9110 section 8.6).
  const own = status === 204 ? withoutLength(sent) : sent;
  const fields = forwardedResponseFields(own, `${httpVersion} ${pseudonym}`);
  if (!hasField(own, "date")) fields.push("Date", new Date(nowMs).toUTCString());
  return { kind: "head", status, phrase, fields };
}

/** Whether an answer of this status to this method has a body (RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5). */
export function hasBody(method: string, status: number): boolean {
  return method !== "HEAD" && status !== 204 && status !== 304;
}

/** The fields of a 1xx for the client: a 101 by what follows it, every 1xx by RFC 9110 section 8.6, has no length. */
export function interimFields(fields: RawFields, pseudonym: string): RawFields {
  return forwardedResponseFields(withoutLength(fields), `1.1 ${pseudonym}`);
}

function withoutLength(fields: RawFields): RawFields {
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() !== "content-length") kept.push(fields[i] ?? "", fields[i + 1] ?? "");
  }
  return kept;
}

function malformed(detail: string): ResponseHeadReading {
  return { kind: "malformed", failure: "http_protocol_error", detail };
}
