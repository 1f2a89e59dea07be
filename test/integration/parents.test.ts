/** Parent proxies that are real: another Sallyport, Squid, tinyproxy; with TLS, with names, in loops, and in their order. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type Server, connect as netConnect } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { connect as tlsConnect, createServer as createTlsServer } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startDnsServer } from "../support/dns-server.ts";
import { credentialsFile } from "../support/parent-proxies.ts";
import { freePort } from "../support/ports.ts";
import { connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import {
  type Origin,
  type TcpOrigin,
  startTcpOrigin,
  startTlsOrigin,
  testAuthority,
  testLeaf,
} from "../support/tls-origin.ts";
import { openTunnel, sendConnect } from "../support/tunnel.ts";
import { describeWithTool, requireTool } from "../support/tools.ts";

const policy = {
  rules: [{ id: "web", hosts: ["*.example.com", "localhost"], expect: ["http", "https"], methods: ["GET", "POST"] }],
};
let web: TcpOrigin;
let secure: Origin;
/** Where the last proxy of a chain finds the origins. */
let routes: readonly string[];

beforeAll(async () => {
  web = await startTcpOrigin(({ socket, bytes }) => {
    let answered = 0;
    socket.on("data", () => {
      const heads = bytes().toString("latin1").split("\r\n\r\n").length - 1;
      for (; answered < heads; answered++) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nweb");
    });
  });
  secure = await startTlsOrigin({ authority: await testAuthority(), names: ["*.example.com", "localhost"] });
  routes = [`*:80:127.0.0.1:${web.port}`, `*:443:127.0.0.1:${secure.port}`];
});
afterAll(async () => {
  await web.close();
  await secure.close();
});

/** A page over plain HTTP, and an echo in a tunnel with a real handshake. */
async function expectServed(proxy: Sallyport, host = "a.example.com", ports = { http: 80, https: 443 }): Promise<void> {
  const client = await connectRaw(proxy.port);
  const authority = ports.http === 80 ? host : `${host}:${ports.http}`;
  for (const method of ["GET", "GET", "POST"]) {
    client.send(`${method} http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 0\r\n\r\n`);
    const head = await client.readHead();
    expect({ status: head.status, body: (await client.readBytes(3)).toString() }).toEqual({ status: 200, body: "web" });
  }
  client.close();
  const tunnel = await openTunnel(proxy, `${host}:${ports.https}`);
  const tls = tlsConnect({ socket: tunnel.detach(), servername: host, ca: (await testAuthority()).certPem });
  await once(tls, "secureConnect");
  tls.write("ping");
  expect(String((await once(tls, "data"))[0])).toBe("ping");
  tls.end();
  await once(tls, "close");
}

async function expectFailed(proxy: Sallyport, target: string, error: string): Promise<string> {
  const client = await sendConnect(proxy, target);
  const head = await client.readHead();
  expect({ status: head.status, phrase: head.reason }).toEqual({ status: 502, phrase: `Failed: ${error}` });
  const body = (await client.readAll()).toString();
  // The proxy would wait for it when it is stopped.
  client.close();
  return body;
}

describe("another Sallyport, with a policy of its own", () => {
  let parent: Sallyport;
  let child: Sallyport;
  beforeAll(async () => {
    parent = await startSallyport({
      policy: { rules: [...policy.rules, { id: "no", hosts: ["no.example.com"], action: "deny" }] },
      settings: { connect_to: routes },
    });
    child = await startSallyport({
      policy,
      settings: {
        parents: [
          { hosts: ["near.example.com"], via: "direct" },
          { hosts: ["*.example.com"], via: `http://127.0.0.1:${parent.port}` },
        ],
        connect_to: [...routes, "*::127.0.0.1:1"],
      },
    });
  });
  afterAll(async () => {
    await child.stop();
    await parent.stop();
  });

  test("serves both ways of asking, and each has it in its log", async () => {
    await expectServed(child);
    const upstream = `127.0.0.1:${parent.port}`;
    expect(await child.logged((line) => line["event"] === "connect")).toMatchObject({ upstream, sni: "a.example.com" });
    expect(await parent.logged((line) => line["event"] === "connect")).toMatchObject({ sni: "a.example.com" });
    expect(await child.logged((line) => line["event"] === "request")).toMatchObject({ upstream });
    expect(
      web.recordings.flatMap(
        ({ bytes }) =>
          bytes()
            .toString("latin1")
            .match(/^proxy-.*/gim) ?? [],
      ),
    ).toEqual([]);
    expect(web.recordings[0]?.bytes().toString("latin1")).toMatch(/^GET \/ HTTP\/1\.1\r\n/);
  });

  test("what goes directly does not bother it", async () => {
    const before = parent.log.length;
    await expectServed(child, "near.example.com");
    expect(parent.log).toHaveLength(before);
  });

  test("its denial is a 502 here, which quotes it; in plain HTTP its answer is an answer", async () => {
    const body = await expectFailed(child, "no.example.com:443", "http_request_denied");
    expect(body).toMatch(/the parent proxy refused: 403 Denied: rule_denied \w{5}-\w{5}/);
    const client = await connectRaw(child.port);
    client.send("GET http://no.example.com/ HTTP/1.1\r\nHost: no.example.com\r\n\r\n");
    expect((await client.readHead()).headers.get("x-sallyport-reason")).toBe("rule_denied");
    client.close();
  });
});

