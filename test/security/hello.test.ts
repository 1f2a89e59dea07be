/**
 * Attack: a tunnel that was opened for one host and is used for something else: another server name, none, an old TLS,
 * another protocol, a hello cut so small or made so large that an inspector gives up. Until the ClientHello is whole
 * and judged, not one byte of it goes to the origin.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  alpn,
  bytes,
  clientHello,
  clientHelloMessage,
  encryptedClientHello,
  extension,
  grease,
  greaseValue,
  handshake,
  helloFor,
  padding,
  preSharedKey,
  record as tlsRecord,
  records,
  serverHello,
  serverName,
  serverNames,
  supportedVersions,
} from "../support/hello.ts";
import type { RawClient } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import { decisions, expectServing, openTunnel, record, sendConnect, startHelloOrigin } from "../support/tunnel.ts";

const host = "good.example.com";
const helloTimeoutMs = 300;
const helloBytes = 16 * 1024;
let origin: TcpOrigin;
let proxy: Sallyport;

beforeAll(async () => {
  origin = await startHelloOrigin();
  proxy = await startSallyport({
    policy: {
      rules: [
        { id: "good", hosts: ["*.example.com"], expect: "https" },
        { id: "modern", hosts: ["modern.example.net"], expect: "https", tls_min: "1.3" },
        { id: "old", hosts: ["old.example.net"], expect: "https", tls_min: "1.0" },
        { id: "no-ech", hosts: ["no-ech.example.net"], expect: "https", ech: "deny" },
        { id: "covered", hosts: ["a.covered.test", "b.covered.test"], expect: "https", sni: "covered" },
        { id: "any", hosts: ["any.test"], expect: "https", sni: "any" },
        { id: "trial", hosts: ["trial.test"], expect: "https", mode: "report" },
        { id: "denied", action: "deny", hosts: ["denied.example.com"] },
        { id: "literal", addresses: ["192.0.2.0/24"], expect: "https" },
        { id: "literal-strict", addresses: ["198.51.100.0/24"], expect: "https", sni: "covered" },
      ],
    },
    settings: {
      connect_to: [`*::127.0.0.1:${origin.port}`],
      limits: { hello_timeout: `${helloTimeoutMs}ms`, hello: `${helloBytes / 1024}KiB` },
    },
  });
});
afterAll(async () => {
  await proxy.stop();
  await origin.close();
});

type Case = {
  readonly target?: string;
  readonly sends: Uint8Array | string;
  /** Sends FIN behind it. */
  readonly ends?: boolean;
  readonly reason: string;
  readonly alert: number | undefined;
  readonly logs?: Readonly<{ [field: string]: unknown }>;
};

