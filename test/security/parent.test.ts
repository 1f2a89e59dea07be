/**
 * Attack: a parent proxy that is broken or hostile, and clients that want its credentials. What it answers to our
 * CONNECT never reaches a client, what we tell it never reaches an origin or the log, and a tunnel through it is looked
 * into like any other.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type ParentScript,
  type ScriptedParent,
  credentialsFile,
  startScriptedParent,
} from "../support/parent-proxies.ts";
import { helloFor, serverHello } from "../support/hello.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type TcpOrigin, serverHelloRecord, startTcpOrigin } from "../support/tls-origin.ts";
import { openTunnel, sendConnect } from "../support/tunnel.ts";

const user = "gate";
const password = "p:ss wörd ünlike any other";
const basic = `Basic ${Buffer.from(`${user}:${password}`, "utf8").toString("base64")}`;
const credentials = credentialsFile(`${user}:${password}`);

let parent: ScriptedParent;
let origin: TcpOrigin;
let proxy: Sallyport;

beforeAll(async () => {
  parent = await startScriptedParent();
  origin = await startTcpOrigin(({ socket }) => {
    socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin"));
  });
  proxy = await startSallyport({
    policy: {
      rules: [
        { id: "any", hosts: ["*.any.test"], expect: "tcp:7000" },
        { id: "tls", hosts: ["*.tls.test"], expect: "https" },
        { id: "web", hosts: ["*.web.test"], expect: "http", websocket: "allow", methods: ["GET", "POST", "OPTIONS"] },
      ],
    },
    settings: {
      via: "gate-1",
      parents: [
        { hosts: ["direct.web.test"], via: "direct" },
        { hosts: ["*"], via: `http://127.0.0.1:${parent.port}`, credentials_file: credentials.path },
        { hosts: ["*.web.test"], via: "http://127.0.0.1:1" },
      ],
      connect_to: [`direct.web.test:80:127.0.0.1:${origin.port}`, "*::127.0.0.1:1"],
      limits: { response_head_timeout: "400ms" },
      log: { level: "debug", paths: true },
    },
  });
});
afterAll(async () => {
  await proxy.stop();
  await parent.close();
  await origin.close();
  credentials.remove();
});

let number = 0;
/** A host of its own for each test, with what the parent answers when it is asked for it. */
function hostFor(script: ParentScript, zone = "any.test"): string {
  number += 1;
  const host = `h${number}.${zone}`;
  parent.scripts.set(host, script);
  return host;
}

describe("an answer to CONNECT that is no tunnel", () => {
  const secret = "what the parent alone says";
  const cases: Readonly<Record<string, { script: ParentScript; status: number; error: string; says?: string }>> = {
    "asks for credentials": {
      script: `HTTP/1.1 407 ${secret}\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 26\r\n\r\n${secret}`,
      status: 502,
      error: "http_request_denied",
      says: "the parent proxy does not take the credentials that it was given (407)",
    },
    "has a control character in its phrase": {
      script: `HTTP/1.1 403 No\x1b way\r\nX-Secret: 1\r\nContent-Length: 26\r\n\r\n${secret}`,
      status: 502,
      error: "http_protocol_error",
    },
    "refuses, with a page": {
      script: `HTTP/1.1 403 Denied: no_rule\xa0\r\nSet-Cookie: a=1\r\nContent-Length: 26\r\n\r\n${secret}`,
      status: 502,
      error: "http_request_denied",
      says: "the parent proxy refused: 403 Denied: no_rule?",
    },
    redirects: {
      script: "HTTP/1.1 302 Found\r\nLocation: http://a.any.test/\r\nContent-Length: 0\r\n\r\n",
      status: 502,
      error: "http_request_denied",
    },
    "switches protocols": {
      script: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
      status: 502,
      error: "http_protocol_error",
    },
    "is no HTTP": { script: "SSH-2.0-OpenSSH_9.6\r\n\r\n", status: 502, error: "http_protocol_error" },
    "is HTTP/2": { script: "HTTP/2 200 OK\r\n\r\n", status: 502, error: "http_protocol_error" },
    "has bare LFs": { script: "HTTP/1.1 200 OK\nX: 1\n\n", status: 502, error: "http_protocol_error" },
    "folds a field": { script: "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", status: 502, error: "http_protocol_error" },
    "has too large a head": {
      script: `HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}\r\n\r\n`,
      status: 502,
      error: "http_response_header_section_size",
    },
    "never stops to be interim": {
      script: "HTTP/1.1 100 Continue\r\n\r\n".repeat(17),
      status: 502,
      error: "http_protocol_error",
    },
    "never comes": { script: null, status: 504, error: "http_response_timeout" },
    "never ends": { script: "HTTP/1.1 200 OK\r\nX: 1\r\n", status: 504, error: "http_response_timeout" },
    "is a FIN": { script: ({ socket }) => void socket.end(), status: 502, error: "connection_terminated" },
    "is a FIN within the head": {
      script: ({ socket }) => void socket.end("HTTP/1.1 200 OK\r\n"),
      status: 502,
      error: "connection_terminated",
    },
    "is a reset": {
      script: ({ socket }) => void socket.resetAndDestroy(),
      status: 502,
      error: "connection_terminated",
    },
  };

  test.each(Object.entries(cases))("%s", async (_title, { script, status, error, says }) => {
    const host = hostFor(script);
    const client = await sendConnect(proxy, `${host}:7000`);
    const head = await client.readHead();
    const body = (await client.readAll()).toString("latin1");
    expect({ status: head.status, reason: head.reason }).toEqual({ status, reason: `Failed: ${error}` });
    expect(head.headers.get("proxy-status")).toBe(`sallyport; error=${error}`);
    for (const field of ["proxy-authenticate", "set-cookie", "x-secret", "location"]) {
      expect(head.headers.has(field)).toBe(false);
    }
    expect(body).not.toContain(secret);
    if (says !== undefined) expect(body).toContain(says);
    const line = await proxy.logged((one) => one["host"] === host);
    expect(line).toMatchObject({ verdict: "allow", outcome: error, status });
  });
});

