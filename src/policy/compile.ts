/** PolicySet → Ruleset: everything that can be worked out once is worked out here. Slow; runs at load. */
import type { Groups } from "../identity/groups.ts";
import type { Cidr } from "../names/address.ts";
import { createAddressTable } from "./address-table.ts";
import type { CompiledRule } from "./compiled-rule.ts";
import { hashPolicy } from "./hash.ts";
import { createHostTableBuilder } from "./host-table.ts";
import { indexNearest } from "./nearest-rules.ts";
import { compilePaths } from "./path.ts";
import type { Pattern } from "./pattern.ts";
import type { PolicyFile, PolicySet, Rule } from "./rule.ts";
import type { Audience, PatternGroup, Ruleset } from "./ruleset.ts";
import { indexStandingAllows } from "./standing-allows.ts";
import { type Allow, makePermit } from "./verdict.ts";

/** Compiles validated files. Throws only on a bug: whatever a file can get wrong is found before. */
export function compileRuleset(set: PolicySet): Ruleset {
  const groups: Groups = set.groups;
  const files = orderFiles(set.files);
  const audiences = createAudiences(groups);
  const methodsOf = createMethodSets();
  const rules: CompiledRule[] = [];
  const allows: Allow[] = [];
  for (const file of files) {
    const prefix = `${file.name}/`;
    for (const rule of file.rules) {
      const names = audienceNames(file, rule);
      if (names === undefined) continue;
      const audience = audiences.numberOf(names);
      const methods = methodsOf(rule.methods);
      rules.push(compileRule({ file, rule, fullId: prefix + rule.id, index: rules.length, audience, methods }, allows));
    }
  }
  const { numberOf, finish } = createHostTableBuilder();
  const patterns = collectGroups(rules, (rule) => rule.patterns, numberOf);
  const addresses = collectGroups(rules, (rule) => rule.addresses, createBlockNumbers()).groups;
  const hosts = finish();
  const sites = set.files.filter((file) => file.kind === "site");
  return {
    rules,
    files: set.files,
    groups,
    audiences: audiences.list,
    hosts,
    hostGroups: patterns.groups,
    standing: indexStandingAllows(patterns.groups, allows),
    addresses: createAddressTable(addresses.map((group) => group.key)),
    addressGroups: addresses,
    allows,
    nearest: indexNearest(rules, patterns.numbers, hosts.tree),
    tunnelPorts: indexTunnelPorts(rules),
    defaultMode: sites.length > 0 && sites.every((file) => file.defaultMode === "report") ? "report" : "enforce",
    defaultIdleTimeoutMs: sites[0]?.defaultIdleTimeoutMs ?? fallbackIdleTimeoutMs,
    hash: hashPolicy({ files, groups: set.groups }),
  };
}

/** Only where there is no site file at all. */
const fallbackIdleTimeoutMs = 15 * 60 * 1000;

/** All site files in their order, then packs in order of first use (policy.md, "Rules with the same pattern stay whole"). */
function orderFiles(files: readonly PolicyFile[]): readonly PolicyFile[] {
  return [...files.filter((file) => file.kind === "site"), ...files.filter((file) => file.kind === "pack")];
}

type RuleBeginning = Pick<CompiledRule, "index" | "fullId" | "rule" | "file" | "audience" | "methods">;

function compileRule({ index, fullId, rule, file, audience, methods }: RuleBeginning, allows: Allow[]): CompiledRule {
  const compiled: CompiledRule = {
    index,
    fullId,
    rule,
    file,
    fromSite: file.kind === "site",
    deny: rule.action === "deny",
    audience,
    endpoints: rule.endpoints.map(({ scheme, port }, i) => ({ scheme, port, id: allows.length + i })),
    methods,
    paths: rule.paths === null ? null : pathMatcher(rule.paths),
    idleTimeoutMs: rule.idleTimeoutMs ?? file.defaultIdleTimeoutMs,
    expiresAt: rule.expiresAt,
  };
  for (const endpoint of compiled.endpoints) {
    allows.push({
      kind: "allow",
      permit: makePermit(compiled, endpoint),
      rule: compiled,
      mode: "enforce",
      would: undefined,
    });
  }
  return compiled;
}

/** Rules with the same methods share one set: nearly all have those that nobody wrote. */
function createMethodSets(): (methods: readonly string[]) => ReadonlySet<string> {
  const sets = new Map<string, ReadonlySet<string>>();
  let last: readonly string[] = [];
  let set: ReadonlySet<string> = new Set();
  return (methods) => {
    if (methods === last || (methods.length === last.length && methods.every((method, i) => method === last[i])))
      return set;
    const key = methods.join(" ");
    set = sets.get(key) ?? new Set(methods);
    sets.set(key, set);
    last = methods;
    return set;
  };
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
    if (audience.ruleGroups === null && audience.useGroups === null) return 0;
    const resolved: Audience = { ruleGroups: resolve(audience.ruleGroups), useGroups: resolve(audience.useGroups) };
    const key = `${String(resolved.ruleGroups)} ${String(resolved.useGroups)}`;
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, list.length);
    return list.push(resolved) - 1;
  };
  return { list, numberOf };
}

/**
 * Rules under each pattern, in order of precedence; patterns in order of first appearance. `numbers` are those of the
 * patterns of all rules, one by one.
 */
function collectGroups<Key extends Pattern | Cidr>(
  rules: readonly CompiledRule[],
  keysOf: (rule: Rule) => readonly Key[],
  numberOf: (key: Key) => number,
): { readonly groups: readonly PatternGroup<Key>[]; readonly numbers: readonly number[] } {
  const groups: { key: Key; rules: CompiledRule[]; siteDeny: boolean }[] = [];
  const numbers: number[] = [];
  for (const rule of rules) {
    const siteDeny = rule.deny && rule.fromSite;
    for (const key of keysOf(rule.rule)) {
      const number = numberOf(key);
      const group = groups[number];
      numbers.push(number);
      if (group === undefined) {
        groups.push({ key, rules: [rule], siteDeny });
        continue;
      }
      if (group.rules.at(-1) !== rule) group.rules.push(rule);
      group.siteDeny ||= siteDeny;
    }
  }
  return { groups, numbers };
}

function createBlockNumbers(): (cidr: Cidr) => number {
  const numbers = new Map<string, number>();
  return ({ text }) => {
    const known = numbers.get(text);
    if (known !== undefined) return known;
    numbers.set(text, numbers.size);
    return numbers.size - 1;
  };
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
