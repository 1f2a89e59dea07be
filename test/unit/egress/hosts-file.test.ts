import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { compileHosts, followHostsFile, parseHostsFile } from "../../../src/egress/hosts-file.ts";
import { type Address, parseAddress } from "../../../src/names/address.ts";
import { type Hostname, parseHostname } from "../../../src/names/hostname.ts";

function name(text: string): Hostname {
  return parseHostname(text)!;
}

function texts(addresses: readonly Address[] | undefined): string | undefined {
  return addresses?.map((address) => address.text).join(" ");
}

describe("dns.hosts", () => {
  const find = compileHosts([
    { name: name("example.com"), wildcard: true, addresses: [parseAddress("10.0.0.1")!] },
    { name: name("example.com"), wildcard: false, addresses: [parseAddress("10.0.0.2")!] },
    { name: name("eu.example.com"), wildcard: true, addresses: [parseAddress("10.0.0.3")!, parseAddress("::1")!] },
    { name: name("a.b.example.net"), wildcard: false, addresses: [parseAddress("10.0.0.4")!] },
    { name: name("corp"), wildcard: true, addresses: [parseAddress("10.0.0.5")!] },
  ]);
  test.each([
    ["an exact entry before the wildcard of the same name", "example.com", "10.0.0.2"],
    ["a wildcard covers the name below", "www.example.com", "10.0.0.1"],
    ["and at any depth", "a.b.c.example.com", "10.0.0.1"],
    ["the longer wildcard wins, apex included", "eu.example.com", "10.0.0.3 ::1"],
    ["the longer wildcard wins below", "x.eu.example.com", "10.0.0.3 ::1"],
    ["a dot is a border", "evilexample.com", undefined],
    ["an exact entry covers nothing else", "b.example.net", undefined],
    ["an exact entry covers nothing below", "x.a.b.example.net", undefined],
    ["a wildcard over one label", "wsus.corp", "10.0.0.5"],
    ["its apex", "corp", "10.0.0.5"],
    ["unknown", "example.org", undefined],
  ])("%s: %s", (_title, host, expected) => {
    expect(texts(find(name(host)))).toBe(expected);
  });
});

describe("hosts(5)", () => {
  test.each([
    ["a name", "10.0.0.1 wsus.corp", "wsus.corp", "10.0.0.1"],
    ["tabs, several names, upper case, a trailing dot", "10.0.0.1\tfirst  WSUS.corp.\tthird", "wsus.corp", "10.0.0.1"],
    ["comments, whole and at the end", "# x\n10.0.0.1 a.test # b.test\n", "a.test", "10.0.0.1"],
    ["what stands in a comment is no name", "10.0.0.1 a.test # b.test", "b.test", undefined],
    ["several lines add up, once each", "10.0.0.1 a.test\n::1 a.test\n10.0.0.1 a.test", "a.test", "10.0.0.1 ::1"],
    ["CRLF and a byte order mark", "\uFEFF10.0.0.1 a.test\r\n10.0.0.2 b.test\r\n", "a.test", "10.0.0.1"],
    ["a line with a zone id is passed over", "fe80::1%lo0 a.test\n10.0.0.1 a.test", "a.test", "10.0.0.1"],
    ["an inet_aton spelling is no address", "127.1 a.test", "a.test", undefined],
    ["leading blanks", "  10.0.0.1 a.test", "a.test", "10.0.0.1"],
    ["an address without a name", "10.0.0.1", "a.test", undefined],
    ["a name that DNS cannot carry does not spoil its line", "10.0.0.1 b@d a.test", "a.test", "10.0.0.1"],
    ["mapped IPv6 is IPv4", "::ffff:10.0.0.1 a.test", "a.test", "10.0.0.1"],
    ["a name that objects have too", "10.0.0.1 a.test", "constructor", undefined],
  ])("%s", (_title, text, host, expected) => {
    expect(texts(parseHostsFile(text).get(name(host)))).toBe(expected);
  });
});

describe("following a hosts file", () => {
  let directory: string;
  let path: string;
  let now = 0;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "sallyport-hosts-"));
    path = join(directory, "hosts");
    now = 0;
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  function write(text: string, second: number): void {
    writeFileSync(path, text);
    utimesSync(path, second, second);
  }

  test("a change is seen after two seconds, not before", () => {
    write("10.0.0.1 a.test\n", 1);
    const find = followHostsFile(path, () => now);
    expect(texts(find(name("a.test")))).toBe("10.0.0.1");
    write("10.0.0.2 a.test\n", 2);
    now = 1_999;
    expect(texts(find(name("a.test")))).toBe("10.0.0.1");
    now = 2_000;
    expect(texts(find(name("a.test")))).toBe("10.0.0.2");
  });

  test("an unchanged file is not read again", () => {
    write("10.0.0.1 a.test\n", 1);
    const find = followHostsFile(path, () => now);
    const before = find(name("a.test"));
    now = 10_000;
    expect(find(name("a.test"))).toBe(before);
  });

  test("a file that is taken away is an empty one, and may come back", () => {
    write("10.0.0.1 a.test\n", 1);
    const find = followHostsFile(path, () => now);
    expect(texts(find(name("a.test")))).toBe("10.0.0.1");
    rmSync(path);
    now = 5_000;
    expect(find(name("a.test"))).toBeUndefined();
    write("10.0.0.1 a.test\n", 1);
    now = 10_000;
    expect(texts(find(name("a.test")))).toBe("10.0.0.1");
  });

  test("what cannot be read leaves the last contents in force", () => {
    write("10.0.0.1 a.test\n", 1);
    const find = followHostsFile(path, () => now);
    expect(texts(find(name("a.test")))).toBe("10.0.0.1");
    rmSync(path);
    mkdirSync(path);
    now = 5_000;
    expect(texts(find(name("a.test")))).toBe("10.0.0.1");
  });

  test("no path is no file", () => {
    expect(followHostsFile(undefined, () => now)(name("localhost"))).toBeUndefined();
  });
});
