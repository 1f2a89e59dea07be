/**
 * Attack: the admin server of a running Sallyport, from where it must not be reached: through the proxy port, through
 * the proxy as a target, from a web page (DNS rebinding), from another machine without the token. And the admin server
 * as a proxy. What it answers to whom it should is in test/integration/admin.test.ts.
 */
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RawHead, connectRaw } from "../support/raw-http.ts";
import { freePort } from "../support/ports.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import { expectServing, startHelloOrigin } from "../support/tunnel.ts";

const token = "correct-horse-battery-staple";

let origin: TcpOrigin;
let directory: string;
let proxyPort: number;
let adminPort: number;
let openPort: number;
/** Its admin server is on loopback. */
let proxy: Sallyport;
/** Its admin server is on every address, and has a token. */
let open: Sallyport;

beforeAll(async () => {
  origin = await startHelloOrigin();
  directory = await mkdtemp(join(tmpdir(), "sallyport-admin-"));
  await writeFile(join(directory, "token"), `${token}\n`);
  await chmod(join(directory, "token"), 0o600);
  // The admin server's port has to be known before a policy names it.
  proxyPort = await freePort();
  adminPort = await freePort();
  openPort = await freePort();
  const ports = (): string[] => [adminPort, proxyPort, openPort].map((port) => `http:${port}`);
  const policy = {
    rules: [
      { id: "good", hosts: ["good.example.com"], expect: "https" },
      // A policy that allows all that it can: the admin server is no target even so.
      {
        id: "any",
        hosts: ["rebound.example.com", "localhost"],
        expect: ports(),
        resolves_to: ["127.0.0.0/8", "::1/128"],
        websocket: "allow",
      },
      { id: "literal", addresses: ["127.0.0.0/8", "0.0.0.0/8", "::1/128"], expect: ports(), websocket: "allow" },
      { id: "routed", hosts: ["routed.example.com"], expect: "http" },
    ],
  };
  const settings = {
    dns: { hosts: { "rebound.example.com": "127.0.0.1", localhost: "127.0.0.1" } },
    connect_to: [`good.example.com::127.0.0.1:${origin.port}`, `routed.example.com::127.0.0.1:${adminPort}`],
  };
  const listen = [{ kind: "proxy", address: `127.0.0.1:${proxyPort}` }];
  proxy = await startSallyport({
    policy,
    settings: { ...settings, listen, admin: { address: `127.0.0.1:${adminPort}` } },
  });
  open = await startSallyport({
    policy,
    settings: { ...settings, admin: { address: `0.0.0.0:${openPort}`, token_file: join(directory, "token") } },
  });
});
afterAll(async () => {
  await proxy.stop();
  await open.stop();
  await origin.close();
  await rm(directory, { recursive: true, force: true });
});

/** Sends it to a port and reads up to the end of the connection, which the request has to ask for. */
async function ask(port: number, request: string): Promise<{ readonly head: RawHead; readonly body: string }> {
  const client = await connectRaw(port);
  try {
    client.send(request);
    const head = await client.readHead();
    return { head, body: (await client.readAll()).toString("latin1") };
  } finally {
    client.close();
  }
}

function get(target: string, host: string, ...fields: readonly string[]): string {
  return [`GET ${target} HTTP/1.1`, `Host: ${host}`, "Connection: close", ...fields, "", ""].join("\r\n");
}

/** Nothing that the admin server would have answered with. */
function expectNothingOfAdmin(body: string): void {
  expect(body).not.toMatch(/sallyport_decisions_total|# HELP|uptime|generation|site\.yaml/);
}

describe("the proxy port has no endpoints", () => {
  const paths = ["/metrics", "/healthz", "/readyz", "/api/policy", "/squid-internal-mgr/info"];
  test.each(paths)("%s in origin form is a 400, whatever the Host", async (path) => {
    for (const host of ["localhost", `127.0.0.1:${adminPort}`, `127.0.0.1:${proxyPort}`, "good.example.com"]) {
      const { head, body } = await ask(proxyPort, get(path, host));
      expect([head.status, head.headers.get("x-sallyport-reason")]).toEqual([400, "bad_request"]);
      expectNothingOfAdmin(body);
    }
    await expectServing(proxy);
  });
});

describe("the admin server is no target, though a rule lists it: 502", () => {
  const targets: Readonly<Record<string, () => string>> = {
    "by address": () => `127.0.0.1:${adminPort}`,
    "by the unspecified address": () => `0.0.0.0:${adminPort}`,
    "by name": () => `localhost:${adminPort}`,
    "by a name of somebody else": () => `rebound.example.com:${adminPort}`,
    "by the administrator's own routing": () => "routed.example.com",
    "the proxy port by address": () => `127.0.0.1:${proxyPort}`,
    "the proxy port by name": () => `localhost:${proxyPort}`,
  };
  const upgrade = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
  ];
  for (const [sentence, target] of Object.entries(targets)) {
    test(`${sentence}, as a request and as a WebSocket`, async () => {
      for (const path of ["/metrics", "/api/policy", "/healthz"]) {
        const { head, body } = await ask(proxyPort, get(`http://${target()}${path}`, target()));
        expect([head.status, head.headers.get("proxy-status")]).toEqual([502, loop]);
        expectNothingOfAdmin(body);
      }
      const asSocket = [`GET http://${target()}/metrics HTTP/1.1`, `Host: ${target()}`, ...upgrade, "", ""];
      const { head, body } = await ask(proxyPort, asSocket.join("\r\n"));
      if (sentence.includes("routing")) expect(head.status).toBe(403);
      else expect([head.status, head.headers.get("proxy-status")]).toEqual([502, loop]);
      expectNothingOfAdmin(body);
      await expectServing(proxy);
    });
  }
  const loop = "sallyport; error=proxy_loop_detected";

  test("by whatever address of this machine it is bound on", async () => {
    for (const host of ["127.0.0.1", "127.0.0.2", "0.0.0.0"]) {
      const { head, body } = await ask(open.port, get(`http://${host}:${openPort}/metrics`, `${host}:${openPort}`));
      expect([host, head.status, head.headers.get("proxy-status")]).toEqual([host, 502, loop]);
      expectNothingOfAdmin(body);
    }
    await expectServing(open);
  });

  test("without such a rule it is denied like any address", async () => {
    const { head, body } = await ask(
      proxyPort,
      get(`http://[::ffff:10.0.0.1]:${adminPort}/metrics`, `[::ffff:10.0.0.1]:${adminPort}`),
    );
    expect([head.status, head.headers.get("x-sallyport-reason")]).toEqual([403, "ip_literal"]);
    expectNothingOfAdmin(body);
  });
});

