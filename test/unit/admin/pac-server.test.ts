/** The PAC listener over real sockets: what it answers, to whom, and what it refuses. */
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { type PacServer, type PacServerOptions, createPacServer } from "../../../src/admin/pac-server.ts";
import { rule, rulesetOf } from "../../support/policy.ts";
import { connectRaw } from "../../support/raw-http.ts";

const ruleset = rulesetOf(
  [
    rule({ id: "all", hosts: ["all.example"], expect: ["https"] }),
    rule({ id: "mine", hosts: ["mine.example"], expect: ["https"], clients: ["servers"], expiresAt: 1000 }),
  ],
  [
    { name: "servers", addresses: ["127.0.0.2/32"] },
    { name: "kiosks", addresses: ["127.0.0.3/32"] },
  ],
);
const anywhere = { host: "0.0.0.0", port: 3128, tls: false, clients: null };

const open: PacServer[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) {
    server.destroy();
    await server.drain();
  }
});

async function start(options: Partial<PacServerOptions> = {}): Promise<number> {
  const server = createPacServer({
    address: { host: "127.0.0.1", port: 0 },
    clients: null,
    otherwise: "DIRECT",
    ruleset: () => ruleset,
    proxies: () => [anywhere],
    now: () => 0,
    ...options,
  });
  open.push(server);
  return server.listen();
}

type Asked = { readonly method?: string; readonly host?: string; readonly from?: string };

