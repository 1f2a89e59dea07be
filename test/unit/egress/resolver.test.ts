import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Resolution } from "../../../src/egress/dns-answer.ts";
import {
  type LookupResult,
  type Resolver,
  type ResolverOptions,
  createResolver,
} from "../../../src/egress/resolver.ts";
import { parseAddress } from "../../../src/names/address.ts";
import { type Hostname, parseHostname } from "../../../src/names/hostname.ts";
import { type DnsServer, startDnsServer } from "../../support/dns-server.ts";

const host = name("www.example.com");
let server: DnsServer;
let resolver: Resolver | undefined;
let now = 0;
let lookups: LookupResult[] = [];

beforeEach(async () => {
  server = await startDnsServer();
  now = 0;
  lookups = [];
});
afterEach(async () => {
  resolver?.close();
  resolver = undefined;
  await server.close();
});

function name(text: string): Hostname {
  return parseHostname(text)!;
}

function create(options: Partial<ResolverOptions> = {}): Resolver {
  resolver = createResolver({
    servers: [server.address],
    hosts: [],
    hostsFile: undefined,
    timeoutMs: 5_000,
    negativeTtlMs: 5_000,
    now: () => now,
    ipv6First: () => true,
    onLookup: (result) => lookups.push(result),
    ...options,
  });
  return resolver;
}

function told(resolution: Resolution | undefined): string | undefined {
  if (resolution?.kind === "addresses") return resolution.addresses.map((address) => address.text).join(" ");
  return resolution?.kind === "dns_error" ? resolution.detail : resolution?.kind;
}

