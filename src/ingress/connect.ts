/**
 * A tunnel, from the CONNECT to the splice:
 *
 *   deciding ──► reaching ──► peeking ──► vetting ──► spliced ──► closed
 *      │ 4xx/403     │ 502/504    │ alert      │ alert
 *
 * - deciding: head, authority and policy. Nothing has left the proxy.
 * - reaching: resolve, admit, dial; then the 200. A client that breaks off cancels it.
 * - peeking (https): the first bytes are read and held until they are one ClientHello; nothing goes upstream. What the
 *   server says by then is held as well.
 * - vetting (https): the ClientHello has gone upstream, and nothing else; what the server answers is held until the
 *   version is known.
 * - spliced: `egress/splice` owns both sockets. Until then the tunnel owns them, and its ways out are those of
 *   `tunnel-ending`.
 * A connection that was redirected here has no CONNECT, and no status to be told: it is peeked at first, its server name
 * is the target, and every denial an alert.
 * Every state before it has a deadline (DNS and dial, hello, hello) and a cap: of what the client sends ahead no more
 * is read than a hello may be long, of what the server answers 20 KiB.
 */
import type { Socket } from "node:net";
import type { Upstream } from "../egress/inflow.ts";
import { isReset } from "../egress/reset.ts";
import { type SocketOwner, own, ownInflow } from "../egress/socket-owner.ts";
import { type Splice, spliceUpstream } from "../egress/splice.ts";
import type { Authority } from "../names/authority.ts";
import { type FinalHello, decideHello, decideServerHello, denyAddress } from "../policy/decide-hello.ts";
import { tlsName } from "../policy/explain.ts";
import type { Allow, Verdict } from "../policy/verdict.ts";
import type { ClosedBy } from "../record/event.ts";
import { namesInVia } from "../wire/fields.ts";
import type { Outcome } from "../wire/refusal.ts";
import { holdsHandshake } from "../wire/handshake.ts";
import type { ClientHello } from "../wire/hello.ts";
import type { RequestHead } from "../wire/request-head.ts";
import { type Connection, clientOf, isAdmitted } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { type OpenExchange, openExchange } from "./exchange.ts";
import { type ClientFinding, type ServerFinding, hearServer, peekClientHello, vetServerHello } from "./inspect.ts";
import { judgeTarget } from "./judge.ts";
import { type Reached, reachAtOnce } from "./reach.ts";
import { type FedAhead, feedAhead, takeAll } from "./read-ahead.ts";
import { readOpening } from "./redirected-hello.ts";
import { TunnelEnding } from "./tunnel-ending.ts";
import { type TunnelEntry, noHead, readConnect } from "./tunnel-entry.ts";
import { countHello, endOfSilence, noteHello } from "./tunnel-hello.ts";
import { type Review, type Tunnel, createReview } from "./tunnel-review.ts";
import { tunnelWay } from "./tunnel-way.ts";
import { passageFor } from "./through-parent.ts";

const established = Buffer.from("HTTP/1.1 200 Connection Established\r\n\r\n", "latin1");

/** Handles one tunnel. Calls `closed` once, when the client's socket is closed or about to be. */
export function handleConnect(
  context: IngressContext,
  connection: Connection,
  entry: TunnelEntry,
  closed: () => void,
): Tunnel {
  const tunnel = new ConnectTunnel(context, connection, entry, closed);
  tunnel.start(entry);
  return tunnel;
}

/** One object for each tunnel, since there are thousands a second and hours of each. */
class ConnectTunnel implements Tunnel, SocketOwner {
  readonly #context: IngressContext;
  readonly #connection: Connection;
  readonly #client: Socket;
  readonly #closed: () => void;
  readonly #exchange: OpenExchange;
  readonly #sent: FedAhead;
  readonly #standing: Review;
  readonly #guarded = (step: () => void): void => this.#guard(step);
  readonly #ending: TunnelEnding;
  /** What is waited for: an address, a connection, a hello. */
  #waiting: { readonly cancel: () => void } | undefined;
  /** What the server of an https tunnel has said and nobody has passed on. */
  #answered: FedAhead | undefined;
  /** Of a redirected client: what it has said, before anything was decided. */
  #heard: ClientHello | undefined;
  #spliced: Splice | undefined;

