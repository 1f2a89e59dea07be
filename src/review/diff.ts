/** What changes from one ruleset to another, found by deciding the same representative requests on both. Pure. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { conditionsOf } from "./conditions.ts";
import { type RequestFacts, decideTarget, modeOf } from "../policy/decide.ts";
import { type ClientPair, pairClients } from "./diff-clients.ts";
import { type Probe, collectProbes } from "./diff-probes.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { Reason, Verdict } from "../policy/verdict.ts";

export type ChangeKind = "allowed" | "denied" | "rule" | "conditions";

/** One difference, for all requests that share it. */
export type Change = {
  /** Newly allowed, newly denied, decided by another rule, or by the same rule in another way. */
  readonly kind: ChangeKind;
  /** `https:443`, `http:80`, `http:80 with Range`, `http:80 /simple/**`, `HEAD http:80`. */
  readonly requests: readonly string[];
  /** Patterns and blocks; a name below a pattern where not all of its names change. */
  readonly patterns: readonly string[];
  /** Names of groups, `no group`, an address that changes groups; null is everyone. */
  readonly clients: readonly string[] | null;
  readonly before: Outcome;
  readonly after: Outcome;
  /** Conditions that differ, as `tls_min 1.2 → 1.3`. */
  readonly conditions: readonly string[];
};

/** For a client that changes groups reason and rule are not told apart: `various`. */
export type Outcome = {
  readonly verdict: "allow" | "deny";
  readonly reason: Reason | "various";
  readonly rule: string | undefined;
};

/**
 * Decides, on both, requests for the names that each pattern of either stands for, on every endpoint that a rule
 * covering them has, with and without Range, for each group of clients. Equal results are told once. Stops where
 * `isEnough` says so, with what has been found by then.
 */
export function diffRulesets(
  before: Ruleset,
  after: Ruleset,
  nowMs: number,
  isEnough: () => boolean = () => false,
): readonly Change[] {
  if (before.hash === after.hash) return [];
  const clients = pairClients(before.groups, after.groups);
  const found = new Map<string, Found>();
  for (const probe of collectProbes(before, after)) {
    if (isEnough()) break;
    const asked = probe.dependsOnClient ? clients : clients.slice(0, 1);
    const differences = asked.flatMap((client) => {
      const change = compare(before, after, probe, client, nowMs);
      return change === undefined ? [] : [{ client, change }];
    });
    const ofOthers = new Set(
      differences.flatMap(({ client, change }) => (client.moves ? [] : [JSON.stringify(change)])),
    );
    for (const { client, change: precise } of differences) {
      const change = ofOthers.has(JSON.stringify(precise)) ? precise : withoutRules(precise);
      const key = keyOf(probe.spot, probe.request, change);
      const known = found.get(key) ?? { probe, change, hosts: new Set(), clients: new Set(), asked: asked.length };
      found.set(key, known);
      known.hosts.add(probe.hostLabel);
      known.clients.add(probe.dependsOnClient ? client.label : null);
    }
  }
  return gather([...found.values()].filter((one) => !followsFromBase(one, found)));
}

type Difference = Omit<Change, "requests" | "patterns" | "clients">;
type Found = {
  readonly probe: Probe;
  readonly change: Difference;
  /** Which of the names of the pattern. */
  readonly hosts: Set<string>;
  readonly clients: Set<string | null>;
  readonly asked: number;
};

function keyOf(spot: string, request: string, change: Difference): string {
  return JSON.stringify([spot, request, change]);
}

/**
 * A client that comes into another group meets another policy as a whole: unless those that stay see the same, which
 * rules it meets is no news.
 */
function withoutRules({ kind, before, after, conditions }: Difference): Difference {
  const coarse = ({ verdict }: Outcome): Outcome => ({ verdict, reason: "various", rule: undefined });
  return { kind, before: coarse(before), after: coarse(after), conditions };
}

/** The same happens to the plain request, so that nothing is to be said of Range, path or method. */
function followsFromBase({ probe, change, hosts, clients }: Found, found: ReadonlyMap<string, Found>): boolean {
  if (probe.base === probe.request) return false;
  const base = found.get(keyOf(probe.spot, probe.base, change));
  return (
    base !== undefined &&
    [...hosts].every((host) => base.hosts.has(host)) &&
    [...clients].every((client) => base.clients.has(client))
  );
}

