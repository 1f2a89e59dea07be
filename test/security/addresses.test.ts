/**
 * Attack: an allowed name that leads to where nobody may go: this machine, the cloud's metadata service, the proxy
 * itself (DNS rebinding, server-side request forgery). Every address that a name resolves to is judged, and what was
 * judged is what is dialled.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DnsServer, startDnsServer } from "../support/dns-server.ts";
import { helloFor } from "../support/hello.ts";
import { freePort } from "../support/ports.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import { expectDenied, expectServing, openTunnel, record, sendConnect, startHelloOrigin } from "../support/tunnel.ts";

let origin: TcpOrigin;
let dns: DnsServer;
let proxy: Sallyport;
let proxyPort: number;
let adminPort: number;

/** What a name resolves to, and the class that it is blocked as. */
const blocked: Readonly<Record<string, readonly [address: string, addressClass: string]>> = {
  "this machine": ["127.0.0.1", "loopback"],
  "another loopback address": ["127.255.0.9", "loopback"],
  "this machine in IPv6": ["::1", "loopback"],
  "a mapped address": ["::ffff:127.0.0.1", "loopback"],
  "a NAT64 address": ["64:ff9b::7f00:1", "loopback"],
  "a 6to4 address": ["2002:7f00:1::1", "loopback"],
  "a Teredo address": ["2001::f7f7:f7f7:0:0:80ff:fffe", "loopback"],
  "an IPv4-compatible address": ["::127.0.0.1", "loopback"],
  "the metadata service": ["169.254.169.254", "link_local"],
  "the metadata service in IPv6": ["fd00:ec2::254", "metadata"],
  "Alibaba's metadata service": ["100.100.100.200", "metadata"],
  "the unspecified address": ["0.0.0.0", "unspecified"],
  "the unspecified IPv6 address": ["::", "unspecified"],
  "a private network": ["10.1.2.3", "private"],
  "a unique local address": ["fd12::1", "private"],
  "a carrier's network": ["100.64.0.1", "cgnat"],
  "a link-local address": ["fe80::1", "link_local"],
  "a group address": ["224.0.0.1", "multicast"],
  "the broadcast address": ["255.255.255.255", "reserved"],
};

beforeAll(async () => {
  origin = await startHelloOrigin();
  dns = await startDnsServer();
  // The proxy's own ports have to be known before its policy names them.
  proxyPort = await freePort();
  adminPort = await freePort();
  const names = Object.values(blocked).map(([address], i): [string, string] => [`b${i}.rebind.example.net`, address]);
  const ports = [origin.port, proxyPort, adminPort];
  proxy = await startSallyport({
    policy: {
      rules: [
        { id: "public", hosts: ["*.rebind.example.net"], expect: ports.map((port) => `https:${port}`) },
        {
          id: "local",
          hosts: ["*.local.example.com"],
          expect: ports.map((port) => `tcp:${port}`),
          resolves_to: ["127.0.0.0/8", "0.0.0.0/8", "::1/128"],
        },
        {
          id: "own",
          hosts: ["good.example.com"],
          expect: ["https", `https:${origin.port}`],
          resolves_to: ["127.0.0.0/8"],
        },
        { id: "routed", hosts: ["routed.example.com"], expect: "https" },
        { id: "literal", addresses: ["127.0.0.0/8", "::1/128"], expect: ports.map((port) => `tcp:${port}`) },
      ],
    },
    settings: {
      listen: [{ kind: "proxy", address: `127.0.0.1:${proxyPort}` }],
      admin: { address: `127.0.0.1:${adminPort}` },
      dns: {
        servers: [dns.address],
        hosts: {
          ...Object.fromEntries(names),
          "mixed.rebind.example.net": ["127.0.0.1", "10.0.0.1", "169.254.169.254"],
          "mixed.local.example.com": ["10.0.0.1", "127.0.0.1", "169.254.169.254"],
          "zero.local.example.com": "0.0.0.0",
          "*.local.example.com": "127.0.0.1",
          "good.example.com": "127.0.0.1",
        },
      },
      connect_to: [`good.example.com:443:127.0.0.1:${origin.port}`, `routed.example.com:443:127.0.0.1:${proxyPort}`],
    },
  });
});
afterAll(async () => {
  await proxy.stop();
  await origin.close();
  await dns.close();
});

const prohibited = { status: 403, reason: "address_denied", error: "destination_ip_prohibited" };

