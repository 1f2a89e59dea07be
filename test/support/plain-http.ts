/** A real Sallyport in front of a scripted origin, and what every denial must look like from all sides. */
import { expect } from "vitest";
import { type RawClient, type RawClientOptions, type RawHead, connectRaw } from "./raw-http.ts";
import { type LogLine, type Sallyport, type SallyportOptions, startSallyport } from "./sallyport.ts";
import { type Recording, type TcpOrigin, startTcpOrigin } from "./tls-origin.ts";

/** What the origin does once a request head for a path is here; text is written as latin1, then the origin sends FIN. */
export type Script = string | ((recording: Recording, head: string) => void);

export type PlainHttp = {
  readonly sallyport: Sallyport;
  readonly origin: TcpOrigin;
  /** Scripts by path, without its query; any other path answers `ok`. */
  readonly scripts: Map<string, Script>;
  /** A raw client of the proxy, closed at the end. */
  readonly connect: (options?: RawClientOptions) => Promise<RawClient>;
  readonly stop: () => Promise<void>;
};

export type Refusal = {
  readonly status: number;
  /** A reason of the closed list; undefined for failures that policy allowed. */
  readonly reason?: string;
  /** The error word of Proxy-Status; that of a policy's denial when left out. */
  readonly error?: string;
  readonly rule?: string;
  /** It is the body that is broken: the origin may have been dialled by then, but has not got a byte. */
  readonly mayDial?: boolean;
};

export const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const servingPath = "/serving";

/** A name of the policy below. */
const allowedHost = "plain.example.com";

const rules: readonly Readonly<Record<string, unknown>>[] = [
  {
    id: "plain",
    hosts: [allowedHost, "second.example.com"],
    expect: "http",
    methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"],
    range: "allow",
  },
  { id: "ports", hosts: ["ports.example.com"], expect: "http:8530" },
  { id: "secure", hosts: ["secure.example.com"], expect: "https" },
  { id: "no-range", hosts: ["no-range.example.com"], expect: "http" },
  { id: "strip", hosts: ["strip.example.com"], expect: "http", range: "strip" },
  { id: "paths", hosts: ["paths.example.com"], expect: "http", paths: ["/files/*"] },
  { id: "get-only", hosts: ["get-only.example.com"], expect: "http", methods: ["GET"] },
  { id: "socket", hosts: ["socket.example.com"], expect: "http", websocket: "allow" },
  { id: "denied", hosts: ["denied.example.com"], action: "deny" },
];

/** Starts both. Every name on port 80 leads to the origin, so that a denial is never a failed connection. */
export async function startPlainHttp(options: Partial<SallyportOptions> = {}): Promise<PlainHttp> {
  const scripts = new Map<string, Script>();
  const origin = await startTcpOrigin((recording) => {
    answer(recording, scripts).catch(() => recording.socket.destroy());
  });
  const { settings, policy, ...more } = options;
  const sallyport = await startSallyport({
    policy: policy ?? { rules },
    settings: { connect_to: [`*:80:127.0.0.1:${origin.port}`], log: { paths: true }, ...settings },
    ...more,
  });
  const clients: RawClient[] = [];
  return {
    sallyport,
    origin,
    scripts,
    connect: async (clientOptions) => {
      const client = await connectRaw(sallyport.port, clientOptions);
      clients.push(client);
      return client;
    },
    stop: async () => {
      for (const client of clients) client.close();
      await sallyport.stop();
      await origin.close();
    },
  };
}

/** A request head for the proxy; `fields` are lines. */
export function requestFor(path: string, fields: readonly string[] = [], method = "GET", host = allowedHost): string {
  return [`${method} http://${host}${path} HTTP/1.1`, `Host: ${host}`, ...fields, "", ""].join("\r\n");
}

/** Sends on a connection of its own and reads the answer with its body, to the end of the connection where that ends it. */
export async function exchange(
  plain: PlainHttp,
  request: string | Uint8Array,
): Promise<{ readonly head: RawHead; readonly body: string; readonly client: RawClient }> {
  const client = await plain.connect();
  client.send(request);
  const head = await client.readHead();
  return { head, body: await readBody(client, head), client };
}

