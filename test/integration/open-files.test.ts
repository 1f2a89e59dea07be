/** A process that may open fewer files than its limits ask for: it says so, serves fewer, and tells the others. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { helloFor, serverHello } from "../support/hello.ts";
import { metricAlone } from "../support/open-resources.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import { describeWithTool } from "../support/tools.ts";
import { expectMetric, openTunnel, startHelloOrigin } from "../support/tunnel.ts";

const host = "good.example.com";
const files = 256;
/** Of 256 files 64 are the process's own and 24 for refusals; the rest is halved. */
const served = 84;
const told = 24;
const resets = 20;

let origin: TcpOrigin;

function start(openFiles: number | undefined, limits: Readonly<Record<string, number>>): Promise<Sallyport> {
  return startSallyport({
    policy: { rules: [{ id: "site", hosts: [host], expect: "https" }] },
    settings: { connect_to: [`*::127.0.0.1:${origin.port}`], limits },
    ...(openFiles === undefined ? {} : { openFiles }),
  });
}

/** A tunnel that has been shaken hands through. */
async function openEcho(proxy: Sallyport): Promise<RawClient> {
  const client = await openTunnel(proxy, `${host}:443`, { behind: helloFor(host) });
  await client.readBytes(serverHello().length);
  return client;
}

/** How a connection ends that nobody has room for; the reset may come before the connection is seen. */
async function endAtOnce(proxy: Sallyport): Promise<"fin" | "reset"> {
  const client = await connectRaw(proxy.port).catch(() => undefined);
  const end = (await client?.waitClose()) ?? "reset";
  client?.close();
  return end;
}

async function expectEcho(client: RawClient): Promise<void> {
  client.send("ping");
  expect((await client.readBytes(4)).toString()).toBe("ping");
}

beforeAll(async () => {
  origin = await startHelloOrigin();
});
afterAll(() => origin.close());

describeWithTool(["sh"], `serve under ulimit -n ${files}`, () => {
  let proxy: Sallyport;
  const clients: RawClient[] = [];
  beforeAll(async () => {
    proxy = await start(files, { connections: 1000 });
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    expect(await proxy.stop()).toBe(0);
  });

  test("says at start how many connections it serves, and how many it was to", () => {
    expect(proxy.stderr()).toContain(
      `sallyport: warning: this process may open ${files} files: ${served} connections at a time are served, not the 1000 of limits.connections`,
    );
    expect(proxy.stderr()).toMatch(/sallyport: hint: 3200 open files would do .*limits\.connections to 84\n/);
    expect(proxy.log[0]).toMatchObject({ event: "start", connections: served });
  });

  test("carries so many tunnels, tells whoever comes late, and takes the next when one has left", async () => {
    for (let i = 0; i < served; i++) clients.push(await openEcho(proxy));
    // They linger for seconds, so that all of them hold a file at the same time.
    const late = await Promise.all(Array.from({ length: told }, () => connectRaw(proxy.port)));
    clients.push(...late);
    for (const client of late) {
      const head = await client.readHead();
      expect([head.status, head.headers.get("x-sallyport-reason")]).toEqual([503, "limit_exceeded"]);
      expect(Number(head.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    // More than may linger: they are let go of at once.
    for (let i = 0; i < resets; i++) expect(await endAtOnce(proxy)).toBe("reset");
    for (const client of clients.slice(0, served)) await expectEcho(client);
    for (const client of clients.splice(0)) client.detach().resetAndDestroy();
    await expectMetric(proxy, "sallyport_tunnels_active", 0);
    for (let i = 0; i < served; i++) clients.push(await openEcho(proxy));
    expect(proxy.process.exitCode).toBeNull();
    const failures = proxy.log.filter((line) => line["outcome"] !== undefined && line["outcome"] !== "client_aborted");
    expect([...failures, ...proxy.log.filter((line) => line["event"] === "problem")]).toEqual([]);
  });

  test("has a file left for whoever reads its metrics meanwhile", async () => {
    expect(await metricAlone(proxy, "sallyport_tunnels_active")).toBe(served);
    expect(await proxy.metric('sallyport_limit_rejections_total{limit="connections"}')).toBe(told + resets);
  });
});

describeWithTool(["sh"], "serve under ulimit -n 160", () => {
  test("outlives 200 clients at once: those inside go on, and all is well when the others have gone", async () => {
    const proxy = await start(160, {});
    const clients: RawClient[] = [];
    try {
      const { connections } = proxy.log[0] as { connections: number };
      expect(connections).toBeGreaterThan(10);
      for (let i = 0; i < connections; i++) clients.push(await openEcho(proxy));
      const ends = await Promise.all(Array.from({ length: 200 }, () => endAtOnce(proxy)));
      expect(ends).toHaveLength(200);
      for (const client of clients) await expectEcho(client);
      for (const client of clients.splice(0)) client.detach().resetAndDestroy();
      await expectMetric(proxy, "sallyport_tunnels_active", 0);
      for (let i = 0; i < connections; i++) clients.push(await openEcho(proxy));
      expect(proxy.log.filter((line) => line["event"] === "problem")).toEqual([]);
    } finally {
      for (const client of clients) client.close();
      expect(await proxy.stop()).toBe(0);
    }
  });
});

describe("serve where files suffice", () => {
  test.each([
    ["says nothing of it", files, { connections: served }],
    ["nor where it may open what the machine allows", undefined, { connections: 10 }],
  ])("%s", async (_, openFiles, limits) => {
    const proxy = await start(openFiles, limits);
    expect(proxy.stderr()).not.toContain("may open");
    expect(proxy.log[0]).toMatchObject({ event: "start", connections: limits.connections });
    const client = await openEcho(proxy);
    client.close();
    expect(await proxy.stop()).toBe(0);
  });
});
