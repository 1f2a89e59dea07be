/** The series of interface.md ("Metrics"): name, help and labels of each. */
import { Gauge, Histogram, type Registry } from "prom-client";
import { addressClasses } from "../names/address-class.ts";
import {
  codeClasses,
  denialLabels,
  dialResults,
  directions,
  dnsResults,
  isDecision,
  limitNames,
  methodLabels,
  modes,
  rangeLabels,
  rangeResponses,
  reasonLabels,
  reloadResults,
  schemeLabels,
  sniResults,
  tunnelResults,
  verdicts,
} from "./metrics-labels.ts";
import { createCounterTable, createNamedTable } from "./metrics-table.ts";

export type Tables = ReturnType<typeof createTables>;
export type Gauges = ReturnType<typeof createGauges>;

/** Half of 500 series: every rule has one for `allow` and one for `deny`. */
export const maxNamedRules = 250;

/** What is counted while traffic flows. */
export function createTables(registry: Registry) {
  const verdict = { label: "verdict", words: verdicts };
  const reason = { label: "reason", words: reasonLabels };
  const result = (words: readonly string[]) => [{ label: "result", words }];
  return {
    decisions: createCounterTable(
      registry,
      "decisions_total",
      "Exchanges by final verdict. An allow with a denial's reason was let pass by report mode.",
      [verdict, reason, { label: "mode", words: modes }],
      isDecision,
    ),
    ruleDecisions: createNamedTable(
      registry,
      "rule_decisions_total",
      "Exchanges by the rule that decided; rules beyond the first 250 count as _other.",
      { label: "rule", rest: "_other", maxNames: maxNamedRules },
      verdict,
    ),
    groupDenials: createNamedTable(
      registry,
      "group_denials_total",
      "Denied exchanges by the client's first group.",
      { label: "group", rest: "_none", maxNames: Number.POSITIVE_INFINITY },
      { label: "reason", words: denialLabels },
    ),
    sniInspections: createCounterTable(
      registry,
      "sni_inspections_total",
      "TLS ClientHellos judged.",
      result(sniResults),
    ),
    httpRequests: createCounterTable(registry, "http_requests_total", "Plain HTTP requests that are over.", [
      { label: "method", words: methodLabels, rest: "other" },
      { label: "code_class", words: codeClasses },
      { label: "range", words: rangeLabels },
    ]),
    rangeResponses: createCounterTable(
      registry,
      "range_responses_total",
      "Statuses of allowed requests that asked for a range.",
      [{ label: "result", words: rangeResponses, rest: "other" }],
    ),
    tunnels: createCounterTable(
      registry,
      "tunnels_total",
      "CONNECT exchanges that are over, but for refused ones.",
      result(tunnelResults),
    ),
    bytes: createCounterTable(
      registry,
      "transferred_bytes_total",
      "Bytes relayed, counted when the exchange is over.",
      [
        { label: "direction", words: directions },
        { label: "scheme", words: schemeLabels },
      ],
    ),
    dials: createCounterTable(registry, "dials_total", "Connections tried to upstreams.", result(dialResults)),
    dnsLookups: createCounterTable(registry, "dns_lookups_total", "Names resolved.", result(dnsResults)),
    blockedAddresses: createCounterTable(
      registry,
      "blocked_addresses_total",
      "Resolved addresses that were not admitted.",
      [{ label: "class", words: addressClasses }],
    ),
    limitRejections: createCounterTable(
      registry,
      "limit_rejections_total",
      "Exchanges that a limit refused or ended.",
      [{ label: "limit", words: limitNames }],
    ),
    reloads: createCounterTable(registry, "policy_reloads_total", "Reloads of the policy.", result(reloadResults)),
    logDropped: createCounterTable(registry, "log_dropped_total", "Log lines that could not be written.", []),
    workerRestarts: createCounterTable(
      registry,
      "worker_restarts_total",
      "Workers that ended and were started again.",
      [],
    ),
  };
}

/** Set rarely, or few: prom-client keeps these itself. `aggregator` says how several workers' values become one. */
export function createGauges(registry: Registry) {
  const registers = [registry];
  const first = { registers, aggregator: "first" as const };
  const least = { registers, aggregator: "min" as const };
  /** Counted here, since prom-client looks labels up at each step. */
  const open = { tunnels: 0 };
  return {
    open,
    tunnelsActive: new Gauge({
      name: "sallyport_tunnels_active",
      help: "Tunnels open now.",
      registers,
      collect() {
        this.set(open.tunnels);
      },
    }),
    decisionDuration: new Histogram({
      name: "sallyport_decision_duration_seconds",
      help: "Time to decide on a request; one in 64 is measured.",
      buckets: [5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 1e-3, 1e-2],
      registers,
    }),
    dialDuration: new Histogram({
      name: "sallyport_dial_duration_seconds",
      help: "Time from the first dial to the connection or its failure.",
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
    policy: new Gauge({
      name: "sallyport_policy_info",
      help: "1 for the hash of the policy in force.",
      labelNames: ["hash"],
      ...first,
    }),
    policyRules: new Gauge({ name: "sallyport_policy_rules", help: "Rules in force.", ...first }),
    ruleInfo: new Gauge({
      name: "sallyport_rule_info",
      help: "1 for each rule that has series of its own: where it stands, and whether it allows or denies.",
      labelNames: ["rule", "file", "kind", "action"],
      ...first,
    }),
    ruleExpiry: new Gauge({
      name: "sallyport_rule_expiry_timestamp_seconds",
      help: "When a rule with an end ceases to exist, in seconds since the epoch.",
      labelNames: ["rule"],
      ...first,
    }),
    certificateExpiry: new Gauge({
      name: "sallyport_certificate_expiry_timestamp_seconds",
      help: "When the certificate of a listener ceases to be valid, in seconds since the epoch.",
      labelNames: ["listener"],
      ...first,
    }),
    limit: new Gauge({
      name: "sallyport_limit",
      help: "Limits in force on connections: of all clients, and of one client address.",
      labelNames: ["limit"],
      ...first,
    }),
    topDenials: new Gauge({
      name: "sallyport_top_denials",
      help: "Denials within the last hour, those of report mode among them, of the causes that are seen most.",
      labelNames: ["host", "reason", "group", "id"],
      registers,
    }),
    lastReloadSuccessful: new Gauge({
      name: "sallyport_policy_last_reload_successful",
      help: "1 when the last load of the policy worked.",
      ...least,
    }),
    lastSuccess: new Gauge({
      name: "sallyport_policy_last_success_timestamp_seconds",
      help: "When a policy was last loaded, in seconds since the epoch.",
      ...least,
    }),
    build: new Gauge({
      name: "sallyport_build_info",
      help: "1 for the version of Sallyport and of Node.",
      labelNames: ["version", "node"],
      ...first,
    }),
  };
}
