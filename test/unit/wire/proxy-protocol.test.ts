import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseProxyHeader } from "../../../src/wire/proxy-protocol.ts";
import { addresses4, addresses6, extension, proxyBlock } from "../../support/proxy-header.ts";

const line = (text: string): Buffer => Buffer.from(text, "latin1");

/** The answer in one line: the client's address, `peer`, or what is wrong. */
function told(bytes: Uint8Array): string {
  const reading = parseProxyHeader(bytes);
  if (reading.kind === "incomplete") return "incomplete";
  if (reading.kind === "malformed") return `malformed: ${reading.detail}`;
  return `${reading.source?.text ?? "peer"} ${reading.length}`;
}

describe("version 1", () => {
  test.each<[text: string, expected: string]>([
    ["PROXY TCP4 192.0.2.7 10.0.0.1 50000 3128\r\n", "192.0.2.7 42"],
    ["PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255 56"],
    ["PROXY TCP4 192.0.2.7 10.0.0.1 0 3128\r\nGET /", "192.0.2.7 38"],
    ["PROXY TCP6 2001:db8::7 ::1 50000 3128\r\n", "2001:db8::7 39"],
    ["PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 50000 3128\r\n", "2001:db8::7 48"],
    ["PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 50000 3128\r\n", "192.0.2.7 56"],
    ["PROXY UNKNOWN\r\n", "peer 15"],
    ["PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "peer 59"],
    ["", "incomplete"],
    ["PROXY", "incomplete"],
    ["PROXY TCP4 192.0.2.7 10.0.0.1 50000 3128", "incomplete"],
    ["PROXY TCP4 192.0.2.7 10.0.0.1 50000 3128\r", "incomplete"],
    ["PROXY TCP4 192.0.2.7 10.0.0.1 50000 3128\rX", "malformed: a CR alone"],
    ["PROXY TCP4 192.0.2.7 10.0.0.1 50000 3128\n", "malformed: a byte that no line may hold"],
    ["PROXY TCP4 192.0.2.7 10.0.0.1 50000\r\n", "malformed: no two ports"],
    ["PROXY TCP4 192.0.2.7 10.0.0.1 50000 65536\r\n", "malformed: no two ports"],
    ["PROXY TCP4 192.0.2.7 10.0.0.1 050 3128\r\n", "malformed: no two ports"],
    ["PROXY TCP4 192.0.2.7 10.0.0.1 50000 3128 \r\n", "malformed: no two ports"],
    ["PROXY TCP4  192.0.2.7 10.0.0.1 50000 3128\r\n", "malformed: no two ports"],
    ["PROXY TCP4 192.0.2.07 10.0.0.1 50000 3128\r\n", "malformed: no two addresses"],
    ["PROXY TCP4 0x7f.1 10.0.0.1 50000 3128\r\n", "malformed: no two addresses"],
    ["PROXY TCP4 a.example.com 10.0.0.1 50000 3128\r\n", "malformed: no two addresses"],
    ["PROXY TCP6 fe80::1%lo ::1 50000 3128\r\n", "malformed: no two addresses"],
    ["PROXY TCP4 ::1 ::1 50000 3128\r\n", "malformed: addresses of another family"],
    ["PROXY TCP6 192.0.2.7 10.0.0.1 50000 3128\r\n", "malformed: addresses of another family"],
    ["PROXY TCP5 192.0.2.7 10.0.0.1 50000 3128\r\n", "malformed: an unknown protocol"],
    ["PROXY tcp4 192.0.2.7 10.0.0.1 50000 3128\r\n", "malformed: an unknown protocol"],
    ["proxy TCP4 192.0.2.7 10.0.0.1 50000 3128\r\n", "malformed: no PROXY header"],
    ["PROXY\tTCP4 ", "malformed: no PROXY header"],
    ["GET http://a/ HTTP/1.1\r\n", "malformed: no PROXY header"],
    ["\x16\x03\x01", "malformed: no PROXY header"],
  ])("%j", (text, expected) => {
    expect(told(line(text))).toBe(expected);
  });

  test("a line of 107 bytes is read, one of 108 is not, and no more is waited for", () => {
    const longest = `PROXY UNKNOWN ${"x".repeat(91)}\r\n`;
    expect(longest).toHaveLength(107);
    expect(told(line(longest))).toBe("peer 107");
    expect(told(line(`PROXY UNKNOWN ${"x".repeat(92)}\r\n`))).toBe("malformed: a line that is too long");
    expect(told(line(`PROXY UNKNOWN ${"x".repeat(93)}`))).toBe("malformed: a line that is too long");
  });
});

describe("version 2", () => {
  const none = new Uint8Array(0);
  const unix = new Uint8Array(216).fill(0x61);
  test.each<[sentence: string, bytes: Buffer, expected: string]>([
    ["a client of IPv4", proxyBlock(0x11, addresses4()), "10.9.8.7 28"],
    ["a client of IPv6", proxyBlock(0x21, addresses6()), "2001:db8::7 52"],
    ["bytes of the client behind it", Buffer.concat([proxyBlock(0x11, addresses4()), line("GET")]), "10.9.8.7 28"],
    ["a UNIX socket is its peer", proxyBlock(0x31, unix), "peer 232"],
    ["no family is its peer, whatever comes with it", proxyBlock(0, Buffer.from([1, 2])), "peer 18"],
    ["a check of the balancer itself", proxyBlock(0, none, { command: 0x20 }), "peer 16"],
    ["the same with addresses", proxyBlock(0x11, addresses4(), { command: 0x20 }), "peer 28"],
    [
      "extensions are passed over",
      proxyBlock(0x11, Buffer.concat([addresses4(), extension(4, none), extension(0x20, unix)])),
      "10.9.8.7 250",
    ],
    [
      "the largest block",
      proxyBlock(0x11, Buffer.concat([addresses4(), extension(4, new Uint8Array(4081))])),
      "10.9.8.7 4112",
    ],
    ["a block that is cut", proxyBlock(0x11, addresses4()).subarray(0, 27), "incomplete"],
    ["a length that is a lie", proxyBlock(0x11, addresses4(), { length: 4000 }), "incomplete"],
    ["64 KiB", proxyBlock(0x11, addresses4(), { length: 65535 }), "malformed: a block that is too long"],
    [
      "no room for the addresses",
      proxyBlock(0x11, addresses4().subarray(1)),
      "malformed: a block without its addresses",
    ],
    ["IPv6 in a block of IPv4", proxyBlock(0x21, addresses4()), "malformed: a block without its addresses"],
    [
      "an extension that is longer than the block",
      proxyBlock(0x11, Buffer.concat([addresses4(), extension(4, none, 1)])),
      "malformed: extensions that do not end where the block does",
    ],
    [
      "half an extension",
      proxyBlock(0x11, Buffer.concat([addresses4(), Buffer.from([4, 0])])),
      "malformed: extensions that do not end where the block does",
    ],
    ["datagrams", proxyBlock(0x12, addresses4()), "malformed: an unknown family"],
    ["a family of the future", proxyBlock(0x41, addresses4()), "malformed: an unknown family"],
    ["version 3", proxyBlock(0x11, addresses4(), { command: 0x31 }), "malformed: an unknown version or command"],
    [
      "a command of the future",
      proxyBlock(0x11, addresses4(), { command: 0x22 }),
      "malformed: an unknown version or command",
    ],
    ["a signature with another byte", line("\r\n\r\n\0\r\nQUIX\n"), "malformed: no PROXY header"],
    ["an empty line", line("\r\n\r\nGET"), "malformed: no PROXY header"],
  ])("%s", (_, bytes, expected) => {
    expect(told(bytes)).toBe(expected);
  });
});

test("an answer stays the answer whatever follows, and every part of a header is incomplete", () => {
  const headers = [
    line("PROXY TCP4 192.0.2.7 10.0.0.1 50000 3128\r\n"),
    line("PROXY UNKNOWN\r\n"),
    proxyBlock(0x21, Buffer.concat([addresses6(), extension(1, Buffer.from("h2"))])),
  ];
  fc.assert(
    fc.property(fc.constantFrom(...headers), fc.uint8Array({ maxLength: 64 }), (header, more) => {
      const alone = parseProxyHeader(header);
      expect(alone.kind).toBe("header");
      expect(parseProxyHeader(Buffer.concat([header, more]))).toEqual(alone);
      for (let n = 0; n < header.length; n++) expect(parseProxyHeader(header.subarray(0, n)).kind).toBe("incomplete");
    }),
    { numRuns: 50 },
  );
});
