/** The life of an open tunnel: ends and resets on either side in every state, slow readers, silence, and that nothing is left. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { helloFor, serverHello } from "../support/hello.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type Recording, type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { expectMetric, openTunnel, record, sendConnect } from "../support/tunnel.ts";

const hello = helloFor("tls.example.com");
const answer = Buffer.from(serverHello());
let origin: TcpOrigin;
let proxy: Sallyport;
/** Undefined where the system does not say. */
let filesAtRest: number | undefined;
let onAccept: (recording: Recording) => void = () => {};

beforeAll(async () => {
  origin = await startTcpOrigin((recording) => onAccept(recording));
  proxy = await startSallyport({
    policy: {
      rules: [
        { id: "raw", hosts: ["raw.example.com"], expect: "tcp:443" },
        { id: "tls", hosts: ["tls.example.com"], expect: "https" },
        { id: "idle", hosts: ["idle.example.com"], expect: "tcp:443", idle_timeout: "1s" },
        { id: "web", hosts: ["web.example.com"], expect: "http" },
      ],
    },
    settings: { connect_to: [`*::127.0.0.1:${origin.port}`], limits: { keepalive_timeout: "300ms" } },
  });
  // The first exchange opens what stays open.
  const { client } = await openRaw();
  client.close();
  origin.recordings[0]!.socket.destroy();
  await expectMetric(proxy, "sallyport_tunnels_active", 0);
  filesAtRest = await proxy.metric("process_open_fds");
});
afterEach(async () => {
  onAccept = () => {};
  for (const { socket } of origin.recordings) socket.destroy();
  // Whatever a test did: no tunnel is counted that is not there, and no socket is left.
  await expectMetric(proxy, "sallyport_tunnels_active", 0);
  await expectMetric(proxy, "process_open_fds", filesAtRest);
});
afterAll(async () => {
  expect(await proxy.stop()).toBe(0);
  await origin.close();
});

type Ends = { readonly client: RawClient; readonly server: Recording; readonly on: Awaited<ReturnType<typeof record>> };

/** A tunnel to bytes of any kind, with both of its ends. */
async function openRaw(host = "raw.example.com"): Promise<Ends> {
  const on = await record(proxy, origin);
  const number = origin.recordings.length;
  const client = await openTunnel(proxy, `${host}:443`);
  return { client, server: await origin.recording(number), on };
}

/** An https tunnel after both hellos. */
async function openTls(): Promise<Ends> {
  const on = await record(proxy, origin);
  const number = origin.recordings.length;
  const client = await openTunnel(proxy, "tls.example.com:443", { behind: hello });
  const server = await origin.recording(number);
  await server.waitForBytes(hello.length);
  server.socket.write(answer);
  await client.readBytes(answer.length);
  return { client, server, on };
}

/** How a socket comes to its end: true is a reset. */
function closedByReset(socket: Socket): Promise<boolean> {
  return new Promise((settle) => socket.once("close", settle));
}

describe("any bytes pass a tcp tunnel both ways", () => {
  test("all 256 values, from either side first", async () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const { client, server, on } = await openRaw();
    server.socket.write(every);
    expect((await client.readBytes(256)).equals(every)).toBe(true);
    client.send(every);
    expect((await server.waitForBytes(256)).equals(every)).toBe(true);
    client.end();
    server.socket.end();
    expect(await client.waitClose()).toBe("fin");
    expect(await on.line()).toMatchObject({
      verdict: "allow",
      scheme: "tcp",
      bytes_up: 256,
      bytes_down: 256,
      closed_by: "client",
    });
    expect(await on.growth('sallyport_transferred_bytes_total{direction="up",scheme="tcp"}')).toBe(256);
    expect(await on.growth('sallyport_tunnels_total{result="ok"}')).toBe(1);
    expect(await on.growth('sallyport_sni_inspections_total{result="not_tls"}')).toBe(0);
  });

  test("a banner that the server sends before the client says anything", async () => {
    onAccept = ({ socket }) => socket.write("SSH-2.0-banner\r\n");
    const { client } = await openRaw();
    expect((await client.readBytes(16)).toString()).toBe("SSH-2.0-banner\r\n");
    client.close();
  });

  test("what came in one segment with the CONNECT", async () => {
    const number = origin.recordings.length;
    const client = await openTunnel(proxy, "raw.example.com:443", { behind: "SSH-2.0-client\r\n" });
    expect((await (await origin.recording(number)).waitForBytes(16)).toString()).toBe("SSH-2.0-client\r\n");
    client.close();
  });

  test("300 KiB that a client sends before it has its 200: more than is held, and all of it arrives", async () => {
    const number = origin.recordings.length;
    const sent = Buffer.alloc(300 * 1024, "0123456789");
    const client = await sendConnect(proxy, "raw.example.com:443", { behind: sent });
    expect((await client.readHead()).status).toBe(200);
    const server = await origin.recording(number);
    expect((await server.waitForBytes(sent.length)).equals(sent)).toBe(true);
    client.close();
  });
});

