/** Leaves on the wire, and the origins that the other tests build on: what they count and answer must be true. */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Authority, createAuthority } from "../../../src/pki/authority.ts";
import { connectRaw } from "../../support/raw-http.ts";
import {
  serverHelloRecord,
  startDowngradingOrigin,
  startTcpOrigin,
  startTlsOrigin,
  testAuthority,
  testLeaf,
  type TlsOriginOptions,
} from "../../support/tls-origin.ts";

const host = "127.0.0.1";
const oldCiphers = "DEFAULT@SECLEVEL=0";

let authority: Authority;

beforeAll(async () => {
  authority = await testAuthority();
});

describe("a leaf in a handshake", () => {
  test.each<[string, readonly string[], ConnectionOptions]>([
    ["a host name", ["a.test"], { servername: "a.test" }],
    ["a name below a wildcard", ["*.a.test"], { servername: "b.a.test" }],
    ["an address", ["127.0.0.1"], {}],
    ["a name too long for a common name", [`${"a".repeat(60)}.test`], { servername: `${"a".repeat(60)}.test` }],
  ])("is accepted for %s by a client that trusts the authority", async (_, names, options) => {
    const origin = await open({ names });
    expect(await handshake(origin.port, { ca: authority.certPem, ...options })).toBe("secure");
  });

  test.each<[string, readonly string[], ConnectionOptions, string]>([
    ["another host name", ["a.test"], { servername: "b.test" }, "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["the apex of a wildcard", ["*.a.test"], { servername: "a.test" }, "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["two labels below a wildcard", ["*.a.test"], { servername: "c.b.a.test" }, "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["an address it does not name", ["a.test"], {}, "ERR_TLS_CERT_ALTNAME_INVALID"],
  ])("is rejected for %s", async (_, names, options, expected) => {
    const origin = await open({ names });
    expect(await handshake(origin.port, { ca: authority.certPem, ...options })).toBe(expected);
  });

  test("is rejected by a client that does not trust the authority", async () => {
    const origin = await open({ names: ["a.test"] });
    expect(await handshake(origin.port, { servername: "a.test" })).toMatch(/SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_/);
  });

  test("is rejected when the authority's constraints do not permit its name", async () => {
    const made = await createAuthority({
      name: "Constrained",
      now: Date.now(),
      keyBits: 2048,
      nameConstraints: { permittedDns: ["example.test"] },
    });
    if (made.kind === "problem") throw new Error(made.problem);
    const constrained = made.authority;
    const inside = await open({ authority: constrained, names: ["a.example.test"] });
    expect(await handshake(inside.port, { ca: constrained.certPem, servername: "a.example.test" })).toBe("secure");
    const outside = await open({ authority: { ...constrained, constraints: undefined }, names: ["a.test"] });
    expect(await handshake(outside.port, { ca: constrained.certPem, servername: "a.test" })).toBe(
      "permitted subtree violation",
    );
  });

  test("proves a client to a server that asks, and a server's leaf does not", async () => {
    const origin = await open({ names: ["a.test"], clientAuthority: authority });
    const trust = { ca: authority.certPem, servername: "a.test" };
    const client = await testLeaf(authority, ["agent.test"], "client");
    const server = await testLeaf(authority, ["agent.test"], "server");
    expect(await echo(origin.port, { ...trust, ...client })).toBe("hello");
    expect(await echo(origin.port, { ...trust, ...server })).toBe("closed");
    expect(await echo(origin.port, trust)).toBe("closed");
  });
});

describe("startTlsOrigin", () => {
  test("echoes, and counts the bytes below TLS", async () => {
    const origin = await open({ names: ["a.test"] });
    const tcp = connectTcp(origin.port, host);
    const socket = connectTls({ socket: tcp, ca: authority.certPem, servername: "a.test" });
    await once(socket, "secureConnect");
    socket.write("hello");
    const [answer] = await once(socket, "data");
    expect(String(answer)).toBe("hello");
    socket.end();
    await once(tcp, "close");
    expect(origin.connections()).toBe(1);
    expect(origin.bytesReceived()).toBeGreaterThan(300);
    expect(origin.bytesReceived()).toBeLessThanOrEqual(tcp.bytesWritten);
  });

  test("has received nothing when somebody only connects", async () => {
    const origin = await open({ names: ["a.test"] });
    const client = await connectRaw(origin.port);
    client.end();
    await client.waitClose();
    client.close();
    expect({ connections: origin.connections(), bytes: origin.bytesReceived() }).toEqual({ connections: 1, bytes: 0 });
  });

  test("counts bytes that are no TLS", async () => {
    const origin = await open({ names: ["a.test"] });
    const client = await connectRaw(origin.port);
    client.send("GET / HTTP/1.1\r\n\r\n");
    await client.waitClose();
    client.close();
    expect(origin.bytesReceived()).toBe(18);
  });

  test("answers HTTP", async () => {
    const origin = await open({ names: ["a.test"], onRequest: (request, response) => response.end(request.url) });
    const client = await connectRaw(origin.port);
    const socket = connectTls({ socket: client.detach(), ca: authority.certPem, servername: "a.test" });
    onTestFinished(() => void socket.destroy());
    socket.write("GET /path HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\/path/);
  });

  test.each<["TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3"]>([["TLSv1"], ["TLSv1.1"], ["TLSv1.2"], ["TLSv1.3"]])(
    "speaks %s and nothing else when told so",
    async (version) => {
      const origin = await open({ names: ["a.test"], minVersion: version, maxVersion: version, ciphers: oldCiphers });
      const socket = connectTls({
        port: origin.port,
        host,
        ca: authority.certPem,
        servername: "a.test",
        minVersion: "TLSv1",
        ciphers: oldCiphers,
      });
      onTestFinished(() => void socket.destroy());
      await once(socket, "secureConnect");
      expect(socket.getProtocol()).toBe(version);
    },
  );

  test("negotiates ALPN", async () => {
    const origin = await open({ names: ["a.test"], alpn: ["h2", "http/1.1"] });
    const socket = connectTls({
      port: origin.port,
      host,
      ca: authority.certPem,
      servername: "a.test",
      ALPNProtocols: ["http/1.1"],
    });
    onTestFinished(() => void socket.destroy());
    await once(socket, "secureConnect");
    expect(socket.alpnProtocol).toBe("http/1.1");
  });

  test("ends every connection when it is closed", async () => {
    const origin = await startTlsOrigin({ authority, names: ["a.test"] });
    const client = await connectRaw(origin.port);
    await origin.close();
    expect(await client.waitClose()).toMatch(/fin|reset/);
    client.close();
    await expect(connectRaw(origin.port)).rejects.toThrow("ECONNREFUSED");
  });
});

describe("startTcpOrigin", () => {
  test("records each connection for itself", async () => {
    const origin = await startTcpOrigin(({ socket }) => socket.write("banner"));
    onTestFinished(() => origin.close());
    const clients = [await connectRaw(origin.port), await connectRaw(origin.port)];
    for (const [i, client] of clients.entries()) {
      expect(String(await client.readBytes(6))).toBe("banner");
      client.send(`from ${i}`);
      client.end();
    }
    for (const i of [0, 1]) {
      const recording = await origin.recording(i);
      await recording.ended;
      expect(String(recording.bytes())).toBe(`from ${i}`);
    }
    expect({ connections: origin.connections(), bytes: origin.bytesReceived() }).toEqual({ connections: 2, bytes: 12 });
    for (const client of clients) client.close();
  });

  test("waits for bytes over many segments, and rejects when the connection ends before", async () => {
    const origin = await startTcpOrigin();
    onTestFinished(() => origin.close());
    const client = await connectRaw(origin.port);
    const recording = await origin.recording(0);
    for (const byte of "segments") client.send(byte);
    expect(String(await recording.waitForBytes(8))).toBe("segments");
    const more = recording.waitForBytes(9);
    recording.socket.destroy();
    await expect(more).rejects.toThrow("closed after 8 of 9 bytes");
    client.close();
  });
});

describe("startDowngradingOrigin", () => {
  test("answers a client that offers TLS 1.2 with TLS 1.1, and keeps what it got", async () => {
    const origin = await startDowngradingOrigin({ version: 0x0302 });
    onTestFinished(() => origin.close());
    // OpenSSL itself is the judge of the hand-made hello: it understood it, and refused the version.
    const refusal = await handshake(origin.port, { servername: "a.test", minVersion: "TLSv1.2" });
    expect(refusal).toMatch(/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION/);
    const { ended, bytes } = await origin.recording(0);
    await ended;
    expect(bytes()[0]).toBe(22);
    expect(bytes().includes("a.test")).toBe(true);
  });

  test("writes the record of a TLS 1.3 hello with its real version in the extension", () => {
    const record = serverHelloRecord({ version: 0x0303, selectedVersion: 0x0304 });
    expect(record.subarray(0, 3).toString("hex")).toBe("160303");
    expect(record.readUInt16BE(3)).toBe(record.length - 5);
    expect(record.readUIntBE(6, 3)).toBe(record.length - 9);
    expect(record.subarray(-8).toString("hex")).toBe("0006002b00020304");
  });
});

async function open(options: Omit<TlsOriginOptions, "authority"> & { readonly authority?: Authority }) {
  const origin = await startTlsOrigin({ authority, ...options });
  onTestFinished(() => origin.close());
  return origin;
}

/** "secure", or the code of what went wrong; OpenSSL's words where Node has no code for them. */
async function handshake(port: number, options: ConnectionOptions): Promise<string> {
  const socket: TLSSocket = connectTls({ port, host, ...options });
  try {
    await once(socket, "secureConnect");
    return "secure";
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    return code === undefined || code === "UNSPECIFIED" ? message : code;
  } finally {
    socket.destroy();
  }
}

/** The echo of "hello", or "closed": TLS 1.3 refuses a client only after the client's side of the handshake. */
async function echo(port: number, options: ConnectionOptions): Promise<string> {
  const socket = connectTls({ port, host, ...options });
  let answer = "";
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    answer += String(chunk);
    if (answer === "hello") socket.end();
  });
  socket.write("hello");
  await new Promise((resolve) => socket.on("close", resolve));
  return answer === "" ? "closed" : answer;
}