describe("where a parent leads", () => {
  test("its name is ours to resolve, and no name of a target is", async () => {
    const dns = await startDnsServer();
    const parent = await startSallyport({ policy, settings: { connect_to: routes } });
    dns.answer("A", "parent.corp.test", { kind: "addresses", addresses: ["127.0.0.1"] });
    const child = await startSallyport({
      policy,
      settings: {
        dns: { servers: [dns.address] },
        parents: [{ hosts: ["*"], via: `http://parent.corp.test:${parent.port}` }],
      },
    });
    try {
      await expectServed(child);
      expect(new Set(dns.queries)).toEqual(new Set(["A parent.corp.test", "AAAA parent.corp.test"]));
    } finally {
      await child.stop();
      await parent.stop();
      await dns.close();
    }
  });

  test("a name that does not exist, a port where nobody listens, and the proxy itself fail as what they are", async () => {
    const own = await freePort();
    const proxy = await startSallyport({
      policy: { rules: [...policy.rules, { id: "box", addresses: ["127.0.0.1/32"], expect: `tcp:${own}` }] },
      settings: {
        listen: [{ kind: "proxy", address: `127.0.0.1:${own}` }],
        dns: { hosts: { "me.corp.test": ["127.0.0.1"] }, servers: ["127.0.0.1:1"], timeout: "300ms" },
        parents: [
          { hosts: ["lost.example.com"], via: `http://xn--a.test:3128` },
          { hosts: ["closed.example.com"], via: `http://127.0.0.1:${await freePort()}` },
          { hosts: ["self.example.com"], via: `http://127.0.0.1:${own}` },
          { hosts: ["named.example.com"], via: `http://me.corp.test:${own}` },
          { hosts: ["127.0.0.1"], via: `http://127.0.0.1:${await freePort()}` },
        ],
      },
    });
    try {
      await expectFailed(proxy, "lost.example.com:443", "dns_error");
      await expectFailed(proxy, "closed.example.com:443", "connection_refused");
      await expectFailed(proxy, "self.example.com:443", "proxy_loop_detected");
      await expectFailed(proxy, "named.example.com:443", "proxy_loop_detected");
      await expectFailed(proxy, `127.0.0.1:${own}`, "proxy_loop_detected");
      const client = await connectRaw(proxy.port);
      client.send("GET http://self.example.com/ HTTP/1.1\r\nHost: self.example.com\r\n\r\n");
      expect((await client.readHead()).reason).toBe("Failed: proxy_loop_detected");
      client.close();
    } finally {
      await proxy.stop();
    }
  });

  test("two that name each other end in a refusal", async () => {
    const ports = [await freePort(), await freePort()];
    const start = (i: number): Promise<Sallyport> =>
      startSallyport({
        policy,
        settings: {
          listen: [{ kind: "proxy", address: `127.0.0.1:${ports[i]}` }],
          parents: [{ hosts: ["*"], via: `http://127.0.0.1:${ports[1 - i]}` }],
        },
      });
    const [one, two] = [await start(0), await start(1)];
    try {
      const body = await expectFailed(one, "a.example.com:443", "http_request_denied");
      expect(body).toContain("the parent proxy refused: 502 Failed: http_request_denied");
      await one.logged((line) => line["outcome"] === "proxy_loop_detected");
      await one.logged((line) => line["outcome"] === "http_request_denied");
      await two.logged((line) => line["outcome"] === "http_request_denied");
    } finally {
      await one.stop();
      await two.stop();
    }
  });
});

