/** Real curl at every kind of listener: TLS to the proxy, client certificates, credentials, PROXY protocol, redirection. */
import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Listeners, large, plainHost, proxyName, secureHost, startListeners } from "../support/listeners.ts";
import { addresses4, proxyBlock } from "../support/proxy-header.ts";
import { describeWithTool } from "../support/tools.ts";

const address = "127.0.0.1:0";
const secure = `https://${secureHost}`;
const plain = `http://${plainHost}`;

describeWithTool(["curl"], "TLS to the proxy itself", () => {
  let all: Listeners;
  beforeAll(async () => {
    all = await startListeners(
      (d) => [
        { kind: "proxy", address, tls: { cert: `${d}/proxy.pem`, key: `${d}/proxy.key` } },
        { kind: "proxy", address, tls: { cert: `${d}/proxy.pem`, key: `${d}/proxy.key`, client_ca: `${d}/ca.pem` } },
        { kind: "proxy", address },
      ],
      {
        policy: {
          clients: { kiosks: { subjects: ["CN=kiosk*.example.com"] } },
          rules: [
            { id: "secure", hosts: [secureHost], expect: "https" },
            { id: "plain", hosts: [plainHost], expect: "http", methods: ["GET", "POST"] },
            { id: "kiosk", hosts: ["kiosk.example.com"], expect: "http", clients: ["kiosks"] },
          ],
        },
      },
    );
  });
  afterAll(async () => expect(await all.stop()).toBe(0));

  /** curl's way to listener `i`, by the name of its certificate. */
  const through = (i: number): string[] => [
    "--proxy",
    `https://${proxyName}:${all.ports[i]}`,
    "--resolve",
    `${proxyName}:${all.ports[i]}:127.0.0.1`,
  ];
  const withCertificate = ["--proxy-cert", "client.pem", "--proxy-key", "client.key"];

  test("a tunnel, a download, an upload and a refusal", async () => {
    expect(await all.curl(...through(0), `${secure}/a`)).toMatchObject({ code: 0, stdout: "secure GET /a" });
    expect(await all.curl(...through(0), `${plain}/b`)).toMatchObject({ code: 0, stdout: "plain GET /b 0" });
    const upload = await all.curl(...through(0), "--data", "x".repeat(100_000), `${plain}/c`);
    expect(upload).toMatchObject({ code: 0, stdout: "plain POST /c 100000" });
    const denied = await all.curl(...through(0), "--write-out", "%{http_code}", "http://denied.example.com/");
    expect(denied.stdout).toMatch(/no_rule|no rule/i);
    expect(denied.stdout).toMatch(/403$/);
  });

  test("5 MiB arrive whole, in a tunnel and in clear, also to a client that reads slowly", async () => {
    for (const url of [`${secure}/large`, `${plain}/large`]) {
      const [fast, slow] = await Promise.all([
        all.curl(...through(0), url),
        all.curl(...through(0), "--limit-rate", "5M", url),
      ]);
      expect([fast.code, slow.code]).toEqual([0, 0]);
      expect(fast.stdout === large.toString("latin1")).toBe(true);
      expect(slow.stdout === large.toString("latin1")).toBe(true);
    }
  });

  test("several requests share one connection", async () => {
    const { stdout, stderr, code } = await all.curl(...through(0), "-v", `${plain}/1`, `${plain}/2`, `${plain}/3`);
    expect(code).toBe(0);
    expect(stdout).toBe("plain GET /1 0plain GET /2 0plain GET /3 0");
    expect(stderr).toMatch(/Re-using existing connection/);
  });

  test("a client that sends no server name is served", async () => {
    const byAddress = ["--proxy", `https://127.0.0.1:${all.ports[0]}`];
    expect(await all.curl(...byAddress, `${secure}/a`)).toMatchObject({ code: 0, stdout: "secure GET /a" });
  });

  test("TLS 1.1 is refused, and so are plain HTTP and HTTP/2", async () => {
    const { port } = { port: all.ports[0]! };
    const connecting = (options: ConnectionOptions): Promise<unknown> => {
      const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
      return once(socket, "secureConnect").finally(() => socket.destroy());
    };
    const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
    await expect(connecting(old)).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION" });
    await expect(connecting({ ALPNProtocols: ["h2"] })).rejects.toThrow(/no application protocol/);
    await connecting({ ALPNProtocols: ["h2", "http/1.1"] });
    const clear = await all.curl("--proxy", `http://127.0.0.1:${port}`, `${plain}/a`);
    expect(clear.code).not.toBe(0);
    expect(clear.stdout).toBe("");
  });

  test("with a client certificate its subject puts the client into a group", async () => {
    const url = "http://kiosk.example.com/k";
    const served = await all.curl(...through(1), ...withCertificate, url);
    expect(served).toMatchObject({ code: 0, stdout: "plain GET /k 0" });
    expect(await all.proxy.logged((line) => line["host"] === "kiosk.example.com")).toMatchObject({
      verdict: "allow",
      group: "kiosks",
    });
    // Elsewhere the same certificate is not asked for, and proves nothing.
    const other = await all.curl(...through(0), ...withCertificate, "--write-out", "%{http_code}", url);
    expect(other.stdout).toMatch(/403$/);
  });

  test("without one, or with one of somebody else, there is no handshake", async () => {
    const missing = await all.curl(...through(1), `${plain}/missing`);
    expect(missing.code).not.toBe(0);
    // The proxy's own is for servers.
    const wrong = await all.curl(
      ...through(1),
      "--proxy-cert",
      "proxy.pem",
      "--proxy-key",
      "proxy.key",
      `${plain}/wrong`,
    );
    expect(wrong.code).not.toBe(0);
    expect(all.plainHeads.filter((head) => /missing|wrong/.test(head))).toEqual([]);
    expect(await all.curl(...through(1), ...withCertificate, `${plain}/a`)).toMatchObject({ code: 0 });
  });
});

