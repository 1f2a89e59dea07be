/**
 * A GET or HEAD without a body, from the head to the last byte of the answer: the way of all downloads.
 *
 *   deciding ──► reaching ──► asking ──► answering ──► closed
 *      │ 4xx/403     │ 502/504    │ 502/504    │ broken off, never a clean end
 *
 * - deciding: `admission`. Nothing has left the proxy.
 * - reaching: resolve, admit; a connection that rests in the pool, or dial. A client that goes away cancels it.
 * - asking: the head has gone up. Where a connection from the pool dies before a byte of an answer, it is asked once
 *   more on a new one.
 * - answering: the answer goes down with backpressure, its framing made anew. What breaks off upstream breaks off here.
 * Deadlines: dial; `response_head_timeout`; `body_idle_timeout` between two chunks either way. `egress/origin` owns the
 * upstream socket, the lane the client's. Three ways out: `tell` (a refusal), `complete` (the whole answer) and
 * `breakOff` (no answer, or a part of one).
 */
import type { Destination } from "../egress/admit.ts";
import { type Taken, type Upstream, connectUpstream, pass } from "../egress/inflow.ts";
import { type AnswerFraming, type AnswerHead, type Origin, type Receiver, createOrigin } from "../egress/origin.ts";
import type { Pool, PoolKey } from "../egress/pool.ts";
import type { ClosedBy } from "../record/event.ts";
import { fieldTokens } from "../wire/fields.ts";
import type { Outcome, Refusal } from "../wire/refusal.ts";
import type { HeadReading, RequestHead } from "../wire/request-head.ts";
import { responseHeadBytes, responseHeadText } from "../wire/response-head-bytes.ts";
import { type Admitted, type Refused, admitReached, admitRequest } from "./admission.ts";
import { authenticatesConnection, keepBound, takeBound } from "./bound-origins.ts";
import type { Connection } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { openExchange } from "./exchange.ts";
import { askedUpstream, keyOf, noteReuse } from "./reach-bound.ts";
import { type Reached, type Way, reachAtOnce } from "./reach.ts";
import { refusalOfFailure } from "./refuse.ts";
import { hasBody, interimFields, judgeResponseHead, maxInterimResponses } from "./response-head.ts";
import type { LaneExchange, Turn } from "./turn.ts";

/** Up to this size head and body leave in one write. */
const joinedBytes = 16 * 1024;