describe("half-close", () => {
  for (const [kind, open] of [
    ["tcp", openRaw],
    ["https", openTls],
  ] as const) {
    test(`${kind}: the client ends, and the origin still sends`, async () => {
      const { client, server, on } = await open();
      client.send("request");
      client.end();
      await server.ended;
      server.socket.write("late ");
      expect((await client.readBytes(5)).toString()).toBe("late ");
      server.socket.end("answer");
      expect((await client.readAll()).toString()).toBe("answer");
      const line = await on.line();
      expect(line).toMatchObject({ verdict: "allow", closed_by: "client" });
      expect(line["outcome"]).toBeUndefined();
    });

    test(`${kind}: the origin ends, and the client still sends`, async () => {
      const { client, server, on } = await open();
      server.socket.end("bye");
      expect((await client.readAll()).toString()).toBe("bye");
      const before = server.bytes().length;
      client.send("upload");
      expect((await server.waitForBytes(before + 6)).subarray(before).toString()).toBe("upload");
      client.end();
      await server.ended;
      const line = await on.line();
      expect(line).toMatchObject({ verdict: "allow", closed_by: "upstream" });
      expect(line["outcome"]).toBeUndefined();
    });
  }

  test("a client that sent its bytes and its end before the 200", async () => {
    const number = origin.recordings.length;
    const client = await sendConnect(proxy, "raw.example.com:443", { behind: "question" });
    client.end();
    expect((await client.readHead()).status).toBe(200);
    const server = await origin.recording(number);
    await server.ended;
    expect(server.bytes().toString()).toBe("question");
    server.socket.end("answer");
    expect((await client.readAll()).toString()).toBe("answer");
  });

  test("an origin that sent its bytes and its end at once", async () => {
    onAccept = ({ socket }) => socket.end("take it");
    const { client } = await openRaw();
    expect((await client.readAll()).toString()).toBe("take it");
    client.end();
  });

  test("a client that ends while the server's answer is awaited", async () => {
    const number = origin.recordings.length;
    const client = await openTunnel(proxy, "tls.example.com:443", { behind: hello });
    const server = await origin.recording(number);
    await server.waitForBytes(hello.length);
    client.end();
    server.socket.end(answer);
    expect((await client.readAll()).equals(answer)).toBe(true);
    await server.ended;
  });
});

