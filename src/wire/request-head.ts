/** The framing and the form of a request head, judged on the raw fields (RFC 9112 section 6, threats.md section 3). */
import { type RawFields, fieldTokens, fieldValues } from "./fields.ts";

/** A head as it came: what `parse-request-head` reads off the wire. */
export type RequestHead = {
  readonly method: string;
  readonly url: string;
  /** `1.0` or `1.1`. */
  readonly httpVersion: string;
  readonly rawFields: RawFields;
};

/** How the body is delimited. A GET with `Content-Length: 0` is bodiless: Delivery Optimization sends nothing else. */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" };

export type HeadReading =
  | {
      readonly kind: "head";
      readonly framing: Framing;
      readonly host: string | undefined;
      readonly upgrade: string | undefined;
    }
  | { readonly kind: "malformed"; readonly problem: HeadProblem; readonly detail: string };

/** Which line of the table of refusals a bad head falls under. */
export type HeadProblem =
  | "bad_request"
  | "too_many_fields"
  | "coding_unknown"
  | "version_unsupported"
  | "expectation_failed";

/**
 * Judges a head before its target is looked at. The parser has refused bare CR and LF, folded lines and bad names; this
 * refuses whatever two recipients could read in two ways.
 */
export function readHead(head: RequestHead, maxFields: number): HeadReading {
  const { rawFields, httpVersion } = head;
  if (httpVersion !== "1.1" && httpVersion !== "1.0")
    return bad("version_unsupported", "HTTP/1.0 and HTTP/1.1 are spoken here");
  if (rawFields.length / 2 > maxFields) return bad("too_many_fields", `more than ${maxFields} fields`);
  const hosts = fieldValues(rawFields, "host");
  if (hosts.length > 1) return bad("bad_request", "two Host fields");
  if (hosts.length === 0 && httpVersion === "1.1" && head.method !== "CONNECT")
    return bad("bad_request", "no Host field");
  const framing = readFraming(head);
  if ("problem" in framing) return framing;
  const upgrade = fieldValues(rawFields, "upgrade");
  const asked = upgrade.length > 0 && fieldTokens(rawFields, "connection").includes("upgrade");
  if (upgrade.length > 0 && framing.kind !== "none") return bad("bad_request", "Upgrade with a body");
  const expect = fieldTokens(rawFields, "expect");
  if (expect.some((value) => value !== "100-continue"))
    return bad("expectation_failed", "an expectation other than 100-continue");
  return { kind: "head", framing, host: hosts[0], upgrade: asked ? upgrade.join(",").trim().toLowerCase() : undefined };
}

type BadHead = Extract<HeadReading, { kind: "malformed" }>;

function readFraming({ method, httpVersion, rawFields }: RequestHead): Framing | BadHead {
  const lengths = fieldValues(rawFields, "content-length");
  const codings = fieldValues(rawFields, "transfer-encoding");
  if (codings.length > 0) {
    if (lengths.length > 0) return bad("bad_request", "Content-Length and Transfer-Encoding");
    if (httpVersion === "1.0") return bad("bad_request", "Transfer-Encoding in HTTP/1.0");
    if (method === "CONNECT") return bad("bad_request", "CONNECT with a body");
    if (codings.length > 1) return bad("bad_request", "two Transfer-Encoding fields");
    const [coding = ""] = codings;
    if (coding === "") return bad("bad_request", "an empty Transfer-Encoding");
    if (coding.toLowerCase() === "chunked") return { kind: "chunked" };
    // Chunks within something else: where they end depends on who reads them.
    if (fieldTokens(rawFields, "transfer-encoding").slice(0, -1).includes("chunked")) {
      return bad("bad_request", "a transfer coding around chunked");
    }
    return bad("coding_unknown", "a transfer coding other than chunked");
  }
  if (lengths.length > 1) return bad("bad_request", "two Content-Length fields");
  const [length] = lengths;
  if (length === undefined) return { kind: "none" };
  // A leading zero is octal to some recipients.
  if (!/^(0|[1-9]\d{0,14})$/.test(length)) return bad("bad_request", "a Content-Length that is no number");
  const bytes = Number(length);
  if (bytes > 0 && method === "CONNECT") return bad("bad_request", "CONNECT with a body");
  return bytes === 0 ? { kind: "none" } : { kind: "length", bytes };
}

function bad(problem: HeadProblem, detail: string): BadHead {
  return { kind: "malformed", problem, detail };
}
