/** SIGTERM in the middle of much traffic: every download that was begun is whole, and the process ends by itself. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { describe, expect, test } from "vitest";
import { helloFor, serverHello } from "../support/hello.ts";
import { connectRaw } from "../support/raw-http.ts";
import { startSallyport } from "../support/sallyport.ts";

const downloads = 20;
const tunnels = 20;
const hammers = 10;
const payload = randomBytes(2 ** 20);
const digest = sha256(payload);
const half = payload.length / 2;
const smallAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe.each([1, 2])("with workers: %i", (workers) => {
  test("no download is broken, no answer is cut short, and what is new is refused", { timeout: 60_000 }, async () => {
    let proceed = (): void => {};
    /** The origin holds the second halves back until the drain has begun. */
    const goOn = new Promise<void>((fulfil) => (proceed = fulfil));
    const origin = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", (first: Buffer) => {
        if (first.includes("/small")) return socket.end(smallAnswer);
        socket.write(first[0] === 22 ? serverHello() : `HTTP/1.1 200 OK\r\nContent-Length: ${payload.length}\r\n\r\n`);
        socket.write(payload.subarray(0, half));
        void goOn.then(() => socket.end(payload.subarray(half)));
      });
    });
    origin.listen(0, "127.0.0.1");
    await once(origin, "listening");
    const proxy = await startSallyport({
      policy: {
        rules: [
          { id: "web", hosts: ["web.example.com"], expect: "http" },
          { id: "tls", hosts: ["tls.example.com"], expect: "https" },
        ],
      },
      settings: {
        workers,
        connect_to: [`*::127.0.0.1:${(origin.address() as AddressInfo).port}`],
        limits: { drain_timeout: "45s" },
      },
    });
    const exited = once(proxy.process, "close");

    const get = "GET http://web.example.com/large HTTP/1.1\r\nHost: web.example.com\r\n\r\n";
    const running = [
      ...Array.from({ length: downloads }, () => download(proxy.port, Buffer.from(get))),
      ...Array.from({ length: tunnels }, () => {
        const head = Buffer.from("CONNECT tls.example.com:443 HTTP/1.1\r\nHost: tls.example.com:443\r\n\r\n");
        return download(proxy.port, Buffer.concat([head, helloFor("tls.example.com")]), serverHello().length);
      }),
    ];
    await Promise.all(running.map(({ halfway }) => halfway));
    const hammering = Array.from({ length: hammers }, () => hammer(proxy.port));
    await Promise.all(hammering.map(({ first }) => first));

    proxy.process.kill("SIGTERM");
    await proxy.logged((line) => line["event"] === "drain");
    // Those that ask again and again come to an end first: nothing new is taken on.
    const hammered = await Promise.all(hammering.map(({ ended }) => ended));
    expect(hammered.map(({ torn }) => torn)).toEqual(hammered.map(() => ""));
    expect(hammered.every(({ answered }) => answered > 0)).toBe(true);
    await expect(connectRaw(proxy.port)).rejects.toThrow(/ECONNREFUSED/);
    expect(proxy.process.exitCode).toBeNull();
    proceed();
    const results = await Promise.all(running.map(({ body }) => body));
    expect(results.map(sha256)).toEqual(results.map(() => digest));
    expect(await exited).toEqual([0, null]);
    const ends = proxy.log.filter((line) => line["event"] === "connect" || line["bytes_down"] === payload.length);
    expect(ends).toHaveLength(downloads + tunnels);
    expect(ends.filter((line) => line["outcome"] !== undefined || line["closed_by"] === "drain")).toEqual([]);
    await proxy.stop();
    origin.close();
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Reads a head (and `preface` bytes behind it), then a body. `halfway` is when half of it is here. */
function download(port: number, request: Uint8Array, preface = 0): { halfway: Promise<void>; body: Promise<Buffer> } {
  const socket = dial(port);
  socket.write(request);
  let isHalfway = (): void => {};
  const halfway = new Promise<void>((fulfil) => (isHalfway = fulfil));
  const body = (async (): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    let start = -1;
    let length = 0;
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (start < 0) {
        const end = Buffer.concat(chunks).indexOf("\r\n\r\n");
        if (end >= 0) start = end + 4 + preface;
      }
      if (start >= 0 && length - start >= half) isHalfway();
      if (start >= 0 && length - start >= payload.length) break;
    }
    return Buffer.concat(chunks).subarray(start);
  })();
  return { halfway, body };
}

/** Asks one small thing after the other on one connection until it is closed; `torn` is an answer that was not whole. */
function hammer(port: number): { first: Promise<void>; ended: Promise<{ answered: number; torn: string }> } {
  const socket = dial(port);
  const request = "GET http://web.example.com/small HTTP/1.1\r\nHost: web.example.com\r\n\r\n";
  let isFirst = (): void => {};
  const first = new Promise<void>((fulfil) => (isFirst = fulfil));
  const ended = (async () => {
    let answered = 0;
    let pending = "";
    socket.write(request);
    try {
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        pending += chunk.toString("latin1");
        const end = pending.indexOf("\r\n\r\n");
        if (end < 0) continue;
        const length = Number(/content-length: (\d+)/i.exec(pending)?.[1]);
        if (pending.length < end + 4 + length) continue;
        if (pending.startsWith("HTTP/1.1 200")) answered += 1;
        pending = "";
        isFirst();
        if (!socket.writableEnded) socket.write(request);
      }
    } catch {
      // A request that crossed the close on its way; what counts is that no answer was begun.
    }
    return { answered, torn: pending };
  })();
  return { first, ended };
}

function dial(port: number): Socket {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  return socket;
}
