/** Bodies in chunks: data told of by its place, and nothing taken that two recipients could read in two ways. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createChunkScan, scanChunks } from "../../../src/wire/chunked.ts";
import { broken } from "../../support/broken-messages.ts";
import { latin1 } from "../../support/in-pieces.ts";
import { readWithNodeServer } from "../../support/node-http-parser.ts";

type Reading = {
  readonly state: string;
  readonly detail: string;
  /** Data, latin1. */
  readonly data: string;
  /** Bytes that were read. */
  readonly read: number;
};

/** Scans in buffers that end at these places. */
function scanInPieces(bytes: Buffer, cuts: readonly number[]): Reading {
  const scan = createChunkScan();
  let data = "";
  let read = 0;
  for (const cut of [...cuts, bytes.length]) {
    if (cut <= read || scan.state !== "open") continue;
    const piece = bytes.subarray(0, cut);
    read = scanChunks(scan, piece, read, (start, end) => (data += piece.toString("latin1", start, end)));
    if (scan.state === "open") expect(read).toBe(cut);
  }
  return { state: scan.state, detail: scan.detail, data, read };
}

/** Scans at once; fails the test where bytes that come one by one are read otherwise. */
function scan(text: string): Reading {
  const bytes = latin1(text);
  const whole = scanInPieces(bytes, []);
  expect(scanInPieces(bytes, Array.from(bytes.keys()))).toEqual(whole);
  return whole;
}

describe("a body that is one", () => {
  test.each<[string, string, string]>([
    ["no data", "0\r\n\r\n", ""],
    ["one chunk", "3\r\nabc\r\n0\r\n\r\n", "abc"],
    ["several chunks", "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", "abcd"],
    ["a size in either case", `a\r\n${"x".repeat(10)}\r\nB\r\n${"y".repeat(11)}\r\n0\r\n\r\n`, "xxxxxxxxxxyyyyyyyyyyy"],
    ["leading zeros", "0000000000003\r\nabc\r\n000\r\n\r\n", "abc"],
    ["line ends in the data", "6\r\n\r\n0\r\n\r\r\n0\r\n\r\n", "\r\n0\r\n\r"],
    ["a request in the data", "12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"],
    ["extensions", '3;a\r\nabc\r\n1;b=c;d="e; \t\\"f";g\r\nd\r\n0;x=y\r\n\r\n', "abcd"],
    ["an empty quoted extension", '3;a=""\r\nabc\r\n0\r\n\r\n', "abc"],
    ["trailers", "3\r\nabc\r\n0\r\nX-Checksum: 9\r\nHost: evil\r\n\r\n", "abc"],
    ["a trailer without a value", "3\r\nabc\r\n0\r\nX:\r\n\r\n", "abc"],
    ["a trailer whose name only ends like a length", "0\r\nX-Content-Length: 1\r\n\r\n", ""],
  ])("with %s", (_sentence, text, data) => {
    expect(scan(`${text}GET / HTTP/1.1`)).toEqual({ state: "done", detail: "", data, read: text.length });
    for (let length = 0; length < text.length; length++) expect(scan(text.slice(0, length)).state).toBe("open");
  });

  test("with a chunk of as many bytes as can be counted", () => {
    const started = scan("fffffffffffff\r\nabc");
    expect(started).toMatchObject({ state: "open", data: "abc" });
  });
});