/** Makes the exchange; nothing happens before `start`. */
export function handleFetch(
  context: IngressContext,
  pool: Pool,
  connection: Connection,
  turn: Turn,
  head: RequestHead,
  reading: HeadReading,
): LaneExchange & { readonly start: () => void } {
  const { socket: client } = connection;
  const { limits } = context.settings;
  const { method, rawFields } = head;
  const exchange = openExchange(context, connection, "http", method);
  const { event } = exchange;

  let key: PoolKey | undefined;
  let cancelReach = (): void => {};
  let origin: Origin | undefined;
  /** The head for the origin, as text. */
  let request = "";
  let isRetry = false;
  let isReused = false;
  let interims = 0;
  let isBinding = false;
  /** The head for the client, until something is written. */
  let pending: string | undefined;
  let answered = false;
  let isChunked = false;
  let isLast = false;
  let finished = false;

  const receiver: Receiver = {
    onInterim,
    onAnswer,
    onBody,
    onPause: flushHead,
    onEnd: complete,
    onFailure: (failure, detail, unheard) => {
      if (unheard && isReused && !isRetry && failure === "connection_terminated") return askAgain();
      fail(failure, detail);
    },
  };
  const way: Way<Upstream> = { connect: connectUpstream, reuse, behind: askedUpstream };
  let admitted: Admitted | undefined;

  return {
    start: () => guard(decide),
    onBody: undefined,
    onDrain: () => {
      // Before the answer it was interim heads that have drained, and the answer is waited for.
      if (finished || !answered) return;
      turn.wait(limits.bodyIdleTimeoutMs, onBodyIdle);
      origin?.resume();
    },
    onGone: () => breakOff("client_aborted", "client"),
  };

  function decide(): void {
    const admission = admitRequest(context, connection, exchange, head, reading, false);
    if (admission.kind === "refused") return tell(admission.refusal, admission.outcome);
    admitted = admission;
    key = keyOf(admission, exchange.ruleset);
    request = requestText(method, admission);
    isBinding = authenticatesConnection(rawFields, "authorization");
    reachOrigin(admission);
  }

  function reachOrigin({ allow, target, passage }: Admitted): void {
    const onDone = (reached: Reached<Upstream>): void => guard(() => onReached(reached));
    const reaching = reachAtOnce(context, { permit: allow.permit, target, way, passage, done: onDone });
    cancelReach = () => reaching.cancel();
  }

  function reuse(destinations: readonly Destination[]): boolean {
    if (isRetry || key === undefined) return false;
    const bound = takeBound(connection, key, destinations);
    isBinding ||= bound !== undefined;
    const found = bound ?? pool.take(key, destinations);
    if (found === undefined) return false;
    noteReuse(exchange, found);
    isReused = true;
    ask(found);
    return true;
  }

  function onReached(reached: Reached<Upstream>): void {
    if (admitted === undefined) return;
    const opened: Upstream | Refused = admitReached(exchange, admitted.allow, reached);
    if ("kind" in opened) return tell(opened.refusal, opened.outcome);
    if (reached.kind !== "connected") return;
    const onProblem = (error: unknown): void => context.log.problem({ message: "a request failed", error });
    ask(createOrigin(opened, reached.destination, onProblem));
  }

  function ask(asked: Origin): void {
    origin = asked;
    turn.wait(limits.responseHeadTimeoutMs, onNoAnswer);
    asked.ask(method, request, receiver);
  }

  /** Nobody has heard the request: it is the connection that had died. */
  function askAgain(): void {
    if (finished || admitted === undefined) return;
    isRetry = true;
    origin = undefined;
    reachOrigin(admitted);
  }

  function onInterim({ status, phrase, rawFields: fields }: AnswerHead): void {
    interims += 1;
    if (interims > maxInterimResponses) {
      fail("http_protocol_error", "the origin sent too many interim responses");
      return;
    }
    client.write(responseHeadBytes(status, phrase, interimFields(fields, context.via)));
  }

  function onAnswer({ status, phrase, httpVersion, rawFields: fields }: AnswerHead, framing: AnswerFraming): void {
    const raw = { status, phrase, fields, httpVersion };
    const isParent = admitted?.passage !== undefined;
    const answer = judgeResponseHead(raw, framing, context.via, context.now(), isParent);
    if (answer.kind === "malformed") return fail(answer.failure, answer.detail);
    isBinding ||= authenticatesConnection(fields, "www-authenticate");
    isLast = context.isDraining() || fieldTokens(rawFields, "connection").includes("close");
    isChunked = hasBody(method, status) && (framing.kind === "chunked" || framing.kind === "until_close");
    event.status = status;
    pending = responseHeadText(status, phrase, answer.fields, own());
    turn.wait(limits.bodyIdleTimeoutMs, onBodyIdle);
  }

  /** The fields of this hop: the body's framing, and whether the connection ends. */
  function own(): string {
    const framing = isChunked ? "Transfer-Encoding: chunked\r\n" : "";
    if (isLast) return `${framing}Connection: close\r\n`;
    return `${framing}Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(limits.keepaliveTimeoutMs / 1000)}\r\n`;
  }

  function onBody(bytes: Buffer): Taken {
    if (finished) return "used";
    event.bytesDown += bytes.length;
    turn.wait(limits.bodyIdleTimeoutMs, onBodyIdle);
    if (isChunked) return writeChunk(bytes);
    if (pending === undefined) return pass(client, bytes);
    answered = true;
    const text = pending;
    pending = undefined;
    if (bytes.length <= joinedBytes) {
      const joined = Buffer.allocUnsafe(text.length + bytes.length);
      joined.write(text, 0, "latin1");
      bytes.copy(joined, text.length);
      return client.write(joined) ? "used" : "full";
    }
    client.cork();
    client.write(text, "latin1");
    client.write(bytes);
    client.uncork();
    return takenBy();
  }

  function writeChunk(bytes: Buffer): Taken {
    client.cork();
    writePending();
    client.write(`${bytes.length.toString(16)}\r\n`, "latin1");
    client.write(bytes);
    client.write("\r\n", "latin1");
    client.uncork();
    return takenBy();
  }

  function takenBy(): Taken {
    if (client.writableLength === 0) return "used";
    return client.writableNeedDrain ? "full" : "kept";
  }

  function writePending(): void {
    if (pending === undefined) return;
    answered = true;
    client.write(pending, "latin1");
    pending = undefined;
  }

  function flushHead(): void {
    if (!finished) writePending();
  }

  /** The answer is whole. */
  function complete(): void {
    if (finished) return;
    writePending();
    if (isChunked) client.write("0\r\n\r\n", "latin1");
    const used = origin;
    origin = undefined;
    if (used !== undefined && key !== undefined) giveBack(used, key);
    end("ok", undefined);
    connection.isLast = isLast;
    turn.next();
  }

  function giveBack(used: Origin, wanted: PoolKey): void {
    if (isBinding) keepBound(connection, wanted, used);
    else pool.keep(wanted, used);
  }

  function onNoAnswer(): void {
    context.metrics.limitRejected("response_head_timeout");
    fail("http_response_timeout", "the origin did not answer in time");
  }

  function onBodyIdle(): void {
    context.metrics.limitRejected("body_idle_timeout");
    breakOff("idle_timeout", "idle");
  }

  /** Where the client has a head already, no status can be given any more: the connection breaks instead. */
  function fail(failure: Exclude<Outcome, "ok" | "client_aborted" | "idle_timeout">, detail: string): void {
    if (answered)
      return breakOff(failure === "connection_terminated" ? "http_response_incomplete" : failure, "upstream");
    const told = failure === "http_response_incomplete" ? "connection_terminated" : failure;
    tell(refusalOfFailure(told, detail, event), told);
  }

  function tell(refusal: Refusal, outcome: Outcome | undefined): void {
    if (finished) return;
    event.status = refusal.status;
    end(outcome, "proxy");
    turn.refuse(refusal, head);
  }

  /** The client finds it short of its length, or of its last chunk. */
  function breakOff(outcome: Outcome, closedBy: ClosedBy): void {
    if (finished) return;
    end(outcome, closedBy);
    client.destroy();
  }

  function end(outcome: Outcome | undefined, closedBy: ClosedBy | undefined): void {
    finished = true;
    cancelReach();
    origin?.destroy();
    exchange.end(outcome, closedBy);
  }

  /** The boundary for bugs: this exchange ends, the process lives. */
  function guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      context.log.problem({ message: "a request failed", error });
      if (finished || answered) client.destroy();
      else fail("proxy_internal_error", "this is a fault of the proxy");
    }
  }
}

/** The head for the origin. HTTP/1.1 connections persist unless somebody says otherwise (RFC 9112 section 9.3). */
function requestText(method: string, { path, host, fields }: Admitted): string {
  let text = `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n`;
  for (let i = 0; i + 1 < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return `${text}\r\n`;
}
