/** Public suffixes: registries' and hosts' told apart, and what a wildcard on a name would open to everybody. */
import { describe, expect, test } from "vitest";
import { publicSuffixKind, publicSuffixUnder, registrableDomain } from "../../../src/names/public-suffix.ts";

describe("the registrable domain is the public suffix and one label", () => {
  test.each<[string, string, string | undefined, string | undefined]>([
    ["of a deep name", "a.b.example.com", "example.com", "example.com"],
    ["of itself", "example.com", "example.com", "example.com"],
    ["under a suffix of two labels", "a.example.co.uk", "example.co.uk", "example.co.uk"],
    [
      "under a private suffix, which can be a name too",
      "a.bucket.s3.amazonaws.com",
      "bucket.s3.amazonaws.com",
      "amazonaws.com",
    ],
    ["of a private suffix", "cloudfront.net", undefined, "cloudfront.net"],
    ["of an exception", "www.ck", "www.ck", "www.ck"],
    ["of a top level", "com", undefined, undefined],
    ["of a suffix of two labels", "co.uk", undefined, undefined],
    ["under an unknown top level", "a.b.corp", "b.corp", "b.corp"],
    ["of a single label", "intranet", undefined, undefined],
    ["with underscores", "_a.b_c.example.com", "example.com", "example.com"],
  ])("%s", (_sentence, hostname, all, icann) => {
    expect(registrableDomain(hostname)).toBe(all);
    expect(registrableDomain(hostname, "icann")).toBe(icann);
  });
});

test.each([
  ["com", "icann"],
  ["co.uk", "icann"],
  ["ck", "icann"],
  ["anything.ck", "icann"],
  ["kawasaki.jp", "icann"],
  ["compute.amazonaws.com", "private"],
  ["www.ck", "none"],
  ["arpa", "icann"],
  ["s3.amazonaws.com", "private"],
  ["cloudfront.net", "private"],
  ["github.io", "private"],
  ["amazonaws.com", "none"],
  ["example.com", "none"],
  ["a.s3.amazonaws.com", "none"],
  ["corp", "none"],
  ["intranet.corp", "none"],
  ["__proto__", "none"],
])("%s is a public suffix of the kind %s", (name, kind) => {
  expect(publicSuffixKind(name)).toBe(kind);
});

describe("a wildcard opens a public suffix", () => {
  test.each([
    ["on the suffix of a registry", "com", { kind: "icann", suffix: "com" }],
    ["on the suffix of a host", "s3.amazonaws.com", { kind: "private", suffix: "s3.amazonaws.com" }],
    ["on a name above the zones of a host", "amazonaws.com", { kind: "private", suffix: "s3.amazonaws.com" }],
    ["on a region above the zones of a host", "us-gov-east-1.amazonaws.com", { kind: "private" }],
    ["on the same in China", "amazonaws.com.cn", { kind: "private" }],
    ["on a name above storage accounts", "windows.net", { kind: "private", suffix: "blob.core.windows.net" }],
    ["nearer to storage accounts", "core.windows.net", { kind: "private", suffix: "blob.core.windows.net" }],
    ["on a name above a delivery network", "fastly.net", { kind: "private", suffix: "global.ssl.fastly.net" }],
  ])("%s", (_sentence, apex, suffix) => {
    expect(publicSuffixUnder(apex)).toMatchObject(suffix);
  });
  test.each([
    "example.com",
    "corp",
    "action1.com",
    "splashtop.com",
    "mp.microsoft.com",
    "officecdn.microsoft.com.edgesuite.net",
    "bucket.s3.amazonaws.com",
  ])("but not on %s", (apex) => {
    expect(publicSuffixUnder(apex)).toBeUndefined();
  });
});
