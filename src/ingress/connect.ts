/**
 * CONNECT, from the request to the spliced tunnel:
 *
 *   deciding ──► reaching ──► peeking ──► vetting ──► spliced ──► closed
 *      │ 4xx/403     │ 502/504    │ alert      │ alert
 *
 * - deciding: head, authority and policy. Nothing has left the proxy.
 * - reaching: resolve, admit, dial; then the 200. A client that goes away cancels it.
 * - peeking (https): the first bytes are read and held until they are one ClientHello; nothing goes upstream.
 * - vetting (https): the ClientHello has gone upstream, and nothing else; what the server answers is held until the
 *   version is known.
 * - spliced: `egress/splice` owns both sockets. Until then this file owns them, and `close` is the only way out.
 * Every state before it has a deadline (dial, hello, hello) and a cap (hello, 20 KiB).
 */
import type { Socket } from "node:net";
import { splice } from "../egress/splice.ts";
import { type Authority, parseAuthority } from "../names/authority.ts";
import { sameHost } from "../names/hostname.ts";
import { type FinalHello, type FinalServerHello, decideHello, decideServerHello, denyAddress } from "../policy/decide-hello.ts";
import { decideTarget } from "../policy/decide.ts";
import { tlsName } from "../policy/explain.ts";
import type { Allow, Denial } from "../policy/verdict.ts";
import type { ClosedBy } from "../record/event.ts";
import { type SniResult, sniResults } from "../record/metrics-labels.ts";
import { parseClientHello } from "../wire/client-hello.ts";
import type { RecordWalk } from "../wire/handshake.ts";
import { fieldValues, namesInVia } from "../wire/fields.ts";
import type { Failure, Outcome, Refusal } from "../wire/refusal.ts";
import { type RequestHead, readHead } from "../wire/request-head.ts";
import { parseServerHello } from "../wire/server-hello.ts";
import { alertBytes, alertOfReason } from "../wire/tls-alert.ts";
import { type Connection, clientOf, isAdmitted } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright, openExchange } from "./exchange.ts";
import { endAndLinger } from "./linger.ts";
import { type Reached, reach } from "./reach.ts";
import { refusalOfDenial, refusalOfFailure, refusalOfMalformed, refuseSocket } from "./refuse.ts";

const established = Buffer.from("HTTP/1.1 200 Connection Established\r\n\r\n", "latin1");
/** Policy.md, "Expectations": what is held of a server's first flight. */
const serverHelloBytes = 20 * 1024;