describe("DNS", () => {
  test("asks for A and AAAA once each, without search domains", async () => {
    server.answer("A", host, { kind: "addresses", addresses: ["192.0.2.1", "192.0.2.2"] });
    server.answer("AAAA", host, { kind: "addresses", addresses: ["2001:db8::1"] });
    expect(told(await create().resolve(host))).toBe("2001:db8::1 192.0.2.1 192.0.2.2");
    expect(server.queries.toSorted()).toEqual(["A www.example.com", "AAAA www.example.com"]);
    expect(lookups).toEqual(["ok"]);
  });

  test("a name of one label that does not exist is asked for as it is", async () => {
    server.answer("A", "wsus", { kind: "nxdomain" });
    server.answer("AAAA", "wsus", { kind: "nxdomain" });
    expect(told(await create().resolve(name("wsus")))).toBe("NXDOMAIN");
    expect(server.queries.toSorted()).toEqual(["A wsus", "AAAA wsus"]);
    expect(lookups).toEqual(["negative"]);
  });

  test.each([
    ["no such name", "nxdomain", "NXDOMAIN", "negative"],
    ["no addresses", "nodata", "NODATA", "negative"],
    ["server failure", "servfail", "SERVFAIL", "error"],
    ["refused", "refused", "REFUSED", "error"],
  ] as const)("%s", async (_title, kind, expected, result) => {
    server.answer("A", host, { kind });
    server.answer("AAAA", host, { kind });
    expect(told(await create().resolve(host))).toBe(expected);
    expect(lookups).toEqual([result]);
  });

  test("AAAA that fails leaves A in use", async () => {
    server.answer("A", host, { kind: "addresses", addresses: ["192.0.2.1"] });
    server.answer("AAAA", host, { kind: "servfail" });
    expect(told(await create().resolve(host))).toBe("192.0.2.1");
  });

  test("AAAA that is never answered delays A only a little, and once it comes it is kept", async () => {
    server.answer("A", host, { kind: "addresses", addresses: ["192.0.2.1"] });
    server.answer("AAAA", host, { kind: "silence", later: { kind: "addresses", addresses: ["2001:db8::1"] } });
    const started = performance.now();
    const { resolve, cached } = create({ timeoutMs: 20_000 });
    expect(told(await resolve(host))).toBe("192.0.2.1");
    expect(performance.now() - started).toBeLessThan(2_000);
    expect(told(cached(host))).toBe("192.0.2.1");
    server.release();
    await expect.poll(() => told(cached(host))).toBe("2001:db8::1 192.0.2.1");
  });

  test("AAAA waits for A, which a site without IPv6 cannot do without", async () => {
    server.answer("A", host, { kind: "silence", later: { kind: "addresses", addresses: ["192.0.2.1"] } });
    server.answer("AAAA", host, { kind: "addresses", addresses: ["2001:db8::1"] });
    const { resolve } = create();
    const resolution = resolve(host);
    await server.asked(2);
    server.release();
    expect(told(await resolution)).toBe("2001:db8::1 192.0.2.1");
  });

  test("AAAA alone is used at the deadline, and asked again soon", async () => {
    server.answer("A", host, { kind: "silence" });
    server.answer("AAAA", host, { kind: "addresses", addresses: ["2001:db8::1"], ttl: 300 });
    const { resolve, cached } = create({ timeoutMs: 150 });
    expect(told(await resolve(host))).toBe("2001:db8::1");
    now = 4_999;
    expect(told(cached(host))).toBe("2001:db8::1");
    now = 5_000;
    expect(cached(host)).toBeUndefined();
  });

  test("a server that says nothing costs the deadline and one clear answer", async () => {
    server.answer("A", host, { kind: "silence" });
    server.answer("AAAA", host, { kind: "silence" });
    const started = performance.now();
    expect(told(await create({ timeoutMs: 200 }).resolve(host))).toBe("dns_timeout");
    expect(performance.now() - started).toBeLessThan(1_500);
    expect(lookups).toEqual(["timeout"]);
  });

  test("a server that says nothing is followed by the next one", async () => {
    const silent = await startDnsServer();
    silent.answer("A", host, { kind: "silence" });
    silent.answer("AAAA", host, { kind: "silence" });
    server.answer("A", host, { kind: "addresses", addresses: ["192.0.2.1"] });
    const { resolve } = create({ servers: [silent.address, server.address], timeoutMs: 4_000 });
    expect(told(await resolve(host))).toBe("192.0.2.1");
    expect(silent.queries).not.toEqual([]);
    await silent.close();
  });

  test("a port where nobody serves is an error", async () => {
    const gone = await startDnsServer();
    await gone.close();
    const resolution = await create({ servers: [gone.address], timeoutMs: 500 }).resolve(host);
    expect(["CONNREFUSED", "dns_timeout"]).toContain(told(resolution));
  });

  test("punycode that cannot be read gets no query: c-ares would ask for the root", async () => {
    server.answer("A", "", { kind: "addresses", addresses: ["192.0.2.66"] });
    expect(told(await create().resolve(name("xn--a.test")))).toBe("BADNAME");
    expect(server.queries).toEqual([]);
    expect(lookups).toEqual(["error"]);
  });

  test("punycode that can be read is asked for as it is", async () => {
    server.answer("A", "xn--maana-pta.com", { kind: "addresses", addresses: ["192.0.2.1"] });
    expect(told(await create().resolve(name("xn--maana-pta.com")))).toBe("192.0.2.1");
  });

  test("names with underscores and hyphens reach the server unchanged", async () => {
    for (const odd of ["_dmarc.a_b.test", "r3---sn-x.test", "-a-.test"]) {
      server.answer("A", odd, { kind: "addresses", addresses: ["192.0.2.1"] });
      expect(told(await create().resolve(name(odd)))).toBe("192.0.2.1");
      resolver?.close();
    }
  });
});

