/** Listeners that ask who comes, in several processes, and what TLS to the proxy does with ends that are none. */
import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { type TLSSocket, connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serverHello } from "../support/hello.ts";
import { type Listeners, plainHost, startListeners } from "../support/listeners.ts";
import { openResources, tellsResources } from "../support/open-resources.ts";
import { addresses4, proxyBlock } from "../support/proxy-header.ts";
import { type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { helloFor } from "../support/hello.ts";

const address = "127.0.0.1:0";
const credentials = `Proxy-Authorization: Basic ${Buffer.from("kiosk:open sesame").toString("base64")}\r\n`;
const everything = (d: string): Readonly<Record<string, unknown>>[] => [
  {
    kind: "proxy",
    address,
    tls: { cert: `${d}/proxy.pem`, key: `${d}/proxy.key` },
    auth: { basic: `${d}/users.htpasswd` },
    proxy_protocol: { from: ["127.0.0.1"] },
    clients: ["kiosks"],
  },
];
const policy = {
  clients: { kiosks: { users: ["kiosk"] } },
  rules: [{ id: "plain", hosts: [plainHost], expect: "http" }],
};

/** Behind a PROXY header, over TLS. */
async function secured(port: number): Promise<TLSSocket> {
  const raw = connect(port, "127.0.0.1");
  raw.write(proxyBlock(0x11, addresses4()));
  const socket = connectTls({ socket: raw, rejectUnauthorized: false });
  await once(socket, "secureConnect");
  return socket;
}

describe.each([1, 2])("a PROXY header, TLS, credentials and a group on one listener, with workers: %i", (workers) => {
  let all: Listeners;
  beforeAll(async () => {
    all = await startListeners(everything, { policy, settings: { workers } });
  });
  afterAll(async () => expect(await all.stop()).toBe(0));

  test("every worker serves who fits, and refuses who does not", async () => {
    const ask = async (path: string, fields: string): Promise<string> => {
      const socket = await secured(all.ports[0]!);
      socket.write(
        `GET http://${plainHost}${path} HTTP/1.1\r\nHost: ${plainHost}\r\n${fields}Connection: close\r\n\r\n`,
      );
      return text(socket);
    };
    const paths = Array.from({ length: 12 }, (_, i) => `/${i}`);
    const answers = await Promise.all(paths.map((path) => ask(path, credentials)));
    for (const [i, answer] of answers.entries()) expect(answer).toContain(`plain GET /${i} 0`);
    for (const path of paths.slice(0, 4)) expect(await ask(path, "")).toMatch(/^HTTP\/1\.1 407 /);
    const admin = `Proxy-Authorization: Basic ${Buffer.from("admin:pass:word").toString("base64")}\r\n`;
    expect(await ask("/", admin)).toMatch(/^HTTP\/1\.1 403 Denied: client_denied /);
    expect(
      all.proxy.log.filter((line) => line["group"] === "kiosks").every((line) => line["client"] === "10.9.8.7"),
    ).toBe(true);
  });

  test("metrics say when its certificate ends, once", async () => {
    const series = `sallyport_certificate_expiry_timestamp_seconds{listener="${address}"}`;
    const socket = await secured(all.ports[0]!);
    const { valid_to: end } = socket.getPeerCertificate();
    // Left open, it would hold up the end until its deadline.
    socket.destroy();
    expect(await all.proxy.metric(series)).toBe(Date.parse(end) / 1000);
  });
});

describe("over TLS to the proxy", () => {
  let all: Listeners;
  let origin: TcpOrigin;
  beforeAll(async () => {
    origin = await startTcpOrigin(({ socket, waitForBytes }) => {
      const answer = async (): Promise<void> => {
        const header = await waitForBytes(5);
        await waitForBytes(5 + header.readUInt16BE(3));
        socket.write(serverHello());
      };
      answer().catch(() => socket.destroy());
    });
    all = await startListeners(
      (d) => [{ kind: "proxy", address, tls: { cert: `${d}/proxy.pem`, key: `${d}/proxy.key` } }],
      {
        nodeArguments: tellsResources,
        policy: { rules: [{ id: "all", hosts: ["*.example.com"], expect: "https" }] },
        settings: { connect_to: [`*:443:127.0.0.1:${origin.port}`], limits: { drain_timeout: "1s" } },
      },
    );
  });
  afterAll(async () => {
    expect(await all.stop()).toBe(0);
    await origin.close();
  });

  async function tunnel(): Promise<TLSSocket> {
    const socket = connectTls({ port: all.ports[0]!, host: "127.0.0.1", rejectUnauthorized: false });
    await once(socket, "secureConnect");
    socket.write("CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com:443\r\n\r\n");
    expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1\.1 200 /);
    socket.write(helloFor("a.example.com"));
    expect(await once(socket, "data")).toEqual([Buffer.from(serverHello())]);
    return socket;
  }

  test("an origin that resets a tunnel resets it at the client, one that ends it ends it", async () => {
    const index = origin.recordings.length;
    const broken = await tunnel();
    const failed = once(broken, "error");
    origin.recordings[index]!.socket.resetAndDestroy();
    expect(await failed).toMatchObject([{ code: "ECONNRESET" }]);

    const whole = await tunnel();
    const ended = text(whole);
    origin.recordings[index + 1]!.socket.end("last words");
    expect(await ended).toBe("last words");
    await origin.recordings[index + 1]!.ended;
  });

  test("half a tunnel stays open: the answer comes after the client has ended its side", async () => {
    const index = origin.recordings.length;
    const raw = connect({ port: all.ports[0]!, host: "127.0.0.1", allowHalfOpen: true });
    // Of the socket it is made of it takes over that half of it may be open.
    const socket = connectTls({ socket: raw, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    socket.write("CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com:443\r\n\r\n");
    await once(socket, "data");
    socket.write(helloFor("a.example.com"));
    await once(socket, "data");
    socket.end("question");
    const { ended, bytes, socket: far } = origin.recordings[index]!;
    await ended;
    expect(bytes().toString("latin1")).toMatch(/question$/);
    far.end("answer");
    expect(await text(socket)).toBe("answer");
  });

  test("nothing is left open of 100 connections, however they ended", async () => {
    const before = await openResources(all.proxy);
    for (let i = 0; i < 100; i++) {
      const options = { port: all.ports[0]!, host: "127.0.0.1", rejectUnauthorized: false };
      const socket = i % 4 === 0 ? await tunnel() : connectTls(options);
      socket.on("error", () => {});
      if (i % 4 === 1 || i % 4 === 2) await once(socket, "secureConnect");
      if (i % 4 === 2) socket.write("GET");
      // In the middle of the handshake.
      if (i % 4 === 3) await once(socket, "connect");
      socket.destroy();
    }
    // The far half of a tunnel is the origin's to end.
    for (const { socket } of origin.recordings) socket.destroy();
    await expect
      .poll(async () => {
        const { loop } = await openResources(all.proxy);
        return (loop["TCPSocketWrap"] ?? 0) + (loop["TLSWrap"] ?? 0);
      })
      .toBeLessThanOrEqual((before.loop["TCPSocketWrap"] ?? 0) + (before.loop["TLSWrap"] ?? 0));
  });
});
