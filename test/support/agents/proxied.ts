/** What every agent does with its proxy: asks it in absolute form, opens tunnels, and speaks TLS and HTTP inside them. */
import { once } from "node:events";
import { type Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import { type ConnectionOptions, type TLSSocket, connect as connectTls } from "node:tls";
import { connectRaw } from "../raw-http.ts";

/** Where an agent finds itself. */
export type Surroundings = {
  readonly proxyPort: number;
  /** The certificate that it trusts, PEM. */
  readonly ca: string;
};

/** One thing an agent did, and what came of it, in words and as it came. */
export type Step = {
  /** `GET http://…`, `CONNECT host:443, then POST /…`. */
  readonly asked: string;
  /** `206 Partial Content, 1048576 bytes`. */
  readonly answered: string;
  /** Of steps that end in an answer of HTTP. */
  readonly answer?: Answer;
  /** Of steps that are bytes both ways: what came back. */
  readonly heard?: string;
};

export type Answer = {
  readonly status: number;
  readonly phrase: string;
  /** Names in lower case. */
  readonly fields: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
};

export type Question = {
  readonly method: string;
  /** Sent in this order and spelling, and nothing beside them but what HTTP/1.1 needs. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body?: string;
};

const patienceMs = 20_000;

/** A plain request in absolute form. Connections are kept where an `agent` of Node's keeps them. */
export async function askProxy(
  { proxyPort }: Surroundings,
  url: string,
  question: Question,
  agent: Agent | false = false,
): Promise<Answer> {
  const { host } = new URL(url);
  return answerTo(
    request({
      host: "127.0.0.1",
      port: proxyPort,
      agent,
      method: question.method,
      path: url,
      headers: [["Host", host], ...question.fields].flat(),
      signal: AbortSignal.timeout(patienceMs),
    }),
    question,
  );
}

/** The same, as a step. */
export async function stepOf(around: Surroundings, url: string, question: Question, agent?: Agent): Promise<Step> {
  const answer = await askProxy(around, url, question, agent);
  return { asked: `${question.method} ${url}`, answered: inWords(answer), answer };
}

/** HTTP inside a tunnel, on a connection that ends with the answer. */
export async function stepInside(tunnel: Socket, host: string, path: string, question: Question): Promise<Step> {
  const answer = await answerTo(
    request({
      createConnection: () => tunnel,
      method: question.method,
      path,
      headers: [["Host", host], ...question.fields, ["Connection", "close"]].flat(),
      signal: AbortSignal.timeout(patienceMs),
    }),
    question,
  );
  tunnel.end();
  return { asked: `CONNECT ${host}:443, then ${question.method} ${path}`, answered: inWords(answer), answer };
}

export type TunnelOptions = {
  readonly version?: "1.0" | "1.1";
  readonly fields?: readonly (readonly [name: string, value: string])[];
};

/** CONNECT. Throws what the proxy said where that is no 200. */
export async function openTunnel(
  { proxyPort }: Surroundings,
  target: string,
  { version = "1.1", fields = [] }: TunnelOptions = {},
): Promise<Socket> {
  const client = await connectRaw(proxyPort);
  const lines = [["Host", target], ...fields].map(([name = "", value = ""]) => `${name}: ${value}\r\n`);
  client.send(`CONNECT ${target} HTTP/${version}\r\n${lines.join("")}\r\n`);
  const head = await client.readHead();
  if (head.status === 200) {
    const socket = client.detach();
    // The raw client's sockets may be half open; an agent's connection is over when the other side says so.
    socket.allowHalfOpen = false;
    return socket;
  }
  client.close();
  throw new Error(`CONNECT ${target}: ${head.status} ${head.reason}`);
}

/** TLS inside a tunnel; the certificate is checked. A `servername` of "" sends none, as for an address. */
export async function secure(
  { ca }: Surroundings,
  tunnel: Socket,
  servername: string,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const socket = connectTls({ socket: tunnel, servername, ca, ...options });
  socket.on("error", () => socket.destroy());
  await once(socket, "secureConnect", { signal: AbortSignal.timeout(patienceMs) });
  return socket;
}

/** An https request as most agents make it: CONNECT, TLS, one question. */
export async function askSecurely(around: Surroundings, url: string, question: Question): Promise<Step> {
  const { host, pathname, search } = new URL(url);
  const tunnel = await secure(around, await openTunnel(around, `${host}:443`), host);
  return stepInside(tunnel, host, `${pathname}${search}`, question);
}

/** Sends bytes and waits until as many are back: what a channel of no public protocol can be asked. */
export async function converse(socket: Socket, said: string): Promise<string> {
  socket.write(said, "latin1");
  const heard = await receive(socket, (bytes) => (bytes.length < said.length ? undefined : said.length));
  return heard.toString("latin1");
}

/** Takes the first bytes that come, as many as `measure` says once it can; what is behind them stays for the next. */
export function receive(socket: Socket, measure: (bytes: Buffer) => number | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.alloc(0);
    const finish = (settle: () => void): void => {
      clearTimeout(deadline);
      socket.off("data", onData).off("close", onClose).pause();
      settle();
    };
    const fail = (why: string): void => finish(() => reject(new Error(`${why} after ${bytes.length} bytes`)));
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const length = measure(bytes);
      if (length === undefined) return;
      finish(() => resolve(bytes.subarray(0, length)));
      if (bytes.length > length) socket.unshift(bytes.subarray(length));
    };
    const onClose = (): void => fail("closed");
    const deadline = setTimeout(() => fail("nothing more"), patienceMs);
    socket.on("data", onData).on("close", onClose).resume();
    if (socket.destroyed) onClose();
  });
}

/** Ends a tunnel from this side, and waits until it is closed. */
export async function hangUp(socket: Socket): Promise<void> {
  const closed = once(socket, "close");
  socket.resume();
  socket.end();
  await closed;
}

export function inWords({ status, phrase, body }: Answer): string {
  return `${status} ${phrase}, ${body.length} bytes`;
}

async function answerTo(asking: ClientRequest, { body }: Question): Promise<Answer> {
  asking.end(body);
  const [response] = (await once(asking, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const fields = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
  return {
    status: response.statusCode ?? 0,
    phrase: response.statusMessage ?? "",
    fields: Object.fromEntries(fields) as Answer["fields"],
    body: Buffer.concat(chunks),
  };
}
