/**
 * Attack: a server (or somebody on the path to it) that answers a good ClientHello with an old version, or with
 * something that is no TLS, so that the tunnel is not what the rule expects. The origin has then seen the ClientHello,
 * and nothing else; an alert is the first thing that the client reads.
 */
import { once } from "node:events";
import { connect as connectTls } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  bytes,
  extension,
  handshake,
  helloFor,
  helloRetryRandom,
  record as tlsRecord,
  records,
  selectedVersion,
  serverHello,
  serverHelloMessage,
} from "../support/hello.ts";
import type { RawClient } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import {
  type Origin,
  type Recording,
  type TcpOrigin,
  startTcpOrigin,
  startTlsOrigin,
  testAuthority,
} from "../support/tls-origin.ts";
import { decisions, expectServing, openTunnel, record, startHelloOrigin } from "../support/tunnel.ts";

const host = "origin.example.com";
const hello = helloFor(host, [0x0304, 0x0303, 0x0302]);
let respond: (recording: Recording) => void = () => {};
let origin: TcpOrigin;
let good: TcpOrigin;
let oldServer: Origin;
let proxy: Sallyport;

beforeAll(async () => {
  origin = await startTcpOrigin((recording) => {
    recording.socket.on("end", () => recording.socket.end());
    respond(recording);
  });
  good = await startHelloOrigin();
  oldServer = await startTlsOrigin({
    authority: await testAuthority(),
    names: ["old.example.com"],
    minVersion: "TLSv1",
    maxVersion: "TLSv1.1",
    ciphers: "DEFAULT@SECLEVEL=0",
  });
  proxy = await startSallyport({
    policy: {
      rules: [
        { id: "origin", hosts: ["*.example.com"], expect: "https" },
        { id: "modern", hosts: ["modern.example.net"], expect: "https", tls_min: "1.3" },
        { id: "trial", hosts: ["trial.test"], expect: "https", mode: "report" },
      ],
    },
    settings: {
      connect_to: [
        `good.example.com:443:127.0.0.1:${good.port}`,
        `old.example.com:443:127.0.0.1:${oldServer.port}`,
        `*::127.0.0.1:${origin.port}`,
      ],
      limits: { hello_timeout: "300ms" },
    },
  });
});
afterAll(async () => {
  await proxy.stop();
  await Promise.all([origin.close(), good.close(), oldServer.close()]);
});
afterEach(() => {
  respond = () => {};
});

/** An answer to a whole ClientHello. */
function answering(act: (recording: Recording) => void): (recording: Recording) => void {
  return (recording) => {
    recording.waitForBytes(hello.length).then(
      () => act(recording),
      () => recording.socket.destroy(),
    );
  };
}

function saying(...parts: readonly (Uint8Array | string)[]): (recording: Recording) => void {
  return answering(({ socket }) => parts.forEach((part) => socket.write(part)));
}

const tls11 = serverHello({ legacyVersion: 0x0302, extensions: null });
const tls12 = serverHello({ extensions: [] });

/** Always `tls_downgrade`, alert 70. */
const downgrades: Readonly<
  Record<string, { respond: (recording: Recording) => void; target?: string; hello?: Uint8Array; tls?: string }>
> = {
  "TLS 1.1": { respond: saying(tls11), tls: "1.1" },
  "TLS 1.0": { respond: saying(serverHello({ legacyVersion: 0x0301, extensions: null })), tls: "1.0" },
  "SSL 3": { respond: saying(serverHello({ legacyVersion: 0x0300, extensions: null })), tls: "SSL 3" },
  "TLS 1.1 and its whole flight behind it": {
    respond: saying(bytes(tls11, tlsRecord(22, new Uint8Array(4000)))),
    tls: "1.1",
  },
  "TLS 1.1 in single-byte records": {
    respond: saying(records(serverHelloMessage({ legacyVersion: 0x0302, extensions: null }), [1])),
    tls: "1.1",
  },
  "TLS 1.2 where the rule asks for 1.3": {
    target: "modern.example.net",
    hello: helloFor("modern.example.net"),
    respond: (recording) => {
      recording.waitForBytes(helloFor("modern.example.net").length).then(
        () => recording.socket.write(tls12),
        () => {},
      );
    },
    tls: "1.2",
  },
  "supported_versions that choose 1.1": { respond: saying(serverHello({ extensions: [selectedVersion(0x0302)] })) },
  "1.3 behind a legacy version of 1.1": { respond: saying(serverHello({ legacyVersion: 0x0302 })) },
  "plain HTTP": { respond: saying("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") },
  "a banner that comes before the hello": { respond: ({ socket }) => socket.write("220 mail.example.com ESMTP\r\n") },
  "one byte of garbage": { respond: saying(Uint8Array.of(0)) },
  "a ClientHello": { respond: saying(hello) },
  "application data": { respond: saying(tlsRecord(23, new Uint8Array(100))) },
  "an alert that is longer than one": { respond: saying(tlsRecord(21, new Uint8Array(26))) },
  "an empty record": { respond: saying(tlsRecord(22, new Uint8Array(0))) },
  "a ServerHello that ends in the middle": {
    respond: answering(({ socket }) => socket.end(serverHello().subarray(0, 30))),
  },
  "a ServerHello said to be 30 KiB long": {
    respond: saying(tlsRecord(22, handshake(2, new Uint8Array(1000), 30_000), 0x0303, 1004)),
  },
  "21 KiB in which it does not end": {
    respond: saying(records(serverHelloMessage({ extensions: [extension(99, new Uint8Array(21 * 1024))] }))),
  },
};