describe("the cache", () => {
  test("keeps an answer for its TTL, then asks again", async () => {
    server.answer("A", host, { kind: "addresses", addresses: ["192.0.2.1"], ttl: 20 });
    const { resolve, cached } = create();
    expect(cached(host)).toBeUndefined();
    await resolve(host);
    server.answer("A", host, { kind: "addresses", addresses: ["192.0.2.2"], ttl: 20 });
    now = 19_999;
    expect(told(cached(host))).toBe("192.0.2.1");
    expect(told(await resolve(host))).toBe("192.0.2.1");
    expect(server.queries.length).toBe(2);
    now = 20_000;
    expect(cached(host)).toBeUndefined();
    expect(told(await resolve(host))).toBe("192.0.2.2");
    expect(lookups).toEqual(["ok", "hit", "hit", "ok"]);
  });

  test.each([
    ["no such name", "nxdomain"],
    ["server failure", "servfail"],
  ] as const)("keeps a failure for negativeTtlMs: %s", async (_title, kind) => {
    server.answer("A", host, { kind });
    server.answer("AAAA", host, { kind });
    const { resolve, cached } = create({ negativeTtlMs: 3_000 });
    await resolve(host);
    const asked = server.queries.length;
    now = 2_999;
    expect(cached(host)?.kind).toBe("dns_error");
    await resolve(host);
    expect(server.queries.length).toBe(asked);
    server.answer("A", host, { kind: "addresses", addresses: ["192.0.2.1"] });
    now = 3_000;
    expect(told(await resolve(host))).toBe("192.0.2.1");
  });

  test("keeps no failure where negativeTtlMs is 0", async () => {
    const { resolve, cached } = create({ negativeTtlMs: 0 });
    expect(told(await resolve(host))).toBe("NODATA");
    expect(cached(host)).toBeUndefined();
  });

  test("an answer that comes after the deadline serves the next who asks", async () => {
    server.answer("A", host, { kind: "silence", later: { kind: "addresses", addresses: ["192.0.2.1"] } });
    const { resolve, cached } = create({ timeoutMs: 1_500 });
    const resolution = resolve(host);
    expect(told(await resolution)).toBe("dns_timeout");
    server.release();
    await expect.poll(() => told(cached(host))).toBe("192.0.2.1");
  });

  test("many callers of one name share a query", async () => {
    server.answer("A", host, { kind: "silence", later: { kind: "addresses", addresses: ["192.0.2.1"] } });
    const { resolve } = create();
    const callers = Array.from({ length: 50 }, () => resolve(host));
    await server.asked(2);
    server.release();
    const answers = await Promise.all(callers);
    expect(new Set(answers.map(told))).toEqual(new Set(["192.0.2.1"]));
    expect(server.queries.filter((query) => query.startsWith("A ")).length).toBe(1);
    expect(lookups.filter((result) => result === "hit").length).toBe(49);
    expect(lookups.filter((result) => result === "ok").length).toBe(1);
  });
});

describe("what is written down", () => {
  let directory: string;
  let hostsFile: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "sallyport-resolver-"));
    hostsFile = join(directory, "hosts");
    writeFileSync(hostsFile, "10.0.0.2 www.example.com wsus.corp\n");
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test("dns.hosts comes before the hosts file, the hosts file before DNS, and neither asks", async () => {
    server.answer("A", "other.example", { kind: "addresses", addresses: ["192.0.2.1"] });
    const { resolve, cached } = create({
      hosts: [{ name: name("example.com"), wildcard: true, addresses: [parseAddress("10.0.0.1")!] }],
      hostsFile,
    });
    expect(told(cached(host))).toBe("10.0.0.1");
    expect(told(await resolve(host))).toBe("10.0.0.1");
    expect(told(await resolve(name("wsus.corp")))).toBe("10.0.0.2");
    expect(server.queries).toEqual([]);
    expect(told(await resolve(name("other.example")))).toBe("192.0.2.1");
    expect(lookups).toEqual(["hosts", "hosts", "hosts", "ok"]);
  });

  test("never more than 32 addresses of a name", () => {
    const addresses = Array.from({ length: 40 }, (_, i) => parseAddress(`10.0.0.${i}`)!);
    const resolution = create({ hosts: [{ name: host, wildcard: false, addresses }] }).cached(host);
    expect(resolution?.kind === "addresses" && resolution.addresses.length).toBe(32);
  });
});

describe("closing", () => {
  test("gives up a query under way, and asks nothing more", async () => {
    server.answer("A", host, { kind: "silence" });
    server.answer("AAAA", host, { kind: "silence" });
    const { resolve, close } = create();
    const resolution = resolve(host);
    await server.asked(2);
    close();
    expect(told(await resolution)).toBe("CANCELLED");
    expect(told(await resolve(name("late.example")))).toBe("CANCELLED");
    expect(server.queries.length).toBe(2);
  });
});
