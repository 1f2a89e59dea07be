/** What Prometheus is told: counts of decisions, tunnels, bytes and faults, under labels that no client can grow. */
import { Registry, collectDefaultMetrics } from "prom-client";
import type { AddressClass } from "../names/address-class.ts";
import type { CompiledRule } from "../policy/compiled-rule.ts";
import type { Exchange } from "./event.ts";
import type { TopSlot } from "./top-slots.ts";
import {
  type DialResult,
  type DnsResult,
  type LimitName,
  type ReloadResult,
  type SniResult,
  codeClasses,
} from "./metrics-labels.ts";
import { type MetricsSnapshot, totalsOf } from "./metrics-merge.ts";
import { type Gauges, type Tables, createGauges, createTables, maxNamedRules } from "./metrics-series.ts";

export type Metrics = {
  /** Rules that have series of their own, by full id, in order of precedence; call on every load. */
  readonly setRules: (fullIds: readonly string[]) => void;
  /** Groups that have series of their own; `_none` always has. Call on every load. */
  readonly setGroups: (names: readonly string[]) => void;
  /** What queries join to the counts of rules, and when rules end. Rules in order of precedence; call on every load. */
  readonly describeRules: (rules: readonly RuleFacts[]) => void;
  /** Limits on connections as they are in force. Call once they are known. */
  readonly setLimits: (limits: { readonly connections: number; readonly perClient: number }) => void;
  /** Certificates of listeners with TLS. Call once they are known. */
  readonly setCertificates: (
    certificates: readonly { readonly listener: string; readonly expiresAtMs: number }[],
  ) => void;
  /** Counts the decision. Once an exchange, at its final verdict. */
  readonly recordDecision: (exchange: Exchange) => void;
  /** Counts what it came to: status, tunnel, bytes. Once an exchange, when it is over. */
  readonly recordEnd: (exchange: Exchange) => void;
  /** True for one decision in 64: only then is it worth reading a clock. */
  readonly sampleDecision: () => boolean;
  readonly observeDecision: (seconds: number) => void;
  /** `seconds` from the first dial to the connection or its failure. */
  readonly dial: (result: DialResult, seconds: number) => void;
  readonly dnsLookup: (result: DnsResult) => void;
  readonly blockedAddress: (addressClass: AddressClass) => void;
  readonly limitRejected: (limit: LimitName) => void;
  readonly sniInspected: (result: SniResult) => void;
  readonly tunnelOpened: () => void;
  readonly tunnelClosed: () => void;
  /** A policy is in force from `atMs` (since the epoch) on: at start, and at every reload that worked. */
  readonly policyLoaded: (policy: { readonly hash: string; readonly rules: number; readonly atMs: number }) => void;
  readonly reload: (result: ReloadResult) => void;
  /** Whom to name in `top_denials`, asked at each scrape; nobody until this is called. */
  readonly setTopDenials: (slots: () => readonly TopSlot[]) => void;
  readonly logDropped: (lines: number) => void;
  readonly workerRestarted: () => void;
  /** All metrics with their values, for `createMetricsMerge`. */
  readonly snapshot: () => Promise<MetricsSnapshot>;
  /** Only what grows: cheap enough for once a second. */
  readonly totals: () => Promise<MetricsSnapshot>;
  /** All series in Prometheus's text format; askers at the same time share one answer. */
  readonly render: () => Promise<string>;
  /** The Content-Type of that text. */
  readonly contentType: string;
};

/** Of a rule, what may stand in a label or a value. */
export type RuleFacts = Pick<CompiledRule, "fullId" | "fromSite" | "deny" | "expiresAt">;

const sampledDecisions = 64;

