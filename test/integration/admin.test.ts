import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { PolicyView } from "../../src/admin/policy-view.ts";
import type { Admin, AdminOptions } from "../../src/admin/server.ts";
import { createMetrics } from "../../src/record/metrics.ts";
import { adminWith } from "../support/admin.ts";

const policy: PolicyView = {
  hash: "0123456789abcdef",
  generation: 3,
  default_mode: "enforce",
  files: [],
  groups: [],
  rules: [],
};
const token = "correct-horse-battery-staple";

const running: Admin[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(running.splice(0).map((admin) => admin.close()));
});

async function start(changes: Partial<AdminOptions> = {}): Promise<number> {
  const metrics = createMetrics({ version: "1.2.3", nodeVersion: "v20.0.0" });
  const admin = adminWith({ names: ["sallyport"], metrics, policy: () => policy, ...changes });
  running.push(admin);
  return admin.listen();
}

function open(port: number): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  sockets.push(socket);
  return socket;
}

type Answer = { status: number; fields: Map<string, string>; body: string; whole: string };

/** Sends bytes as they are and reads until the server closes. */
async function send(port: number, request: string): Promise<Answer> {
  const socket = open(port);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.write(request);
  await once(socket, "close");
  const whole = Buffer.concat(chunks).toString("latin1");
  const [head = "", ...rest] = whole.split("\r\n\r\n");
  const [statusLine = "", ...lines] = head.split("\r\n");
  const fields = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
  );
  return { status: Number(statusLine.split(" ")[1]), fields, body: rest.join("\r\n\r\n"), whole };
}

