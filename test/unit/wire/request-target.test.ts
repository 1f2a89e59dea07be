/** Request targets in absolute form: read once, never repaired (threats.md 1). */
import { describe, expect, test } from "vitest";
import { formatHost } from "../../../src/names/hostname.ts";
import { parseRedirectedTarget, parseRequestTarget } from "../../../src/wire/request-target.ts";

function read(target: string, method = "GET"): string {
  const reading = parseRequestTarget(method, target);
  if (reading.kind === "malformed") return "malformed";
  return `${formatHost(reading.authority.host)} ${reading.authority.port} ${reading.path}`;
}

describe("what is read", () => {
  test.each([
    ["host, path and query", "http://a.x.com/p/q?r=s", "a.x.com 80 /p/q?r=s"],
    ["a port", "http://a.x.com:8530/", "a.x.com 8530 /"],
    ["the default port", "http://a.x.com:80/", "a.x.com 80 /"],
    ["no path is /", "http://a.x.com", "a.x.com 80 /"],
    ["a query without a path gets its /", "http://a.x.com?q", "a.x.com 80 /?q"],
    ["the scheme in any case", "HTTP://a.x.com/", "a.x.com 80 /"],
    ["the host in canonical form", "http://A.X.com./", "a.x.com 80 /"],
    ["the path byte for byte", 'http://a.x.com/%2e%2E//../a\\b"<>^`{|}', 'a.x.com 80 /%2e%2E//../a\\b"<>^`{|}'],
    ["an @ in the path", "http://a.x.com/@b", "a.x.com 80 /@b"],
    ["a colon in the path", "http://a.x.com/a:b", "a.x.com 80 /a:b"],
    ["a ? in the query", "http://a.x.com/??", "a.x.com 80 /??"],
    ["a URL in the path", "http://a.x.com/http://b.net/", "a.x.com 80 /http://b.net/"],
    ["an IPv4 address", "http://10.0.0.1/", "10.0.0.1 80 /"],
    ["an IPv6 address", "http://[2001:DB8::1]:81/", "[2001:db8::1] 81 /"],
  ])("%s", (_sentence, target, expected) => {
    expect(read(target)).toBe(expected);
  });

  test("OPTIONS without a path is about the whole server (RFC 9112 section 3.2.4)", () => {
    expect(read("http://a.x.com", "OPTIONS")).toBe("a.x.com 80 *");
    expect(read("http://a.x.com/", "OPTIONS")).toBe("a.x.com 80 /");
    expect(read("http://a.x.com?q", "OPTIONS")).toBe("a.x.com 80 /?q");
  });
});

