/** The raw client that the hostile tests look through: it must show what came, in every split, and never wait for ever. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { connectRaw } from "../../support/raw-http.ts";

const head = "HTTP/1.1 403 Denied: scheme_mismatch 7F3KQ\r\nVia: a\r\nX-Reason:  why \r\nvia: b\r\n\r\n";

describe("connectRaw", () => {
  test("reads a head, and leaves what follows", async () => {
    const client = await dial((socket) => socket.write(`${head}body`));
    const answer = await client.readHead();
    expect(answer).toEqual({
      status: 403,
      reason: "Denied: scheme_mismatch 7F3KQ",
      headers: new Map([
        ["via", "a, b"],
        ["x-reason", "why"],
      ]),
      fields: [
        ["Via", "a"],
        ["X-Reason", "why"],
        ["via", "b"],
      ],
      raw: head,
    });
    expect(String(await client.readBytes(4))).toBe("body");
  });

  test("reads heads one by one, whatever the segments", async () => {
    const client = await dial((socket) => {
      for (const byte of `HTTP/1.1 100 Continue\r\n\r\n${head}`) socket.write(byte);
      socket.end();
    });
    expect((await client.readHead()).status).toBe(100);
    expect((await client.readHead()).status).toBe(403);
    expect(String(await client.readAll())).toBe("");
  });

  test("sends bytes as they are", async () => {
    const received: Buffer[] = [];
    const client = await dial((socket) => {
      socket.on("data", (chunk) => received.push(chunk));
      socket.on("end", () => socket.end());
    });
    client.send("a\0\xff\r");
    client.send(Uint8Array.of(1, 2));
    client.end();
    expect(await client.waitClose()).toBe("fin");
    expect(Buffer.concat(received)).toEqual(Buffer.from([0x61, 0, 0xff, 0x0d, 1, 2]));
  });

  test("keeps reading after its own FIN", async () => {
    const client = await dial((socket) => socket.on("end", () => socket.end("late")).resume());
    client.end();
    expect(String(await client.readAll())).toBe("late");
  });

  test("tells a FIN from a reset, and keeps what came before either", async () => {
    const graceful = await dial((socket) => socket.end("x"));
    expect(await graceful.waitClose()).toBe("fin");
    expect(String(graceful.pending())).toBe("x");
    const abrupt = await dial((socket) => {
      socket.write("x");
      socket.once("data", () => socket.resetAndDestroy());
    });
    await abrupt.readBytes(1);
    abrupt.send("go");
    expect(await abrupt.waitClose()).toBe("reset");
  });

  test("rejects with what it got when the deadline passes", async () => {
    const client = await dial((socket) => socket.write("HTTP/1.1 200 OK\r\n"), 50);
    await expect(client.readHead()).rejects.toThrow(
      /response head: nothing more for 50 ms after 17 bytes.*HTTP\/1\.1 200 OK/,
    );
  });

  test("rejects at once when the peer ends before", async () => {
    const client = await dial((socket) => socket.end("HTTP/1.1 2"));
    await expect(client.readHead()).rejects.toThrow(/response head: fin after 10 bytes/);
    await expect(client.readBytes(11)).rejects.toThrow(/11 bytes: fin/);
  });

  test("rejects pending waits when it is closed", async () => {
    const client = await dial(() => {});
    const waiting = client.readHead();
    client.close();
    await expect(waiting).rejects.toThrow("closed after 0 bytes");
  });

  test.each([
    ["a status line that is none", "SSH-2.0-x\r\n\r\n", /no status line/],
    ["a field line that is none", "HTTP/1.1 200 OK\r\nnothing\r\n\r\n", /no field line: "nothing"/],
  ])("rejects %s", async (_, bytes, expected) => {
    const client = await dial((socket) => socket.once("data", () => socket.write(bytes)));
    const answer = client.readHead();
    client.send("go");
    await expect(answer).rejects.toThrow(expected);
  });

  test("rejects when nobody listens", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, "close");
    await expect(connectRaw(port)).rejects.toThrow("connect: closed (ECONNREFUSED)");
  });

  test("hands over the socket with what was not read", async () => {
    const client = await dial((socket) => socket.write(`${head}tunnel`));
    await client.readHead();
    const socket = client.detach();
    onTestFinished(() => void socket.destroy());
    const data = once(socket, "data");
    socket.resume();
    expect(String((await data)[0])).toBe("tunnel");
  });
});

async function dial(serve: (socket: Socket) => void, deadlineMs = 5000) {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    sockets.add(socket);
    serve(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = await connectRaw((server.address() as { port: number }).port, { deadlineMs });
  onTestFinished(async () => {
    client.close();
    server.close();
    for (const socket of sockets) socket.destroy();
    await once(server, "close");
  });
  return client;
}
