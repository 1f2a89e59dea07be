/**
 * The head of a response, read off the bytes of a connection (RFC 9112 sections 4 and 5; threats.md section 4), and how
 * its body is delimited. It repairs nothing, and takes nothing that Node's parser refuses.
 */
import {
  type FieldScan,
  cr,
  createFieldScan,
  fieldState,
  lf,
  readMarkedFields,
  scanFieldLines,
  space,
  textBytes,
} from "./field-lines.ts";
import type { RawFields } from "./fields.ts";

export type ResponseHeadParse =
  | {
      readonly kind: "head";
      /** 100 to 599. */
      readonly status: number;
      readonly phrase: string;
      readonly httpVersion: "1.0" | "1.1";
      readonly rawFields: RawFields;
      /** Names of `rawFields` in lower case: the same order, one for each field. */
      readonly folded: readonly string[];
      /** Bytes up to and including the empty line. */
      readonly length: number;
    }
  /** `scanned` goes into the next call, which has the same bytes and more; it is no count of bytes. */
  | { readonly kind: "incomplete"; readonly scanned: number }
  /** `detail` is a noun phrase for a person. */
  | { readonly kind: "malformed"; readonly problem: ResponseHeadProblem; readonly detail: string };

export type ResponseHeadProblem = "http_protocol_error" | "http_response_header_section_size";

/** How the body of a response is delimited. */
export type ResponseFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until_close" }
  | { readonly kind: "malformed"; readonly detail: string };

/**
 * Parses the head that begins at the first byte, final or interim. `scanned` is 0 for a new head, and what the last call
 * answered for one that was incomplete. A head of more than `maxBytes` is `http_response_header_section_size`. The
 * number of fields is judged by the caller.
 */
export function parseResponseHead(bytes: Buffer, scanned: number, maxBytes: number): ResponseHeadParse {
  const end = Math.min(bytes.length, maxBytes);
  if (scanned > 0) {
    const resumed = resume(bytes, scanned, end, maxBytes);
    if (resumed !== undefined) return resumed;
  }
  const statusEnd = readStatus(bytes, end, maxBytes);
  if (typeof statusEnd !== "number") return statusEnd;
  const lineEnd = readPhrase(bytes, statusEnd, end, maxBytes);
  if (typeof lineEnd !== "number") return lineEnd;
  const fields = createFieldScan(lineEnd, marks);
  scanFieldLines(fields, bytes, end);
  if (fields.state !== fieldState.done) return unfinished(fields, end, maxBytes);
  const text = bytes.toString("latin1", 0, fields.at);
  const { rawFields, folded } = readMarkedFields(fields, text, 0);
  return {
    kind: "head",
    status: Number(text.slice(statusEnd - 3, statusEnd)),
    phrase: text.slice(statusEnd + 1, lineEnd - 2),
    httpVersion: bytes[minorVersion] === zero ? "1.0" : "1.1",
    rawFields,
    folded,
    length: fields.at,
  };
}

/**
 * How the body of the response to `method` ends (RFC 9112 section 6.3). What two recipients could read in two ways is
 * malformed, also where there is no body: whoever sends that is not to be trusted with the connection.
 */
export function judgeResponseFraming(
  method: string,
  status: number,
  httpVersion: string,
  rawFields: RawFields,
): ResponseFraming {
  let length: string | undefined;
  let coding: string | undefined;
  for (let i = 0; i + 1 < rawFields.length; i += 2) {
    const name = rawFields[i] ?? "";
    if (name.length === contentLength.length && name.toLowerCase() === contentLength) {
      if (length !== undefined) return ambiguous("two Content-Length fields");
      length = rawFields[i + 1] ?? "";
    } else if (name.length === transferEncoding.length && name.toLowerCase() === transferEncoding) {
      if (coding !== undefined) return ambiguous("two Transfer-Encoding fields");
      coding = rawFields[i + 1] ?? "";
    }
  }
  if (coding !== undefined) {
    if (length !== undefined) return ambiguous("Content-Length and Transfer-Encoding");
    if (httpVersion === "1.0") return ambiguous("Transfer-Encoding in HTTP/1.0");
    if (coding.toLowerCase() !== "chunked") return ambiguous("a transfer coding other than chunked");
  }
  // A leading zero is octal to some recipients.
  if (length !== undefined && !/^(0|[1-9]\d{0,14})$/.test(length))
    return ambiguous("a Content-Length that is no number");
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) return { kind: "none" };
  if (method === "CONNECT" && status < 300) return { kind: "none" };
  if (coding !== undefined) return { kind: "chunked" };
  return length === undefined ? { kind: "until_close" } : { kind: "length", bytes: Number(length) };
}

