/** What `doctor` does on the wire: connects, asks a proxy, shakes hands. Every one ends by its deadline. */
import { type Socket, connect, isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Canary } from "./doctor-canary.ts";

export type ProxyPlace = {
  readonly host: string;
  readonly port: number;
  /** TLS to the proxy itself. */
  readonly tls?: boolean;
};

export type Answer = {
  readonly status: number;
  readonly reason: string;
  /** Lower-case names; the last of equal ones. */
  readonly fields: ReadonlyMap<string, string>;
};

export type Probe<T> =
  | ({ readonly kind: "done" } & T)
  /** `what` says which part failed, in words. */
  | { readonly kind: "failed"; readonly what: string; readonly code: string };

export type Certificate = {
  readonly issuer: string;
  readonly validFromMs: number;
};

/** A head that is longer is no answer. */
const maxHeadBytes = 32 * 1024;

/** Opens a connection and closes it; `local` is the address that it came from. */
export async function reach(place: ProxyPlace, timeoutMs: number): Promise<Probe<{ readonly local: string }>> {
  const opened = await open(place, timeoutMs);
  if (opened.kind === "failed") return opened;
  const local = opened.socket.localAddress ?? "";
  opened.socket.destroy();
  return { kind: "done", local };
}

/** `GET http://…`: the head of the answer. */
export function askPlain(
  place: ProxyPlace,
  url: string,
  timeoutMs: number,
): Promise<Probe<{ readonly answer: Answer }>> {
  const [, authority = ""] = /^http:\/\/([^/]+)/.exec(url) ?? [];
  const head = `GET ${url} HTTP/1.1\r\nHost: ${authority}\r\nUser-Agent: sallyport-doctor\r\nAccept: */*\r\nConnection: close\r\n\r\n`;
  return ask(place, head, timeoutMs).then((probe) => {
    if (probe.kind === "done") probe.socket.destroy();
    return probe;
  });
}

/** `CONNECT host:port`, and where it was opened and `hello` is asked for, a TLS handshake with that name. */
export async function askTunnel(
  place: ProxyPlace,
  { host, port }: Pick<Canary, "host" | "port">,
  hello: boolean,
  timeoutMs: number,
): Promise<
  Probe<{ readonly answer: Answer; readonly certificate: Certificate | undefined; readonly problem: string }>
> {
  const head = `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\nUser-Agent: sallyport-doctor\r\n\r\n`;
  const probe = await ask(place, head, timeoutMs);
  if (probe.kind === "failed") return probe;
  const { answer, socket } = probe;
  if (answer.status !== 200 || !hello) {
    socket.destroy();
    return { kind: "done", answer, certificate: undefined, problem: "" };
  }
  return shakeHands(socket, host, timeoutMs).then((shaken) =>
    shaken.kind === "failed" ? shaken : { ...shaken, answer },
  );
}

type Opened = Probe<{ readonly socket: Socket }>;

function open({ host: text, port, tls = false }: ProxyPlace, timeoutMs: number): Promise<Opened> {
  return new Promise((fulfil) => {
    const host = text.replace(/^\[|\]$/g, "");
    const socket = tls
      ? connectTls({ host, port, rejectUnauthorized: false, ...(isIP(host) === 0 ? { servername: host } : {}) })
      : connect({ host, port });
    const end = (failure: Opened & { readonly kind: "failed" }): void => {
      clearTimeout(deadline);
      socket.destroy();
      fulfil(failure);
    };
    socket.on("error", (error: Error) => end({ kind: "failed", what: "connect", code: codeOf(error) }));
    const deadline = setTimeout(() => end({ kind: "failed", what: "connect", code: "ETIMEDOUT" }), timeoutMs);
    socket.once(tls ? "secureConnect" : "connect", () => {
      clearTimeout(deadline);
      fulfil({ kind: "done", socket });
    });
  });
}

/** The socket of an answer is paused, with what came after the head put back; whoever gets it closes it. */
async function ask(
  place: ProxyPlace,
  head: string,
  timeoutMs: number,
): Promise<Probe<{ readonly answer: Answer; readonly socket: Socket }>> {
  const opened = await open(place, timeoutMs);
  if (opened.kind === "failed") return opened;
  const { socket } = opened;
  return new Promise((fulfil) => {
    let received = "";
    const settle = (probe: Probe<{ readonly answer: Answer; readonly socket: Socket }>): void => {
      clearTimeout(deadline);
      socket.off("data", onData).off("end", onEnd);
      if (probe.kind === "failed") socket.destroy();
      else socket.pause();
      fulfil(probe);
    };
    const fail = (code: string): void => settle({ kind: "failed", what: "answer", code });
    const onData = (chunk: Buffer): void => {
      received += chunk.toString("latin1");
      const end = received.indexOf("\r\n\r\n");
      if (end < 0) return received.length > maxHeadBytes ? fail("too long") : undefined;
      const answer = readAnswer(received.slice(0, end));
      if (answer === undefined) return fail("no HTTP");
      const rest = Buffer.from(received.slice(end + 4), "latin1");
      settle({ kind: "done", answer, socket });
      if (rest.length > 0) socket.unshift(rest);
    };
    const onEnd = (): void => fail("closed");
    const deadline = setTimeout(() => fail("ETIMEDOUT"), timeoutMs);
    socket.on("error", (error) => fail(codeOf(error)));
    socket.on("data", onData).on("end", onEnd);
    socket.write(head);
  });
}

function readAnswer(head: string): Answer | undefined {
  const [first = "", ...lines] = head.split("\r\n");
  const [, status, reason = ""] = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(first) ?? [];
  if (status === undefined) return undefined;
  const fields = lines.map((line): readonly [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return { status: Number(status), reason, fields: new Map(fields) };
}

/** Chains are not verified, since a middlebox's certificate is to be seen as well; `problem` says what is wrong with it. */
function shakeHands(
  socket: Socket,
  host: string,
  timeoutMs: number,
): Promise<Probe<{ readonly certificate: Certificate | undefined; readonly problem: string }>> {
  return new Promise((fulfil) => {
    const name = host.replace(/^\[|\]$/g, "");
    const tls = connectTls({ socket, ...(isIP(name) === 0 ? { servername: name } : {}), rejectUnauthorized: false });
    const fail = (code: string): void => {
      clearTimeout(deadline);
      tls.destroy();
      socket.destroy();
      fulfil({ kind: "failed", what: "TLS handshake", code });
    };
    tls.on("error", (error: Error) => fail(codeOf(error)));
    tls.once("close", () => fail("closed"));
    const deadline = setTimeout(() => fail("ETIMEDOUT"), timeoutMs);
    tls.once("secureConnect", () => {
      clearTimeout(deadline);
      const { issuer, valid_from: from } = tls.getPeerCertificate();
      const certificate = from === undefined ? undefined : { issuer: nameOf(issuer), validFromMs: Date.parse(from) };
      // In Node's types an Error or null; it is the code as text.
      const problem = tls.authorized ? "" : String(tls.authorizationError);
      fulfil({ kind: "done", certificate, problem });
      tls.destroy();
      socket.destroy();
    });
  });
}

function nameOf(name: { readonly CN?: unknown; readonly O?: unknown } | undefined): string {
  const text = name?.CN ?? name?.O ?? "";
  return (typeof text === "string" ? text : "").replace(/[^\x20-\x7e]/g, "?").slice(0, 100);
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}
