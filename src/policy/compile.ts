/** PolicySet → Ruleset: everything that can be worked out once is worked out here. Slow; runs at load. */
import { createHash } from "node:crypto";
import type { Groups } from "../identity/groups.ts";
import type { Cidr } from "../names/address.ts";
import { createAddressTable } from "./address-table.ts";
import type { CompiledEndpoint, CompiledRule } from "./compiled-rule.ts";
import { createHostTable, eachSuffix, literalSuffix } from "./host-table.ts";
import { compilePaths } from "./path.ts";
import type { Pattern } from "./pattern.ts";
import type { PolicyFile, PolicySet, Rule } from "./rule.ts";
import type { Audience, PatternGroup, Ruleset } from "./ruleset.ts";
import { indexStandingAllows } from "./standing-allows.ts";
import { type Allow, makePermit } from "./verdict.ts";

/** Compiles validated files. Throws only on a bug: whatever a file can get wrong is found before. */
export function compileRuleset(set: PolicySet): Ruleset {
  const groups: Groups = set.groups;
  const audiences = createAudiences(groups);
  const rules: CompiledRule[] = [];
  const allows: Allow[] = [];
  for (const file of orderFiles(set.files)) {
    for (const rule of file.rules) {
      const audience = audienceNames(file, rule);
      if (audience === undefined) continue;
      rules.push(compileRule(file, rule, rules.length, allows, audiences.numberOf(audience)));
    }
  }
  const hosts = collectGroups(rules, (rule) => rule.patterns);
  const addresses = collectGroups(rules, (rule) => rule.addresses);
  const sites = set.files.filter((file) => file.kind === "site");
  return {
    rules,
    files: set.files,
    groups,
    audiences: audiences.list,
    hosts: createHostTable(hosts.map((group) => group.key)),
    hostGroups: hosts,
    standing: indexStandingAllows(hosts, allows),
    addresses: createAddressTable(addresses.map((group) => group.key)),
    addressGroups: addresses,
    allows,
    nearest: indexNearest(rules),
    tunnelPorts: indexTunnelPorts(rules),
    defaultMode: sites.length > 0 && sites.every((file) => file.defaultMode === "report") ? "report" : "enforce",
    defaultIdleTimeoutMs: sites[0]?.defaultIdleTimeoutMs ?? fallbackIdleTimeoutMs,
    hash: hashOf(set),
  };
}

/** Only where there is no site file at all. */
const fallbackIdleTimeoutMs = 15 * 60 * 1000;

/** All site files in their order, then packs in order of first use (policy.md, "Rules with the same pattern stay whole"). */
function orderFiles(files: readonly PolicyFile[]): readonly PolicyFile[] {
  return [...files.filter((file) => file.kind === "site"), ...files.filter((file) => file.kind === "pack")];
}

function compileRule(file: PolicyFile, rule: Rule, index: number, allows: Allow[], audience: number): CompiledRule {
  const endpoints: CompiledEndpoint[] = [];
  const compiled: CompiledRule = {
    index,
    fullId: `${file.name}/${rule.id}`,
    rule,
    file,
    fromSite: file.kind === "site",
    deny: rule.action === "deny",
    audience,
    endpoints,
    methods: new Set(rule.methods),
    paths: rule.paths === null ? null : pathMatcher(rule.paths),
    idleTimeoutMs: rule.idleTimeoutMs ?? file.defaultIdleTimeoutMs,
    expiresAt: rule.expiresAt,
  };
  for (const { scheme, port } of rule.endpoints) {
    const endpoint: CompiledEndpoint = { scheme, port, id: allows.length };
    endpoints.push(endpoint);
    const permit = makePermit(compiled, endpoint);
    allows.push({ kind: "allow", permit, rule: compiled, mode: "enforce", would: undefined });
  }
  return compiled;
}

function pathMatcher(paths: readonly string[]) {
  const matcher = compilePaths(paths);
  if ("problem" in matcher) throw new Error(`path ${matcher.index} was not validated: ${matcher.problem}`);
  return matcher;
}

/**
 * A rule of a pack exists where some use that does not leave it out names the client's group; undefined where every
 * use leaves it out: it then exists for nobody, and covers nothing.
 */