describe("a server that does not keep to what the rule expects is cut off with protocol_version", () => {
  for (const [sentence, { respond: act, target = host, hello: sent = hello, tls }] of Object.entries(downgrades)) {
    test(sentence, async () => {
      respond = act;
      const on = await record(proxy, origin);
      const number = origin.recordings.length;
      // The client does not wait for the answer: what it sends behind its hello may not get through.
      const client = await openTunnel(proxy, `${target}:443`, {
        behind: bytes(sent, tlsRecord(23, new Uint8Array(500))),
      });
      const told = await client.readAll();
      client.close();
      expect([...told]).toEqual([21, 3, 1, 0, 2, 2, 70]);
      const line = await on.line();
      expect(line).toMatchObject({
        verdict: "deny",
        reason: "tls_downgrade",
        stage: "tunnel",
        status: 200,
        host: target,
        bytes_up: sent.length,
        bytes_down: 0,
      });
      if (tls !== undefined) expect(line["tls"]).toBe(tls);
      expect(line["denial"]).toMatch(/^[0-9A-Z]{5}-[0-9A-Z]{5}$/);
      expect(await on.growth(decisions("deny", "tls_downgrade"))).toBe(1);
      expect(await on.growth('sallyport_tunnels_total{result="denied"}')).toBe(1);
      expect(await proxy.metric("sallyport_tunnels_active")).toBe(0);
      const recording = await origin.recording(number);
      await recording.closed;
      expect(recording.bytes().equals(Buffer.from(sent))).toBe(true);
      await expectServing(proxy);
    });
  }

  test("a real server of TLS 1.1 and a real client that would take it: the client reads the alert", async () => {
    const on = await record(proxy, oldServer);
    const tunnel = (await openTunnel(proxy, "old.example.com:443")).detach();
    const client = connectTls({
      socket: tunnel,
      servername: "old.example.com",
      minVersion: "TLSv1",
      ciphers: "DEFAULT@SECLEVEL=0",
      rejectUnauthorized: false,
    });
    const [error] = (await once(client, "error")) as [Error & { code: string }];
    expect(error.code).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
    tunnel.destroy();
    const line = await on.line();
    expect(line).toMatchObject({ verdict: "deny", reason: "tls_downgrade", tls: "1.1", sni: "old.example.com" });
    expect(on.atOrigin()).toEqual({ connections: 1, bytes: line["bytes_up"] });
  });
});

const alertRecord = tlsRecord(21, Uint8Array.of(2, 40));
const warning = tlsRecord(21, Uint8Array.of(1, 112));

describe("an answer that is what the rule expects goes down byte for byte", () => {
  const passes: Readonly<Record<string, readonly Uint8Array[]>> = {
    "TLS 1.3": [serverHello()],
    "TLS 1.2": [tls12],
    "TLS 1.2 without extensions": [serverHello({ extensions: null })],
    "with the rest of the flight behind it": [bytes(tls12, tlsRecord(22, new Uint8Array(9000)))],
    "in single-byte records": [records(serverHelloMessage(), [1])],
    "in single bytes": [...serverHello()].map((byte) => Uint8Array.of(byte)),
    "a HelloRetryRequest": [serverHello({ random: helloRetryRandom })],
    "behind a warning": [warning, tls12],
    "a warning and it in one segment": [bytes(warning, tls12)],
    "19 KiB long": [
      records(serverHelloMessage({ extensions: [extension(99, new Uint8Array(19 * 1024)), selectedVersion(0x0304)] })),
    ],
  };
  for (const [sentence, parts] of Object.entries(passes)) {
    test(sentence, async () => {
      respond = answering(({ socket }) => {
        const next = (i: number): void => {
          const part = parts[i];
          if (part !== undefined) socket.write(part, () => setImmediate(() => next(i + 1)));
        };
        next(0);
      });
      const on = await record(proxy, origin);
      const client = await openTunnel(proxy, `${host}:443`, { behind: hello });
      const whole = Buffer.from(bytes(...parts));
      expect((await client.readBytes(whole.length)).equals(whole)).toBe(true);
      client.end();
      expect(await client.readAll()).toHaveLength(0);
      client.close();
      expect(await on.line()).toMatchObject({ verdict: "allow", bytes_up: hello.length, bytes_down: whole.length });
    });
  }
});

