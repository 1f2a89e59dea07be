/** All patterns that cover a host, in the order in which a decision asks them, and what became of each of their rules. */
import type { Client } from "../identity/groups.ts";
import type { Cidr } from "../names/address.ts";
import type { Host } from "../names/hostname.ts";
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { isInAudience } from "../policy/find-endpoint.ts";
import type { Pattern } from "../policy/pattern.ts";
import type { PatternGroup, Ruleset } from "../policy/ruleset.ts";
import type { Verdict } from "../policy/verdict.ts";

/**
 * - `decides`: the verdict is this rule's
 * - `carries`: the deciding rule only reports, and this one lets the request pass
 * - `same_pattern`: another rule of the same pattern decides
 * - `less_specific`: a more specific pattern decides alone
 * - `site_deny`: the deny of a site file, which a broader pattern has, beats it
 * - `expired`, `other_clients`: it does not exist at that time, or for that client
 */
export type RuleFate =
  | "decides"
  | "carries"
  | "same_pattern"
  | "less_specific"
  | "site_deny"
  | "expired"
  | "other_clients";

export type CoveringRule = { readonly rule: CompiledRule; readonly fate: RuleFate };
export type CoveringPattern = {
  /** A host pattern, or a block of addresses. */
  readonly pattern: string;
  /** In order of precedence. */
  readonly rules: readonly CoveringRule[];
};

/**
 * Lists the covering patterns, the most specific first, by the same lookup that decisions use. `verdict` is what
 * `decideTarget`, or a later look at the tunnel, made of a request of this client for this host at this time.
 */
export function listCovering(
  ruleset: Ruleset,
  client: Client,
  host: Host,
  verdict: Verdict,
  nowMs: number,
): readonly CoveringPattern[] {
  const groups = coveringGroups(ruleset, host);
  const decider = decidingRule(verdict);
  // Where the deciding rule has several patterns that cover the host, the most specific of them decided.
  const decidedAt = decider === undefined ? -1 : groups.findIndex((group) => group.rules.includes(decider));
  const fateOf = (rule: CompiledRule, at: number): RuleFate => {
    if (rule === decider && at === decidedAt) return "decides";
    if (nowMs >= rule.expiresAt) return "expired";
    if (!isInAudience(ruleset, client, rule.audience)) return "other_clients";
    if (verdict.kind === "allow" && rule === verdict.rule && decider !== rule) return "carries";
    if (at === decidedAt) return "same_pattern";
    // Whatever exists above the deciding pattern was passed over for one reason only.
    return at < decidedAt ? "site_deny" : "less_specific";
  };
  return groups.map((group, at) => ({
    pattern: group.key.text,
    rules: group.rules.map((rule) => ({ rule, fate: fateOf(rule, at) })),
  }));
}

/** The rule whose verdict it is; in report mode the one that would have denied, on a wrong Host field the one of the target. */
export function decidingRule(verdict: Verdict): CompiledRule | undefined {
  const decided = verdict.kind === "allow" ? (verdict.would ?? verdict) : verdict;
  return decided.kind === "deny" && decided.reason === "host_mismatch" ? decided.nearest : decided.rule;
}

/** The pattern that decided, of those that cover a host. */
export function decidingPattern(covering: readonly CoveringPattern[]): string | undefined {
  return covering.find(({ rules }) => rules.some(({ fate }) => fate === "decides"))?.pattern;
}

/** Names of the groups that a rule exists for; undefined where it exists for everyone. */
export function audienceNames(ruleset: Ruleset, rule: CompiledRule): readonly string[] | undefined {
  // A site's rule has groups of its own, a pack's rule has those of its uses; none has both.
  const { ruleGroups = null, useGroups = null } = ruleset.audiences[rule.audience] ?? {};
  return (ruleGroups ?? useGroups)?.flatMap((number) => ruleset.groups[number]?.name ?? []);
}

/** The numbers are copied: the array of the host table holds until its next lookup only. */
function coveringGroups(ruleset: Ruleset, host: Host): readonly PatternGroup<Pattern | Cidr>[] {
  if (host.kind === "address") {
    return [...ruleset.addresses.lookup(host.address)]
      .reverse()
      .flatMap((number) => ruleset.addressGroups[number] ?? []);
  }
  const count = ruleset.hosts.lookup(host.name);
  return [...ruleset.hosts.covering.subarray(0, count)].reverse().flatMap((number) => ruleset.hostGroups[number] ?? []);
}
