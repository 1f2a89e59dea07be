/**
 * What a pattern allows at any time, whatever else is in the policy: the verdicts of nearly all requests that are let
 * pass, in flat arrays. The way by pointers (pattern, rules, rule, endpoints, endpoint, allow) says the same, but may
 * miss the CPU's caches at every step; bench/matching.bench.ts shows what that costs among many rules.
 */
import type { Client } from "../identity/groups.ts";
import type { CompiledEndpoint, CompiledRule } from "./compiled-rule.ts";
import { type Target, isInAudience } from "./find-endpoint.ts";
import type { PatternGroup, Ruleset, StandingAllows } from "./ruleset.ts";
import type { Allow } from "./verdict.ts";

/** Two ways of the pattern: most hosts are asked on http:80, https:443 or both. Others are found without the index. */
const recordWays = 0;
const waysOfPattern = 2;
/** Whom they are for, as in `Ruleset.audiences`. */
const recordAudience = 2;
/** 1 where a site file denies the pattern to someone: then what more specific patterns allow does not stand. */
const recordSiteDeny = 3;
const recordSize = 4;
const none = -1;

/** Patterns have standing allows where all their rules allow, for one audience and for ever. */
export function indexStandingAllows(
  patterns: readonly PatternGroup<unknown>[],
  allowOf: readonly Allow[],
): StandingAllows {
  const records = new Int32Array(patterns.length * recordSize);
  const allows: (Allow | undefined)[] = [];
  for (const [number, { rules, siteDeny }] of patterns.entries()) {
    const [first, second] = haveOneFate(rules) ? firstOnEachWay(rules) : noWays;
    const record = number * recordSize;
    records[record + recordWays] = first === undefined ? none : wayOfEndpoint(first);
    records[record + recordWays + 1] = second === undefined ? none : wayOfEndpoint(second);
    records[record + recordAudience] = rules[0]?.audience ?? 0;
    records[record + recordSiteDeny] = Number(siteDeny);
    allows.push(first && allowOf[first.id], second && allowOf[second.id]);
  }
  return { records, allows };
}

/**
 * What `findEndpoint` finds for nearly every request that is let pass, in a fraction of the time: the allow of the most
 * specific covering pattern, where it depends on nothing but client, protocol and port. Undefined says nothing. All of
 * it is one function, so that the compiler can inline it, and the allow itself is not looked at, so that nobody waits
 * for it to be fetched.
 */
export function findStandingAllow(ruleset: Ruleset, client: Client, target: Target): Allow | undefined {
  const { host } = target;
  if (host.kind === "address" || !target.listenerAdmits) return undefined;
  const count = ruleset.hosts.lookup(host.name);
  if (count === 0) return undefined;
  const { covering } = ruleset.hosts;
  const { records, allows } = ruleset.standing;
  for (let i = 0; i < count; i++) {
    if (records[(covering[i] ?? 0) * recordSize + recordSiteDeny] !== 0) return undefined;
  }
  const pattern = covering[count - 1] ?? 0;
  const record = pattern * recordSize;
  const audience = records[record + recordAudience] ?? 0;
  if (audience !== 0 && !isInAudience(ruleset, client, audience)) return undefined;
  const way = wayOf(target.kind === "http", target.port);
  if (records[record + recordWays] === way) return allows[pattern * waysOfPattern];
  return records[record + recordWays + 1] === way ? allows[pattern * waysOfPattern + 1] : undefined;
}

function haveOneFate(rules: readonly CompiledRule[]): boolean {
  return rules.every(
    ({ deny, audience, expiresAt }) => !deny && expiresAt === Infinity && audience === rules[0]?.audience,
  );
}

const noWays: readonly CompiledEndpoint[] = [];

/** The endpoint that decides on each way: that of the first rule that has one. */
function firstOnEachWay(rules: readonly CompiledRule[]): readonly CompiledEndpoint[] {
  const [only] = rules;
  // Most patterns are like that.
  if (only !== undefined && rules.length === 1 && only.endpoints.length <= 1) return only.endpoints;
  const first = new Map<number, CompiledEndpoint>();
  for (const { endpoints } of rules) {
    for (const endpoint of endpoints) {
      const way = wayOfEndpoint(endpoint);
      if (!first.has(way)) first.set(way, endpoint);
    }
  }
  return [...first.values()];
}

function wayOfEndpoint({ scheme, port }: CompiledEndpoint): number {
  return wayOf(scheme === "http", port);
}

/** Port and protocol as one number. */
function wayOf(isHttp: boolean, port: number): number {
  return port * 2 + Number(isHttp);
}
