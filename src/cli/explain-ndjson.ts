/** `explain --ndjson`: one request a line in, one answer a line out, in order, as fast as either side can. */
import { isUtf8 } from "node:buffer";
import type { Readable } from "node:stream";
import type { Ruleset } from "../policy/ruleset.ts";
import { tryRequest } from "../policy/trial.ts";
import { answerFields } from "../review/explanation-fields.ts";
import { createRequestReader } from "../config/read-request.ts";

/** Where the answers go. */
export type AnswerSink = {
  readonly write: (text: string) => void;
  /** Resolves when more can be written without piling it up; false when nobody reads any more. */
  readonly ready: () => Promise<boolean>;
};

/** `answered`: every line was. `abandoned`: whoever reads the answers has gone away. */
export type NdjsonEnd =
  | { readonly kind: "answered"; readonly lines: number }
  | { readonly kind: "abandoned" }
  | { readonly kind: "unreadable"; readonly error: unknown };

/** Longest line in bytes, without its end; a longer one is thrown away as it comes, and answered as unreadable. */
export const maxLineBytes = 1024 * 1024;
/** Characters of answers that are written at once. */
const batchLength = 64 * 1024;
const newline = 0x0a;

/**
 * Answers every line of the input. A line that is no JSON object in UTF-8, or whose values cannot be read, is answered
 * `bad_request`; so is an empty one. Keys that are not known are left alone: a newer client may send more. A last line
 * needs no newline, and what follows the last newline is a line only if it is not empty.
 */
export async function answerLines(
  input: Readable,
  ruleset: Ruleset,
  now: () => number,
  sink: AnswerSink,
): Promise<NdjsonEnd> {
  const answer = createLineAnswerer(ruleset, now);
  let failure: { readonly error: unknown } | undefined;
  const chunks = readChunks(input, (error) => (failure = { error }));
  const held: Buffer[] = [];
  let heldBytes = 0;
  let lines = 0;
  let batch = "";

  const hold = (piece: Buffer): void => {
    heldBytes += piece.length;
    if (heldBytes <= maxLineBytes) held.push(piece);
    else held.length = 0;
  };
  const answerHeld = (): void => {
    const [only] = held;
    const line = heldBytes > maxLineBytes ? undefined : held.length === 1 ? only : Buffer.concat(held);
    held.length = 0;
    heldBytes = 0;
    lines++;
    batch += answer(line);
  };
  const flush = (): Promise<boolean> => {
    if (batch !== "") sink.write(batch);
    batch = "";
    return sink.ready();
  };

  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      hold(chunk.subarray(start, end));
      answerHeld();
      start = end + 1;
      if (batch.length >= batchLength && !(await flush())) return { kind: "abandoned" };
    }
    hold(chunk.subarray(start));
    if (!(await flush())) return { kind: "abandoned" };
  }
  if (heldBytes > 0) answerHeld();
  if (!(await flush())) return { kind: "abandoned" };
  return failure === undefined ? { kind: "answered", lines } : { kind: "unreadable", error: failure.error };
}

/** Makes the function from a line to its answer, newline and all; undefined is a line that was too long. */
function createLineAnswerer(ruleset: Ruleset, now: () => number): (line: Buffer | undefined) => string {
  const readRequest = createRequestReader(ruleset.groups);
  return (line) => {
    const words = line === undefined ? undefined : parseObject(line);
    const reading = words === undefined ? undefined : readRequest(words);
    if (reading?.kind !== "request") return unreadable;
    return `${JSON.stringify(answerFields(tryRequest(ruleset, reading.request, now())))}\n`;
  };
}

/** The same as for a target that cannot be read. */
const unreadable = `${JSON.stringify({ verdict: "deny", reason: "bad_request", stage: "request", status: 400 })}\n`;

function parseObject(line: Buffer): Readonly<Record<string, unknown>> | undefined {
  if (!isUtf8(line)) return undefined;
  try {
    const value: unknown = JSON.parse(withoutMark(line.toString("utf8")));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Windows shells put a byte order mark before what they pipe. */
function withoutMark(text: string): string {
  return text.startsWith("\ufeff") ? text.slice(1) : text;
}

/** Ends with the input, in whatever way that ends. */
async function* readChunks(input: Readable, failed: (error: unknown) => void): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of input) yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
  } catch (error) {
    failed(error);
  }
}