describe("a page that has had its name pointed at the admin server", () => {
  test.each(["evil.example", "evil.example:9180", "localhost.evil.example", "good.example.com", "rebound.example.com"])(
    "%s is not told of the policy: 421",
    async (host) => {
      const { head, body } = await ask(adminPort, get("/api/policy", host, "Origin: http://evil.example"));
      expect(head.status).toBe(421);
      expect([...head.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
      expectNothingOfAdmin(body);
      await expectServing(proxy);
    },
  );

  test("and under the right name it is", async () => {
    expect((await ask(adminPort, get("/api/policy", "localhost"))).head.status).toBe(200);
  });
});

describe("an admin server beyond loopback", () => {
  const wrong: Readonly<Record<string, readonly string[]>> = {
    "no token": [],
    "another token": ["Authorization: Bearer wrong"],
    "a part of it": [`Authorization: Bearer ${token.slice(0, -1)}`],
    "it as a password": [`Authorization: Basic ${Buffer.from(`admin:${token}`).toString("base64")}`],
    "it for a proxy": [`Proxy-Authorization: Bearer ${token}`],
    "it in a cookie": [`Cookie: token=${token}`],
    "it twice": [`Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`],
    "a claim to come from loopback": ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: ::1"],
  };
  test.each(Object.entries(wrong))("with %s tells nothing: 401", async (_, fields) => {
    const { head, body } = await ask(open.adminPort, get("/api/policy", "localhost", ...fields));
    expect(head.status).toBe(401);
    expectNothingOfAdmin(body);
    expect(body).not.toContain(token);
    await expectServing(open);
  });

  test("with the token in the query tells nothing either", async () => {
    const { head } = await ask(open.adminPort, get(`/api/policy?token=${token}&access_token=${token}`, "localhost"));
    expect(head.status).toBe(401);
  });

  test("with the token answers, and the token stands in no log and no answer", async () => {
    const { head, body } = await ask(open.adminPort, get("/api/policy", "localhost", `Authorization: Bearer ${token}`));
    expect(head.status).toBe(200);
    expect(body + JSON.stringify(open.log) + open.stderr()).not.toContain(token);
  });
});

describe("the admin server is no proxy", () => {
  const requests: Readonly<Record<string, () => string>> = {
    "an absolute form": () => get(`http://127.0.0.1:${origin.port}/`, `127.0.0.1:${origin.port}`),
    "an absolute form of an allowed host": () => get("http://good.example.com/", "good.example.com"),
    "a CONNECT": () => "CONNECT good.example.com:443 HTTP/1.1\r\nHost: good.example.com:443\r\n\r\nsecret",
  };
  test.each(Object.entries(requests))("%s is refused, and nothing reaches the origin", async (_, request) => {
    const before = [origin.connections(), origin.bytesReceived()];
    const { head } = await ask(adminPort, request());
    expect([400, 405]).toContain(head.status);
    expect([origin.connections(), origin.bytesReceived()]).toEqual(before);
    await expectServing(proxy);
  });

  test.each(["POST", "PUT", "PATCH", "DELETE"])("%s changes nothing: 405 or 413", async (method) => {
    for (const body of ["Content-Length: 2\r\n\r\n{}", "\r\n"]) {
      const request = `${method} /api/policy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${body}`;
      const { head } = await ask(adminPort, request);
      expect([405, 413]).toContain(head.status);
    }
    await expectServing(proxy);
  });
});

test("a flood of broken requests to the admin server leaves the proxy as it was", async () => {
  const noise = [
    "\0".repeat(100),
    "GET / HTTP/9.9\r\n\r\n",
    "GET /metrics\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  ];
  for (const bytes of noise) {
    const client = await connectRaw(adminPort);
    client.send(bytes);
    await client.waitClose();
    client.close();
  }
  await expectServing(proxy);
  expect((await ask(adminPort, get("/healthz", "localhost"))).head.status).toBe(200);
});