describe("a reset", () => {
  test("by the client while its hello is awaited closes the origin's connection, with not a byte on it", async () => {
    const on = await record(proxy, origin);
    const number = origin.recordings.length;
    const client = await openTunnel(proxy, "tls.example.com:443");
    client.detach().resetAndDestroy();
    await (
      await origin.recording(number)
    ).ended;
    expect(await on.line()).toMatchObject({ verdict: "allow", outcome: "client_aborted", closed_by: "client" });
    expect(on.atOrigin()).toEqual({ connections: 1, bytes: 0 });
  });

  test("by the client while the server's answer is awaited is seen at once", async () => {
    const on = await record(proxy, origin);
    const number = origin.recordings.length;
    const client = await openTunnel(proxy, "tls.example.com:443", { behind: hello });
    const server = await origin.recording(number);
    await server.waitForBytes(hello.length);
    client.detach().resetAndDestroy();
    await server.ended;
    expect(await on.line()).toMatchObject({ verdict: "allow", outcome: "client_aborted", closed_by: "client" });
  });

  test("by the origin before the client has said anything is told as a reset when it does", async () => {
    const on = await record(proxy, origin);
    const number = origin.recordings.length;
    const client = await openTunnel(proxy, "tls.example.com:443");
    (await origin.recording(number)).socket.resetAndDestroy();
    client.send(hello);
    expect(await client.waitClose()).toBe("reset");
    expect(await on.line()).toMatchObject({
      verdict: "allow",
      outcome: "connection_terminated",
      closed_by: "upstream",
    });
  });

  for (const [kind, open] of [
    ["tcp", openRaw],
    ["https", openTls],
  ] as const) {
    test(`${kind}: by the client reaches the origin as a reset`, async () => {
      const { client, server, on } = await open();
      const reset = closedByReset(server.socket);
      client.detach().resetAndDestroy();
      expect(await reset).toBe(true);
      expect(await on.line()).toMatchObject({ verdict: "allow", outcome: "client_aborted", closed_by: "client" });
      expect(await on.growth('sallyport_tunnels_total{result="client_aborted"}')).toBe(1);
    });

    test(`${kind}: by the origin reaches the client as a reset`, async () => {
      const { client, server, on } = await open();
      server.socket.resetAndDestroy();
      expect(await client.waitClose()).toBe("reset");
      client.close();
      expect(await on.line()).toMatchObject({ outcome: "connection_terminated", closed_by: "upstream", level: "warn" });
      expect(await on.growth('sallyport_tunnels_total{result="connection_terminated"}')).toBe(1);
    });
  }

  test("by a client that had ended its side, and does not want the rest, stops the origin", async () => {
    const { client, server, on } = await openRaw();
    client.end();
    await server.ended;
    const reset = closedByReset(server.socket);
    client.detach().resetAndDestroy();
    // After its FIN nobody reads of it any more: the reset shows when something is written to it.
    const talk = setInterval(() => server.socket.write("more"), 5);
    expect(await reset).toBe(true);
    clearInterval(talk);
    expect(await on.line()).toMatchObject({ outcome: "client_aborted", closed_by: "client" });
  });

  test("by an origin that had said all is no failure, and the client has read all", async () => {
    const { client, server, on } = await openRaw();
    server.socket.end("all of it");
    expect((await client.readAll()).toString()).toBe("all of it");
    // As a server does that has closed, when the client's close_notify comes in.
    server.socket.resetAndDestroy();
    client.send("more");
    const line = await on.line();
    expect(line).toMatchObject({ verdict: "allow", closed_by: "upstream" });
    expect(line["outcome"]).toBeUndefined();
    client.close();
  });

  test("in the middle of a download does not pass for its end", async () => {
    const { client, server } = await openRaw();
    server.socket.write("half of ");
    await client.readBytes(8);
    server.socket.resetAndDestroy();
    await expect(client.readAll()).rejects.toThrow(/reset/);
    client.close();
  });

  test("of both ends at once, a hundred times: no slot is lost", async () => {
    for (let round = 0; round < 10; round++) {
      const number = origin.recordings.length;
      const clients = await Promise.all(
        Array.from({ length: 10 }, () => openTunnel(proxy, "raw.example.com:443", { behind: "x" })),
      );
      await Promise.all(clients.map((_, i) => origin.recording(number + i).then((server) => server.waitForBytes(1))));
      clients.forEach((client, i) => {
        const server = origin.recordings[number + i]!.socket;
        const socket = client.detach();
        // FIN, data and RST in every order that fits into one turn of the loop.
        if (i % 2 === 0) server.end("bye");
        if (i % 3 === 0) socket.end("bye");
        if (i % 5 < 2) server.resetAndDestroy();
        if (i % 5 > 2) socket.resetAndDestroy();
        setImmediate(() => {
          socket.destroy();
          server.destroy();
        });
      });
    }
    await expectMetric(proxy, "sallyport_tunnels_active", 0);
  });
});

describe("a slow reader", () => {
  const chunk = Buffer.alloc(64 * 1024, "0123456789abcdef");
  const total = 50 * 1024 * 1024;
  /** What the kernel's buffers and Node's own may hold for one tunnel, with some room for the garbage collector. */
  const mostGrowth = 24 * 1024 * 1024;

  /** Writes all, as fast as the peer reads. */
  async function pour(socket: Socket): Promise<void> {
    for (let sent = 0; sent < total; sent += chunk.length) {
      if (!socket.write(chunk)) await once(socket, "drain");
    }
    socket.end();
  }

  /** Fulfilled when bytes have stopped going out of the pouring socket. */
  async function stalled(socket: Socket): Promise<void> {
    let before = -1;
    await expect
      .poll(
        () => {
          const now = socket.bytesWritten - socket.writableLength;
          const same = now === before;
          before = now;
          return same;
        },
        { interval: 150, timeout: 5000 },
      )
      .toBe(true);
  }

  /** Counts what a paused socket gets from now on, and whether it is what was poured. */
  async function drainAll(socket: Socket): Promise<number> {
    let received = 0;
    for await (const part of socket as AsyncIterable<Buffer>) {
      if (!part.equals(expected(received, part.length))) throw new Error(`other bytes at ${received}`);
      received += part.length;
    }
    return received;
  }

  function expected(at: number, length: number): Buffer {
    const start = at % 16;
    const repeated = Buffer.alloc(Math.ceil((start + length) / 16) * 16, "0123456789abcdef");
    return repeated.subarray(start, start + length);
  }

  test("of a 50 MiB download makes the origin wait, and not the proxy grow", async () => {
    const { client, server } = await openRaw();
    const socket = client.detach();
    const before = (await proxy.metric("process_resident_memory_bytes"))!;
    const poured = pour(server.socket);
    await stalled(server.socket);
    expect(server.socket.bytesWritten - server.socket.writableLength).toBeLessThan(total);
    expect((await proxy.metric("process_resident_memory_bytes"))! - before).toBeLessThan(mostGrowth);
    expect(await drainAll(socket)).toBe(total);
    await poured;
    socket.end();
  });

  test("of a 50 MiB upload makes the client wait, and not the proxy grow", async () => {
    const { client, server } = await openRaw();
    server.socket.removeAllListeners("data");
    server.socket.pause();
    const socket = client.detach();
    const before = (await proxy.metric("process_resident_memory_bytes"))!;
    const poured = pour(socket);
    await stalled(socket);
    expect(socket.bytesWritten - socket.writableLength).toBeLessThan(total);
    expect((await proxy.metric("process_resident_memory_bytes"))! - before).toBeLessThan(mostGrowth);
    expect(await drainAll(server.socket)).toBe(total);
    await poured;
    server.socket.end();
    socket.resume();
  });
});

