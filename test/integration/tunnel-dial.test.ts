/** From an allowed CONNECT to its 200, or to the answer why there is none: lookups, dials, limits, clients that leave. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DnsServer, startDnsServer } from "../support/dns-server.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import {
  decisions,
  expectMetric,
  expectServing,
  openTunnel,
  record,
  sendConnect,
  startHelloOrigin,
} from "../support/tunnel.ts";

let origin: TcpOrigin;
let dns: DnsServer;
let blackHole: BlackHole;
let proxy: Sallyport;

beforeAll(async () => {
  origin = await startHelloOrigin();
  dns = await startDnsServer();
  blackHole = await openBlackHole();
  for (const [name, reply] of Object.entries({
    "nxdomain.example.com": { kind: "nxdomain" },
    "servfail.example.com": { kind: "servfail" },
    "refused.example.com": { kind: "refused" },
    "silent.example.com": { kind: "silence" },
    "leaves.example.com": { kind: "silence", later: { kind: "addresses", addresses: ["127.0.0.1"] } },
    "lookup.example.com": { kind: "addresses", addresses: ["127.0.0.1"] },
  } as const)) {
    dns.answer("A", name, reply);
    dns.answer("AAAA", name, reply.kind === "addresses" || reply.kind === "silence" ? { kind: "nodata" } : reply);
  }
  proxy = await startSallyport({
    policy: {
      rules: [
        {
          id: "site",
          hosts: ["*.example.com"],
          expect: ["https", `https:${origin.port}`, `tcp:${blackHole.port}`],
          resolves_to: ["127.0.0.0/8"],
        },
      ],
    },
    settings: {
      dns: { servers: [dns.address], timeout: "400ms", negative_ttl: "0s" },
      limits: { dial_timeout: "400ms" },
      connect_to: [
        `good.example.com:443:127.0.0.1:${origin.port}`,
        // Not a port that was free a moment ago: by now somebody else may have it.
        "nobody.example.com:443:127.0.0.1:1",
        "unroutable.example.com:443:224.0.0.1:443",
        `hole.example.com::127.0.0.1:${blackHole.port}`,
      ],
    },
  });
});
afterAll(async () => {
  await proxy.stop();
  blackHole.close();
  await dns.close();
  await origin.close();
});

const failures: Readonly<Record<string, { target: () => string; status: number; error: string; counts: string }>> = {
  "nobody listens": {
    target: () => "nobody.example.com:443",
    status: 502,
    error: "connection_refused",
    counts: 'sallyport_dials_total{result="connection_refused"}',
  },
  "no route": {
    target: () => "unroutable.example.com:443",
    status: 502,
    error: "destination_ip_unroutable",
    counts: 'sallyport_dials_total{result="destination_ip_unroutable"}',
  },
  "nobody answers": {
    target: () => `hole.example.com:${blackHole.port}`,
    status: 504,
    error: "connection_timeout",
    counts: 'sallyport_limit_rejections_total{limit="dial_timeout"}',
  },
  "the name does not exist": {
    target: () => "nxdomain.example.com:443",
    status: 502,
    error: "dns_error",
    counts: 'sallyport_dns_lookups_total{result="negative"}',
  },
  "the name server fails": {
    target: () => "servfail.example.com:443",
    status: 502,
    error: "dns_error",
    counts: 'sallyport_dns_lookups_total{result="error"}',
  },
  "the name server refuses": {
    target: () => "refused.example.com:443",
    status: 502,
    error: "dns_error",
    counts: 'sallyport_dns_lookups_total{result="error"}',
  },
  "the name server is silent": {
    target: () => "silent.example.com:443",
    status: 504,
    error: "dns_timeout",
    counts: 'sallyport_dns_lookups_total{result="timeout"}',
  },
};

describe("an allowed tunnel that cannot be opened says why in its status", () => {
  for (const [sentence, { target, status, error, counts }] of Object.entries(failures)) {
    test(sentence, async () => {
      const on = await record(proxy, origin);
      const client = await sendConnect(proxy, target());
      const head = await client.readHead();
      expect([head.status, head.reason]).toEqual([status, `Failed: ${error}`]);
      expect(head.headers.get("proxy-status")).toBe(`sallyport; error=${error}`);
      expect(head.headers.get("x-sallyport-reason")).toBeUndefined();
      expect((await client.readAll()).toString()).toContain(
        `Allowed, but failed: CONNECT ${target()} (client 127.0.0.1).`,
      );
      client.close();
      expect(await on.line()).toMatchObject({
        verdict: "allow",
        reason: "allowed",
        outcome: error,
        status,
        level: "warn",
      });
      expect(await on.growth(decisions("allow", "allowed"))).toBe(1);
      expect(await on.growth(`sallyport_tunnels_total{result="${error}"}`)).toBe(1);
      expect(await on.growth(counts)).toBe(1);
      expect(on.atOrigin()).toEqual({ connections: 0, bytes: 0 });
      await expectServing(proxy);
    });
  }

  test("a name that DNS knows is dialled at the address it was judged by", async () => {
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `lookup.example.com:${origin.port}`);
    client.end();
    await client.readAll();
    client.close();
    expect(await on.line()).toMatchObject({ verdict: "allow", upstream: `127.0.0.1:${origin.port}` });
    expect(await on.growth('sallyport_dns_lookups_total{result="ok"}')).toBe(1);
    expect(await on.growth('sallyport_dials_total{result="ok"}')).toBe(1);
  });
});

describe("a client that breaks off", () => {
  test("while its name is looked up: nobody is dialled when the answer comes", async () => {
    const on = await record(proxy, origin);
    const asked = dns.queries.length;
    const client = await sendConnect(proxy, `leaves.example.com:${origin.port}`);
    await dns.asked(asked + 2);
    client.detach().resetAndDestroy();
    expect(await on.line()).toMatchObject({ verdict: "allow", outcome: "client_aborted", closed_by: "client" });
    dns.release();
    await expect.poll(() => on.growth('sallyport_dns_lookups_total{result="ok"}'), { interval: 10 }).toBe(1);
    await expectServing(proxy);
    expect(await on.growth('sallyport_dials_total{result="ok"}')).toBe(1);
    expect(on.atOrigin().connections).toBe(1);
  });

  test("while the dial is under way: it is given up at once", async () => {
    const on = await record(proxy, origin);
    const client = await sendConnect(proxy, `hole.example.com:${blackHole.port}`);
    // The next exchange is answered when this one is being dialled.
    await expectServing(proxy);
    const startedAt = performance.now();
    client.detach().resetAndDestroy();
    expect(await on.line((line) => line["host"] === "hole.example.com")).toMatchObject({
      verdict: "allow",
      outcome: "client_aborted",
      closed_by: "client",
    });
    expect(performance.now() - startedAt).toBeLessThan(300);
    expect(await on.growth('sallyport_tunnels_total{result="client_aborted"}')).toBe(1);
    await expectMetric(proxy, "sallyport_tunnels_active", 0);
  });

  test("and one that only ends its side while the dial is under way still reads its answer", async () => {
    const client = await sendConnect(proxy, `hole.example.com:${blackHole.port}`);
    client.end();
    expect((await client.readHead()).status).toBe(504);
    await client.readAll();
    client.close();
  });
});

describe("limits", () => {
  for (const [limit, settings] of Object.entries({
    per_client: { limits: { per_client: 2 } },
    connections: { limits: { connections: 2 } },
  })) {
    test(`beyond ${limit} a client is told 503 and when to come again, and gets in when a slot is free`, async () => {
      const limited = await startSallyport({
        policy: { rules: [{ id: "site", hosts: ["good.example.com"], expect: "https" }] },
        settings: { connect_to: [`*::127.0.0.1:${origin.port}`], ...settings },
      });
      const first = await openTunnel(limited, "good.example.com:443");
      const second = await openTunnel(limited, "good.example.com:443");
      const on = await record(limited, origin);
      const third = await sendConnect(limited, "good.example.com:443");
      const head = await third.readHead();
      expect(head.status).toBe(503);
      expect(head.reason).toMatch(/^Denied: limit_exceeded /);
      expect(head.headers.get("x-sallyport-reason")).toBe("limit_exceeded");
      expect(Number(head.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(head.headers.get("proxy-status")).toContain("error=connection_limit_reached");
      third.close();
      expect(await on.line()).toMatchObject({
        verdict: "deny",
        reason: "limit_exceeded",
        stage: "request",
        status: 503,
      });
      expect(await on.growth(decisions("deny", "limit_exceeded"))).toBe(1);
      expect(await on.growth(`sallyport_limit_rejections_total{limit="${limit}"}`)).toBe(1);
      expect(on.atOrigin()).toEqual({ connections: 0, bytes: 0 });
      first.close();
      second.close();
      await expectMetric(limited, "sallyport_tunnels_active", 0);
      await expectServing(limited);
      expect(await limited.stop()).toBe(0);
    });
  }
});

type BlackHole = { readonly port: number; readonly close: () => void };

/**
 * A port at which connections are begun and never accepted: a program with a short queue that was stopped, and so many
 * connections that the queue is full. To the next one the kernel answers nothing at all.
 */
async function openBlackHole(): Promise<BlackHole> {
  const program = `require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, function () {
    console.log(this.address().port);
  })`;
  const child: ChildProcess = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(createInterface(child.stdout!), "line")) as [string];
  child.kill("SIGSTOP");
  const port = Number(line);
  const fillers: Socket[] = [];
  let isFull = false;
  while (!isFull && fillers.length < 50) {
    const filler = connect(port, "127.0.0.1");
    filler.on("error", () => {});
    fillers.push(filler);
    isFull = await new Promise((settle) => {
      const patience = setTimeout(() => settle(true), 250);
      filler.once("connect", () => {
        clearTimeout(patience);
        settle(false);
      });
    });
  }
  return {
    port,
    close: () => {
      for (const filler of fillers) filler.destroy();
      child.kill("SIGKILL");
    },
  };
}
