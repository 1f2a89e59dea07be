/**
 * The decision: (ruleset, client, facts, time) → verdict. Pure and total; nothing is allocated where a request is
 * simply allowed. Every denial of a policy is decided in this file or in `decide-hello`, and nowhere else.
 */
import type { Client } from "../identity/groups.ts";
import type { Host } from "../names/hostname.ts";
import type { CompiledRule } from "./compiled-rule.ts";
import { type Miss, type Target, findEndpoint } from "./find-endpoint.ts";
import type { Mode } from "./rule.ts";
import type { Ruleset } from "./ruleset.ts";
import { findStandingAllow } from "./standing-allows.ts";
import { type Allow, type Denial, type DenialReason, type Permit, type Verdict, makePermit } from "./verdict.ts";

/** What can be known of a request before anything is dialled. */
export type RequestFacts = Target & {
  /** False where the Host field names another host (on CONNECT) or another authority (elsewhere) than the target. */
  readonly hostAgrees: boolean;
  /** Undefined on CONNECT. */
  readonly http: HttpFacts | undefined;
};

export type HttpFacts = {
  readonly method: string;
  /** Path and query as sent. */
  readonly path: string;
  readonly range: "none" | "valid" | "invalid";
  /** A bodiless GET that asks to become a WebSocket. */
  readonly websocket: boolean;
};

/**
 * Decides a request, CONNECT or plain HTTP. In this order, the first that applies:
 * 1. `host_mismatch`
 * 2. `ip_literal`, `no_rule`, `client_denied`, `rule_denied`, `scheme_mismatch`, `port_mismatch`: no endpoint
 * 3. `method_denied`, `path_denied`, `range_denied`, `range_invalid`: conditions of the deciding rule
 * A denial whose rule, client or default is in report mode becomes an allow that says `would`. TRACE is never let pass:
 * it would show a page the fields that the proxy adds (RFC 9110 section 9.3.8).
 */
export function decideTarget(ruleset: Ruleset, client: Client, facts: RequestFacts, nowMs: number): Verdict {
  const verdict = decideAnyMethod(ruleset, client, facts, nowMs);
  const isTrace = facts.http?.method === "TRACE";
  return isTrace && verdict.kind === "allow" ? deny("method_denied", verdict.rule) : verdict;
}

function decideAnyMethod(ruleset: Ruleset, client: Client, facts: RequestFacts, nowMs: number): Verdict {
  if (!facts.hostAgrees) return decideHostMismatch(ruleset, client, facts, nowMs);
  const standing = findStandingAllow(ruleset, client, facts);
  if (standing !== undefined) return decideConditions(ruleset, client, facts, standing);
  const found = findEndpoint(ruleset, client, facts, nowMs, false);
  if (found.kind === "miss") return decideMiss(ruleset, client, facts, nowMs, found);
  return decideConditions(ruleset, client, facts, found);
}

function decideConditions(ruleset: Ruleset, client: Client, facts: RequestFacts, found: Allow): Verdict {
  const broken = brokenCondition(found, facts);
  return broken === undefined ? found : reportable(ruleset, client, found.permit, deny(broken, found.rule));
}

/**
 * Judges a name as a host of its own, for `sni: covered` and `any`: the allow of the https endpoint that decides it
 * for this client and port, if one does. As for the request itself, a deny rule on trial is as if it were not there.
 */
export function decideServerName(
  ruleset: Ruleset,
  client: Client,
  host: Host,
  port: number,
  nowMs: number,
): Allow | undefined {
  const target: Target = { kind: "connect", host, port, listenerAdmits: true };
  const found = findEndpoint(ruleset, client, target, nowMs, true);
  return found.kind === "allow" && found.permit.endpoint?.scheme === "https" ? found : undefined;
}

/** The mode in which a rule, or what no rule covers, is enforced for a client: the rule's own, its group's, the defaults'. */
export function modeOf(ruleset: Ruleset, client: Client, rule: CompiledRule | undefined): Mode {
  if (rule?.rule.mode !== undefined) return rule.rule.mode;
  return groupMode(ruleset, client) ?? rule?.file.defaultMode ?? ruleset.defaultMode;
}

function deny(reason: DenialReason, rule: CompiledRule | undefined): Denial {
  return { kind: "deny", reason, stage: "request", rule, nearest: rule, mode: "enforce" };
}

function reportable(ruleset: Ruleset, client: Client, permit: Permit, denial: Denial): Verdict {
  if (modeOf(ruleset, client, denial.rule) === "enforce") return denial;
  return passing(permit, denial);
}