describe("silence", () => {
  test("on both sides for as long as the rule lets ends the tunnel", async () => {
    const { client, server, on } = await openRaw("idle.example.com");
    client.send("x");
    await server.waitForBytes(1);
    expect(await client.waitClose()).toBe("fin");
    await server.ended;
    client.close();
    expect(await on.line()).toMatchObject({
      verdict: "allow",
      outcome: "idle_timeout",
      closed_by: "idle",
      bytes_up: 1,
    });
    expect(await on.growth('sallyport_tunnels_total{result="idle_timeout"}')).toBe(1);
  });

  test("on the half that is left, when the other has ended, does the same", async () => {
    const { client, server, on } = await openRaw("idle.example.com");
    client.end();
    await server.ended;
    expect(await client.waitClose()).toBe("fin");
    client.close();
    expect(await on.line()).toMatchObject({ outcome: "idle_timeout" });
  });

  test("on one side alone does not: bytes one way keep the tunnel open", async () => {
    const { client, server, on } = await openRaw("idle.example.com");
    const startedAt = performance.now();
    while (performance.now() - startedAt < 1300) {
      server.socket.write(".");
      await client.readBytes(1);
      await new Promise((later) => setTimeout(later, 200));
    }
    server.socket.end();
    client.end();
    const line = await on.line();
    expect(line["outcome"]).toBeUndefined();
    expect(line["duration_ms"]).toBeGreaterThan(1300);
  });
});

describe("a connection that carried plain requests before", () => {
  test("becomes a tunnel that outlives keepalive_timeout", async () => {
    onAccept = (recording) => {
      recording.socket.once("data", (chunk: Buffer) => {
        if (chunk.toString("latin1").startsWith("GET")) recording.socket.end("HTTP/1.1 204 No Content\r\n\r\n");
      });
    };
    const get = "GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\n\r\n";
    const client = await connectRaw(proxy.port);
    const idle = await connectRaw(proxy.port);
    client.send(get);
    expect((await client.readHead()).status).toBe(204);
    const number = origin.recordings.length;
    client.send("CONNECT raw.example.com:443 HTTP/1.1\r\n\r\n");
    expect((await client.readHead()).status).toBe(200);
    // Another connection that only sent a request is closed after keepalive_timeout: by then ours would be, too.
    idle.send(get);
    expect((await idle.readHead()).status).toBe(204);
    await idle.waitClose();
    idle.close();
    client.send("still here");
    expect((await (await origin.recording(number)).waitForBytes(10)).toString()).toBe("still here");
    client.close();
  });

  test("waits with its CONNECT until the answer before it is sent, and is not dialled when the client leaves", async () => {
    const number = origin.recordings.length;
    const on = await record(proxy, origin);
    const client = await connectRaw(proxy.port);
    client.send(
      "GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\n\r\nCONNECT raw.example.com:443 HTTP/1.1\r\n\r\n",
    );
    await (await origin.recording(number)).waitForBytes(20);
    client.detach().resetAndDestroy();
    expect(await on.line()).toMatchObject({ event: "request", outcome: "client_aborted" });
    // By the time another tunnel is open this one would have been dialled, too.
    const other = await openTunnel(proxy, "raw.example.com:443", { behind: "other" });
    expect((await (await origin.recording(number + 1)).waitForBytes(5)).toString()).toBe("other");
    expect(on.atOrigin().connections).toBe(2);
    other.close();
  });
});