/** The body by Content-Length or chunks, else up to FIN. Not for answers to HEAD. */
export async function readBody(client: RawClient, head: RawHead): Promise<string> {
  if (head.status === 204 || head.status === 304) return "";
  const length = head.headers.get("content-length");
  if (length !== undefined) return (await client.readBytes(Number(length))).toString("latin1");
  if (head.headers.get("transfer-encoding") !== "chunked") return (await client.readAll()).toString("latin1");
  let body = "";
  for (;;) {
    const size = Number.parseInt(await readLine(client), 16);
    const chunk = (await client.readBytes(size)).toString("latin1");
    await client.readBytes(2);
    if (size === 0) return body;
    body += chunk;
  }
}

/** Sends it, and expects a refusal in the answer, the log and the metrics, and nothing at the origin. */
export async function expectRefused(
  plain: PlainHttp,
  request: string | Uint8Array,
  refusal: Refusal,
): Promise<{ readonly head: RawHead; readonly body: string; readonly line: LogLine }> {
  const { sallyport, origin } = plain;
  const verdict = refusal.reason === undefined ? "allow" : "deny";
  const series = `sallyport_decisions_total{verdict="${verdict}",reason="${refusal.reason ?? "allowed"}",mode="enforce"}`;
  const before = { count: await sallyport.metric(series), bytes: origin.bytesReceived(), seen: origin.connections() };
  const position = sallyport.log.length;
  const { head, body } = await exchange(plain, request);
  expect(head.status).toBe(refusal.status);
  expect(head.headers.get("connection")).toBe("close");
  const error = refusal.error ?? (refusal.reason === "bad_request" ? "http_request_error" : "http_request_denied");
  expect(head.headers.get("proxy-status")).toContain(`sallyport; error=${error}`);
  const id = head.headers.get("x-sallyport-denial");
  // Lines of earlier exchanges may still be on their way.
  const line = await sallyport.logged(
    (one) =>
      sallyport.log.indexOf(one) >= position &&
      one["status"] === refusal.status &&
      one["denial"] === (id ?? undefined) &&
      (refusal.reason !== undefined || one["outcome"] === error),
  );
  expect(line).toMatchObject({ event: "request", status: refusal.status, verdict });
  if (refusal.reason === undefined) {
    expect(line).toMatchObject({ outcome: error });
    expect(head.headers.has("x-sallyport-reason")).toBe(false);
  } else {
    expect(id).toMatch(/^[0-9A-Z]{5}-[0-9A-Z]{5}$/);
    expect(head.headers.get("x-sallyport-reason")).toBe(refusal.reason);
    expect(head.reason).toBe(`Denied: ${refusal.reason} ${id}`);
    expect(line).toMatchObject({ reason: refusal.reason, denial: id, stage: expect.any(String) });
  }
  if (refusal.rule !== undefined) expect(line["rule"]).toBe(refusal.rule);
  expect(await sallyport.metric(series)).toBe((before.count ?? 0) + 1);
  expect(origin.bytesReceived()).toBe(before.bytes);
  if (refusal.mayDial !== true) expect(origin.connections()).toBe(before.seen);
  await expectServing(plain);
  return { head, body, line };
}

/** The log line of the exchange with this path, its query included. */
export function lineOf({ sallyport }: PlainHttp, path: string): Promise<LogLine> {
  return sallyport.logged((line) => line["path"] === path);
}

/** The process lives and serves the next request. */
export async function expectServing(plain: PlainHttp): Promise<void> {
  const { head, body, client } = await exchange(plain, requestFor(servingPath));
  client.close();
  expect({ status: head.status, body }).toEqual({ status: 200, body: "ok" });
}

/** The heads of all requests that the origin was sent, in order. */
export function headsAt(origin: TcpOrigin): string[] {
  return origin.recordings.map((recording) => {
    const text = recording.bytes().toString("latin1");
    return text.slice(0, text.indexOf("\r\n\r\n") + 4);
  });
}

async function answer(recording: Recording, scripts: Map<string, Script>): Promise<void> {
  let count = 1;
  while (!recording.bytes().includes("\r\n\r\n")) {
    const bytes = await recording.waitForBytes(count);
    count = bytes.length + 1;
  }
  const text = recording.bytes().toString("latin1");
  const head = text.slice(0, text.indexOf("\r\n\r\n") + 4);
  const path = (head.split(" ", 2)[1] ?? "").replace(/\?.*/, "");
  const script = scripts.get(path) ?? ok;
  if (typeof script === "function") script(recording, head);
  else recording.socket.end(Buffer.from(script, "latin1"));
}

async function readLine(client: RawClient): Promise<string> {
  let line = "";
  while (!line.endsWith("\r\n")) line += (await client.readBytes(1)).toString("latin1");
  return line.slice(0, -2);
}
