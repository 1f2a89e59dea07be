import { describe, expect, test } from "vitest";
import type { Disk } from "../../../src/config/disk.ts";
import { loadSettings } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { recordDisk, replayDisk } from "../../../src/config/recorded-disk.ts";
import type { ParentSettings } from "../../../src/config/settings.ts";
import { passageFor } from "../../../src/ingress/through-parent.ts";
import { parseAuthority } from "../../../src/names/authority.ts";
import { filesInMemory } from "../../support/memory-files.ts";

const secret = "hunter2";

function load(entries: string, disk: Partial<Disk> = {}) {
  const files = filesInMemory({
    "etc/sallyport.yaml": `version: 1\nparents:\n${entries}`,
    "etc/good": `gate:${secret}:x\r\n`,
    "etc/empty-password": "gate:",
    "etc/no-user": `:${secret}`,
    "etc/no-colon": secret,
    "etc/two-lines": `gate:${secret}\ngate:${secret}\n`,
  });
  return loadSettings({ path: "etc/sallyport.yaml", flags: {}, env: {}, ...files, ...disk });
}

function parentsOf(entries: string): readonly ParentSettings[] {
  const result = load(entries);
  if (result.kind === "loaded") return result.settings.parents;
  throw new Error(result.problems.map(formatProblem).join("\n"));
}

const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

test("an entry is read, with its parent in canonical form and its credentials as they are sent", () => {
  const parents = parentsOf(`
  - { hosts: [A.example.com, "*.b.example.com", "glob:c-*.example.com", 10.0.0.1, "2001:DB8::1", "[2001:db8::2]"], via: "http://Parent.corp.test:3128", credentials_file: good }
  - { hosts: ["*"], via: "https://[2001:DB8::9]:3129", credentials_file: empty-password }
`);
  expect(parents).toMatchObject([
    {
      hosts: [
        { kind: "exact", text: "a.example.com" },
        { kind: "suffix", apex: "b.example.com" },
        { kind: "glob", suffix: "example.com" },
        { kind: "address", text: "10.0.0.1" },
        { kind: "address", text: "2001:db8::1" },
        { kind: "address", text: "2001:db8::2" },
      ],
      parent: {
        url: "http://parent.corp.test:3128",
        isSecure: false,
        host: { kind: "name", name: "parent.corp.test" },
        port: 3128,
        authorization: basic(`gate:${secret}:x`),
      },
    },
    {
      hosts: [{ kind: "any" }],
      parent: { url: "https://[2001:db8::9]:3129", isSecure: true, port: 3129, authorization: basic("gate:") },
    },
  ]);
});

describe("what cannot be read is said at its place, and no secret with it", () => {
  test.each([
    [
      `{ hosts: [a.example.com], via: "parent:3128" }`,
      /3:36: error: `parent:3128` is no parent proxy.*write http:\/\/parent:3128/s,
    ],
    [`{ hosts: [a.example.com], via: "http://parent:3128/" }`, /is no parent proxy.*write http:\/\/parent:3128$/s],
    [`{ hosts: [a.example.com], via: "http://parent" }`, /is no parent proxy: http:\/\/host:port/],
    [`{ hosts: [a.example.com], via: "http://parent:3128/x" }`, /is no parent proxy/],
    [`{ hosts: [a.example.com], via: "socks5://parent:1080" }`, /is no parent proxy[^]*needed$/],
    [
      `{ hosts: [a.example.com], via: "http://gate:${secret}@parent:3128" }`,
      /holds credentials, which belong in a file/,
    ],
    [`{ hosts: [a.example.com], via: DIRECT }`, /is no parent proxy.*write direct$/s],
    [`{ hosts: [a.example.com], via: direct, credentials_file: good }`, /has no parent to be shown to/],
    [`{ hosts: [a.example.com], via: "http://p:1", credentials_file: none }`, /`none` does not exist \(as etc\/none\)/],
    [
      `{ hosts: [a.example.com], via: "http://p:1", credentials_file: no-user }`,
      /does not hold user:password in one line/,
    ],
    [`{ hosts: [a.example.com], via: "http://p:1", credentials_file: no-colon }`, /does not hold user:password/],
    [`{ hosts: [a.example.com], via: "http://p:1", credentials_file: two-lines }`, /does not hold user:password/],
    [`{ hosts: ["https://a.example.com/x"], via: direct }`, /names a path/],
    [`{ hosts: ["10.0.0.0/8"], via: direct }`, /is an address, or a block of them/],
    [`{ hosts: [], via: direct }`, /hosts|at least|empty/],
    [`{ via: direct }`, /hosts/],
    [`{ hosts: [a.example.com] }`, /via/],
    [`{ hosts: [a.example.com], via: direct, user: gate }`, /user/],
  ])("%s", (entry, message) => {
    const result = load(`  - ${entry}\n`);
    if (result.kind === "loaded") throw new Error("loaded");
    const told = result.problems.map(formatProblem).join("\n");
    expect(told).toMatch(message);
    expect(told).not.toContain(secret);
  });
});

