/** Open tunnels whose rule a reload takes away: kept, drained or closed, and those whose rule stays are left alone. */
import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { helloFor, serverHello } from "../support/hello.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { policyWith, postReload, replaceFile } from "../support/reload.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { expectMetric, openTunnel } from "../support/tunnel.ts";

const raw = { id: "raw", hosts: ["raw.example.com"], expect: "tcp:22" };
const tls = { id: "tls", hosts: ["tls.example.com"], expect: "https" };
const socket = { id: "socket", hosts: ["socket.example.com"], expect: "http", websocket: "allow" };
const web = { id: "web", hosts: ["web.example.com"], expect: "http" };
const all = policyWith([raw, tls, socket, web]);
const key = "dGhlIHNhbXBsZSBub25jZQ==";
const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

let origin: TcpOrigin;
/** Answers a ClientHello, a handshake of a WebSocket, or a request for a slow file; echoes everything else. */
beforeAll(async () => {
  origin = await startTcpOrigin(({ socket: one }) => {
    one.on("end", () => one.end());
    one.once("data", (first: Buffer) => {
      const head = first.toString("latin1");
      if (head.includes("/slow")) {
        one.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
        slow.push(() => one.end("lf"));
        return;
      }
      if (first[0] === 22) one.write(serverHello());
      else if (head.startsWith("GET ")) {
        one.write(
          `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
        );
      } else one.write(first);
      one.on("data", (chunk: Buffer) => one.write(chunk));
    });
  });
});
const slow: (() => void)[] = [];
afterAll(() => origin.close());

let proxy: Sallyport | undefined;
const clients: RawClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await proxy?.stop();
  proxy = undefined;
});

async function start(onRevoke: string, drainTimeout = "30s", workers = 1): Promise<Sallyport> {
  proxy = await startSallyport({
    policy: all,
    settings: {
      workers,
      connect_to: [`*::127.0.0.1:${origin.port}`],
      limits: { drain_timeout: drainTimeout },
      reload: { watch: false, on_revoke: onRevoke },
    },
  });
  return proxy;
}

type Kind = "raw" | "tls" | "socket";
const kinds: readonly Kind[] = ["raw", "tls", "socket"];

async function open(kind: Kind): Promise<RawClient> {
  const client = await opened(kind);
  clients.push(client);
  expect(await echoes(client)).toBe(true);
  return client;
}

async function opened(kind: Kind): Promise<RawClient> {
  const to = proxy!;
  if (kind === "raw") return openTunnel(to, "raw.example.com:22");
  if (kind === "tls") {
    const client = await openTunnel(to, "tls.example.com:443", { behind: helloFor("tls.example.com") });
    await client.readBytes(serverHello().length);
    return client;
  }
  const client = await connectRaw(to.port);
  client.send(
    `GET http://socket.example.com/ HTTP/1.1\r\nHost: socket.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  expect((await client.readHead()).status).toBe(101);
  return client;
}

async function echoes(client: RawClient): Promise<boolean> {
  client.send("ping");
  return client.readBytes(4).then(
    (bytes) => bytes.toString() === "ping",
    () => false,
  );
}

/** Without the rules of these kinds; answers how many tunnels that concerns. */
async function revoke(gone: readonly Kind[], more: readonly object[] = []): Promise<unknown> {
  const rules = [raw, tls, socket, web].filter(({ id }) => !gone.some((kind) => kind === id));
  await replaceFile(proxy!, policyWith([...rules, ...more]));
  const { status, body } = await postReload(proxy!);
  expect(status).toBe(200);
  return body["tunnels_revoked"];
}

const isRevoked = (line: Readonly<Record<string, unknown>>): boolean => line["closed_by"] === "policy";

describe.each(kinds)("a %s tunnel whose rule is gone", (kind) => {
  test("keep: runs on, and no other is let in", async () => {
    await start("keep");
    const client = await open(kind);
    expect(await revoke([kind])).toBe(1);
    expect(await echoes(client)).toBe(true);
    await expect(open(kind)).rejects.toThrow();
    expect(proxy!.log.filter(isRevoked)).toEqual([]);
  });

  test("close: is reset at once, and those of other rules run on", async () => {
    await start("close");
    const client = await open(kind);
    const others = await Promise.all(kinds.filter((other) => other !== kind).map(open));
    expect(await revoke([kind])).toBe(1);
    expect(await client.waitClose()).toBe("reset");
    expect(await Promise.all(others.map(echoes))).toEqual([true, true]);
    const line = await proxy!.logged(isRevoked);
    expect(line).toMatchObject({ verdict: "allow", rule: `site/${kind}`, bytes_up: expect.any(Number) });
    expect(line).not.toHaveProperty("outcome");
    await expectMetric(proxy!, "sallyport_tunnels_active", 2);
    const counted = await proxy!.metric('sallyport_tunnels_total{result="revoked"}');
    expect(counted).toBe(kind === "socket" ? 0 : 1);
  });

  test("drain: a busy one runs until drain_timeout has passed", async () => {
    await start("drain", "1s");
    const client = await open(kind);
    const startedAt = performance.now();
    expect(await revoke([kind])).toBe(1);
    let echoed = 0;
    while (await echoes(client)) echoed += 1;
    expect(performance.now() - startedAt).toBeGreaterThan(900);
    expect(echoed).toBeGreaterThan(10);
    expect(await client.waitClose()).toBe("reset");
    await proxy!.logged(isRevoked);
    await expectMetric(proxy!, "sallyport_tunnels_active", 0);
  });
});

describe("a drain", () => {
  test("ends a silent tunnel after five seconds, and does not ask a later policy", { timeout: 15_000 }, async () => {
    await start("drain");
    const client = await open("raw");
    const startedAt = performance.now();
    expect(await revoke(["raw"])).toBe(1);
    expect(await revoke([])).toBe(1);
    await proxy!.logged(isRevoked);
    expect(performance.now() - startedAt).toBeGreaterThan(4_900);
    expect(performance.now() - startedAt).toBeLessThan(8_000);
    expect(await client.waitClose()).toBe("reset");
  });
});

describe("what a tunnel is judged by", () => {
  const tightened: Readonly<Record<string, { kind: Kind; rule: object; revoked: number }>> = {
    "another rule that lets it in": { kind: "tls", rule: { ...tls, id: "other" }, revoked: 0 },
    "a tls_min that was negotiated": { kind: "tls", rule: { ...tls, tls_min: "1.3" }, revoked: 0 },
    "a port that was not asked for": { kind: "tls", rule: { ...tls, expect: "https:8443" }, revoked: 1 },
    "a tcp rule in place of an https one": { kind: "tls", rule: { ...tls, expect: "tcp:443" }, revoked: 0 },
    "https where nobody has looked for TLS": { kind: "raw", rule: { ...raw, expect: "https:22" }, revoked: 1 },
    "websocket: deny": { kind: "socket", rule: { ...socket, websocket: "deny" }, revoked: 1 },
    "paths that were not asked for": { kind: "socket", rule: { ...socket, paths: ["/other/**"] }, revoked: 1 },
    "a deny rule": { kind: "raw", rule: { id: "raw", action: "deny", hosts: ["raw.example.com"] }, revoked: 1 },
    "a rule that ran out": { kind: "raw", rule: { ...raw, expires: "2026-01-01" }, revoked: 1 },
  };
  test.each(Object.entries(tightened))("%s", async (_, { kind, rule, revoked }) => {
    await start("close");
    const client = await open(kind);
    expect(await revoke([kind], [rule])).toBe(revoked);
    expect(await echoes(client)).toBe(revoked === 0);
  });

  test("the address: a rule that no longer resolves there takes the tunnel with it", async () => {
    const resolves = {
      id: "raw",
      hosts: ["raw.example.com"],
      expect: `tcp:${origin.port}`,
      resolves_to: ["127.0.0.0/8"],
    };
    proxy = await startSallyport({
      policy: policyWith([resolves]),
      settings: { dns: { hosts: { "raw.example.com": "127.0.0.1" } }, reload: { watch: false, on_revoke: "close" } },
    });
    const client = await openTunnel(proxy, `raw.example.com:${origin.port}`);
    clients.push(client);
    expect(await echoes(client)).toBe(true);
    await replaceFile(proxy, policyWith([{ ...resolves, resolves_to: ["127.0.0.1/32"] }]));
    expect((await postReload(proxy)).body["tunnels_revoked"]).toBe(0);
    expect(await echoes(client)).toBe(true);
    await replaceFile(proxy, policyWith([{ ...resolves, resolves_to: ["public"] }]));
    expect((await postReload(proxy)).body["tunnels_revoked"]).toBe(1);
    expect(await client.waitClose()).toBe("reset");
  });
});

describe("what is under way when the policy changes", () => {
  test("a tunnel that is being opened ends up under the new policy", async () => {
    await start("close");
    const client = await openTunnel(proxy!, "tls.example.com:443");
    clients.push(client);
    expect(await revoke(["tls"])).toBe(0);
    client.send(helloFor("tls.example.com"));
    expect(await client.waitClose()).toBe("reset");
    expect(await proxy!.logged(isRevoked)).toMatchObject({ verdict: "allow", rule: "site/tls" });
  });

  test("a download runs to its end, and the next request on its connection meets the new policy", async () => {
    await start("close");
    const client = await connectRaw(proxy!.port);
    clients.push(client);
    const get = (path: string): string => `GET http://web.example.com${path} HTTP/1.1\r\nHost: web.example.com\r\n\r\n`;
    client.send(get("/slow"));
    expect((await client.readHead()).status).toBe(200);
    await replaceFile(proxy!, policyWith([raw]));
    expect((await postReload(proxy!)).body).toMatchObject({ result: "reloaded", tunnels_revoked: 0 });
    for (const finish of slow.splice(0)) finish();
    expect((await client.readBytes(4)).toString()).toBe("half");
    client.send(get("/more"));
    expect((await client.readHead()).status).toBe(403);
  });

  test("on_revoke of the new files counts", async () => {
    await start("keep");
    const client = await open("raw");
    expect(await revoke(["raw"])).toBe(1);
    expect(await echoes(client)).toBe(true);
    await replaceFile(
      proxy!,
      `version: 1\nlisten: [{ kind: proxy, address: "127.0.0.1:0" }]\nadmin: { address: "127.0.0.1:0" }\npolicy: [site.yaml]\nconnect_to: ["*::127.0.0.1:${origin.port}"]\nlimits: { drain_timeout: 30s }\nreload: { watch: false, on_revoke: close }\n`,
      "sallyport.yaml",
    );
    const { body } = await postReload(proxy!);
    expect(body).toMatchObject({ result: "reloaded", on_revoke: "close", tunnels_revoked: 1, restart_needed: [] });
    expect(await client.waitClose()).toBe("reset");
  });

  test("two workers: those of both are closed", async () => {
    await start("close", "30s", 2);
    const tunnels = await Promise.all(Array.from({ length: 24 }, () => open("raw")));
    expect(await revoke(["raw"])).toBe(24);
    expect(await Promise.all(tunnels.map((client) => client.waitClose()))).toEqual(tunnels.map(() => "reset"));
    await expectMetric(proxy!, "sallyport_tunnels_active", 0);
  });
});
