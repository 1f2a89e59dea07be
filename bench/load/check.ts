/** The check before the figures: a contender that lets pass what it must not, or changes a byte, is not measured. */
import { createHash, randomBytes } from "node:crypto";
import { type RawClient, connectRaw } from "../../test/support/raw-http.ts";
import type { Contender, Running } from "./contender.ts";
import { commandOf } from "./job.ts";
import { payloadPath, smallPath } from "./web-origin.ts";
import type { Origins } from "./origins.ts";
import { mebibyte, rangeBytes } from "./plan.ts";

const patienceMs = 20_000;
/** Where the random of a ServerHello ends: behind the headers of the record and of the message, and a version. */
const randomEnd = 5 + 4 + 2 + 32;

/** Every way in which the contender is not what it says it is; none where all is well. */
export async function checkContender(contender: Contender, running: Running, origins: Origins): Promise<string[]> {
  const checks: Readonly<Record<string, () => Promise<void>>> = {
    "a small GET": () => expectBody(origins.web.small, running, urlOf(contender.hosts.web, origins, smallPath)),
    "a large GET": () => expectBody(origins.web.payload, running, urlOf(contender.hosts.web, origins, payloadPath)),
    "a Range GET": () =>
      expectBody(
        origins.web.payload.subarray(mebibyte, mebibyte + rangeBytes),
        running,
        urlOf(contender.hosts.web, origins, payloadPath),
        `Range: bytes=${mebibyte}-${mebibyte + rangeBytes - 1}\r\n`,
      ),
    "a GET to a host that is denied": () =>
      expectRefusedGet(running, urlOf(contender.hosts.denied, origins, smallPath)),
    "a tunnel": () => expectTunnel(contender, running, origins),
    "a tunnel to a host that is denied": () => expectRefusedConnect(contender, running, origins),
    ...(contender.judgesServerName
      ? { "a ClientHello for a host that is denied": () => expectCut(contender, running, origins) }
      : {}),
  };
  const problems: string[] = [];
  for (const [what, check] of Object.entries(checks)) {
    try {
      await check();
    } catch (error) {
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return problems;
}

export function urlOf(host: string, origins: Origins, path: string): string {
  return `http://${host}:${origins.web.port}${path}`;
}

async function expectBody(expected: Buffer, running: Running, url: string, fields = ""): Promise<void> {
  await withClient(running, async (client) => {
    client.send(`GET ${url} HTTP/1.1\r\nHost: ${new URL(url).host}\r\nConnection: close\r\n${fields}\r\n`);
    const head = await client.readHead();
    const status = fields === "" ? 200 : 206;
    if (head.status !== status) throw new Error(`status ${head.status}`);
    const body = await readInParts(client, expected.length);
    if (digestOf(body) !== digestOf(expected)) throw new Error("another checksum");
  });
}

async function expectRefusedGet(running: Running, url: string): Promise<void> {
  await withClient(running, async (client) => {
    client.send(`GET ${url} HTTP/1.1\r\nHost: ${new URL(url).host}\r\nConnection: close\r\n\r\n`);
    const { status } = await client.readHead();
    if (status !== 403) throw new Error(`status ${status}`);
  });
}

async function expectRefusedConnect(contender: Contender, running: Running, origins: Origins): Promise<void> {
  await withClient(running, async (client) => {
    const authority = `${contender.hosts.denied}:${origins.tunnel.port}`;
    client.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    const head = await client.readHead();
    if (head.status === 403) return;
    if (head.status !== 200) throw new Error(`status ${head.status}`);
    // Squid says 200 where it peeks, and its 403 in a TLS of its own.
    client.send(origins.handshake.helloForDenied);
    await expectNothingOfOrigin(client, origins);
  });
}

async function expectTunnel(contender: Contender, running: Running, origins: Origins): Promise<void> {
  await withClient(running, async (client) => {
    await openTunnel(client, contender, origins);
    client.send(origins.handshake.hello);
    const answer = await client.readBytes(origins.handshake.answer.length);
    if (digestOf(answer) !== digestOf(origins.handshake.answer)) throw new Error("another ServerHello");
    const sent = Buffer.concat([commandOf({ kind: "echo", bytes: mebibyte }), randomBytes(mebibyte)]);
    client.send(sent);
    if (digestOf(await readInParts(client, sent.length)) !== digestOf(sent)) throw new Error("another echo");
  });
}

async function expectCut(contender: Contender, running: Running, origins: Origins): Promise<void> {
  await withClient(running, async (client) => {
    await openTunnel(client, contender, origins);
    client.send(origins.handshake.helloForDenied);
    await expectNothingOfOrigin(client, origins);
    await client.waitClose();
  });
}

/** Either the end, or a ServerHello that is not the origin's. */
async function expectNothingOfOrigin(client: RawClient, { handshake }: Origins): Promise<void> {
  const enough = handshake.answer.subarray(0, randomEnd);
  const got = await client.readBytes(enough.length).catch(() => undefined);
  if (got?.equals(enough)) throw new Error("the origin's ServerHello");
  if (got === undefined) await client.waitClose();
}

async function openTunnel(client: RawClient, contender: Contender, origins: Origins): Promise<void> {
  const authority = `${contender.hosts.tunnel}:${origins.tunnel.port}`;
  client.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const head = await client.readHead();
  if (head.status !== 200) throw new Error(`status ${head.status}`);
}

/** In parts, since the raw client copies what is waiting whenever more comes. */
async function readInParts(client: RawClient, count: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let left = count; left > 0;) {
    const part = await client.readBytes(Math.min(left, 65_536));
    parts.push(part);
    left -= part.length;
  }
  return Buffer.concat(parts);
}

async function withClient(running: Running, use: (client: RawClient) => Promise<void>): Promise<void> {
  const client = await connectRaw(running.port, { deadlineMs: patienceMs });
  try {
    await use(client);
  } finally {
    client.close();
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
