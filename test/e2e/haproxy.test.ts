/**
 * Two Sallyports behind a real HAProxy, configured by deploy/haproxy/haproxy.cfg: the agents get what they need through it,
 * and restarting both, one after the other, loses no exchange that was begun.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runDeliveryOptimization } from "../support/agents/delivery-optimization.ts";
import { attempt, nearMisses } from "../support/agents/near-misses.ts";
import { type AgentName, automationAnywherePack, roster } from "../support/agents/roster.ts";
import { type Haproxy, startHaproxy } from "../support/haproxy.ts";
import { helloFor, serverHello } from "../support/hello.ts";
import { type Lab, startLab } from "../support/lab/lab.ts";
import { freePort } from "../support/ports.ts";
import { connectRaw } from "../support/raw-http.ts";
import { type LogLine, type Sallyport, startSallyport } from "../support/sallyport.ts";
import { describeWithTool } from "../support/tools.ts";

/** HAProxy says whose connections they are, as the shipped file has it; false tries all this as plain TCP. */
const proxyProtocol = true;

const defaultPolicy = fileURLToPath(new URL("../../policies/default.yaml", import.meta.url));
/** Of the 216 of Delivery Optimization. */
const pieces = 6;
const [nearMiss] = nearMisses;

describeWithTool(["haproxy"], "two Sallyports behind HAProxy, for the agents", () => {
  let lab: Lab;
  let pair: readonly [Sallyport, Sallyport];
  /** Not behind HAProxy, to compare with. */
  let alone: Sallyport;
  let haproxy: Haproxy;

  beforeAll(async () => {
    lab = await startLab();
    pair = [await startAgentsProxy(lab, listenerExtras()), await startAgentsProxy(lab, listenerExtras())];
    alone = await startAgentsProxy(lab, {});
    haproxy = await startHaproxy(pair, { proxyProtocol });
  });

  afterAll(async () => {
    await haproxy?.stop();
    for (const one of [...pair, alone]) expect(await one.stop()).toBe(0);
    await lab?.close();
  });

  test.each(roster.map(({ name, run }) => [name, run] as const))(
    "%s gets what it gets without it",
    async (name, run) => {
      const through = async (port: number): Promise<readonly string[]> => {
        const around = { proxyPort: port, ca: lab.ca };
        const steps = name === longest ? await runDeliveryOptimization(around, pieces) : await run(around);
        return steps.map(({ asked, answered, heard }) => `${asked}: ${answered}, ${String(heard)}`).toSorted();
      };
      // Without PROXY protocol the pair can be asked directly; with it, a third one would be needed, and the answers are known.
      const behind = await through(haproxy.port);
      expect(behind.length).toBeGreaterThan(0);
      if (!proxyProtocol) expect(behind).toEqual(await through(pair[0].port));
    },
  );

  test("what no agent may do is denied, with the same words", async () => {
    const { told } = await attempt(haproxy.port, nearMiss!);
    expect(told).toContain(nearMiss!.reason);
  });

  test("both have had a part of it, and the log has the client that asked", async () => {
    const address = proxyProtocol ? "127.0.0.9" : "127.0.0.1";
    const client = await connectRaw(haproxy.port, { localAddress: "127.0.0.9" });
    client.send("CONNECT nobody.example:443 HTTP/1.1\r\nHost: nobody.example:443\r\n\r\n");
    expect((await client.readHead()).status).toBe(403);
    client.close();
    const lines = (): readonly LogLine[] => pair.flatMap(({ log }) => log);
    await expect.poll(() => lines().find(({ host }) => host === "nobody.example")).toMatchObject({ client: address });
    const shares = await haproxy.connections();
    expect(shares).toHaveLength(2);
    expect(Math.min(...shares)).toBeGreaterThan(0);
  });
});

