/** Every word that a metric's label can take: closed lists, so that nobody outside can add a series. */
import type { Reason } from "../policy/verdict.ts";
import type { Scheme } from "../policy/rule.ts";
import type { Outcome } from "../wire/refusal.ts";
import type { RangeKind } from "./event.ts";

/** `ok_ech` offered ECH or GREASE that looks like it; `ok_no_sni` is an admitted hello without a name. */
export const sniResults = [
  "ok",
  "ok_ech",
  "ok_no_sni",
  "not_tls",
  "hello_malformed",
  "hello_timeout",
  "hello_too_large",
  "tls_version",
  "ech_denied",
  "sni_missing",
  "sni_mismatch",
] as const;
export type SniResult = (typeof sniResults)[number];

export const dialResults = [
  "ok",
  "connection_refused",
  "connection_timeout",
  "connection_terminated",
  "destination_ip_unroutable",
  "connection_limit_reached",
  "proxy_internal_error",
] as const;
export type DialResult = (typeof dialResults)[number];

/** `hit` was answered from the cache, `hosts` by the configuration or the hosts file, `negative` is a name without addresses. */
export const dnsResults = ["hit", "hosts", "ok", "negative", "error", "timeout"] as const;
export type DnsResult = (typeof dnsResults)[number];

/** The keys of `limits` in sallyport.yaml that refuse or end an exchange, `draining`, and failed credentials (`auth`). */
export const limitNames = [
  "connections",
  "per_client",
  "head",
  "fields",
  "head_timeout",
  "hello",
  "hello_timeout",
  "dial_timeout",
  "response_head_timeout",
  "body_idle_timeout",
  "draining",
  "auth",
] as const;
export type LimitName = (typeof limitNames)[number];

export const reloadResults = ["success", "failure"] as const;
export type ReloadResult = (typeof reloadResults)[number];

/** Methods by name; whatever else a client thinks of is `other`. */
export const methodLabels = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"] as const;

/** By first digit; 0 is an exchange that ended before a status was sent. */
export const codeClasses = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"] as const;

export const rangeResponses = ["206", "200", "416", "other"] as const;
export const verdicts = ["allow", "deny"] as const;
export const modes = ["enforce", "report"] as const;
export const directions = ["up", "down"] as const;

// Objects where the words are a type of another file: the compiler asks for every word, and for no other.
const allReasons: Readonly<Record<Reason, "enforced" | "reportable">> = {
  allowed: "enforced",
  bad_request: "enforced",
  limit_exceeded: "enforced",
  auth_required: "enforced",
  host_mismatch: "reportable",
  ip_literal: "reportable",
  no_rule: "reportable",
  client_denied: "reportable",
  rule_denied: "reportable",
  scheme_mismatch: "reportable",
  port_mismatch: "reportable",
  method_denied: "reportable",
  path_denied: "reportable",
  range_denied: "reportable",
  range_invalid: "reportable",
  address_denied: "enforced",
  not_tls: "reportable",
  hello_malformed: "reportable",
  hello_timeout: "reportable",
  hello_too_large: "reportable",
  tls_version: "reportable",
  ech_denied: "reportable",
  sni_missing: "reportable",
  sni_mismatch: "reportable",
  tls_downgrade: "reportable",
};
const allOutcomes: Readonly<Record<Outcome, true>> = {
  ok: true,
  dns_error: true,
  dns_timeout: true,
  connection_refused: true,
  connection_timeout: true,
  connection_terminated: true,
  destination_ip_unroutable: true,
  http_response_timeout: true,
  http_protocol_error: true,
  http_response_header_section_size: true,
  http_response_incomplete: true,
  http_upgrade_failed: true,
  http_request_denied: true,
  proxy_loop_detected: true,
  connection_limit_reached: true,
  proxy_internal_error: true,
  client_aborted: true,
  idle_timeout: true,
};
const allRangeKinds: Readonly<Record<RangeKind, true>> = { none: true, valid: true, invalid: true, stripped: true };
const allSchemes: Readonly<Record<Scheme, true>> = { http: true, https: true, tcp: true };

export const reasonLabels: readonly string[] = Object.keys(allReasons);
export const denialLabels: readonly string[] = reasonLabels.filter((word) => word !== "allowed");
export const rangeLabels: readonly string[] = Object.keys(allRangeKinds);
export const schemeLabels: readonly string[] = Object.keys(allSchemes);
/** Ends of tunnels: outcomes, and `denied` (after the 200), `drain` and `revoked` (by a reload), which are none. */
export const tunnelResults: readonly string[] = [...Object.keys(allOutcomes), "denied", "drain", "revoked"];

/** True where decisions of this kind exist: report mode lets some denials pass, and only denials have a reason. */
export function isDecision(verdict: string, reason: string, mode: string): boolean {
  if (verdict === "deny") return reason !== "allowed";
  return reason === "allowed" || (mode === "report" && reportable.has(reason));
}

const reportable: ReadonlySet<string> = new Set(
  Object.entries(allReasons).flatMap(([reason, kind]) => (kind === "reportable" ? [reason] : [])),
);
