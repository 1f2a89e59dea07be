/**
 * Attack: fields that belong to one hop, or that Connection makes look so, used to change what the origin sees: its
 * framing, its host, its credentials. And the same from the origin towards the client.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PlainHttp,
  exchange,
  expectRefused,
  expectServing,
  ok,
  readBody,
  requestFor,
  startPlainHttp,
} from "../support/plain-http.ts";

let plain: PlainHttp;
beforeAll(async () => {
  plain = await startPlainHttp();
});
afterAll(() => plain.stop());

/** Field lines that the origin gets for a request with these. */
async function fieldsAt(path: string, fields: readonly string[], method = "GET", body = ""): Promise<string[]> {
  const index = plain.origin.connections();
  const { head } = await exchange(plain, requestFor(path, fields, method) + body);
  expect(head.status).toBe(200);
  const text = (await plain.origin.recording(index)).bytes().toString("latin1");
  return text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n").slice(1);
}

/** What every forwarded request has, whatever came. */
const own = ["Host: plain.example.com", expect.stringMatching(/^Via: 1\.1 sallyport-[0-9a-f]{8}$/)];

describe("towards the origin", () => {
  test("no hop-by-hop field is passed on", async () => {
    const fields = await fieldsAt("/hop", [
      "Proxy-Connection: keep-alive",
      "Connection: keep-alive, X-Named, x-other",
      "Keep-Alive: timeout=5",
      "TE: trailers",
      "Trailer: X",
      "Proxy-Authorization: Basic c2VjcmV0",
      "Proxy-Authenticate: Basic",
      "Proxy-Authentication-Info: x",
      "HTTP2-Settings: AAMAAABkAAQAAP__",
      "X-Named: gone",
      "X-OTHER: gone",
      "X-Kept: 1",
    ]);
    expect(fields).toEqual([own[0], "X-Kept: 1", own[1]]);
  });

  const nominations: Readonly<Record<string, readonly string[]>> = {
    Host: [],
    "Content-Length": [],
    "Transfer-Encoding": [],
    Connection: [],
    Via: [],
    close: [],
    "keep-alive, Host, content-length": [],
  };
  test.each(Object.entries(nominations))("Connection: %s changes nothing that we rely on", async (nominated) => {
    expect(await fieldsAt("/nominated", [`Connection: ${nominated}`])).toEqual(own);
  });

  test("a body stays framed when its framing is nominated", async () => {
    const length = await fieldsAt("/length", ["Connection: Content-Length", "Content-Length: 3"], "POST", "abc");
    expect(length).toEqual([...own, "Content-Length: 3", "Connection: close"]);
    const chunked = await fieldsAt(
      "/chunked",
      ["Connection: Transfer-Encoding", "Transfer-Encoding: chunked"],
      "POST",
      "3\r\nabc\r\n0\r\n\r\n",
    );
    expect(chunked).toEqual([...own, "Transfer-Encoding: chunked", "Connection: close"]);
  });

  test("what is nominated and not ours to keep is removed, credentials among it", async () => {
    const fields = [
      "Connection: Cookie, Authorization, Cache-Control",
      "Cookie: a=b",
      "Authorization: x",
      "Cache-Control: y",
    ];
    expect(await fieldsAt("/cookie", fields)).toEqual(own);
  });

  test("Request-Range is removed, Range is not", async () => {
    const fields = await fieldsAt("/range", ["Request-Range: bytes=0-1", "Range: bytes=0-1"]);
    expect(fields).toEqual([own[0], "Range: bytes=0-1", own[1]]);
  });

  test("no field of a client makes it another client", async () => {
    const claims = [
      "X-Forwarded-For: 10.0.0.1",
      "Forwarded: for=10.0.0.1",
      "X-Upstream-Https-Proxy: evil",
      "X-Real-IP: 10.0.0.1",
    ];
    expect(await fieldsAt("/claims", claims)).toEqual([own[0], ...claims, own[1]]);
  });

  test("Via is appended to the Via that came", async () => {
    const fields = await fieldsAt("/via", ["Via: 1.0 fred, 1.1 other (comment)"]);
    expect(fields).toEqual([own[0], "Via: 1.0 fred, 1.1 other (comment)", own[1]]);
  });

  test("obs-text comes out byte for byte, with and without a body", async () => {
    const value = "X-Text: caf\xe9 \xff\x80 \tend";
    expect(await fieldsAt("/text", [value])).toContain(value);
    expect(await fieldsAt("/text", [value, "Content-Length: 3"], "POST", "abc")).toContain(value);
    expect(await fieldsAt("/text", [value, "Transfer-Encoding: chunked"], "PUT", "0\r\n\r\n")).toContain(value);
  });

  test("values of one field keep their order", async () => {
    const fields = await fieldsAt("/order", ["X-A: 1", "X-B: 1", "x-a: 2", "Accept: a", "Accept: b"]);
    expect(fields.filter((line) => /^x-a/i.test(line))).toEqual(["X-A: 1", "x-a: 2"]);
    expect(fields.filter((line) => line.startsWith("Accept"))).toEqual(["Accept: a", "Accept: b"]);
  });

  test("names that are special to JavaScript are names like others", async () => {
    const odd = ["__proto__: a", "constructor: b", "toString: c", "hasOwnProperty: d"];
    const fields = await fieldsAt("/odd", odd);
    expect(fields).toEqual(expect.arrayContaining(odd));
    await expectServing(plain);
    plain.scripts.set("/odd-answer", ["HTTP/1.1 200 OK", "Content-Length: 2", ...odd, "", "ok"].join("\r\n"));
    const { head, client } = await exchange(plain, requestFor("/odd-answer"));
    client.close();
    for (const line of odd) expect(head.raw).toContain(`\r\n${line}\r\n`);
    const tunnel = await exchange(plain, `CONNECT no.rule.example:443 HTTP/1.1\r\n${odd.join("\r\n")}\r\n\r\n`);
    expect(tunnel.head.status).toBe(403);
    await expectServing(plain);
  });
});

