/**
 * A WebSocket over plain HTTP: an absolute-form GET with `Upgrade: websocket`, judged like any request, then a tunnel:
 *
 *   deciding ──► reaching ──► asking ──► spliced ──► closed
 *      │ 4xx/403     │ 502/504   │ 502/504, or the origin's own answer, then closed
 *
 * Until the origin's 101 the socket still speaks HTTP: what the client sends early is held, and only relayed after it.
 * This file owns the client's socket until `egress/splice` does, and has four ways out: `tell` (a refusal), `endClient`
 * (the origin's answer), `breakOff`, and the end of the splice. Deadlines: dial; `response_head_timeout`; then
 * `body_idle_timeout` for an answer, the rule's `idle_timeout` for a tunnel. What is held is capped like a hello.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { tunnelSocket } from "../egress/parent-tunnel.ts";
import { resetSocket } from "../egress/reset.ts";
import { type Splice, splice } from "../egress/splice.ts";
import { requestUpgrade } from "../egress/upgrade.ts";
import type { ClosedBy } from "../record/event.ts";
import type { RawFields } from "../wire/fields.ts";
import type { Failure, Outcome, Refusal } from "../wire/refusal.ts";
import type { HeadReading, RequestHead } from "../wire/request-head.ts";
import { type Admitted, type Refused, admitReached, admitRequest } from "./admission.ts";
import type { Connection } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { openExchange } from "./exchange.ts";
import { endAndLinger } from "./linger.ts";
import { type Plain, type Reached, type Way, plainWay, reach } from "./reach.ts";
import { readAhead, takeAll } from "./read-ahead.ts";
import { refusalOfFailure, refuseSocket } from "./refuse.ts";
import { responseHeadBytes } from "../wire/response-head-bytes.ts";
import { interimFields, judgeResponse } from "./response-head.ts";
import { type Tunnel, createReview } from "./tunnel-review.ts";

/** Through a parent proxy it goes in a tunnel: its own handshake is with the origin. */
const socketWay: Way<Plain> = { ...plainWay, behind: { ...plainWay.behind, tunnel: tunnelSocket } };

/**
 * Handles one handshake and the tunnel behind it. Calls `closed` once, when the client's socket is closed or about to
 * be, and never before this has returned.
 */
