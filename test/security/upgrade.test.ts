/**
 * Attack: Upgrade as a way past the policy: h2c smuggling, bytes before the 101, a switch to something else, a body
 * behind an Upgrade. Only a bodiless GET to a rule with `websocket: allow` becomes a WebSocket, and only by a 101 that
 * proves it is one.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PlainHttp,
  type Script,
  exchange,
  expectRefused,
  expectServing,
  headsAt,
  lineOf,
  ok,
  readBody,
  requestFor,
  startPlainHttp,
} from "../support/plain-http.ts";

let plain: PlainHttp;
beforeAll(async () => {
  plain = await startPlainHttp({ settings: { limits: { response_head_timeout: "300ms" } } });
});
afterAll(() => plain.stop());

const key = "dGhlIHNhbXBsZSBub25jZQ==";
const handshake = [
  "Connection: keep-alive, Upgrade",
  "Upgrade: websocket",
  `Sec-WebSocket-Key: ${key}`,
  "Sec-WebSocket-Version: 13",
];
const host = "socket.example.com";

function acceptFor(text: string): string {
  return createHash("sha1").update(`${text}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

function switching(...fields: string[]): string {
  return ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", ...fields, "", ""].join("\r\n");
}

const accepted = switching("Upgrade: websocket", `Sec-WebSocket-Accept: ${acceptFor(key)}`);

let number = 0;
function script(what: Script): string {
  number += 1;
  const path = `/socket-${number}`;
  plain.scripts.set(path, what);
  return path;
}

const active = "sallyport_tunnels_active";

describe("a WebSocket that the rule allows", () => {
  test("echoes both ways, after the handshake and not before it", async () => {
    const index = plain.origin.connections();
    let letGo = (): void => {};
    const path = script(({ socket, bytes }, head) => {
      const offered = /^Sec-WebSocket-Key: (.*)$/m.exec(head)?.[1]?.trim() ?? "";
      letGo = () => {
        // Nothing of what the client has sent early may be here.
        expect(bytes().toString("latin1")).toBe(head);
        socket.write(
          `${switching("Upgrade: WebSocket", `Sec-WebSocket-Accept: ${acceptFor(offered)}`, "Content-Length: 7")}hello `,
        );
        socket.on("data", (chunk) => socket.write(chunk));
        socket.on("end", () => socket.end());
      };
    });
    const client = await plain.connect();
    client.send(`${requestFor(path, [...handshake, "Cookie: a=b", "Proxy-Connection: x"], "GET", host)}early `);
    const recording = await plain.origin.recording(index);
    await recording.waitForBytes(1);
    client.send("and late ");
    letGo();
    const head = await client.readHead();
    expect(head.status).toBe(101);
    expect(Object.fromEntries(head.headers)).toMatchObject({
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-accept": acceptFor(key),
    });
    expect(head.headers.has("content-length")).toBe(false);
    expect((await client.readBytes(6)).toString()).toBe("hello ");
    expect((await client.readBytes(15)).toString()).toBe("early and late ");
    expect(await plain.sallyport.metric(active)).toBe(1);
    client.send("ping");
    expect((await client.readBytes(4)).toString()).toBe("ping");
    client.end();
    expect((await client.readAll()).length).toBe(0);
    const line = await lineOf(plain, path);
    expect(line).toMatchObject({
      verdict: "allow",
      rule: "site/socket",
      status: 101,
      bytes_up: 19,
      bytes_down: 25,
      scheme: "http",
    });
    expect(line["outcome"]).toBeUndefined();
    expect(await plain.sallyport.metric(active)).toBe(0);
    const sent = headsAt(plain.origin)[index]?.split("\r\n").slice(1, -2);
    expect(sent).toEqual([
      `Host: ${host}`,
      `Sec-WebSocket-Key: ${key}`,
      "Sec-WebSocket-Version: 13",
      "Cookie: a=b",
      expect.stringMatching(/^Via: 1\.1 sallyport-/),
      "Connection: Upgrade",
      "Upgrade: websocket",
    ]);
    await expectServing(plain);
  });

  test("a client that breaks off is broken off at the origin, and the reverse", async () => {
    const index = plain.origin.connections();
    const path = script(({ socket }) => void socket.write(accepted));
    const client = await plain.connect();
    client.send(requestFor(path, handshake, "GET", host));
    await client.readHead();
    client.detach().resetAndDestroy();
    await (
      await plain.origin.recording(index)
    ).closed;
    expect(await lineOf(plain, path)).toMatchObject({ outcome: "client_aborted", closed_by: "client" });
    const other = await plain.connect();
    other.send(requestFor(path, handshake, "GET", host));
    await other.readHead();
    (await plain.origin.recording(index + 1)).socket.resetAndDestroy();
    expect(await other.waitClose()).toBe("reset");
    await expectServing(plain);
    expect(await plain.sallyport.metric(active)).toBe(0);
  });

  test("behind another request on the same connection", async () => {
    const path = script(({ socket }) => {
      socket.write(`${accepted}x`);
      socket.on("end", () => socket.end());
    });
    const client = await plain.connect();
    client.send(requestFor("/first") + requestFor(path, handshake, "GET", host));
    const first = await client.readHead();
    expect(await readBody(client, first)).toBe("ok");
    expect((await client.readHead()).status).toBe(101);
    expect((await client.readBytes(1)).toString()).toBe("x");
    client.end();
    await client.readAll();
  });

  test("an origin that does not want to is heard", async () => {
    const path = script("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nX-Why: policy\r\n\r\nnope");
    const { head, body, client } = await exchange(plain, requestFor(path, handshake, "GET", host));
    expect([head.status, head.headers.get("x-why"), head.headers.get("connection"), body]).toEqual([
      403,
      "policy",
      "close",
      "nope",
    ]);
    expect(head.headers.has("x-sallyport-reason")).toBe(false);
    expect((await client.readAll()).length).toBe(0);
    expect(await lineOf(plain, path)).toMatchObject({ verdict: "allow", status: 403, bytes_down: 4 });
    await expectServing(plain);
  });

  test("an origin's answer in chunks, and one that breaks off", async () => {
    const whole = script("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    const first = await plain.connect();
    first.send(requestFor(whole, handshake, "GET", host));
    expect((await first.readHead()).headers.has("transfer-encoding")).toBe(false);
    expect((await first.readAll()).toString()).toBe("ok");
    const half = script(
      ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
    );
    const index = plain.origin.connections();
    const second = await plain.connect();
    second.send(requestFor(half, handshake, "GET", host));
    await second.readHead();
    expect((await second.readBytes(2)).toString()).toBe("ok");
    (await plain.origin.recording(index)).socket.end();
    expect(await second.waitClose()).toBe("reset");
    await expectServing(plain);
  });
});

describe("a switch that is none", () => {
  const cases: Readonly<Record<string, string>> = {
    "an Accept for another key": switching("Upgrade: websocket", `Sec-WebSocket-Accept: ${acceptFor("other")}`),
    "no Accept": switching("Upgrade: websocket"),
    "two Accepts": switching(
      "Upgrade: websocket",
      `Sec-WebSocket-Accept: ${acceptFor(key)}`,
      `Sec-WebSocket-Accept: ${acceptFor(key)}`,
    ),
    "another protocol": switching("Upgrade: h2c", `Sec-WebSocket-Accept: ${acceptFor(key)}`),
    "two protocols": switching("Upgrade: websocket, h2c", `Sec-WebSocket-Accept: ${acceptFor(key)}`),
    "no protocol": `HTTP/1.1 101 S\r\nSec-WebSocket-Accept: ${acceptFor(key)}\r\n\r\n`,
  };
  test.each(Object.entries(cases))("%s is a 502", async (_, answer) => {
    const index = plain.origin.connections();
    const path = script(({ socket }) => void socket.write(`${answer}secret`));
    const client = await plain.connect();
    client.send(`${requestFor(path, handshake, "GET", host)}early`);
    const head = await client.readHead();
    expect([head.status, head.headers.get("proxy-status")]).toEqual([502, "sallyport; error=http_upgrade_failed"]);
    expect((await client.readAll()).toString()).not.toContain("secret");
    expect(await lineOf(plain, path)).toMatchObject({ verdict: "allow", status: 502, outcome: "http_upgrade_failed" });
    const recording = await plain.origin.recording(index);
    await recording.ended;
    expect(recording.bytes().toString("latin1")).not.toContain("early");
    await expectServing(plain);
  });

  test("no answer at all is a 504", async () => {
    const path = script(() => {});
    const { head } = await exchange(plain, requestFor(path, handshake, "GET", host));
    expect([head.status, head.headers.get("proxy-status")]).toEqual([504, "sallyport; error=http_response_timeout"]);
    expect(await lineOf(plain, path)).toMatchObject({ outcome: "http_response_timeout" });
    await expectServing(plain);
  });

  test("an answer that is none, and an origin that breaks off, are 502s", async () => {
    const malformed = await exchange(plain, requestFor(script("nonsense\r\n\r\n"), handshake, "GET", host));
    expect([malformed.head.status, malformed.head.headers.get("proxy-status")]).toEqual([
      502,
      "sallyport; error=http_protocol_error",
    ]);
    const broken = await exchange(plain, requestFor(script(""), handshake, "GET", host));
    expect([broken.head.status, broken.head.headers.get("proxy-status")]).toEqual([
      502,
      "sallyport; error=connection_terminated",
    ]);
    const asking = script("HTTP/1.1 407 P\r\nContent-Length: 0\r\n\r\n");
    expect((await exchange(plain, requestFor(asking, handshake, "GET", host))).head.status).toBe(502);
    await expectServing(plain);
  });
});

describe("an Upgrade that is not let through", () => {
  test("a WebSocket where the rule does not allow it", async () => {
    const request = requestFor("/socket", handshake);
    await expectRefused(plain, request, { status: 403, reason: "scheme_mismatch", rule: "site/plain" });
  });

  test.each(["no.rule.example", "denied.example.com", "secure.example.com"])("a WebSocket to %s", async (other) => {
    const reason = { "no.rule.example": "no_rule", "denied.example.com": "rule_denied" }[other] ?? "scheme_mismatch";
    await expectRefused(plain, requestFor("/", handshake, "GET", other), { status: 403, reason });
  });

  const malformed: Readonly<Record<string, string>> = {
    "with a length": `${requestFor("/", [...handshake, "Content-Length: 5"], "GET", host)}GET /`,
    "with chunks": `${requestFor("/", [...handshake, "Transfer-Encoding: chunked"], "GET", host)}0\r\n\r\n`,
    "on a POST with a body": `${requestFor("/", [...handshake, "Content-Length: 5"], "POST", host)}abcde`,
    "h2c with a body": `${requestFor("/", ["Connection: Upgrade", "Upgrade: h2c", "Content-Length: 5"], "POST")}abcde`,
    "without Connection, with a body": `${requestFor("/", ["Upgrade: h2c", "Content-Length: 5"], "POST")}abcde`,
    "with two Hosts": requestFor("/", [...handshake, "Host: b"], "GET", host),
    "in origin form": requestFor("/", handshake, "GET", host).replace(`http://${host}`, ""),
  };
  test.each(Object.entries(malformed))("%s is malformed", async (_, request) => {
    await expectRefused(plain, request, { status: 400, reason: "bad_request" });
  });

  test("an expectation with it is still a 417", async () => {
    const request = requestFor("/", [...handshake, "Expect: x"], "GET", host);
    await expectRefused(plain, request, { status: 417, reason: "bad_request" });
  });

  const plainly: Readonly<Record<string, string>> = {
    "h2c on a GET": requestFor("/h2c", [
      "Connection: Upgrade, HTTP2-Settings",
      "Upgrade: h2c",
      "HTTP2-Settings: AAMAAABk",
    ]),
    "h2c on a HEAD": requestFor("/h2c", ["Connection: Upgrade", "Upgrade: h2c"], "HEAD"),
    "TLS on an OPTIONS": requestFor("/h2c", ["Connection: Upgrade", "Upgrade: TLS/1.0"], "OPTIONS"),
    "websocket on a HEAD": requestFor("/h2c", handshake.slice(0, 2), "HEAD"),
    "websocket among others": requestFor("/h2c", ["Connection: Upgrade", "Upgrade: h2c, websocket"]),
    "websocket that Connection does not name": requestFor("/h2c", ["Upgrade: websocket"]),
    "websocket in HTTP/1.0": requestFor("/h2c", handshake.slice(0, 2), "GET", host).replace("HTTP/1.1", "HTTP/1.0"),
  };
  test.each(Object.entries(plainly))("%s is forwarded without it", async (_, request) => {
    const index = plain.origin.connections();
    const client = await plain.connect();
    client.send(request);
    const head = await client.readHead();
    expect(head.status).toBe(200);
    expect(head.headers.has("upgrade")).toBe(false);
    const sent = headsAt(plain.origin)[index] ?? "";
    expect(sent).not.toMatch(/^(upgrade|http2-settings):/im);
    expect(sent).not.toMatch(/^Connection: (?!close\r)/im);
    await expectServing(plain);
  });

  test("what was pipelined behind such a request is answered in order", async () => {
    plain.scripts.set("/one", ok.replace("ok", "1!"));
    plain.scripts.set("/two", ok.replace("ok", "2!"));
    plain.scripts.set("/three", ok.replace("ok", "3!"));
    const client = await plain.connect();
    const upgrade = ["Connection: Upgrade", "Upgrade: h2c"];
    client.send(requestFor("/one") + requestFor("/two", upgrade) + requestFor("/three", upgrade));
    const bodies: string[] = [];
    for (let i = 0; i < 3; i++) bodies.push(await readBody(client, await client.readHead()));
    expect(bodies.map((body) => body.slice(0, 2))).toEqual(["1!", "2!", "3!"]);
  });
});
