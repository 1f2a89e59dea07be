/**
 * A tunnel, from the CONNECT to the splice:
 *
 *   deciding ──► reaching ──► peeking ──► vetting ──► spliced ──► closed
 *      │ 4xx/403     │ 502/504    │ alert      │ alert
 *
 * - deciding: head, authority and policy. Nothing has left the proxy.
 * - reaching: resolve, admit, dial; then the 200. A client that breaks off cancels it.
 * - peeking (https): the first bytes are read and held until they are one ClientHello; nothing goes upstream.
 * - vetting (https): the ClientHello has gone upstream, and nothing else; what the server answers is held until the
 *   version is known.
 * - spliced: `egress/splice` owns both sockets. Until then this file owns them, and has four ways out: `tell` (a
 *   status), `alert`, `endClient` (a plain end) and `breakOff`.
 * A connection that was redirected here has no CONNECT, and no status to be told: it is peeked at first, its server name
 * is the target, and every denial an alert.
 * Every state before it has a deadline (DNS and dial, hello, hello) and a cap: of what the client sends ahead no more
 * is read than a hello may be long, of what the server answers 20 KiB.
 */
import type { Upstream } from "../egress/inflow.ts";
import { resetSocket } from "../egress/reset.ts";
import { type Splice, spliceUpstream } from "../egress/splice.ts";
import type { Authority } from "../names/authority.ts";
import { decideHello, decideServerHello, denyAddress } from "../policy/decide-hello.ts";
import { tlsName } from "../policy/explain.ts";
import type { Allow, Denial } from "../policy/verdict.ts";
import type { ClosedBy } from "../record/event.ts";
import { namesInVia } from "../wire/fields.ts";
import type { Failure, Malformation, Outcome, Refusal } from "../wire/refusal.ts";
import { holdsHandshake } from "../wire/handshake.ts";
import type { ClientHello } from "../wire/hello.ts";
import { alertBytes, alertOfReason, alerts } from "../wire/tls-alert.ts";
import { type Connection, clientOf, isAdmitted } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright, openExchange } from "./exchange.ts";
import { type ClientFinding, type ServerFinding, peekClientHello, vetServerHello } from "./inspect.ts";
import { endAndLinger } from "./linger.ts";
import { judgeTarget } from "./judge.ts";
import { type Reached, reach } from "./reach.ts";
import { readAhead } from "./read-ahead.ts";
import { readOpening } from "./redirected-hello.ts";
import { refusalOfDenial, refusalOfFailure, refusalOfMalformed, refuseSocket } from "./refuse.ts";
import { type TunnelEntry, noHead, readConnect } from "./tunnel-entry.ts";
import { countHello, endOfSilence, noteHello } from "./tunnel-hello.ts";
import { type Tunnel, createReview } from "./tunnel-review.ts";
import { tunnelWay } from "./tunnel-way.ts";
import { passageFor } from "./through-parent.ts";

const established = Buffer.from("HTTP/1.1 200 Connection Established\r\n\r\n", "latin1");

/**
 * Handles one tunnel. Calls `closed` once, when the client's socket is closed or about to be, and never before this has
 * returned.
 */