export function handleWebSocket(
  context: IngressContext,
  connection: Connection,
  request: RequestHead,
  reading: HeadReading,
  early: Buffer,
  closed: () => void,
): Tunnel {
  const { socket: client } = connection;
  const { limits } = context.settings;
  const exchange = openExchange(context, connection, "http", request.method);
  const { event, ruleset } = exchange;
  const sent = readAhead(client, early, limits.helloBytes, guard);

  let stopUpstream = (): void => {};
  let deadline: NodeJS.Timeout | undefined;
  let answering = false;
  let finished = false;
  let tunnelOpen = false;
  let spliced: Splice | undefined;
  let upstreamSocket: Socket | undefined;
  const standing = createReview(context, connection, exchange, revoke);

  client.on("error", onClientGone);
  client.on("close", onClientGone);
  guard(decide);
  return { close, review: () => standing.review() };

  function decide(): void {
    const admission = admitRequest(context, connection, exchange, request, reading, true);
    if (admission.kind === "refused") return tell(admission.refusal, admission.outcome);
    const { allow, target, passage } = admission;
    const onDone = (reached: Reached): void => guard(() => onReached(admission, reached));
    stopUpstream = reach(context, { permit: allow.permit, target, way: socketWay, passage, done: onDone }).cancel;
  }

  function onReached(admitted: Admitted, reached: Reached): void {
    const opened: Plain | Refused = admitReached(exchange, admitted.allow, reached);
    if ("kind" in opened) return tell(opened.refusal, opened.outcome);
    stopUpstream = requestUpgrade(opened.socket, admitted, limits.responseHeadTimeoutMs, {
      onSwitched: (answer, upstream, behind) => guard(() => onSwitched(admitted, answer, upstream, behind)),
      onResponse: (answer) => guard(() => onResponse(answer)),
      onFailure: (failure, detail) => guard(() => fail(failure, detail)),
    }).abort;
  }

  function onSwitched({ allow, asked }: Admitted, answer: RawFields, upstream: Socket, behind: Buffer): void {
    letGoOfClient();
    event.status = 101;
    const fields = [...interimFields(answer, context.via), "Connection", "Upgrade", "Upgrade", "websocket"];
    client.write(Buffer.concat([responseHeadBytes(101, "Switching Protocols", fields), behind]));
    event.bytesDown += behind.length;
    const held = takeAll(sent);
    event.bytesUp += held.length;
    if (held.length > 0) upstream.write(held);
    tunnelOpen = true;
    context.metrics.tunnelOpened();
    upstreamSocket = upstream;
    standing.known.asked = asked;
    spliced = splice(client, upstream, {
      deadlines: context.deadlines,
      idleTimeoutMs: allow.rule?.idleTimeoutMs ?? ruleset.defaultIdleTimeoutMs,
      tally: event,
      done: (end) => {
        if (!finished) conclude(end.outcome, end.closedBy);
        closed();
      },
    });
    standing.open(spliced);
  }

  /** The origin refused to switch: its answer goes down, delimited by the end of the connection, and that is all. */
  function onResponse(upstream: IncomingMessage): void {
    const reading = judgeResponse(request.method, upstream, context.via, context.now());
    if (reading.kind === "malformed") return fail(reading.failure, reading.detail);
    const { status, phrase, fields } = reading;
    event.status = status;
    answering = true;
    sent.stop();
    client.write(responseHeadBytes(status, phrase, [...fields, "Connection", "close"]));
    deadline = setTimeout(() => guard(onBodyIdle), limits.bodyIdleTimeoutMs);
    client.on("drain", () => upstream.resume());
    upstream.on("data", (chunk: Buffer) => {
      deadline?.refresh();
      event.bytesDown += chunk.length;
      if (!client.write(chunk)) upstream.pause();
    });
    upstream.on("end", () => (upstream.complete ? endClient() : breakOff("http_response_incomplete", "upstream")));
    upstream.on("close", () => {
      if (!upstream.complete) breakOff("http_response_incomplete", "upstream");
    });
  }

  function onBodyIdle(): void {
    context.metrics.limitRejected("body_idle_timeout");
    breakOff("idle_timeout", "idle");
  }

  function fail(failure: Failure, detail: string): void {
    if (answering)
      return breakOff(failure === "connection_terminated" ? "http_response_incomplete" : failure, "upstream");
    if (failure === "http_response_timeout") context.metrics.limitRejected("response_head_timeout");
    tell(refusalOfFailure(failure, detail, event), failure);
  }

  function tell(refusal: Refusal, outcome: Outcome | undefined): void {
    if (finished) return;
    event.status = refusal.status;
    letGoOfClient();
    refuseSocket(context, client, refusal, request, closed);
    conclude(outcome, "proxy");
  }

  function endClient(): void {
    if (finished) return;
    letGoOfClient();
    endAndLinger(client, undefined, closed);
    conclude("ok", "upstream");
  }

  /** A reset, so that what has been read so far is not taken for the whole. */
  function breakOff(outcome: Outcome, closedBy: ClosedBy): void {
    if (finished) return;
    letGoOfClient();
    resetSocket(client);
    conclude(outcome, closedBy);
    queueMicrotask(closed);
  }

  /** Recorded at once: by the time both sockets are closed the log may be, too. */
  function close(closedBy: ClosedBy): void {
    if (spliced === undefined) return breakOff("ok", closedBy);
    spliced.close();
    if (!finished) conclude("ok", closedBy);
  }

  /** A reload took its rule away. A plain end would claim that this was all. */
  function revoke(): void {
    resetSocket(client);
    if (upstreamSocket !== undefined) resetSocket(upstreamSocket);
    close("policy");
  }

  function onClientGone(): void {
    breakOff("client_aborted", "client");
  }

  /** The last step of every way out. */
  function conclude(outcome: Outcome | undefined, closedBy: ClosedBy): void {
    finished = true;
    clearTimeout(deadline);
    standing.over();
    stopUpstream();
    if (tunnelOpen) context.metrics.tunnelClosed();
    tunnelOpen = false;
    exchange.end(outcome, closedBy);
  }

  /** The listener has left one for errors behind. */
  function letGoOfClient(): void {
    sent.stop();
    client.removeListener("error", onClientGone);
    client.removeListener("close", onClientGone);
  }

  /** The boundary for bugs: this exchange ends, the process lives. */
  function guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      context.log.problem({ message: "a WebSocket failed", error });
      if (finished) return;
      if (spliced !== undefined) spliced.close();
      else if (event.status !== 0) breakOff("proxy_internal_error", "proxy");
      else fail("proxy_internal_error", "this is a fault of the proxy");
    }
  }
}
