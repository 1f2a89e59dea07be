/** Hosts as clients write them (threats.md 1): one canonical spelling, or malformed. */
import { describe, expect, test } from "vitest";
import { type Host, formatHost, parseHost, parseHostname, sameHost } from "../../../src/names/hostname.ts";

const letters63 = "a".repeat(63);
const name253 = [letters63, letters63, letters63, "b".repeat(57), "com"].join(".");

function hostOf(text: string): Host {
  const host = parseHost(text);
  if (host === undefined) throw new Error(`${text} is malformed`);
  return host;
}

describe("a host name has one canonical spelling", () => {
  test.each([
    ["a name stays", "server.action1.com", "server.action1.com"],
    ["upper case is folded", "Server.ACTION1.com", "server.action1.com"],
    ["one trailing dot is dropped", "denied.test.", "denied.test"],
    ["a single label is a name", "intranet", "intranet"],
    ["a single character is a name", "x", "x"],
    ["an underscore is a letter", "_sip._tcp.example.com", "_sip._tcp.example.com"],
    ["hyphens may stand anywhere", "r3---sn-.example.com", "r3---sn-.example.com"],
    ["an A-label is a name", "xn--bcher-kva.de", "xn--bcher-kva.de"],
    ["a number may stand in front", "1.example.com", "1.example.com"],
    ["a number and a letter may stand at the end", "example.1a", "example.1a"],
    ["what begins like a hexadecimal number is a name", "example.0xg", "example.0xg"],
    ["a label of 63 characters", `${letters63}.com`, `${letters63}.com`],
    ["253 characters", name253, name253],
    ["253 characters and a dot", `${name253}.`, name253],
  ])("%s", (_sentence, text, name) => {
    expect(parseHostname(text)).toBe(name);
    expect(parseHost(text)).toEqual({ kind: "name", name });
    expect(formatHost(hostOf(text))).toBe(name);
  });
});

describe("an address literal is an address", () => {
  test.each([
    ["a dotted quad", "127.0.0.1", "127.0.0.1"],
    ["an IPv6 address in brackets", "[::1]", "[::1]"],
    ["another spelling of it", "[2001:DB8:0:0::1]", "[2001:db8::1]"],
    ["a mapped address is its IPv4 address", "[::ffff:127.0.0.1]", "127.0.0.1"],
    ["a mapped address in hexadecimal too", "[::ffff:7f00:1]", "127.0.0.1"],
  ])("%s", (_sentence, text, canonical) => {
    expect(parseHostname(text)).toBeUndefined();
    expect(hostOf(text).kind).toBe("address");
    expect(formatHost(hostOf(text))).toBe(canonical);
  });
});

describe("a host is malformed", () => {
  test.each([
    ["nothing", ""],
    ["a dot", "."],
    ["two dots", ".."],
    ["two trailing dots", "denied.test.."],
    ["a leading dot", ".example.com"],
    ["an empty label", "a..example.com"],
    ["a label of 64 characters", `${letters63}a.com`],
    ["a last label of 64 characters", `com.${letters63}a`],
    ["254 characters", `a${name253}`],
    ["254 characters over short labels", `${"a.".repeat(126)}aa`],
    ["a name in brackets", "[example.com]"],
    ["a dotted quad in brackets", "[127.0.0.1]"],
    ["brackets in brackets", "[[::1]]"],
    ["brackets that are not closed", "[::1"],
    ["brackets that were not opened", "::1]"],
    ["empty brackets", "[]"],
    ["something behind brackets", "[::1]x"],
    ["an IPv6 address without brackets", "::1"],
    ["a zone id", "[fe80::1%lo]"],
    ["an encoded zone id", "[fe80::1%25lo]"],
    ["a NUL", "allowed.test\0.evil.test"],
    ["a NUL at the end", "allowed.test\0"],
    ["a line feed", "allowed.test\n"],
    ["a carriage return", "allowed.test\r.evil.test"],
    ["a tab", "allowed\t.test"],
    ["a blank", "allowed .test"],
    ["a blank in front", " allowed.test"],
    ["DEL", "allowed\x7f.test"],
    ["user information", "a@allowed.test"],
    ["a backslash", "b\\a"],
    ["a number sign", "b#a"],
    ["a question mark", "b?a"],
    ["a slash", "b/a"],
    ["a semicolon", "b;a"],
    ["a comma", "a,b"],
    ["a caret", "a^b"],
    ["braces", "{a}"],
    ["a colon", "a:b"],
    ["a star", "*.example.com"],
    ["a percent escape", "%6cocalhost"],
    ["a fullwidth letter", "ｌocalhost"],
    ["an ideographic full stop", "a。b"],
    ["a U-label", "bücher.de"],
    ["a Kelvin sign, which lower case makes a k", "\u212aa.com"],
    ["a soft hyphen", "a\u00adb.com"],
    ["an Arabic digit", "1.2.3.\u0661"],
    ["a number", "2130706433"],
    ["zero", "0"],
    ["a hexadecimal number", "0x7f000001"],
    ["a hexadecimal number in upper case", "0X7F000001"],
    ["a hexadecimal prefix without a number", "example.0x"],
    ["an octal octet", "0177.0.0.1"],
    ["a hexadecimal octet", "0x7f.0.0.1"],
    ["a short address", "127.1"],
    ["a dotted quad with leading zeros", "127.000.000.001"],
    ["a dotted quad with a trailing dot", "127.0.0.1."],
    ["an octet beyond 255", "127.0.0.256"],
    ["five octets", "1.2.3.4.5"],
    ["a name that ends in a number", "example.1"],
    ["a name that ends in a hexadecimal number", "example.0xff"],
    ["a name that ends in a number and a dot", "example.1."],
  ])("%s", (_sentence, text) => {
    expect(parseHost(text)).toBeUndefined();
    expect(parseHostname(text)).toBeUndefined();
  });
});

test("hosts are the same when their canonical spellings are", () => {
  expect(sameHost(hostOf("A.test."), hostOf("a.test"))).toBe(true);
  expect(sameHost(hostOf("[::FFFF:1.2.3.4]"), hostOf("1.2.3.4"))).toBe(true);
  expect(sameHost(hostOf("a.test"), hostOf("b.test"))).toBe(false);
  expect(sameHost(hostOf("a.test"), hostOf("evila.test"))).toBe(false);
});