describe("an allowed name that resolves to an address nobody may be sent to is denied, and not dialled", () => {
  for (const [i, [sentence, [, addressClass]]] of Object.entries(blocked).entries()) {
    test(sentence, async () => {
      const on = await record(proxy, origin);
      const client = await sendConnect(proxy, `b${i}.rebind.example.net:${origin.port}`);
      const body = await expectDenied(on, client, prohibited, "site/public");
      client.close();
      expect(body).toMatch(/resolves to no address that rule site.public admits: see resolves_to/i);
      expect(await on.growth(`sallyport_blocked_addresses_total{class="${addressClass}"}`)).toBe(1);
      expect(await on.growth('sallyport_dials_total{result="ok"}')).toBe(0);
      await expectServing(proxy);
    });
  }

  test("several addresses, none of them admitted: each is counted", async () => {
    const on = await record(proxy, origin);
    const client = await sendConnect(proxy, `mixed.rebind.example.net:${origin.port}`);
    await expectDenied(on, client, prohibited, "site/public");
    client.close();
    for (const addressClass of ["loopback", "private", "link_local"]) {
      expect(await on.growth(`sallyport_blocked_addresses_total{class="${addressClass}"}`)).toBe(1);
    }
  });

  test("what a DNS server answers is judged just the same", async () => {
    dns.answer("A", "evil.rebind.example.net", { kind: "addresses", addresses: ["127.0.0.1"] });
    dns.answer("AAAA", "evil.rebind.example.net", { kind: "addresses", addresses: ["::ffff:127.0.0.1", "::1"] });
    const on = await record(proxy, origin);
    const client = await sendConnect(proxy, `evil.rebind.example.net:${origin.port}`);
    await expectDenied(on, client, prohibited, "site/public");
    client.close();
  });

  test("of several addresses the admitted one is dialled", async () => {
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `mixed.local.example.com:${origin.port}`, { behind: helloFor(null) });
    await client.readBytes(5);
    client.end();
    await client.readAll();
    client.close();
    expect(await on.line()).toMatchObject({ verdict: "allow", upstream: `127.0.0.1:${origin.port}` });
    expect(await on.growth('sallyport_blocked_addresses_total{class="link_local"}')).toBe(1);
  });
});

describe("an address as the target", () => {
  test("opens where a rule lists it, whatever its class, and takes a hello without a name where it is https", async () => {
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `127.0.0.1:${origin.port}`, { behind: helloFor(null) });
    await client.readBytes(5);
    client.end();
    await client.readAll();
    client.close();
    expect(await on.line()).toMatchObject({ verdict: "allow", rule: "site/literal", host: "127.0.0.1" });
    expect(await on.growth('sallyport_dns_lookups_total{result="hit"}')).toBe(0);
  });

  test("does not match rules for names", async () => {
    const on = await record(proxy, origin);
    const client = await sendConnect(proxy, `10.1.2.3:${origin.port}`);
    await expectDenied(on, client, { status: 403, reason: "ip_literal" });
    client.close();
  });
});

const loops: Readonly<Record<string, () => string>> = {
  "the proxy's own address, listed in a rule": () => `127.0.0.1:${proxyPort}`,
  "a name of its own address": () => `x.local.example.com:${proxyPort}`,
  "the unspecified address, which is this machine": () => `zero.local.example.com:${proxyPort}`,
  "the admin listener by address": () => `127.0.0.1:${adminPort}`,
  "the admin listener by name": () => `x.local.example.com:${adminPort}`,
  "the administrator's own routing": () => "routed.example.com:443",
};

describe("a tunnel to the proxy itself is a loop: 502", () => {
  for (const [sentence, target] of Object.entries(loops)) {
    test(sentence, async () => {
      const on = await record(proxy, origin);
      const client = await sendConnect(proxy, target(), { behind: "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" });
      const head = await client.readHead();
      expect([head.status, head.reason]).toEqual([502, "Failed: proxy_loop_detected"]);
      expect(head.headers.get("proxy-status")).toBe("sallyport; error=proxy_loop_detected");
      expect((await client.readAll()).toString()).not.toContain("sallyport_decisions_total");
      client.close();
      expect(await on.line()).toMatchObject({ status: 502, outcome: "proxy_loop_detected" });
      expect(await on.growth('sallyport_tunnels_total{result="proxy_loop_detected"}')).toBe(1);
      expect(await on.growth('sallyport_blocked_addresses_total{class="own_listener"}')).toBe(1);
      await expectServing(proxy);
    });
  }
});

describe("a query is a way out, too", () => {
  const silent: Readonly<Record<string, string>> = {
    "a name without a rule": "secret-data.exfil.test:443",
    "a port that the rule does not name": "secret.rebind.example.net:9",
    "a malformed name": "secret..rebind.example.net:443",
    "a routed name": "good.example.com:443",
  };
  for (const [sentence, target] of Object.entries(silent)) {
    test(`${sentence} is never asked of DNS`, async () => {
      const before = dns.queries.length;
      const client = await sendConnect(proxy, target);
      await client.readHead();
      client.close();
      // The next query is one that must come, and nothing stands before it.
      const marker = `marker-${before}.rebind.example.net`;
      const second = await sendConnect(proxy, `${marker}:${origin.port}`);
      await second.readHead();
      second.close();
      expect(dns.queries.slice(before).filter((query) => !query.endsWith(marker))).toEqual([]);
      expect(dns.queries.length).toBeGreaterThan(before);
    });
  }
});
