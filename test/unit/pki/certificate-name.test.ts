import { describe, expect, test } from "vitest";
import { parseCidr } from "../../../src/names/address.ts";
import {
  formatCertificateName,
  mayCertify,
  type NameConstraints,
  parseCertificateName,
} from "../../../src/pki/certificate-name.ts";

describe("parseCertificateName", () => {
  test.each([
    ["a host name is folded to lower case", "Proxy.Example.COM", "proxy.example.com"],
    ["one trailing dot is dropped", "proxy.example.com.", "proxy.example.com"],
    ["a single label is a name", "proxy", "proxy"],
    ["a wildcard is its first label", "*.Example.com", "*.example.com"],
    ["an IPv4 address", "192.0.2.7", "192.0.2.7"],
    ["an IPv6 address is written canonically", "2001:DB8:0::1", "2001:db8::1"],
    ["an IPv4-mapped address is its IPv4 address", "::ffff:192.0.2.7", "192.0.2.7"],
  ])("%s", (_, text, expected) => {
    const name = parseCertificateName(text);
    expect(name === undefined ? undefined : formatCertificateName(name)).toBe(expected);
  });

  test.each([
    ["nothing", ""],
    ["a bare star", "*"],
    ["a star before nothing", "*."],
    ["a wildcard within a label", "a*.example.com"],
    ["a wildcard below the first label", "a.*.example.com"],
    ["two wildcards", "*.*.example.com"],
    ["a wildcard of addresses", "*.0.0.1"],
    ["a path out of the directory", "../ca"],
    ["a path with a separator", "a/b"],
    ["a NUL", "a\0b.example.com"],
    ["another alphabet", "bücher.example"],
    ["a name that ends in a number", "host.1"],
    ["another spelling of an address", "0x7f.1"],
    ["an address with a zone", "fe80::1%lo"],
    ["an address in brackets", "[::1]"],
    ["a CIDR block", "10.0.0.0/8"],
  ])("refuses %s", (_, text) => {
    expect(parseCertificateName(text)).toBeUndefined();
  });
});

describe("mayCertify", () => {
  const open: NameConstraints = { permittedDns: [], excludedDns: [], permittedAddresses: [], excludedAddresses: [] };
  test.each<[string, Partial<NameConstraints>, string, boolean]>([
    ["no constraint permits", {}, "a.test", true],
    ["a permitted domain covers itself", { permittedDns: ["example.com"] }, "example.com", true],
    ["a permitted domain covers any depth", { permittedDns: ["example.com"] }, "a.b.example.com", true],
    ["a permitted domain covers its wildcard", { permittedDns: ["example.com"] }, "*.example.com", true],
    ["a permitted domain ends at a label", { permittedDns: ["example.com"] }, "evilexample.com", false],
    ["a permitted domain is no prefix", { permittedDns: ["example.com"] }, "example.com.evil.test", false],
    ["a wildcard above the permitted domain is outside", { permittedDns: ["a.example.com"] }, "*.example.com", false],
    ["case does not matter", { permittedDns: ["EXAMPLE.com"] }, "a.example.com", true],
    ["a leading dot leaves the apex out", { permittedDns: [".example.com"] }, "example.com", false],
    ["a leading dot covers what is below", { permittedDns: [".example.com"] }, "a.example.com", true],
    [
      "an excluded domain beats a permitted one",
      { permittedDns: ["test"], excludedDns: ["a.test"] },
      "b.a.test",
      false,
    ],
    ["the empty domain excludes every name", { excludedDns: [""] }, "a.test", false],
    ["domains do not constrain addresses", { permittedDns: ["example.com"] }, "10.0.0.1", true],
    ["a permitted block covers its addresses", { permittedAddresses: [block("10.0.0.0/8")] }, "10.9.9.9", true],
    ["a permitted block covers no others", { permittedAddresses: [block("10.0.0.0/8")] }, "11.0.0.1", false],
    ["a permitted IPv4 block covers no IPv6 address", { permittedAddresses: [block("10.0.0.0/8")] }, "::1", false],
    ["an excluded block excludes", { excludedAddresses: [block("::/0")] }, "::1", false],
  ])("%s", (_, constraints, text, expected) => {
    const name = parseCertificateName(text)!;
    expect(mayCertify({ ...open, ...constraints }, name)).toBe(expected);
  });
});

function block(text: string) {
  const cidr = parseCidr(text);
  if ("problem" in cidr) throw new Error(cidr.problem);
  return cidr;
}