describe("a body that is none", () => {
  test.each<[string, string]>([
    ["a size that is no number", "z"],
    ["a negative size", "-"],
    ["a signed size", "+"],
    ["a size with 0x", "0x"],
    ["a size with a space in front", " "],
    ["a size with a space behind it", "3 "],
    ["a size with a tab behind it", "3\t"],
    ["a size with an underscore", "1_"],
    ["a size of fourteen digits", "00000000000003"],
    ["a size beyond 64 bits", "10000000000000"],
    ["an empty size", "\r"],
    ["an extension without a size", ";"],
    ["a size that ends in LF", "3\n"],
    ["a size that ends in CR", "3\ra"],
    ["a size that ends in two CRs", "3\r\r"],
    ["a chunk without its CRLF", "3\r\nabc0"],
    ["a chunk that is longer than its size", "2\r\nabc"],
    ["a chunk that ends in LF", "3\r\nabc\n"],
    ["a chunk that ends in CR", "3\r\nabc\ra"],
    ["an empty line behind a chunk", "3\r\nabc\r\n\r"],
    ["an extension without a name", "3;\r"],
    ["an extension with a space in front", "3; "],
    ["an extension with a space behind it", "3;a "],
    ["two semicolons", "3;;"],
    ["an extension without a value", "3;a=\r"],
    ["an extension with two values", "3;a=b="],
    ["NUL in an extension", "3;a=\0"],
    ["NUL in a quoted extension", '3;a="\0'],
    ["a quoted CR", '3;a="b\r'],
    ["a quoted pair of an LF", '3;a="\\\n'],
    ["obs-text in an extension", '3;a="\xe9'],
    ["something behind a quoted extension", '3;a="b"c'],
    ["an LF behind an extension", "3;a\n"],
    ["an extension of more than a kibibyte", `3;${"a".repeat(1025)}`],
    ["extensions of more than sixteen together", `${`1;${"a".repeat(999)}\r\nb\r\n`.repeat(16)}1;${"a".repeat(385)}`],
    ["a folded trailer", "0\r\nX: a\r\n "],
    ["a trailer that begins with a space", "0\r\n "],
    ["a trailer with a space before the colon", "0\r\nX "],
    ["a trailer without a name", "0\r\n:"],
    ["a trailer without a colon", "0\r\nX\r"],
    ["a trailer that ends in LF", "0\r\nX: a\n"],
    ["a bare CR in a trailer", "0\r\nX: a\rb"],
    ["NUL in a trailer", "0\r\nX: a\0"],
    ["a last chunk that ends in LF", "0\r\n\n"],
    ["a last chunk that ends in CR", "0\r\n\rX"],
  ])("%s is refused at the byte that shows it", (_sentence, text) => {
    const whole = scan(`${text}\r\n\r\n`);
    expect(whole).toMatchObject({ state: "malformed", read: text.length - 1 });
    expect(whole.detail).not.toBe("");
    expect(scan(text.slice(0, -1)).state).toBe("open");
  });

  test.each(["Content-Length: 9", "content-length:9", "Transfer-Encoding: chunked", "X: a\r\nCONTENT-LENGTH:9"])(
    "the trailer %j is refused: whoever merged it would see another body",
    (trailer) => {
      expect(scan(`3\r\nabc\r\n0\r\n${trailer}\r\n\r\n`)).toMatchObject({ state: "malformed", data: "abc" });
    },
  );

  test("trailers of more than eight kibibytes are refused, and of fewer are not", () => {
    const fit = `0\r\n${"A: b\r\n".repeat(1365)}\r\n`;
    expect(fit.length - 3).toBe(8192);
    expect(scan(fit)).toMatchObject({ state: "done", read: fit.length });
    expect(scan(`0\r\n${"A: b\r\n".repeat(1366)}\r\n`)).toMatchObject({ state: "malformed", read: 3 + 8192 });
    expect(scan(`0\r\nA: ${"b".repeat(9000)}`)).toMatchObject({ state: "malformed" });
  });

  test("nothing is read behind it", () => {
    const state = createChunkScan();
    const bytes = latin1("z3\r\nabc\r\n0\r\n\r\n");
    const onData = (): void => expect.unreachable();
    expect(scanChunks(state, bytes, 0, onData)).toBe(0);
    expect(scanChunks(state, bytes, 1, onData)).toBe(1);
    expect(state.state).toBe("malformed");
  });
});

test("data is told of in one piece where it came in one", () => {
  const pieces: [number, number][] = [];
  const bytes = latin1("--5\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n");
  scanChunks(createChunkScan(), bytes, 2, (start, end) => pieces.push([start, end]));
  expect(pieces).toEqual([
    [5, 10],
    [15, 16],
  ]);
});

const generatedBody = fc.record({
  chunks: fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 6 }),
  extension: fc.constantFrom("", ";a", ";a=b", ';a="b;\t\\"c"', ";a;b=c"),
  trailers: fc.constantFrom("", "X: a\r\n", "X:\r\nY: \xe9\r\n"),
});

test("every valid body comes out as it went in, wherever it is cut", () => {
  const property = fc.property(generatedBody, fc.array(fc.nat({ max: 2000 })), (made, cuts) => {
    const { chunks, extension, trailers } = made;
    const wire = chunks.map((chunk) => {
      return `${chunk.length.toString(16)}${extension}\r\n${Buffer.from(chunk).toString("latin1")}\r\n`;
    });
    const text = `${wire.join("")}0${extension}\r\n${trailers}\r\n`;
    const data = Buffer.concat(chunks).toString("latin1");
    const sorted = cuts.toSorted((a, b) => a - b).filter((cut) => cut <= text.length + 3);
    expect(scanInPieces(latin1(`${text}GET`), sorted)).toEqual({ state: "done", detail: "", data, read: text.length });
  });
  fc.assert(property, { numRuns: 300 });
});

const almostBody = broken([
  "3\r\nabc\r\n0\r\n\r\n",
  "3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX: a\r\n\r\n",
  '5;a="b"\r\nabcde\r\n10;c\r\n0123456789abcdef\r\n0;d\r\n\r\nGET http://a.x.com/ HTTP/1.1\r\n\r\n',
]);

test("whatever comes, it is read alike however it is cut", () => {
  const property = fc.property(almostBody, fc.array(fc.nat({ max: 120 })), (bytes, cuts) => {
    const whole = scan(bytes.toString("latin1"));
    const sorted = cuts.toSorted((a, b) => a - b).filter((cut) => cut <= bytes.length);
    expect(scanInPieces(bytes, sorted)).toEqual(whole);
  });
  fc.assert(property, { numRuns: 500 });
});

test("Node's parser reads what is taken here, and reads it alike", async () => {
  const head = latin1("POST http://a.x.com/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  let taken = 0;
  const property = fc.asyncProperty(almostBody, async (bytes) => {
    const ours = scanInPieces(bytes, []);
    const theirs = await readWithNodeServer(Buffer.concat([head, bytes]));
    if (ours.state !== "done") return;
    taken += 1;
    expect(theirs).toMatchObject({ kind: "head", isWhole: true, body: latin1(ours.data) });
  });
  await fc.assert(property, { numRuns: 500 });
  expect(taken).toBeGreaterThan(20);
});