describe("an answer to CONNECT that is a tunnel", () => {
  const cases: Readonly<Record<string, { script: ParentScript; early?: string }>> = {
    "in one piece": { script: "HTTP/1.1 200 OK\r\n\r\n" },
    "of HTTP/1.0, with another 2xx": { script: "HTTP/1.0 299 Fine\r\nX: 1\r\n\r\n" },
    "with bytes behind it, which are the tunnel's": {
      script: "HTTP/1.1 200 OK\r\n\r\n220 hello\r\n",
      early: "220 hello\r\n",
    },
    "with a length and a coding, which mean nothing": {
      script: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      early: "5\r\nhello\r\n0\r\n\r\n",
    },
    "behind interim ones": {
      script: "HTTP/1.1 100 Continue\r\n\r\n".repeat(16) + "HTTP/1.1 200 OK\r\n\r\nx",
      early: "x",
    },
    "that comes byte by byte": {
      script: ({ socket }) => {
        const bytes = Buffer.from("HTTP/1.1 200 OK\r\nX: 1\r\n\r\nab", "latin1");
        const send = (i: number): void => {
          if (i < bytes.length) socket.write(bytes.subarray(i, i + 1), () => setImmediate(send, i + 1));
        };
        send(0);
      },
      early: "ab",
    },
  };

  test.each(Object.entries(cases))("%s", async (_title, { script, early = "" }) => {
    const host = hostFor(script);
    const index = parent.origin.connections();
    const client = await openTunnel(proxy, `${host}:7000`, { behind: "ahead of the answer" });
    expect((await client.readBytes(early.length)).toString("latin1")).toBe(early);
    const recording = await parent.origin.recording(index);
    const asked = `${parent.headsOn(index)[0]}\r\n\r\n`;
    await recording.waitForBytes(asked.length + "ahead of the answer".length);
    recording.socket.write("down");
    expect((await client.readBytes(4)).toString()).toBe("down");
    recording.socket.end();
    client.end();
    await client.waitClose();
    const line = await proxy.logged((one) => one["host"] === host);
    expect(line).toMatchObject({ status: 200, upstream: `127.0.0.1:${parent.port}` });
    expect(line).toMatchObject({ bytes_up: 19, bytes_down: early.length + 4 });
    client.close();
  });

  test("a client that leaves while the parent thinks takes the connection with it", async () => {
    const host = hostFor(null);
    const index = parent.origin.connections();
    const client = await sendConnect(proxy, `${host}:7000`);
    const recording = await parent.origin.recording(index);
    await recording.waitForBytes(20);
    client.detach().resetAndDestroy();
    await recording.closed;
    expect(await proxy.logged((one) => one["host"] === host)).toMatchObject({ outcome: "client_aborted" });
  });
});