describe("Max-Forwards", () => {
  test("is counted down on OPTIONS", async () => {
    expect(await fieldsAt("/hops", ["Max-Forwards: 3"], "OPTIONS")).toContain("Max-Forwards: 2");
  });
  test("is left alone on other methods", async () => {
    expect(await fieldsAt("/hops", ["Max-Forwards: 0"])).toContain("Max-Forwards: 0");
  });
  test("0 on OPTIONS is answered here", async () => {
    const before = plain.origin.connections();
    const { head } = await exchange(plain, requestFor("/hops", ["Max-Forwards: 0"], "OPTIONS"));
    expect(head.status).toBe(204);
    expect(plain.origin.connections()).toBe(before);
  });
  test.each(["", "-1", "1, 2", "x", "1e3"])("<%s> on OPTIONS is malformed", async (value) => {
    await expectRefused(plain, requestFor("/hops", [`Max-Forwards: ${value}`], "OPTIONS"), {
      status: 400,
      reason: "bad_request",
    });
  });
});

describe("towards the client", () => {
  test("no hop-by-hop field is passed on, and none that Connection names", async () => {
    plain.scripts.set(
      "/answer",
      ok.replace(
        "Content-Length: 2",
        [
          "Connection: close, X-Named, Content-Length",
          "Proxy-Connection: keep-alive",
          "Keep-Alive: timeout=5",
          "Upgrade: h2c",
          "Trailer: X",
          "Proxy-Authenticate: Basic",
          "X-Named: gone",
          "Server: origin",
          "Content-Length: 2",
        ].join("\r\n"),
      ),
    );
    const { head, body } = await exchange(plain, requestFor("/answer"));
    expect(body).toBe("ok");
    expect(head.fields.map(([name]) => name)).toEqual([
      "Server",
      "Content-Length",
      "Via",
      "Date",
      "Connection",
      "Keep-Alive",
    ]);
    expect(head.headers.get("connection")).toBe("keep-alive");
    expect(head.headers.get("keep-alive")).toBe("timeout=65");
  });

  test("Set-Cookie keeps its order and its duplicates, obs-text its bytes, names their spelling", async () => {
    const lines = [
      "Set-Cookie: a=1",
      "X-oDD: caf\xe9\xff",
      "Set-Cookie: b=2, c",
      "set-cookie: a=1",
      "Date: yesterday",
      "Content-Length: 2",
    ];
    plain.scripts.set("/cookies", `HTTP/1.1 200 Caf\xe9\r\n${lines.join("\r\n")}\r\n\r\nok`);
    const { head } = await exchange(plain, requestFor("/cookies"));
    expect(head.reason).toBe("Caf\xe9");
    expect(head.raw.split("\r\n").slice(1, 7)).toEqual(lines);
  });

  test("chunks are chunked anew, without their extensions and trailers", async () => {
    plain.scripts.set(
      "/chunks",
      "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: 9\r\n\r\n",
    );
    const client = await plain.connect();
    client.send(requestFor("/chunks"));
    const head = await client.readHead();
    expect(head.headers.get("transfer-encoding")).toBe("chunked");
    expect(head.headers.has("trailer")).toBe(false);
    const wire = "3\r\nabc\r\n0\r\n\r\n";
    expect((await client.readBytes(wire.length)).toString()).toBe(wire);
    client.send(requestFor("/next"));
    const next = await client.readHead();
    expect([next.status, await readBody(client, next)]).toEqual([200, "ok"]);
  });
});
