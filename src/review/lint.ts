/** What a valid policy says without meaning it: rules that do nothing, take from each other, or open much. Pure; for `check`. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { type Finding, type Meeting, findingAt } from "./finding.ts";
import { createLedger } from "./lint-ledger.ts";
import { meetRules } from "./lint-meetings.ts";
import { coverageOf, findBreadth, findExpiry, findHarm, findUnusedGroups } from "./lint-rules.ts";
import type { PolicySet } from "../policy/rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { collectSpots, maxGlobsAtSuffix } from "./spots.ts";

export type Lint = {
  /** Warnings, in no order. */
  readonly findings: readonly Finding[];
  readonly meetings: readonly Meeting[];
  readonly wildcards: readonly Wildcard[];
};

/** `covers` tells in words what a pattern covers. */
export type Wildcard = { readonly rule: CompiledRule; readonly text: string; readonly covers: string };

/**
 * Looks at a compiled set. Warnings are about the rules of site files, and about those of packs only where there is no
 * site file; what packs do to each other is told in `meetings` alone. Time grows with the number of patterns.
 */
export function lintRuleset(
  set: PolicySet,
  ruleset: Ruleset,
  listenerGroups: ReadonlySet<string>,
  nowMs: number,
): Lint {
  const hasSite = ruleset.files.some((file) => file.kind === "site");
  const isOurs = (rule: CompiledRule): boolean => rule.fromSite || !hasSite;
  const ours = ruleset.rules.filter(isOurs);
  const exists = (rule: CompiledRule): boolean => nowMs < rule.expiresAt && !isForNobody(ruleset, rule);
  const spots = collectSpots(ruleset, exists);
  const ledger = createLedger(isOurs);
  meetRules(spots, ledger);
  const { meetings, findings } = ledger.close();
  const crowded = spots.crowded.flatMap(({ suffix, globs }) => {
    const rule = globs[0]?.rules[0];
    if (rule === undefined) return [];
    const message = `stands among ${globs.length} globs that end in ${suffix}: each name below it is tried on all of them, and check compares no more than ${maxGlobsAtSuffix}`;
    return [findingAt(rule, "crowded", message)];
  });
  return {
    findings: [
      ...findings,
      ...crowded,
      ...ruleset.rules.flatMap((rule) => findExpiry(rule, nowMs)),
      ...ours.flatMap(findBreadth),
      ...ours.flatMap(findHarm),
      ...findUnusedGroups(set.files, set.groups, listenerGroups),
    ],
    meetings,
    wildcards: ruleset.rules.filter(exists).flatMap((rule) =>
      rule.rule.patterns.flatMap((pattern) => {
        const covers = coverageOf(pattern);
        return covers === undefined ? [] : [{ rule, text: pattern.text, covers }];
      }),
    ),
  };
}

/** A rule of a pack that every use leaves out. */
function isForNobody(ruleset: Ruleset, rule: CompiledRule): boolean {
  const audience = ruleset.audiences[rule.audience];
  return audience?.ruleGroups?.length === 0 || audience?.useGroups?.length === 0;
}
