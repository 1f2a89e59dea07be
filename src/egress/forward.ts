/**
 * The upstream leg of a plain HTTP exchange, carried by http-proxy behind our guards (threats.md section 0).
 *
 * http-proxy creates the upstream request, pipes the body and ties the two requests' lives together. It is given a
 * request whose URL and fields are empty, so that none of its own readings of them matter: the head that goes out is
 * written here, field by field, after http-proxy has had its say and before a byte is sent. That undoes
 * CVE-2026-29057 (a chunked DELETE becomes a smuggled request), its URL joining (which folds `//`), its copying of
 * hop-by-hop fields and the crash on Trailer. `selfHandleResponse` leaves the response leg to the caller.
 *
 * One connection for one exchange: the socket belongs to the upstream request from `forward` on and is destroyed with it
 * (of one that is bound to its client it is `lent-origin`'s, which can be had back).
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
// oxlint-disable-next-line import/no-unassigned-import -- it has to run before http-proxy is loaded
import "./node-extend.ts";
import httpProxy from "http-proxy";
import type { RawFields } from "../wire/fields.ts";
import type { Failure } from "../wire/refusal.ts";
import type { Framing } from "../wire/request-head.ts";
import { DialledAgent } from "./dialled-agent.ts";
import { isReset } from "./reset.ts";

/** The head that goes to the origin. */
export type UpstreamHead = {
  readonly method: string;
  /** Origin form, byte for byte as the client sent it. */
  readonly path: string;
  /** Host: the target's authority, regenerated. */
  readonly host: string;
  /** End-to-end fields, without Host, Content-Length and Expect. */
  readonly fields: RawFields;
  readonly framing: Framing;
  readonly expectContinue: boolean;
  /** The origin is told that no other request follows. */
  readonly isLast: boolean;
};

export type ForwardHandlers = {
  /** A 1xx other than 101. */
  readonly onInterim: (status: number, phrase: string, fields: RawFields) => void;
  /** The final head, or a 101 without Upgrade; the receiver reads the body. */
  readonly onResponse: (response: IncomingMessage) => void;
  /** Before or after the head: the upstream leg is gone. Called at most once, not after `abort` or a whole answer. */
  readonly onFailure: (failure: Failure, detail: string) => void;
};

export type Forwarder = (
  request: IncomingMessage,
  response: ServerResponse,
  upstream: Duplex,
  head: UpstreamHead,
  handlers: ForwardHandlers,
) => Forwarding;

export type Forwarding = {
  readonly abort: () => void;
  /** The whole request has left. */
  readonly isSent: () => boolean;
};

/** Makes the one forwarder of a proxy. */
export function createForwarder(): Forwarder {
  const proxy = httpProxy.createProxyServer({ selfHandleResponse: true });
  const begun = new WeakMap<IncomingMessage, (upstream: ClientRequest) => void>();
  proxy.on("proxyReq", (upstreamRequest, request) => begun.get(request)?.(upstreamRequest));
  // Every call passes a callback; this listener is for what http-proxy might emit all the same.
  proxy.on("error", () => {});

  return (request, response, upstream, head, handlers) => {
    let over = false;
    let upstreamRequest: ClientRequest | undefined;
    let answer: IncomingMessage | undefined;
    const fail = (failure: Failure, detail: string): void => {
      if (over) return;
      over = true;
      upstream.destroy();
      // What comes behind a whole answer, and be it nonsense, is nobody's: the answer stands.
      if (answer?.complete === true) return;
      handlers.onFailure(failure, detail);
    };
    begun.set(request, (created) => {
      upstreamRequest = created;
      created.on("upgrade", () => fail("http_protocol_error", "the origin switched protocols unasked"));
      created.on("information", ({ statusCode, statusMessage, rawHeaders }) => {
        if (!over) handlers.onInterim(statusCode, statusMessage, rawHeaders);
      });
      created.on("response", (response) => {
        response.on("error", () => {});
        if (over) {
          response.destroy();
          return;
        }
        answer = response;
        handlers.onResponse(response);
      });
      try {
        writeHead(created, head);
      } catch {
        created.destroy();
        fail("proxy_internal_error", "the request holds what may not be sent on");
        return;
      }
      upstream.resume();
      // Sends the head ahead of the body. Not `flushHeaders`, which writes obs-text as UTF-8.
      if (head.framing.kind !== "none") created.write("", "latin1");
    });
    upstream.on("error", () => {});
    // Before Node's client hears of it, which would take the body for whole.
    upstream.on("end", () => {
      if (upstream instanceof Socket && isReset(upstream)) fail("connection_terminated", "the origin broke off");
    });
    // Heads that Node sends on its own (Expect) are written without naming an encoding: obs-text must stay as it is.
    upstream.setDefaultEncoding("latin1");
    request.url = "/";
    request.headers = {};
    const agent = new DialledAgent(upstream);
    proxy.web(request, response, { target: unusedTarget, agent, toProxy: true }, (error) => {
      const [failure, detail] = causeOf(error);
      fail(failure, detail);
    });
    return {
      abort: () => {
        over = true;
        request.unpipe();
        upstreamRequest?.destroy();
        upstream.destroy();
      },
      isSent: () => upstreamRequest?.writableFinished === true,
    };
  };
}

/** Never dialled and never sent: the agent brings the socket, `writeHead` the Host. */
const unusedTarget = { protocol: "http:", host: "upstream.invalid", port: "80" };

function writeHead(request: ClientRequest, head: UpstreamHead): void {
  request.path = head.path;
  for (const name of request.getHeaderNames()) request.removeHeader(name);
  request.setHeader("Host", head.host);
  setFields(request, head.fields);
  if (head.framing.kind === "length") request.setHeader("Content-Length", head.framing.bytes);
  else if (head.framing.kind === "chunked") request.setHeader("Transfer-Encoding", "chunked");
  else if (!bodilessByNature.has(head.method)) request.setHeader("Content-Length", 0);
  if (head.expectContinue) request.setHeader("Expect", "100-continue");
  // Without the field HTTP/1.1 persists; what Node's client makes of that is nobody's business but its own.
  if (head.isLast) request.setHeader("Connection", "close");
  else request.removeHeader("Connection");
}

/** Without a body these need no Content-Length (RFC 9110 section 8.6). */
const bodilessByNature: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS"]);

/** Writes fields to an upstream request. Values of one field stay in their order (RFC 9110 section 5.3); the first spelling of a name is kept. */
export function setFields(request: ClientRequest, fields: RawFields): void {
  const grouped = new Map<string, [string, string[]]>();
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const value = fields[i + 1] ?? "";
    const known = grouped.get(name.toLowerCase());
    if (known === undefined) grouped.set(name.toLowerCase(), [name, [value]]);
    else known[1].push(value);
  }
  for (const [name, values] of grouped.values()) request.setHeader(name, values);
}

/** What Node says of a broken upstream leg, in the words of RFC 9209, and in a sentence. */
export function causeOf(error: Error): readonly [Failure, string] {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (code === "HPE_HEADER_OVERFLOW")
    return ["http_response_header_section_size", "the origin's response head is too large"];
  if (code.startsWith("HPE_")) return ["http_protocol_error", "the origin's response is malformed"];
  if (code === "ECONNRESET" || code === "EPIPE") return ["connection_terminated", "the origin broke off"];
  if (code === "ETIMEDOUT") return ["connection_timeout", "the connection to the origin timed out"];
  return ["proxy_internal_error", "the request could not be forwarded"];
}
