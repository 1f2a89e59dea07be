/** The head of a request: framing that two recipients could read in two ways is refused (threats.md 3). */
import { describe, expect, test } from "vitest";
import { type RequestHead, readHead } from "../../../src/wire/request-head.ts";

type Words = { readonly method?: string; readonly httpVersion?: string; readonly maxFields?: number };

/** Reads `name: value` lines behind a Host; `GET`, HTTP/1.1, at most 128 fields unless said otherwise. */
function read(lines: readonly string[], { method = "GET", httpVersion = "1.1", maxFields = 128 }: Words = {}) {
  return readBare(["Host: a.x.com", ...lines], { method, httpVersion, maxFields });
}

function readBare(lines: readonly string[], { method = "GET", httpVersion = "1.1", maxFields = 128 }: Words = {}) {
  const rawFields = lines.flatMap((line) => [
    line.slice(0, line.indexOf(":")),
    line.slice(line.indexOf(":") + 1).trim(),
  ]);
  const head: RequestHead = { method, url: "http://a.x.com/", httpVersion, rawFields };
  return readHead(head, maxFields);
}

describe("how the body is delimited", () => {
  test.each<[string, readonly string[], unknown]>([
    ["not at all", [], { kind: "none" }],
    ["a length of nothing is no body: Delivery Optimization sends it", ["Content-Length: 0"], { kind: "none" }],
    ["by a length", ["Content-Length: 17"], { kind: "length", bytes: 17 }],
    ["by a large length", ["Content-Length: 999999999999999"], { kind: "length", bytes: 999_999_999_999_999 }],
    ["by chunks", ["Transfer-Encoding: chunked"], { kind: "chunked" }],
    ["by chunks in any case", ["transfer-encoding: ChunKed"], { kind: "chunked" }],
  ])("%s", (_sentence, lines, framing) => {
    expect(read(lines)).toMatchObject({ kind: "head", framing });
    expect(read(lines, { method: "POST" })).toMatchObject({ kind: "head", framing });
  });
});

