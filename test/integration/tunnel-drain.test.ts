/** The end of the process, and the end of its means: running tunnels live on through SIGTERM and through EMFILE. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { helloFor, serverHello } from "../support/hello.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import { describeWithTool, requireTool } from "../support/tools.ts";
import { expectMetric, expectServing, openTunnel, sendConnect, startHelloOrigin } from "../support/tunnel.ts";

const host = "good.example.com";
let origin: TcpOrigin;
const running: Sallyport[] = [];
const clients: RawClient[] = [];

beforeAll(async () => {
  origin = await startHelloOrigin();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await Promise.all(
    running.splice(0).map(async (proxy) => {
      proxy.process.kill("SIGKILL");
      await proxy.stop();
    }),
  );
});
afterAll(() => origin.close());

async function start(limits: Readonly<Record<string, string | number>> = {}): Promise<Sallyport> {
  const proxy = await startSallyport({
    policy: { rules: [{ id: "site", hosts: [host], expect: ["https", "tcp:22"] }] },
    settings: { connect_to: [`*::127.0.0.1:${origin.port}`], limits },
  });
  running.push(proxy);
  return proxy;
}

/** A tunnel that has been shaken hands through, and echoes. */
async function openEcho(proxy: Sallyport): Promise<RawClient> {
  const client = await openTunnel(proxy, `${host}:443`, { behind: helloFor(host) });
  clients.push(client);
  await client.readBytes(serverHello().length);
  return client;
}

async function expectEcho(client: RawClient): Promise<void> {
  client.send("ping");
  expect((await client.readBytes(4)).toString()).toBe("ping");
}

/** The exit code, when all that the process has written is read. */
async function exitOf(proxy: Sallyport): Promise<number | null> {
  const [code] = (await once(proxy.process, "close")) as [number | null];
  return code;
}

describe("SIGTERM", () => {
  test("lets a running tunnel finish, accepts nothing new, and then exits with 0", async () => {
    const proxy = await start();
    const client = await openEcho(proxy);
    const waiting = await connectRaw(proxy.port);
    clients.push(waiting);
    const exited = exitOf(proxy);
    proxy.process.kill("SIGTERM");
    expect(await proxy.logged((line) => line["event"] === "drain")).toMatchObject({ level: "info" });
    expect((await fetch(`http://127.0.0.1:${proxy.adminPort}/readyz`)).status).toBe(503);
    await expect(connectRaw(proxy.port)).rejects.toThrow(/ECONNREFUSED/);
    await expectEcho(client);
    expect(proxy.process.exitCode).toBeNull();
    client.end();
    await client.readAll();
    waiting.close();
    expect(await exited).toBe(0);
    expect(await proxy.logged((line) => line["event"] === "connect")).toMatchObject({
      verdict: "allow",
      closed_by: "client",
    });
  });

  test("refuses a CONNECT on a connection that was open before", async () => {
    const proxy = await start();
    const other = await openEcho(proxy);
    const exited = exitOf(proxy);
    const late = await connectRaw(proxy.port);
    clients.push(late);
    // Half a head: the connection is no idle one that may be closed.
    late.send(`CONNECT ${host}:443 HTTP/1.1\r\n`);
    await expectEcho(other);
    proxy.process.kill("SIGTERM");
    await proxy.logged((line) => line["event"] === "drain");
    late.send("\r\n");
    const head = await late.readHead();
    expect([head.status, head.headers.get("x-sallyport-reason")]).toEqual([503, "limit_exceeded"]);
    expect(await proxy.logged((line) => line["reason"] === "limit_exceeded")).toMatchObject({ verdict: "deny", host });
    expect(head.headers.get("retry-after")).toBeDefined();
    expect(await proxy.metric('sallyport_limit_rejections_total{limit="draining"}')).toBe(1);
    await late.readAll();
    late.close();
    other.end();
    await other.readAll();
    expect(await exited).toBe(0);
  });

  test("a second time ends running tunnels at once, says so in the log, and exits with 0", async () => {
    const proxy = await start();
    const client = await openEcho(proxy);
    const peeking = await openTunnel(proxy, `${host}:443`);
    clients.push(peeking);
    const exited = exitOf(proxy);
    proxy.process.kill("SIGTERM");
    await proxy.logged((line) => line["event"] === "drain");
    await expectEcho(client);
    proxy.process.kill("SIGTERM");
    expect(await client.waitClose()).toBe("fin");
    await peeking.waitClose();
    expect(await exited).toBe(0);
    const ends = proxy.log.filter((line) => line["event"] === "connect");
    expect(ends).toHaveLength(2);
    for (const line of ends) {
      expect(line).toMatchObject({ verdict: "allow", closed_by: "drain", level: "info" });
      expect(line["outcome"]).toBeUndefined();
    }
  });

  test("waits no longer than drain_timeout", async () => {
    const proxy = await start({ drain_timeout: "300ms" });
    const client = await openEcho(proxy);
    const exited = exitOf(proxy);
    proxy.process.kill("SIGTERM");
    await client.waitClose();
    expect(await exited).toBe(0);
    const [line] = proxy.log.filter((entry) => entry["event"] === "connect");
    expect(line).toMatchObject({ verdict: "allow", closed_by: "drain" });
    expect(line!["duration_ms"]).toBeGreaterThanOrEqual(290);
  });
});

describeWithTool(["prlimit"], "a process that has no file left to open", () => {
  test("keeps the tunnels it has, answers whom it can, and serves again when files are free", async () => {
    const proxy = await start();
    await expectServing(proxy, host);
    const client = await openEcho(proxy);
    const open = (await proxy.metric("process_open_fds"))!;
    execFileSync(requireTool("prlimit")!, ["--pid", String(proxy.process.pid), `--nofile=${open + 6}:${open + 6}`]);
    const crowd: RawClient[] = [];
    for (let i = 0; i < 40; i++) {
      const one = await sendConnect(proxy, `${host}:22`).catch(() => undefined);
      if (one !== undefined) crowd.push(one);
    }
    clients.push(...crowd);
    const answers = await Promise.all(
      crowd.map((one) =>
        one.readHead().then(
          (head) => head.status,
          () => undefined,
        ),
      ),
    );
    // Some got in, and then there was no file for the connection upstream, or none to accept another client with.
    expect(answers).toContain(200);
    expect(answers.filter((status) => status === 200).length).toBeLessThan(6);
    await expectEcho(client);
    expect(proxy.process.exitCode).toBeNull();
    for (const one of crowd) one.detach().resetAndDestroy();
    await expectMetric(proxy, "sallyport_tunnels_active", 1);
    await expectServing(proxy, host);
    await expectEcho(client);
  });
});
