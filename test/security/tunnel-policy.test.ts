/**
 * Attack: CONNECT to what no rule allows. A name beside an allowed one, a port or a protocol that the rule does not
 * expect, another client. Nothing may reach any origin, not even a connection.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import { expectDenied, expectServing, record, sendConnect, startHelloOrigin } from "../support/tunnel.ts";

let origin: TcpOrigin;
let proxy: Sallyport;

beforeAll(async () => {
  origin = await startHelloOrigin();
  proxy = await startSallyport({
    policy: {
      clients: { servers: ["127.0.0.2/32"] },
      rules: [
        { id: "vendor", hosts: ["*.example.com"], expect: ["https", "https:8443"] },
        { id: "payload", hosts: ["payload.example.com"], expect: "http" },
        { id: "raw", hosts: ["raw.example.com"], expect: ["tcp:22", "http:443"] },
        { id: "no-telemetry", action: "deny", hosts: ["*.telemetry.example.com"] },
        { id: "console", hosts: ["console.example.net"], expect: "https", clients: ["servers"] },
        { id: "appliance", addresses: ["10.9.8.7/32"], expect: "https" },
      ],
    },
    settings: { connect_to: [`*::127.0.0.1:${origin.port}`] },
  });
});
afterAll(async () => {
  await proxy.stop();
  await origin.close();
});

type Case = { readonly target: string; readonly reason: string; readonly rule?: string; readonly says: string };

const denied: Readonly<Record<string, Case>> = {
  "a host that no rule covers": { target: "unknown.test:443", reason: "no_rule", says: "No rule covers this host." },
  "a name that ends like an allowed one": { target: "evilexample.com:443", reason: "no_rule", says: "No rule" },
  "a name that begins like an allowed one": { target: "example.com.evil.net:443", reason: "no_rule", says: "No rule" },
  "an allowed name behind a dash": { target: "x-example.com:443", reason: "no_rule", says: "No rule" },
  "the parent of an allowed name": { target: "example.net:443", reason: "no_rule", says: "No rule" },
  "a tunnel to where only http is expected": {
    target: "payload.example.com:80",
    reason: "scheme_mismatch",
    rule: "site/payload",
    says: "Rule site/payload covers this host, but expects http on port 80.",
  },
  "a tunnel to 443 of a host that has http only": {
    target: "payload.example.com:443",
    reason: "scheme_mismatch",
    rule: "site/payload",
    says: "expects http on port 80",
  },
  "a tunnel to the port where the rule has http, beside a tunnel port": {
    target: "raw.example.com:443",
    reason: "scheme_mismatch",
    rule: "site/raw",
    says: "expects any bytes in a tunnel on port 22 or http on port 443",
  },
  "a port that the rule does not name": {
    target: "www.example.com:444",
    reason: "port_mismatch",
    rule: "site/vendor",
    says: "expects https (CONNECT) on port 443 or https (CONNECT) on port 8443",
  },
  "port 22 of a web host": {
    target: "www.example.com:22",
    reason: "port_mismatch",
    rule: "site/vendor",
    says: "expects",
  },
  "a host that a deny rule names": {
    target: "telemetry.example.com:443",
    reason: "rule_denied",
    rule: "site/no-telemetry",
    says: "Rule site/no-telemetry denies this host.",
  },
  "a name below a denied one": {
    target: "a.b.telemetry.example.com:443",
    reason: "rule_denied",
    rule: "site/no-telemetry",
    says: "denies this host",
  },
  "a denied host with a trailing dot": {
    target: "telemetry.example.com.:443",
    reason: "rule_denied",
    rule: "site/no-telemetry",
    says: "denies this host",
  },
  "a denied host in upper case": {
    target: "A.TELEMETRY.EXAMPLE.COM:443",
    reason: "rule_denied",
    rule: "site/no-telemetry",
    says: "denies this host",
  },
  "a client that is in no group of the rule": {
    target: "console.example.net:443",
    reason: "client_denied",
    says: "none for this client",
  },
  "an address that no rule lists": {
    target: "127.0.0.1:443",
    reason: "ip_literal",
    says: "No rule lists this address",
  },
  "an IPv6 address that no rule lists": { target: "[::1]:443", reason: "ip_literal", says: "No rule lists" },
  "the mapped spelling of an address": {
    target: "[::ffff:127.0.0.1]:443",
    reason: "ip_literal",
    says: "No rule lists",
  },
  "the NAT64 spelling of an address": {
    target: "[64:ff9b::7f00:1]:443",
    reason: "ip_literal",
    says: "No rule lists",
  },
  "the 6to4 spelling of an address": { target: "[2002:7f00:1::1]:443", reason: "ip_literal", says: "No rule lists" },
  "the IPv4-compatible spelling of an address": {
    target: "[::127.0.0.1]:443",
    reason: "ip_literal",
    says: "No rule lists",
  },
  "the unspecified address": { target: "0.0.0.0:443", reason: "ip_literal", says: "No rule lists" },
  "the metadata address in IPv6": { target: "[fd00:ec2::254]:443", reason: "ip_literal", says: "No rule lists" },
  "the cloud's metadata address": { target: "169.254.169.254:443", reason: "ip_literal", says: "No rule lists" },
  "a listed address on another port": {
    target: "10.9.8.7:22",
    reason: "port_mismatch",
    rule: "site/appliance",
    says: "expects https",
  },
};

describe("a CONNECT that no rule allows reaches nobody", () => {
  for (const [sentence, { target, reason, rule, says }] of Object.entries(denied)) {
    test(sentence, async () => {
      const on = await record(proxy, origin);
      const client = await sendConnect(proxy, target);
      const body = await expectDenied(on, client, { status: 403, reason }, rule);
      client.close();
      expect(body).toContain(`Denied: CONNECT ${canonical(target)} (client 127.0.0.1).`);
      expect(body).toContain(says);
      await expectServing(proxy);
    });
  }

  test("the same host is open to a client of the rule's group", async () => {
    const client = await sendConnect(proxy, "console.example.net:443", { localAddress: "127.0.0.2" });
    expect((await client.readHead()).status).toBe(200);
    client.close();
  });

  test("what is denied for one client has another id for another group, and the same id every time", async () => {
    const ids: (string | undefined)[] = [];
    for (const localAddress of ["127.0.0.1", "127.0.0.1", "127.0.0.2"]) {
      const client = await sendConnect(proxy, "unknown.test:443", { localAddress });
      ids.push((await client.readHead()).headers.get("x-sallyport-denial"));
      client.close();
    }
    expect(ids[0]).toBe(ids[1]);
    expect(ids[2]).not.toBe(ids[0]);
  });

  test("a denial is told as JSON to who asks for JSON", async () => {
    const client = await sendConnect(proxy, "unknown.test:443", { fields: ["Accept: application/json"] });
    const head = await client.readHead();
    expect(head.headers.get("content-type")).toBe("application/json");
    const told = JSON.parse((await client.readAll()).toString()) as { reason: string; denial: string };
    client.close();
    expect(told).toMatchObject({ reason: "no_rule", denial: head.headers.get("x-sallyport-denial") });
  });

  test("bytes that a denied client sends along, a whole hello and 200 KiB more, are thrown away and it reads the answer", async () => {
    const on = await record(proxy, origin);
    const client = await sendConnect(proxy, "unknown.test:443", { behind: Buffer.alloc(200 * 1024, 0x16) });
    await expectDenied(on, client, { status: 403, reason: "no_rule" });
    client.close();
    await expectServing(proxy);
  });

  test("fifty random names leave no series behind in the metrics", async () => {
    const names = async (): Promise<string[]> => {
      const text = await (await fetch(`http://127.0.0.1:${proxy.adminPort}/metrics`)).text();
      return text.split("\n").flatMap((line) => /^(sallyport_(?!top_denials\{)\S*) /.exec(line)?.[1] ?? []);
    };
    const before = await names();
    for (let i = 0; i < 50; i++) {
      const client = await sendConnect(proxy, `random-${i}.example.org:443`);
      expect((await client.readHead()).status).toBe(403);
      client.close();
    }
    expect(await names()).toEqual(before);
  });
});

/** As the proxy writes it. */
function canonical(target: string): string {
  if (target === "[::ffff:127.0.0.1]:443") return "127.0.0.1:443";
  if (target === "[::127.0.0.1]:443") return "[::7f00:1]:443";
  return target.toLowerCase().replace(".:", ":");
}