describeWithTool(["curl"], "Basic authentication", () => {
  let all: Listeners;
  beforeAll(async () => {
    all = await startListeners(
      (d) => [
        { kind: "proxy", address, auth: { basic: `${d}/users.htpasswd` } },
        {
          kind: "proxy",
          address,
          auth: { basic: `${d}/users.htpasswd` },
          tls: { cert: `${d}/proxy.pem`, key: `${d}/proxy.key` },
        },
      ],
      {
        policy: {
          clients: { kiosks: { users: ["kiosk"] } },
          rules: [
            { id: "secure", hosts: [secureHost], expect: "https" },
            { id: "plain", hosts: [plainHost], expect: "http", methods: ["GET", "POST"] },
            { id: "kiosk", hosts: ["kiosk.example.com"], expect: "http", clients: ["kiosks"] },
          ],
        },
      },
    );
  });
  afterAll(async () => expect(await all.stop()).toBe(0));
  const proxy = (): string[] => ["--proxy", `http://127.0.0.1:${all.ports[0]}`];
  const kiosk = ["--proxy-user", "kiosk:open sesame"];

  test("a tunnel, a request and an upload are let in with credentials", async () => {
    expect(await all.curl(...proxy(), ...kiosk, `${secure}/a`)).toMatchObject({ code: 0, stdout: "secure GET /a" });
    expect(await all.curl(...proxy(), ...kiosk, `${plain}/b`)).toMatchObject({ code: 0, stdout: "plain GET /b 0" });
    const upload = await all.curl(...proxy(), ...kiosk, "--data", "x".repeat(100_000), `${plain}/c`);
    expect(upload).toMatchObject({ code: 0, stdout: "plain POST /c 100000" });
    const admin = await all.curl(...proxy(), "--proxy-user", "admin:pass:word", `${plain}/d`);
    expect(admin).toMatchObject({ code: 0, stdout: "plain GET /d 0" });
  });

  test("the same over TLS, and to a client that has to be asked first", async () => {
    const overTls = ["--proxy", `https://127.0.0.1:${all.ports[1]}`];
    expect(await all.curl(...overTls, ...kiosk, `${secure}/a`)).toMatchObject({ code: 0, stdout: "secure GET /a" });
    const asked = await all.curl(...proxy(), ...kiosk, "--proxy-anyauth", `${secure}/e`);
    expect(asked).toMatchObject({ code: 0, stdout: "secure GET /e" });
  });

  test("the user puts the client into a group, another one does not", async () => {
    const url = "http://kiosk.example.com/k";
    expect(await all.curl(...proxy(), ...kiosk, url)).toMatchObject({ code: 0, stdout: "plain GET /k 0" });
    const other = await all.curl(...proxy(), "--proxy-user", "admin:pass:word", "--write-out", "%{http_code}", url);
    expect(other.stdout).toMatch(/403$/);
    expect(await all.proxy.logged((line) => line["reason"] === "client_denied")).toMatchObject({ group: "_none" });
  });

  test("no credentials, wrong ones and unknown users are told 407, and nothing is dialled", async () => {
    const before = [all.secureOrigin.connections(), all.plainHeads.length];
    for (const args of [[], ["--proxy-user", "kiosk:shut"], ["--proxy-user", "nobody:open sesame"]]) {
      const request = await all.curl(...proxy(), ...args, "--write-out", "%{http_code}", `${plain}/a`);
      expect(request.stdout).toMatch(/407$/);
      const tunnel = await all.curl(...proxy(), ...args, "--write-out", "%{http_connect}", `${secure}/a`);
      expect(tunnel).toMatchObject({ code: 56, stdout: "407" });
    }
    expect([all.secureOrigin.connections(), all.plainHeads.length]).toEqual(before);
  });

  test("credentials are for this hop alone", async () => {
    await all.curl(...proxy(), ...kiosk, `${plain}/hop`);
    const heads = all.plainHeads.filter((head) => head.includes(" /hop"));
    expect(heads).toHaveLength(1);
    expect(heads.join()).not.toMatch(/proxy-authorization/i);
    expect(all.proxy.log.some((line) => JSON.stringify(line).includes("sesame"))).toBe(false);
  });
});