async function ask(port: number, path: string, { method = "GET", host = "wpad.corp.example", from }: Asked = {}) {
  const client = await connectRaw(port, from === undefined ? {} : { localAddress: from });
  client.send(`${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  const head = await client.readHead();
  const body = (await client.readAll()).toString();
  client.close();
  return { status: head.status, headers: head.headers, body };
}

describe("the script", () => {
  test.each(["/proxy.pac", "/wpad.dat", "/proxy.pac?123"])("is at %s, to be kept for a short while", async (path) => {
    const { status, headers, body } = await ask(await start(), path);
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("application/x-ns-proxy-autoconfig");
    expect(headers.get("cache-control")).toBe("private, max-age=60");
    expect(headers.get("connection")).toBe("close");
    expect(body).toContain("function FindProxyForURL(url, host)");
    expect(body).toContain('"=all.example": 1');
  });

  test("comes without its body for HEAD", async () => {
    const port = await start();
    const { headers, body } = await ask(port, "/proxy.pac", { method: "HEAD" });
    expect(body).toBe("");
    expect(headers.get("content-length")).toBe(String((await ask(port, "/proxy.pac")).body.length));
  });

  test("is that of the client's groups, and of the time", async () => {
    let now = 0;
    const port = await start({ now: () => now });
    expect((await ask(port, "/proxy.pac")).body).not.toContain("mine.example");
    expect((await ask(port, "/proxy.pac", { from: "127.0.0.2" })).body).toContain("mine.example");
    now = 1000;
    expect((await ask(port, "/proxy.pac", { from: "127.0.0.2" })).body).not.toContain("mine.example");
  });

  test("is made anew when the policy is", async () => {
    let current = ruleset;
    const port = await start({ ruleset: () => current });
    await ask(port, "/proxy.pac");
    current = rulesetOf([rule({ id: "new", hosts: ["new.example"], expect: ["https"] })]);
    expect((await ask(port, "/proxy.pac")).body).toContain("new.example");
  });
});

describe("the proxy that it names", () => {
  const of = async (proxies: PacServerOptions["proxies"], asked: Asked = {}, otherwise = "DIRECT") =>
    /^var covered = "(.*)";$/m.exec((await ask(await start({ proxies, otherwise }), "/proxy.pac", asked)).body)?.[1];

  test.each<[string, Partial<typeof anywhere>, string, string]>([
    ["the name it was asked by, where it listens on every address", {}, "wpad:8000", "PROXY wpad:3128"],
    ["that name in canonical form", {}, "WPAD.Corp.Example.", "PROXY wpad.corp.example:3128"],
    ["an address it was asked by", {}, "[2001:DB8::1]:8000", "PROXY [2001:db8::1]:3128"],
    ["the address, where it listens on one", { host: "10.0.0.1" }, "wpad", "PROXY 10.0.0.1:3128"],
    ["the name it was asked by, where it speaks TLS", { host: "10.0.0.1", tls: true }, "wpad", "HTTPS wpad:3128"],
  ])("is %s", async (_title, proxy, host, expected) => {
    expect(await of(() => [{ ...anywhere, ...proxy }], { host })).toBe(expected);
  });

  test("is the first that admits the client's groups", async () => {
    const proxies = () => [
      { ...anywhere, port: 1, clients: ["servers"] },
      { ...anywhere, port: 2 },
    ];
    expect(await of(proxies, { host: "w" })).toBe("PROXY w:2");
    expect(await of(proxies, { host: "w", from: "127.0.0.2" })).toBe("PROXY w:1");
    const withTls = () => [
      { ...anywhere, port: 1, tls: true },
      { ...anywhere, port: 2 },
    ];
    expect(await of(withTls, { host: "w" })).toBe("PROXY w:2");
  });

  test("is all that is named with otherwise: proxy", async () => {
    const { body } = await ask(await start({ otherwise: "proxy" }), "/proxy.pac", { host: "w" });
    expect(body).toContain('return "PROXY w:3128";');
    expect(body).not.toContain("all.example");
  });
});

describe("refused are", () => {
  test.each<[string, number, string, Asked]>([
    ["other paths", 404, "/", {}],
    ["paths beside it", 404, "/proxy.pac/", {}],
    ["a proxy's requests", 404, "http://all.example/proxy.pac", {}],
    ["other methods", 405, "/proxy.pac", { method: "POST" }],
    ["a Host that is none", 400, "/proxy.pac", { host: 'x";alert(1)//' }],
    ["a Host with a path", 400, "/proxy.pac", { host: "x/y" }],
  ])("%s with %i", async (_title, status, path, asked) => {
    expect((await ask(await start(), path, asked)).status).toBe(status);
  });

  test("clients that the listener does not admit, or no proxy", async () => {
    const limited = await start({ clients: ["kiosks"] });
    expect((await ask(limited, "/proxy.pac")).status).toBe(403);
    expect((await ask(limited, "/proxy.pac", { from: "127.0.0.3" })).status).toBe(200);
    const none = await start({ proxies: () => [{ ...anywhere, clients: ["servers"] }] });
    expect((await ask(none, "/proxy.pac")).status).toBe(403);
  });

  test("CONNECT and upgrades, with a close", async () => {
    const port = await start();
    for (const head of [
      "CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ]) {
      const client = await connectRaw(port);
      client.send(head);
      expect((await client.readHead()).status).toBe(405);
      expect(await client.waitClose()).toBe("fin");
      client.close();
    }
  });
});

describe("limits", () => {
  const limits = { connections: 2, headBytes: 1024, headTimeoutMs: 100, requestTimeoutMs: 300, idleTimeoutMs: 300 };

  test("a head that does not come in time, or is too large, ends the connection", async () => {
    const port = await start({ limits });
    const slow = await connectRaw(port);
    slow.send("GET /proxy.pac HTTP/1.1\r\nHo");
    expect((await slow.readHead()).status).toBe(408);
    const large = await connectRaw(port);
    large.send(`GET /proxy.pac HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(2000)}\r\n\r\n`);
    expect((await large.readHead()).status).toBe(431);
    slow.close();
    large.close();
  });

  test("a connection on which nothing is said is ended, and one too many is not taken", async () => {
    const port = await start({ limits });
    const idle = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")];
    for (const socket of idle) socket.on("error", () => {});
    await Promise.all(idle.map((socket) => once(socket, "connect")));
    const third = connect(port, "127.0.0.1")
      .on("error", () => {})
      .resume();
    await once(third, "close");
    expect(idle.map((socket) => socket.destroyed)).toEqual([false, false]);
    await Promise.all(idle.map((socket) => once(socket.resume(), "close")));
  });

  test("drain waits for what is under way, destroy does not", async () => {
    const server = createPacServer({
      address: { host: "127.0.0.1", port: 0 },
      clients: null,
      otherwise: "DIRECT",
      now: () => 0,
      ruleset: () => ruleset,
      proxies: () => [anywhere],
    });
    const port = await server.listen();
    const client = await connectRaw(port);
    client.send("GET /pro");
    await ask(port, "/proxy.pac");
    let isDrained = false;
    const drained = server.drain().then(() => (isDrained = true));
    await expect(connectRaw(port)).rejects.toThrow("ECONNREFUSED");
    expect(isDrained).toBe(false);
    server.destroy();
    await drained;
    client.close();
  });
});
