/** Several processes that share the listeners: they serve, count, limit, drain and die as one proxy. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { canSeeFiles } from "../support/open-resources.ts";
import { freePort } from "../support/ports.ts";
import { isAlive, socketsOf, workersOf } from "../support/processes.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { openTunnel } from "../support/tunnel.ts";

const host = "good.example.com";
const policy = {
  rules: [
    { id: "tunnels", hosts: [host], expect: ["tcp:22"] },
    { id: "plain", hosts: [host, "admin.example.com"], expect: "http" },
  ],
};
const patience = { timeout: 15_000, interval: 20 };
const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

let origin: TcpOrigin;
/** Echoes what is no HTTP; answers what is, with the Via field it got. */
beforeAll(async () => {
  origin = await startTcpOrigin(({ socket }) => {
    socket.on("data", (chunk: Buffer) => {
      if (!chunk.toString("latin1").startsWith("GET ")) return void socket.write(chunk);
      const via = /^via: (.*)$/im.exec(chunk.toString("latin1"))?.[1]?.trim() ?? "";
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${via.length}\r\nConnection: close\r\n\r\n${via}`);
    });
    socket.on("end", () => socket.end());
  });
});
afterAll(() => origin.close());

/** Two workers. `admin.example.com` leads to the admin server. */
async function start(settings: Readonly<Record<string, unknown>> = {}): Promise<Sallyport> {
  const adminPort = await freePort();
  return startSallyport({
    policy,
    settings: {
      workers: 2,
      admin: { address: `127.0.0.1:${adminPort}` },
      connect_to: [`${host}::127.0.0.1:${origin.port}`, `admin.example.com::127.0.0.1:${adminPort}`],
      ...settings,
    },
  });
}

async function echoes(client: RawClient): Promise<boolean> {
  try {
    client.send("ping");
    return (await client.readBytes(4)).toString() === "ping";
  } catch {
    return false;
  }
}

async function get(proxy: Sallyport, fields = "", name = host): Promise<{ status: number; body: string }> {
  const client = await connectRaw(proxy.port);
  client.send(`GET http://${name}/ HTTP/1.1\r\nHost: ${name}\r\n${fields}Connection: close\r\n\r\n`);
  const { status } = await client.readHead();
  const body = (await client.readAll()).toString("latin1");
  client.close();
  return { status, body };
}

async function readiness(proxy: Sallyport): Promise<number> {
  return (await fetch(`http://127.0.0.1:${proxy.adminPort}/readyz`)).status;
}

/** All counters, by series. */
async function counters(proxy: Sallyport): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${proxy.adminPort}/metrics`)).text();
  const growing = new Set(Array.from(text.matchAll(/^# TYPE (\S+) (?:counter|histogram)$/gm), ([, name]) => name));
  return new Map(
    text.split("\n").flatMap((line): [string, number][] => {
      const space = line.lastIndexOf(" ");
      const name = (line.split(/[{ ]/, 1)[0] ?? "").replace(/_(bucket|sum|count)$/, "");
      return growing.has(name) || growing.has(line.split(/[{ ]/, 1)[0])
        ? [[line.slice(0, space), Number(line.slice(space + 1))]]
        : [];
    }),
  );
}

function restarts(proxy: Sallyport): Promise<number | undefined> {
  return proxy.metric("sallyport_worker_restarts_total");
}

/** Tunnels, until every worker has three of them at least. */
async function tunnelsInAll(proxy: Sallyport): Promise<RawClient[]> {
  const before = new Map(workersOf(proxy).map((pid) => [pid, socketsOf(pid)]));
  const tunnels: RawClient[] = [];
  while (tunnels.length < 400) {
    // Several at a time: one after the other, the same worker may be the first to wake each time.
    const more = await Promise.all(Array.from({ length: 10 }, () => openTunnel(proxy, `${host}:22`)));
    tunnels.push(...more);
    if ([...before].every(([pid, sockets]) => socketsOf(pid) >= sockets + 6)) return tunnels;
  }
  throw new Error("one worker got everything");
}

describe.skipIf(!canSeeFiles)("two workers", () => {
  let proxy: Sallyport;
  let tunnels: RawClient[] = [];
  beforeAll(async () => {
    proxy = await start({ limits: { per_client: 300 } });
  });
  afterAll(async () => {
    for (const tunnel of tunnels) tunnel.close();
    expect(await proxy.stop()).toBe(0);
  });

  test("start once, as one proxy that is ready", async () => {
    expect(workersOf(proxy)).toHaveLength(2);
    expect(await readiness(proxy)).toBe(200);
    expect(proxy.log.filter((line) => line["event"] === "start")).toMatchObject([{ workers: 2 }]);
    expect(proxy.stderr()).toContain("\nworkers: 2\n");
    expect(await restarts(proxy)).toBe(0);
  });

  test("show the series that one process shows", async () => {
    const alone = await startSallyport({ policy, settings: { connect_to: [`${host}::127.0.0.1:${origin.port}`] } });
    const names = async (one: Sallyport): Promise<string[]> => {
      const text = await (await fetch(`http://127.0.0.1:${one.adminPort}/metrics`)).text();
      return text
        .split("\n")
        .filter((line) => !line.startsWith("nodejs_gc_") && !line.startsWith("nodejs_active_"))
        .map((line) => (line.startsWith("#") ? line : line.slice(0, line.lastIndexOf(" "))))
        .sort();
    };
    expect(await names(proxy)).toEqual(await names(alone));
    await alone.stop();
  });

  test("both serve, and the metrics are those of both", async () => {
    tunnels = await tunnelsInAll(proxy);
    expect(await Promise.all(tunnels.map(echoes))).toEqual(tunnels.map(() => true));
    expect(await proxy.metric("sallyport_tunnels_active")).toBe(tunnels.length);
    expect(await proxy.metric('sallyport_dials_total{result="ok"}')).toBe(tunnels.length);
    expect(await proxy.metric("sallyport_policy_rules")).toBe(2);
    expect(await proxy.metric('sallyport_limit{limit="per_client"}')).toBe(300);
  });

  test("are one hop: what one has forwarded is a loop for the other", async () => {
    const pseudonyms = new Set<string>();
    for (let i = 0; i < 8; i++) pseudonyms.add((await get(proxy)).body);
    expect([...pseudonyms]).toEqual([expect.stringMatching(/^1\.1 sallyport-[0-9a-f]{8}$/)]);
    const answers = await Promise.all(Array.from({ length: 16 }, () => get(proxy, `Via: ${[...pseudonyms][0]}\r\n`)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([502]));
  });

  test("know the admin server's address, all of them", async () => {
    const answers = await Promise.all(Array.from({ length: 16 }, () => get(proxy, "", "admin.example.com")));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([502]));
    expect(new Set(answers.map(({ body }) => /own listener|proxy_loop|itself|loop/i.test(body)))).toEqual(
      new Set([true]),
    );
  });

  test("tell the primary of every denial", async () => {
    const answers = await Promise.all(Array.from({ length: 16 }, () => get(proxy, "", "other.example.com")));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([403]));
    const api = `http://127.0.0.1:${proxy.adminPort}/api/denials`;
    await vi.waitFor(async () => {
      expect(await (await fetch(api)).text()).toMatch(/"count":\s*16\b/);
    }, patience);
  });

  test("one that is killed takes its own tunnels only, is replaced and counted, and no counter goes back", async () => {
    await vi.waitFor(async () => expect(await proxy.metric("sallyport_tunnels_active")).toBe(tunnels.length), patience);
    const [victim = 0] = workersOf(proxy);
    // Its successor loads what the primary has read, and not what stands there now.
    await writeFile(join(proxy.directory, "site.yaml"), "no policy");
    // What a scrape has shown the primary knows, whatever happens then.
    let seen = await counters(proxy);
    process.kill(victim, "SIGKILL");
    const goneBack: string[] = [];
    await vi.waitFor(async () => {
      const now = await counters(proxy);
      for (const [series, value] of seen) if ((now.get(series) ?? 0) < value) goneBack.push(series);
      seen = now;
      expect([await restarts(proxy), await readiness(proxy)]).toEqual([1, 200]);
    }, patience);
    expect(seen.size).toBeGreaterThan(100);
    expect(goneBack).toEqual([]);
    expect(workersOf(proxy)).toHaveLength(2);
    expect(workersOf(proxy)).not.toContain(victim);
    expect(await proxy.logged((line) => line["event"] === "problem")).toMatchObject({
      message: expect.stringMatching(
        new RegExp(`^worker \\d \\(pid ${victim}\\) ended by SIGKILL; another is started`),
      ),
    });
    const alive = (await Promise.all(tunnels.map(echoes))).filter(Boolean).length;
    expect(alive).toBeGreaterThanOrEqual(3);
    expect(alive).toBeLessThanOrEqual(tunnels.length - 3);
    await vi.waitFor(async () => expect(await proxy.metric("sallyport_tunnels_active")).toBe(alive), patience);
    for (const tunnel of tunnels.splice(0)) tunnel.close();
    expect((await get(proxy)).status).toBe(200);
  });

  test("hold a client to its limit together", async () => {
    const held: RawClient[] = [];
    // One after the other, as quickly as it goes: a worker hears of the other's within milliseconds.
    for (;;) {
      const client = await connectRaw(proxy.port, { localAddress: "127.0.0.7" });
      held.push(client);
      client.send(`CONNECT ${host}:22 HTTP/1.1\r\nHost: ${host}:22\r\n\r\n`);
      if ((await client.readHead()).status !== 200) break;
      expect(held.length).toBeLessThan(600);
    }
    expect(held.length - 1).toBeGreaterThanOrEqual(300 - 300 / 32);
    expect(held.length - 1).toBeLessThanOrEqual(300 + 300 / 16);
    const other = await openTunnel(proxy, `${host}:22`, { localAddress: "127.0.0.8" });
    for (const client of [...held, other]) client.close();
    await vi.waitFor(async () => {
      (await openTunnel(proxy, `${host}:22`, { localAddress: "127.0.0.7" })).close();
    }, patience);
  });
});