describeWithTool(["curl"], "PROXY protocol", () => {
  let all: Listeners;
  beforeAll(async () => {
    all = await startListeners((d) => [
      { kind: "proxy", address, proxy_protocol: { from: ["127.0.0.1/32"] } },
      { kind: "proxy", address, proxy_protocol: { from: ["127.0.0.2/32"] } },
      {
        kind: "proxy",
        address,
        proxy_protocol: { from: ["127.0.0.1/32"] },
        tls: { cert: `${d}/proxy.pem`, key: `${d}/proxy.key` },
      },
    ]);
  });
  afterAll(async () => expect(await all.stop()).toBe(0));

  test("a listed peer is taken at its word", async () => {
    const args = ["--proxy", `http://127.0.0.1:${all.ports[0]}`, "--haproxy-protocol"];
    expect(await all.curl(...args, `${plain}/a`)).toMatchObject({ code: 0, stdout: "plain GET /a 0" });
  });

  test("the client that it speaks for is the one that counts, in both versions, also before TLS", async () => {
    for (const [header, client, path] of [
      [(i: number) => proxyBlock(0x11, addresses4([192, 0, 2, i])), "192.0.2.", "/two"],
      [(i: number) => Buffer.from(`PROXY TCP6 2001:db8::${i} 2001:db8::8 50000 3128\r\n`), "2001:db8::", "/one"],
    ] as const) {
      for (const i of [0, 2]) {
        const from = i + 1;
        const raw = connect(all.ports[i]!, "127.0.0.1");
        const request = `GET ${plain}${path}${i} HTTP/1.1\r\nHost: ${plainHost}\r\nConnection: close\r\n\r\n`;
        // In clear the request is in the same segment; a ClientHello comes when TLS sends it.
        raw.write(i === 0 ? Buffer.concat([header(from), Buffer.from(request)]) : header(from));
        const socket = i === 0 ? raw : connectTls({ socket: raw, rejectUnauthorized: false });
        if (i !== 0) socket.write(request);
        expect(await text(socket)).toContain(`plain GET ${path}${i}`);
        expect(await all.proxy.logged((one) => one["client"] === `${client}${from}`)).toMatchObject({
          verdict: "allow",
        });
      }
    }
  });

  test("another peer is refused, and a listed one without a header", async () => {
    const other = await all.curl("--proxy", `http://127.0.0.1:${all.ports[1]}`, "--haproxy-protocol", `${plain}/x`);
    expect([7, 52, 56]).toContain(other.code);
    const silent = await all.curl("--proxy", `http://127.0.0.1:${all.ports[0]}`, `${plain}/x`);
    expect([52, 56]).toContain(silent.code);
    expect(all.plainHeads.filter((head) => head.includes("/x"))).toEqual([]);
    await all.proxy.logged((line) => String(line["message"]).includes("127.0.0.1 is not in proxy_protocol.from"));
    await all.proxy.logged((line) => String(line["message"]).includes("no PROXY header"));
  });
});

