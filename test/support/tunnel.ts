/** CONNECT by hand against a real Sallyport, and everything that is on record of what came of it. */
import { expect, vi } from "vitest";
import { type RawClient, type RawClientOptions, type RawHead, connectRaw } from "./raw-http.ts";
import type { LogLine, Sallyport } from "./sallyport.ts";
import { helloFor, serverHello } from "./hello.ts";
import { type Origin, type TcpOrigin, startTcpOrigin } from "./tls-origin.ts";

export type ConnectOptions = RawClientOptions & {
  /** Field lines behind the request line; a Host field that agrees when left out. */
  readonly fields?: readonly string[];
  /** Sent in the same segment, behind the head. */
  readonly behind?: string | Uint8Array;
};

/** Sends a CONNECT for a target, whatever that is. The caller closes. */
export async function sendConnect(proxy: Sallyport, target: string, options: ConnectOptions = {}): Promise<RawClient> {
  const { fields = [`Host: ${target}`], behind = "" } = options;
  const client = await connectRaw(proxy.port, options);
  const head = Buffer.from([`CONNECT ${target} HTTP/1.1`, ...fields, "", ""].join("\r\n"), "latin1");
  client.send(Buffer.concat([head, typeof behind === "string" ? Buffer.from(behind, "latin1") : behind]));
  return client;
}

/** The same, up to the 200. */
export async function openTunnel(proxy: Sallyport, target: string, options: ConnectOptions = {}): Promise<RawClient> {
  const client = await sendConnect(proxy, target, options);
  const head = await client.readHead();
  if (head.status !== 200) throw new Error(`no tunnel: ${head.raw}`);
  return client;
}

/** What is on record since a moment. */
export type Record = {
  /** The first new line of an exchange that satisfies the condition. */
  readonly line: (matches?: (line: LogLine) => boolean) => Promise<LogLine>;
  /** How much a series has grown. */
  readonly growth: (series: string) => Promise<number>;
  /** What the origin has got since. */
  readonly atOrigin: () => { readonly connections: number; readonly bytes: number };
};

/** Begins a record, when everything that was decided before has come to its end and is in the log. */
export async function record(proxy: Sallyport, origin?: Origin): Promise<Record> {
  let before = await series(proxy);
  await eventually(async () => {
    before = await series(proxy);
    const decided = [...before].filter(([name]) => name.startsWith("sallyport_decisions_total"));
    expect(proxy.log.filter(isExchange)).toHaveLength(decided.reduce((sum, [, count]) => sum + count, 0));
  });
  const seen = proxy.log.length;
  const connections = origin?.connections() ?? 0;
  const bytes = origin?.bytesReceived() ?? 0;
  return {
    line: (matches = () => true) =>
      proxy.logged((line) => isExchange(line) && proxy.log.indexOf(line) >= seen && matches(line)),
    growth: async (name) => ((await series(proxy)).get(name) ?? 0) - (before.get(name) ?? 0),
    atOrigin: () => ({
      connections: (origin?.connections() ?? 0) - connections,
      bytes: (origin?.bytesReceived() ?? 0) - bytes,
    }),
  };
}

/** Fulfilled when a series has this value. */
export async function expectMetric(proxy: Sallyport, name: string, value: number | undefined): Promise<void> {
  await eventually(async () => expect(await proxy.metric(name)).toBe(value));
}

/** Asks again and again, until what is expected is so; unlike `expect.poll` in hooks too. */
async function eventually(isSo: () => Promise<void>): Promise<void> {
  await vi.waitFor(isSo, { timeout: 5000, interval: 10 });
}

export type Refused = { readonly status: number; readonly reason: string; readonly error?: string };

/** The answer that a refused CONNECT gets, whole: the head, the text, and the end of the connection. */
async function expectRefusal(client: RawClient, refused: Refused): Promise<{ head: RawHead; body: string }> {
  const { status, reason, error = "http_request_denied" } = refused;
  const head = await client.readHead();
  const denial = head.headers.get("x-sallyport-denial") ?? "";
  expect(denial).toMatch(/^[0-9A-Z]{5}-[0-9A-Z]{5}$/);
  expect({ status: head.status, phrase: head.reason }).toEqual({ status, phrase: `Denied: ${reason} ${denial}` });
  expect(head.headers.get("x-sallyport-reason")).toBe(reason);
  expect(head.headers.get("proxy-status")).toBe(`sallyport; error=${error}; details="${reason}; id=${denial}"`);
  expect(head.headers.get("connection")).toBe("close");
  const body = (await client.readAll()).toString("latin1");
  expect(body).toHaveLength(Number(head.headers.get("content-length")));
  return { head, body };
}

/** The same with what is on record: the log, the metrics, and nothing at the origin. */
export async function expectDenied(on: Record, client: RawClient, refused: Refused, rule?: string): Promise<string> {
  const { head, body } = await expectRefusal(client, refused);
  const denial = head.headers.get("x-sallyport-denial");
  const stage = refused.reason === "address_denied" ? "dial" : "request";
  const line = await on.line((candidate) => candidate["denial"] === denial);
  expect(line).toMatchObject({
    verdict: "deny",
    reason: refused.reason,
    stage,
    status: refused.status,
    mode: "enforce",
  });
  expect(line["rule"]).toBe(rule);
  expect(await on.growth(decisions("deny", refused.reason))).toBe(1);
  expect(on.atOrigin()).toEqual({ connections: 0, bytes: 0 });
  return body;
}

/** The name of a series of `decisions_total`. */
export function decisions(verdict: "allow" | "deny", reason: string, mode = "enforce"): string {
  return `sallyport_decisions_total{verdict="${verdict}",reason="${reason}",mode="${mode}"}`;
}

/** An origin that answers a ClientHello with a ServerHello of TLS 1.3, then echoes; it ends when its peer does. */
export function startHelloOrigin(): Promise<TcpOrigin> {
  return startTcpOrigin(({ socket, waitForBytes }) => {
    socket.on("end", () => socket.end());
    const answer = async (): Promise<void> => {
      const header = await waitForBytes(5);
      await waitForBytes(5 + header.readUInt16BE(3));
      socket.write(serverHello());
      socket.on("data", (chunk) => socket.write(chunk));
    };
    answer().catch(() => socket.destroy());
  });
}

/** The proof that the proxy is well: a tunnel to a host that is allowed, through a handshake and back. */
export async function expectServing(proxy: Sallyport, host = "good.example.com"): Promise<void> {
  const client = await openTunnel(proxy, `${host}:443`, { behind: helloFor(host) });
  try {
    const answer = serverHello();
    expect(await client.readBytes(answer.length)).toEqual(Buffer.from(answer));
    client.send("ping");
    expect((await client.readBytes(4)).toString()).toBe("ping");
    client.end();
    await client.waitClose();
  } finally {
    client.close();
  }
}

function isExchange(line: LogLine): boolean {
  return line["event"] === "connect" || line["event"] === "request";
}

async function series(proxy: Sallyport): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${proxy.adminPort}/metrics`)).text();
  return new Map(
    text.split("\n").flatMap((line): [string, number][] => {
      const space = line.lastIndexOf(" ");
      return line.startsWith("sallyport_") ? [[line.slice(0, space), Number(line.slice(space + 1))]] : [];
    }),
  );
}