  constructor(context: IngressContext, connection: Connection, entry: TunnelEntry, closed: () => void) {
    this.#context = context;
    this.#connection = connection;
    this.#client = connection.socket;
    this.#exchange = openExchange(context, connection, "connect", "CONNECT");
    const early = entry.kind === "head" ? entry.early : noHead.early;
    this.#sent = feedAhead(early, this.#client.readableEnded, this.#guarded);
    this.#closed = closed;
    this.#ending = new TunnelEnding(context, connection, entry, this.#exchange, () => this.#letGo(), closed);
    this.#standing = createReview(context, connection, this.#exchange, () => this.#revoke());
  }

  start(entry: TunnelEntry): void {
    const { deadlines, settings } = this.#context;
    own(this.#client, this);
    if (this.#client.isPaused()) this.#client.resume();
    if (entry.kind === "head") this.#guard(() => this.#decide(entry));
    else {
      const onFinding = (finding: ClientFinding): void => this.#guard(() => this.#onFirstHello(entry.port, finding));
      this.#waiting = peekClientHello(deadlines, this.#sent, settings.limits, onFinding);
    }
  }

  /** From outside: a drain whose time is up. It is recorded now: by the time both sockets are closed the log may be, too. */
  close(closedBy: ClosedBy): void {
    this.#closeWith(closedBy, "ok");
  }

  review(): boolean {
    return this.#standing.review();
  }

  /** Of the client: what an upstream says comes through its inflow. Paused before anybody looks, who may hand it on. */
  onData(client: Socket, chunk: Buffer): void {
    if (this.#sent.held().length + chunk.length >= this.#context.settings.limits.helloBytes) client.pause();
    this.#sent.feed(chunk);
  }

  onEnd(from: Socket): void {
    if (isReset(from)) return;
    if (from === this.#client) this.#sent.end();
    else this.#answered?.end();
  }

  onDrain(): void {}

  onError(from: Socket): void {
    if (from === this.#client) this.#breakOff("client_aborted", "client");
    else this.#breakOff("connection_terminated", "upstream");
  }

  onClose(from: Socket): void {
    this.onError(from);
  }

  /** What a redirected client says first takes the place of a CONNECT. */
  #onFirstHello(port: number, hello: ClientFinding): void {
    if (hello.kind === "nothing") return this.#ending.dismiss();
    const opening = readOpening(hello, port);
    if (opening.kind === "deny") {
      this.#exchange.note(opening);
      countHello(this.#context.metrics, opening, hello);
      return this.#ending.alert(opening);
    }
    this.#heard = opening.hello;
    this.#standing.known.hello = opening.hello;
    noteHello(this.#exchange.event, opening.hello);
    this.#exchange.aim(opening.target);
    if (this.#context.ownDials?.made(this.#client) === true)
      return this.#ending.fail("proxy_loop_detected", "this is a connection of the proxy itself");
    this.#judge(opening.target, true, noHead.request);
  }

  #decide({ request, reading }: HeadEntry): void {
    const asked = readConnect(request, reading, this.#connection.redirectedPort !== undefined);
    if (asked.target !== undefined) this.#exchange.aim(asked.target);
    if (asked.kind === "malformed") return this.#ending.refuseHead(asked.how, asked.detail);
    this.#judge(asked.target, asked.hostAgrees, request);
  }

  #judge(target: Authority, hostAgrees: boolean, request: RequestHead): void {
    const { host, port } = target;
    const { ruleset } = this.#exchange;
    const listenerAdmits = isAdmitted(this.#connection, ruleset);
    const facts = { kind: "connect", host, port, hostAgrees, listenerAdmits, http: undefined } as const;
    const verdict = judgeTarget(this.#context, this.#connection, ruleset, facts);
    this.#standing.known.asked = facts;
    this.#exchange.note(verdict);
    if (verdict.kind === "deny") return this.#ending.refuse(verdict);
    if (namesInVia(request.rawFields, this.#context.via))
      return this.#ending.fail("proxy_loop_detected", "this proxy stands in Via already");
    const onDone = (reached: Reached<Upstream>): void => this.#guard(() => this.#onReached(verdict, target, reached));
    const passage = passageFor(this.#context.settings.parents, target, request);
    const reaching = reachAtOnce(this.#context, {
      permit: verdict.permit,
      target,
      way: tunnelWay,
      passage,
      done: onDone,
    });
    if (!this.#ending.isOver) this.#waiting = reaching;
  }

  #onReached(allow: Allow, target: Authority, reached: Reached<Upstream>): void {
    if (reached.kind === "failed") return this.#ending.fail(reached.failure, reached.detail);
    if (reached.kind === "denied") {
      const denial = denyAddress(allow);
      this.#exchange.note(denial);
      return this.#ending.refuse(denial);
    }
    const { event } = this.#exchange;
    const upstream = reached.opened;
    ownInflow(upstream.socket, this);
    event.dialMs = reached.dialMs;
    event.upstream = reached.destination.address;
    event.upstreamPort = reached.destination.port;
    this.#ending.open(upstream);
    if (!this.#ending.isRedirected) {
      event.status = 200;
      this.#client.write(established);
    }
    if (allow.permit.endpoint?.scheme !== "https") this.#relay(allow, upstream, none);
    else {
      this.#answered = hearServer(upstream, this.#guarded);
      if (this.#heard === undefined) this.#peek(allow, target, upstream, this.#answered);
      else this.#onHello(allow, target, upstream, this.#answered, this.#heard);
    }
  }

  #peek(allow: Allow, target: Authority, server: Upstream, answered: FedAhead): void {
    const { deadlines, settings } = this.#context;
    const onFinding = (found: ClientFinding): void =>
      this.#guard(() => this.#onHello(allow, target, server, answered, found));
    this.#waiting = peekClientHello(deadlines, this.#sent, settings.limits, onFinding);
  }

  #onHello(allow: Allow, target: Authority, server: Upstream, answered: FedAhead, hello: ClientFinding): void {
    if (hello.kind === "nothing") return this.#ending.endClient("client_aborted", "client");
    this.#standing.known.hello = hello;
    if (hello.kind === "hello") noteHello(this.#exchange.event, hello);
    const verdict = this.#judgeHello(allow, target, hello);
    countHello(this.#context.metrics, verdict, hello);
    if (verdict.kind === "deny") return this.#ending.alert(verdict);
    if (hello.kind !== "hello") return this.#relay(verdict, server, takeAll(answered));
    this.#vetServer(verdict, target, server, answered, hello.length);
  }

  #judgeHello(allow: Allow, target: Authority, hello: FinalHello): Verdict {
    const { ruleset } = this.#exchange;
    const verdict = decideHello(
      ruleset,
      clientOf(this.#connection, ruleset),
      target,
      allow,
      hello,
      this.#context.now(),
    );
    this.#exchange.note(verdict);
    return verdict;
  }

  /** Sends the ClientHello and nothing else, then waits for the version that the server chooses. */
  #vetServer(allow: Allow, target: Authority, server: Upstream, answered: FedAhead, helloLength: number): void {
    const { event } = this.#exchange;
    const { deadlines, settings } = this.#context;
    server.socket.write(this.#sent.take(helloLength));
    event.bytesUp += helloLength;
    const pass = (bytes: Buffer): void => this.#passDown(bytes);
    const onFinding = (finding: ServerFinding): void =>
      this.#guard(() => this.#onAnswer(allow, target, server, finding));
    this.#waiting = vetServerHello(deadlines, answered, settings.limits, pass, onFinding);
    // A client that leaves now is not waited for: the origin hears of it, and answers or ends its side.
    this.#sent.watch(() => {
      if (this.#sent.ended() && this.#sent.held().length === 0) server.socket.end();
    });
  }

  #passDown(bytes: Buffer): void {
    this.#exchange.event.bytesDown += bytes.length;
    this.#client.write(bytes);
  }

  #onAnswer(allow: Allow, target: Authority, server: Upstream, { said, held }: ServerFinding): void {
    this.#sent.unwatch();
    if (said.kind === "timeout") this.#context.metrics.limitRejected("hello_timeout");
    if (said.kind === "timeout" || said.kind === "ended") {
      const { outcome, closedBy } = endOfSilence(said, this.#sent.ended());
      return this.#ending.endClient(outcome, closedBy);
    }
    // Nobody who has not read a ServerHello has anything to shake hands about: no second ClientHello slips in behind.
    if (holdsHandshake(this.#sent.held())) {
      const second = { kind: "malformed", detail: "a second handshake record" } as const;
      this.#standing.known.hello = second;
      const verdict = this.#judgeHello(allow, target, second);
      if (verdict.kind === "deny") return this.#ending.alert(verdict);
    }
    const { event, ruleset } = this.#exchange;
    if (said.kind === "hello") event.tls = tlsName(said.version);
    this.#standing.known.answer = said;
    const verdict = decideServerHello(ruleset, clientOf(this.#connection, ruleset), allow, said);
    this.#exchange.note(verdict);
    if (verdict.kind === "deny") return this.#ending.alert(verdict);
    this.#relay(verdict, server, held);
  }

  /** The tunnel is what it should be, or nobody asks: from here on bytes only flow, `answer` before all others. */
  #relay(allow: Allow, server: Upstream, answer: Buffer): void {
    this.#exchange.conclude();
    // It may be open for hours: what led here is not kept.
    this.#waiting = undefined;
    this.#answered = undefined;
    if (this.#standing.isOver()) return this.#revoke();
    const { event, ruleset } = this.#exchange;
    if (answer.length > 0) this.#passDown(answer);
    this.#sent.unwatch();
    const ahead = takeAll(this.#sent);
    if (ahead.length > 0) server.socket.write(ahead);
    event.bytesUp += ahead.length;
    this.#spliced = spliceUpstream(this.#client, server, {
      deadlines: this.#context.deadlines,
      idleTimeoutMs: allow.rule?.idleTimeoutMs ?? ruleset.defaultIdleTimeoutMs,
      tally: event,
      done: (end) => {
        this.#ending.conclude(end.outcome, end.closedBy);
        this.#closed();
      },
    });
    this.#standing.open(this.#spliced);
  }

  #breakOff(outcome: Outcome, closedBy: ClosedBy): void {
    if (this.#ending.isRedirected && this.#heard === undefined) this.#ending.dismiss();
    else this.#ending.breakOff(outcome, closedBy);
  }

  #closeWith(closedBy: ClosedBy, outcome: Outcome): void {
    if (this.#spliced === undefined) return this.#breakOff(outcome, closedBy);
    this.#spliced.close();
    this.#ending.conclude(outcome, closedBy);
  }

  /** A reload took its rule away. */
  #revoke(): void {
    this.#ending.reset();
    this.#closeWith("policy", "ok");
  }

  #letGo(): void {
    this.#waiting?.cancel();
    this.#sent.unwatch();
    this.#standing.over();
  }

  /** The boundary for bugs: this tunnel dies, the process lives. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#context.log.problem({ message: "a tunnel failed", error });
      if (this.#ending.isOver) return;
      if (this.#ending.isOpen) this.#closeWith("proxy", "proxy_internal_error");
      else this.#ending.fail("proxy_internal_error", "this is a fault of the proxy");
    }
  }
}

type HeadEntry = Extract<TunnelEntry, { readonly kind: "head" }>;

const none = Buffer.alloc(0);
