/** What can be said of a rule, or of a group, without looking at the other rules. */
import { type Cidr, cidrContains, parseAddress } from "../names/address.ts";
import { publicSuffixUnder, registrableDomain } from "../names/public-suffix.ts";
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { type Finding, findingAt, listed } from "./finding.ts";
import { literalSuffix } from "../policy/host-table.ts";
import type { Pattern } from "../policy/pattern.ts";
import type { ClientGroup, PolicyFile } from "../policy/rule.ts";

const dayMs = 24 * 3600 * 1000;
/** Days before the last one on which a rule is said to expire. */
const noticeDays = 14;

/** Expired, or soon to be. */
export function findExpiry(rule: CompiledRule, nowMs: number): Finding[] {
  if (!Number.isFinite(rule.expiresAt)) return [];
  const lastDay = new Date(rule.expiresAt - 1).toISOString().slice(0, 10);
  if (nowMs >= rule.expiresAt) {
    return [findingAt(rule, "expired", `has expired: it does not exist since the end of ${lastDay} (UTC)`)];
  }
  const days = Math.floor((rule.expiresAt - 1 - nowMs) / dayMs);
  if (days >= noticeDays) return [];
  const left = days === 0 ? "in less than a day" : days === 1 ? "in 1 day" : `in ${days} days`;
  return [findingAt(rule, "expiring", `is expiring ${left}: its last day is ${lastDay} (UTC)`)];
}

/** `range: strip` where it breaks what it was meant to help (policy.md, "HTTP conditions"). */
export function findHarm(rule: CompiledRule): Finding[] {
  const hosts = rule.rule.patterns.filter((pattern) => microsoftSuffixes.some((suffix) => isUnder(pattern, suffix)));
  if (rule.rule.range !== "strip" || hosts.length === 0 || !rule.endpoints.some(({ scheme }) => scheme === "http"))
    return [];
  const names = listed(hosts.map((pattern) => pattern.text));
  const message = `strips Range from requests to ${names}: BITS and Delivery Optimization fail on a 200 (0x80d05001), so write range: allow or range: deny`;
  return [findingAt(rule, "harmful", message)];
}

const microsoftSuffixes = ["microsoft.com", "windowsupdate.com"] as const;

function isUnder(pattern: Pattern, suffix: string): boolean {
  const name = literalSuffix(pattern);
  return name === suffix || name.endsWith(`.${suffix}`);
}

/** Wildcards and blocks that cover more than one owner is likely to need. */
export function findBreadth(rule: CompiledRule): Finding[] {
  if (rule.deny) return [];
  const { patterns, addresses, resolvesTo } = rule.rule;
  const say = (message: string): Finding => findingAt(rule, "broad", message);
  const rented = patterns.flatMap((pattern) => {
    const open = pattern.kind === "exact" ? undefined : publicSuffixUnder(literalSuffix(pattern));
    return open === undefined
      ? []
      : [say(`is broad: ${pattern.text} covers names under ${open.suffix}, where anyone can rent one`)];
  });
  // A vendor's pack may well be about a whole domain of its vendor.
  const whole = rule.fromSite ? patterns.filter(coversWholeDomain).map((pattern) => pattern.text) : [];
  const blocks = addresses.filter(isBroadBlock).map((cidr) => cidr.text);
  const floor = patterns.length === 0 ? [] : resolvesTo.cidrs.filter(admitsLoopback).map((cidr) => cidr.text);
  return [
    ...rented,
    ...(whole.length === 0
      ? []
      : [
          say(
            `is broad: ${listed(whole)} ${whole.length === 1 ? "covers a whole registered domain" : "cover whole registered domains"}`,
          ),
        ]),
    ...(blocks.length === 0
      ? []
      : [
          say(
            `is broad: ${listed(blocks)} ${blocks.length === 1 ? "holds" : "hold"} millions of addresses of many owners`,
          ),
        ]),
    ...(floor.length === 0
      ? []
      : [say(`is broad: resolves_to ${listed(floor)} admits loopback, and with it the proxy's own machine`)]),
  ];
}

/** Groups that nothing asks about. `listenerGroups` are those that listeners name. */
export function findUnusedGroups(
  files: readonly PolicyFile[],
  groups: readonly ClientGroup[],
  listenerGroups: ReadonlySet<string>,
): Finding[] {
  const named = new Set(listenerGroups);
  for (const { rules, uses } of files) {
    for (const { clients } of [...rules, ...uses]) for (const name of clients ?? []) named.add(name);
  }
  return groups.flatMap(({ name, place, mode, perClient }) => {
    if (named.has(name) || mode !== undefined || perClient !== undefined) return [];
    const message = "is an unused group: no rule, use or listener names it, so it only labels metrics";
    return [{ kind: "unused_group", place, rule: undefined, offending: name, message } as const];
  });
}

/** What a wildcard covers, in words; undefined for an exact name, which covers itself. */
export function coverageOf(pattern: Pattern): string | undefined {
  if (pattern.kind === "exact") return undefined;
  if (pattern.kind === "suffix") return `${pattern.apex} and every name below it, at any depth`;
  const glob = pattern.text.slice("glob:".length);
  const labels = glob.split(".");
  const example = labels
    .flatMap((label) => (label === "**" ? [] : [label.replaceAll("*", "abc").replaceAll("?", "x")]))
    .join(".");
  if (!labels.includes("**")) return `names of ${labels.length} labels, like ${example}`;
  return `names of ${labels.length - 1} or more labels, like ${example}`;
}

/** `*.x` and globs such as `**.x` or `*.x`, where x is what somebody registered; a single label (`*.corp`) is nobody's. */
function coversWholeDomain(pattern: Pattern): boolean {
  if (pattern.kind === "exact") return false;
  const suffix = literalSuffix(pattern);
  if (pattern.kind === "glob" && !/^glob:(\*|\*\*)\.[^*?]*$/.test(pattern.text)) return false;
  return registrableDomain(suffix) === suffix;
}

function isBroadBlock({ family, prefix }: Cidr): boolean {
  return prefix <= (family === 4 ? 8 : 16);
}

const loopbacks = ["127.0.0.1", "::1"].flatMap((text) => parseAddress(text) ?? []);

/** A block around loopback, and not one that was written for it. */
function admitsLoopback(cidr: Cidr): boolean {
  return cidr.prefix < 8 && loopbacks.some((address) => cidrContains(cidr, address));
}