describeWithTool(["curl"], "redirected connections", () => {
  let all: Listeners;
  beforeAll(async () => {
    all = await startListeners(() => [
      { kind: "sni", address, port: 443 },
      { kind: "http", address, port: 80 },
    ]);
  });
  afterAll(async () => expect(await all.stop()).toBe(0));
  /** As a firewall would do it: the client believes that it speaks to the origin. */
  const redirected = (i: number): string[] => ["--connect-to", `::127.0.0.1:${all.ports[i]}`];

  test("the server name of the TLS hello is the target", async () => {
    expect(await all.curl(...redirected(0), `${secure}/a`)).toMatchObject({ code: 0, stdout: "secure GET /a" });
    const { code, stdout } = await all.curl(...redirected(0), `${secure}/large`);
    expect([code, stdout === large.toString("latin1")]).toEqual([0, true]);
    expect(await all.proxy.logged((line) => line["host"] === secureHost)).toMatchObject({
      event: "connect",
      verdict: "allow",
      port: 443,
      sni: secureHost,
      rule: "site/secure",
    });
  });

  test("a denial and a failure are TLS alerts", async () => {
    const denied = await all.curl(...redirected(0), "https://denied.example.com/");
    expect(denied.code).toBe(35);
    expect(denied.stderr).toMatch(/access.denied/i);
    expect(await all.proxy.logged((line) => line["host"] === "denied.example.com")).toMatchObject({
      verdict: "deny",
      reason: "no_rule",
    });
    const nameless = await all.curl("--insecure", `https://127.0.0.1:${all.ports[0]}/`);
    expect(nameless.code).toBe(35);
    expect(nameless.stderr).toMatch(/unrecognized.name/i);
    expect(await all.proxy.logged((line) => line["reason"] === "sni_missing")).toMatchObject({ verdict: "deny" });
  });

  test("Host is the target of plain HTTP", async () => {
    expect(await all.curl(...redirected(1), `${plain}/a?b`)).toMatchObject({ code: 0, stdout: "plain GET /a?b 0" });
    expect(all.plainHeads.at(-1)).toMatch(/^GET \/a\?b\nHost: plain\.example\.com\n/);
    const denied = await all.curl(...redirected(1), "--write-out", "%{http_code}", "http://denied.example.com/");
    expect(denied.stdout).toMatch(/403$/);
    expect(denied.stdout).toContain("Denied: GET http://denied.example.com/");
  });
});
