/**
 * Bodies in chunks (RFC 9112 section 7.1), scanned as their bytes arrive. Data is told of by its place and never copied;
 * extensions and trailers are read strictly and dropped.
 */
import {
  type FieldScan,
  cr,
  createFieldScan,
  fieldState,
  lf,
  scanFieldLines,
  textBytes,
  tokenBytes,
} from "./field-lines.ts";

/** What is known of one body. Callers read `state` and `detail`. */
export type ChunkScan = {
  state: "open" | "done" | "malformed";
  /** Set when malformed: what is wrong, as a noun phrase. */
  detail: string;
  step: Step;
  /** Of the size that is being read, or of the chunk: bytes that are still to come. */
  size: number;
  digits: number;
  lineExtensionBytes: number;
  extensionBytes: number;
  readonly fields: FieldScan;
  /** The trailer section as far as it has come, latin1. */
  trailers: string;
};

/** What the next byte belongs to. */
type Step =
  | "size"
  | "extension_start"
  | "extension_name"
  | "extension_value_start"
  | "extension_value"
  | "extension_quoted"
  | "extension_escaped"
  | "extension_end"
  | "size_lf"
  | "data"
  | "data_cr"
  | "data_lf"
  | "trailers";

/** As many digits as a double counts without a gap. */
const maxSizeDigits = 13;
const maxLineExtensionBytes = 1024;
const maxExtensionBytes = 16 * 1024;
const maxTrailerBytes = 8 * 1024;

/** The state of a body of which nothing has been read. */
export function createChunkScan(): ChunkScan {
  return {
    state: "open",
    detail: "",
    step: "size",
    size: 0,
    digits: 0,
    lineExtensionBytes: 0,
    extensionBytes: 0,
    fields: createFieldScan(0, undefined),
    trailers: "",
  };
}

/**
 * Reads on from `bytes[from]`. `onData(start, end)` is told of each piece of data, in order; of a body that turns out
 * malformed it has been told of what came before. Answers the index of the first byte that was not read:
 * `bytes.length` while `scan.state` is `open`, the first byte behind the body when it is `done`, the byte that no body
 * can hold when it is `malformed`.
 */
export function scanChunks(
  scan: ChunkScan,
  bytes: Buffer,
  from: number,
  onData: (start: number, end: number) => void,
): number {
  let at = from;
  while (at < bytes.length && scan.state === "open") {
    if (scan.step === "data") {
      const end = Math.min(bytes.length, at + scan.size);
      scan.size -= end - at;
      if (scan.size === 0) scan.step = "data_cr";
      onData(at, end);
      at = end;
    } else if (scan.step === "trailers") {
      at = readTrailers(scan, bytes, at);
    } else {
      const detail = readByte(scan, scan.step, bytes[at] ?? 0);
      if (detail !== undefined) return broken(scan, at, detail);
      at += 1;
    }
  }
  return at;
}

/** Takes one byte round the data. Answers what is wrong with it. */
function readByte(scan: ChunkScan, step: Exclude<Step, "data" | "trailers">, byte: number): string | undefined {
  switch (step) {
    case "size":
      return readSize(scan, byte);
    case "size_lf":
      if (byte !== lf) return "a CR without LF";
      scan.digits = 0;
      scan.lineExtensionBytes = 0;
      scan.step = scan.size === 0 ? "trailers" : "data";
      return undefined;
    case "data_cr":
      if (byte !== cr) return "a chunk that does not end where its size says";
      scan.step = "data_lf";
      return undefined;
    case "data_lf":
      if (byte !== lf) return "a CR without LF";
      scan.step = "size";
      return undefined;
    default:
      return readExtension(scan, step, byte);
  }
}

function readSize(scan: ChunkScan, byte: number): string | undefined {
  const digit = hexDigit(byte);
  if (digit >= 0) {
    scan.digits += 1;
    if (scan.digits > maxSizeDigits) return "a chunk size beyond all measure";
    scan.size = scan.size * 16 + digit;
    return undefined;
  }
  if (scan.digits === 0) return "no chunk size";
  return endSize(scan, byte, "a chunk size that is no number");
}

/** Reads `name`, `name=token` or `name="quoted"`, with a `;` in front of each and no white space between. */
function readExtension(scan: ChunkScan, step: Step, byte: number): string | undefined {
  scan.lineExtensionBytes += 1;
  scan.extensionBytes += 1;
  if (scan.lineExtensionBytes > maxLineExtensionBytes || scan.extensionBytes > maxExtensionBytes)
    return "too many bytes of chunk extensions";
  const bad = "a chunk extension that is none";
  switch (step) {
    case "extension_start":
      scan.step = "extension_name";
      return tokenBytes[byte] === 1 ? undefined : bad;
    case "extension_name":
      if (tokenBytes[byte] === 1) return undefined;
      if (byte !== equals) return endSize(scan, byte, bad);
      scan.step = "extension_value_start";
      return undefined;
    case "extension_value_start":
      if (tokenBytes[byte] !== 1 && byte !== quote) return bad;
      scan.step = byte === quote ? "extension_quoted" : "extension_value";
      return undefined;
    case "extension_value":
      return tokenBytes[byte] === 1 ? undefined : endSize(scan, byte, bad);
    case "extension_quoted":
      if (textBytes[byte] !== 1 || byte >= 0x80) return bad;
      if (byte === quote) scan.step = "extension_end";
      else if (byte === backslash) scan.step = "extension_escaped";
      return undefined;
    case "extension_escaped":
      scan.step = "extension_quoted";
      return textBytes[byte] === 1 && byte < 0x80 ? undefined : bad;
    default:
      return endSize(scan, byte, bad);
  }
}

/** Behind a size or an extension: another extension, or the end of the line. */
function endSize(scan: ChunkScan, byte: number, otherwise: string): string | undefined {
  if (byte === semicolon) scan.step = "extension_start";
  else if (byte === cr) scan.step = "size_lf";
  else return otherwise;
  return undefined;
}

function readTrailers(scan: ChunkScan, bytes: Buffer, from: number): number {
  const { fields } = scan;
  const end = Math.min(bytes.length, from + maxTrailerBytes - scan.trailers.length);
  fields.at = from;
  scanFieldLines(fields, bytes, end);
  scan.trailers += bytes.toString("latin1", from, fields.at);
  if (fields.state === fieldState.malformed) return broken(scan, fields.at, fields.detail);
  if (fields.state === fieldState.done) {
    // A recipient that merged them would see another length (RFC 9110 section 6.5.1).
    if (/(^|\n)(content-length|transfer-encoding):/i.test(scan.trailers))
      return broken(scan, fields.at, "a trailer that delimits the body");
    scan.state = "done";
    scan.trailers = "";
  } else if (scan.trailers.length === maxTrailerBytes) return broken(scan, fields.at, "too many bytes of trailers");
  return fields.at;
}

function broken(scan: ChunkScan, at: number, detail: string): number {
  scan.state = "malformed";
  scan.detail = detail;
  return at;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const folded = byte | 0x20;
  return folded >= 0x61 && folded <= 0x66 ? folded - 0x57 : -1;
}

const equals = 0x3d;
const quote = 0x22;
const backslash = 0x5c;
const semicolon = 0x3b;