test("the parent is told the target, our name behind the others, and its own credentials in place of the client's", async () => {
  const host = hostFor("HTTP/1.1 200 OK\r\n\r\n");
  const index = parent.origin.connections();
  const client = await openTunnel(proxy, `${host}:7000`, {
    fields: [
      `Host: ${host}:7000`,
      "Via: 1.0 before",
      "Proxy-Authorization: Basic c3RvbGVu",
      "X-Other: 1",
      "User-Agent: x",
    ],
  });
  client.close();
  expect(parent.headsOn(index)).toEqual([
    [
      `CONNECT ${host}:7000 HTTP/1.1`,
      `Host: ${host}:7000`,
      "Via: 1.0 before, 1.1 gate-1",
      `Proxy-Authorization: ${basic}`,
    ].join("\r\n"),
  ]);
});

describe("a tunnel through a parent is inspected", () => {
  test("another server name is an alert, and not a byte goes up", async () => {
    const host = hostFor("HTTP/1.1 200 OK\r\n\r\n", "tls.test");
    const index = parent.origin.connections();
    const client = await openTunnel(proxy, `${host}:443`, { behind: helloFor("other.tls.test") });
    expect([...(await client.readAll())]).toEqual([21, 3, 1, 0, 2, 2, 112]);
    const recording = await parent.origin.recording(index);
    await recording.closed;
    expect(recording.bytes().toString("latin1").split("\r\n\r\n")[1]).toBe("");
  });

  test("a server that answers ahead of time, with a version that is too low, is cut before the client reads of it", async () => {
    const early = Buffer.concat([Buffer.from("HTTP/1.1 200 OK\r\n\r\n"), serverHelloRecord({ version: 0x0302 })]);
    const host = hostFor(early, "tls.test");
    const client = await openTunnel(proxy, `${host}:443`, { behind: helloFor(host) });
    expect([...(await client.readAll())]).toEqual([21, 3, 1, 0, 2, 2, 70]);
    expect(await proxy.logged((one) => one["host"] === host)).toMatchObject({ reason: "tls_downgrade", tls: "1.1" });
  });

  test("a proper one goes on", async () => {
    const answer = Buffer.from(serverHello());
    const host = hostFor(Buffer.concat([Buffer.from("HTTP/1.1 200 OK\r\n\r\n"), answer]), "tls.test");
    const client = await openTunnel(proxy, `${host}:443`, { behind: helloFor(host) });
    expect(await client.readBytes(answer.length)).toEqual(answer);
    client.close();
  });

  test("what policy denies is not asked for", async () => {
    const index = parent.origin.connections();
    const client = await sendConnect(proxy, "denied.example.com:443");
    expect((await client.readHead()).headers.get("x-sallyport-reason")).toBe("no_rule");
    client.close();
    expect(parent.origin.connections()).toBe(index);
  });
});

