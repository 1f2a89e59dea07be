/** More than the proxy will carry: refused early and cheaply, each client for itself, and never at the cost of another. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { canSeeFiles, metricAlone, openFiles, residentBytes } from "../support/open-resources.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import { openTunnel, startHelloOrigin } from "../support/tunnel.ts";

const perClient = 10;
const connections = 30;
/** Of one client, refused connections that are still being told so, as `listener.ts` has it. */
const refusedOfClient = 64;
/** Of the other client's tunnel, and of what asks. */
const otherFiles = 16;
const host = "good.example.com";

let origin: TcpOrigin;
let proxy: Sallyport;
/** With nobody connected; until it is known, whatever there is. */
let filesAtRest = Number.MAX_SAFE_INTEGER;
const clients: RawClient[] = [];

beforeAll(async () => {
  origin = await startHelloOrigin();
  proxy = await startSallyport({
    policy: { rules: [{ id: "site", hosts: [host], expect: ["https", "tcp:22"] }] },
    settings: {
      connect_to: [`*::127.0.0.1:${origin.port}`],
      limits: { connections, per_client: perClient, head_timeout: "60s" },
    },
  });
  // The first exchange opens what stays open.
  await expectServed("127.0.0.3");
  await release();
  filesAtRest = openFiles(proxy);
});
afterAll(async () => {
  for (const client of clients) client.close();
  await proxy.stop();
  await origin.close();
});

function limit(name: string): Promise<number | undefined> {
  return metricAlone(proxy, `sallyport_limit_rejections_total{limit="${name}"}`);
}

async function connectFrom(localAddress: string): Promise<RawClient> {
  const client = await connectRaw(proxy.port, { localAddress });
  clients.push(client);
  return client;
}

/** So many connections of one client that say nothing; each holds a slot. */
async function hold(localAddress: string, count: number): Promise<readonly RawClient[]> {
  return Promise.all(Array.from({ length: count }, () => connectFrom(localAddress)));
}

async function expectOverLimit(localAddress: string): Promise<void> {
  const client = await connectFrom(localAddress);
  const head = await client.readHead();
  expect([head.status, head.headers.get("x-sallyport-reason")]).toEqual([503, "limit_exceeded"]);
  expect(Number(head.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(head.headers.get("proxy-status")).toContain("connection_limit_reached");
  client.close();
}

/** A tunnel of this client, there and back. */
async function expectServed(localAddress: string): Promise<void> {
  const client = await openTunnel(proxy, `${host}:22`, { localAddress });
  client.close();
}

/** All is let go of, and the proxy has noticed. */
async function release(): Promise<void> {
  for (const client of clients.splice(0)) client.close();
  await vi.waitFor(async () => {
    expect(await metricAlone(proxy, "sallyport_tunnels_active")).toBe(0);
    expect(openFiles(proxy)).toBeLessThanOrEqual(filesAtRest);
  }, 10_000);
}

describe("limits", () => {
  test("a client at its limit gets a 503, another is served", async () => {
    const before = [await limit("per_client"), await limit("connections")];
    await hold("127.0.0.2", perClient);
    await expectOverLimit("127.0.0.2");
    await expectServed("127.0.0.3");
    await expectOverLimit("127.0.0.2");
    expect([await limit("per_client"), await limit("connections")]).toEqual([before[0]! + 2, before[1]]);
    await release();
  });

  test("a client's own limit comes before the one for all: who is over both is told of its own", async () => {
    const before = [await limit("per_client"), await limit("connections")];
    for (const address of ["127.0.0.2", "127.0.0.3", "127.0.0.4"]) await hold(address, perClient);
    await expectOverLimit("127.0.0.2");
    expect([await limit("per_client"), await limit("connections")]).toEqual([before[0]! + 1, before[1]]);
    await expectOverLimit("127.0.0.5");
    expect([await limit("per_client"), await limit("connections")]).toEqual([before[0]! + 1, before[1]! + 1]);
    await release();
  });

  test("a slot is given back however its holder goes: by a reset, by an end, by a refusal", async () => {
    for (let round = 0; round < 5; round++) {
      const before = await limit("per_client");
      const held = await hold("127.0.0.2", perClient);
      await expectOverLimit("127.0.0.2");
      // That one alone: the slots of the round before are all back.
      expect(await limit("per_client")).toBe(before! + 1);
      held[0]!.detach().resetAndDestroy();
      held[1]!.end();
      held[2]!.send("nonsense\r\n\r\n");
      expect((await held[2]!.readHead()).status).toBe(400);
      for (const client of held) client.close();
      // While one that is closed still counts, a slot that comes free is not yet the last: the next round begins afresh.
      await vi.waitFor(() => expectServed("127.0.0.2"), 5000);
      await release();
    }
  });
});

describe("a flood by one client", () => {
  const flood = 600;

  test("is cut off where it costs files, and others are served while it lasts", async () => {
    const attempts = await Promise.all(
      Array.from({ length: flood }, () => connectRaw(proxy.port, { localAddress: "127.0.0.2" }).catch(() => undefined)),
    );
    const floods = attempts.filter((client) => client !== undefined);
    clients.push(...floods);
    await expectServed("127.0.0.3");
    // Nobody of them hangs up; they are all that can be open.
    if (canSeeFiles) {
      await vi.waitFor(() =>
        expect(openFiles(proxy)).toBeLessThan(filesAtRest + perClient + refusedOfClient + otherFiles),
      );
    }
    await expectServed("127.0.0.3");
    await release();
    await expectServed("127.0.0.2");
    await release();
  });

  test.skipIf(!canSeeFiles)("leaves the memory where it was, thousands of refusals later", async () => {
    await hold("127.0.0.2", perClient);
    const refuse = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i += 50) {
        const some = await Promise.all(
          Array.from({ length: 50 }, () =>
            connectRaw(proxy.port, { localAddress: "127.0.0.2" }).catch(() => undefined),
          ),
        );
        await Promise.all(some.map(async (client) => client?.waitClose().catch(() => undefined)));
        for (const client of some) client?.close();
      }
    };
    await refuse(1000);
    const warm = residentBytes(proxy);
    await refuse(3000);
    expect(residentBytes(proxy) - warm).toBeLessThan(32 * 2 ** 20);
    await expectServed("127.0.0.3");
    await release();
  });
});