const whole = helloFor(host);
const utf8 = Uint8Array.from(Buffer.from("gööd.example.com", "utf8"));
const cut: Readonly<{ [sentence: string]: Case }> = {
  "another name under the same wildcard": {
    sends: helloFor("other.example.com"),
    reason: "sni_mismatch",
    alert: 112,
    logs: { sni: "other.example.com", tls: "1.3" },
  },
  "the name of a denied host": { sends: helloFor("denied.example.com"), reason: "sni_mismatch", alert: 112 },
  "a name that no rule covers": {
    sends: helloFor("evil.test"),
    reason: "sni_mismatch",
    alert: 112,
    logs: { sni: "evil.test" },
  },
  "a name that ends like the right one": { sends: helloFor(`x${host}`), reason: "sni_mismatch", alert: 112 },
  "no server name": { sends: helloFor(null), reason: "sni_missing", alert: 112 },
  "no extensions at all": {
    target: "old.example.net",
    sends: clientHello({ extensions: null }),
    reason: "sni_missing",
    alert: 112,
  },
  "an empty server_name extension": {
    sends: clientHello({ extensions: [extension(0, new Uint8Array(0)), supportedVersions(0x0304)] }),
    reason: "hello_malformed",
    alert: 50,
  },
  "two server_name extensions": {
    sends: clientHello({ extensions: [serverName(host), serverName("evil.test"), supportedVersions(0x0304)] }),
    reason: "hello_malformed",
    alert: 50,
  },
  "two names in one extension": {
    sends: clientHello({
      extensions: [serverNames({ type: 0, name: host }, { type: 0, name: "evil.test" }), supportedVersions(0x0304)],
    }),
    reason: "hello_malformed",
    alert: 50,
  },
  "a name of another type": {
    sends: clientHello({ extensions: [serverNames({ type: 1, name: host }), supportedVersions(0x0304)] }),
    reason: "hello_malformed",
    alert: 50,
  },
  "a name with a NUL in it": { sends: helloFor(`${host}\0.evil.test`), reason: "hello_malformed", alert: 50 },
  "a name with a line feed": { sends: helloFor(`${host}\n`), reason: "hello_malformed", alert: 50 },
  "a wildcard": { sends: helloFor("*.example.com"), reason: "hello_malformed", alert: 50 },
  "an address as the name": { sends: helloFor("127.0.0.1"), reason: "hello_malformed", alert: 50 },
  "a name in UTF-8": {
    sends: clientHello({ extensions: [serverName(utf8), supportedVersions(0x0304)] }),
    reason: "hello_malformed",
    alert: 50,
  },
  "TLS 1.1 at most": {
    sends: helloFor(host, [0x0302, 0x0301]),
    reason: "tls_version",
    alert: 70,
    logs: { tls: "1.1", sni: host },
  },
  "TLS 1.0 by legacy_version alone": {
    sends: clientHello({ legacyVersion: 0x0301, extensions: [serverName(host)] }),
    reason: "tls_version",
    alert: 70,
    logs: { tls: "1.0" },
  },
  "SSL 3": {
    target: "old.example.net",
    sends: clientHello({ legacyVersion: 0x0300, extensions: [serverName("old.example.net")] }),
    reason: "tls_version",
    alert: 70,
  },
  "TLS 1.2 where 1.3 is asked for": {
    target: "modern.example.net",
    sends: helloFor("modern.example.net", [0x0303]),
    reason: "tls_version",
    alert: 70,
  },
  "TLS 1.3 in legacy_version and nowhere else": {
    target: "modern.example.net",
    sends: clientHello({ legacyVersion: 0x0304, extensions: [serverName("modern.example.net")] }),
    reason: "tls_version",
    alert: 70,
  },
  "only versions from GREASE": { sends: helloFor(host, [greaseValue(3)]), reason: "tls_version", alert: 70 },
  "a second hello in a record of its own, with another name": {
    sends: Buffer.concat([helloFor(host, [0x0304]), helloFor("evil.example.org", [0x0304])]),
    reason: "hello_malformed",
    alert: 50,
  },
  "ECH where the rule denies it": {
    target: "no-ech.example.net",
    sends: clientHello({
      extensions: [serverName("no-ech.example.net"), encryptedClientHello(), supportedVersions(0x0304)],
    }),
    reason: "ech_denied",
    alert: 49,
  },
  "ESNI where the rule denies it": {
    target: "no-ech.example.net",
    sends: clientHello({
      extensions: [serverName("no-ech.example.net"), extension(0xffce, new Uint8Array(8)), supportedVersions(0x0304)],
    }),
    reason: "ech_denied",
    alert: 49,
  },
  "a name of another rule, where the deciding rule must cover it": {
    target: "a.covered.test",
    sends: helloFor(host),
    reason: "sni_mismatch",
    alert: 112,
  },
  "no name, where the deciding rule must cover it": {
    target: "a.covered.test",
    sends: helloFor(null),
    reason: "sni_missing",
    alert: 112,
  },
  "a name that nobody allows, where any allowed name will do": {
    target: "any.test",
    sends: helloFor("evil.test"),
    reason: "sni_mismatch",
    alert: 112,
  },
  "a name that is denied, where any allowed name will do": {
    target: "any.test",
    sends: helloFor("denied.example.com"),
    reason: "sni_mismatch",
    alert: 112,
  },
  "a name that nobody allows, to an address": {
    target: "192.0.2.1",
    sends: helloFor("evil.test"),
    reason: "sni_mismatch",
    alert: 112,
  },
  "no name, to an address whose rule wants one": {
    target: "198.51.100.1",
    sends: helloFor(null),
    reason: "sni_missing",
    alert: 112,
  },
  "plain HTTP": { sends: `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, reason: "not_tls", alert: undefined },
  "a CONNECT inside the tunnel": {
    sends: "CONNECT evil.test:443 HTTP/1.1\r\n\r\n",
    reason: "not_tls",
    alert: undefined,
  },
  SSH: { sends: "SSH-2.0-OpenSSH_9.6\r\n", reason: "not_tls", alert: undefined },
  SMTP: { sends: "EHLO x\r\n", reason: "not_tls", alert: undefined },
  "an SSH banner": { sends: "SSH-2.0-OpenSSH_9.6\r\n", reason: "not_tls", alert: undefined },
  "a mail client": { sends: "EHLO evil.test\r\n", reason: "not_tls", alert: undefined },
  "SOCKS inside the tunnel": { sends: Uint8Array.of(5, 1, 0), reason: "not_tls", alert: undefined },
  "a PROXY line": { sends: "PROXY TCP4 10.0.0.1 10.0.0.2 1 443\r\n", reason: "not_tls", alert: undefined },
  "a space in the name": { sends: helloFor("good .example.com"), reason: "hello_malformed", alert: 50 },
  "an escape in the name": { sends: helloFor("\x1b[31m.example.com"), reason: "hello_malformed", alert: 50 },
  "an IPv6 address as the name": { sends: helloFor("[::1]"), reason: "hello_malformed", alert: 50 },
  "an address as one number": { sends: helloFor("2130706433"), reason: "hello_malformed", alert: 50 },
  "a name with two trailing dots": { sends: helloFor(`${host}..`), reason: "hello_malformed", alert: 50 },
  "an empty name": { sends: helloFor(""), reason: "hello_malformed", alert: 50 },
  "two extensions for versions": {
    sends: clientHello({ extensions: [serverName(host), supportedVersions(0x0304), supportedVersions(0x0302)] }),
    reason: "hello_malformed",
    alert: 50,
  },
  "HTTP/2 in plain text": { sends: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", reason: "not_tls", alert: undefined },
  "an SSL 2 hello": {
    sends: Uint8Array.from([0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10]),
    reason: "not_tls",
    alert: undefined,
  },
  "one byte that is none of TLS": { sends: Uint8Array.of(0), reason: "not_tls", alert: undefined },
  "application data first": { sends: tlsRecord(23, new Uint8Array(20)), reason: "not_tls", alert: undefined },
  "an alert first": { sends: tlsRecord(21, Uint8Array.of(2, 40)), reason: "not_tls", alert: undefined },
  "a record of another protocol's version": {
    sends: tlsRecord(22, clientHelloMessage(), 0x0501),
    reason: "not_tls",
    alert: undefined,
  },
  "a ServerHello": { sends: serverHello(), reason: "hello_malformed", alert: 50 },
  "an empty record": { sends: tlsRecord(22, new Uint8Array(0)), reason: "hello_malformed", alert: 50 },
  "a record that is longer than any": {
    sends: tlsRecord(22, new Uint8Array(8), 0x0301, 0x4001),
    reason: "hello_malformed",
    alert: 50,
  },
  "another record in the middle of the hello": {
    sends: bytes(
      tlsRecord(22, clientHelloMessage().subarray(0, 50)),
      tlsRecord(20, Uint8Array.of(1)),
      tlsRecord(22, clientHelloMessage().subarray(50)),
    ),
    reason: "hello_malformed",
    alert: 50,
  },
  "two hellos in one record": {
    sends: tlsRecord(
      22,
      bytes(
        clientHelloMessage({ extensions: [serverName(host), supportedVersions(0x0304)] }),
        clientHelloMessage({ extensions: [serverName("evil.test")] }),
      ),
    ),
    reason: "hello_malformed",
    alert: 50,
  },
  "one byte behind the hello in its record": {
    sends: tlsRecord(22, bytes(clientHelloMessage(), [1])),
    reason: "hello_malformed",
    alert: 50,
  },
  "lengths that lie": {
    sends: tlsRecord(22, handshake(1, clientHelloMessage().subarray(4, 60))),
    reason: "hello_malformed",
    alert: 50,
  },
  "a pre-shared key that is not last": {
    sends: clientHello({ extensions: [preSharedKey(), serverName(host), supportedVersions(0x0304)] }),
    reason: "hello_malformed",
    alert: 50,
  },
  "a hello that ends in the middle": { sends: whole.subarray(0, 40), ends: true, reason: "hello_malformed", alert: 50 },
  "a message longer than the limit, told by its header": {
    sends: tlsRecord(22, handshake(1, new Uint8Array(1000), 60_000), 0x0301, 1004),
    reason: "hello_too_large",
    alert: 49,
  },
  "a hello longer than the limit": {
    sends: records(clientHelloMessage({ extensions: [serverName(host), padding(helloBytes)] })),
    reason: "hello_too_large",
    alert: 49,
  },
  "headers without end": {
    sends: records(clientHelloMessage({ extensions: [padding(4000)] }), [1]),
    reason: "hello_too_large",
    alert: 49,
  },
  silence: { sends: "", reason: "hello_timeout", alert: undefined },
  "one byte, and then silence": { sends: Uint8Array.of(22), reason: "hello_timeout", alert: undefined },
  "all but the last byte, and then silence": {
    sends: whole.subarray(0, -1),
    reason: "hello_timeout",
    alert: undefined,
  },
};

describe("a tunnel that is not what was asked for is cut, and the origin has not seen a byte of it", () => {
  for (const [sentence, { target = host, sends, ends = false, reason, alert, logs = {} }] of Object.entries(cut)) {
    test(sentence, async () => {
      const on = await record(proxy, origin);
      const client = await openTunnel(proxy, `${target}:443`);
      client.send(sends);
      if (ends) client.end();
      await expectCut(client, alert);
      const line = await on.line();
      expect(line).toMatchObject({
        verdict: "deny",
        reason,
        stage: "tunnel",
        status: 200,
        mode: "enforce",
        host: target,
        ...logs,
      });
      expect(line["denial"]).toMatch(/^[0-9A-Z]{5}-[0-9A-Z]{5}$/);
      expect(line["bytes_up"]).toBeUndefined();
      expect(await on.growth(decisions("deny", reason))).toBe(1);
      expect(await on.growth(`sallyport_sni_inspections_total{result="${reason}"}`)).toBe(1);
      expect(await on.growth('sallyport_tunnels_total{result="denied"}')).toBe(1);
      expect(await proxy.metric("sallyport_tunnels_active")).toBe(0);
      const limit = { hello_timeout: "hello_timeout", hello_too_large: "hello" }[reason];
      if (limit !== undefined) expect(await on.growth(`sallyport_limit_rejections_total{limit="${limit}"}`)).toBe(1);
      await (
        await origin.recording(origin.recordings.length - 1)
      ).closed;
      expect(on.atOrigin()).toEqual({ connections: 1, bytes: 0 });
      await expectServing(proxy);
    });
  }

  test("in the segment of the CONNECT itself", async () => {
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `${host}:443`, { behind: helloFor("evil.test") });
    await expectCut(client, 112);
    expect(await on.line()).toMatchObject({ verdict: "deny", reason: "sni_mismatch", sni: "evil.test" });
    expect(on.atOrigin().bytes).toBe(0);
    await expectServing(proxy);
  });

  test("in single bytes", async () => {
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `${host}:443`);
    await trickle(client, helloFor("evil.test"));
    await expectCut(client, 112);
    expect(await on.line()).toMatchObject({ verdict: "deny", reason: "sni_mismatch", sni: "evil.test" });
    expect(on.atOrigin().bytes).toBe(0);
  });

  test("while the client goes on sending: it still reads the alert", async () => {
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `${host}:443`, {
      behind: bytes(helloFor("evil.test"), new Uint8Array(128 * 1024)),
    });
    await expectCut(client, 112);
    expect(await on.line()).toMatchObject({ verdict: "deny", reason: "sni_mismatch" });
    expect(on.atOrigin().bytes).toBe(0);
    await expectServing(proxy);
  });
});

type Passing = {
  readonly target?: string;
  readonly hello: Uint8Array;
  readonly result?: string;
  readonly logs?: Readonly<{ [field: string]: unknown }>;
};

const message = clientHelloMessage({ extensions: [serverName(host), supportedVersions(0x0304, 0x0303)] });
const passes: Readonly<{ [sentence: string]: Passing }> = {
  "TLS 1.3": { hello: helloFor(host), logs: { sni: host, tls: "1.3" } },
  "TLS 1.2 by legacy_version": {
    hello: clientHello({ extensions: [serverName(host), alpn("h2", "http/1.1")] }),
    logs: { alpn: "h2" },
  },
  "the name in another case and with a dot": { hello: helloFor("GOOD.Example.com.") },
  "one byte a record": { hello: records(message, [1]) },
  "a hello over two records, cut in its header": { hello: records(message, [2, 2 ** 14]) },
  "a hello of 15 KiB over small records": {
    hello: records(
      clientHelloMessage({ extensions: [serverName(host), padding(15_000), supportedVersions(0x0304)] }),
      [1000],
    ),
  },
  "GREASE everywhere": {
    hello: clientHello({
      cipherSuites: [greaseValue(0), 0x1301, 0xc02f],
      extensions: [
        grease(1),
        serverName(host),
        supportedVersions(greaseValue(2), 0x0304, 0x0303),
        alpn("\x0a\x0a", "h2"),
        grease(7, new Uint8Array(1)),
      ],
    }),
    logs: { tls: "1.3", alpn: "h2" },
  },
  "GREASE ECH, as Chromium sends it, where the rule does not deny it": {
    hello: clientHello({ extensions: [serverName(host), encryptedClientHello(), supportedVersions(0x0304)] }),
    result: "ok_ech",
  },
  "TLS 1.0 where the rule allows it": { target: "old.example.net", hello: helloFor("old.example.net", [0x0301]) },
  "another name of the deciding rule": {
    target: "a.covered.test",
    hello: helloFor("b.covered.test"),
    logs: { sni: "b.covered.test" },
  },
  "the name of another rule where any allowed one will do": { target: "any.test", hello: helloFor(host) },
  "no name where any will do": { target: "any.test", hello: helloFor(null), result: "ok_no_sni" },
  "no name, to an address": { target: "192.0.2.1", hello: helloFor(null), result: "ok_no_sni" },
  "an allowed name, to an address": { target: "192.0.2.1", hello: helloFor(host) },
};

describe("a hello that is what was asked for goes to the origin byte for byte", () => {
  for (const [sentence, { target = host, hello, result = "ok", logs = {} }] of Object.entries(passes)) {
    for (const how of ["behind the CONNECT", "after the 200", "in two segments"] as const) {
      test(`${sentence}, ${how}`, async () => {
        const on = await record(proxy, origin);
        const number = origin.recordings.length;
        const client = await openTunnel(proxy, `${target}:443`, how === "behind the CONNECT" ? { behind: hello } : {});
        if (how === "after the 200") client.send(hello);
        if (how === "in two segments") {
          client.send(hello.subarray(0, 7));
          await new Promise((sent) => setImmediate(sent));
          client.send(hello.subarray(7));
        }
        const seen = await (await origin.recording(number)).waitForBytes(hello.length);
        expect(seen.equals(Buffer.from(hello))).toBe(true);
        client.end();
        client.close();
        (await origin.recording(number)).socket.destroy();
        expect(await on.line()).toMatchObject({ verdict: "allow", reason: "allowed", bytes_up: hello.length, ...logs });
        expect(await on.growth(`sallyport_sni_inspections_total{result="${result}"}`)).toBe(1);
      });
    }
  }

  test("one byte a segment", async () => {
    const number = origin.recordings.length;
    const client = await openTunnel(proxy, `${host}:443`);
    await trickle(client, whole);
    const seen = await (await origin.recording(number)).waitForBytes(whole.length);
    expect(seen.equals(Buffer.from(whole))).toBe(true);
    await client.readBytes(serverHello().length);
    client.end();
    await client.readAll();
  });

  test("what follows the hello waits until the server has answered", async () => {
    const number = origin.recordings.length;
    const early = tlsRecord(23, new Uint8Array(3000).fill(7));
    const client = await openTunnel(proxy, `${host}:443`, { behind: bytes(whole, early) });
    const recording = await origin.recording(number);
    expect(await recording.waitForBytes(whole.length)).toHaveLength(whole.length);
    // The origin answers the hello, and only then gets the rest, which it echoes.
    expect(await client.readBytes(serverHello().length)).toEqual(Buffer.from(serverHello()));
    expect(await client.readBytes(early.length)).toEqual(Buffer.from(early));
    client.end();
    await client.readAll();
  });
});

describe("report mode lets pass what it records", () => {
  const lets: Readonly<{ [sentence: string]: { readonly sends: Uint8Array | string; readonly reason: string } }> = {
    "another name": { sends: helloFor("evil.test"), reason: "sni_mismatch" },
    "an old version": { sends: helloFor("trial.test", [0x0302]), reason: "tls_version" },
    "plain HTTP": { sends: "GET / HTTP/1.1\r\n\r\n", reason: "not_tls" },
    "a broken hello": { sends: tlsRecord(22, new Uint8Array(0)), reason: "hello_malformed" },
    "silence, and then a word": { sends: "", reason: "hello_timeout" },
  };
  for (const [sentence, { sends, reason }] of Object.entries(lets)) {
    test(sentence, async () => {
      const on = await record(proxy, origin);
      const number = origin.recordings.length;
      const client = await openTunnel(proxy, "trial.test:443");
      client.send(sends);
      const recording = await origin.recording(number);
      if (sends.length === 0) {
        await expect.poll(() => on.growth(decisions("allow", reason, "report")), { interval: 20 }).toBe(1);
        client.send("hello");
      }
      await recording.waitForBytes(sends.length || 5);
      recording.socket.destroy();
      await client.waitClose();
      client.close();
      expect(await on.line()).toMatchObject({
        verdict: "allow",
        would: "deny",
        reason,
        mode: "report",
        stage: "tunnel",
      });
      expect(await on.growth(decisions("allow", reason, "report"))).toBe(1);
      expect(await on.growth('sallyport_limit_rejections_total{limit="hello_timeout"}')).toBe(0);
    });
  }
});

describe("a client that leaves before its hello breaks no rule", () => {
  test("a port check: the 200, and FIN", async () => {
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `${host}:443`);
    client.end();
    expect(await client.waitClose()).toBe("fin");
    client.close();
    expect(await on.line()).toMatchObject({
      verdict: "allow",
      reason: "allowed",
      closed_by: "client",
      outcome: "client_aborted",
    });
    expect(await on.growth('sallyport_tunnels_total{result="client_aborted"}')).toBe(1);
    expect(on.atOrigin()).toEqual({ connections: 1, bytes: 0 });
  });

  test("a half-closed client that only sends a request still reads its 200", async () => {
    const client = await sendConnect(proxy, `${host}:443`);
    client.end();
    expect((await client.readHead()).status).toBe(200);
    expect(await client.readAll()).toHaveLength(0);
    client.close();
  });
});

/** Reads the alert, which is all there is, and the end. */
async function expectCut(client: RawClient, alert: number | undefined): Promise<void> {
  const told = await client.readAll();
  client.close();
  expect([...told]).toEqual(alert === undefined ? [] : [21, 3, 1, 0, 2, 2, alert]);
}

/** Sends single bytes, each a segment of its own as far as the kernel plays along. */
async function trickle(client: RawClient, data: Uint8Array): Promise<void> {
  for (const byte of data) {
    client.send(Uint8Array.of(byte));
    await new Promise((sent) => setImmediate(sent));
  }
}
