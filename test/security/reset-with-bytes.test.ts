/**
 * threats.md, sections 4 and 5: a reset that comes together with the last bytes. libuv says `end` of it, as of a FIN, so
 * that what was cut off would pass for the whole.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { openTunnel } from "../support/tunnel.ts";

let origin: TcpOrigin;
let proxy: Sallyport;
/** Of many, since a reset may also come a little later than the bytes. */
const times = 12;

beforeAll(async () => {
  origin = await startTcpOrigin(({ socket }) => {
    socket.once("data", (first: Buffer) => {
      if (first.includes("stay")) return;
      const head = first.includes("HTTP/1.") ? "HTTP/1.1 200 OK\r\n\r\n" : "";
      socket.write(head + "d".repeat(1000), () => socket.resetAndDestroy());
    });
  });
  proxy = await startSallyport({
    policy: {
      rules: [
        { id: "web", hosts: ["web.example.com"], expect: "http", methods: ["GET", "POST"] },
        { id: "raw", hosts: ["raw.example.com"], expect: "tcp:22" },
      ],
    },
    settings: { connect_to: [`*::127.0.0.1:${origin.port}`] },
  });
});
afterAll(async () => {
  await proxy.stop();
  await origin.close();
});

type Line = Readonly<Record<string, unknown>>;

function linesOf(event: "request" | "connect"): readonly Line[] {
  return proxy.log.filter((line) => line["event"] === event);
}

/** All lines behind the first `before` of these exchanges, once each has one. */
async function linesSince(event: "request" | "connect", before: number): Promise<readonly Line[]> {
  await vi.waitFor(() => expect(linesOf(event)).toHaveLength(before + times), 10_000);
  return linesOf(event).slice(before);
}

describe("of an origin", () => {
  test.each(["GET", "POST"])("an answer to %s that has no length is not whole", async (method) => {
    const before = linesOf("request").length;
    for (let i = 0; i < times; i++) {
      const client = await connectRaw(proxy.port);
      const body = method === "POST" ? "Content-Length: 0\r\n" : "";
      client.send(`${method} http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\n${body}\r\n`);
      const head = await client.readHead();
      // A 502 where the reset was told before the head had gone out.
      if (head.status === 200) {
        await client.waitClose();
        expect(client.pending().toString("latin1")).not.toMatch(/0\r\n\r\n$/);
      } else expect(head.status).toBe(502);
      client.close();
    }
    const lines = await linesSince("request", before);
    expect(lines.map((line) => line["outcome"])).toEqual(
      lines.map((line) => (line["status"] === 200 ? "http_response_incomplete" : "connection_terminated")),
    );
  });

  test("a tunnel breaks off, and does not stand half open", async () => {
    const before = linesOf("connect").length;
    for (let i = 0; i < times; i++) {
      const client = await openTunnel(proxy, "raw.example.com:22");
      client.send("go");
      expect(await client.waitClose()).toBe("reset");
      client.close();
    }
    expect((await linesSince("connect", before)).map((line) => line["outcome"])).toEqual(
      Array.from({ length: times }, () => "connection_terminated"),
    );
  });
});

test("of a client: the tunnel is recorded as broken off by it", async () => {
  const before = linesOf("connect").length;
  for (let i = 0; i < times; i++) {
    const client = await openTunnel(proxy, "raw.example.com:22");
    const socket = client.detach();
    socket.write("stay".repeat(250), () => socket.resetAndDestroy());
  }
  expect((await linesSince("connect", before)).map((line) => line["outcome"])).toEqual(
    Array.from({ length: times }, () => "client_aborted"),
  );
});