/** Of the head that is being read: a new list for each would have to grow each time. */
const marks: number[] = [];

type NoHead = Exclude<ResponseHeadParse, { kind: "head" }>;

/** `scanned` is an index times `stages` and this or one of `fieldState`; 0 for a head without a whole status. */
const inPhrase = 7;
const stages = 8;

/** Goes on with a head that was incomplete. Undefined where its end has come: then it is read as a whole. */
function resume(bytes: Buffer, scanned: number, end: number, maxBytes: number): NoHead | undefined {
  let at = Math.floor(scanned / stages);
  let stage = scanned % stages;
  if (stage === inPhrase) {
    const lineEnd = endOfLine(bytes, at, end, maxBytes);
    if (typeof lineEnd !== "number") return lineEnd;
    at = lineEnd;
    stage = fieldState.lineStart;
  }
  const fields = createFieldScan(at, undefined, stage);
  scanFieldLines(fields, bytes, end);
  return fields.state === fieldState.done ? undefined : unfinished(fields, end, maxBytes);
}

/** Index of the byte behind the status. */
function readStatus(bytes: Buffer, end: number, maxBytes: number): number | NoHead {
  for (let i = 0; i < versionAndStatus.length; i++) {
    if (i === end) return more(0, end, maxBytes);
    const byte = bytes[i] ?? 0;
    const wanted = versionAndStatus.charCodeAt(i);
    const fits =
      i === minorVersion
        ? byte === zero || byte === zero + 1
        : i === minorVersion + 2
          ? byte > zero && byte <= zero + 5
          : wanted === zero
            ? byte >= zero && byte <= zero + 9
            : byte === wanted;
    if (!fits) return malformed("no status line of HTTP/1.0 or HTTP/1.1 with a status of 100 to 599");
  }
  return versionAndStatus.length;
}

/** Index of the first byte behind the status line. Without a phrase some origins leave out the space in front of it. */
function readPhrase(bytes: Buffer, statusEnd: number, end: number, maxBytes: number): number | NoHead {
  if (statusEnd === end) return more(0, end, maxBytes);
  if (bytes[statusEnd] === space) return endOfLine(bytes, statusEnd + 1, end, maxBytes);
  if (bytes[statusEnd] === cr) return endOfLine(bytes, statusEnd, end, maxBytes);
  return malformed("a status that is no three digits");
}

function endOfLine(bytes: Buffer, from: number, end: number, maxBytes: number): number | NoHead {
  let at = from;
  while (at < end && textBytes[bytes[at] ?? 0] === 1) at += 1;
  if (at < end && bytes[at] !== cr) return malformed("a control character in the reason phrase");
  if (at + 1 >= end) return more(at * stages + inPhrase, end, maxBytes);
  return bytes[at + 1] === lf ? at + 2 : malformed("a CR without LF");
}

function unfinished({ state, at, detail }: FieldScan, end: number, maxBytes: number): NoHead {
  return state === fieldState.malformed ? malformed(detail) : more(at * stages + state, end, maxBytes);
}

/** All bytes that may be looked at are used up, and the head has not ended. */
function more(scanned: number, end: number, maxBytes: number): NoHead {
  if (end < maxBytes) return { kind: "incomplete", scanned };
  const detail = `a response head of more than ${maxBytes} bytes`;
  return { kind: "malformed", problem: "http_response_header_section_size", detail };
}

function malformed(detail: string): NoHead {
  return { kind: "malformed", problem: "http_protocol_error", detail };
}

function ambiguous(detail: string): ResponseFraming {
  return { kind: "malformed", detail };
}

const contentLength = "content-length";
const transferEncoding = "transfer-encoding";
/** The begin of a status line; each 0 stands for a digit. */
const versionAndStatus = "HTTP/1.0 000";
const minorVersion = 7;
const zero = 0x30;
