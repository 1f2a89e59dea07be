/**
 * A WebSocket over plain HTTP: an absolute-form GET with `Upgrade: websocket`, judged like any request, then a tunnel.
 * Until the origin's 101 the socket still speaks HTTP: what the client sends early is held, and only relayed after it.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { splice } from "../egress/splice.ts";
import { requestUpgrade } from "../egress/upgrade.ts";
import { type Authority, formatAuthority, parseAuthority } from "../names/authority.ts";
import { sameHost } from "../names/hostname.ts";
import { denyAddress } from "../policy/decide-hello.ts";
import { decideTarget } from "../policy/decide.ts";
import type { Allow } from "../policy/verdict.ts";
import type { ClosedBy } from "../record/event.ts";
import { type RawFields, fieldValues, forwardedRequestFields, forwardedResponseFields, namesInVia } from "../wire/fields.ts";
import { parseRange } from "../wire/range.ts";
import type { Failure, Outcome, Refusal } from "../wire/refusal.ts";
import { type RequestHead, readHead } from "../wire/request-head.ts";
import { parseRequestTarget } from "../wire/request-target.ts";
import { type Connection, clientOf, isAdmitted } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright, openExchange } from "./exchange.ts";
import { endAndLinger } from "./linger.ts";
import { type Reached, reach } from "./reach.ts";
import { refusalOfDenial, refusalOfFailure, refusalOfMalformed, refuseSocket } from "./refuse.ts";
import { judgeResponseHead } from "./response-head.ts";

const httpPort = 80;

/** Handles one handshake and the tunnel behind it. Calls `closed` when the client socket is closed or about to be. */
export function handleWebSocket(
  context: IngressContext,
  connection: Connection,
  request: RequestHead,
  early: Buffer,
  closed: () => void,
): { readonly close: (closedBy: ClosedBy) => void } {
  const { socket: client } = connection;
  const { limits } = context.settings;
  const exchange = openExchange(context, connection, "http", request.method);
  const { event, ruleset } = exchange;

  let held = early;
  let stopUpstream = (): void => {};
  let finished = false;
  let tunnelOpen = false;
  let spliced: { readonly close: () => void } | undefined;

  const onData = (chunk: Buffer): void => {
    held = Buffer.concat([held, chunk]);
    if (held.length > limits.helloBytes) client.pause();
  };
  const onGone = (): void => finish("client_aborted", "client");
  client.on("error", onGone);
  client.on("close", onGone);
  client.on("data", onData);

  decide();
  return {
    close: (closedBy) => {
      if (spliced === undefined) return finish("connection_terminated", closedBy);
      event.closedBy = closedBy;
      spliced.close();
    },
  };

  function decide(): void {
    const { rawFields } = request;
    const reading = readHead(request, limits.fields);
    if (reading.kind === "malformed") return refuseHead(reading.detail);
    const target = parseRequestTarget(request.method, request.url);
    if (target.kind === "malformed") return refuseHead(`the request target ${target.detail}`);
    exchange.aim(target.authority);
    event.path = target.path;
    const named = parseAuthority(reading.host ?? "", httpPort);
    if (named === undefined) return refuseHead("the Host field is malformed");
    if (namesInVia(rawFields, context.via)) return fail("proxy_loop_detected", "this proxy stands in Via already");
    if (context.isDraining()) return fail("connection_limit_reached", "the proxy is shutting down");
    const range = parseRange(fieldValues(rawFields, "range")).kind;
    event.rangeKind = range;
    const identity = clientOf(connection, ruleset);
    const facts = {
      kind: "http",
      ...target.authority,
      hostAgrees: sameHost(named.host, target.authority.host) && named.port === target.authority.port,
      listenerAdmits: isAdmitted(connection, ruleset),
      http: { method: request.method, path: target.path, range, websocket: true },
    } as const;
    const verdict = decideTarget(ruleset, identity, facts, context.now());
    exchange.note(verdict);
    if (verdict.kind === "deny") return tell(refusalOfDenial(verdict, event), undefined);
    const onDone = (reached: Reached): void => onReached(verdict, target.authority, target.path, reached);
    stopUpstream = reach(context, verdict.permit, target.authority, onDone).cancel;
  }

  function onReached(allow: Allow, target: Authority, path: string, reached: Reached): void {
    if (reached.kind === "failed") return fail(reached.failure, reached.detail);
    if (reached.kind === "denied") {
      const denial = denyAddress(allow);
      exchange.note(denial);
      return tell(refusalOfDenial(denial, event), undefined);
    }
    exchange.conclude();
    event.dialMs = reached.dialMs;
    event.upstream = reached.destination.address;
    event.upstreamPort = reached.destination.port;
    const fields = forwardedRequestFields(request.rawFields, {
      stripRange: allow.rule?.rule.range === "strip",
      via: `1.1 ${context.via}`,
    });
    const head = { path, host: formatAuthority(target, httpPort), fields };
    stopUpstream = requestUpgrade(reached.socket, head, limits.responseHeadTimeoutMs, {
      onSwitched: (answer, upstream, behind) => onSwitched(allow, answer, upstream, behind),
      onResponse,
      onFailure: fail,
    }).abort;
  }

  function onSwitched(allow: Allow, answer: RawFields, upstream: Socket, behind: Buffer): void {
    detach();
    event.status = 101;
    const fields = forwardedResponseFields(answer, `1.1 ${context.via}`);
    client.write(headBytes("101 Switching Protocols", [...fields, "Connection", "Upgrade", "Upgrade", "websocket"]));
    event.bytesDown += behind.length;
    if (behind.length > 0) client.write(behind);
    event.bytesUp += held.length;
    if (held.length > 0) upstream.write(held);
    tunnelOpen = true;
    context.metrics.tunnelOpened();
    spliced = splice(client, upstream, {
      idleTimeoutMs: allow.rule?.idleTimeoutMs ?? ruleset.defaultIdleTimeoutMs,
      onBytesUp: (bytes) => (event.bytesUp += bytes),
      onBytesDown: (bytes) => (event.bytesDown += bytes),
      done: (end) => settle(end.outcome, event.closedBy ?? end.closedBy),
    });
  }

  /** The origin refused to switch: its answer goes down, delimited by the end of the connection, and that is all. */
  function onResponse(upstream: IncomingMessage): void {
    const reading = judgeResponseHead(upstream);
    if (reading.kind === "malformed") return fail("http_protocol_error", reading.detail);
    event.status = reading.status;
    const fields = forwardedResponseFields(reading.fields, `${upstream.httpVersion} ${context.via}`);
    const phrase = (upstream.statusMessage ?? "").replace(/[^\t\x20-\x7e\x80-\xff]/g, "");
    client.removeListener("data", onData);
    client.write(headBytes(`${reading.status} ${phrase}`, [...fields, "Connection", "close"]));
    const deadline = setTimeout(() => finish("idle_timeout", "idle"), limits.bodyIdleTimeoutMs);
    client.once("close", () => clearTimeout(deadline));
    client.on("drain", () => upstream.resume());
    upstream.on("data", (chunk: Buffer) => {
      deadline.refresh();
      event.bytesDown += chunk.length;
      if (!client.write(chunk)) upstream.pause();
    });
    upstream.on("close", () => {
      if (!upstream.complete) return finish("http_response_incomplete", "upstream");
      detach();
      endAndLinger(client, undefined, closed);
      settleWith("ok", "upstream");
    });
  }

  function refuseHead(detail: string): void {
    exchange.note(denyOutright("bad_request"));
    tell(refusalOfMalformed("bad_request", detail, event), undefined);
  }

  function fail(failure: Failure, detail: string): void {
    tell(refusalOfFailure(failure, detail, event), failure);
  }

  function tell(refusal: Refusal, outcome: Outcome | undefined): void {
    if (finished) return;
    detach();
    event.status = refusal.status;
    refuseSocket(context, client, refusal, fieldValues(request.rawFields, "accept")[0], closed);
    settleWith(outcome, "proxy");
  }

  /** Breaks off: a reset, so that what has been read so far is not taken for the whole. */
  function finish(outcome: Outcome, closedBy: ClosedBy): void {
    if (finished) return;
    detach();
    client.resetAndDestroy();
    settleWith(outcome, closedBy);
    closed();
  }

  function settleWith(outcome: Outcome | undefined, closedBy: ClosedBy): void {
    finished = true;
    stopUpstream();
    exchange.end(outcome, closedBy);
  }

  function settle(outcome: Outcome, closedBy: ClosedBy): void {
    finished = true;
    if (tunnelOpen) context.metrics.tunnelClosed();
    tunnelOpen = false;
    exchange.end(outcome, closedBy);
    closed();
  }

  function detach(): void {
    client.removeListener("data", onData);
    client.removeListener("close", onGone);
  }
}

function headBytes(statusLine: string, fields: RawFields): Buffer {
  const lines = [`HTTP/1.1 ${statusLine}`];
  for (let i = 0; i + 1 < fields.length; i += 2) lines.push(`${fields[i]}: ${fields[i + 1]}`);
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}