test("an entry behind one that covers everything, and credentials that all can read, are warned of", () => {
  const entries = `
  - { hosts: ["*"], via: "http://p:1", credentials_file: good }
  - { hosts: [a.example.com], via: direct }
`;
  const result = load(entries, { isOpenToOthers: (path) => path === "etc/good" });
  expect(result.kind).toBe("loaded");
  const told = (result.kind === "loaded" ? result.notices : []).map(formatProblem);
  expect(told).toHaveLength(2);
  expect(told[0]).toMatch(/:\d+: warning: `good` is open to every user of this machine: chmod 640/);
  expect(told[1]).toMatch(/warning: .*an entry above has \*/);
});

test("a worker reads the credentials that the primary has read", () => {
  const { disk, recording } = recordDisk({
    ...filesInMemory({
      "etc/sallyport.yaml": `version: 1\nparents: [{ hosts: ["*"], via: "http://p:1", credentials_file: good }]`,
      "etc/good": "gate:x",
    }),
    isOpenToOthers: () => true,
  });
  const first = loadSettings({ path: "etc/sallyport.yaml", flags: {}, env: {}, ...disk });
  const second = loadSettings({ path: "etc/sallyport.yaml", flags: {}, env: {}, ...replayDisk(recording) });
  expect(first.kind === "loaded" && second.kind === "loaded" && second.settings.parents).toEqual(
    first.kind === "loaded" && first.settings.parents,
  );
  expect(second.kind === "loaded" && second.settings.parents[0]?.parent?.authorization).toBe(basic("gate:x"));
});

describe("the first entry that covers a host decides", () => {
  const parents = parentsOf(`
  - { hosts: [near.example.com, 10.0.0.1], via: direct }
  - { hosts: ["*.example.com"], via: "http://a:1" }
  - { hosts: ["glob:x-*.test.example.net"], via: "http://b:1" }
  - { hosts: ["2001:db8::1"], via: "http://c:1" }
`);
  test.each([
    ["near.example.com:443", undefined],
    ["far.near.example.com:443", "http://a:1"],
    ["example.com:80", "http://a:1"],
    ["evilexample.com:80", undefined],
    ["x-1.test.example.net:80", "http://b:1"],
    ["y.test.example.net:80", undefined],
    ["10.0.0.1:80", undefined],
    ["[2001:db8::1]:443", "http://c:1"],
    ["[2001:db8::2]:443", undefined],
  ])("%s", (target, url) => {
    expect(passageFor(parents, parseAuthority(target)!, undefined)?.parent.url).toBe(url);
  });

  test("everything is names and addresses", () => {
    const all = parentsOf(`  - { hosts: ["*"], via: "http://a:1" }\n`);
    for (const target of ["a.example.com:1", "10.0.0.1:1", "[::1]:1"]) {
      expect(passageFor(all, parseAuthority(target)!, undefined)?.parent.url).toBe("http://a:1");
    }
  });
});
