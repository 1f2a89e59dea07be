/** What `check` finds in a policy that is valid: a word for its kind, the place, and a sentence. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import type { Place } from "../policy/rule.ts";

export type FindingKind =
  /** Never decides: another rule has its patterns and endpoints, or denies them. */
  | "shadowed"
  /** Could be left out without any verdict changing. */
  | "redundant"
  /** Another rule decides some of what it names, and in another way. */
  | "overridden"
  /** A narrower pattern refuses what a broader one lets pass. */
  | "takes_away"
  /** One rule judges TLS on a port where another lets any bytes pass. */
  | "tcp_beside_https"
  | "expiring"
  | "expired"
  | "broad"
  /** Downloads will fail, though nothing is refused. */
  | "harmful"
  | "unused_group"
  /** So many globs below one suffix that each request pays for them. */
  | "crowded";

export type Finding = {
  readonly kind: FindingKind;
  readonly place: Place;
  /** Full id of the rule, where it is about one. */
  readonly rule: string | undefined;
  /** What stands in the file: the id of a rule, the name of a group. */
  readonly offending: string;
  /** Completes the sentence "OFFENDING …". */
  readonly message: string;
};

/** Two rules that have names in common: what the first does to the second. */
export type Meeting = {
  /**
   * - `shadows`: at these patterns the other rule never decides
   * - `overrides`: it decides here in place of the other
   * - `leaves_open`: the other still decides here, though this one has the same pattern or a broader one
   */
  readonly kind: "shadows" | "overrides" | "leaves_open";
  readonly rule: CompiledRule;
  readonly other: CompiledRule;
  readonly patterns: readonly string[];
  /** Endpoints and conditions that it is about. */
  readonly about: readonly string[];
};

/** A finding about one rule. */
export function findingAt(rule: CompiledRule, kind: FindingKind, message: string): Finding {
  return { kind, place: rule.rule.place, rule: rule.fullId, offending: rule.rule.id, message };
}

/** `a, b, c and 4 more`. */
export function listed(items: readonly string[], max = 3): string {
  if (items.length <= max + 1) return items.join(", ");
  return `${items.slice(0, max).join(", ")} and ${items.length - max} more`;
}
