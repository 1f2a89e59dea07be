/** Response heads off the wire: read exactly, or refused; and how their bodies are delimited (threats.md 4). */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type ResponseHeadParse,
  judgeResponseFraming,
  parseResponseHead,
} from "../../../src/wire/parse-response-head.ts";
import { broken } from "../../support/broken-messages.ts";
import { latin1, parseInPieces, upTo } from "../../support/in-pieces.ts";
import { readWithNodeClient } from "../../support/node-http-parser.ts";

const maxBytes = 16 * 1024;

/** Parses at once; fails the test where an origin that sends byte by byte would get another answer. */
function parse(input: string | Buffer, limit = maxBytes): ResponseHeadParse {
  const bytes = typeof input === "string" ? latin1(input) : input;
  const whole = parseResponseHead(bytes, 0, limit);
  const dripped = parseInPieces(parseResponseHead, bytes, upTo(bytes.length), limit);
  if (whole.kind === "incomplete") expect(dripped.kind).toBe("incomplete");
  else expect(dripped).toEqual(whole);
  return whole;
}

const start = "HTTP/1.1 200 OK\r\n";

describe("a head that is one", () => {
  test("is taken apart, and says how long it is", () => {
    const head = `${start}Content-Length: 2\r\nETag: "a"\r\nX-y: caf\xe9\r\n\r\n`;
    expect(parse(`${head}ok`)).toEqual({
      kind: "head",
      status: 200,
      phrase: "OK",
      httpVersion: "1.1",
      rawFields: ["Content-Length", "2", "ETag", '"a"', "X-y", "caf\xe9"],
      folded: ["content-length", "etag", "x-y"],
      length: head.length,
    });
  });

  test.each<[string, string, object]>([
    ["an empty phrase", "HTTP/1.1 200 ", { status: 200, phrase: "" }],
    ["no phrase and no space, as some origins send it", "HTTP/1.1 200", { status: 200, phrase: "" }],
    ["spaces, tabs and obs-text in the phrase", "HTTP/1.1 200 a \tb\xe9\xff", { phrase: "a \tb\xe9\xff" }],
    ["HTTP/1.0", "HTTP/1.0 200 OK", { httpVersion: "1.0" }],
    ["the least status", "HTTP/1.1 100 Continue", { status: 100 }],
    ["the greatest status", "HTTP/1.1 599 x", { status: 599 }],
    ["an interim status", "HTTP/1.1 103 Early Hints", { status: 103 }],
  ])("with %s", (_sentence, line, expected) => {
    expect(parse(`${line}\r\n\r\n`)).toMatchObject({ kind: "head", length: line.length + 4, ...expected });
  });
});