describe("TLS to the parent", () => {
  let parent: Sallyport;
  let front: Server;
  let frontPort: number;
  let directory: string;
  beforeAll(async () => {
    parent = await startSallyport({ policy, settings: { connect_to: routes } });
    const authority = await testAuthority();
    front = createTlsServer(
      { ...(await testLeaf(authority, ["parent.corp.test"])), ALPNProtocols: ["http/1.1"], allowHalfOpen: true },
      (socket) => {
        const inner = netConnect({ port: parent.port, host: "127.0.0.1", allowHalfOpen: true });
        for (const end of [socket, inner]) end.on("error", () => [socket, inner].forEach((one) => one.destroy()));
        socket.pipe(inner).pipe(socket);
      },
    );
    front.listen(0, "127.0.0.1");
    await once(front, "listening");
    frontPort = (front.address() as { port: number }).port;
    directory = mkdtempSync(join(tmpdir(), "sallyport-ca-"));
    writeFileSync(join(directory, "ca.pem"), authority.certPem);
  });
  afterAll(async () => {
    await parent.stop();
    front.close();
    rmSync(directory, { recursive: true });
  });

  const start = (env: Readonly<Record<string, string>>, via: string): Promise<Sallyport> =>
    startSallyport({
      policy,
      env,
      settings: {
        dns: { hosts: { "parent.corp.test": ["127.0.0.1"], "other.corp.test": ["127.0.0.1"] } },
        parents: [{ hosts: ["*"], via: `https://${via}:${frontPort}` }],
      },
    });

  test("carries requests and tunnels", async () => {
    const child = await start({ NODE_EXTRA_CA_CERTS: join(directory, "ca.pem") }, "parent.corp.test");
    try {
      await expectServed(child);
      const client = await sendConnect(child, "a.example.com:443");
      expect((await client.readHead()).status).toBe(200);
      // Broken off on one side, with something under way: the other side is told in TLS.
      client.detach().resetAndDestroy();
      await expectServed(child);
      // And with bytes that flow.
      const raw = (await openTunnel(child, "a.example.com:443")).detach();
      const tls = tlsConnect({ socket: raw, servername: "a.example.com", ca: (await testAuthority()).certPem });
      tls.on("error", () => {});
      await once(tls, "secureConnect");
      const aborted = (line: Readonly<Record<string, unknown>>): boolean =>
        line["outcome"] === "client_aborted" && line["tls"] === "1.3";
      raw.resetAndDestroy();
      await child.logged(aborted);
      await expectServed(child);
      expect(child.log.filter((line) => line["event"] === "problem")).toEqual([]);
    } finally {
      await child.stop();
    }
  });

  test.each([
    ["an authority that nobody trusts", {}, "parent.corp.test"],
    ["another name", { ca: true }, "other.corp.test"],
    ["an address that is not in it", { ca: true }, "127.0.0.1"],
  ])("a certificate with %s is refused", async (_title, trust, name) => {
    const env: Record<string, string> = "ca" in trust ? { NODE_EXTRA_CA_CERTS: join(directory, "ca.pem") } : {};
    const child = await start(env, name);
    try {
      const body = await expectFailed(child, "a.example.com:443", "connection_terminated");
      expect(body).toMatch(/no TLS with the parent proxy \(\w+\)/);
    } finally {
      await child.stop();
    }
  });
});

type Running = { readonly port: number; readonly stop: () => Promise<void> };

/** Starts a proxy program, and waits until it takes connections. */
async function startProgram(
  program: string,
  configure: (directory: string, port: number) => readonly string[],
): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-parent-"));
  const port = await freePort();
  const child = spawn(requireTool(program)!, configure(directory, port), { cwd: directory, stdio: "ignore" });
  const exited = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exited;
    rmSync(directory, { recursive: true, force: true });
  };
  const deadline = Date.now() + 15_000;
  while (Date.now() < deadline && child.exitCode === null) {
    try {
      (await connectRaw(port)).close();
      return { port, stop };
    } catch {
      await new Promise((done) => setTimeout(done, 50));
    }
  }
  await stop();
  throw new Error(`${program} does not listen`);
}