function passing(permit: Permit, denial: Denial): Allow {
  return { kind: "allow", permit, rule: permit.rule, mode: "report", would: { ...denial, mode: "report" } };
}

function groupMode(ruleset: Ruleset, client: Client): Mode | undefined {
  for (const number of client.groups) {
    const mode = ruleset.groups[number]?.mode;
    if (mode !== undefined) return mode;
  }
  return undefined;
}

/** Report mode lets a differing Host pass only where all the rest would let the request pass too. */
function decideHostMismatch(ruleset: Ruleset, client: Client, facts: RequestFacts, nowMs: number): Verdict {
  const rest = decideTarget(ruleset, client, { ...facts, hostAgrees: true }, nowMs);
  const denial: Denial = {
    ...deny("host_mismatch", undefined),
    nearest: rest.kind === "allow" ? rest.rule : rest.nearest,
  };
  if (rest.kind === "deny" || modeOf(ruleset, client, rest.rule) === "enforce") return denial;
  return passing(rest.permit, denial);
}

function decideMiss(ruleset: Ruleset, client: Client, facts: RequestFacts, nowMs: number, found: Miss): Verdict {
  const denial: Denial = { ...deny(found.reason, found.rule), nearest: found.nearest };
  switch (found.reason) {
    case "ip_literal":
      return denial;
    case "no_rule":
    case "client_denied":
      return decideUncovered(ruleset, client, facts, nowMs, denial);
    case "rule_denied":
      return found.rule?.rule.mode === "report"
        ? decideWithoutReportedDenies(ruleset, client, facts, nowMs, denial)
        : denial;
    case "scheme_mismatch":
    case "port_mismatch":
      return reportable(ruleset, client, makePermit(found.rule, undefined), denial);
  }
}

/**
 * Report mode as a default covers targets without a rule, but only where a rule could be expected to be written:
 * http on port 80, CONNECT to 443 or to a port that some rule names. A client's group can only switch it off.
 */
function decideUncovered(
  ruleset: Ruleset,
  client: Client,
  facts: RequestFacts,
  nowMs: number,
  denial: Denial,
): Verdict {
  if (!facts.listenerAdmits) return denial;
  if (ruleset.defaultMode === "enforce" || groupMode(ruleset, client) === "enforce") return denial;
  return isOrdinaryPort(ruleset, facts, nowMs) ? passing(makePermit(undefined, undefined), denial) : denial;
}

function isOrdinaryPort(ruleset: Ruleset, facts: RequestFacts, nowMs: number): boolean {
  if (facts.kind === "http") return facts.port === 80;
  return facts.port === 443 || nowMs < (ruleset.tunnelPorts.get(facts.port) ?? -Infinity);
}

/**
 * A deny rule on trial is recorded, and the request decided as if the rule were not there. Where the rest passes in
 * report mode only, its denial comes later in the order of the reasons, and so is not what is recorded.
 */
function decideWithoutReportedDenies(
  ruleset: Ruleset,
  client: Client,
  facts: RequestFacts,
  nowMs: number,
  denial: Denial,
): Verdict {
  const rest = findEndpoint(ruleset, client, facts, nowMs, true);
  if (rest.kind === "miss") {
    const uncovered = rest.reason === "no_rule" || rest.reason === "client_denied";
    if (uncovered && isOrdinaryPort(ruleset, facts, nowMs)) return passing(makePermit(undefined, undefined), denial);
    return recording(decideMiss(ruleset, client, facts, nowMs, rest), denial);
  }
  const broken = brokenCondition(rest, facts);
  if (broken === undefined) return passing(rest.permit, denial);
  return recording(reportable(ruleset, client, rest.permit, deny(broken, rest.rule)), denial);
}

function recording(verdict: Verdict, denial: Denial): Verdict {
  return verdict.kind === "deny" ? verdict : passing(verdict.permit, denial);
}

/** The conditions on plain HTTP, in the order of the reasons. */
function brokenCondition(allow: Allow, facts: RequestFacts): DenialReason | undefined {
  const { http } = facts;
  if (http === undefined) return undefined;
  const { rule } = allow;
  if (rule === undefined) return undefined;
  // A WebSocket is another scheme than the http that the rule expects.
  if (http.websocket && rule.rule.websocket === "deny") return "scheme_mismatch";
  if (!rule.methods.has(http.method)) return "method_denied";
  if (rule.paths !== null && rule.paths.judge(http.path) !== "match") return "path_denied";
  if (http.range === "none" || rule.rule.range === "strip") return undefined;
  if (rule.rule.range === "deny") return "range_denied";
  return http.range === "invalid" ? "range_invalid" : undefined;
}