describe.skipIf(!canSeeFiles)("the end", () => {
  test("a second signal ends all workers at once", async () => {
    const proxy = await start();
    const tunnels = await tunnelsInAll(proxy);
    const pids = workersOf(proxy);
    const exited = once(proxy.process, "exit");
    proxy.process.kill("SIGTERM");
    expect(await proxy.logged((line) => line["event"] === "drain")).toMatchObject({ connections: tunnels.length });
    expect(await readiness(proxy)).toBe(503);
    await expect(connectRaw(proxy.port)).rejects.toThrow(/ECONNREFUSED/);
    expect(await Promise.all(tunnels.map(echoes))).toEqual(tunnels.map(() => true));
    proxy.process.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(proxy.log.filter((line) => line["closed_by"] === "drain")).toHaveLength(tunnels.length);
    for (const tunnel of tunnels) tunnel.close();
    await proxy.stop();
  });

  test("workers do not outlive the primary, nor do they end by the signals that are meant for it", async () => {
    const proxy = await start();
    const pids = workersOf(proxy);
    for (const pid of pids) for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.kill(pid, signal);
    expect((await get(proxy)).status).toBe(200);
    expect(pids.filter(isAlive)).toEqual(pids);
    proxy.process.kill("SIGKILL");
    await vi.waitFor(() => expect(pids.filter(isAlive)).toEqual([]), patience);
    // A process is on its way out for a moment with its sockets still open.
    await vi.waitFor(() => expect(connectRaw(proxy.port)).rejects.toThrow(/ECONNREFUSED/), patience);
    await proxy.stop();
  });

  test("a port in use: the same words as with one worker, and nothing is left running", async () => {
    const taken = createServer();
    taken.listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    const said = await Promise.all(
      [1, 2].map(async (workers) => {
        const directory = await writeFiles({ workers, listen: [{ kind: "proxy", address: `127.0.0.1:${port}` }] });
        const child = spawn(process.execPath, [program, "serve"], {
          cwd: directory,
          stdio: ["ignore", "pipe", "pipe"],
        });
        let text = "";
        child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
        child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
        // Fulfilled when nobody holds its output any more, its workers included.
        const [code] = (await once(child, "close")) as [number];
        await rm(directory, { recursive: true });
        return { code, text: text.replaceAll(/^sallyport: (warning|hint): .*\n/gm, "") };
      }),
    );
    taken.close();
    expect(said[1]).toEqual(said[0]);
    expect(said[0]?.code).toBe(1);
    expect(said[0]?.text).toContain(`sallyport: error: 127.0.0.1:${port} is in use`);
  });
});