describeWithTool(["haproxy"], "two Sallyports behind HAProxy that are restarted one after the other", () => {
  test("no exchange that was begun is lost, and nobody waits for the other", { timeout: 90_000 }, async () => {
    const origin = await startSlowOrigin();
    const ports = [await freePort(), await freePort(), await freePort(), await freePort()] as const;
    const all: Sallyport[] = [];
    const start = async (number: 0 | 1): Promise<Sallyport> => {
      const started = await startSallyport({
        policy: {
          rules: [
            { id: "web", hosts: ["web.example.com"], expect: "http" },
            { id: "tls", hosts: ["tls.example.com"], expect: "https" },
          ],
        },
        settings: {
          listen: [{ kind: "proxy", address: `127.0.0.1:${ports[number]}`, ...listenerExtras() }],
          admin: { address: `127.0.0.1:${ports[number === 0 ? 2 : 3]}` },
          connect_to: [`*::127.0.0.1:${origin.port}`],
        },
      });
      all.push(started);
      return started;
    };
    const running = [await start(0), await start(1)];
    const haproxy = await startHaproxy(running as [Sallyport, Sallyport], { proxyProtocol });
    const bothUp = (): Promise<void> =>
      expect.poll(haproxy.states, { timeout: 10_000, interval: 20 }).toEqual(["UP", "UP"]);
    await bothUp();

    const enough = new AbortController();
    const clients = Array.from({ length: 8 }, async (_, number) => {
      const outcomes: Outcome[] = [];
      while (!enough.signal.aborted)
        outcomes.push(await (number % 2 === 0 ? download : downloadInTunnel)(haproxy.port));
      return outcomes;
    });
    for (const number of [0, 1] as const) {
      // In the middle of downloads on both: the origin has sent a part of them.
      await origin.untilMore(8);
      const before = running[number]!;
      const stopped = before.stop();
      await before.logged(({ event }) => event === "drain");
      await origin.untilMore(8);
      expect(await stopped).toBe(0);
      running[number] = await start(number);
      await bothUp();
    }
    // Both serve again.
    for (const one of running) await one.logged((line) => line["status"] === 200);
    enough.abort();
    const outcomes = (await Promise.all(clients)).flat();

    const count = (wanted: Outcome): number => outcomes.filter((outcome) => outcome === wanted).length;
    expect(count("whole")).toBeGreaterThan(30);
    expect(count("torn")).toBe(0);
    // A connection that waited to be accepted when its listener was closed: the client has not had a byte, and asks again.
    expect(count("unanswered")).toBeLessThanOrEqual(2);
    // What clients have had in full is in the log of the one or the other, as what it was.
    const ended = (): number =>
      all.flatMap(({ log }) => log).filter((line) => line["status"] === 200 && line["outcome"] === undefined).length;
    await expect.poll(ended).toBeGreaterThanOrEqual(count("whole"));
    expect(all.flatMap(({ log }) => log).filter((line) => line["closed_by"] === "drain")).toEqual([]);
    await haproxy.stop();
    for (const one of running) expect(await one.stop()).toBe(0);
    await origin.close();
  });
});

const longest: AgentName = "Delivery Optimization";

function startAgentsProxy(lab: Lab, extras: Readonly<Record<string, unknown>>): Promise<Sallyport> {
  return startSallyport({
    policy: { use: [automationAnywherePack] },
    settings: {
      listen: [{ kind: "proxy", address: "127.0.0.1:0", ...extras }],
      policy: [defaultPolicy, "site.yaml"],
      connect_to: lab.connectTo,
    },
  });
}

function listenerExtras(): Readonly<Record<string, unknown>> {
  return proxyProtocol ? { proxy_protocol: { from: ["127.0.0.0/8"] } } : {};
}

type Outcome = "whole" | "torn" | "unanswered";

const chunk = randomBytes(32 * 1024);
const chunks = 12;
const size = chunk.length * chunks;
const chunkEveryMs = 15;

type SlowOrigin = {
  readonly port: number;
  /** Resolves when so many further chunks have been sent. */
  readonly untilMore: (count: number) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Answers plain requests and hellos alike with a body that takes its time. */
async function startSlowOrigin(): Promise<SlowOrigin> {
  let sent = 0;
  const waiting = new Set<() => void>();
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.once("data", (first: Buffer) => {
      socket.write(first[0] === 22 ? serverHello() : `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      let left = chunks;
      const timer = setInterval(() => {
        left -= 1;
        sent += 1;
        if (left === 0) {
          clearInterval(timer);
          socket.end(chunk);
        } else {
          socket.write(chunk);
        }
        for (const look of waiting) look();
      }, chunkEveryMs);
      socket.on("close", () => clearInterval(timer));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    untilMore: (count) => {
      const wanted = sent + count;
      return new Promise((fulfil) => {
        const look = (): void => {
          if (sent < wanted) return;
          waiting.delete(look);
          fulfil();
        };
        waiting.add(look);
      });
    },
    close: async () => {
      server.close();
      await once(server, "close");
    },
  };
}

function download(port: number): Promise<Outcome> {
  const head = "GET http://web.example.com/large HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n";
  return read(port, Buffer.from(head), 0);
}

function downloadInTunnel(port: number): Promise<Outcome> {
  const head = Buffer.from("CONNECT tls.example.com:443 HTTP/1.1\r\nHost: tls.example.com:443\r\n\r\n");
  return read(port, Buffer.concat([head, helloFor("tls.example.com")]), serverHello().length);
}

/** Sends a request and reads until the end; `preface` bytes stand between the head and the body. */
async function read(port: number, request: Uint8Array, preface: number): Promise<Outcome> {
  const socket: Socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  socket.write(request);
  const parts: Buffer[] = [];
  try {
    for await (const part of socket as AsyncIterable<Buffer>) parts.push(part);
  } catch {
    // A reset: what came before it says how much was lost.
  }
  socket.destroy();
  const bytes = Buffer.concat(parts);
  if (bytes.length === 0) return "unanswered";
  const head = bytes.indexOf("\r\n\r\n");
  const isOk = bytes.subarray(0, 12).toString("latin1") === "HTTP/1.1 200";
  const body = bytes.subarray(head + 4 + preface);
  const isWhole = isOk && body.length === size && body.subarray(-chunk.length).equals(chunk);
  return isWhole ? "whole" : "torn";
}
