/**
 * A plain HTTP request in absolute form, from the head to the last byte of the answer:
 *
 *   deciding ──► reaching ──► sending ──► answering ──► closed
 *      │ 4xx/403     │ 502/504    │ 502/504    │ broken off, never a clean end
 *
 * - deciding: `admission`. Nothing has left the proxy.
 * - reaching: resolve, admit, dial. A client that goes away cancels it.
 * - sending: `egress/forward` owns the upstream socket; head and body go up, interim responses come down. It serves this
 *   one request, unless it is bound to the client (NTLM).
 * - answering: the response goes down with backpressure. What breaks off upstream breaks off at the client too.
 * Deadlines: dial; `response_head_timeout` from the last byte sent up; `body_idle_timeout` between two chunks either way.
 * Three ways out, each of which stops the upstream leg and ends the record: `tell` (a refusal), `complete` (the whole
 * answer) and `breakOff` (no answer, or a part of one).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { ForwardHandlers, Forwarder, Forwarding } from "../egress/forward.ts";
import { type LentOrigin, lendOrigin } from "../egress/lent-origin.ts";
import type { Origin } from "../egress/origin.ts";
import type { PoolKey } from "../egress/pool.ts";
import { resetSocket } from "../egress/reset.ts";
import type { ClosedBy } from "../record/event.ts";
import { fieldValues } from "../wire/fields.ts";
import type { Failure, Outcome, Refusal } from "../wire/refusal.ts";
import { type Admitted, type Refused, admitReached, admitRequest } from "./admission.ts";
import type { HeadReading, RequestHead } from "../wire/request-head.ts";
import { responseHeadBytes } from "../wire/response-head-bytes.ts";
import { authenticatesConnection, hasBound, keepBound } from "./bound-origins.ts";
import type { Connection } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright, openExchange } from "./exchange.ts";
import { endLastResponse } from "./last-response.ts";
import { keyOf, reachBound } from "./reach-bound.ts";
import { type Plain, type Reached, plainWay, reach } from "./reach.ts";
import { refusalOfBrokenBody, refusalOfFailure, refusalOfMalformed, refuseResponse } from "./refuse.ts";
import { type ResponseHead, hasBody, interimFields, judgeResponse, maxInterimResponses } from "./response-head.ts";

/**
 * Handles one request that Node's HTTP server has read; `head` is what the client sent of it. It and its response have
 * listeners for errors. `release` is called once, when the exchange no longer
 * needs the connection.
 */
