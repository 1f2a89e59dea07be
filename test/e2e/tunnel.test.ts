/** Real clients through a real proxy to real servers: what they get is what was sent, and a denial is what they show. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TLSSocket, connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Nginx, startNginx } from "../support/nginx.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type Origin, startTlsOrigin, testAuthority, testLeaf } from "../support/tls-origin.ts";
import { describeWithTool, requireTool } from "../support/tools.ts";
import { expectMetric, openTunnel, record } from "../support/tunnel.ts";

const host = "updates.example.com";
const payload = randomBytes(3 * 1024 * 1024 + 17);
let directory: string;
let ca: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "sallyport-e2e-"));
  ca = (await testAuthority()).certPem;
  await writeFile(join(directory, "ca.pem"), ca);
  await writeFile(join(directory, "payload.bin"), payload);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

function startProxy(port: number): Promise<Sallyport> {
  return startSallyport({
    policy: {
      rules: [
        { id: "updates", hosts: [host], expect: "https" },
        { id: "modern", hosts: ["modern.example.com"], expect: "https", tls_min: "1.3" },
      ],
    },
    settings: { connect_to: [`*:443:127.0.0.1:${port}`] },
  });
}

type Run = { readonly code: number | null; readonly stdout: Buffer; readonly stderr: string };

/** Runs a program to its end. */
async function run(program: string, args: readonly string[], input = ""): Promise<Run> {
  const child: ChildProcess = spawn(requireTool(program)!, args, { env: { HOME: directory } });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout!.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr!.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin!.on("error", () => {});
  child.stdin!.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}

describe("Node's TLS client", () => {
  let origin: Origin;
  let proxy: Sallyport;

  beforeAll(async () => {
    origin = await startTlsOrigin({
      authority: await testAuthority(),
      names: [host, "modern.example.com"],
      alpn: ["http/1.1"],
      onRequest: (incoming, response) => {
        if (incoming.method === "POST") incoming.pipe(response);
        else response.end(payload);
      },
    });
    proxy = await startProxy(origin.port);
  });
  afterAll(async () => {
    expect(await proxy.stop()).toBe(0);
    await origin.close();
  });

  /** A TLS connection through a tunnel, as an agent would open it. */
  async function tunnelled(name = host, options: Readonly<Record<string, unknown>> = {}): Promise<TLSSocket> {
    const socket = (await openTunnel(proxy, `${name}:443`)).detach();
    return connectTls({ socket, servername: name, ca, ALPNProtocols: ["http/1.1"], ...options });
  }

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`downloads over ${version}, byte for byte`, async () => {
      const on = await record(proxy, origin);
      const socket = await tunnelled(host, { maxVersion: version });
      await once(socket, "secureConnect");
      expect([socket.authorized, socket.getProtocol(), socket.alpnProtocol]).toEqual([true, version, "http/1.1"]);
      const answer = get({ host, path: "/", createConnection: () => socket });
      const [response] = await once(answer, "response");
      const hash = createHash("sha256");
      for await (const chunk of response) hash.update(chunk as Buffer);
      expect(hash.digest("hex")).toBe(createHash("sha256").update(payload).digest("hex"));
      socket.destroy();
      const line = await on.line();
      expect(line).toMatchObject({
        verdict: "allow",
        rule: "site/updates",
        sni: host,
        alpn: "http/1.1",
        tls: version.slice(4),
        status: 200,
      });
      // The client's close_notify may come after the origin has closed.
      expect(line["bytes_up"]).toBeGreaterThanOrEqual(on.atOrigin().bytes);
      expect(line["bytes_down"]).toBeGreaterThan(payload.length);
    });
  }

  test("uploads, and the echo comes back while it does", async () => {
    const socket = await tunnelled();
    const upload = request({ host, method: "POST", createConnection: () => socket });
    upload.end(payload);
    const [response] = await once(upload, "response");
    const parts: Buffer[] = [];
    for await (const chunk of response) parts.push(chunk as Buffer);
    expect(Buffer.concat(parts).equals(payload)).toBe(true);
    socket.destroy();
  });

  test("resumes a session, which changes its hello", async () => {
    const first = await tunnelled(host, { maxVersion: "TLSv1.2" });
    const [session] = (await once(first, "session")) as [Buffer];
    first.destroy();
    const second = await tunnelled(host, { session, maxVersion: "TLSv1.2" });
    await once(second, "secureConnect");
    expect(second.isSessionReused()).toBe(true);
    second.destroy();
  });

  test("is told why it is cut off: the server name is another", async () => {
    const on = await record(proxy, origin);
    const socket = await tunnelled(host, { servername: "modern.example.com" });
    const [error] = (await once(socket, "error")) as [Error & { code: string }];
    expect(error.code).toBe("ERR_SSL_TLSV1_UNRECOGNIZED_NAME");
    expect(await on.line()).toMatchObject({ verdict: "deny", reason: "sni_mismatch", sni: "modern.example.com" });
    expect(on.atOrigin().bytes).toBe(0);
  });

  test("is told why it is cut off: its TLS is too old", async () => {
    const on = await record(proxy, origin);
    const socket = await tunnelled("modern.example.com", { maxVersion: "TLSv1.2" });
    const [error] = (await once(socket, "error")) as [Error & { code: string }];
    expect(error.code).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
    expect(await on.line()).toMatchObject({ verdict: "deny", reason: "tls_version", tls: "1.2" });
    expect(on.atOrigin().bytes).toBe(0);
  });

  test("fifty at a time all get what they asked for", async () => {
    const body = Buffer.from("x".repeat(10_000));
    const echoes = Array.from({ length: 50 }, async () => {
      const socket = await tunnelled();
      const upload = request({ host, method: "POST", createConnection: () => socket });
      upload.end(body);
      const [response] = await once(upload, "response");
      const parts: Buffer[] = [];
      for await (const chunk of response) parts.push(chunk as Buffer);
      socket.destroy();
      return Buffer.concat(parts).equals(body);
    });
    expect((await Promise.all(echoes)).every(Boolean)).toBe(true);
    await expectMetric(proxy, "sallyport_tunnels_active", 0);
  });
});