describe("a server that does not answer the hello with one of its own", () => {
  test("says no in a plaintext alert: the client reads that alert, and the end", async () => {
    respond = answering(({ socket }) => socket.end(alertRecord));
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `${host}:443`, { behind: hello });
    expect([...(await client.readAll())]).toEqual([...alertRecord]);
    client.close();
    const line = await on.line();
    expect(line).toMatchObject({ verdict: "allow", reason: "allowed", closed_by: "upstream", bytes_down: 7 });
    expect(line["outcome"]).toBeUndefined();
    expect(await on.growth('sallyport_tunnels_total{result="ok"}')).toBe(1);
  });

  test("sends alerts without end: no more than 20 KiB of them come through", async () => {
    respond = answering(({ socket }) => {
      for (let i = 0; i < 100; i++) socket.write(bytes(...Array.from({ length: 100 }, () => warning)));
    });
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `${host}:443`, { behind: hello });
    const told = await client.readAll();
    client.close();
    expect(told.length).toBeLessThanOrEqual(20 * 1024 + 7);
    expect([...told.subarray(-7)]).toEqual([21, 3, 1, 0, 2, 2, 70]);
    expect(await on.line()).toMatchObject({ verdict: "deny", reason: "tls_downgrade" });
    await expectServing(proxy);
  });

  test("hangs up without a word: the client reads the end, as it would without us", async () => {
    respond = answering(({ socket }) => socket.end());
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `${host}:443`, { behind: hello });
    expect(await client.readAll()).toHaveLength(0);
    client.close();
    expect(await on.line()).toMatchObject({
      verdict: "allow",
      outcome: "connection_terminated",
      closed_by: "upstream",
    });
    expect(await on.growth('sallyport_tunnels_total{result="connection_terminated"}')).toBe(1);
    await expectServing(proxy);
  });

  test("resets: the client is reset", async () => {
    respond = answering(({ socket }) => socket.resetAndDestroy());
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `${host}:443`, { behind: hello });
    expect(await client.waitClose()).toBe("reset");
    client.close();
    expect(await on.line()).toMatchObject({
      verdict: "allow",
      outcome: "connection_terminated",
      closed_by: "upstream",
    });
    await expectServing(proxy);
  });

  for (const [sentence, said] of Object.entries({
    "stays silent": new Uint8Array(0),
    "stops in the middle of it": serverHello().subarray(0, 20),
  })) {
    test(`${sentence}: the client is let go after hello_timeout, without a byte`, async () => {
      respond = answering(({ socket }) => socket.write(said));
      const on = await record(proxy, origin);
      const number = origin.recordings.length;
      const client = await openTunnel(proxy, `${host}:443`, { behind: hello });
      expect(await client.readAll()).toHaveLength(0);
      client.close();
      expect(await on.line()).toMatchObject({
        verdict: "allow",
        outcome: "connection_timeout",
        closed_by: "proxy",
        bytes_down: 0,
      });
      expect(await on.growth('sallyport_limit_rejections_total{limit="hello_timeout"}')).toBe(1);
      await (
        await origin.recording(number)
      ).closed;
      await expectServing(proxy);
    });
  }

  test("is let pass in report mode, and recorded", async () => {
    const trial = helloFor("trial.test");
    respond = (recording) => {
      recording.waitForBytes(trial.length).then(
        () => recording.socket.end("220 hello\r\n"),
        () => {},
      );
    };
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, "trial.test:443", { behind: trial });
    expect((await client.readAll()).toString()).toBe("220 hello\r\n");
    client.end();
    await expectLine(client, on);
    expect(await on.growth(decisions("allow", "tls_downgrade", "report"))).toBe(1);
  });
});

async function expectLine(client: RawClient, on: Awaited<ReturnType<typeof record>>): Promise<void> {
  expect(await on.line()).toMatchObject({ verdict: "allow", would: "deny", reason: "tls_downgrade", mode: "report" });
  client.close();
}
