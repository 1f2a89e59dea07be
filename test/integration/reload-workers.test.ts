/** Reload of several workers as one, and reload again and again under load. */
import { type Socket, connect } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { canSeeFiles } from "../support/open-resources.ts";
import { workersOf } from "../support/processes.ts";
import { connectRaw } from "../support/raw-http.ts";
import { ask, policyWith, postReload, reloadLine, replaceFile } from "../support/reload.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { openTunnel } from "../support/tunnel.ts";

const steady = [
  { id: "both", hosts: ["both.example.com"], expect: "http" },
  { id: "raw", hosts: ["raw.example.com"], expect: "tcp:22" },
];
const first = policyWith([...steady, { id: "old", hosts: ["old.example.com"], expect: "http" }]);
const second = policyWith([...steady, { id: "new", hosts: ["new.example.com"], expect: "http" }]);
const patience = { timeout: 15_000, interval: 20 };

let origin: TcpOrigin;
/** Answers every request, and echoes what is none. */
beforeAll(async () => {
  origin = await startTcpOrigin(({ socket }) => {
    socket.on("end", () => socket.end());
    socket.on("data", (chunk: Buffer) => {
      if (!chunk.toString("latin1").startsWith("GET ")) return void socket.write(chunk);
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
});
afterAll(() => origin.close());

let proxy: Sallyport | undefined;
afterEach(async () => {
  expect(await proxy?.stop()).toBe(0);
});

async function start(workers: number): Promise<Sallyport> {
  proxy = await startSallyport({
    policy: first,
    settings: {
      workers,
      connect_to: [`*::127.0.0.1:${origin.port}`],
      reload: { watch: false, on_revoke: "close" },
    },
  });
  return proxy;
}

async function statusOf(to: Sallyport, name: string): Promise<number> {
  const client = await connectRaw(to.port);
  client.send(`GET http://${name}.example.com/ HTTP/1.1\r\nHost: ${name}.example.com\r\nConnection: close\r\n\r\n`);
  const { status } = await client.readHead();
  client.close();
  return status;
}

/** Of many connections at a time, so that every worker has some. */
async function statusesOf(to: Sallyport, name: string): Promise<readonly number[]> {
  const all = await Promise.all(Array.from({ length: 40 }, () => statusOf(to, name)));
  return [...new Set(all)];
}

describe.skipIf(!canSeeFiles)("two workers", () => {
  test("take a new policy together, and a worker that begins later has it too", async () => {
    const two = await start(2);
    const pids = workersOf(two);
    expect(await statusesOf(two, "old")).toEqual([200]);
    await replaceFile(two, second);
    expect((await postReload(two)).body).toMatchObject({ result: "reloaded", generation: 2 });
    expect(await statusesOf(two, "old")).toEqual([403]);
    expect(await statusesOf(two, "new")).toEqual([200]);
    expect(workersOf(two)).toEqual(pids);
    expect(await two.metric('sallyport_policy_reloads_total{result="success"}')).toBe(1);
    expect(await two.metric("sallyport_policy_last_reload_successful")).toBe(1);
    expect(await two.metric("sallyport_policy_rules")).toBe(3);

    // What stands on the disk now is not what is in force.
    await replaceFile(two, "broken");
    process.kill(pids[0]!, "SIGKILL");
    await vi.waitFor(async () => {
      expect(await two.metric("sallyport_worker_restarts_total")).toBe(1);
      expect((await ask(two, "/readyz")).status).toBe(200);
    }, patience);
    expect(await statusesOf(two, "old")).toEqual([403]);
    expect(await statusesOf(two, "new")).toEqual([200]);
  });

  test("a bad policy changes neither of them", async () => {
    const two = await start(2);
    await replaceFile(two, "rules: [");
    expect((await postReload(two)).status).toBe(422);
    expect(await statusesOf(two, "old")).toEqual([200]);
    expect(await two.metric("sallyport_policy_last_reload_successful")).toBe(0);
    expect((await ask(two, "/readyz")).status).toBe(200);
  });

  test("one that cannot take it in time: nothing changes anywhere, and the next try works", async () => {
    const two = await start(2);
    const stopped = workersOf(two)[0]!;
    process.kill(stopped, "SIGSTOP");
    await replaceFile(two, second);
    const { status, body } = await postReload(two);
    process.kill(stopped, "SIGCONT");
    expect(status).toBe(422);
    expect(JSON.stringify(body["problems"])).toMatch(/worker \d: error: has not loaded it in time/);
    expect(await reloadLine(two)).toMatchObject({ level: "error", result: "failure" });
    expect(await statusesOf(two, "old")).toEqual([200]);
    expect((await postReload(two)).body).toMatchObject({ result: "reloaded", generation: 2 });
    expect(await statusesOf(two, "old")).toEqual([403]);
    expect(workersOf(two)).toContain(stopped);
  });

  test("one that dies while all load it is replaced by one that has what is then in force", async () => {
    const two = await start(2);
    const victim = workersOf(two)[0]!;
    process.kill(victim, "SIGSTOP");
    await replaceFile(two, second);
    const answer = postReload(two);
    process.kill(victim, "SIGKILL");
    expect((await answer).body).toMatchObject({ result: "reloaded", generation: 2 });
    await vi.waitFor(async () => expect((await ask(two, "/readyz")).status).toBe(200), patience);
    expect(workersOf(two)).not.toContain(victim);
    expect(await statusesOf(two, "old")).toEqual([403]);
    expect(await statusesOf(two, "new")).toEqual([200]);
  });
});

const reloads = 50;
const inForce = (generation: number): readonly unknown[] => [200, "reloaded", generation, 0];

describe.each([1, 2])("with workers: %i", (workers) => {
  test(`${reloads} reloads under load lose nothing`, { timeout: 60_000 }, async () => {
    const busy = await start(workers);
    const tunnels = await Promise.all(Array.from({ length: 10 }, () => openTunnel(busy, "raw.example.com:22")));
    const hammers = Array.from({ length: 8 }, () => hammer(busy.port));
    let echoes = 0;
    const end = new AbortController();
    const echoing = Promise.all(
      tunnels.map(async (tunnel) => {
        while (!end.signal.aborted) {
          tunnel.send("ping");
          expect((await tunnel.readBytes(4)).toString()).toBe("ping");
          echoes += 1;
        }
      }),
    );
    const readiness = new Set<number>();
    for (let i = 1; i <= reloads; i++) {
      await replaceFile(busy, i % 2 === 1 ? second : first);
      const { status, body } = await postReload(busy);
      expect([status, body["result"], body["generation"], body["tunnels_revoked"]]).toEqual(inForce(i + 1));
      readiness.add((await ask(busy, "/readyz")).status);
    }
    end.abort();
    await echoing;
    const ended = await Promise.all(hammers.map((one) => one.end()));
    expect(ended.map(({ torn, strange }) => [torn, strange])).toEqual(ended.map(() => ["", 0]));
    expect(ended.reduce((sum, { answered }) => sum + answered, 0)).toBeGreaterThan(reloads);
    expect(echoes).toBeGreaterThan(reloads);
    expect([...readiness]).toEqual([200]);
    expect(await busy.metric('sallyport_policy_reloads_total{result="success"}')).toBe(reloads);
    expect(busy.log.filter((line) => line["event"] === "problem")).toEqual([]);
    for (const tunnel of tunnels) tunnel.close();
  });
});

type Hammered = { readonly answered: number; readonly torn: string; readonly strange: number };

/** Asks one thing after the other on one connection; `torn` is an answer that was not whole, `strange` counts those that were not 200. */
function hammer(port: number): { readonly end: () => Promise<Hammered> } {
  const socket: Socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const request = "GET http://both.example.com/ HTTP/1.1\r\nHost: both.example.com\r\n\r\n";
  let [pending, answered, strange, isOver] = ["", 0, 0, false];
  const closed = new Promise<void>((fulfil) => socket.once("close", () => fulfil()));
  socket.on("error", () => (strange += 1));
  socket.on("end", () => {
    if (!isOver) strange += 1;
  });
  socket.on("data", (chunk: Buffer) => {
    pending += chunk.toString("latin1");
    if (!pending.endsWith("\r\n\r\nok")) return;
    if (!pending.startsWith("HTTP/1.1 200 ")) strange += 1;
    answered += 1;
    pending = "";
    if (isOver) socket.end();
    else socket.write(request);
  });
  socket.write(request);
  return {
    end: async () => {
      isOver = true;
      await closed;
      return { answered, torn: pending, strange };
    },
  };
}
