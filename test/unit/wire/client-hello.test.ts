/** `parseClientHello`: hellos of a real client, every way to cut them, and every malformed case by its detail. */
import type { ConnectionOptions } from "node:tls";
import { describe, expect, test } from "vitest";
import { parseClientHello } from "../../../src/wire/client-hello.ts";
import type { HelloReading } from "../../../src/wire/hello.ts";
import { holdsHandshake } from "../../../src/wire/handshake.ts";
import { captureClientHello } from "../../support/captured-hello.ts";
import {
  type ClientHelloFields,
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
  record,
  records,
  serverName,
  serverNames,
  supportedVersions,
  vector16,
  vector8,
} from "../../support/hello.ts";

const cap = 64 * 1024;

function read(prefix: Uint8Array, capBytes = cap): HelloReading {
  return parseClientHello(prefix, capBytes);
}

function hello(fields: ClientHelloFields): HelloReading {
  return read(clientHello(fields));
}

function detailOf(prefix: Uint8Array): string {
  const reading = read(prefix);
  return reading.kind === "malformed" ? reading.detail : reading.kind;
}

describe("hellos of Node's own client", () => {
  const cases: Record<string, [ConnectionOptions, object]> = {
    "TLS 1.3 with a name": [
      { servername: "a.example.com" },
      { serverName: "a.example.com", maxVersion: 0x0304, alpn: [] },
    ],
    "TLS 1.3 without a name": [{}, { serverName: null, maxVersion: 0x0304 }],
    "TLS 1.2 only": [{ servername: "a.example.com", maxVersion: "TLSv1.2" }, { maxVersion: 0x0303 }],
    "TLS 1.1 only": [
      { servername: "a.example.com", minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" },
      { maxVersion: 0x0302 },
    ],
    "with ALPN": [{ servername: "a.example.com", ALPNProtocols: ["h2", "http/1.1"] }, { alpn: ["h2", "http/1.1"] }],
    "a name in capitals, as it was sent": [{ servername: "A.Example.COM" }, { serverName: "A.Example.COM" }],
  };
  test.each(Object.entries(cases))("%s", async (_, [options, expected]) => {
    const captured = await captureClientHello(options);
    expect(read(captured)).toMatchObject({ kind: "hello", ech: false, length: captured.length, ...expected });
    for (let n = 0; n < captured.length; n++) expect(read(captured.subarray(0, n)).kind).toBe("incomplete");
  });
});

describe("one answer for ever", () => {
  const message = clientHelloMessage({
    extensions: [grease(0), serverName("a.example.com"), supportedVersions(0x0304), alpn("h2"), padding(40)],
  });
  const whole = read(record(22, message));

  test("every prefix asks for more, and what follows the hello changes nothing", () => {
    const sent = record(22, message);
    for (let n = 0; n < sent.length; n++) expect(read(sent.subarray(0, n)).kind).toBe("incomplete");
    for (const more of [[0x16], [0x14, 3, 3, 0, 1, 1], [0x47, 0x45, 0x54], sent])
      expect(read(bytes(sent, more))).toEqual(whole);
  });

  test("cut into two records at any byte", () => {
    for (let cut = 1; cut < message.length; cut++) {
      const sent = records(message, [cut, message.length - cut]);
      expect(read(sent.subarray(0, sent.length - 1)).kind).toBe("incomplete");
      expect(read(sent)).toEqual({ ...whole, length: sent.length });
    }
  });

  test("in records of one byte, with and without the walk of the answer before", () => {
    const sent = records(message, [1]);
    let reading = read(new Uint8Array(0));
    for (let n = 1; n <= sent.length; n++) {
      const prefix = sent.subarray(0, n);
      expect(reading.kind).toBe("incomplete");
      if (reading.kind === "incomplete") reading = parseClientHello(prefix, cap, reading.walk);
      expect(reading).toEqual(read(prefix));
    }
    expect(reading).toEqual({ ...whole, length: 6 * message.length });
  });

  test("a prefix that is a window on larger memory", () => {
    const memory = bytes([1, 2, 3], record(22, message), [9, 9, 9]);
    expect(read(memory.subarray(3, memory.length - 3))).toEqual(whole);
  });
});

describe("what a hello says", () => {
  test("the greatest of the versions offered, whatever legacy_version and the record say", () => {
    const versions = (...offered: number[]) =>
      hello({ legacyVersion: 0x0301, extensions: [supportedVersions(...offered)] });
    expect(versions(0x0304, 0x0303)).toMatchObject({ maxVersion: 0x0304 });
    expect(versions(0x0302, 0x0303, 0x0301)).toMatchObject({ maxVersion: 0x0303 });
    expect(versions(greaseValue(15), 0x0303)).toMatchObject({ maxVersion: 0x0303 });
    expect(versions(0x7f1c, 0x0305, 0x0302)).toMatchObject({ maxVersion: 0x0302 });
    expect(versions(0x0002, 0x0300)).toMatchObject({ maxVersion: 0x0300 });
    expect(read(record(22, clientHelloMessage(), 0x03ff))).toMatchObject({ maxVersion: 0x0304 });
  });

  test.each([
    [0x0300, 0x0300],
    [0x0301, 0x0301],
    [0x0303, 0x0303],
    [0x0304, 0x0303],
    [0x7f1c, 0x0303],
  ])("without supported_versions, legacy_version %i is at most TLS 1.2", (legacyVersion, maxVersion) => {
    expect(hello({ legacyVersion, extensions: [serverName("a.example.com")] })).toMatchObject({
      kind: "hello",
      maxVersion,
    });
  });

  test("a hello without extensions, and one with an empty block", () => {
    const old = { kind: "hello", serverName: null, maxVersion: 0x0301, alpn: [], ech: false };
    expect(hello({ legacyVersion: 0x0301, extensions: null })).toMatchObject(old);
    expect(hello({ legacyVersion: 0x0301, extensions: [] })).toMatchObject(old);
  });

  test("ALPN without GREASE, at most sixteen protocols", () => {
    const protocols = Array.from({ length: 20 }, (_, i) => `p${i}`);
    const extensions = [alpn(Uint8Array.of(0x6a, 0x6a), "\u00ffh2", ...protocols)];
    expect(hello({ extensions })).toMatchObject({ alpn: ["\u00ffh2", ...protocols.slice(0, 15)] });
    expect(hello({ extensions: [alpn("jj", "j\u007a", "zzz")] })).toMatchObject({ alpn: ["j\u007a", "zzz"] });
  });

  test("encrypted_client_hello and ESNI are counted, the outer name stands", () => {
    for (const type of [0xfe0d, 0xffce]) {
      const extensions = [serverName("outer.example.com"), extension(type, new Uint8Array(0))];
      expect(hello({ extensions })).toMatchObject({ serverName: "outer.example.com", ech: true });
    }
    expect(hello({ extensions: [encryptedClientHello()] })).toMatchObject({ serverName: null, ech: true });
  });

  test("GREASE everywhere is no reason to complain", () => {
    const extensions = [
      grease(3),
      serverName("a.example.com"),
      supportedVersions(greaseValue(7), 0x0304),
      ...[1, 2, 4].map((n) => grease(n, Uint8Array.of(0))),
      preSharedKey(),
    ];
    const reading = hello({ cipherSuites: [greaseValue(0), 0x1301], extensions });
    expect(reading).toMatchObject({ kind: "hello", serverName: "a.example.com", maxVersion: 0x0304 });
  });

  test.each(["a.example.com.", "localhost", "xn--mnchen-3ya.example", "_srv.example.com", `${"a".repeat(63)}.example`])(
    "%s is a name",
    (name) => expect(read(helloFor(name))).toMatchObject({ kind: "hello", serverName: name }),
  );

  test("hellos of 1.6 KB in one record and of more than 16 KB in several", () => {
    const postQuantum = clientHello({
      extensions: [serverName("a.example.com"), extension(51, new Uint8Array(1200)), padding(200)],
    });
    expect(read(postQuantum)).toMatchObject({ kind: "hello", serverName: "a.example.com", length: postQuantum.length });
    const huge = records(clientHelloMessage({ extensions: [padding(40_000), serverName("a.example.com")] }));
    expect(read(huge)).toMatchObject({ kind: "hello", serverName: "a.example.com", length: huge.length });
    expect(read(huge.subarray(0, huge.length - 1)).kind).toBe("incomplete");
  });
});

describe("the cap", () => {
  const message = clientHelloMessage();
  const sent = record(22, message);

  test("a hello of exactly the cap is read, one byte less is too little room", () => {
    expect(read(sent, sent.length).kind).toBe("hello");
    expect(read(bytes(sent, sent), sent.length).kind).toBe("hello");
    expect(read(sent, sent.length - 1)).toEqual({ kind: "too_large" });
  });

  test("the verdict comes with the length, not with the bytes", () => {
    expect(read(sent.subarray(0, 8), sent.length - 1).kind).toBe("incomplete");
    expect(read(sent.subarray(0, 9), sent.length - 1)).toEqual({ kind: "too_large" });
    expect(read(record(22, handshake(1, new Uint8Array(10), 0xffffff)))).toEqual({ kind: "too_large" });
  });

  test("record headers count, those still to come too", () => {
    const huge = clientHelloMessage({ extensions: [padding(33_000)] });
    const fewest = huge.length + 3 * 5;
    expect(read(records(huge), fewest).kind).toBe("hello");
    expect(read(records(huge).subarray(0, 9), fewest - 1)).toEqual({ kind: "too_large" });
    expect(read(records(huge, [1]).subarray(0, 25), fewest)).toEqual({ kind: "too_large" });
  });

  test("records of one byte reach it before the hello is whole", () => {
    const small = records(message, [1]);
    expect(read(small, small.length).kind).toBe("hello");
    expect(read(small, small.length - 1)).toEqual({ kind: "too_large" });
  });

  test("a handshake header that never ends its length stops at the cap", () => {
    expect(read(record(22, Uint8Array.of(1, 0, 0), 0x0301), 8)).toEqual({ kind: "too_large" });
  });
});

describe("other protocols are not_tls at their first bytes", () => {
  const cases: Record<string, Uint8Array> = {
    "an SSL 2 hello": Uint8Array.of(0x80, 0x2e, 0x01, 0x03, 0x01),
    "an HTTP request": Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    "an SSH banner": Buffer.from("SSH-2.0-OpenSSH_9.6\r\n"),
    "a nested CONNECT": Buffer.from("CONNECT a.example.com:443 HTTP/1.1\r\n\r\n"),
    "a zero byte": Uint8Array.of(0),
    "a TLS alert": record(21, Uint8Array.of(2, 40)),
    "TLS application data": record(23, new Uint8Array(20)),
    "a handshake record of DTLS": Uint8Array.of(0x16, 0xfe, 0xfd),
  };
  test.each(Object.entries(cases))("%s", (_, sent) => {
    expect(read(sent)).toEqual({ kind: "not_tls" });
    expect(read(sent.subarray(0, sent[0] === 0x16 ? 2 : 1))).toEqual({ kind: "not_tls" });
  });
});

describe("malformed", () => {
  const message = clientHelloMessage();
  const body = message.subarray(4);
  const half = record(22, message.subarray(0, 60));
  const extensions = (...list: NonNullable<ClientHelloFields["extensions"]>) => clientHello({ extensions: list });
  const raw = (...parts: readonly ArrayLike<number>[]) => record(22, handshake(1, bytes(...parts)));
  const fixed = new Uint8Array(34).fill(3);
  const suites = vector16(Uint8Array.of(0x13, 0x01));
  const upToExtensions = bytes(fixed, [0], suites, [1, 0]);
  const host = (name: string) => extensions(serverName(name));

  const cases: Record<string, [Uint8Array, string]> = {
    "a record without content": [record(22, new Uint8Array(0)), "record length"],
    "a record without content in the middle": [bytes(half, record(22, new Uint8Array(0))), "record length"],
    "a record beyond 2^14": [Uint8Array.of(22, 3, 1, 0x40, 0x01), "record length"],
    "change_cipher_spec in the middle": [bytes(half, record(20, Uint8Array.of(1))), "record type"],
    "an alert in the middle, at its first byte": [bytes(half, [21]), "record type"],
    "application data in the middle": [bytes(half, record(23, message.subarray(60))), "record type"],
    "another major version in the middle, at that byte": [bytes(half, [22, 2]), "record version"],
    "a ServerHello, at its first byte": [Uint8Array.of(22, 3, 1, 0, 100, 2), "handshake type"],
    "a HelloRequest": [record(22, handshake(0, new Uint8Array(0))), "handshake type"],
    "a second hello in the same record": [record(22, bytes(message, message)), "trailing bytes"],
    "one byte too many in the record": [record(22, bytes(message, [0])), "trailing bytes"],
    "one byte too many in the last of two records": [
      bytes(half, record(22, bytes(message.subarray(60), [1]))),
      "trailing bytes",
    ],
    "an empty hello": [raw(), "session_id"],
    "a hello that ends in the random": [raw(fixed.subarray(1)), "session_id"],
    "a hello that ends before the session id": [raw(fixed), "session_id"],
    "a session id of 33 bytes": [clientHello({ sessionId: new Uint8Array(33) }), "session_id"],
    "a session id past the end": [raw(fixed, [32], new Uint8Array(31)), "session_id"],
    "no cipher suites": [clientHello({ cipherSuites: [] }), "cipher_suites"],
    "half a cipher suite": [raw(fixed, [0], vector16(Uint8Array.of(1, 2, 3)), [1, 0]), "cipher_suites"],
    "cipher suites past the end": [raw(fixed, [0], [0, 4, 0x13, 0x01]), "cipher_suites"],
    "a hello that ends before the cipher suites": [raw(fixed, [0], [0]), "cipher_suites"],
    "no compression methods": [clientHello({ compressionMethods: [] }), "compression_methods"],
    "compression without null": [clientHello({ compressionMethods: [1, 64] }), "compression_methods"],
    "compression methods past the end": [raw(fixed, [0], suites, [2, 0]), "compression_methods"],
    "a hello that ends before the compression methods": [raw(fixed, [0], suites), "compression_methods"],
    "one byte of an extension block": [raw(upToExtensions, [0]), "extensions length"],
    "an extension block past the end": [raw(upToExtensions, [0, 5, 0, 23, 0, 0]), "extensions length"],
    "bytes behind the extension block": [raw(upToExtensions, [0, 4, 0, 23, 0, 0, 0]), "extensions length"],
    "a hello cut short by its own length": [record(22, handshake(1, body.subarray(0, -1))), "extensions length"],
    "an extension past the end": [raw(upToExtensions, [0, 4, 0, 23, 0, 1]), "extension length"],
    "half an extension header": [raw(upToExtensions, [0, 3, 0, 23, 0]), "extension length"],
    "two server_name extensions": [extensions(serverName("a.test"), serverName("a.test")), "duplicate extension"],
    "an unknown extension twice": [extensions(grease(1), serverName("a.test"), grease(1)), "duplicate extension"],
    "pre_shared_key before another extension": [
      extensions(preSharedKey(), serverName("a.test")),
      "pre_shared_key not last",
    ],
    "an empty server_name extension": [extensions(extension(0, new Uint8Array(0))), "server_name"],
    "half a server_name list length": [extensions(extension(0, Uint8Array.of(0))), "server_name"],
    "a server_name list past the extension": [
      extensions(extension(0, Uint8Array.of(0, 5, 0, 0, 1, 0x61)), padding(9)),
      "server_name",
    ],
    "bytes behind the server_name list": [
      extensions(extension(0, bytes(serverName("a.test").data, [0]))),
      "server_name",
    ],
    "an empty server_name list": [extensions(serverNames()), "server_name entries"],
    "an empty server_name list before other extensions": [extensions(serverNames(), padding(9)), "server_name entries"],
    "two host names": [
      extensions(serverNames({ type: 0, name: "a.test" }, { type: 0, name: "b.test" })),
      "server_name entries",
    ],
    "the same host name twice": [
      extensions(serverNames({ type: 0, name: "a.test" }, { type: 0, name: "a.test" })),
      "server_name entries",
    ],
    "another name type": [extensions(serverNames({ type: 1, name: "a.test" })), "server_name entries"],
    "another name type beside a host name": [
      extensions(serverNames({ type: 0, name: "a.test" }, { type: 1, name: "b" })),
      "server_name entries",
    ],
    "a host name past its list": [
      extensions(extension(0, vector16(Uint8Array.of(0, 0, 9, 0x61))), padding(9)),
      "server_name entries",
    ],
    "a host name shorter than its list": [
      extensions(extension(0, vector16(Uint8Array.of(0, 0, 1, 0x61, 0x62)))),
      "server_name entries",
    ],
    "a server_name entry without a length": [
      extensions(extension(0, vector16(Uint8Array.of(0, 0)))),
      "server_name entries",
    ],
    "an empty name": [host(""), "server_name host"],
    "only a dot": [host("."), "server_name host"],
    "two trailing dots": [host("a.test.."), "server_name host"],
    "an IPv4 address": [host("10.0.0.1"), "server_name host"],
    "an IPv6 address": [host("2001:db8::1"), "server_name host"],
    "an IPv6 address in brackets": [host("[2001:db8::1]"), "server_name host"],
    "a number": [host("2130706433"), "server_name host"],
    "a NUL": [host("allowed.test\0.evil.test"), "server_name host"],
    "a NUL at the end": [host("allowed.test\0"), "server_name host"],
    "a space": [host("allowed.test "), "server_name host"],
    "a line feed": [host("allowed.test\n"), "server_name host"],
    "UTF-8": [extensions(serverName(Buffer.from("münchen.test"))), "server_name host"],
    "a wildcard": [host("*.example.com"), "server_name host"],
    "a port": [host("a.test:443"), "server_name host"],
    "a name of 254 characters": [host(`${"abcd.".repeat(50)}test`), "server_name host"],
    "a name of 60,000 characters": [
      records(clientHelloMessage({ extensions: [serverName("a".repeat(60_000))] })),
      "server_name host",
    ],
    "an empty supported_versions": [extensions(extension(43, new Uint8Array(0))), "supported_versions"],
    "an empty list of versions": [extensions(supportedVersions()), "supported_versions"],
    "half a version": [extensions(extension(43, vector8(Uint8Array.of(3, 4, 3)))), "supported_versions"],
    "versions past the extension": [
      extensions(extension(43, Uint8Array.of(4, 3, 4)), padding(9)),
      "supported_versions",
    ],
    "bytes behind the versions": [
      extensions(extension(43, Uint8Array.of(2, 3, 4, 3)), padding(9)),
      "supported_versions",
    ],
    "the supported_versions of a ServerHello": [extensions(extension(43, Uint8Array.of(3, 4))), "supported_versions"],
    "SSL 2 in legacy_version": [clientHello({ legacyVersion: 0x0002, extensions: [] }), "legacy_version"],
    "an empty ALPN extension": [extensions(extension(16, new Uint8Array(0))), "alpn"],
    "an empty ALPN list": [extensions(alpn()), "alpn"],
    "an empty protocol": [extensions(alpn("h2", "")), "alpn"],
    "an ALPN list past the extension": [
      extensions(extension(16, Uint8Array.of(0, 4, 2, 0x68, 0x32)), padding(9)),
      "alpn",
    ],
    "bytes behind the ALPN list": [extensions(extension(16, bytes(alpn("h2").data, [0]))), "alpn"],
    "a protocol past the ALPN list": [
      extensions(extension(16, vector16(Uint8Array.of(3, 0x68, 0x32))), padding(9)),
      "alpn",
    ],
  };

  test.each(Object.entries(cases))("%s", (_, [sent, detail]) => {
    expect(detailOf(sent)).toBe(detail);
    expect(detailOf(bytes(sent, new Uint8Array(40)))).toBe(detail);
  });

  test.each(Object.entries(cases))("%s, byte by byte: more, then the same for ever", (_, [sent, detail]) => {
    const step = Math.max(1, Math.floor(sent.length / 500));
    let n = 0;
    while (read(sent.subarray(0, n)).kind === "incomplete" && n < sent.length) n = Math.min(n + step, sent.length);
    for (; n <= sent.length; n += step) expect(detailOf(sent.subarray(0, n))).toBe(detail);
  });
});

test("a hello that offers no version known here is read, and offers nothing", () => {
  for (const versions of [supportedVersions(greaseValue(0), greaseValue(15)), supportedVersions(0x7f1c, 0x0305)]) {
    const hello = clientHello({ extensions: [serverName("a.example.com"), versions] });
    expect(parseClientHello(hello, 65_536)).toMatchObject({ kind: "hello", maxVersion: 0 });
  }
});

describe("what may stand behind a ClientHello before the server has answered", () => {
  const ccs = Buffer.from([20, 3, 3, 0, 1, 1]);
  const early = Buffer.from([23, 3, 3, 0, 2, 9, 9]);
  test.each([
    ["nothing", Buffer.alloc(0), false],
    ["change_cipher_spec and early data", Buffer.concat([ccs, early]), false],
    ["a handshake record", Buffer.from([22, 3, 1]), true],
    ["a handshake record behind early data", Buffer.concat([ccs, early, Buffer.from([22])]), true],
    ["a record that has not come whole", Buffer.from([23, 3, 3, 0, 9, 22, 22]), false],
  ])("%s", (_sentence, bytes, holds) => {
    expect(holdsHandshake(bytes)).toBe(holds);
  });
});
