/** Request heads off the wire: read exactly, or refused at the first byte that no head can hold (threats.md 3). */
import { METHODS } from "node:http";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAuthority } from "../../../src/names/authority.ts";
import { type RequestHeadParse, parseRequestHead } from "../../../src/wire/parse-request-head.ts";
import { readHead } from "../../../src/wire/request-head.ts";
import { parseRequestTarget } from "../../../src/wire/request-target.ts";
import { broken } from "../../support/broken-messages.ts";
import { latin1, parseInPieces, upTo } from "../../support/in-pieces.ts";
import { readWithNodeServer } from "../../support/node-http-parser.ts";

const maxBytes = 32 * 1024;

/** Parses at once; fails the test where a peer that sends byte by byte would get another answer. */
function parse(input: string | Buffer, limit = maxBytes): RequestHeadParse {
  const bytes = typeof input === "string" ? latin1(input) : input;
  const whole = parseRequestHead(bytes, 0, limit);
  const dripped = parseInPieces(parseRequestHead, bytes, upTo(bytes.length), limit);
  if (whole.kind === "incomplete") expect(dripped.kind).toBe("incomplete");
  else expect(dripped).toEqual(whole);
  return whole;
}

const start = "GET http://a.x.com/ HTTP/1.1\r\n";
const host = "Host: a.x.com\r\n";

describe("a head that is one", () => {
  test("is taken apart, and says how long it is", () => {
    const head = `${start}${host}Accept: */*\r\nRange: bytes=0-1\r\n\r\n`;
    expect(parse(`${head}GET http://b/`)).toEqual({
      kind: "head",
      head: {
        method: "GET",
        url: "http://a.x.com/",
        httpVersion: "1.1",
        rawFields: ["Host", "a.x.com", "Accept", "*/*", "Range", "bytes=0-1"],
      },
      folded: ["host", "accept", "range"],
      length: head.length,
    });
  });

  test.each<[string, string, readonly string[]]>([
    ["no fields", "", []],
    ["names as they were spelled", "hOST: a\r\nX-yZ: b\r\n", ["hOST", "a", "X-yZ", "b"]],
    ["every character of a token in a name", "!#$%&'*+-.^_`|~09azAZ: a\r\n", ["!#$%&'*+-.^_`|~09azAZ", "a"]],
    ["the order and every line of a field", "A: 1\r\nB: 2\r\nA: 3\r\n", ["A", "1", "B", "2", "A", "3"]],
    ["no white space round a value", "A:b\r\n", ["A", "b"]],
    ["white space round a value, which is no part of it", "A: \t b \t c\t \r\n", ["A", "b \t c"]],
    ["an empty value", "A:\r\n", ["A", ""]],
    ["a value of white space", "A: \t \r\n", ["A", ""]],
    [
      "spaces behind what delimits a body, but not tabs, with which two recipients would delimit it in two ways",
      "Content-Length: 5 \r\ncontent-length: 5\t\r\nTransfer-Encoding:\tchunked \t \r\nX: 5\t\r\n",
      ["Content-Length", "5", "content-length", "5\t", "Transfer-Encoding", "chunked \t", "X", "5"],
    ],
    ["colons in a value", "A: b:c: d\r\n", ["A", "b:c: d"]],
    ["obs-text in a value, byte for byte", "A: caf\xe9 \x80\xff\r\n", ["A", "caf\xe9 \x80\xff"]],
    ["a no-break space at the end of a value, which is no white space", "A: b\xa0\r\n", ["A", "b\xa0"]],
    ["a name of the prototype", "__proto__: a\r\nconstructor: b\r\n", ["__proto__", "a", "constructor", "b"]],
    ["ETag, TE and DNT", "ETag: a\r\nTE: b\r\nDNT: c\r\n", ["ETag", "a", "TE", "b", "DNT", "c"]],
  ])("with %s", (_sentence, lines, rawFields) => {
    const text = `${start}${lines}\r\n`;
    expect(parse(text)).toEqual({
      kind: "head",
      head: { method: "GET", url: "http://a.x.com/", httpVersion: "1.1", rawFields },
      folded: rawFields.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase()),
      length: text.length,
    });
  });

  test.each(METHODS)("with the method %s, as Node knows it", (method) => {
    expect(parse(`${method} http://a.x.com/ HTTP/1.1\r\n\r\n`)).toMatchObject({ kind: "head", head: { method } });
  });

  test.each(["1.0", "1.1"])("of HTTP/%s", (httpVersion) => {
    expect(parse(`GET / HTTP/${httpVersion}\r\n\r\n`)).toMatchObject({ kind: "head", head: { httpVersion } });
  });

  test.each(["http://a/", "/", "*", "a.x.com:443", "https://a/", "h", "!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~"])(
    "with the target %s, whose form others judge",
    (url) => {
      expect(parse(`GET ${url} HTTP/1.1\r\n\r\n`)).toMatchObject({ kind: "head", head: { url } });
    },
  );

  test.each([1, 2, 8])("behind %i empty lines, which count as its bytes", (lines) => {
    const text = `${"\r\n".repeat(lines)}${start}${host}\r\n`;
    expect(parse(text)).toMatchObject({ kind: "head", head: { method: "GET" }, length: text.length });
  });

  test("of exactly as many bytes as there may be", () => {
    const text = `${start}${host}\r\n`;
    expect(parse(`${text}more`, text.length)).toMatchObject({ kind: "head", length: text.length });
  });
});

