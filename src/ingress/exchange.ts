/** The record of one exchange while it runs: verdicts and endings are noted here, once each, and told to log and metrics. */
import { formatHost } from "../names/hostname.ts";
import type { Authority } from "../names/authority.ts";
import { groupName } from "../identity/groups.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { Denial, DenialReason, Verdict } from "../policy/verdict.ts";
import { denialId } from "../record/denial-id.ts";
import { sightingOf } from "../record/denial-sighting.ts";
import type { ClosedBy, Exchange } from "../record/event.ts";
import type { Outcome } from "../wire/refusal.ts";
import { type Connection, clientOf } from "./connection.ts";
import type { IngressContext } from "./context.ts";

export type OpenExchange = {
  readonly event: Exchange;
  readonly ruleset: Ruleset;
  /** Notes what was asked for, once it is known. */
  readonly aim: (target: Authority) => void;
  /** Notes a verdict; the last one before `conclude` counts. Gives a denial its id. */
  readonly note: (verdict: Verdict) => void;
  /** The verdict is final: counts it. */
  readonly conclude: () => void;
  /** The exchange is over: logs it. Concludes it where that has not been done. */
  readonly end: (outcome: Outcome | undefined, closedBy: ClosedBy | undefined) => void;
};

let counter = 0;

/** Opens the record of an exchange that begins now. */
export function openExchange(
  context: IngressContext,
  connection: Connection,
  kind: Exchange["kind"],
  method: string,
): OpenExchange {
  const ruleset = context.ruleset();
  const startedAtMs = context.now();
  counter = (counter + 1) % Number.MAX_SAFE_INTEGER;
  const event: Exchange = {
    id: `${startedAtMs.toString(36)}-${context.instance}${counter.toString(36)}`,
    startedAtMs,
    listener: connection.listener,
    clientAddress: connection.address.text,
    group: groupName(ruleset.groups, clientOf(connection, ruleset)),
    method,
    kind,
    host: "",
    port: 0,
    path: "",
    scheme: undefined,
    verdict: "allow",
    reason: "allowed",
    would: false,
    mode: "enforce",
    stage: "request",
    rule: undefined,
    nearest: undefined,
    denial: undefined,
    policy: ruleset.hash,
    sni: undefined,
    tls: undefined,
    alpn: undefined,
    ech: false,
    range: undefined,
    rangeKind: "none",
    status: 0,
    outcome: undefined,
    bytesUp: 0,
    bytesDown: 0,
    dialMs: undefined,
    durationMs: 0,
    upstream: undefined,
    upstreamPort: 0,
    closedBy: undefined,
  };
  return new Recording(context, ruleset, event);
}

class Recording implements OpenExchange {
  readonly #context: IngressContext;
  readonly ruleset: Ruleset;
  readonly event: Exchange;
  readonly #startedAt = performance.now();
  #concluded = false;
  #ended = false;

  constructor(context: IngressContext, ruleset: Ruleset, event: Exchange) {
    this.#context = context;
    this.ruleset = ruleset;
    this.event = event;
  }

  aim(target: Authority): void {
    this.event.host = formatHost(target.host);
    this.event.port = target.port;
  }

  note(verdict: Verdict): void {
    const { event } = this;
    event.verdict = verdict.kind;
    event.mode = verdict.mode;
    event.rule = verdict.rule?.fullId;
    event.would = verdict.kind === "allow" && verdict.would !== undefined;
    if (verdict.kind === "deny") describe(event, verdict);
    else if (verdict.would !== undefined) describe(event, verdict.would);
    if (verdict.kind === "allow") event.scheme = verdict.permit.endpoint?.scheme;
  }

  conclude(): void {
    if (this.#concluded) return;
    this.#concluded = true;
    const { metrics, now, onDenial } = this.#context;
    metrics.recordDecision(this.event);
    const sighting = sightingOf(this.event, now());
    if (sighting !== undefined) onDenial(sighting);
  }

  end(outcome: Outcome | undefined, closedBy: ClosedBy | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.conclude();
    const { event } = this;
    event.outcome = event.verdict === "deny" ? undefined : outcome;
    event.closedBy = closedBy;
    event.durationMs = performance.now() - this.#startedAt;
    this.#context.metrics.recordEnd(event);
    this.#context.log.exchange(event);
  }
}

function describe(event: Exchange, denial: Denial): void {
  event.reason = denial.reason;
  event.stage = denial.stage;
  event.nearest = denial.nearest?.fullId;
  const { host, port, kind: protocol, sni, group } = event;
  event.denial = denialId({ host, port, protocol, sni, reason: denial.reason, group });
}

/** A denial that no rule decided. */
export function denyOutright(reason: DenialReason): Denial {
  return { kind: "deny", reason, stage: "request", rule: undefined, nearest: undefined, mode: "enforce" };
}