describe("plain HTTP goes to the parent in absolute form", () => {
  const page = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nparent";
  const expected = (request: string, host: string, more: readonly string[]): string =>
    [`${request} HTTP/1.1`, `Host: ${host}`, ...more].join("\r\n");

  async function ask(
    client: RawClient,
    host: string,
    path = "/x?y=1",
    fields: readonly string[] = [],
  ): Promise<string> {
    client.send([`GET http://${host}${path} HTTP/1.1`, `Host: ${host}`, ...fields, "", ""].join("\r\n"));
    const head = await client.readHead();
    expect(head.status).toBe(200);
    expect(head.headers.has("proxy-authorization")).toBe(false);
    return (await client.readBytes(Number(head.headers.get("content-length")))).toString();
  }

  test("with our credentials, over a connection that is used again, for this host alone", async () => {
    const host = hostFor(page, "web.test");
    const other = hostFor(page, "web.test");
    const index = parent.origin.connections();
    const client = await connectRaw(proxy.port);
    const own = ["Via: 1.1 gate-1", `Proxy-Authorization: ${basic}`];
    expect(await ask(client, host, "/x?y=1", ["Proxy-Authorization: Basic c3RvbGVu", "Proxy-Connection: x"])).toBe(
      "parent",
    );
    expect(await ask(client, host, "//z")).toBe("parent");
    expect(await ask(client, other)).toBe("parent");
    expect(parent.headsOn(index)).toEqual([
      expected(`GET http://${host}/x?y=1`, host, own),
      expected(`GET http://${host}//z`, host, own),
    ]);
    expect(parent.headsOn(index + 1)).toEqual([expected(`GET http://${other}/x?y=1`, other, own)]);
    client.close();
  });

  test("a host that goes directly gets neither the form nor the credentials, nor a connection of the parent's", async () => {
    const host = hostFor(page, "web.test");
    const client = await connectRaw(proxy.port);
    expect(await ask(client, host)).toBe("parent");
    const seen = parent.origin.connections();
    expect(await ask(client, "direct.web.test")).toBe("origin");
    expect(parent.origin.connections()).toBe(seen);
    expect(origin.recordings.at(-1)?.bytes().toString("latin1")).toBe(
      `${expected("GET /x?y=1", "direct.web.test", ["Via: 1.1 gate-1"])}\r\n\r\n`,
    );
    client.close();
  });

  test("with a body, or another method, likewise", async () => {
    const host = hostFor(page, "web.test");
    const index = parent.origin.connections();
    for (const line of [`POST http://${host}/up`, `OPTIONS http://${host}`]) {
      const client = await connectRaw(proxy.port);
      client.send(
        `${line} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\nProxy-Authorization: Basic c3RvbGVu\r\n\r\n`,
      );
      expect((await client.readHead()).status).toBe(200);
      client.close();
    }
    const heads = [parent.headsOn(index)[0], parent.headsOn(index + 1)[0]].map((head) => head?.split("\r\n") ?? []);
    expect(heads.map(([first]) => first)).toEqual([
      `POST http://${host}/up HTTP/1.1`,
      `OPTIONS http://${host} HTTP/1.1`,
    ]);
    for (const head of heads) {
      expect(head).toContain(`Host: ${host}`);
      expect(head.filter((line) => /^proxy-/i.test(line))).toEqual([`Proxy-Authorization: ${basic}`]);
    }
  });

  test.each(["GET", "POST"])("a 407 to %s is ours to answer for, and never the client's", async (method) => {
    const host = hostFor(
      'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n',
      "web.test",
    );
    const client = await connectRaw(proxy.port);
    client.send(
      `${method} http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${method === "POST" ? "Content-Length: 0\r\n" : ""}\r\n`,
    );
    const head = await client.readHead();
    expect({ status: head.status, phrase: head.reason }).toEqual({
      status: 502,
      phrase: "Failed: http_request_denied",
    });
    expect(head.headers.has("proxy-authenticate")).toBe(false);
    expect(await proxy.logged((one) => one["host"] === host)).toMatchObject({ outcome: "http_request_denied" });
    client.close();
  });

  test("a WebSocket goes in a tunnel, and asks the origin in origin form", async () => {
    const key = "dGhlIHNhbXBsZSBub25jZQ==";
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    const host = hostFor(({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.once("data", () => {
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\nhi`,
        );
      });
    }, "web.test");
    const index = parent.origin.connections();
    const client = await connectRaw(proxy.port);
    client.send(
      [
        `GET http://${host}/ws HTTP/1.1`,
        `Host: ${host}`,
        "Connection: Upgrade",
        "Upgrade: websocket",
        `Sec-WebSocket-Key: ${key}`,
        "Sec-WebSocket-Version: 13",
        "Proxy-Authorization: Basic c3RvbGVu",
        "",
        "",
      ].join("\r\n"),
    );
    expect((await client.readHead()).status).toBe(101);
    expect((await client.readBytes(2)).toString()).toBe("hi");
    const [asked = "", inside = ""] = parent.headsOn(index);
    expect(asked.split("\r\n")).toEqual([
      `CONNECT ${host}:80 HTTP/1.1`,
      `Host: ${host}:80`,
      "Via: 1.1 gate-1",
      `Proxy-Authorization: ${basic}`,
    ]);
    expect(inside).toMatch(/^GET \/ws HTTP\/1\.1\r\n/);
    expect(inside).not.toMatch(/proxy-authorization/i);
    client.close();
  });

  test("a WebSocket that the parent refuses is a 502", async () => {
    const host = hostFor("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "web.test");
    const client = await connectRaw(proxy.port);
    client.send(
      `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    const head = await client.readHead();
    expect({ status: head.status, phrase: head.reason }).toEqual({
      status: 502,
      phrase: "Failed: http_request_denied",
    });
    client.close();
  });
});

test("credentials stand in no log line and in nothing that is said to a person", () => {
  const told = JSON.stringify(proxy.log) + proxy.stderr();
  expect(proxy.log.length).toBeGreaterThan(10);
  for (const secret of [password, basic, basic.slice("Basic ".length), "c3RvbGVu"]) expect(told).not.toContain(secret);
});