describe("a head that is none is a bad request", () => {
  test.each<[string, string]>([
    ["a folded field", `${start}${host}X: a\r\n b\r\n\r\n`],
    ["a field folded with a tab", `${start}${host}X: a\r\n\tb\r\n\r\n`],
    ["a first field that begins with a space", `${start} ${host}\r\n`],
    ["a first field that begins with a tab", `${start}\t${host}\r\n`],
    ["a space before the colon", `${start}Host : a.x.com\r\n\r\n`],
    ["a tab before the colon", `${start}Host\t: a.x.com\r\n\r\n`],
    ["lines that end in LF", "GET http://a.x.com/ HTTP/1.1\nHost: a.x.com\n\n"],
    ["one line that ends in LF", `${start}${host}X: a\nY: b\r\n\r\n`],
    ["a head that ends in LF", `${start}${host}\n`],
    ["a head that ends in LF CR LF", `${start}${host}\n\r\n`],
    ["a head that ends in CR and something else", `${start}${host}\rX`],
    ["a bare CR in a value", `${start}${host}X: a\rY: b\r\n\r\n`],
    ["a bare CR behind the request line", `GET http://a.x.com/ HTTP/1.1\r${host}\r\n`],
    ["two CRs", `${start}${host}X: a\r\r\n\r\n`],
    ["two CRs at the end", `${start}${host}\r\r\n`],
    ["NUL in a value", `${start}${host}X: a\0b\r\n\r\n`],
    ["NUL in a name", `${start}${host}X\0: a\r\n\r\n`],
    ["DEL in a value", `${start}${host}X: a\x7fb\r\n\r\n`],
    ["an escape in a value", `${start}${host}X: a\x1b[31m\r\n\r\n`],
    ["a vertical tab in a value", `${start}${host}X: a\x0bb\r\n\r\n`],
    ["an empty name", `${start}${host}: a\r\n\r\n`],
    ["a name that is no token", `${start}${host}X(Y): a\r\n\r\n`],
    ["a name with a space", `${start}${host}X Y: a\r\n\r\n`],
    ["a name with obs-text", `${start}${host}X\xe9: a\r\n\r\n`],
    ["a line without a colon", `${start}${host}X\r\n\r\n`],
    ["a method that nobody knows", `BREW http://a.x.com/ HTTP/1.1\r\n${host}\r\n`],
    ["a method that only begins like one", `GE http://a.x.com/ HTTP/1.1\r\n${host}\r\n`],
    ["a method that goes on", `GETS http://a.x.com/ HTTP/1.1\r\n${host}\r\n`],
    ["a method in lower case", `get http://a.x.com/ HTTP/1.1\r\n${host}\r\n`],
    ["no method", ` http://a.x.com/ HTTP/1.1\r\n${host}\r\n`],
    ["two targets", `GET http://a.x.com/ http://b/ HTTP/1.1\r\n${host}\r\n`],
    ["no target", `GET  HTTP/1.1\r\n${host}\r\n`],
    ["two spaces before the target", `GET  http://a.x.com/ HTTP/1.1\r\n${host}\r\n`],
    ["two spaces before the version", `GET http://a.x.com/  HTTP/1.1\r\n${host}\r\n`],
    ["a space behind the version", `GET http://a.x.com/ HTTP/1.1 \r\n${host}\r\n`],
    ["tabs in the request line", `GET\thttp://a.x.com/\tHTTP/1.1\r\n${host}\r\n`],
    ["a tab before the version", `GET http://a.x.com/\tHTTP/1.1\r\n${host}\r\n`],
    ["a tab in the target", `GET http://a.x.com/\tb HTTP/1.1\r\n${host}\r\n`],
    ["obs-text in the target", `GET http://a.x.com/\xe9 HTTP/1.1\r\n${host}\r\n`],
    ["NUL in the target", `GET http://a.x.com/\0 HTTP/1.1\r\n${host}\r\n`],
    ["DEL in the target", `GET http://a.x.com/\x7f HTTP/1.1\r\n${host}\r\n`],
    ["a CR in the target", `GET http://a.x.com/\rb HTTP/1.1\r\n${host}\r\n`],
    ["an LF in the target", `GET http://a.x.com/\nb HTTP/1.1\r\n${host}\r\n`],
    ["another protocol name", `GET http://a.x.com/ HTTQ/1.1\r\n${host}\r\n`],
    ["RTSP", `GET http://a.x.com/ RTSP/1.0\r\n${host}\r\n`],
    ["a method of RTSP", `DESCRIBE rtsp://a.x.com/ RTSP/1.0\r\n${host}\r\n`],
    ["a protocol name in lower case", `GET http://a.x.com/ http/1.1\r\n${host}\r\n`],
    ["something behind the version", `GET http://a.x.com/ HTTP/1.1x\r\n${host}\r\n`],
    ["something behind another version", `GET http://a.x.com/ HTTP/2.0x\r\n${host}\r\n`],
    ["a version of one number", `GET http://a.x.com/ HTTP/2\r\n${host}\r\n`],
    ["a version of two digits", `GET http://a.x.com/ HTTP/1.10\r\n${host}\r\n`],
    ["a version that is no number", `GET http://a.x.com/ HTTP/1.a\r\n${host}\r\n`],
    ["nine empty lines", `${"\r\n".repeat(9)}${start}\r\n`],
    ["an LF in front", `\n${start}\r\n`],
    ["a CR in front", `\r${start}\r\n`],
    ["a space in front", ` ${start}\r\n`],
    ["a TLS ClientHello", `\x16\x03\x01\x00\xca\x01\0\0\xc6\x03\x03`],
    ["an SSLv2 hello", "\x80\x2e\x01\x03\x01\0\x15"],
    ["an SSH banner", "SSH-2.0-OpenSSH_9.6\r\n"],
    ["the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["a PROXY line", `PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\n${start}\r\n`],
    ["a PROXY header in binary", "\r\n\r\n\0\r\nQUIT\n!\x11\0\0"],
    ["SOCKS 5", "\x05\x02\0\x02\x01"],
    ["SOCKS 4", "\x04\x01\0P\xc0\0\x02\x01user\0\0"],
    ["SMTP", "EHLO example.com\r\n"],
  ])("%s", (_sentence, text) => {
    expect(parse(text)).toMatchObject({ kind: "malformed", problem: "bad_request" });
  });

  test.each<[string, string]>([
    ["a TLS record by its first byte", "\x16"],
    ["SOCKS 5 by its first byte", "\x05"],
    ["binary noise by its first byte", "\xc3"],
    ["the HTTP/2 preface by its third", "PRI"],
    ["an SSH banner by its second", "SS"],
    ["a PROXY line by its fourth", "PROX"],
    ["a method in lower case by its first", "g"],
    ["a request line by its LF", "GET http://a.x.com/ HTTP/1.1\n"],
    ["another protocol by the letter that differs", "GET http://a.x.com/ R"],
    ["a field by its LF", `${start}${host}X: a\n`],
    ["a folded line by its space", `${start}${host}X: a\r\n `],
    ["a name by the space behind it", `${start}Host `],
    ["a bare CR by what is behind it", `${start}X: a\rb`],
  ])("without waiting for more: %s", (_sentence, text) => {
    const bytes = latin1(text);
    expect(parse(bytes)).toMatchObject({ kind: "malformed", problem: "bad_request" });
    expect(parseRequestHead(bytes.subarray(0, -1), 0, maxBytes).kind).toBe("incomplete");
  });
});

describe("a version that is not spoken here", () => {
  test.each(["2.0", "1.2", "1.9", "0.9", "3.0", "0.0", "9.9"])("HTTP/%s", (version) => {
    const text = `GET http://a.x.com/ HTTP/${version}\r\n`;
    expect(parse(text)).toMatchObject({ kind: "malformed", problem: "version_unsupported" });
    expect(parse(`${text}broken line\n`)).toMatchObject({ problem: "version_unsupported" });
    expect(parse(text.slice(0, -1)).kind).toBe("incomplete");
  });

  test("none at all, as in HTTP/0.9", () => {
    expect(parse("GET http://a.x.com/\r\n")).toMatchObject({ kind: "malformed", problem: "version_unsupported" });
  });
});

describe("a head that is too large", () => {
  test.each<[string, string]>([
    ["a target", `GET http://a.x.com/${"a".repeat(300)}`],
    ["a name", `${start}${"a".repeat(300)}`],
    ["a value", `${start}A: ${"a".repeat(300)}`],
    ["many fields", `${start}${"A: b\r\n".repeat(50)}`],
    ["a whole head", `${start}A: ${"a".repeat(300)}\r\n\r\n`],
    ["empty lines of a head that would fit without them", `\r\n${start}${"a".repeat(223)}:\r\n\r\n`],
  ])("by %s", (_sentence, text) => {
    expect(parse(text, 256)).toMatchObject({ kind: "malformed", problem: "head_too_large" });
  });

  test("what is malformed within the limit is that first", () => {
    expect(parse(`${start}A b${"a".repeat(300)}`, 256)).toMatchObject({ problem: "bad_request" });
    expect(parse(`${start}${"a".repeat(300)} b`, 256)).toMatchObject({ problem: "head_too_large" });
  });

  test("a byte below the limit it may still end", () => {
    const text = `${start}${host}\r\n`;
    expect(parse(text.slice(0, -1), text.length).kind).toBe("incomplete");
    expect(parse(text.slice(0, -1), text.length - 1)).toMatchObject({ problem: "head_too_large" });
    expect(parse(text, text.length - 1)).toMatchObject({ problem: "head_too_large" });
  });
});

// Quadratic work would take minutes.
test.each<[string, string]>([
  ["a target", `GET http://a.x.com/${"a".repeat(500_000)}`],
  ["a name", `${start}${"a".repeat(500_000)}`],
  ["a value", `${start}A: ${"a".repeat(500_000)}`],
  ["many fields", `${start}${"A: b\r\n".repeat(80_000)}`],
])("%s of half a megabyte costs no more than its bytes when they come one by one", (_sentence, text) => {
  const bytes = latin1(text);
  expect(parseInPieces(parseRequestHead, bytes, upTo(bytes.length), 1 << 20).kind).toBe("incomplete");
});

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/);
const value = fc.stringMatching(/^([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?)?$/);
const blank = fc.stringMatching(/^[ \t]{0,3}$/);
const generatedHead = fc.record({
  emptyLines: fc.nat({ max: 8 }),
  method: fc.constantFrom("GET", "HEAD", "POST", "CONNECT", "M-SEARCH", "UNSUBSCRIBE"),
  url: fc.stringMatching(/^[\x21-\x7e]{1,30}$/),
  httpVersion: fc.constantFrom("1.0", "1.1"),
  fields: fc.array(fc.tuple(token, blank, value, blank), { maxLength: 12 }),
});

test("every valid head comes out as it went in, wherever it is cut", () => {
  const property = fc.property(generatedHead, fc.array(fc.nat({ max: 400 })), (made, cuts) => {
    const { emptyLines, method, url, httpVersion, fields } = made;
    const lines = fields.map(([name, before, text, behind]) => `${name}:${before}${text}${behind}\r\n`).join("");
    const text = `${"\r\n".repeat(emptyLines)}${method} ${url} HTTP/${httpVersion}\r\n${lines}\r\n`;
    const rawFields = fields.flatMap(([name, , text]) => [name, text]);
    const folded = fields.map(([name]) => name.toLowerCase());
    const expected = { kind: "head", head: { method, url, httpVersion, rawFields }, folded, length: text.length };
    const bytes = latin1(`${text}\0\n`);
    expect(
      parseInPieces(
        parseRequestHead,
        bytes,
        cuts.toSorted((a, b) => a - b),
        maxBytes,
      ),
    ).toEqual(expected);
    for (let length = 0; length < text.length; length++)
      expect(parseRequestHead(bytes.subarray(0, length), 0, maxBytes).kind).toBe("incomplete");
  });
  fc.assert(property, { numRuns: 150 });
});

const almostHead = broken([
  `${start}${host}A: b\r\nC: d\r\n\r\n`,
  "CONNECT a.x.com:443 HTTP/1.1\r\nHost: a.x.com:443\r\n\r\n",
  `POST http://a.x.com/b?c HTTP/1.0\r\n${host}Content-Length: 3\r\n\r\nabc`,
  `\r\nPOST http://a.x.com/ HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
]);

test("whatever comes, the answer does not depend on how it was cut", () => {
  const property = fc.property(almostHead, fc.integer({ min: 20, max: 200 }), (bytes, limit) => {
    parse(bytes, limit);
    for (let length = 0; length <= bytes.length; length++) {
      const first = parseRequestHead(bytes.subarray(0, length), 0, limit);
      const second = parseInPieces(parseRequestHead, bytes, [length], limit);
      if (first.kind === "incomplete") expect(second).toEqual(parseRequestHead(bytes, 0, limit));
      else expect(second).toEqual(first);
    }
  });
  fc.assert(property, { numRuns: 300 });
});

test("Node's parser reads what is taken here, and reads it alike", async () => {
  let taken = 0;
  const property = fc.asyncProperty(almostHead, async (bytes) => {
    const ours = parseRequestHead(bytes, 0, maxBytes);
    if (ours.kind !== "head") return;
    const { method, url } = ours.head;
    const isTarget =
      method === "CONNECT" ? parseAuthority(url) !== undefined : parseRequestTarget(method, url).kind === "absolute";
    if (!isTarget || readHead(ours.head, 128).kind !== "head") return;
    taken += 1;
    expect(await readWithNodeServer(bytes)).toMatchObject({ kind: "head", head: ours.head });
  });
  await fc.assert(property, { numRuns: 500 });
  expect(taken).toBeGreaterThan(20);
});
