/**
 * The head of a request, read off the bytes of a connection (RFC 9112 sections 2, 3 and 5; threats.md section 3). It
 * repairs nothing, takes nothing that Node's parser refuses, and refuses at the first byte that no head can hold.
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
} from "./field-lines.ts";
import type { Malformation } from "./refusal.ts";
import type { RequestHead } from "./request-head.ts";

export type RequestHeadParse =
  | {
      readonly kind: "head";
      readonly head: RequestHead;
      /** Names of `head.rawFields` in lower case: the same order, one for each field. */
      readonly folded: readonly string[];
      /** Bytes up to and including the empty line, with empty lines in front. */
      readonly length: number;
    }
  /** `scanned` goes into the next call, which has the same bytes and more; it is no count of bytes. */
  | { readonly kind: "incomplete"; readonly scanned: number }
  /** `detail` is a noun phrase for a person. */
  | { readonly kind: "malformed"; readonly problem: Malformation; readonly detail: string };

/** Empty lines that may stand before a request line: old clients send one behind a body (RFC 9112 section 2.2). */
const maxEmptyLines = 8;

/**
 * Parses the head that begins at the first byte. `scanned` is 0 for a new head, and what the last call answered for one
 * that was incomplete, so that no byte is looked at again for each segment. A head of more than `maxBytes` is
 * `head_too_large`, also while its end is not there. All prefixes of some bytes that are no longer incomplete get the
 * same answer. The form of the target and the number of fields are judged by whoever uses them.
 */
export function parseRequestHead(bytes: Buffer, scanned: number, maxBytes: number): RequestHeadParse {
  const end = Math.min(bytes.length, maxBytes);
  if (scanned > 0) {
    const resumed = resume(bytes, scanned, end, maxBytes);
    if (resumed !== undefined) return resumed;
  }
  let start = 0;
  while (bytes[start] === cr && start < end) {
    if (start + 1 === end) return more(0, end, maxBytes);
    if (bytes[start + 1] !== lf) return malformed("a CR without LF");
    start += 2;
    if (start > 2 * maxEmptyLines) return malformed("too many empty lines before the request line");
  }
  const method = readMethod(bytes, start, end);
  if (method === undefined) return malformed("an unknown method");
  const methodEnd = start + method.length;
  if (methodEnd >= end) return more(0, end, maxBytes);
  const lineEnd = readTarget(bytes, methodEnd + 1, end, maxBytes);
  if (typeof lineEnd !== "number") return lineEnd;
  const fields = createFieldScan(lineEnd, marks);
  scanFieldLines(fields, bytes, end);
  if (fields.state !== fieldState.done) return unfinished(fields, end, maxBytes);
  const text = bytes.toString("latin1", start, fields.at);
  const { rawFields, folded } = readMarkedFields(fields, text, start);
  const head = {
    method,
    url: text.slice(methodEnd + 1 - start, lineEnd - versionAndEnds - start),
    httpVersion: bytes[lineEnd - 3] === zero ? "1.0" : "1.1",
    rawFields,
  };
  return { kind: "head", head, folded, length: fields.at };
}

/** Of the head that is being read: a new list for each would have to grow each time. */
const marks: number[] = [];

type NoHead = Exclude<RequestHeadParse, { kind: "head" }>;

/** `scanned` is an index times `stages` and one of these or of `fieldState`; 0 for a head without a whole method. */
const inVersion = 6;
const inTarget = 7;
const stages = 8;

/** Goes on with a head that was incomplete. Undefined where its end has come: then it is read as a whole. */
function resume(bytes: Buffer, scanned: number, end: number, maxBytes: number): NoHead | undefined {
  let at = Math.floor(scanned / stages);
  let stage = scanned % stages;
  if (stage === inTarget || stage === inVersion) {
    const lineEnd = (stage === inTarget ? readTarget : readVersion)(bytes, at, end, maxBytes);
    if (typeof lineEnd !== "number") return lineEnd;
    at = lineEnd;
    stage = fieldState.lineStart;
  }
  const fields = createFieldScan(at, undefined, stage);
  scanFieldLines(fields, bytes, end);
  return fields.state === fieldState.done ? undefined : unfinished(fields, end, maxBytes);
}