export function handleRequest(
  context: IngressContext,
  forward: Forwarder,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
  head: RequestHead,
  reading: HeadReading,
  release: () => void,
): void {
  const { limits } = context.settings;
  const { method, rawFields, httpVersion } = head;
  const exchange = openExchange(context, connection, "http", method);
  const { event } = exchange;

  let stopUpstream = (): void => {};
  let forwarding: Forwarding | undefined;
  /** A connection that is bound to the client's, and what it is bound for. */
  let lent: (LentOrigin & { readonly key: PoolKey }) | undefined;
  let isParent = false;
  let finished = false;
  let interims = 0;
  let sent = false;
  /** The client has asked to be told to send its body, and has not been told. */
  let awaitsContinue = false;
  /** What is waited for: each wait takes the place of the one before. */
  let timer: NodeJS.Timeout | undefined;
  let waitingFor: (() => void) | undefined;

  connection.onBrokenBody = onBrokenBody;
  response.on("close", () => {
    connection.onBrokenBody = undefined;
    breakOff("client_aborted", "client");
    clearTimeout(timer);
    release();
  });
  guard(decide);

  function decide(): void {
    if (connection.isBodyBroken && onBrokenBody()) return;
    const admission = admitRequest(context, connection, exchange, head, reading, false);
    if (admission.kind === "refused") return tell(admission.refusal, admission.outcome);
    if (admission.isForProxy) return answerOptions();
    const { allow, target, passage } = admission;
    isParent = passage !== undefined;
    const key = keyOf(admission, exchange.ruleset);
    const isBinding = authenticatesConnection(rawFields, "authorization") || hasBound(connection, key);
    if (isBinding && httpVersion === "1.1") {
      const onBound = (reached: Origin | Refused): void => guard(() => onReachedBound(admission, key, reached));
      stopUpstream = reachBound(context, connection, exchange, admission, key, onBound).cancel;
      return;
    }
    const onDone = (reached: Reached): void => guard(() => onReached(admission, reached));
    stopUpstream = reach(context, { permit: allow.permit, target, way: plainWay, passage, done: onDone }).cancel;
  }

  function onReached(admission: Admitted, reached: Reached): void {
    const opened: Plain | Refused = admitReached(exchange, admission.allow, reached);
    if ("kind" in opened) return tell(opened.refusal, opened.outcome);
    send(admission, opened.socket);
  }

  function onReachedBound(admission: Admitted, key: PoolKey, reached: Origin | Refused): void {
    if ("kind" in reached) return tell(reached.refusal, reached.outcome);
    lent = { ...lendOrigin(reached, method), key };
    send(admission, lent.stream);
  }

  function send({ path, host, fields, framing }: Admitted, socket: Duplex): void {
    sent = true;
    awaitsContinue = httpVersion === "1.1" && fieldValues(rawFields, "expect").length > 0;
    const expectContinue = awaitsContinue && framing.kind !== "none";
    const upstreamHead = { method, path, host, fields, framing, expectContinue, isLast: lent === undefined };
    stopUpstream = () => socket.destroy();
    forwarding = forward(request, response, socket, upstreamHead, handlers);
    stopUpstream = forwarding.abort;
    request.on("data", (chunk: Buffer) => {
      event.bytesUp += chunk.length;
      waitFor(limits.bodyIdleTimeoutMs, onBodyIdle);
    });
    request.on("end", () => {
      if (!response.headersSent) waitFor(limits.responseHeadTimeoutMs, onNoAnswer);
    });
    if (framing.kind === "none") waitFor(limits.responseHeadTimeoutMs, onNoAnswer);
    else waitFor(limits.bodyIdleTimeoutMs, onBodyIdle);
  }

  const handlers: ForwardHandlers = {
    onInterim: (status, phrase, fields) => guard(() => onInterim(status, phrase, fields)),
    onResponse: (upstream) => guard(() => answer(upstream)),
    onFailure: (failure, detail) => guard(() => fail(failure, detail)),
  };

  function onInterim(status: number, phrase: string, fields: readonly string[]): void {
    interims += 1;
    if (interims > maxInterimResponses)
      return fail("http_protocol_error", "the origin sent too many interim responses");
    if (httpVersion === "1.0") return;
    if (status === 100 && awaitsContinue) {
      awaitsContinue = false;
      // Without this call Node closes the connection after the answer: the client might send its body, or might not.
      response.writeContinue();
      return;
    }
    response.socket?.write(responseHeadBytes(status, phrase, interimFields(fields, context.via)));
  }

  function answer(upstream: IncomingMessage): void {
    const reading = judgeResponse(method, upstream, context.via, context.now(), isParent);
    if (reading.kind === "malformed") return fail(reading.failure, reading.detail);
    // Soon, not now: what else came in the same segment may show that the answer is broken, and then a 502 can be told.
    queueMicrotask(() => guard(() => beginAnswer(upstream, reading)));
  }

  function beginAnswer(upstream: IncomingMessage, { status, phrase, fields }: ResponseHead): void {
    if (finished) return;
    if (upstream.destroyed && !upstream.complete) return fail("connection_terminated", "the origin broke off");
    // A proxy keeps no connection to an HTTP/1.0 client (RFC 9112 section 9.3), nor one with an upload that nobody reads.
    const isUnread = !request.complete || awaitsContinue;
    const isLast = !response.shouldKeepAlive || httpVersion === "1.0" || isUnread || context.isDraining();
    if (isLast) connection.isLast = true;
    response.sendDate = false;
    try {
      response.writeHead(status, phrase, isLast ? [...fields, "Connection", "close"] : [...fields]);
    } catch {
      return fail("http_protocol_error", "the origin's response head holds what may not be sent on");
    }
    event.status = status;
    // Sends the head ahead of a body that takes its time. Not `flushHeaders`, which writes obs-text as UTF-8.
    if (hasBody(method, status)) response.write("", "latin1");
    waitFor(limits.bodyIdleTimeoutMs, onBodyIdle);
    upstream.on("data", (chunk: Buffer) => {
      event.bytesDown += chunk.length;
      waitFor(limits.bodyIdleTimeoutMs, onBodyIdle);
      if (!response.write(chunk)) upstream.pause();
    });
    response.on("drain", () => {
      waitFor(limits.bodyIdleTimeoutMs, onBodyIdle);
      upstream.resume();
    });
    upstream.on("end", () => (upstream.complete ? complete(isLast) : breakOff("http_response_incomplete", "upstream")));
    upstream.on("close", () => {
      if (!upstream.complete) breakOff("http_response_incomplete", "upstream");
    });
  }

  /** The answer is whole. An upload that it came too early for is stopped. */
  function complete(isLast: boolean): void {
    if (finished) return;
    const kept = forwarding?.isSent() === true ? lent?.takeBack() : undefined;
    if (lent !== undefined && kept !== undefined) keepBound(connection, lent.key, kept);
    end("ok", undefined);
    if (isLast) endLastResponse(connection, response);
    else response.end();
  }

  function answerOptions(): void {
    response.writeHead(204, ["Via", `1.1 ${context.via}`]);
    event.status = 204;
    end("ok", "proxy");
    response.end();
  }

  /** Chunks that are none, or a body that is broken in another way, while it was being read. */
  function onBrokenBody(): boolean {
    if (request.complete) return false;
    if (finished) return true;
    if (response.headersSent) {
      breakOff("client_aborted", "client");
    } else if (sent) {
      tell(refusalOfBrokenBody(), "client_aborted");
    } else {
      exchange.note(denyOutright("bad_request"));
      tell(refusalOfMalformed("bad_request", "the request body is malformed", event), undefined);
    }
    return true;
  }

  function onNoAnswer(): void {
    context.metrics.limitRejected("response_head_timeout");
    fail("http_response_timeout", "the origin did not answer in time");
  }

  function onBodyIdle(): void {
    context.metrics.limitRejected("body_idle_timeout");
    breakOff("idle_timeout", "idle");
  }

  function waitFor(timeoutMs: number, expired: () => void): void {
    if (finished) return;
    if (waitingFor === expired) {
      timer?.refresh();
      return;
    }
    clearTimeout(timer);
    waitingFor = expired;
    timer = setTimeout(() => guard(expired), timeoutMs);
  }

  /** Where the client has a head already, no status can be given any more: the connection breaks instead. */
  function fail(failure: Failure, detail: string): void {
    if (!response.headersSent) return tell(refusalOfFailure(failure, detail, event), failure);
    breakOff(failure === "connection_terminated" ? "http_response_incomplete" : failure, "upstream");
  }

  function tell(refusal: Refusal, outcome: Outcome | undefined): void {
    if (finished) return;
    event.status = refusal.status;
    end(outcome, "proxy");
    refuseResponse(context, connection, response, refusal);
  }

  function breakOff(outcome: Outcome, closedBy: ClosedBy): void {
    if (finished) return;
    end(outcome, closedBy);
    // An answer without a length ends with its connection: a FIN would say that it is whole.
    if (response.headersSent && httpVersion === "1.0") resetSocket(connection.socket);
    else connection.socket.destroy();
  }

  function end(outcome: Outcome | undefined, closedBy: ClosedBy | undefined): void {
    finished = true;
    clearTimeout(timer);
    // The client may leave the rest of the answer unread.
    timer = setTimeout(() => connection.socket.destroy(), limits.bodyIdleTimeoutMs);
    stopUpstream();
    exchange.end(outcome, closedBy);
  }

  /** The boundary for bugs: this exchange ends, the process lives. */
  function guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      context.log.problem({ message: "a request failed", error });
      if (finished || response.headersSent) connection.socket.destroy();
      else fail("proxy_internal_error", "this is a fault of the proxy");
    }
  }
}