describeWithTool(["curl", "nginx", "openssl"], "curl and openssl to nginx", () => {
  let nginx: Nginx;
  let proxy: Sallyport;

  beforeAll(async () => {
    const leaf = await testLeaf(await testAuthority(), [host, "modern.example.com"]);
    nginx = await startNginx({ root: directory, tls: leaf });
    proxy = await startProxy(nginx.httpsPort);
  });
  afterAll(async () => {
    expect(await proxy.stop()).toBe(0);
    await nginx.stop();
  });

  function curl(...args: readonly string[]): Promise<Run> {
    return run("curl", [
      "--silent",
      "--show-error",
      "--proxy",
      `http://127.0.0.1:${proxy.port}`,
      "--cacert",
      join(directory, "ca.pem"),
      ...args,
    ]);
  }

  test("curl downloads byte for byte", async () => {
    const { code, stdout, stderr } = await curl("--proxytunnel", `https://${host}/payload.bin`);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout.equals(payload)).toBe(true);
  });

  test("curl downloads a range, which is nobody's business inside TLS", async () => {
    const { code, stdout } = await curl("--range", "1000-1999", `https://${host}/payload.bin`);
    expect(code).toBe(0);
    expect(stdout.equals(payload.subarray(1000, 2000))).toBe(true);
    expect(JSON.parse((await nginx.accessLog()).at(-1)!)).toMatchObject({
      status: "206",
      http_via: "",
      ssl_server_name: host,
    });
  });

  test("curl shows the reason and the id of a denial, and exits with 56", async () => {
    const on = await record(proxy);
    const { code, stderr } = await curl("--verbose", "https://evil.test/");
    expect(code).toBe(56);
    const line = await on.line();
    expect(line).toMatchObject({ verdict: "deny", reason: "no_rule" });
    expect(stderr).toContain(`HTTP/1.1 403 Denied: no_rule ${String(line["denial"])}`);
  });

  test("curl shows the alert of a denial inside the tunnel, and exits with 35", async () => {
    const on = await record(proxy);
    const { code, stderr } = await curl("--tls-max", "1.2", "https://modern.example.com/");
    expect(code).toBe(35);
    expect(stderr).toMatch(/alert protocol version/i);
    expect(await on.line()).toMatchObject({ verdict: "deny", reason: "tls_version" });
  });

  test("curl speaking HTTP/1.0 and with a user agent of its own gets its tunnel", async () => {
    const { code, stdout } = await curl(
      "--proxy1.0",
      `127.0.0.1:${proxy.port}`,
      "--user-agent",
      "agent/1",
      `https://${host}/payload.bin`,
    );
    expect(code).toBe(0);
    expect(stdout.equals(payload)).toBe(true);
  });

  test("openssl s_client shakes hands through the proxy", async () => {
    const { code, stdout } = await run(
      "openssl",
      [
        "s_client",
        "-proxy",
        `127.0.0.1:${proxy.port}`,
        "-connect",
        `${host}:443`,
        "-servername",
        host,
        "-CAfile",
        join(directory, "ca.pem"),
        "-verify_return_error",
        "-quiet",
      ],
      `GET / HTTP/1.0\r\nHost: ${host}\r\n\r\n`,
    );
    // nginx ends the connection after an HTTP/1.0 answer; this root has no index.
    expect(stdout.toString()).toMatch(/^HTTP\/1\.1 403 Forbidden/);
    expect(code).toBe(0);
  });

  test("openssl s_client without a server name reads unrecognized_name", async () => {
    const on = await record(proxy);
    const { code, stderr } = await run("openssl", [
      "s_client",
      "-proxy",
      `127.0.0.1:${proxy.port}`,
      "-connect",
      `${host}:443`,
      "-noservername",
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/unrecognized name/);
    expect(await on.line()).toMatchObject({ verdict: "deny", reason: "sni_missing" });
  });
});