/** Asks for localhost, which other proxies can resolve, through a parent that wants credentials. */
async function expectServedThrough(parent: Running, password: string): Promise<void> {
  const credentials = credentialsFile(`gate:${password}`);
  const wrong = credentialsFile("gate:wrong");
  const open = {
    rules: [
      {
        id: "near",
        hosts: ["localhost"],
        expect: [`http:${web.port}`, `https:${secure.port}`],
        methods: ["GET", "POST"],
      },
    ],
  };
  const start = (file?: string): Promise<Sallyport> => {
    const entry = { hosts: ["localhost"], via: `http://127.0.0.1:${parent.port}` };
    return startSallyport({
      policy: open,
      settings: { parents: [file === undefined ? entry : { ...entry, credentials_file: file }] },
    });
  };
  const children = await Promise.all([start(credentials.path), start(wrong.path), start()]);
  const [good, bad, none] = children;
  try {
    const seen = web.recordings.length;
    await expectServed(good, "localhost", { http: web.port, https: secure.port });
    expect(
      web.recordings
        .slice(seen)
        .map(({ bytes }) => bytes().toString("latin1"))
        .join(""),
    ).not.toMatch(/authorization/i);
    expect(await expectFailed(bad, `localhost:${secure.port}`, "http_request_denied")).toMatch(/40[17]/);
    expect(await expectFailed(none, `localhost:${secure.port}`, "http_request_denied")).toMatch(/40[17]/);
  } finally {
    for (const child of children) await child.stop();
    credentials.remove();
    wrong.remove();
  }
}

/** Where distributions put it. */
const squidHelpers = ["/usr/lib/squid/basic_ncsa_auth", "/usr/lib64/squid/basic_ncsa_auth"];

describeWithTool(["squid"], "Squid as a parent", () => {
  test("serves whoever has credentials", async () => {
    const parent = await startProgram("squid", (directory, port) => {
      // Squid does not run as root: it becomes another user, who has to write here.
      const isRoot = userInfo().uid === 0;
      if (isRoot) chownSync(directory, 13, 13);
      // `openssl passwd -apr1 -salt salt p:ss`
      writeFileSync(join(directory, "users"), "gate:$apr1$salt$I7vXL4N7Sk3iZ8Mc6reNO0\n");
      const lines = [
        `http_port 127.0.0.1:${port}`,
        `auth_param basic program ${squidHelpers.find(existsSync)} ${directory}/users`,
        "auth_param basic realm parent",
        "acl known proxy_auth REQUIRED",
        "http_access allow known",
        "http_access deny all",
        "cache deny all",
        `access_log none`,
        `cache_log ${directory}/cache.log`,
        "pid_filename none",
        "netdb_filename none",
        "pinger_enable off",
        "shutdown_lifetime 0 seconds",
        `coredump_dir ${directory}`,
        "visible_hostname parent.example",
        ...(isRoot ? ["cache_effective_user proxy"] : []),
      ];
      writeFileSync(join(directory, "squid.conf"), `${lines.join("\n")}\n`);
      return ["-N", "-n", `sallyport${port}`, "-f", join(directory, "squid.conf")];
    });
    try {
      await expectServedThrough(parent, "p:ss");
    } finally {
      await parent.stop();
    }
  });
});

describeWithTool(["tinyproxy"], "tinyproxy as a parent", () => {
  test("serves whoever has credentials", async () => {
    const parent = await startProgram("tinyproxy", (directory, port) => {
      const lines = [
        `Port ${port}`,
        "Listen 127.0.0.1",
        "Timeout 60",
        "MaxClients 50",
        `LogFile "${directory}/log"`,
        "BasicAuth gate pa55word",
        `ConnectPort ${secure.port}`,
      ];
      writeFileSync(join(directory, "tinyproxy.conf"), `${lines.join("\n")}\n`);
      return ["-d", "-c", join(directory, "tinyproxy.conf")];
    });
    try {
      await expectServedThrough(parent, "pa55word");
    } finally {
      await parent.stop();
    }
  });
});
