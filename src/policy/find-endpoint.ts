/** Which endpoint of which rule carries a request, or why none does. Whether that denies it is for `decide` to say. */
import type { Client } from "../identity/groups.ts";
import type { Host } from "../names/hostname.ts";
import { registrableDomain } from "../names/public-suffix.ts";
import type { CompiledRule } from "./compiled-rule.ts";
import type { PatternGroup, Ruleset } from "./ruleset.ts";
import type { Allow } from "./verdict.ts";

/** What a request is for. */
export type Target = {
  readonly kind: "connect" | "http";
  readonly host: Host;
  readonly port: number;
  /** False where the listener admits other groups only. */
  readonly listenerAdmits: boolean;
};

/** Why no endpoint was found. */
export type Miss = {
  readonly kind: "miss";
  readonly reason: "ip_literal" | "no_rule" | "client_denied" | "rule_denied" | "scheme_mismatch" | "port_mismatch";
  /** The rule that decided; on `no_rule` and `client_denied` none did. */
  readonly rule: CompiledRule | undefined;
  readonly nearest: CompiledRule | undefined;
};

const none = -1;

/**
 * Finds the endpoint that carries this request, or says why there is none. Walks the covering patterns from the most
 * specific; the first with a rule that exists for this client decides alone (policy.md, "Hosts").
 */
export function findEndpoint(
  ruleset: Ruleset,
  client: Client,
  target: Target,
  nowMs: number,
  skipReportedDenies: boolean,
): Allow | Miss {
  const { host } = target;
  if (host.kind === "address") {
    const blocks = ruleset.addresses.lookup(host.address);
    const judged = judge(
      ruleset,
      client,
      ruleset.addressGroups,
      blocks,
      blocks.length,
      target,
      nowMs,
      skipReportedDenies,
    );
    return judged ?? miss("ip_literal", undefined, undefined);
  }
  const { covering, lookup } = ruleset.hosts;
  const count = lookup(host.name);
  const judged = judge(ruleset, client, ruleset.hostGroups, covering, count, target, nowMs, skipReportedDenies);
  return judged ?? miss("no_rule", undefined, nearestRule(ruleset, client, host.name, nowMs));
}

/** Undefined where no covering pattern has a rule in force. */
function judge(
  ruleset: Ruleset,
  client: Client,
  groups: readonly PatternGroup<unknown>[],
  covering: ArrayLike<number>,
  count: number,
  target: Target,
  nowMs: number,
  skipReportedDenies: boolean,
): Allow | Miss | undefined {
  const sitesAbove = positionOfSiteDeny(ruleset, client, groups, covering, count, nowMs, skipReportedDenies);
  let notForClient: CompiledRule | undefined;
  for (let i = count - 1; i >= 0; i--) {
    const group = groups[covering[i] ?? 0];
    if (group === undefined) continue;
    const judged = judgeGroup(ruleset, client, group.rules, target, nowMs, skipReportedDenies, i > sitesAbove);
    if (judged !== undefined) return target.listenerAdmits ? judged : miss("client_denied", undefined, judged.rule);
    notForClient ??= group.rules.find((rule) => isInForce(rule, nowMs, skipReportedDenies));
  }
  return notForClient === undefined ? undefined : miss("client_denied", undefined, notForClient);
}

/**
 * A site file's deny beats every pack rule below it: the position of the broadest such deny, above which the rules of
 * packs do not exist; beyond all positions where there is none.
 */
function positionOfSiteDeny(
  ruleset: Ruleset,
  client: Client,
  groups: readonly PatternGroup<unknown>[],
  covering: ArrayLike<number>,
  count: number,
  nowMs: number,
  skipReportedDenies: boolean,
): number {
  for (let i = 0; i < count; i++) {
    const group = groups[covering[i] ?? 0];
    if (group === undefined || !group.siteDeny) continue;
    for (const rule of group.rules) {
      if (rule.deny && rule.fromSite && exists(ruleset, client, rule, nowMs, skipReportedDenies)) return i;
    }
  }
  return count;
}

/** A rule that has expired, or does not name a group of this client, does not exist. */
function exists(
  ruleset: Ruleset,
  client: Client,
  rule: CompiledRule,
  nowMs: number,
  skipReportedDenies: boolean,
): boolean {
  return isInForce(rule, nowMs, skipReportedDenies) && isInAudience(ruleset, client, rule.audience);
}

function isInForce(rule: CompiledRule, nowMs: number, skipReportedDenies: boolean): boolean {
  return nowMs < rule.expiresAt && !(skipReportedDenies && rule.deny && rule.rule.mode === "report");
}

/**
 * The rules of one pattern: a deny among them wins; otherwise the first that has an endpoint for this protocol and
 * port decides, with all its own fields; if none has, the first is named. Undefined where no rule exists.
 */
function judgeGroup(
  ruleset: Ruleset,
  client: Client,
  rules: readonly CompiledRule[],
  target: Target,
  nowMs: number,
  skipReportedDenies: boolean,
  sitesOnly: boolean,
): Allow | Miss | undefined {
  let first: CompiledRule | undefined;
  let allow: Allow | undefined;
  let sameSchemeElsewhere = false;
  let httpOnThisPort = false;
  for (const rule of rules) {
    if ((sitesOnly && !rule.fromSite) || !exists(ruleset, client, rule, nowMs, skipReportedDenies)) continue;
    if (rule.deny) return miss("rule_denied", rule, rule);
    first ??= rule;
    for (const endpoint of rule.endpoints) {
      const isHttp = endpoint.scheme === "http";
      if (isHttp !== (target.kind === "http")) {
        httpOnThisPort ||= isHttp && endpoint.port === target.port;
        continue;
      }
      sameSchemeElsewhere = true;
      if (endpoint.port === target.port) allow ??= ruleset.allows[endpoint.id];
    }
  }
  if (allow !== undefined || first === undefined) return allow;
  return miss(sameSchemeElsewhere && !httpOnThisPort ? "port_mismatch" : "scheme_mismatch", first, first);
}

function miss(reason: Miss["reason"], rule: CompiledRule | undefined, nearest: CompiledRule | undefined): Miss {
  return { kind: "miss", reason, rule, nearest };
}

/** True where the rule exists for this client, as far as groups go. */
export function isInAudience(ruleset: Ruleset, client: Client, audience: number): boolean {
  if (audience === 0) return true;
  const groups = ruleset.audiences[audience];
  if (groups === undefined) return false;
  return isOneOf(groups.ruleGroups, client) && isOneOf(groups.useGroups, client);
}

function isOneOf(groups: readonly number[] | null, client: Client): boolean {
  return groups === null || client.groups.some((group) => groups.includes(group));
}

/** The rule of this client's that shares the most right-hand labels, but at least one below the registrable domain. */
function nearestRule(ruleset: Ruleset, client: Client, hostname: string, nowMs: number): CompiledRule | undefined {
  const registrable = registrableDomain(hostname);
  if (registrable === undefined) return undefined;
  const { hosts, nearest, rules } = ruleset;
  const { parents, lengths } = hosts.tree;
  let entry = hosts.sharedEntry(hostname);
  for (; entry !== none && (lengths[entry] ?? 0) > registrable.length; entry = parents[entry] ?? none) {
    const end = nearest.from[entry + 1] ?? 0;
    for (let at = nearest.from[entry] ?? 0; at < end; at++) {
      const rule = rules[nearest.rules[at] ?? 0];
      if (rule !== undefined && exists(ruleset, client, rule, nowMs, false)) return rule;
    }
  }
  return undefined;
}
