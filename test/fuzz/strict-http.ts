/**
 * A second reading of HTTP/1.1, written apart from Node's and from the proxy's and as strict as RFC 9112 lets a recipient
 * be: the differential fuzzing holds what was sent and what arrived against it.
 */

export type Field = readonly [name: string, value: string];

/** A request head, latin1. */
export type Head = {
  readonly method: string;
  readonly target: string;
  readonly version: "1.0" | "1.1";
  readonly fields: readonly Field[];
  readonly framing: "none" | "length" | "chunked";
};

export type RequestReading =
  | {
      readonly kind: "request";
      readonly head: Head;
      readonly body: Buffer;
      readonly hasTrailers: boolean;
      readonly end: number;
    }
  /** More bytes could make it one. With a head, `body` is what has been decoded of it. */
  | { readonly kind: "incomplete"; readonly head: Head | undefined; readonly body: Buffer }
  | { readonly kind: "malformed"; readonly head: Head | undefined; readonly body: Buffer; readonly why: string };

/** Reads the request that begins at `start`. Empty lines in front of it are passed over (RFC 9112 section 2.2). */
export function readRequest(bytes: Buffer, start: number): RequestReading {
  let from = start;
  while (bytes[from] === 0x0d && bytes[from + 1] === 0x0a && from < start + 16) from += 2;
  const headEnd = bytes.indexOf("\r\n\r\n", from, "latin1");
  if (headEnd < 0) return { kind: "incomplete", head: undefined, body: nothing };
  const head = parseHead(bytes.toString("latin1", from, headEnd));
  if (typeof head === "string") return { kind: "malformed", head: undefined, body: nothing, why: head };
  return readBody(bytes, headEnd + 4, head);
}

/** Values of a field, in order. */
export function valuesOf(fields: readonly Field[], name: string): string[] {
  return fields.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value);
}

/** Members of a list field, in lower case. */
export function membersOf(fields: readonly Field[], name: string): string[] {
  return valuesOf(fields, name)
    .flatMap((value) => value.split(","))
    .map((member) => trim(member).toLowerCase())
    .filter((member) => member !== "");
}

const nothing = Buffer.alloc(0);
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

function parseHead(text: string): Head | string {
  const [start = "", ...lines] = text.split("\r\n");
  const request = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])$/.exec(start);
  if (request === null) return "request line";
  const fields: Field[] = [];
  for (const line of lines) {
    const colon = line.indexOf(":");
    const [name, value] = [line.slice(0, colon), trim(line.slice(colon + 1))];
    if (colon < 0 || !token.test(name) || !fieldValue.test(value)) return "field line";
    fields.push([name, value]);
  }
  const framing = framingOf(fields);
  if (framing === undefined) return "framing";
  const [, method = "", target = "", minor] = request;
  return { method, target, version: minor === "0" ? "1.0" : "1.1", fields, framing };
}

function framingOf(fields: readonly Field[]): Head["framing"] | undefined {
  const lengths = valuesOf(fields, "content-length");
  const codings = valuesOf(fields, "transfer-encoding");
  if (lengths.length + codings.length > 1) return undefined;
  if (codings.length === 1) return codings[0]?.toLowerCase() === "chunked" ? "chunked" : undefined;
  if (lengths.length === 0) return "none";
  return /^(0|[1-9]\d*)$/.test(lengths[0] ?? "") ? "length" : undefined;
}

function readBody(bytes: Buffer, start: number, head: Head): RequestReading {
  if (head.framing === "none") return { kind: "request", head, body: nothing, hasTrailers: false, end: start };
  if (head.framing === "length") {
    const end = start + Number(valuesOf(head.fields, "content-length")[0]);
    const body = bytes.subarray(start, end);
    if (end > bytes.length) return { kind: "incomplete", head, body };
    return { kind: "request", head, body, hasTrailers: false, end };
  }
  return readChunks(bytes, start, head);
}

function readChunks(bytes: Buffer, start: number, head: Head): RequestReading {
  const chunks: Buffer[] = [];
  let at = start;
  const broken = (why: string): RequestReading => ({ kind: "malformed", head, body: Buffer.concat(chunks), why });
  const short = (): RequestReading => ({ kind: "incomplete", head, body: Buffer.concat(chunks) });
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", at, "latin1");
    const line = bytes.toString("latin1", at, lineEnd < 0 ? bytes.length : lineEnd);
    const size = /^([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e\x80-\xff]*)?$/.exec(line);
    if (size === null && (lineEnd >= 0 || !/^[0-9A-Fa-f]{0,16}(;[\t\x20-\x7e\x80-\xff]*)?\r?$/.test(line)))
      return broken("chunk size");
    if (lineEnd < 0) return short();
    const length = Number.parseInt(size?.[1] ?? "", 16);
    at = lineEnd + 2;
    if (length === 0) return readTrailers(bytes, at, head, Buffer.concat(chunks));
    chunks.push(bytes.subarray(at, at + length));
    at += length;
    if (bytes.length < at + 2) {
      const rest = bytes.toString("latin1", at);
      return rest === "" || rest === "\r" ? short() : broken("chunk end");
    }
    if (bytes.toString("latin1", at, at + 2) !== "\r\n") return broken("chunk end");
    at += 2;
  }
}

function readTrailers(bytes: Buffer, start: number, head: Head, body: Buffer): RequestReading {
  let at = start;
  for (;;) {
    const hasTrailers = at > start;
    const lineEnd = bytes.indexOf("\r\n", at, "latin1");
    if (lineEnd < 0) return { kind: "incomplete", head, body };
    const line = bytes.toString("latin1", at, lineEnd);
    at = lineEnd + 2;
    if (line === "") return { kind: "request", head, body, hasTrailers, end: at };
    const colon = line.indexOf(":");
    if (!token.test(line.slice(0, Math.max(colon, 0))) || !fieldValue.test(line.slice(colon + 1)))
      return { kind: "malformed", head, body, why: "trailer" };
  }
}

/** Without the white space round it. */
function trim(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}