describe("what is refused", () => {
  test.each<[string, readonly string[], Words, string]>([
    ["both framings", ["Content-Length: 5", "Transfer-Encoding: chunked"], {}, "bad_request"],
    ["both, the other way round", ["Transfer-Encoding: chunked", "Content-Length: 0"], {}, "bad_request"],
    ["two lengths that differ", ["Content-Length: 5", "Content-Length: 6"], {}, "bad_request"],
    ["two lengths that do not", ["Content-Length: 5", "content-length: 5"], {}, "bad_request"],
    ["a list of lengths", ["Content-Length: 5, 5"], {}, "bad_request"],
    ["an empty length", ["Content-Length:"], {}, "bad_request"],
    ["a length with a sign", ["Content-Length: +5"], {}, "bad_request"],
    ["a negative length", ["Content-Length: -5"], {}, "bad_request"],
    ["a hexadecimal length", ["Content-Length: 0x5"], {}, "bad_request"],
    ["a length with an underscore", ["Content-Length: 1_0"], {}, "bad_request"],
    ["a length that some read as octal", ["Content-Length: 010"], {}, "bad_request"],
    ["two zeros", ["Content-Length: 00"], {}, "bad_request"],
    ["a length with a tail", ["Content-Length: 5 junk"], {}, "bad_request"],
    ["a length that overflows", ["Content-Length: 18446744073709551617"], {}, "bad_request"],
    ["a length in other digits", ["Content-Length: \u0665"], {}, "bad_request"],
    ["two transfer codings", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], {}, "bad_request"],
    ["chunks within chunks", ["Transfer-Encoding: chunked, chunked"], {}, "bad_request"],
    ["a list of them", ["Transfer-Encoding: gzip, chunked"], {}, "coding_unknown"],
    ["gzip", ["Transfer-Encoding: gzip"], {}, "coding_unknown"],
    ["gzip before chunked", ["Transfer-Encoding: gzip, chunked"], {}, "coding_unknown"],
    ["identity", ["Transfer-Encoding: identity"], {}, "coding_unknown"],
    ["xchunked", ["Transfer-Encoding: xchunked"], {}, "coding_unknown"],
    ["chunked with a parameter", ["Transfer-Encoding: chunked;a=b"], {}, "coding_unknown"],
    ["an empty coding", ["Transfer-Encoding:"], {}, "bad_request"],
    ["chunks in HTTP/1.0", ["Transfer-Encoding: chunked"], { httpVersion: "1.0" }, "bad_request"],
    ["CONNECT with a body", ["Content-Length: 5"], { method: "CONNECT" }, "bad_request"],
    ["CONNECT with chunks", ["Transfer-Encoding: chunked"], { method: "CONNECT" }, "bad_request"],
    ["HTTP/2", [], { httpVersion: "2.0" }, "version_unsupported"],
    ["HTTP/0.9", [], { httpVersion: "0.9" }, "version_unsupported"],
    ["HTTP/1.2", [], { httpVersion: "1.2" }, "version_unsupported"],
    ["one field too many", ["A: b", "C: d"], { maxFields: 2 }, "too_many_fields"],
    ["another expectation", ["Expect: 200-ok"], {}, "expectation_failed"],
    ["another beside the known one", ["Expect: 100-continue, x"], {}, "expectation_failed"],
    [
      "Upgrade with a body",
      ["Upgrade: websocket", "Connection: Upgrade", "Content-Length: 5"],
      { method: "POST" },
      "bad_request",
    ],
    [
      "Upgrade with chunks",
      ["Upgrade: websocket", "Connection: Upgrade", "Transfer-Encoding: chunked"],
      {},
      "bad_request",
    ],
    ["Upgrade with a body, which Connection does not name", ["Upgrade: h2c", "Content-Length: 5"], {}, "bad_request"],
  ])("%s", (_sentence, lines, words, problem) => {
    expect(read(lines, words)).toMatchObject({ kind: "malformed", problem });
  });

  test.each<[string, readonly string[], Words]>([
    ["two Hosts", ["Host: a.x.com", "host: a.x.com"], {}],
    ["two Hosts on CONNECT", ["Host: a.x.com", "Host: b.x.com"], { method: "CONNECT" }],
    ["two Hosts in HTTP/1.0", ["Host: a.x.com", "Host: b.x.com"], { httpVersion: "1.0" }],
    ["no Host in HTTP/1.1", [], {}],
  ])("%s", (_sentence, lines, words) => {
    expect(readBare(lines, words)).toMatchObject({ kind: "malformed", problem: "bad_request" });
  });

  test("as many fields as are allowed are allowed", () => {
    expect(read(["A: b"], { maxFields: 2 }).kind).toBe("head");
  });
});

describe("Host", () => {
  test.each<[string, readonly string[], Words, string | undefined]>([
    ["as sent", ["Host: A.x.com:80"], {}, "A.x.com:80"],
    ["empty is a value", ["Host:"], {}, ""],
    ["missing on CONNECT", [], { method: "CONNECT" }, undefined],
    ["missing in HTTP/1.0", [], { httpVersion: "1.0" }, undefined],
  ])("%s", (_sentence, lines, words, host) => {
    expect(readBare(lines, words)).toMatchObject({ kind: "head", host });
  });
});

describe("Upgrade", () => {
  test.each<[string, readonly string[], string | undefined]>([
    ["asked for", ["Upgrade: WebSocket", "Connection: keep-alive, Upgrade"], "websocket"],
    [
      "with a length of nothing, which is no body",
      ["Upgrade: websocket", "Connection: upgrade", "Content-Length: 0"],
      "websocket",
    ],
    ["not named in Connection, it is not asked for", ["Upgrade: websocket"], undefined],
    ["of two fields all are told", ["Upgrade: h2c", "Upgrade: websocket", "Connection: upgrade"], "h2c,websocket"],
    ["named in Connection without a field", ["Connection: upgrade"], undefined],
  ])("%s", (_sentence, lines, upgrade) => {
    expect(read(lines)).toMatchObject({ kind: "head", upgrade });
  });
});

test("Expect: 100-continue in any case is an expectation that is met", () => {
  expect(read(["Expect: 100-Continue", "Content-Length: 5"], { method: "POST" }).kind).toBe("head");
});
