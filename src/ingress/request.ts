/**
 * A plain HTTP request in absolute form, from the head to the last byte of the answer:
 *
 *   deciding ──► reaching ──► sending ──► answering ──► closed
 *      │ 4xx/403     │ 502/504    │ 502/504    │ destroyed, never a clean end
 *
 * - deciding: head, target and policy. Nothing has left the proxy.
 * - reaching: resolve, admit, dial. A client that goes away cancels it.
 * - sending: `egress/forward` owns the upstream socket; head and body go up, interim responses come down.
 * - answering: the response goes down with backpressure. What breaks off upstream breaks off at the client too.
 * Deadlines: dial; `response_head_timeout` from the last byte sent up; `body_idle_timeout` between two chunks either way.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ForwardHandlers, Forwarder } from "../egress/forward.ts";
import { type Authority, formatAuthority, parseAuthority } from "../names/authority.ts";
import { sameHost } from "../names/hostname.ts";
import { denyAddress } from "../policy/decide-hello.ts";
import { type RequestFacts, decideTarget } from "../policy/decide.ts";
import type { Allow, Denial } from "../policy/verdict.ts";
import type { ClosedBy } from "../record/event.ts";
import { fieldValues, forwardedRequestFields, forwardedResponseFields, namesInVia } from "../wire/fields.ts";
import { parseRange } from "../wire/range.ts";
import type { Failure, Malformation, Outcome, Refusal } from "../wire/refusal.ts";
import { type Framing, readHead } from "../wire/request-head.ts";
import { parseRequestTarget } from "../wire/request-target.ts";
import { type Connection, clientOf, isAdmitted } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright, openExchange } from "./exchange.ts";
import { lingerBytes, lingerMs } from "./linger.ts";
import { type Reached, reach } from "./reach.ts";
import { refusalOfDenial, refusalOfFailure, refusalOfMalformed, refuseResponse } from "./refuse.ts";
import { judgeResponseHead, maxInterimResponses } from "./response-head.ts";

const httpPort = 80;

/** Handles one request. `release` is called once, when the exchange no longer needs the connection. */
export function handleRequest(
  context: IngressContext,
  forward: Forwarder,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
  release: () => void,
): void {
  const { limits } = context.settings;
  const { method = "", url = "", rawHeaders, httpVersion } = request;
  const exchange = openExchange(context, connection, "http", method);
  const { event, ruleset } = exchange;
  const identity = clientOf(connection, ruleset);

  let stopUpstream = (): void => {};
  let finished = false;
  let interims = 0;
  let timer: NodeJS.Timeout | undefined;

  connection.onBrokenBody = () => {
    if (request.complete) return false;
    if (response.headersSent) breakOff("client_aborted", "client");
    else tell(refusalOfMalformed("bad_request", "the request body is malformed", event), "client_aborted");
    return true;
  };
  request.on("error", () => {});
  response.on("error", () => {});
  response.on("close", () => {
    clearTimeout(timer);
    stopUpstream();
    connection.onBrokenBody = undefined;
    if (!finished) end("client_aborted", "client");
    release();
  });

  decide();

  function decide(): void {
    const reading = readHead({ method, url, httpVersion, rawFields: rawHeaders }, limits.fields);
    if (reading.kind === "malformed") return refuseHead(reading.problem, reading.detail);
    const target = parseRequestTarget(method, url);
    if (target.kind === "malformed") return refuseHead("bad_request", `the request target ${target.detail}`);
    exchange.aim(target.authority);
    event.path = target.path;
    const named = reading.host === undefined ? target.authority : parseAuthority(reading.host, httpPort);
    if (named === undefined) return refuseHead("bad_request", "the Host field is malformed");
    if (namesInVia(rawHeaders, context.via)) return fail("proxy_loop_detected", "this proxy stands in Via already");
    if (context.isDraining()) return fail("connection_limit_reached", "the proxy is shutting down");
    const ranges = fieldValues(rawHeaders, "range");
    event.range = ranges.length === 0 ? undefined : ranges.join(", ");
    const range = parseRange(ranges).kind;
    event.rangeKind = range;
    const verdict = judge({
      kind: "http",
      ...target.authority,
      hostAgrees: sameHost(named.host, target.authority.host) && named.port === target.authority.port,
      listenerAdmits: isAdmitted(connection, ruleset),
      http: { method, path: target.path, range, websocket: false },
    });
    exchange.note(verdict);
    if (verdict.kind === "deny") return refuse(verdict);
    if (range !== "none" && verdict.rule?.rule.range === "strip") event.rangeKind = "stripped";
    const hops = maxForwards(method, rawHeaders);
    if (hops === "malformed") return refuseHead("bad_request", "Max-Forwards is no number");
    if (hops === 0) return answerOptions();
    const sent = { target: target.authority, path: target.path, framing: reading.framing, hops };
    const going = reach(context, verdict.permit, target.authority, (reached) => onReached(verdict, sent, reached));
    stopUpstream = going.cancel;
  }

  function judge(facts: RequestFacts) {
    const sampled = context.metrics.sampleDecision();
    const startedAt = sampled ? performance.now() : 0;
    const verdict = decideTarget(ruleset, identity, facts, context.now());
    if (sampled) context.metrics.observeDecision((performance.now() - startedAt) / 1000);
    return verdict;
  }

  function onReached(allow: Allow, sent: SentRequest, reached: Reached): void {
    if (reached.kind === "failed") return fail(reached.failure, reached.detail);
    if (reached.kind === "denied") {
      const denial = denyAddress(allow);
      exchange.note(denial);
      return refuse(denial);
    }
    exchange.conclude();
    event.dialMs = reached.dialMs;
    event.upstream = reached.destination.address;
    event.upstreamPort = reached.destination.port;
    const fields = forwardedRequestFields(rawHeaders, {
      stripRange: allow.rule?.rule.range === "strip",
      via: `${httpVersion} ${context.via}`,
    });
    const head = {
      method,
      path: sent.path,
      host: formatAuthority(sent.target, httpPort),
      fields: sent.hops === undefined ? fields : [...fields, "Max-Forwards", String(sent.hops - 1)],
      framing: sent.framing,
      expectContinue: httpVersion === "1.1" && sent.framing.kind !== "none" && fieldValues(rawHeaders, "expect").length > 0,
    };
    stopUpstream = forward(request, response, reached.socket, head, handlers).abort;
    request.on("data", (chunk: Buffer) => {
      event.bytesUp += chunk.length;
      waitFor(limits.bodyIdleTimeoutMs, onUploadIdle);
    });
    request.on("end", () => waitFor(limits.responseHeadTimeoutMs, onNoAnswer));
    waitFor(sent.framing.kind === "none" ? limits.responseHeadTimeoutMs : limits.bodyIdleTimeoutMs, onNoAnswer);
  }

  const handlers: ForwardHandlers = {
    onInterim: (status, phrase, fields) => {
      interims += 1;
      if (interims > maxInterimResponses) return fail("http_protocol_error", "the origin sent too many interim responses");
      // A response whose turn on the connection has not come has no socket yet; RFC 9110 lets a 1xx be dropped then.
      if (httpVersion === "1.0" || response.headersSent || response.socket === null) return;
      response.socket.write(interimBytes(status, phrase, forwardedResponseFields(fields, viaOf("1.1"))));
    },
    onResponse: answer,
    onFailure: fail,
  };

  function answer(upstream: IncomingMessage): void {
    clearTimeout(timer);
    const reading = judgeResponseHead(upstream);
    if (reading.kind === "malformed") return fail("http_protocol_error", reading.detail);
    const { status } = reading;
    const fields = [...forwardedResponseFields(reading.fields, viaOf(upstream.httpVersion))];
    if (context.isDraining()) fields.push("Connection", "close");
    response.sendDate = false;
    try {
      response.writeHead(status, upstream.statusMessage ?? "", fields);
    } catch {
      return fail("http_protocol_error", "the origin's response head holds what may not be sent on");
    }
    event.status = status;
    waitFor(limits.bodyIdleTimeoutMs, onDownloadIdle);
    upstream.on("data", (chunk: Buffer) => {
      event.bytesDown += chunk.length;
      waitFor(limits.bodyIdleTimeoutMs, onDownloadIdle);
      if (!response.write(chunk)) upstream.pause();
    });
    response.on("drain", () => {
      waitFor(limits.bodyIdleTimeoutMs, onDownloadIdle);
      upstream.resume();
    });
    upstream.on("end", () => (upstream.complete ? complete() : breakOff("http_response_incomplete", "upstream")));
    upstream.on("close", () => {
      if (!upstream.complete) breakOff("http_response_incomplete", "upstream");
    });
  }

  /** The answer is whole. An upload that it came too early for is stopped: read a little more, then close. */
  function complete(): void {
    response.end();
    end("ok", undefined);
    stopUpstream();
    if (request.complete) return;
    const { socket } = connection;
    let discarded = 0;
    const deadline = setTimeout(() => socket.destroy(), lingerMs);
    socket.once("close", () => clearTimeout(deadline));
    request.once("end", () => socket.end());
    request.on("data", (chunk: Buffer) => {
      discarded += chunk.length;
      if (discarded > lingerBytes) request.pause();
    });
    request.resume();
  }

  function answerOptions(): void {
    exchange.conclude();
    event.status = 204;
    response.writeHead(204, ["Via", viaOf("1.1")]);
    response.end();
    end("ok", "proxy");
  }

  function onNoAnswer(): void {
    if (request.complete) fail("http_response_timeout", "the origin did not answer in time");
    else onUploadIdle();
  }

  function onUploadIdle(): void {
    breakOff("idle_timeout", "idle");
  }

  function onDownloadIdle(): void {
    breakOff("idle_timeout", "idle");
  }

  function waitFor(timeoutMs: number, expired: () => void): void {
    clearTimeout(timer);
    timer = setTimeout(expired, timeoutMs);
  }

  function refuseHead(how: Malformation, detail: string): void {
    exchange.note(denyOutright("bad_request"));
    tell(refusalOfMalformed(how, detail, event), undefined);
  }

  function refuse(denial: Denial): void {
    tell(refusalOfDenial(denial, event), undefined);
  }

  /** Where the client has a head already, no status can be given any more: the connection breaks instead. */
  function fail(failure: Failure, detail: string): void {
    if (response.headersSent) breakOff(failure === "connection_terminated" ? "http_response_incomplete" : failure, "upstream");
    else tell(refusalOfFailure(failure, detail, event), failure);
  }

  function tell(refusal: Refusal, outcome: Outcome | undefined): void {
    if (finished) return;
    clearTimeout(timer);
    event.status = refusal.status;
    stopUpstream();
    stopUpstream = () => {};
    end(outcome, "proxy");
    refuseResponse(context, response, refusal);
  }

  function breakOff(outcome: Outcome, closedBy: ClosedBy): void {
    if (finished) return;
    end(outcome, closedBy);
    stopUpstream();
    connection.socket.destroy();
  }

  function end(outcome: Outcome | undefined, closedBy: ClosedBy | undefined): void {
    finished = true;
    clearTimeout(timer);
    exchange.end(outcome, closedBy);
  }

  function viaOf(receivedProtocol: string): string {
    return `${receivedProtocol} ${context.via}`;
  }
}

type SentRequest = {
  readonly target: Authority;
  readonly path: string;
  readonly framing: Framing;
  /** Max-Forwards of an OPTIONS, where it has one. */
  readonly hops: number | undefined;
};

/** Max-Forwards counts for TRACE, which never gets here, and OPTIONS (RFC 9110 section 7.6.2). */
function maxForwards(method: string, rawHeaders: readonly string[]): number | "malformed" | undefined {
  const [value, more] = fieldValues(rawHeaders, "max-forwards");
  if (value === undefined || method !== "OPTIONS") return undefined;
  return more === undefined && /^\d{1,9}$/.test(value) ? Number(value) : "malformed";
}

function interimBytes(status: number, phrase: string, fields: readonly string[]): Buffer {
  const lines = [`HTTP/1.1 ${status} ${phrase.replace(/[^\t\x20-\x7e\x80-\xff]/g, "")}`];
  for (let i = 0; i + 1 < fields.length; i += 2) lines.push(`${fields[i]}: ${fields[i + 1]}`);
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