/** A registry of its own, with Node's default metrics under their usual names. */
export function createMetrics(build: { readonly version: string; readonly nodeVersion: string }): Metrics {
  const registry = new Registry();
  const tables = createTables(registry);
  const gauges = createGauges(registry);
  gauges.build.set({ version: build.version, node: build.nodeVersion }, 1);
  collectDefaultMetrics({ register: registry });
  let decisions = 0;
  let topSlots: () => readonly TopSlot[] = () => [];
  let rendering: Promise<string> | undefined;
  return {
    setRules: tables.ruleDecisions.setNames,
    setGroups: tables.groupDenials.setNames,
    describeRules: (rules) => describeRules(gauges, rules),
    setLimits({ connections, perClient }) {
      gauges.limit.set({ limit: "connections" }, connections);
      gauges.limit.set({ limit: "per_client" }, perClient);
    },
    setCertificates(certificates) {
      for (const { listener, expiresAtMs } of certificates)
        gauges.certificateExpiry.set({ listener }, expiresAtMs / 1000);
    },
    recordDecision({ verdict, reason, mode, rule, group }) {
      tables.decisions.add(1, verdict, reason, mode);
      if (rule !== undefined) tables.ruleDecisions.add(rule, verdict);
      if (verdict === "deny") tables.groupDenials.add(group, reason);
    },
    recordEnd(exchange) {
      if (exchange.kind === "http") recordRequest(tables, exchange);
      else if (exchange.verdict === "allow" || exchange.stage === "tunnel") {
        tables.tunnels.add(1, tunnelResult(exchange));
      }
      const scheme = exchange.scheme ?? (exchange.kind === "http" ? "http" : "tcp");
      tables.bytes.add(exchange.bytesUp, "up", scheme);
      tables.bytes.add(exchange.bytesDown, "down", scheme);
    },
    sampleDecision: () => decisions++ % sampledDecisions === 0,
    observeDecision: (seconds) => gauges.decisionDuration.observe(seconds),
    dial(result, seconds) {
      tables.dials.add(1, result);
      gauges.dialDuration.observe(seconds);
    },
    dnsLookup: (result) => tables.dnsLookups.add(1, result),
    blockedAddress: (addressClass) => tables.blockedAddresses.add(1, addressClass),
    limitRejected: (limit) => tables.limitRejections.add(1, limit),
    sniInspected: (result) => tables.sniInspections.add(1, result),
    tunnelOpened: () => void gauges.open.tunnels++,
    tunnelClosed: () => void gauges.open.tunnels--,
    policyLoaded({ hash, rules, atMs }) {
      gauges.policy.reset();
      gauges.policy.set({ hash }, 1);
      gauges.policyRules.set(rules);
      gauges.lastReloadSuccessful.set(1);
      gauges.lastSuccess.set(atMs / 1000);
    },
    reload(result) {
      tables.reloads.add(1, result);
      gauges.lastReloadSuccessful.set(result === "success" ? 1 : 0);
    },
    setTopDenials(slots) {
      topSlots = slots;
    },
    logDropped: (lines) => tables.logDropped.add(lines),
    workerRestarted: () => tables.workerRestarts.add(1),
    snapshot() {
      nameDenials(gauges, topSlots());
      return registry.getMetricsAsJSON();
    },
    totals: () => totalsOf(registry),
    render() {
      // Between two scrapes nobody asks who is named.
      if (rendering === undefined) nameDenials(gauges, topSlots());
      rendering ??= registry.metrics().finally(() => {
        rendering = undefined;
      });
      return rendering;
    },
    contentType: registry.contentType,
  };
}

function nameDenials({ topDenials }: Gauges, slots: readonly TopSlot[]): void {
  topDenials.reset();
  for (const { count, host, reason, group, id } of slots) topDenials.set({ host, reason, group, id }, count);
}

/** As many rules as have counts of their own; of those with an end, the ones that end first. */
function describeRules(gauges: Gauges, rules: readonly RuleFacts[]): void {
  gauges.ruleInfo.reset();
  for (const { fullId, fromSite, deny } of rules.slice(0, maxNamedRules)) {
    const file = fullId.slice(0, fullId.indexOf("/"));
    const labels = { rule: fullId, file, kind: fromSite ? "site" : "pack", action: deny ? "deny" : "allow" };
    gauges.ruleInfo.set(labels, 1);
  }
  gauges.ruleExpiry.reset();
  const ending = rules.filter(({ expiresAt }) => Number.isFinite(expiresAt));
  for (const { fullId, expiresAt } of ending.sort((a, b) => a.expiresAt - b.expiresAt).slice(0, maxNamedRules)) {
    gauges.ruleExpiry.set({ rule: fullId }, expiresAt / 1000);
  }
}

function recordRequest(tables: Tables, { method, status, rangeKind, verdict }: Exchange): void {
  tables.httpRequests.add(1, method, codeClasses[Math.floor(status / 100)] ?? "none", rangeKind);
  if (rangeKind === "valid" && verdict === "allow" && status !== 0) tables.rangeResponses.add(1, String(status));
}

function tunnelResult({ verdict, outcome, closedBy }: Exchange): string {
  if (verdict === "deny") return "denied";
  if (outcome !== undefined && outcome !== "ok") return outcome;
  if (closedBy === "drain") return "drain";
  if (closedBy === "policy") return "revoked";
  return closedBy === "idle" ? "idle_timeout" : "ok";
}
