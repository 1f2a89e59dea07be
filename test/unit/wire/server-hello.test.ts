/** `parseServerHello` and the alerts: flights of a real server, what may come before a ServerHello, what may not. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { type ConnectionOptions, type TlsOptions, connect } from "node:tls";
import { describe, expect, test } from "vitest";
import type { ServerHelloReading } from "../../../src/wire/hello.ts";
import { parseServerHello } from "../../../src/wire/server-hello.ts";
import { alertBytes, alerts } from "../../../src/wire/tls-alert.ts";
import { captureServerFlight } from "../../support/captured-hello.ts";
import {
  bytes,
  extension,
  grease,
  handshake,
  helloRetryRandom,
  record,
  records,
  selectedVersion,
  serverHello,
  serverHelloMessage,
  vector16,
} from "../../support/hello.ts";

const cap = 20 * 1024;
const warning = record(21, Uint8Array.of(1, alerts.unrecognized_name));

function read(prefix: Uint8Array, capBytes = cap): ServerHelloReading {
  return parseServerHello(prefix, capBytes);
}

describe("flights of Node's own server", () => {
  // A shared key needs no certificate.
  const psk = Buffer.alloc(32, 7);
  const suites = "PSK:TLS_AES_128_GCM_SHA256:@SECLEVEL=0";
  const client: ConnectionOptions = {
    ciphers: suites,
    minVersion: "TLSv1",
    pskCallback: () => ({ psk, identity: "agent" }),
    checkServerIdentity: () => undefined,
  };
  const server: TlsOptions = { ciphers: suites, minVersion: "TLSv1", pskCallback: () => psk };
  const cases: Record<string, [TlsOptions, ServerHelloReading]> = {
    "TLS 1.3": [server, { kind: "hello", version: 0x0304 }],
    "TLS 1.3 after a HelloRetryRequest": [
      { ...server, ecdhCurve: "P-384" },
      { kind: "hello", version: 0x0304 },
    ],
    "TLS 1.2": [
      { ...server, maxVersion: "TLSv1.2" },
      { kind: "hello", version: 0x0303 },
    ],
    "TLS 1.1": [
      { ...server, maxVersion: "TLSv1.1" },
      { kind: "hello", version: 0x0302 },
    ],
    "TLS 1.0": [
      { ...server, maxVersion: "TLSv1" },
      { kind: "hello", version: 0x0301 },
    ],
    "an alert instead of a hello": [{}, { kind: "incomplete", pass: 7 }],
  };
  test.each(Object.entries(cases))("%s", async (_, [options, expected]) => {
    const flight = await captureServerFlight(client, options);
    expect(read(flight)).toEqual(expected);
    const kinds = Array.from({ length: flight.length + 1 }, (_unused, n) => read(flight.subarray(0, n)).kind);
    const changes = kinds.filter((kind, n) => kind !== kinds[n - 1]);
    expect(changes).toEqual(expected.kind === "hello" ? ["incomplete", "hello"] : ["incomplete"]);
  });
});

describe("which version a ServerHello chooses", () => {
  const cases: Record<string, [Uint8Array, ServerHelloReading]> = {
    "supported_versions, over legacy_version": [serverHello(), { kind: "hello", version: 0x0304 }],
    "a HelloRetryRequest": [serverHello({ random: helloRetryRandom }), { kind: "hello", version: 0x0304 }],
    "supported_versions among others": [
      serverHello({ extensions: [extension(51, new Uint8Array(36)), grease(2), selectedVersion(0x0304)] }),
      { kind: "hello", version: 0x0304 },
    ],
    "legacy_version without supported_versions": [
      serverHello({ extensions: [extension(0xff01, Uint8Array.of(0))] }),
      { kind: "hello", version: 0x0303 },
    ],
    "TLS 1.0 without extensions": [
      serverHello({ legacyVersion: 0x0301, extensions: null }),
      { kind: "hello", version: 0x0301 },
    ],
    "SSL 3": [serverHello({ legacyVersion: 0x0300, extensions: null }), { kind: "hello", version: 0x0300 }],
    "an empty session id": [serverHello({ sessionId: new Uint8Array(0) }), { kind: "hello", version: 0x0304 }],
  };
  test.each(Object.entries(cases))("%s", (_, [sent, expected]) => expect(read(sent)).toEqual(expected));
});

describe("as early as it is certain", () => {
  const message = serverHelloMessage();

  test("a certificate behind it in the same record is not waited for", () => {
    const flight = record(22, bytes(message, handshake(11, new Uint8Array(3000)), handshake(14, new Uint8Array(0))));
    const needed = 5 + message.length;
    for (let n = 0; n < needed; n++) expect(read(flight.subarray(0, n))).toEqual({ kind: "incomplete", pass: 0 });
    for (const n of [needed, needed + 1, flight.length])
      expect(read(flight.subarray(0, n))).toEqual({ kind: "hello", version: 0x0304 });
  });

  test("cut into two records at any byte, behind two alerts", () => {
    for (let cut = 1; cut < message.length; cut++) {
      const sent = bytes(warning, warning, records(message, [cut, message.length - cut]));
      expect(read(sent.subarray(0, sent.length - 1))).toEqual({ kind: "incomplete", pass: 14 });
      expect(read(sent)).toEqual({ kind: "hello", version: 0x0304 });
    }
  });

  test("records of one byte", () => {
    expect(read(records(message, [1]))).toEqual({ kind: "hello", version: 0x0304 });
  });

  test("alerts may pass once they are whole", () => {
    const sent = bytes(warning, warning, [22]);
    const passed = Array.from({ length: sent.length + 1 }, (_, n) => read(sent.subarray(0, n)));
    expect(passed).toEqual(passed.map((_, n) => ({ kind: "incomplete", pass: n < 7 ? 0 : n < 14 ? 7 : 14 })));
  });
});

describe("the cap", () => {
  test("a length beyond it is too large at once, alerts counted", () => {
    const sent = bytes(warning, serverHello());
    expect(read(sent, sent.length).kind).toBe("hello");
    expect(read(sent.subarray(0, 16), sent.length - 1)).toEqual({ kind: "too_large" });
    expect(read(record(22, handshake(2, new Uint8Array(0), 0xffff)))).toEqual({ kind: "too_large" });
  });

  test("alerts without end reach it", () => {
    expect(read(bytes(warning, warning, warning), 21)).toEqual({ kind: "too_large" });
    expect(read(bytes(warning, warning, warning), 20)).toEqual({ kind: "too_large" });
    expect(read(bytes(warning, warning, warning), 22)).toEqual({ kind: "incomplete", pass: 21 });
  });
});

describe("malformed", () => {
  const message = serverHelloMessage();
  const raw = (...parts: readonly ArrayLike<number>[]) => record(22, handshake(2, bytes(...parts)));
  const fixed = new Uint8Array(34).fill(3);
  const half = record(22, message.subarray(0, 30));
  const cases: Record<string, [Uint8Array, string]> = {
    "an HTTP answer, at its first byte": [Buffer.from("H"), "record type"],
    "an SSH banner": [Buffer.from("SSH-2.0-x\r\n"), "record type"],
    "application data": [record(23, new Uint8Array(9)), "record type"],
    change_cipher_spec: [record(20, Uint8Array.of(1)), "record type"],
    "an alert inside the hello": [bytes(half, warning), "record type"],
    "HTTP behind an alert": [bytes(warning, Buffer.from("HTTP/1.1 200")), "record type"],
    "another major version": [Uint8Array.of(22, 2), "record version"],
    "an alert of another major version": [Uint8Array.of(21, 2), "record version"],
    "an alert of three bytes": [record(21, Uint8Array.of(1, 2, 3)), "alert length"],
    "an empty alert": [record(21, new Uint8Array(0)), "alert length"],
    "an empty handshake record": [record(22, new Uint8Array(0)), "record length"],
    "a record beyond 2^14": [Uint8Array.of(22, 3, 3, 0x40, 0x01), "record length"],
    "a ClientHello": [record(22, handshake(1, new Uint8Array(60))), "handshake type"],
    "a certificate first": [record(22, handshake(11, new Uint8Array(60))), "handshake type"],
    "an empty hello": [raw(), "session_id"],
    "a session id of 33 bytes": [serverHello({ sessionId: new Uint8Array(33) }), "session_id"],
    "a hello that ends in the cipher suite": [raw(fixed, [0], [0x13, 0x01]), "cipher_suite"],
    "an extension block past the end": [raw(fixed, [0], [0x13, 0x01, 0], [0, 9]), "extensions length"],
    "bytes behind the extension block": [raw(fixed, [0], [0x13, 0x01, 0], [0, 0, 0]), "extensions length"],
    "an extension past the end": [
      raw(fixed, [0], [0x13, 0x01, 0], vector16(Uint8Array.of(0, 43, 0, 2))),
      "extension length",
    ],
    "supported_versions twice": [
      serverHello({ extensions: [selectedVersion(0x0304), selectedVersion(0x0304)] }),
      "duplicate extension",
    ],
    "supported_versions with a list": [
      serverHello({ extensions: [extension(43, Uint8Array.of(2, 3, 4))] }),
      "supported_versions",
    ],
    "supported_versions of one byte, then an extension 0x04…": [
      serverHello({ extensions: [extension(43, Uint8Array.of(3)), extension(0x0400, new Uint8Array(0))] }),
      "supported_versions",
    ],
    "supported_versions with two versions": [
      serverHello({ extensions: [extension(43, Uint8Array.of(3, 4, 3, 4))] }),
      "supported_versions",
    ],
    "supported_versions for TLS 1.2, which RFC 8446 forbids": [
      serverHello({ extensions: [selectedVersion(0x0303)] }),
      "supported_versions",
    ],
    "an unknown version": [serverHello({ extensions: [selectedVersion(0x7f1c)] }), "supported_versions"],
    "TLS 1.3 for the proxy, TLS 1.0 for a client that reads legacy_version": [
      serverHello({ legacyVersion: 0x0301 }),
      "legacy_version",
    ],
    "TLS 1.3 in legacy_version": [serverHello({ legacyVersion: 0x0304, extensions: [] }), "legacy_version"],
    "SSL 2 in legacy_version": [serverHello({ legacyVersion: 0x0002, extensions: null }), "legacy_version"],
  };
  test.each(Object.entries(cases))("%s", (_, [sent, detail]) => {
    expect(read(sent)).toEqual({ kind: "malformed", detail });
    expect(read(bytes(sent, new Uint8Array(40)))).toEqual({ kind: "malformed", detail });
  });
});

describe("alerts", () => {
  test("a record of seven bytes", () => {
    expect([...alertBytes(alerts.unrecognized_name, 0x0303)]).toEqual([21, 3, 3, 0, 2, 2, 112]);
    expect(alerts).toEqual({
      unrecognized_name: 112,
      protocol_version: 70,
      decode_error: 50,
      access_denied: 49,
      internal_error: 80,
    });
  });

  const codes: Record<keyof typeof alerts, RegExp> = {
    access_denied: /ACCESS_DENIED/,
    decode_error: /DECODE_ERROR/,
    protocol_version: /PROTOCOL_VERSION/,
    internal_error: /INTERNAL_ERROR/,
    unrecognized_name: /UNRECOGNIZED_NAME/,
  };
  for (const maxVersion of ["TLSv1.3", "TLSv1.2", "TLSv1"] as const) {
    test.each(Object.entries(codes))(`a ${maxVersion} client reads %s`, async (name, code) => {
      const server = createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () => socket.end(alertBytes(alerts[name as keyof typeof alerts])));
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const port = (server.address() as AddressInfo).port;
      const client = connect({
        host: "127.0.0.1",
        port,
        minVersion: "TLSv1",
        maxVersion,
        ciphers: "DEFAULT:@SECLEVEL=0",
      });
      const error = await new Promise<NodeJS.ErrnoException>((resolve) => client.once("error", resolve));
      expect(error.code).toMatch(code);
      client.destroy();
      server.close();
      await once(server, "close");
    });
  }
});