/** The method in front of a space, or one that the bytes may become when more come. */
function readMethod(bytes: Buffer, start: number, end: number): string | undefined {
  for (let number = 0; number < methods.length; number++) {
    const method = methods[number] ?? "";
    let i = 0;
    while (i < method.length && start + i < end && bytes[start + i] === method.charCodeAt(i)) i += 1;
    if (start + i === end || (i === method.length && bytes[start + i] === space)) return method;
  }
  return undefined;
}

/** Index of the first byte behind the request line, of which the target begins at `from`, or goes on there. */
function readTarget(bytes: Buffer, from: number, end: number, maxBytes: number): number | NoHead {
  const isVisible = visibleBytes;
  let at = from;
  while (at < end && isVisible[bytes[at] ?? 0] === 1) at += 1;
  if (at === end) return more(at * stages + inTarget, end, maxBytes);
  // In front of the target stands a space, and none is in it.
  if (bytes[at - 1] === space) return malformed("no request target behind one space");
  if (bytes[at] === space) return readVersion(bytes, at + 1, end, maxBytes);
  if (bytes[at] !== cr) return malformed("a byte in the request target that no URI may hold");
  if (at + 1 === end) return more(at * stages + inTarget, end, maxBytes);
  if (bytes[at + 1] !== lf) return malformed("a CR without LF");
  return { kind: "malformed", problem: "version_unsupported", detail: "a request line without a version" };
}

/** Index of the first byte behind the request line, of which the version begins at `start`. */
function readVersion(bytes: Buffer, start: number, end: number, maxBytes: number): number | NoHead {
  for (let i = 0; i < versionAndEnd.length; i++) {
    if (start + i === end) return more(start * stages + inVersion, end, maxBytes);
    const byte = bytes[start + i] ?? 0;
    const wanted = versionAndEnd.charCodeAt(i);
    if (wanted === zero ? !isDigit(byte) : byte !== wanted) return malformed("a request line without an HTTP version");
  }
  const major = bytes[start + 5];
  const minor = bytes[start + 7];
  if (major === one && (minor === zero || minor === one)) return start + versionAndEnd.length;
  return { kind: "malformed", problem: "version_unsupported", detail: "a version other than HTTP/1.0 and HTTP/1.1" };
}

function unfinished({ state, at, detail }: FieldScan, end: number, maxBytes: number): NoHead {
  return state === fieldState.malformed ? malformed(detail) : more(at * stages + state, end, maxBytes);
}

/** All bytes that may be looked at are used up, and the head has not ended. */
function more(scanned: number, end: number, maxBytes: number): NoHead {
  if (end < maxBytes) return { kind: "incomplete", scanned };
  return { kind: "malformed", problem: "head_too_large", detail: `a head of more than ${maxBytes} bytes` };
}

function malformed(detail: string): NoHead {
  return { kind: "malformed", problem: "bad_request", detail };
}

/** The end of a request line; each 0 stands for a digit. */
const versionAndEnd = "HTTP/0.0\r\n";
/** From the space behind the target to the end of the line. */
const versionAndEnds = versionAndEnd.length + 1;
const zero = 0x30;
const one = 0x31;

/** 1 for each visible character of ASCII. */
const visibleBytes: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => (byte > space && byte < 0x7f ? 1 : 0));

function isDigit(byte: number): boolean {
  return byte >= zero && byte <= 0x39;
}

/** The registered methods that Node's parser knows: what it would refuse is not to be taken here. The usual first. */
const methods: readonly string[] = `
GET HEAD CONNECT POST PUT DELETE OPTIONS TRACE PATCH ACL BIND CHECKOUT COPY LINK LOCK M-SEARCH MERGE MKACTIVITY
MKCALENDAR MKCOL MOVE NOTIFY PROPFIND PROPPATCH PURGE QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE UNBIND UNLINK UNLOCK
UNSUBSCRIBE
`
  .trim()
  .split(/\s+/);