describe("a head that is none is a protocol error", () => {
  const head = (...lines: string[]): string => [start.trimEnd(), ...lines, "", ""].join("\r\n");
  test.each<[string, string]>([
    ["status 000", "HTTP/1.1 000 Nothing\r\n\r\n"],
    ["status 099", "HTTP/1.1 099 Nothing\r\n\r\n"],
    ["status 99", "HTTP/1.1 99 Nothing\r\n\r\n"],
    ["status 600", "HTTP/1.1 600 Beyond\r\n\r\n"],
    ["status 1000", "HTTP/1.1 1000 Beyond\r\n\r\n"],
    ["a status that is no number", "HTTP/1.1 2x0 OK\r\n\r\n"],
    ["no status", "HTTP/1.1\r\n\r\n"],
    ["a phrase right behind the status", "HTTP/1.1 200OK\r\n\r\n"],
    ["a tab behind the status", "HTTP/1.1 200\tOK\r\n\r\n"],
    ["two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n"],
    ["a control byte in the phrase", "HTTP/1.1 200 O\x01K\r\n\r\n"],
    ["an escape in the phrase", "HTTP/1.1 200 \x1b[31mOK\r\n\r\n"],
    ["NUL in the phrase", "HTTP/1.1 200 O\0K\r\n\r\n"],
    ["a bare CR in the phrase", "HTTP/1.1 200 O\rK\r\n\r\n"],
    ["a bare CR behind the status", "HTTP/1.1 200\rX: a\r\n\r\n"],
    ["a bare LF behind the status", "HTTP/1.1 200\nX: a\r\n\r\n"],
    ["a control byte in a field", head("X: a\x01b")],
    ["NUL in a field", head("X: a\0b")],
    ["DEL in a field", head("X: a\x7fb")],
    ["a bare CR in a field", head("X: a\rSet-Cookie: b=c")],
    ["a bare LF between fields", `${start}X: a\nY: b\r\n\r\n`],
    ["lines that end in LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"],
    ["a head that ends in LF", `${start}X: a\r\n\n`],
    ["a folded field", head("X: a", " b")],
    ["a folded status line", head(" X: a")],
    ["a space before the colon", head("X : a")],
    ["a name with a space", head("X Y: a")],
    ["a name in brackets", head("X(Y): a")],
    ["an empty name", head(": a")],
    ["a line without a colon", head("X")],
    ["no status line", "ok, this is no HTTP\r\n\r\n"],
    ["HTTP/0.9", "<html>ok</html>"],
    ["another major version", "HTTP/2.0 200 OK\r\n\r\n"],
    ["another minor version", "HTTP/1.2 200 OK\r\n\r\n"],
    ["a version in lower case", "http/1.1 200 OK\r\n\r\n"],
    ["another protocol", "ICY 200 OK\r\n\r\n"],
    ["the banner of another protocol", "SSH-2.0-OpenSSH_9.6\r\n"],
    ["a TLS alert", "\x15\x03\x01\0\x02\x02\x46"],
    ["an empty line in front", `\r\n${start}\r\n`],
    ["a space in front", ` ${start}\r\n`],
  ])("%s", (_sentence, text) => {
    expect(parse(text)).toMatchObject({ kind: "malformed", problem: "http_protocol_error" });
  });

  test.each<[string, string]>([
    ["HTTP/0.9 by its first byte", "<"],
    ["an empty line in front by its CR", "\r"],
    ["a version by its digit", "HTTP/2"],
    ["a status by its first digit", "HTTP/1.1 6"],
    ["a status of four digits by the last", "HTTP/1.1 1000"],
    ["a line by its LF", "HTTP/1.1 200 OK\n"],
    ["a folded line by its space", `${start}X: a\r\n `],
  ])("without waiting for more: %s", (_sentence, text) => {
    const bytes = latin1(text);
    expect(parse(bytes)).toMatchObject({ kind: "malformed", problem: "http_protocol_error" });
    expect(parseResponseHead(bytes.subarray(0, -1), 0, maxBytes).kind).toBe("incomplete");
  });
});

describe("a head that is too large", () => {
  test.each<[string, string]>([
    ["a phrase", `HTTP/1.1 200 ${"a".repeat(300)}`],
    ["a name", `${start}${"a".repeat(300)}`],
    ["a value", `${start}A: ${"a".repeat(300)}`],
    ["a whole head", `${start}A: ${"a".repeat(300)}\r\n\r\n`],
  ])("by %s", (_sentence, text) => {
    expect(parse(text, 256)).toMatchObject({ kind: "malformed", problem: "http_response_header_section_size" });
  });

  test("a byte below the limit it may still end", () => {
    const text = `${start}X: a\r\n\r\n`;
    expect(parse(text, text.length)).toMatchObject({ kind: "head" });
    expect(parse(text.slice(0, -1), text.length).kind).toBe("incomplete");
    expect(parse(text, text.length - 1)).toMatchObject({ problem: "http_response_header_section_size" });
  });
});

// Quadratic work would take minutes.
test.each<[string, string]>([
  ["a phrase", `HTTP/1.1 200 ${"a".repeat(500_000)}`],
  ["a value", `${start}A: ${"a".repeat(500_000)}`],
  ["many fields", `${start}${"A: b\r\n".repeat(80_000)}`],
])("%s of half a megabyte costs no more than its bytes when they come one by one", (_sentence, text) => {
  const bytes = latin1(text);
  expect(parseInPieces(parseResponseHead, bytes, upTo(bytes.length), 1 << 20).kind).toBe("incomplete");
});