describe("the log file", () => {
  test("is written by all in whole lines, and all open it anew on SIGHUP", async () => {
    const [port, adminPort] = [await freePort(), await freePort()];
    const directory = await writeFiles({
      workers: 2,
      listen: [{ kind: "proxy", address: `127.0.0.1:${port}` }],
      admin: { address: `127.0.0.1:${adminPort}` },
      log: { file: "access.log" },
    });
    const file = join(directory, "access.log");
    const child = spawn(process.execPath, [program, "serve"], { cwd: directory, stdio: "ignore" });
    const exited = once(child, "exit");
    const proxy = { port, adminPort } as Sallyport;
    await vi.waitFor(async () => expect(await readiness(proxy)).toBe(200), patience);
    const requests = async (): Promise<void> => {
      await Promise.all(Array.from({ length: 40 }, () => get(proxy)));
    };
    const lines = async (path: string): Promise<unknown[]> =>
      (await readFile(path, "utf8"))
        .trimEnd()
        .split("\n")
        .map((line): unknown => JSON.parse(line));
    await requests();
    await vi.waitFor(async () => expect(await lines(file)).toHaveLength(41), patience);
    await rename(file, `${file}.1`);
    child.kill("SIGHUP");
    // Whoever has not yet heard of it writes to the old one: what counts is that in the end nobody does.
    await vi.waitFor(async () => {
      const before = await lines(`${file}.1`);
      await requests();
      expect(await lines(`${file}.1`)).toHaveLength(before.length);
      expect((await lines(file)).length).toBeGreaterThanOrEqual(40);
    }, patience);
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
    expect(await lines(file)).toContainEqual(expect.objectContaining({ event: "drain" }));
    await rm(directory, { recursive: true });
  });
});

/** Writes sallyport.yaml and a policy into a new directory. */
async function writeFiles(settings: Readonly<Record<string, unknown>>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-workers-"));
  await writeFile(join(directory, "site.yaml"), stringify({ version: 1, name: "site", ...policy }));
  await writeFile(
    join(directory, "sallyport.yaml"),
    stringify({
      version: 1,
      admin: { address: "127.0.0.1:0" },
      policy: ["site.yaml"],
      connect_to: [`${host}::127.0.0.1:${origin.port}`],
      ...settings,
    }),
  );
  return directory;
}
