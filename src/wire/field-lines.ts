/**
 * Field lines of HTTP/1.1 as bytes (RFC 9112 section 5), read strictly and by one loop for requests, responses and
 * trailers. It stands on the hot path, so it goes over each byte once, and keeps marks instead of strings.
 */
import { knownNameAt } from "./field-names.ts";

/** Where a scan stands. Between two calls it is one of the first five; then it is at its end, good or bad. */
export const fieldState = { lineStart: 0, name: 1, value: 2, valueCr: 3, lastCr: 4, done: 5, malformed: 6 } as const;

export type FieldScan = {
  /** One of `fieldState`. */
  state: number;
  /** Index of the next byte; behind the empty line when done, and of the bad byte when malformed. */
  at: number;
  /** Set when malformed: what is wrong, as a noun phrase. */
  detail: string;
  /**
   * For each whole field three indexes: of its name, its colon, and the CR behind its value. Undefined where nobody
   * wants them; they mean nothing when a field began in an earlier buffer. One list may serve many scans.
   */
  readonly marks: number[] | undefined;
  /** How many marks are of this scan. */
  marked: number;
};

/**
 * Reads field lines from `scan.at` up to `end` or to the end of the empty line behind them. The first byte that no
 * field can hold ends it: white space before a line (obs-fold) or before a colon, a bare CR or LF, NUL, other controls.
 */
export function scanFieldLines(scan: FieldScan, bytes: Buffer, end: number): void {
  const { marks } = scan;
  // Names of a module cost a look-up each time, locals do not.
  const { lineStart, name, value, valueCr, lastCr } = fieldState;
  const isToken = tokenBytes;
  const isText = textBytes;
  let at = scan.at;
  let state = scan.state;
  let marked = scan.marked;
  let nameStart = at;
  let colon = at;
  while (at < end) {
    if (state === lineStart) {
      if (bytes[at] === cr) {
        at += 1;
        state = lastCr;
        continue;
      }
      if (isToken[bytes[at] ?? 0] !== 1) return fail(scan, at, describeLineStart(bytes[at]));
      nameStart = at;
      at += 1;
      state = name;
    }
    if (state === name) {
      while (at < end && isToken[bytes[at] ?? 0] === 1) at += 1;
      if (at === end) break;
      if (bytes[at] !== colonByte) return fail(scan, at, "a field name that is no token, or no colon behind it");
      colon = at;
      at += 1;
      state = value;
    }
    if (state === value) {
      while (at < end && isText[bytes[at] ?? 0] === 1) at += 1;
      if (at === end) break;
      if (bytes[at] !== cr) return fail(scan, at, "a control character in a field value");
      at += 1;
      state = valueCr;
      if (at === end) break;
    }
    if (bytes[at] !== lf) return fail(scan, at, "a CR without LF");
    at += 1;
    if (state === lastCr) {
      state = fieldState.done;
      break;
    }
    if (marks !== undefined) {
      marks[marked] = nameStart;
      marks[marked + 1] = colon;
      marks[marked + 2] = at - 2;
      marked += 3;
    }
    state = lineStart;
  }
  scan.at = at;
  scan.state = state;
  scan.marked = marked;
}

/** A scan that begins at `at`, at the start of a line unless another state is given. */
export function createFieldScan(
  at: number,
  marks: number[] | undefined,
  state: number = fieldState.lineStart,
): FieldScan {
  return { state, at, detail: "", marks, marked: 0 };
}

/** Fields as strings. */
export type ReadFields = {
  /** `[name, value, …]`, as spelled. */
  readonly rawFields: readonly string[];
  /** The names in lower case: the same order, one for each field. */
  readonly folded: readonly string[];
};

/**
 * The fields of a scan with marks, without the white space round their values. Tabs behind a
 * Content-Length or a Transfer-Encoding stay, so that the value is none: Node's parser and others delimit by it no body.
 * `text` is the same bytes as latin1, from the byte with index `start` on.
 */
export function readMarkedFields({ marks = [], marked }: FieldScan, text: string, start: number): ReadFields {
  const rawFields: string[] = [];
  const folded: string[] = [];
  for (let i = 0; i < marked; i += 3) {
    const nameStart = (marks[i] ?? 0) - start;
    const colon = (marks[i + 1] ?? 0) - start;
    const lineEnd = (marks[i + 2] ?? 0) - start;
    let from = colon + 1;
    let to = lineEnd;
    while (from < to && isBlank(text.charCodeAt(from))) from += 1;
    while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
    const known = knownNameAt(text, nameStart, colon - nameStart);
    const name = known === undefined ? text.slice(nameStart, colon) : known.spelling;
    const lower = known === undefined ? name.toLowerCase() : known.folded;
    if (to < lineEnd && delimitsBody(lower)) to = withoutSpaces(text, lineEnd);
    rawFields.push(name, text.slice(from, to));
    folded.push(lower);
  }
  return { rawFields, folded };
}

export const cr = 0x0d;
export const lf = 0x0a;
export const space = 0x20;

/** 1 for each byte of a token (RFC 9110 section 5.6.2). */
export const tokenBytes: Uint8Array = tableOf(
  "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
);

/** 1 for HTAB, SP, visible ASCII and obs-text: what field values and reason phrases are made of. */
export const textBytes: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte === 0x09 || (byte >= 0x20 && byte !== 0x7f) ? 1 : 0,
);

const colonByte = 0x3a;

function tableOf(members: string): Uint8Array {
  const table = new Uint8Array(256);
  for (let i = 0; i < members.length; i++) table[members.charCodeAt(i)] = 1;
  return table;
}

function fail(scan: FieldScan, at: number, detail: string): void {
  scan.state = fieldState.malformed;
  scan.at = at;
  scan.detail = detail;
}

function describeLineStart(byte: number | undefined): string {
  if (byte === space || byte === 0x09) return "a folded line, or white space before a field";
  if (byte === lf) return "an LF without CR";
  return "a field name that is no token";
}

function delimitsBody(folded: string): boolean {
  return folded === "content-length" || folded === "transfer-encoding";
}

function withoutSpaces(text: string, end: number): number {
  let to = end;
  while (text.charCodeAt(to - 1) === space) to -= 1;
  return to;
}

function isBlank(c: number): boolean {
  return c === space || c === 0x09;
}