describe("how the body is delimited", () => {
  const length = ["Content-Length", "5"];
  const chunked = ["Transfer-Encoding", "chunked"];
  test.each<[string, string, number, string, readonly string[], object]>([
    ["by its length", "GET", 200, "1.1", length, { kind: "length", bytes: 5 }],
    ["by a length in any case", "GET", 206, "1.0", ["content-LENGTH", "5"], { kind: "length", bytes: 5 }],
    ["by a length of nothing", "GET", 200, "1.1", ["Content-Length", "0"], { kind: "length", bytes: 0 }],
    ["by the greatest length", "GET", 200, "1.1", ["Content-Length", "9".repeat(15)], { bytes: 999_999_999_999_999 }],
    ["by chunks", "GET", 200, "1.1", chunked, { kind: "chunked" }],
    ["by chunks in any case", "POST", 404, "1.1", ["transfer-encoding", "ChunkeD"], { kind: "chunked" }],
    ["by the end of the connection", "GET", 200, "1.1", ["Date", "x"], { kind: "until_close" }],
    ["by the end of an HTTP/1.0 connection", "GET", 200, "1.0", [], { kind: "until_close" }],
    ["not at all, being for HEAD", "HEAD", 200, "1.1", length, { kind: "none" }],
    ["not at all, being chunked for HEAD", "HEAD", 200, "1.1", chunked, { kind: "none" }],
    ["not at all, being a 204", "GET", 204, "1.1", length, { kind: "none" }],
    ["not at all, being a 304", "GET", 304, "1.1", length, { kind: "none" }],
    ["not at all, being interim", "GET", 103, "1.1", length, { kind: "none" }],
    ["not at all, being a tunnel", "CONNECT", 200, "1.1", [], { kind: "none" }],
    ["by the end of the connection where no tunnel came", "CONNECT", 403, "1.1", [], { kind: "until_close" }],
    ["not at all, being a switch", "GET", 101, "1.1", [], { kind: "none" }],
  ])("%s", (_sentence, method, status, version, fields, framing) => {
    expect(judgeResponseFraming(method, status, version, fields)).toMatchObject(framing);
  });

  test.each<[string, readonly string[]]>([
    ["two lengths", [...length, ...length]],
    ["two different lengths", [...length, "content-length", "6"]],
    ["a length and chunks", [...length, ...chunked]],
    ["chunks and a length", [...chunked, ...length]],
    ["chunked twice in two fields", [...chunked, ...chunked]],
    ["chunked twice in one", ["Transfer-Encoding", "chunked, chunked"]],
    ["another coding", ["Transfer-Encoding", "gzip"]],
    ["another coding, and then chunked", ["Transfer-Encoding", "gzip, chunked"]],
    ["identity", ["Transfer-Encoding", "identity"]],
    ["chunked with a parameter", ["Transfer-Encoding", "chunked;q=1"]],
    ["an empty coding", ["Transfer-Encoding", ""]],
    ["a coding in quotes", ["Transfer-Encoding", '"chunked"']],
    ["a list of lengths", ["Content-Length", "5, 5"]],
    ["an empty length", ["Content-Length", ""]],
    ["a signed length", ["Content-Length", "+5"]],
    ["a negative length", ["Content-Length", "-5"]],
    ["a hexadecimal length", ["Content-Length", "0x5"]],
    ["a length with an underscore", ["Content-Length", "1_0"]],
    ["a length with something behind it", ["Content-Length", "5 x"]],
    ["a length with a leading zero", ["Content-Length", "010"]],
    ["a length of zeros", ["Content-Length", "00"]],
    ["a length of sixteen digits", ["Content-Length", "1".repeat(16)]],
    ["a length beyond 64 bits", ["Content-Length", "18446744073709551621"]],
    ["a length in digits of another script", ["Content-Length", "\xb2"]],
  ])("ambiguously, with %s, and that is malformed whether there is a body or not", (_sentence, fields) => {
    expect(judgeResponseFraming("GET", 200, "1.1", fields).kind).toBe("malformed");
    expect(judgeResponseFraming("HEAD", 200, "1.1", fields).kind).toBe("malformed");
    for (const status of [103, 204, 304]) {
      expect(judgeResponseFraming("GET", status, "1.1", fields).kind).toBe("malformed");
    }
  });

  test("chunks in HTTP/1.0 are malformed", () => {
    expect(judgeResponseFraming("GET", 200, "1.0", chunked).kind).toBe("malformed");
  });
});

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/);
const value = fc.stringMatching(/^([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?)?$/);
const blank = fc.stringMatching(/^[ \t]{0,3}$/);
const generatedHead = fc.record({
  status: fc.integer({ min: 100, max: 599 }),
  phrase: fc.stringMatching(/^[\t\x20-\x7e\x80-\xff]{0,20}$/),
  httpVersion: fc.constantFrom("1.0", "1.1"),
  fields: fc.array(fc.tuple(token, blank, value, blank), { maxLength: 12 }),
});

test("every valid head comes out as it went in, wherever it is cut", () => {
  const property = fc.property(generatedHead, fc.array(fc.nat({ max: 400 })), (made, cuts) => {
    const { status, phrase, httpVersion, fields } = made;
    const lines = fields.map(([name, before, text, behind]) => `${name}:${before}${text}${behind}\r\n`).join("");
    const text = `HTTP/${httpVersion} ${status} ${phrase}\r\n${lines}\r\n`;
    const rawFields = fields.flatMap(([name, , field]) => [name, field]);
    const bytes = latin1(`${text}\0\n`);
    expect(
      parseInPieces(
        parseResponseHead,
        bytes,
        cuts.toSorted((a, b) => a - b),
        maxBytes,
      ),
    ).toEqual({
      kind: "head",
      status,
      phrase,
      httpVersion,
      rawFields,
      folded: fields.map(([name]) => name.toLowerCase()),
      length: text.length,
    });
    for (let length = 0; length < text.length; length++)
      expect(parseResponseHead(bytes.subarray(0, length), 0, maxBytes).kind).toBe("incomplete");
  });
  fc.assert(property, { numRuns: 150 });
});

const almostHead = broken([
  `${start}A: b\r\nC: d\r\nContent-Length: 0\r\n\r\n`,
  `HTTP/1.0 404 Not Found\r\nContent-Length: 3\r\n\r\nabc`,
  `HTTP/1.1 206\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
]);

test("whatever comes, the answer does not depend on how it was cut", () => {
  const property = fc.property(almostHead, fc.integer({ min: 20, max: 200 }), (bytes, limit) => {
    parse(bytes, limit);
    const whole = parseResponseHead(bytes, 0, limit);
    for (let length = 0; length <= bytes.length; length++) {
      const first = parseResponseHead(bytes.subarray(0, length), 0, limit);
      expect(first.kind === "incomplete" ? parseInPieces(parseResponseHead, bytes, [length], limit) : first).toEqual(
        whole,
      );
    }
  });
  fc.assert(property, { numRuns: 300 });
});

test("Node's parser reads what is taken here, and reads it alike", async () => {
  let taken = 0;
  const property = fc.asyncProperty(almostHead, async (bytes) => {
    const ours = parseResponseHead(bytes, 0, maxBytes);
    if (ours.kind !== "head") return;
    const { status, phrase, httpVersion, rawFields } = ours;
    if (judgeResponseFraming("GET", status, httpVersion, rawFields).kind === "malformed") return;
    taken += 1;
    const head = { status, phrase, httpVersion, rawFields };
    expect(await readWithNodeClient(bytes, "GET")).toMatchObject({ kind: "head", head });
  });
  await fc.assert(property, { numRuns: 500 });
  expect(taken).toBeGreaterThan(20);
});
