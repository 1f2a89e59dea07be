/**
 * Attack: what comes before the first request. Slow and broken handshakes, PROXY headers that nobody may send or that
 * are lies, credentials guessed by the hundred, redirected requests that mean to be smuggled. Who is refused costs a
 * connection and a deadline, and everybody else is served meanwhile.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { clientHello, helloFor } from "../support/hello.ts";
import { type Listeners, plainHost, secureHost, startListeners } from "../support/listeners.ts";
import { canSeeFiles, openFiles } from "../support/open-resources.ts";
import { addresses4, extension, proxyBlock } from "../support/proxy-header.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { expectMetric } from "../support/tunnel.ts";

const address = "127.0.0.1:0";
const [tls, balanced, guarded, http, open] = [0, 1, 2, 3, 4];
let all: Listeners;
let filesAtRest = 0;
const clients: RawClient[] = [];

beforeAll(async () => {
  all = await startListeners(
    (d) => [
      { kind: "proxy", address, tls: { cert: `${d}/proxy.pem`, key: `${d}/proxy.key` } },
      { kind: "proxy", address, proxy_protocol: { from: ["127.0.0.1/32"] } },
      { kind: "proxy", address, auth: { basic: `${d}/users.htpasswd` } },
      { kind: "http", address, port: 80 },
      { kind: "sni", address, port: 443 },
    ],
    {
      settings: {
        limits: { head_timeout: "1s", hello_timeout: "1s", connections: 40, per_client: 20 },
        log: { paths: true },
      },
    },
  );
  expect((await ask(http, `GET /warm HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`)).status).toBe(200);
  await closeAll();
  filesAtRest = openFiles(all.proxy);
});
afterAll(async () => {
  // Those of the pool may be there or not; what was opened by the tests is closed.
  if (canSeeFiles) await vi.waitFor(() => expect(openFiles(all.proxy)).toBeLessThan(filesAtRest + 8), 5000);
  expect(await all.stop()).toBe(0);
});
afterEach(closeAll);

async function closeAll(): Promise<void> {
  for (const client of clients.splice(0)) client.close();
}

async function raw(listener: number, localAddress = "127.0.0.1"): Promise<RawClient> {
  const client = await connectRaw(all.ports[listener]!, { localAddress });
  clients.push(client);
  return client;
}

async function ask(
  listener: number,
  bytes: string | Uint8Array,
): Promise<{ status: number; head: string; body: string }> {
  const client = await raw(listener);
  client.send(bytes);
  const head = await client.readHead();
  const length = Number(head.headers.get("content-length") ?? 0);
  return { status: head.status, head: head.raw, body: (await client.readBytes(length)).toString("latin1") };
}

const request = (path: string, fields = ""): string =>
  `GET http://${plainHost}${path} HTTP/1.1\r\nHost: ${plainHost}\r\n${fields}\r\n`;
const credentials = (text: string): string => `Proxy-Authorization: Basic ${Buffer.from(text).toString("base64")}\r\n`;
const sawAtOrigin = (word: string): boolean => all.plainHeads.some((head) => head.includes(word));

describe("TLS handshakes", () => {
  test.each<[sentence: string, bytes: string | Uint8Array]>([
    ["silence", ""],
    ["half a hello", Buffer.from(clientHello()).subarray(0, 40)],
    ["noise", Buffer.alloc(300, 0xfe)],
    ["a hello of TLS 1.0", helloFor("proxy.example.com", [0x0301])],
    ["a request in clear", request("/in-clear")],
    ["a PROXY line", "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"],
  ])("%s: closed by the deadline, and nothing is said in clear", async (_, bytes) => {
    const startedAt = performance.now();
    const client = await raw(tls);
    client.send(bytes);
    await client.waitClose();
    expect(performance.now() - startedAt).toBeLessThan(4000);
    // At most an alert.
    const said = client.pending();
    expect(said.length === 0 || said[0] === 21).toBe(true);
    expect(sawAtOrigin("in-clear")).toBe(false);
  });

  test("those that hang count, and end: others are served meanwhile, and the next after them", async () => {
    for (let i = 0; i < 20; i++) (await raw(tls, "127.0.0.9")).send(Buffer.from(clientHello()).subarray(0, 40));
    const hanging = [...clients, await raw(tls, "127.0.0.9")];
    expect((await ask(http, `GET /meanwhile HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`)).status).toBe(200);
    await expectMetric(all.proxy, 'sallyport_limit_rejections_total{limit="per_client"}', 1);
    for (const client of hanging) await client.waitClose();
    const socket = connectTls({ port: all.ports[tls]!, host: "127.0.0.1", rejectUnauthorized: false });
    await once(socket, "secureConnect");
    socket.end();
    await once(socket, "close");
  });

  test("a client that resets at every point of a handshake does no harm", async () => {
    const hello = Buffer.from(clientHello());
    for (let n = 0; n <= hello.length; n += 16) {
      const socket = connect(all.ports[tls]!, "127.0.0.1");
      await once(socket, "connect");
      socket.write(hello.subarray(0, n));
      socket.resetAndDestroy();
    }
    const socket = connectTls({ port: all.ports[tls]!, host: "127.0.0.1", rejectUnauthorized: false });
    await once(socket, "secureConnect");
    // Also behind it, in the middle of a head.
    socket.write("GET http://");
    socket.destroy();
    expect((await ask(http, `GET /after HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`)).status).toBe(200);
  });
});

describe("PROXY headers", () => {
  const good = proxyBlock(0x11, addresses4());

  test.each<[sentence: string, header: string | Uint8Array]>([
    ["garbage before the line", `\r\nPROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n${request("/spoof")}`],
    ["no header at all", request("/spoof")],
    ["a second spelling of an address", `PROXY TCP4 0300.0.2.7 10.0.0.1 1 2\r\n${request("/spoof")}`],
    ["a length that swallows the request and waits for more", proxyBlock(0x11, addresses4(), { length: 4000 })],
    ["a length of 64 KiB", proxyBlock(0x11, addresses4(), { length: 65535 })],
    [
      "an extension that reaches beyond the block",
      Buffer.concat([
        proxyBlock(0x11, Buffer.concat([addresses4(), extension(4, new Uint8Array(1), 60)])),
        Buffer.from(request("/spoof")),
      ]),
    ],
    ["one byte and then nothing", "P"],
    ["silence", ""],
  ])("%s: closed without a word", async (_, header) => {
    const client = await raw(balanced);
    client.send(header);
    await client.waitClose();
    expect(client.pending()).toHaveLength(0);
    expect(sawAtOrigin("/spoof")).toBe(false);
  });

  test("a header of a peer that is not listed opens nothing, also where it says that it is one", async () => {
    const socket = connect({ port: all.ports[balanced]!, host: "127.0.0.1", localAddress: "127.0.0.2" });
    // Reset at once, perhaps before it knows that it is connected.
    socket.on("error", () => {});
    socket.write(Buffer.concat([proxyBlock(0x11, addresses4([127, 0, 0, 1])), Buffer.from(request("/spoof"))]));
    expect(await new Promise((fulfil) => socket.once("close", fulfil))).toBe(true);
    expect(sawAtOrigin("/spoof")).toBe(false);
  });

  test("a second header is the first line of a request, and malformed", async () => {
    const client = await raw(balanced);
    client.send(Buffer.concat([good, Buffer.from(`PROXY TCP4 127.0.0.1 10.0.0.1 1 2\r\n${request("/spoof")}`)]));
    expect((await client.readHead()).status).toBe(400);
    expect(sawAtOrigin("/spoof")).toBe(false);
  });

  test("a header byte by byte is read as a whole one", async () => {
    const client = await raw(balanced);
    for (const byte of good) client.send(Uint8Array.of(byte));
    client.send(request("/piecewise"));
    expect((await client.readHead()).status).toBe(200);
    expect(await all.proxy.logged((line) => line["path"] === "/piecewise")).toMatchObject({ client: "10.9.8.7" });
  });

  test("limits are those of the client, not of the balancer", async () => {
    const from = (last: number): Buffer => Buffer.concat([proxyBlock(0x11, addresses4([10, 0, 0, last]))]);
    for (let i = 0; i < 20; i++) (await raw(balanced)).send(from(1));
    const full = await raw(balanced);
    full.send(Buffer.concat([from(1), Buffer.from(request("/full"))]));
    expect((await full.readHead()).status).toBe(503);
    const other = await raw(balanced);
    other.send(Buffer.concat([from(2), Buffer.from(request("/other"))]));
    expect((await other.readHead()).status).toBe(200);
  });
});

describe("credentials", () => {
  test("are asked for with 407, once for each connection, in a way that no client loops on", async () => {
    const client = await raw(guarded);
    client.send(request("/none") + request("/behind"));
    const head = await client.readHead();
    expect(head.status).toBe(407);
    expect(head.headers.get("proxy-authenticate")).toBe('Basic realm="sallyport", charset="UTF-8"');
    expect(head.headers.get("x-sallyport-reason")).toBe("auth_required");
    expect(head.headers.get("connection")).toBe("close");
    const rest = (await client.readAll()).toString("latin1");
    expect(rest).not.toContain("HTTP/1.1");
    expect(sawAtOrigin("/none") || sawAtOrigin("/behind")).toBe(false);
  });

  test.each<[sentence: string, fields: string]>([
    ["in the field for origins", `Authorization: Basic ${Buffer.from("kiosk:open sesame").toString("base64")}\r\n`],
    ["twice", credentials("kiosk:open sesame") + credentials("kiosk:open sesame")],
    [
      "behind others",
      `Proxy-Authorization: Basic eA==, Basic ${Buffer.from("kiosk:open sesame").toString("base64")}\r\n`,
    ],
    ["with a NUL in the name", credentials("kiosk\0:open sesame")],
    ["without a user", credentials(":open sesame")],
    ["with more behind 72 bytes", credentials(`kiosk:${"x".repeat(80)}`)],
  ])("%s are none", async (_, fields) => {
    expect((await ask(guarded, request("/none", fields))).status).toBe(407);
    expect(sawAtOrigin("/none")).toBe(false);
  });

  test("a malformed request is told so before anybody is asked who it is", async () => {
    expect((await ask(guarded, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n")).status).toBe(400);
  });

  test("each request on a connection has its own; one without them ends it", async () => {
    const client = await raw(guarded);
    client.send(request("/first", credentials("kiosk:open sesame")) + request("/second"));
    const first = await client.readHead();
    expect(first.status).toBe(200);
    await client.readBytes(Number(first.headers.get("content-length")));
    expect((await client.readHead()).status).toBe(407);
    expect(sawAtOrigin("/second")).toBe(false);
  });

  test("a client that leaves while they are compared leaves nothing behind", async () => {
    for (let i = 0; i < 5; i++) {
      const socket = connect({ port: all.ports[guarded]!, host: "127.0.0.1", localAddress: "127.0.0.7" });
      await once(socket, "connect");
      socket.write(request("/left", credentials(`kiosk:gone ${i}`)));
      socket.resetAndDestroy();
    }
    expect((await ask(guarded, request("/stays", credentials("kiosk:open sesame")))).status).toBe(200);
  });

  test("stuffing: after ten failures a client is told 503, others and those who are known are served", async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 25; i++) {
      const client = await raw(guarded, "127.0.0.8");
      client.send(request("/guess", credentials(`kiosk:guess ${i}`)));
      statuses.push((await client.readHead()).status);
      client.close();
    }
    expect(statuses.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 407));
    expect(statuses.slice(-10)).toEqual(Array.from({ length: 10 }, () => 503));
    expect(await all.proxy.metric('sallyport_limit_rejections_total{limit="auth"}')).toBeGreaterThanOrEqual(10);
    expect((await ask(guarded, request("/else", credentials("admin:pass:word")))).status).toBe(200);
    const known = await raw(guarded, "127.0.0.8");
    known.send(request("/known", credentials("admin:pass:word")));
    expect((await known.readHead()).status).toBe(200);
    expect(sawAtOrigin("/guess")).toBe(false);
  });
});

describe("redirected HTTP", () => {
  test.each<[sentence: string, bytes: string, status: number]>([
    ["no Host", "GET /smuggled HTTP/1.0\r\n\r\n", 400],
    ["two Hosts", `GET /smuggled HTTP/1.1\r\nHost: ${plainHost}\r\nHost: ${plainHost}\r\n\r\n`, 400],
    ["a Host with a user", `GET /smuggled HTTP/1.1\r\nHost: x@${plainHost}\r\n\r\n`, 400],
    ["a Host that is an address in another spelling", "GET /smuggled HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n", 400],
    ["a Host with another port", `GET /smuggled HTTP/1.1\r\nHost: ${plainHost}:8080\r\n\r\n`, 403],
    ["a Host without a rule", "GET /smuggled HTTP/1.1\r\nHost: other.example.com\r\n\r\n", 403],
    ["the address of the listener", "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 403],
    [
      "absolute form of another host",
      `GET http://other.example.com/smuggled HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`,
      403,
    ],
    [
      "absolute form with another port",
      `GET http://${plainHost}:8080/smuggled HTTP/1.1\r\nHost: ${plainHost}:8080\r\n\r\n`,
      400,
    ],
    ["an https URL", `GET https://${plainHost}/smuggled HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`, 400],
    ["a CONNECT", `CONNECT ${secureHost}:443 HTTP/1.1\r\nHost: ${secureHost}:443\r\n\r\n`, 400],
    ["no slash", `GET smuggled HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`, 400],
    ["a blank in the target", `GET /a /smuggled HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`, 400],
    [
      "two lengths",
      `POST /smuggled HTTP/1.1\r\nHost: ${plainHost}\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx`,
      400,
    ],
    [
      "a length and chunks",
      `POST /smuggled HTTP/1.1\r\nHost: ${plainHost}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
  ])("%s", async (_, bytes, status) => {
    const before = all.secureOrigin.connections();
    expect((await ask(http, bytes)).status).toBe(status);
    expect(sawAtOrigin("/smuggled")).toBe(false);
    expect(all.secureOrigin.connections()).toBe(before);
  });

  test.each<[sentence: string, bytes: string, seen: string]>([
    [
      "a double slash is a path",
      `GET //other.example.com/1 HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`,
      "GET //other.example.com/1",
    ],
    ["the port itself may be named", `GET /named HTTP/1.1\r\nHost: ${plainHost}:80\r\n\r\n`, "GET /named"],
    [
      "absolute form of the same host",
      `GET http://${plainHost}/same HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`,
      "GET /same",
    ],
    [
      "what says where it was going is not asked",
      `GET /told HTTP/1.1\r\nHost: ${plainHost}\r\nX-Forwarded-Host: other.example.com\r\nX-Original-Destination: 127.0.0.1\r\n\r\n`,
      "GET /told",
    ],
  ])("%s", async (_, bytes, seen) => {
    expect((await ask(http, bytes)).status).toBe(200);
    const head = all.plainHeads.find((one) => one.startsWith(`${seen}\n`));
    expect(head?.split("\n")[1]).toBe(`Host: ${plainHost}`);
  });

  test("its own traffic, redirected to it again, is a loop", async () => {
    const name = (await ask(http, `GET /via HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`)).head;
    const via = /^Via: 1\.1 (\S+)/m.exec(name)?.[1] ?? "";
    const again = await ask(http, `GET /smuggled HTTP/1.1\r\nHost: ${plainHost}\r\nVia: 1.1 ${via}\r\n\r\n`);
    expect(again.status).toBe(502);
    expect(again.head).toContain("proxy_loop_detected");
  });
});

describe("redirected TLS", () => {
  const alert = (description: number): number[] => [21, 3, 1, 0, 2, 2, description];

  test.each<[sentence: string, bytes: Uint8Array | string, answer: number[]]>([
    ["no server name", helloFor(null), alert(112)],
    ["a server name that is an address", helloFor("127.0.0.1"), alert(50)],
    ["a server name with a NUL", helloFor(`${secureHost}\0.evil.example.com`), alert(50)],
    ["a name without a rule", helloFor("other.example.com"), alert(49)],
    ["a name that is for plain HTTP", helloFor(plainHost), alert(49)],
    ["less than TLS 1.2", helloFor(secureHost, [0x0302]), alert(70)],
    ["a request in clear", `GET / HTTP/1.1\r\nHost: ${plainHost}\r\n\r\n`, []],
    ["noise in a handshake", Buffer.from("160301000402000000", "hex"), alert(50)],
    ["half a hello", Buffer.from(helloFor(secureHost)).subarray(0, 30), []],
  ])("%s", async (_, bytes, answer) => {
    const before = all.secureOrigin.bytesReceived();
    const client = await raw(open);
    client.send(bytes);
    expect([...(await client.readAll())]).toEqual(answer);
    expect(all.secureOrigin.bytesReceived()).toBe(before);
  });

  test("who leaves without a word is not on record", async () => {
    const localAddress = "127.0.0.12";
    const silent = await raw(open, localAddress);
    silent.end();
    await silent.waitClose();
    const reset = connect({ port: all.ports[open]!, host: "127.0.0.1", localAddress });
    await once(reset, "connect");
    reset.resetAndDestroy();
    const marker = await raw(open, localAddress);
    marker.send(helloFor("marker.example.com"));
    await marker.readAll();
    await all.proxy.logged((line) => line["host"] === "marker.example.com");
    const lines = all.proxy.log.filter((line) => line["client"] === localAddress);
    expect(lines.map((line) => line["host"])).toEqual(["marker.example.com"]);
  });

  test("its limits are told by an alert as well", async () => {
    for (let i = 0; i < 20; i++) await raw(open, "127.0.0.11");
    const full = await raw(open, "127.0.0.11");
    expect([...(await full.readAll())]).toEqual(alert(49));
  });
});