describe("what is malformed, and never decided by the Host field", () => {
  test.each([
    ["origin form", "/p"],
    ["asterisk form", "*"],
    ["authority form", "a.x.com:443"],
    ["nothing", ""],
    ["https", "https://a.x.com/"],
    ["ftp", "ftp://a.x.com/"],
    ["ws", "ws://a.x.com/"],
    ["urn", "urn:a:b"],
    ["cache_object", "cache_object://a.x.com/"],
    ["one slash", "http:/a.x.com/"],
    ["three slashes", "http:///a.x.com/"],
    ["backslashes for slashes", "http:\\\\a.x.com/"],
    ["a blank before it", " http://a.x.com/"],
    ["a network path", "//a.x.com/"],
    ["userinfo", "http://u@a.x.com/"],
    ["userinfo with a password", "http://u:p@a.x.com/"],
    ["empty userinfo", "http://@a.x.com/"],
    ["a backslash before an @", "http://b.net\\@a.x.com/"],
    ["a fragment before an @", "http://b.net#@a.x.com/"],
    ["a query before an @ is a query, and the host before it", "http://b net?@a.x.com/"],
    ["a semicolon in the host", "http://b.net;@a.x.com/"],
    ["a comma in the host", "http://a.x.com,b.net/"],
    ["a percent sign in the host", "http://%61.x.com/"],
    ["letters beyond ASCII in the host", "http://\u00e4.x.com/"],
    ["a fullwidth letter in the host", "http://\uff41.x.com/"],
    ["a NUL in the host", "http://a.x.com\0.b.net/"],
    ["a tab in the host", "http://a\t.x.com/"],
    ["an empty port", "http://a.x.com:/"],
    ["port 0", "http://a.x.com:0/"],
    ["a port beyond 65535", "http://a.x.com:65536/"],
    ["a port that wraps", "http://a.x.com:4294967376/"],
    ["a port with a sign", "http://a.x.com:+80/"],
    ["a port with a leading zero", "http://a.x.com:080/"],
    ["a hexadecimal port", "http://a.x.com:0x50/"],
    ["two ports", "http://a.x.com:80:80/"],
    ["an empty label", "http://a..x.com/"],
    ["two trailing dots", "http://a.x.com../"],
    ["a decimal address", "http://2130706433/"],
    ["a short address", "http://127.1/"],
    ["a hexadecimal label at the end", "http://a.0x7f/"],
    ["brackets round a name", "http://[a.x.com]/"],
    ["IPv6 without brackets", "http://2001:db8::1/"],
    ["a zone id", "http://[fe80::1%25eth0]/"],
    ["a fragment", "http://a.x.com/#f"],
    ["a fragment at once", "http://a.x.com#f"],
    ["a blank in the path", "http://a.x.com/a b"],
    ["a line feed in the path", "http://a.x.com/a\nb"],
    ["a carriage return in the query", "http://a.x.com/?a\rb"],
    ["a NUL in the path", "http://a.x.com/\0"],
    ["DEL in the path", "http://a.x.com/\x7f"],
    ["a byte beyond ASCII in the path", "http://a.x.com/\u00e4"],
  ])("%s", (_sentence, target) => {
    expect(read(target)).toBe("malformed");
  });

  test.each([
    ["origin form says where the address belongs", "/p", "origin form"],
    ["https says CONNECT", "https://a.x.com/", "CONNECT"],
  ])("%s", (_sentence, target, words) => {
    const reading = parseRequestTarget("GET", target);
    expect(reading.kind === "malformed" && reading.detail).toContain(words);
  });
});

describe("redirected to us", () => {
  function redirected(target: string, host: string | undefined, port = 80, method = "GET"): string {
    const reading = parseRedirectedTarget(method, target, host, port);
    if (reading.kind === "malformed") return reading.detail;
    return `${formatHost(reading.authority.host)} ${reading.authority.port} ${reading.path}`;
  }

  test.each<[sentence: string, target: string, host: string | undefined, port: number, expected: string]>([
    ["Host is the target", "/a?b", "a.x.com", 80, "a.x.com 80 /a?b"],
    ["the port is the listener's", "/", "a.x.com", 8530, "a.x.com 8530 /"],
    ["also where Host names it", "/", "a.x.com:8530", 8530, "a.x.com 8530 /"],
    ["also where Host names another one, which is for the policy", "/", "a.x.com:81", 80, "a.x.com 80 /"],
    ["the host in canonical form", "/", "A.X.com.", 80, "a.x.com 80 /"],
    ["a path that begins like an authority", "//b.net/", "a.x.com", 80, "a.x.com 80 //b.net/"],
    ["absolute form on this port", "http://a.x.com:8530/a", "b.net", 8530, "a.x.com 8530 /a"],
    [
      "absolute form on another",
      "http://a.x.com/a",
      "a.x.com",
      8530,
      "names another port than connections are redirected from",
    ],
    ["no Host", "/", undefined, 80, "is in origin form, and no Host field says of which host"],
    ["a Host with a user", "/", "u@a.x.com", 80, "is in origin form, and the Host field is malformed"],
    ["an empty Host", "/", "", 80, "is in origin form, and the Host field is malformed"],
    ["two Hosts in one", "/", "a.x.com, b.net", 80, "is in origin form, and the Host field is malformed"],
    ["a fragment", "/a#b", "a.x.com", 80, "holds a fragment"],
    ["a blank", "/a b", "a.x.com", 80, "holds a byte that no URI may hold"],
    ["neither form", "a.x.com:80", "a.x.com", 80, "is no http: URL"],
    ["an asterisk", "*", "a.x.com", 80, "is in origin form: point the client's proxy setting here, not its URL"],
  ])("%s", (_, target, host, port, expected) => {
    expect(redirected(target, host, port)).toBe(expected);
  });

  test("OPTIONS may ask about the whole server", () => {
    expect(redirected("*", "a.x.com", 80, "OPTIONS")).toBe("a.x.com 80 *");
    expect(redirected("/", "a.x.com", 80, "OPTIONS")).toBe("a.x.com 80 /");
  });
});
