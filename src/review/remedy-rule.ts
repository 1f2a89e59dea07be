/** The rules that a denied request would need, as lines of YAML, and where they belong. */
import { classOfAddress } from "../names/address-class.ts";
import type { Address } from "../names/address.ts";
import type { Authority } from "../names/authority.ts";
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { type CoveringPattern, decidingPattern } from "./covering.ts";
import { type RuleChanges, ruleText } from "./rule-text.ts";
import type { Endpoint } from "../policy/rule.ts";
import type { TrialRequest } from "../policy/trial.ts";
import type { Denial } from "../policy/verdict.ts";

/** A denied request, and what is known of it. */
export type DeniedRequest = {
  readonly request: TrialRequest;
  /** Undefined where it could not be read. */
  readonly target: Authority | undefined;
  readonly denial: Denial;
  readonly covering: readonly CoveringPattern[];
  /** How a place in a file is told. */
  readonly placeText: (rule: CompiledRule) => string;
};

/** One way to be allowed, enough by itself: a clause, and where a rule has to be written, that rule as a line of YAML. */
export type Remedy = { readonly text: string; readonly rule: string | undefined };

/** A remedy, or one that is a clause alone. */
export type Found = string | Remedy;

/** The same under a condition that only people can judge. */
export function provided(condition: string, remedy: Found): Found {
  if (typeof remedy === "string") return `if ${condition}, ${remedy}`;
  return { ...remedy, text: `if ${condition}, ${remedy.text}` };
}

/** A rule for this host alone. */
export function newRule(denied: DeniedRequest, target: Authority, changes: RuleChanges = {}): Remedy {
  const key = keyOf(target, undefined);
  const expect = [askedEndpoint(denied, target)];
  return {
    text: "add a rule to a site policy",
    rule: ruleText(undefined, { ...key, expect, ...ofRequest(denied), ...changes }),
  };
}

/**
 * Rules with the same pattern stay whole and the first with a fitting endpoint decides, so a rule with the pattern of
 * the deciding one opens this way and leaves the others as they are; a narrower rule would take them away.
 */
export function besideRule(denied: DeniedRequest, target: Authority): Remedy {
  const key = keyOf(target, decidingPattern(denied.covering));
  const expect = [askedEndpoint(denied, target)];
  return {
    text: `add a rule to a site policy, beside ${denied.denial.rule?.fullId ?? "it"}`,
    rule: ruleText(undefined, { ...key, expect, ...ofRequest(denied) }),
  };
}

/** A site's rule is changed where it stands; before a pack's goes a rule of the site with the same pattern. */
export function changeRule(denied: DeniedRequest, target: Authority, changes: RuleChanges): Found {
  const { rule } = denied.denial;
  if (rule === undefined) return newRule(denied, target, changes);
  if (rule.fromSite) return `write ${ruleText(undefined, changes)} into ${rule.fullId} (${denied.placeText(rule)})`;
  const key = keyOf(target, decidingPattern(denied.covering));
  const expect = [askedEndpoint(denied, target)];
  return {
    text: `add a rule to a site policy, which comes before ${rule.fullId}`,
    rule: ruleText(rule.rule, { ...key, expect, ...changes }),
  };
}

/** The pattern or block, else the host alone. */
function keyOf({ host }: Authority, pattern: string | undefined): RuleChanges {
  return host.kind === "address" ? { addresses: [pattern ?? host.address.text] } : { hosts: [pattern ?? host.name] };
}

function askedEndpoint({ request }: DeniedRequest, { port }: Authority): Endpoint {
  if (request.method !== "CONNECT") return { scheme: "http", port };
  return { scheme: request.tls === null ? "tcp" : "https", port };
}

/** Conditions that this request would meet next. */
function ofRequest({ request }: DeniedRequest): RuleChanges {
  const { method, range, sni, tls, serverTls, resolved = [] } = request;
  const versions = [tls, serverTls].flatMap((version) => version ?? []);
  const lowest = versions.toSorted((a, b) => a - b)[0];
  const admitted = [...new Set(resolved.map(admissionOf))];
  return {
    ...(method !== "CONNECT" && range !== undefined ? { range: "allow" } : {}),
    ...(lowest !== undefined && lowest < defaultTlsMin ? { tlsMin: lowest } : {}),
    ...(method === "CONNECT" && sni === null && tls !== null ? { sni: "any" } : {}),
    ...(admitted.some((word) => word !== "public") ? { resolvesTo: admitted } : {}),
  };
}

const defaultTlsMin = 0x0303;

/** Private addresses have a word; every other class that is not public is admitted address by address. */
export function admissionOf(address: Address): string {
  const addressClass = classOfAddress(address);
  if (addressClass === "private" || addressClass === "public") return addressClass;
  return `${address.text}/${address.family === 4 ? 32 : 128}`;
}