/** Handles one CONNECT; `head` is what the client sent behind it. Calls `closed` when the client socket is closed. */
export function handleConnect(
  context: IngressContext,
  connection: Connection,
  request: RequestHead,
  head: Buffer,
  closed: () => void,
): { readonly close: (closedBy: ClosedBy) => void } {
  const { socket: client } = connection;
  const { limits } = context.settings;
  const exchange = openExchange(context, connection, "connect", "CONNECT");
  const { event, ruleset } = exchange;
  const identity = clientOf(connection, ruleset);

  /** What the client has sent and nobody has been given: at most `limits.helloBytes`, then it is paused. */
  let held: Buffer = head;
  let clientEnded = false;
  let upstream: Socket | undefined;
  let cancelReach = (): void => {};
  let deadline: NodeJS.Timeout | undefined;
  let onHeld = (): void => {};
  let finished = false;
  let tunnelOpen = false;
  let spliced: { readonly close: () => void } | undefined;

  const onData = (chunk: Buffer): void => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    if (held.length > limits.helloBytes) client.pause();
    onHeld();
  };
  const onEnd = (): void => {
    clientEnded = true;
    onHeld();
  };
  const onGone = (): void => finish("client_aborted", "client");
  client.on("error", onGone);
  client.on("close", onGone);
  client.on("end", onEnd);
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
    const reading = readHead(request, limits.fields);
    if (reading.kind === "malformed") return refuseHead(reading.problem, reading.detail);
    const target = parseAuthority(request.url);
    if (target === undefined) return refuseHead("bad_request", "CONNECT needs host:port, spelled canonically");
    exchange.aim(target);
    const named = reading.host === undefined ? target : parseAuthority(reading.host, target.port);
    if (named === undefined) return refuseHead("bad_request", "the Host field is malformed");
    if (namesInVia(request.rawFields, context.via)) return fail("proxy_loop_detected", "this proxy stands in Via already");
    if (context.isDraining()) return fail("connection_limit_reached", "the proxy is shutting down");
    const hostAgrees = sameHost(named.host, target.host);
    const listenerAdmits = isAdmitted(connection, ruleset);
    const facts = { kind: "connect", ...target, hostAgrees, listenerAdmits, http: undefined } as const;
    const sampled = context.metrics.sampleDecision();
    const startedAt = sampled ? performance.now() : 0;
    const verdict = decideTarget(ruleset, identity, facts, context.now());
    if (sampled) context.metrics.observeDecision((performance.now() - startedAt) / 1000);
    exchange.note(verdict);
    if (verdict.kind === "deny") return refuse(verdict);
    cancelReach = reach(context, verdict.permit, target, (reached) => onReached(verdict, target, reached)).cancel;
  }

  function onReached(allow: Allow, target: Authority, reached: Reached): void {
    if (reached.kind === "failed") return fail(reached.failure, reached.detail);
    if (reached.kind === "denied") {
      const denial = denyAddress(allow);
      exchange.note(denial);
      return refuse(denial);
    }
    upstream = reached.socket;
    upstream.on("error", onUpstreamGone);
    upstream.on("close", onUpstreamGone);
    event.dialMs = reached.dialMs;
    event.upstream = reached.destination.address;
    event.upstreamPort = reached.destination.port;
    event.status = 200;
    client.write(established);
    tunnelOpen = true;
    context.metrics.tunnelOpened();
    if (allow.permit.endpoint?.scheme === "https") return peek(allow, target);
    relay(allow);
  }

  function peek(allow: Allow, target: Authority): void {
    deadline = setTimeout(() => onHello(allow, target, { kind: "timeout" }), limits.helloTimeoutMs);
    let walk: RecordWalk | undefined;
    onHeld = () => {
      const reading = parseClientHello(held, limits.helloBytes, walk);
      if (reading.kind !== "incomplete") return onHello(allow, target, reading);
      walk = reading.walk;
      if (!clientEnded) return;
      // Nothing said and gone: a port check, no broken rule.
      if (held.length === 0) return finish("client_aborted", "client");
      onHello(allow, target, { kind: "malformed", detail: "truncated" });
    };
    onHeld();
  }

  function onHello(allow: Allow, target: Authority, hello: FinalHello): void {
    onHeld = () => {};
    clearTimeout(deadline);
    if (hello.kind === "hello") {
      event.sni = hello.serverName ?? undefined;
      event.tls = tlsName(hello.maxVersion);
      event.alpn = hello.alpn[0];
      event.ech = hello.ech;
    }
    const verdict = decideHello(ruleset, identity, target, allow, hello, context.now());
    exchange.note(verdict);
    context.metrics.sniInspected(inspectionOf(verdict, hello));
    if (verdict.kind === "deny") return alert(verdict);
    if (hello.kind !== "hello") return relay(verdict);
    vet(verdict, hello.length);
  }

  /** Sends the ClientHello and nothing else, then waits for the version that the server chose. */
  function vet(allow: Allow, helloLength: number): void {
    if (upstream === undefined) return;
    const server = upstream;
    let answer: Buffer = Buffer.alloc(0);
    let passed = 0;
    client.pause();
    server.write(held.subarray(0, helloLength));
    event.bytesUp += helloLength;
    held = held.subarray(helloLength);
    deadline = setTimeout(() => finish("connection_timeout", "proxy"), limits.helloTimeoutMs);
    const onAnswer = (chunk: Buffer): void => {
      answer = answer.length === 0 ? chunk : Buffer.concat([answer, chunk]);
      const reading = parseServerHello(answer, serverHelloBytes);
      if (reading.kind !== "incomplete") return judge(reading);
      if (reading.pass > passed) client.write(answer.subarray(passed, reading.pass));
      passed = Math.max(passed, reading.pass);
    };
    const onAnswerEnd = (): void => {
      // Alerts may end a handshake cleanly; a flight that breaks off in mid-record may not pass for one.
      if (answer.length === passed) return endClient("connection_terminated", "upstream");
      judge({ kind: "malformed", detail: "truncated" });
    };
    const judge = (reading: FinalServerHello): void => {
      clearTimeout(deadline);
      server.removeListener("data", onAnswer);
      server.removeListener("end", onAnswerEnd);
      server.pause();
      if (reading.kind === "hello") event.tls = tlsName(reading.version);
      const verdict = decideServerHello(ruleset, identity, allow, reading);
      exchange.note(verdict);
      if (verdict.kind === "deny") return alert(verdict);
      const rest = answer.subarray(passed);
      event.bytesDown += rest.length;
      client.write(rest);
      if (server.readableEnded) client.end();
      relay(verdict);
    };
    server.on("data", onAnswer);
    server.on("end", onAnswerEnd);
    server.resume();
  }

  /** The tunnel is what it should be, or nobody asks: from here on bytes only flow. */
  function relay(allow: Allow): void {
    if (upstream === undefined) return;
    clearTimeout(deadline);
    exchange.conclude();
    detach();
    if (held.length > 0) {
      event.bytesUp += held.length;
      upstream.write(held);
      held = Buffer.alloc(0);
    }
    upstream.removeListener("error", onUpstreamGone);
    upstream.removeListener("close", onUpstreamGone);
    spliced = splice(client, upstream, {
      idleTimeoutMs: allow.rule?.idleTimeoutMs ?? ruleset.defaultIdleTimeoutMs,
      onBytesUp: (bytes) => (event.bytesUp += bytes),
      onBytesDown: (bytes) => (event.bytesDown += bytes),
      done: (end) => settle(end.outcome, event.closedBy ?? end.closedBy),
    });
  }

  function refuseHead(how: Parameters<typeof refusalOfMalformed>[0], detail: string): void {
    exchange.note(denyOutright("bad_request"));
    write(refusalOfMalformed(how, detail, event));
    settleLater("proxy");
  }

  function refuse(denial: Denial): void {
    write(refusalOfDenial(denial, event));
    settleLater("proxy");
  }

  function fail(failure: Failure, detail: string): void {
    write(refusalOfFailure(failure, detail, event));
    settleLater("proxy", failure);
  }

  function write(refusal: Refusal): void {
    event.status = refusal.status;
    detach();
    refuseSocket(context, client, refusal, fieldValues(request.rawFields, "accept")[0], closed);
  }

  /** After the 200 a denial is a TLS alert; whoever speaks no TLS would not understand one. */
  function alert(denial: Denial): void {
    const description = alertOfReason(denial.reason);
    dropUpstream();
    detach();
    endAndLinger(client, description === undefined ? undefined : alertBytes(description), closed);
    settleLater("proxy");
  }

  /** A denial is told at once, whatever the client does with it. */
  function settleLater(closedBy: ClosedBy, outcome?: Outcome): void {
    finished = true;
    clearTimeout(deadline);
    cancelReach();
    dropUpstream();
    closeTunnel();
    exchange.end(outcome, closedBy);
  }

  function onUpstreamGone(): void {
    // A FIN after the last byte is for `vet` to judge; here the connection broke.
    if (upstream?.readableEnded === true && !upstream.errored) return;
    finish("connection_terminated", "upstream");
  }

  function endClient(outcome: Outcome, closedBy: ClosedBy): void {
    detach();
    endAndLinger(client, undefined, closed);
    settleLater(closedBy, outcome);
  }

  function finish(outcome: Outcome, closedBy: ClosedBy): void {
    if (finished) return;
    detach();
    client.destroy();
    settleLater(closedBy, outcome);
    closed();
  }

  function settle(outcome: Outcome, closedBy: ClosedBy): void {
    finished = true;
    closeTunnel();
    exchange.end(outcome, closedBy);
    closed();
  }

  function closeTunnel(): void {
    if (tunnelOpen) context.metrics.tunnelClosed();
    tunnelOpen = false;
  }

  function dropUpstream(): void {
    upstream?.removeListener("close", onUpstreamGone);
    upstream?.destroy();
  }

  function detach(): void {
    onHeld = () => {};
    clearTimeout(deadline);
    client.removeListener("data", onData);
    client.removeListener("end", onEnd);
    client.removeListener("close", onGone);
  }
}

/** The label of `sni_inspections_total`: what was found, whether or not report mode let it pass. */
function inspectionOf(verdict: Allow | Denial, hello: FinalHello): SniResult {
  const denial = verdict.kind === "deny" ? verdict : verdict.would;
  const found = sniResults.find((result) => result === denial?.reason);
  if (found !== undefined) return found;
  if (hello.kind !== "hello" || hello.serverName === null) return "ok_no_sni";
  return hello.ech ? "ok_ech" : "ok";
}
