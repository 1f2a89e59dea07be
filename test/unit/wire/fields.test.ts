/** Header fields between two hops: which go on, which do not, and what their lists say. */
import { describe, expect, test } from "vitest";
import {
  fieldTokens,
  fieldValues,
  forwardedRequestFields,
  forwardedResponseFields,
  namesInVia,
} from "../../../src/wire/fields.ts";

const via = "1.1 sallyport-1";

/** The names that go on of `name: value` lines, Via aside. */
function passing(lines: readonly string[], stripRange = false): readonly string[] {
  return named(forwardedRequestFields(rawOf(lines), { stripRange, via, maxForwards: undefined }));
}

function rawOf(lines: readonly string[]): readonly string[] {
  return lines.flatMap((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
  });
}

function named(fields: readonly string[]): readonly string[] {
  return fields.filter((_, i) => i % 2 === 0 && !(fields[i] === "Via" && fields[i + 1] === via));
}

describe("values and members", () => {
  const fields = ["Accept", "a, B", "accept", "C,,", "Other", "x", "ACCEPT", ""];
  test("all values of a field, in order, whatever the case of its name", () => {
    expect(fieldValues(fields, "accept")).toEqual(["a, B", "C,,", ""]);
    expect(fieldValues(fields, "none")).toEqual([]);
  });

  test("members over all lines, trimmed, in lower case, empty ones dropped", () => {
    expect(fieldTokens(fields, "accept")).toEqual(["a", "b", "c"]);
  });

  test("names of Object's own are names like others", () => {
    expect(fieldValues(["__proto__", "x", "constructor", "y"], "__proto__")).toEqual(["x"]);
    expect(passing(["__proto__: x", "constructor: y"])).toEqual(["__proto__", "constructor"]);
  });
});

describe("fields of a request that go on", () => {
  test.each<[string, readonly string[], readonly string[]]>([
    [
      "ordinary ones, in order, in their own spelling, duplicates too",
      ["User-Agent: Windows-Update-Agent", "COOKIE: a", "cookie: b"],
      ["User-Agent", "COOKIE", "cookie"],
    ],
    [
      "none of one hop",
      [
        "Connection: keep-alive",
        "Proxy-Connection: x",
        "Keep-Alive: x",
        "TE: trailers",
        "Trailer: X",
        "Transfer-Encoding: chunked",
        "Upgrade: h2c",
        "HTTP2-Settings: x",
        "Proxy-Authorization: Basic x",
        "Proxy-Authenticate: x",
        "A: b",
      ],
      ["A"],
    ],
    ["none that we make anew", ["Host: a", "Content-Length: 5", "Expect: 100-continue"], []],
    [
      "none that Connection nominates",
      ["Connection: X-One, x-two", "connection: X-Three", "X-One: 1", "X-TWO: 2", "X-Three: 3", "X-Four: 4"],
      ["X-Four"],
    ],
    ["nominating Connection itself changes nothing", ["Connection: Connection", "A: b"], ["A"]],
    ["nominating Cookie removes it", ["Connection: cookie", "Cookie: a"], []],
    ["never Request-Range", ["Request-Range: bytes=0-1", "Range: bytes=0-1"], ["Range"]],
    ["Range and If-Range, unless they are stripped", ["Range: bytes=0-1", "If-Range: x"], ["Range", "If-Range"]],
    ["Expect that nominates nothing of ours", ["Connection: host, content-length, transfer-encoding", "A: b"], ["A"]],
    ["nothing is made up about the client", ["A: b"], ["A"]],
  ])("%s", (_sentence, lines, expected) => {
    expect(passing(lines)).toEqual(expected);
  });

  test("stripped, Range and If-Range are gone in any case of their letters", () => {
    expect(passing(["RANGE: bytes=0-1", "if-range: x", "Request-Range: x", "A: b"], true)).toEqual(["A"]);
  });

  test("Via is appended behind those that came", () => {
    const fields = forwardedRequestFields(["Via", "1.0 other"], { stripRange: false, via, maxForwards: undefined });
    expect(fields).toEqual(["Via", "1.0 other", "Via", via]);
  });

  test("Max-Forwards goes on as it came, or as it was counted", () => {
    const counted = (maxForwards: number | undefined) =>
      forwardedRequestFields(["Max-Forwards", "3", "max-forwards", "3"], { stripRange: false, via, maxForwards });
    expect(counted(undefined)).toEqual(["Max-Forwards", "3", "max-forwards", "3", "Via", via]);
    expect(counted(2)).toEqual(["Max-Forwards", "2", "Via", via]);
  });

  test("values go on byte for byte", () => {
    expect(
      forwardedRequestFields(["A", "\u00e4  \u00ff"], { stripRange: false, via, maxForwards: undefined }).slice(0, 2),
    ).toEqual(["A", "\u00e4  \u00ff"]);
  });
});

describe("fields of a response that go on", () => {
  test.each<[string, readonly string[], readonly string[]]>([
    [
      "ordinary ones, duplicates too",
      ["Set-Cookie: a", "Set-Cookie: b", "Content-Length: 5", "Accept-Ranges: bytes"],
      ["Set-Cookie", "Set-Cookie", "Content-Length", "Accept-Ranges"],
    ],
    [
      "none of one hop",
      [
        "Connection: close",
        "Keep-Alive: x",
        "Transfer-Encoding: chunked",
        "Trailer: x",
        "Upgrade: h2c",
        "Proxy-Authenticate: Basic",
        "A: b",
      ],
      ["A"],
    ],
    ["none that Connection nominates", ["Connection: x-one", "X-One: 1", "A: b"], ["A"]],
    ["but the length", ["Connection: content-length", "Content-Length: 5"], ["Content-Length"]],
  ])("%s", (_sentence, lines, expected) => {
    expect(named(forwardedResponseFields(rawOf(lines), via))).toEqual(expected);
  });
});

describe("a request has been here when Via names us", () => {
  test.each<[string, readonly string[], boolean]>([
    ["no Via", [], false],
    ["another", ["1.1 other"], false],
    ["ours", ["1.1 sallyport-1"], true],
    ["with the protocol's name", ["HTTP/1.1 sallyport-1"], true],
    ["in other letters", ["1.1 SALLYPORT-1"], true],
    ["among others", ["1.0 a, 1.1 sallyport-1 (comment), 1.1 b"], true],
    ["on a second line", ["1.0 a", "1.1 sallyport-1"], true],
    ["with more than one blank", ["1.1 \t sallyport-1"], true],
    ["as part of another name", ["1.1 sallyport-12"], false],
    ["as the protocol", ["sallyport-1 other"], false],
  ])("%s", (_sentence, values, expected) => {
    expect(
      namesInVia(
        values.flatMap((value) => ["via", value]),
        "sallyport-1",
      ),
    ).toBe(expected);
  });
});
