/**
 * The ways out of a tunnel that is not spliced yet, and the last step of all of them. Each ends the client's side in the
 * way in which it is told most, records the exchange at once, and tells `closed` when the client's socket is closed, or
 * about to be.
 */
import type { Upstream } from "../egress/inflow.ts";
import { resetSocket } from "../egress/reset.ts";
import { disown } from "../egress/socket-owner.ts";
import type { Denial } from "../policy/verdict.ts";
import type { ClosedBy } from "../record/event.ts";
import type { Failure, Malformation, Outcome, Refusal } from "../wire/refusal.ts";
import type { RequestHead } from "../wire/request-head.ts";
import { alertBytes, alertOfReason, alerts } from "../wire/tls-alert.ts";
import type { Connection } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { type OpenExchange, denyOutright } from "./exchange.ts";
import { endAndLinger } from "./linger.ts";
import { refusalOfDenial, refusalOfFailure, refusalOfMalformed, refuseSocket } from "./refuse.ts";
import type { TunnelEntry } from "./tunnel-entry.ts";

export class TunnelEnding {
  readonly #context: IngressContext;
  readonly #client: Connection["socket"];
  /** It knows of no proxy, so that it can be told nothing but an alert. */
  readonly isRedirected: boolean;
  /** What a refusal answers; undefined where it cannot be one any more. */
  #request: RequestHead | undefined;
  readonly #exchange: OpenExchange;
  readonly #letGo: () => void;
  readonly #closed: () => void;
  #upstream: Upstream | undefined;
  #isOpen = false;
  #isOver = false;

  /** `letGo` gives up all that the tunnel waits for. */
  constructor(
    context: IngressContext,
    { socket }: Connection,
    entry: TunnelEntry,
    exchange: OpenExchange,
    letGo: () => void,
    closed: () => void,
  ) {
    this.#context = context;
    this.#client = socket;
    this.isRedirected = entry.kind === "sni";
    if (entry.kind === "head") this.#request = entry.request;
    this.#exchange = exchange;
    this.#letGo = letGo;
    this.#closed = closed;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** True from the 200 on: no status can be told any more. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The upstream is connected: the tunnel counts as open, and takes it along. */
  open(upstream: Upstream): void {
    this.#upstream = upstream;
    this.#context.metrics.tunnelOpened();
    this.#isOpen = true;
    this.#request = undefined;
  }

  refuseHead(how: Malformation, detail: string): void {
    if (how === "too_many_fields") this.#context.metrics.limitRejected("fields");
    this.#exchange.note(denyOutright("bad_request"));
    this.#tell(refusalOfMalformed(how, detail, this.#exchange.event), undefined);
  }

  refuse(denial: Denial): void {
    if (this.isRedirected) this.alert(denial);
    else this.#tell(refusalOfDenial(denial, this.#exchange.event), undefined);
  }

  fail(failure: Failure, detail: string): void {
    if (!this.isRedirected) return this.#tell(refusalOfFailure(failure, detail, this.#exchange.event), failure);
    endAndLinger(this.#client, alertBytes(alerts.internal_error), this.#closed);
    this.conclude(failure, "proxy");
  }

  /** After the 200 a denial is a TLS alert; whoever speaks no TLS would not understand one. */
  alert(denial: Denial): void {
    const description = alertOfReason(denial.reason);
    endAndLinger(this.#client, description === undefined ? undefined : alertBytes(description), this.#closed);
    this.conclude(undefined, "proxy");
  }

  /** Nothing more will come: the client may read what it was given. */
  endClient(outcome: Outcome, closedBy: ClosedBy): void {
    endAndLinger(this.#client, undefined, this.#closed);
    this.conclude(outcome, closedBy);
  }

  /** The tunnel is broken, and each end is told what it would have been told without us in between. */
  breakOff(outcome: Outcome, closedBy: ClosedBy): void {
    if (this.#isOver) return;
    disown(this.#client);
    if (closedBy === "upstream") resetSocket(this.#client);
    else this.#client.destroy();
    // Of a client that was cut off in what it said the origin is not to think that this was all.
    if (this.#upstream !== undefined && this.#exchange.event.bytesUp > 0) resetSocket(this.#upstream.socket);
    this.conclude(outcome, closedBy);
    queueMicrotask(this.#closed);
  }

  /** It has asked for nothing: there is nothing to record. */
  dismiss(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#letGo();
    disown(this.#client);
    this.#client.destroy();
    queueMicrotask(this.#closed);
  }

  /** Both ends are reset: a plain end would claim that this was all. */
  reset(): void {
    resetSocket(this.#client);
    if (this.#upstream !== undefined) resetSocket(this.#upstream.socket);
  }

  /** The last step of every way out. */
  conclude(outcome: Outcome | undefined, closedBy: ClosedBy): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#letGo();
    this.#upstream?.socket.destroy();
    if (this.#isOpen) this.#context.metrics.tunnelClosed();
    this.#exchange.end(outcome, closedBy);
  }

  /** Until the 200 a client is told no by a status. It is recorded at once, whatever the client does with it. */
  #tell(refusal: Refusal, outcome: Outcome | undefined): void {
    this.#exchange.event.status = refusal.status;
    refuseSocket(this.#context, this.#client, refusal, this.#request, this.#closed);
    this.conclude(outcome, "proxy");
  }
}