function compare(
  before: Ruleset,
  after: Ruleset,
  probe: Probe,
  client: ClientPair,
  nowMs: number,
): Difference | undefined {
  const old = decideTarget(before, client.before, probe.facts, nowMs);
  const now = decideTarget(after, client.after, probe.facts, nowMs);
  const outcomes = { before: outcomeOf(old), after: outcomeOf(now) };
  if (old.kind !== now.kind) return { kind: now.kind === "allow" ? "allowed" : "denied", ...outcomes, conditions: [] };
  const sameRule = outcomes.before.rule === outcomes.after.rule;
  if (old.kind === "deny" || now.kind === "deny") {
    // How a request is refused matters only where somebody wrote a rule to refuse it.
    const byRule = outcomes.before.reason === "rule_denied" && outcomes.after.reason === "rule_denied";
    return byRule && !sameRule ? { kind: "rule", ...outcomes, conditions: [] } : undefined;
  }
  const modes = [modeOf(before, client.before, deciding(old)), modeOf(after, client.after, deciding(now))];
  const conditions = [
    ...(modes[0] === modes[1] ? [] : [`mode ${modes.join(" → ")}`]),
    ...differingConditions(old, now, probe.facts),
  ];
  if (!sameRule || outcomes.before.reason !== outcomes.after.reason) return { kind: "rule", ...outcomes, conditions };
  return conditions.length === 0 ? undefined : { kind: "conditions", ...outcomes, conditions };
}

function outcomeOf(verdict: Verdict): Outcome {
  const denial = verdict.kind === "deny" ? verdict : verdict.would;
  return { verdict: verdict.kind, reason: denial?.reason ?? "allowed", rule: deciding(verdict)?.fullId };
}

/** In report mode the rule that would have denied. */
function deciding(verdict: Verdict): CompiledRule | undefined {
  return verdict.kind === "allow" ? (verdict.would ?? verdict).rule : verdict.rule;
}

/** Of the request with Range only what is said of Range, and of the others all else: each difference is told once. */
function differingConditions(
  old: Verdict & { kind: "allow" },
  now: Verdict & { kind: "allow" },
  facts: RequestFacts,
): string[] {
  const [from, to] = [conditionsIn(old, facts), conditionsIn(now, facts)];
  if (from === undefined || to === undefined) return [];
  const isRange = facts.http?.range === "valid";
  return [...new Set([...from.keys(), ...to.keys()])].flatMap((name) => {
    if ((name === "range") !== isRange || from.get(name) === to.get(name)) return [];
    return [`${name} ${from.get(name) ?? "unset"} → ${to.get(name) ?? "unset"}`];
  });
}

function conditionsIn(
  { permit }: Verdict & { kind: "allow" },
  facts: RequestFacts,
): ReadonlyMap<string, string> | undefined {
  const { rule, endpoint } = permit;
  if (rule === undefined || endpoint === undefined) return undefined;
  const conditions = new Map(conditionsOf({ rule, endpoint }, facts.host.kind === "address"));
  if (Number.isFinite(rule.expiresAt))
    conditions.set("expires", new Date(rule.expiresAt - 1).toISOString().slice(0, 10));
  return conditions;
}

/** Joins what differs in its patterns only, and then in its requests only. */
function gather(found: readonly Found[]): readonly Change[] {
  const byRequest = new Map<string, Change & { readonly patterns: string[] }>();
  for (const { probe, change, hosts, clients, asked } of found) {
    const everyone = clients.has(null) || clients.size === asked;
    const names = everyone ? null : [...clients].flatMap((name) => name ?? []);
    const patterns = hosts.size === probe.hostsOfSpot ? [probe.spot] : [...hosts];
    const key = JSON.stringify([change, probe.request, names]);
    const known = byRequest.get(key);
    if (known === undefined) byRequest.set(key, { ...change, requests: [probe.request], clients: names, patterns });
    else known.patterns.push(...patterns);
  }
  const changes = new Map<string, Change & { readonly requests: string[] }>();
  for (const change of byRequest.values()) {
    const { requests, ...rest } = change;
    const key = JSON.stringify(rest);
    const known = changes.get(key);
    if (known === undefined) changes.set(key, { ...change, requests: [...requests] });
    else known.requests.push(...requests);
  }
  return [...changes.values()];
}