function audienceNames(file: PolicyFile, rule: Rule): Audience<string> | undefined {
  if (file.kind === "site") return { ruleGroups: rule.clients, useGroups: null };
  const uses = file.uses.filter((use) => !use.without.has(rule.id));
  if (uses.length === 0) return undefined;
  const everyone = uses.some((use) => use.clients === null);
  const useGroups = everyone ? null : [...new Set(uses.flatMap((use) => use.clients ?? []))];
  return { ruleGroups: rule.clients, useGroups };
}

function createAudiences(groups: Groups) {
  const list: Audience[] = [{ ruleGroups: null, useGroups: null }];
  const numbers = new Map([["null null", 0]]);
  const groupNumbers = new Map(groups.map((group, number) => [group.name, number]));
  const resolve = (names: readonly string[] | null): readonly number[] | null =>
    names === null ? null : names.flatMap((name) => groupNumbers.get(name) ?? []).sort((a, b) => a - b);
  const numberOf = (audience: Audience<string>): number => {
    const resolved: Audience = { ruleGroups: resolve(audience.ruleGroups), useGroups: resolve(audience.useGroups) };
    const key = `${String(resolved.ruleGroups)} ${String(resolved.useGroups)}`;
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, list.length);
    return list.push(resolved) - 1;
  };
  return { list, numberOf };
}

/** Rules under each pattern, in order of precedence; patterns in order of first appearance. */
function collectGroups<Key extends Pattern | Cidr>(
  rules: readonly CompiledRule[],
  keysOf: (rule: Rule) => readonly Key[],
): readonly PatternGroup<Key>[] {
  const groups = new Map<string, { key: Key; rules: CompiledRule[]; siteDeny: boolean }>();
  for (const rule of rules) {
    for (const key of keysOf(rule.rule)) {
      let group = groups.get(key.text);
      if (group === undefined) groups.set(key.text, (group = { key, rules: [], siteDeny: false }));
      if (group.rules.at(-1) !== rule) group.rules.push(rule);
      group.siteDeny ||= rule.deny && rule.fromSite;
    }
  }
  return [...groups.values()];
}

/** Ports of tunnel endpoints, with the instant at which the last rule that names them is gone. */
function indexTunnelPorts(rules: readonly CompiledRule[]): ReadonlyMap<number, number> {
  const ports = new Map<number, number>();
  for (const { endpoints, expiresAt } of rules) {
    for (const { scheme, port } of endpoints) {
      if (scheme !== "http") ports.set(port, Math.max(ports.get(port) ?? -Infinity, expiresAt));
    }
  }
  return ports;
}

/** For each suffix of a pattern the allow rules at or below it: what `no_rule` names as nearest. */
function indexNearest(rules: readonly CompiledRule[]): ReadonlyMap<string, readonly CompiledRule[]> {
  const nearest = new Map<string, CompiledRule[]>();
  for (const rule of rules) {
    if (rule.deny) continue;
    for (const pattern of rule.rule.patterns) {
      eachSuffix(literalSuffix(pattern), (suffix) => {
        const known = nearest.get(suffix);
        if (known === undefined) nearest.set(suffix, [rule]);
        else if (known.at(-1) !== rule) known.push(rule);
      });
    }
  }
  return nearest;
}

/** Changes with whatever can change a verdict, not with comments, order of keys or places in files. */
function hashOf(set: PolicySet): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify(set.groups, withoutPlaces));
  for (const file of orderFiles(set.files)) {
    const { name, kind, defaultMode, defaultIdleTimeoutMs } = file;
    const uses = file.uses.map((use) => ({ clients: use.clients, without: [...use.without] }));
    hash.update(JSON.stringify({ name, kind, defaultMode, defaultIdleTimeoutMs, uses }));
    for (const rule of file.rules) hash.update(JSON.stringify(rule, withoutPlaces));
  }
  return hash.digest("hex").slice(0, 16);
}

function withoutPlaces(key: string, value: unknown): unknown {
  if (key === "place" || key === "purpose" || key === "owner" || key === "ticket" || key === "source") return undefined;
  return value === Infinity ? "never" : value;
}