export function handleConnect(
  context: IngressContext,
  connection: Connection,
  entry: TunnelEntry,
  closed: () => void,
): Tunnel {
  const { socket: client } = connection;
  const { limits } = context.settings;
  const { request, reading, early } = entry.kind === "head" ? entry : noHead;
  const exchange = openExchange(context, connection, "connect", "CONNECT");
  const { event, ruleset } = exchange;
  const identity = clientOf(connection, ruleset);
  const sent = readAhead(client, early, limits.helloBytes, guard);

  let upstream: Upstream | undefined;
  /** Gives up what is waited for: an address, a connection, a hello. */
  let cancelWait = (): void => {};
  /** Of a redirected client: what it has said, before anything was decided. */
  let heard: ClientHello | undefined;
  let tunnelOpen = false;
  let over = false;
  let spliced: Splice | undefined;
  const standing = createReview(context, connection, exchange, revoke);

  client.on("error", onClientGone);
  client.on("close", onClientGone);
  if (entry.kind === "head") guard(decide);
  else
    cancelWait = peekClientHello(context.deadlines, sent, limits, (finding) =>
      guard(() => onFirstHello(entry.port, finding)),
    ).cancel;
  return { close, review: standing.review };

  /** What a redirected client says first takes the place of a CONNECT. */
  function onFirstHello(port: number, hello: ClientFinding): void {
    if (hello.kind === "nothing") return dismiss();
    const opening = readOpening(hello, port);
    if (opening.kind === "deny") {
      exchange.note(opening);
      countHello(context.metrics, opening, hello);
      return alert(opening);
    }
    heard = opening.hello;
    standing.known.hello = heard;
    noteHello(event, heard);
    exchange.aim(opening.target);
    if (context.ownDials?.made(client) === true)
      return fail("proxy_loop_detected", "this is a connection of the proxy itself");
    judge(opening.target, true);
  }

  function decide(): void {
    const asked = readConnect(request, reading, connection.redirectedPort !== undefined);
    if (asked.target !== undefined) exchange.aim(asked.target);
    if (asked.kind === "malformed") return refuseHead(asked.how, asked.detail);
    judge(asked.target, asked.hostAgrees);
  }

  function judge(target: Authority, hostAgrees: boolean): void {
    const listenerAdmits = isAdmitted(connection, ruleset);
    const facts = { kind: "connect", ...target, hostAgrees, listenerAdmits, http: undefined } as const;
    const verdict = judgeTarget(context, connection, ruleset, facts);
    standing.known.asked = facts;
    exchange.note(verdict);
    if (verdict.kind === "deny") return refuse(verdict);
    if (namesInVia(request.rawFields, context.via)) {
      return fail("proxy_loop_detected", "this proxy stands in Via already");
    }
    const onDone = (reached: Reached<Upstream>): void => guard(() => onReached(verdict, target, reached));
    const passage = passageFor(context.settings.parents, target, request);
    cancelWait = reach(context, verdict.permit, target, tunnelWay, onDone, passage).cancel;
  }

  function onReached(allow: Allow, target: Authority, reached: Reached<Upstream>): void {
    if (reached.kind === "failed") return fail(reached.failure, reached.detail);
    if (reached.kind === "denied") {
      const denial = denyAddress(allow);
      exchange.note(denial);
      return refuse(denial);
    }
    upstream = reached.opened;
    upstream.socket.on("error", onUpstreamGone);
    upstream.socket.on("close", onUpstreamGone);
    event.dialMs = reached.dialMs;
    event.upstream = reached.destination.address;
    event.upstreamPort = reached.destination.port;
    context.metrics.tunnelOpened();
    tunnelOpen = true;
    if (entry.kind === "head") {
      event.status = 200;
      client.write(established);
    }
    if (allow.permit.endpoint?.scheme !== "https") relay(allow, upstream);
    else if (heard === undefined) peek(allow, target, upstream);
    else onHello(allow, target, upstream, heard);
  }

  function peek(allow: Allow, target: Authority, server: Upstream): void {
    const onFinding = (finding: ClientFinding): void => guard(() => onHello(allow, target, server, finding));
    cancelWait = peekClientHello(context.deadlines, sent, limits, onFinding).cancel;
  }

  function onHello(allow: Allow, target: Authority, server: Upstream, hello: ClientFinding): void {
    if (hello.kind === "nothing") return endClient("client_aborted", "client");
    standing.known.hello = hello;
    if (hello.kind === "hello") noteHello(event, hello);
    const verdict = decideHello(ruleset, identity, target, allow, hello, context.now());
    exchange.note(verdict);
    countHello(context.metrics, verdict, hello);
    if (verdict.kind === "deny") return alert(verdict);
    if (hello.kind !== "hello") return relay(verdict, server);
    vet(verdict, target, server, hello.length);
  }

  /** Sends the ClientHello and nothing else, then waits for the version that the server chooses. */
  function vet(allow: Allow, target: Authority, server: Upstream, helloLength: number): void {
    server.socket.write(sent.take(helloLength));
    event.bytesUp += helloLength;
    const pass = (bytes: Buffer): void => {
      event.bytesDown += bytes.length;
      client.write(bytes);
    };
    const onFinding = (finding: ServerFinding): void => guard(() => onAnswer(allow, target, server, finding, pass));
    cancelWait = vetServerHello(context.deadlines, server, limits, guard, pass, onFinding).cancel;
    // A client that leaves now is not waited for: the origin hears of it, and answers or ends its side.
    sent.watch(() => {
      if (sent.ended() && sent.held().length === 0) server.socket.end();
    });
  }

  function onAnswer(
    allow: Allow,
    target: Authority,
    server: Upstream,
    { said, held }: ServerFinding,
    pass: (bytes: Buffer) => void,
  ): void {
    sent.unwatch();
    if (said.kind === "timeout") context.metrics.limitRejected("hello_timeout");
    if (said.kind === "timeout" || said.kind === "ended") {
      const { outcome, closedBy } = endOfSilence(said, sent.ended());
      return endClient(outcome, closedBy);
    }
    // Nobody who has not read a ServerHello has anything to shake hands about: no second ClientHello slips in behind.
    if (holdsHandshake(sent.held())) {
      const second = { kind: "malformed", detail: "a second handshake record" } as const;
      standing.known.hello = second;
      const verdict = decideHello(ruleset, identity, target, allow, second, context.now());
      exchange.note(verdict);
      if (verdict.kind === "deny") return alert(verdict);
    }
    if (said.kind === "hello") event.tls = tlsName(said.version);
    standing.known.answer = said;
    const verdict = decideServerHello(ruleset, identity, allow, said);
    exchange.note(verdict);
    if (verdict.kind === "deny") return alert(verdict);
    pass(held);
    relay(verdict, server);
  }

  /** The tunnel is what it should be, or nobody asks: from here on bytes only flow. */
  function relay(allow: Allow, server: Upstream): void {
    exchange.conclude();
    letGoOfClient();
    letGoOfUpstream();
    const ahead = sent.held();
    if (ahead.length > 0) server.socket.write(ahead);
    event.bytesUp += ahead.length;
    spliced = spliceUpstream(client, server, {
      deadlines: context.deadlines,
      idleTimeoutMs: allow.rule?.idleTimeoutMs ?? ruleset.defaultIdleTimeoutMs,
      onBytesUp: (bytes) => (event.bytesUp += bytes),
      onBytesDown: (bytes) => (event.bytesDown += bytes),
      done: (end) => {
        if (!over) conclude(end.outcome, end.closedBy);
        closed();
      },
    });
    standing.open(spliced);
  }

  function refuseHead(how: Malformation, detail: string): void {
    if (how === "too_many_fields") context.metrics.limitRejected("fields");
    exchange.note(denyOutright("bad_request"));
    tell(refusalOfMalformed(how, detail, event), undefined);
  }

  function refuse(denial: Denial): void {
    if (entry.kind === "sni") alert(denial);
    else tell(refusalOfDenial(denial, event), undefined);
  }

  /** Who was redirected knows of no proxy that could have a status. */
  function fail(failure: Failure, detail: string): void {
    if (entry.kind === "head") return tell(refusalOfFailure(failure, detail, event), failure);
    letGoOfClient();
    endAndLinger(client, alertBytes(alerts.internal_error), closed);
    conclude(failure, "proxy");
  }

  /** It has asked for nothing: there is nothing to record. */
  function dismiss(): void {
    over = true;
    cancelWait();
    letGoOfClient();
    client.destroy();
    queueMicrotask(closed);
  }

  /** Until the 200 a client is told no by a status. It is recorded at once, whatever the client does with it. */
  function tell(refusal: Refusal, outcome: Outcome | undefined): void {
    event.status = refusal.status;
    letGoOfClient();
    refuseSocket(context, client, refusal, request, closed);
    conclude(outcome, "proxy");
  }

  /** After the 200 a denial is a TLS alert; whoever speaks no TLS would not understand one. */
  function alert(denial: Denial): void {
    const description = alertOfReason(denial.reason);
    letGoOfClient();
    endAndLinger(client, description === undefined ? undefined : alertBytes(description), closed);
    conclude(undefined, "proxy");
  }

  /** Nothing more will come: the client may read what it was given. */
  function endClient(outcome: Outcome, closedBy: ClosedBy): void {
    letGoOfClient();
    endAndLinger(client, undefined, closed);
    conclude(outcome, closedBy);
  }

  /** The tunnel is broken, and each end is told what it would have been told without us in between. */
  function breakOff(outcome: Outcome, closedBy: ClosedBy): void {
    if (over) return;
    if (entry.kind === "sni" && heard === undefined) return dismiss();
    letGoOfClient();
    if (closedBy === "upstream") resetSocket(client);
    else client.destroy();
    conclude(outcome, closedBy);
    queueMicrotask(closed);
  }

  /** From outside: a drain whose time is up. It is recorded now: by the time both sockets are closed the log may be, too. */
  function close(closedBy: ClosedBy, outcome: Outcome = "ok"): void {
    if (spliced === undefined) return breakOff(outcome, closedBy);
    spliced.close();
    if (!over) conclude(outcome, closedBy);
  }

  /** From outside: a reload took its rule away. A plain end would claim that this was all. */
  function revoke(): void {
    resetSocket(client);
    if (upstream !== undefined) resetSocket(upstream.socket);
    close("policy");
  }

  function onClientGone(): void {
    breakOff("client_aborted", "client");
  }

  function onUpstreamGone(): void {
    breakOff("connection_terminated", "upstream");
  }

  /** The last step of every way out. */
  function conclude(outcome: Outcome | undefined, closedBy: ClosedBy): void {
    over = true;
    cancelWait();
    standing.over();
    letGoOfUpstream();
    upstream?.socket.destroy();
    if (tunnelOpen) context.metrics.tunnelClosed();
    tunnelOpen = false;
    exchange.end(outcome, closedBy);
  }

  function letGoOfClient(): void {
    sent.stop();
    client.removeListener("error", onClientGone);
    client.removeListener("close", onClientGone);
  }

  /** `dial` has left a listener for errors behind. */
  function letGoOfUpstream(): void {
    upstream?.socket.removeListener("error", onUpstreamGone);
    upstream?.socket.removeListener("close", onUpstreamGone);
  }

  /** The boundary for bugs: this tunnel dies, the process lives. */
  function guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      context.log.problem({ message: "a tunnel failed", error });
      if (over) return;
      if (tunnelOpen) close("proxy", "proxy_internal_error");
      else fail("proxy_internal_error", "this is a fault of the proxy");
    }
  }
}
