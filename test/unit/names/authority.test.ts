/** `host:port` (threats.md 1): ports in one spelling, brackets only around IPv6, nothing repaired. */
import { describe, expect, test } from "vitest";
import { type Authority, formatAuthority, parseAuthority } from "../../../src/names/authority.ts";

function authorityOf(text: string, defaultPort?: number): Authority {
  const authority = parseAuthority(text, defaultPort);
  if (authority === undefined) throw new Error(`${text} is malformed`);
  return authority;
}

describe("an authority is a host and a port", () => {
  test.each([
    ["a name", "example.com:443", "example.com:443"],
    ["a name in another spelling", "EXAMPLE.com.:443", "example.com:443"],
    ["the lowest port", "a:1", "a:1"],
    ["the highest port", "a:65535", "a:65535"],
    ["a dotted quad", "192.0.2.1:8443", "192.0.2.1:8443"],
    ["an IPv6 address", "[2001:DB8::1]:443", "[2001:db8::1]:443"],
    ["a mapped address", "[::ffff:192.0.2.1]:443", "192.0.2.1:443"],
  ])("%s", (_sentence, text, canonical) => {
    expect(formatAuthority(authorityOf(text))).toBe(canonical);
    expect(authorityOf(text, 80)).toEqual(authorityOf(text));
  });

  test("the port may be missing where there is a default", () => {
    expect(authorityOf("example.com", 80)).toEqual(authorityOf("example.com:80"));
    expect(authorityOf("[::1]", 80)).toEqual(authorityOf("[::1]:80"));
    expect(parseAuthority("example.com")).toBeUndefined();
    expect(parseAuthority("[::1]")).toBeUndefined();
  });

  test("the implied port is left out when it is written", () => {
    expect(formatAuthority(authorityOf("example.com:80"), 80)).toBe("example.com");
    expect(formatAuthority(authorityOf("[::1]:80"), 80)).toBe("[::1]");
    expect(formatAuthority(authorityOf("example.com:443"), 80)).toBe("example.com:443");
  });
});

describe("an authority is malformed, with a default port too", () => {
  test.each([
    ["nothing", ""],
    ["a port alone", ":443"],
    ["port zero", "a:0"],
    ["a port beyond 65535", "a:65536"],
    ["a port that overflows 16 bits twice", "a:99999"],
    ["a port that overflows 32 bits", "a:4294967376"],
    ["a port with a sign", "a:+80"],
    ["a negative port", "a:-80"],
    ["a port with a leading zero", "a:0443"],
    ["a hexadecimal port", "a:0x50"],
    ["a port with an exponent", "a:8e1"],
    ["a service", "a:http"],
    ["an empty port", "a:"],
    ["an empty port behind brackets", "[::1]:"],
    ["two ports", "a:80:80"],
    ["a blank in front", " a:80"],
    ["a blank behind", "a:80 "],
    ["a blank before the port", "a: 80"],
    ["a tab", "a\t:80"],
    ["a line feed", "a:80\n"],
    ["a NUL", "allowed.test\0.evil.test:443"],
    ["digits that are not ASCII", "a:\u0664\u0664\u0663"],
    ["user information", "user@a:80"],
    ["user information with a port", "a:80@b:80"],
    ["a backslash", "b\\@a:80"],
    ["a number sign", "b#@a:80"],
    ["a path", "a:80/"],
    ["a query", "a:80?x"],
    ["a scheme", "http://a:80"],
    ["two hosts", "a,b:80"],
    ["a percent escape", "%6cocalhost:80"],
    ["a name in brackets", "[example.com]:443"],
    ["brackets in brackets", "[[::1]]:443"],
    ["brackets that are not closed", "[::1:443"],
    ["something behind brackets", "[::1]a:443"],
    ["a port inside of brackets", "[::1:443]x"],
    ["an IPv6 address without brackets", "::1"],
    ["an IPv6 address without brackets and a port", "2001:db8::1:443"],
    ["a zone id", "[fe80::1%25lo]:443"],
    ["a short address", "127.1:80"],
    ["a number", "2130706433:80"],
    ["an octal address", "0177.0.0.1:80"],
    ["two trailing dots", "a..:80"],
  ])("%s", (_sentence, text) => {
    expect(parseAuthority(text, 80)).toBeUndefined();
    expect(parseAuthority(text)).toBeUndefined();
  });
});
