/**
 * Attack: too much, too long, too slow, from either side. Every buffer has a cap and every wait a deadline, and who is
 * refused gets to read why.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PlainHttp,
  exchange,
  expectRefused,
  expectServing,
  lineOf,
  ok,
  readBody,
  requestFor,
  startPlainHttp,
} from "../support/plain-http.ts";
import { describeWithTool, requireTool } from "../support/tools.ts";

let plain: PlainHttp;
beforeAll(async () => {
  plain = await startPlainHttp({
    settings: { limits: { head_timeout: "500ms", body_idle_timeout: "500ms", per_client: 50 } },
  });
});
afterAll(() => plain.stop());

function limit(name: string): Promise<number | undefined> {
  return plain.sallyport.metric(`sallyport_limit_rejections_total{limit="${name}"}`);
}

describe("heads that are too large", () => {
  const large: Readonly<Record<string, string>> = {
    "a target of 64 KiB": requestFor(`/${"a".repeat(65_536)}`),
    "a field of 1 MiB": requestFor("/", [`X: ${"a".repeat(1_048_576)}`]),
    "10,000 fields": requestFor(
      "/",
      Array.from({ length: 10_000 }, (_, i) => `X-${i}: a`),
    ),
    "a name of 64 KiB": requestFor("/", [`${"a".repeat(65_536)}: a`]),
  };
  test.each(Object.entries(large))("%s is a 431", async (_, request) => {
    const before = await limit("head");
    await expectRefused(plain, request, { status: 431, reason: "bad_request" });
    expect(await limit("head")).toBe((before ?? 0) + 1);
  });

  test("129 fields are a 431, 128 are not", async () => {
    const before = await limit("fields");
    const fields = Array.from({ length: 128 }, () => "X: a");
    await expectRefused(plain, requestFor("/", fields), { status: 431, reason: "bad_request" });
    expect(await limit("fields")).toBe((before ?? 0) + 1);
    expect((await exchange(plain, requestFor("/", fields.slice(1)))).head.status).toBe(200);
  });

  test("a target of 8,000 bytes is served", async () => {
    const path = `/${"a".repeat(7_999)}`;
    expect((await exchange(plain, requestFor(path))).head.status).toBe(200);
    expect((await lineOf(plain, path.slice(0, 2048)))["status"]).toBe(200);
  });
});

describe("heads that are too slow", () => {
  const slow: Readonly<Record<string, string>> = {
    "nothing at all": "",
    "one byte": "G",
    "half a head": "GET http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nX:",
  };
  test.each(Object.entries(slow))("%s is a 408", async (_, bytes) => {
    const before = await limit("head_timeout");
    const startedAt = performance.now();
    await expectRefused(plain, bytes, { status: 408, reason: "bad_request" });
    expect(performance.now() - startedAt).toBeLessThan(2500);
    expect(await limit("head_timeout")).toBe((before ?? 0) + 1);
  });

  test("one byte at a time is a 408, however long it goes on", async () => {
    const client = await plain.connect();
    const timer = setInterval(() => client.send("G"), 50);
    const head = await client.readHead().finally(() => clearInterval(timer));
    // Enough G's are no method either: whichever comes first.
    expect([400, 408]).toContain(head.status);
  });
});

describe("bodies that are too slow", () => {
  test("an upload that stops is given up at both ends", async () => {
    plain.scripts.set("/stalled", () => {});
    const before = await limit("body_idle_timeout");
    const index = plain.origin.connections();
    const client = await plain.connect();
    client.send(`${requestFor("/stalled", ["Content-Length: 10"], "POST")}abc`);
    expect(await client.waitClose()).toBe("fin");
    await (
      await plain.origin.recording(index)
    ).ended;
    expect(await lineOf(plain, "/stalled")).toMatchObject({ closed_by: "idle", bytes_up: 3 });
    expect(await limit("body_idle_timeout")).toBe((before ?? 0) + 1);
  });
});

describe("many requests on one connection", () => {
  test("are answered one after the other, and what waits costs no connection of its own", async () => {
    const before = plain.origin.connections();
    plain.scripts.set("/held", () => {});
    const client = await plain.connect();
    client.send(requestFor("/held") + requestFor("/behind").repeat(300));
    const held = await plain.origin.recording(before);
    await held.waitForBytes(1);
    expect(plain.origin.connections()).toBe(before + 1);
    held.socket.end(ok);
    for (let i = 0; i < 301; i++) {
      const head = await client.readHead();
      expect([head.status, await readBody(client, head)]).toEqual([200, "ok"]);
    }
    client.close();
    await expectServing(plain);
  });

  test("no more of what waits is read than one head may be long", async () => {
    plain.scripts.set("/held", () => {});
    const before = plain.origin.connections();
    const client = await plain.connect();
    client.send(requestFor("/held") + requestFor("/behind").repeat(100_000));
    const held = await plain.origin.recording(before);
    await held.waitForBytes(1);
    await expectServing(plain);
    client.close();
    held.socket.destroy();
  });

  test("a client that goes away takes what waits with it", async () => {
    const before = plain.origin.connections();
    plain.scripts.set("/never", () => {});
    const client = await plain.connect();
    client.send(requestFor("/never") + requestFor("/behind").repeat(10));
    const recording = await plain.origin.recording(before);
    client.close();
    await recording.ended;
    await expectServing(plain);
    expect(plain.origin.connections()).toBe(before + 2);
  });
});

test("the connection above a client's limit gets a 503, also when it has begun to send", async () => {
  const before = await limit("per_client");
  const clients = [];
  for (let i = 0; i < 50; i++) clients.push(await plain.connect({ localAddress: "127.0.0.3" }));
  const one = await plain.connect({ localAddress: "127.0.0.3" });
  one.send(requestFor("/over", ["Content-Length: 100000"], "POST") + "a".repeat(100_000));
  const head = await one.readHead();
  expect([head.status, head.headers.get("x-sallyport-reason"), head.headers.has("retry-after")]).toEqual([
    503,
    "limit_exceeded",
    true,
  ]);
  expect(await limit("per_client")).toBe((before ?? 0) + 1);
  for (const client of clients) client.close();
  await expectServing(plain);
});

describe("a refused client that is still sending gets to read the answer", () => {
  const tenMegabytes = 10 * 1024 * 1024;

  test("a raw client with a length", async () => {
    const head = requestFor("/upload", [`Content-Length: ${tenMegabytes}`], "POST", "denied.example.com");
    await expectRefused(plain, Buffer.concat([Buffer.from(head), Buffer.alloc(tenMegabytes, 97)]), {
      status: 403,
      reason: "rule_denied",
    });
  });

  test("a raw client with chunks", async () => {
    const head = requestFor("/upload", ["Transfer-Encoding: chunked"], "POST", "denied.example.com");
    const chunk = `10000\r\n${"a".repeat(65_536)}\r\n`;
    await expectRefused(plain, `${head}${chunk.repeat(160)}0\r\n\r\n`, { status: 403, reason: "rule_denied" });
  });

  test("a raw client that reads only after it has sent 200 KiB, and sees the end", async () => {
    const client = await plain.connect();
    client.send(requestFor("/upload", ["Content-Length: 204800"], "POST", "denied.example.com"));
    for (let i = 0; i < 50; i++) client.send(Buffer.alloc(4096, 97));
    const head = await client.readHead();
    expect(head.status).toBe(403);
    await readBody(client, head);
    expect(await client.waitClose()).toBe("fin");
  });

  test("an upload to an origin that answers early", async () => {
    plain.scripts.set("/early", ({ socket }) => {
      socket.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
      socket.resume();
    });
    const client = await plain.connect();
    client.send(requestFor("/early", [`Content-Length: ${tenMegabytes}`], "POST"));
    client.send(Buffer.alloc(tenMegabytes, 97));
    const head = await client.readHead();
    expect([head.status, head.headers.get("connection"), await readBody(client, head)]).toEqual([
      413,
      "close",
      "large",
    ]);
    expect(await lineOf(plain, "/early")).toMatchObject({ status: 413, bytes_down: 5 });
    await expectServing(plain);
  });

  describeWithTool(["curl"], "curl", () => {
    test.each(["POST", "PUT"])("a %s of 10 MB", async (method) => {
      const body = ["-H", "Expect:", "-H", "Content-Type: application/octet-stream", "--data-binary", "@-"];
      const output = ["-o", "-", "-w", "\\n%{http_code}"];
      const proxy = `http://127.0.0.1:${plain.sallyport.port}`;
      const args = ["-sS", "-x", proxy, "-X", method, ...body, ...output, "http://denied.example.com/upload"];
      const child = spawn(requireTool("curl") ?? "", args);
      let said = "";
      child.stdout.on("data", (bytes: Buffer) => (said += bytes.toString()));
      child.stderr.on("data", (bytes: Buffer) => (said += bytes.toString()));
      child.stdin.on("error", () => {});
      child.stdin.end(Buffer.alloc(tenMegabytes, 97));
      const [code] = (await once(child, "close")) as [number];
      expect({ code, said }).toEqual({ code: 0, said: expect.stringMatching(/^Denied: [^]*\n403$/) });
    });
  });
});