/** A request that asks for the connection to be closed. */
function get(port: number, path: string, host = "localhost", more = "", method = "GET"): Promise<Answer> {
  return send(port, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`);
}

describe("endpoints", () => {
  test("/metrics answers Prometheus in its format", async () => {
    const answer = await get(await start(), "/metrics");
    expect(answer.status).toBe(200);
    expect(answer.fields.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(answer.body).toContain('sallyport_build_info{version="1.2.3",node="v20.0.0"} 1');
  });

  test("/healthz says how long the process has been up", async () => {
    const times = [1_000, 43_500];
    const answer = await get(await start({ now: () => times.shift() ?? 0 }), "/healthz");
    expect([answer.status, JSON.parse(answer.body)]).toEqual([200, { status: "ok", uptime_seconds: 42 }]);
  });

  test("/readyz follows isReady", async () => {
    let ready = true;
    const port = await start({ isReady: () => ready });
    expect((await get(port, "/readyz")).status).toBe(200);
    ready = false;
    expect((await get(port, "/readyz")).status).toBe(503);
    expect((await get(port, "/healthz")).status).toBe(200);
  });

  test("/api/policy shows the policy in force", async () => {
    const answer = await get(await start(), "/api/policy");
    expect([answer.status, JSON.parse(answer.body)]).toEqual([200, policy]);
  });

  test("/api/explain does not exist where nobody explains", async () => {
    expect((await get(await start(), "/api/explain")).status).toBe(404);
  });

  test.each(["/metrics", "/healthz", "/api/policy"])("HEAD %s has the fields and no body", async (path) => {
    const answer = await get(await start(), path, "localhost", "", "HEAD");
    expect([answer.status, answer.body]).toEqual([200, ""]);
    expect(answer.fields.has("content-type")).toBe(true);
  });

  test.each(["/", "/metrics/", "/api", "/METRICS", "//metrics", "/api/%70olicy/x", "/favicon.ico"])(
    "%s is 404 in JSON",
    async (path) => {
      const answer = await get(await start(), path);
      expect([answer.status, JSON.parse(answer.body).error]).toEqual([404, "not_found"]);
    },
  );

  test.each(["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])(
    "%s is 405 in JSON and names what is allowed",
    async (method) => {
      const answer = await get(await start(), "/api/policy", "localhost", "", method);
      expect([answer.status, JSON.parse(answer.body).error, answer.fields.get("allow")]).toEqual([
        405,
        "method_not_allowed",
        "GET, HEAD",
      ]);
    },
  );

  test("a fault in answering is 500, says nothing of itself, and is told", async () => {
    const problems: unknown[] = [];
    const fault = new Error("secret detail");
    const port = await start({
      policy: () => {
        throw fault;
      },
      onProblem: (error) => problems.push(error),
    });
    const answer = await get(port, "/api/policy");
    expect([answer.status, JSON.parse(answer.body).error]).toEqual([500, "internal"]);
    expect(answer.whole).not.toContain("secret");
    expect(problems).toEqual([fault]);
  });

  test.each(["/metrics", "/nothing", "/api/policy"])(
    "%s can be read by no page, cached by nobody, and runs no script",
    async (path) => {
      for (const host of ["localhost", "evil.example"]) {
        const { fields } = await get(await start(), path, host, "Origin: http://evil.example\r\n");
        expect(fields.get("x-content-type-options")).toBe("nosniff");
        expect(fields.get("cache-control")).toBe("no-store");
        expect(fields.get("content-security-policy")).toContain("default-src 'none'");
        expect([...fields.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
      }
    },
  );

  test("a preflight gets no CORS fields", async () => {
    const answer = await get(
      await start(),
      "/api/policy",
      "localhost",
      "Origin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\n",
      "OPTIONS",
    );
    expect(answer.status).toBe(405);
    expect(answer.whole.toLowerCase()).not.toContain("access-control");
  });
});

describe("the Host that was asked (DNS rebinding)", () => {
  test.each(["/metrics", "/healthz", "/readyz"])("%s answers any Host, even a malformed one", async (path) => {
    const port = await start();
    for (const host of ["evil.example", "a b", "[::1", "", "x:99999", "user@localhost"]) {
      expect([host, (await get(port, path, host)).status]).toEqual([host, 200]);
    }
  });

  test.each([
    "localhost",
    "localhost:9180",
    "LOCALHOST",
    "127.0.0.1:9180",
    "10.0.0.7",
    "[::1]:9180",
    "sallyport",
    "sallyport:9180",
    "SallyPort.",
  ])("the rest answers %s", async (host) => {
    expect((await get(await start(), "/api/policy", host)).status).toBe(200);
  });

  test.each([
    "evil.example",
    "localhost.evil.example",
    "evil.localhost",
    "sallyport.evil.example",
    "127.0.0.1.evil.example",
    "2130706433",
    "0x7f.1",
    "127.1",
    "user@localhost",
    "localhost@evil.example",
    "localhost, evil.example",
    "localhost:",
    "localhost/",
    "::1",
    "",
  ])("the rest refuses %s", async (host) => {
    const answer = await get(await start(), "/api/policy", host);
    expect([answer.status, JSON.parse(answer.body).error]).toEqual([421, "host_not_admitted"]);
  });

  test("paths that do not exist tell a stranger nothing else", async () => {
    expect((await get(await start(), "/nothing", "evil.example")).status).toBe(421);
  });

  test("a spelling of an open path is not open", async () => {
    const port = await start();
    for (const path of ["/%6detrics", "/metrics/../api/policy", "/./healthz", "/metrics;/api/policy"]) {
      expect([path, (await get(port, path, "evil.example")).status]).toEqual([path, 421]);
    }
  });

  test("an open path with a query stays what it is", async () => {
    const answer = await get(await start(), "/healthz?/api/policy", "evil.example");
    expect([answer.status, JSON.parse(answer.body).status]).toEqual([200, "ok"]);
  });

  test("two Hosts are refused, and so is none", async () => {
    const port = await start();
    expect((await get(port, "/api/policy", "localhost", "Host: evil.example\r\n")).status).toBe(400);
    expect((await get(port, "/metrics", "localhost", "Host: localhost\r\n")).status).toBe(400);
    expect((await send(port, "GET /api/policy HTTP/1.1\r\nConnection: close\r\n\r\n")).status).toBe(400);
    expect((await send(port, "GET /api/policy HTTP/1.0\r\n\r\n")).status).toBe(421);
  });

  test("a second Host behind thousands of fields is still seen", async () => {
    // Node keeps 2000 fields unless told otherwise, and counts neither colons nor line ends towards the size of a head.
    const filler = "a:\r\n".repeat(3000);
    const answer = await get(await start(), "/api/policy", "localhost", `${filler}Host: evil.example\r\n`);
    expect(answer.status).toBe(400);
  });
});

describe("beyond loopback", () => {
  const everywhere = { host: "0.0.0.0", port: 0 };
  const bearer = (text: string) => `Authorization: ${text}\r\n`;

  test("without a configured token only the open endpoints answer, and the rest says why", async () => {
    const port = await start({ address: everywhere });
    for (const path of ["/metrics", "/healthz", "/readyz"]) expect((await get(port, path)).status).toBe(200);
    for (const more of ["", bearer("Bearer "), bearer("Bearer undefined"), bearer(`Bearer ${token}`)]) {
      const answer = await get(port, "/api/policy", "localhost", more);
      expect([answer.status, JSON.parse(answer.body).error]).toEqual([403, "token_not_configured"]);
      expect(answer.body).toContain("admin.token_file");
    }
  });

  test("an empty token is none", async () => {
    const port = await start({ address: everywhere, token: "" });
    expect((await get(port, "/api/policy", "localhost", bearer("Bearer "))).status).toBe(403);
  });

  test.each<[string, string, number]>([
    ["the token", bearer(`Bearer ${token}`), 200],
    ["the token, scheme in lower case", bearer(`bearer ${token}`), 200],
    ["no token", "", 401],
    ["another token", bearer("Bearer wrong"), 401],
    ["a part of it", bearer(`Bearer ${token.slice(0, -1)}`), 401],
    ["more than it", bearer(`Bearer ${token}x`), 401],
    ["it twice", bearer(`Bearer ${token}`).repeat(2), 401],
    ["another scheme", bearer(`Basic ${token}`), 401],
    ["it without a scheme", bearer(token), 401],
  ])("%s", async (_, more, status) => {
    const port = await start({ address: everywhere, token });
    const answer = await get(port, "/api/policy", "localhost", more);
    expect(answer.status).toBe(status);
    expect(answer.fields.has("www-authenticate")).toBe(status === 401);
  });

  test("the token does not make up for a foreign Host", async () => {
    const port = await start({ address: everywhere, token });
    expect((await get(port, "/api/policy", "evil.example", bearer(`Bearer ${token}`))).status).toBe(421);
  });

  test("on loopback no token is asked for", async () => {
    expect((await get(await start({ token }), "/api/policy")).status).toBe(200);
    expect((await get(await start({ token, address: { host: "localhost", port: 0 } }), "/api/policy")).status).toBe(
      200,
    );
  });
});

describe("it is no proxy", () => {
  test.each(["http://localhost/api/policy", "http://127.0.0.1/metrics", "https://example.com/", "*", "localhost:80"])(
    "the request target %s is refused",
    async (target) => {
      expect((await get(await start(), target, "localhost", "", target === "*" ? "OPTIONS" : "GET")).status).toBe(400);
    },
  );

  test("CONNECT is refused and the connection closed, whatever the client goes on to send", async () => {
    const answer = await send(
      await start(),
      "CONNECT localhost:9180 HTTP/1.1\r\nHost: localhost:9180\r\n\r\nGET /api/policy HTTP/1.1\r\n\r\n",
    );
    expect(answer.status).toBe(405);
    expect(answer.whole.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  test("CONNECT by a client that never hangs up does not keep the server from closing", async () => {
    const port = await start();
    const socket = open(port);
    socket.write("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
    socket.resume();
    await once(socket, "end");
    const closed = running.splice(0)[0]!.close();
    await expect(closed).resolves.toBeUndefined();
  });

  test("an upgrade is answered as the plain request it is", async () => {
    const port = await start();
    const answer = await send(
      port,
      "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n",
    );
    expect(answer.status).toBe(200);
  });
});

describe("limits", () => {
  const limits = { connections: 2, headBytes: 1024, headTimeoutMs: 50, requestTimeoutMs: 100, idleTimeoutMs: 1_000 };

  test.each<[string, string]>([
    ["a length", "Content-Length: 5\r\n"],
    ["chunks", "Transfer-Encoding: chunked\r\n"],
  ])("a body with %s is refused before it is read", async (_, field) => {
    const port = await start();
    for (const method of ["GET", "POST"]) {
      const answer = await send(port, `${method} /metrics HTTP/1.1\r\nHost: localhost\r\n${field}\r\n`);
      expect([answer.status, answer.fields.get("connection")]).toEqual([413, "close"]);
    }
  });

  test("an empty body is none", async () => {
    expect((await get(await start(), "/metrics", "localhost", "Content-Length: 0\r\n")).status).toBe(200);
  });

  test("a head beyond its cap is 431", async () => {
    const answer = await get(await start({ limits }), "/metrics", "localhost", `X: ${"x".repeat(2000)}\r\n`);
    expect(answer.status).toBe(431);
  });

  test("half a head is answered with 408 and closed", async () => {
    const answer = await send(await start({ limits }), "GET /metrics HTTP/1.1\r\nHost:");
    expect(answer.status).toBe(408);
  });

  test("connections beyond the cap are closed, and the others live", async () => {
    const port = await start({ limits: { ...limits, headTimeoutMs: 10_000, requestTimeoutMs: 10_000 } });
    const first = open(port);
    const second = open(port);
    await Promise.all([once(first, "connect"), once(second, "connect")]);
    // The server counts a connection once it is accepted; an answer proves that both were.
    for (const socket of [first, second]) {
      socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
      await once(socket, "data");
    }
    const third = open(port);
    third.resume();
    await once(third, "close");
    first.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect(String((await once(first, "data"))[0])).toContain("200 OK");
  });

  test("noise is 400", async () => {
    expect((await send(await start(), "\u0016\u0003\u0001\u0002\u0000\u0001\r\n\r\n")).status).toBe(400);
  });
});

describe("life", () => {
  test("listen rejects when the port is taken", async () => {
    const port = await start();
    await expect(start({ address: { host: "127.0.0.1", port } })).rejects.toThrow("EADDRINUSE");
  });

  test("close ends idle connections and frees the port", async () => {
    const port = await start();
    const socket = open(port);
    socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await once(socket, "data");
    const [admin] = running.splice(0);
    await Promise.all([once(socket, "close"), admin!.close()]);
    const again = connect(port, "127.0.0.1");
    sockets.push(again);
    await expect(once(again, "connect")).rejects.toThrow("ECONNREFUSED");
  });

  test("two requests on one connection are judged each for itself", async () => {
    const port = await start();
    const answer = await send(
      port,
      "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\nGET /api/policy HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    );
    expect(answer.whole.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 421"]);
  });
});
