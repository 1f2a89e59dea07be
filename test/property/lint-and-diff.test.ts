/** What the linter calls needless can be left out, and what `diff` does not tell does not change. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileRuleset } from "../../src/policy/compile.ts";
import { decideTarget } from "../../src/policy/decide.ts";
import { diffRulesets } from "../../src/review/diff.ts";
import { lintRuleset } from "../../src/review/lint.ts";
import type { PolicySet } from "../../src/policy/rule.ts";
import { addressAt, policySet } from "../support/policy.ts";
import { groups, now, policies, policiesWithoutGlobs, requests } from "../support/random-policies.ts";

const client = addressAt("10.0.0.1");

/** Reason of every request, of every kind of client, at these times. */
function reasonsOf(
  set: PolicySet,
  memberships: readonly (readonly number[])[],
  times: readonly number[],
): readonly string[] {
  const ruleset = compileRuleset(set);
  return memberships.flatMap((of) =>
    times.flatMap((time) =>
      requests.map((facts) => {
        const verdict = decideTarget(ruleset, { address: client, groups: of }, facts, time);
        return verdict.kind === "deny" ? verdict.reason : `allowed ${verdict.would?.reason ?? ""}`;
      }),
    ),
  );
}

describe("a rule that is said to be shadowed or redundant", () => {
  test("can be left out, and no verdict changes", () => {
    const found = { shadowed: 0, redundant: 0 };
    const all = (set: PolicySet) => reasonsOf(set, [[], [0], [1], [0, 1]], [now, now + 1]);
    fc.assert(
      fc.property(policies, (files) => {
        const set = policySet(files, groups);
        const { findings } = lintRuleset(set, compileRuleset(set), new Set(), now);
        const needless = findings.filter(({ message }) => /^is (shadowed|redundant)/.test(message));
        if (needless.length === 0) return;
        const before = all(set);
        for (const { rule: id, kind, message } of needless) {
          if (kind === "shadowed" || kind === "redundant") found[kind] += 1;
          const without = files.map((file) => {
            return { ...file, rules: file.rules.filter((one) => `${file.name}/${one.id}` !== id) };
          });
          expect(all({ ...set, files: without }), `${id} ${message}`).toEqual(before);
        }
      }),
      { numRuns: 800 },
    );
    // The property is about something.
    expect(Math.min(found.shadowed, found.redundant)).toBeGreaterThan(20);
  });
});

describe("a diff without a newly allowed or newly denied request", () => {
  test("means that every request is allowed or denied as before", () => {
    let equal = 0;
    const verdicts = (set: PolicySet): readonly boolean[] => {
      return reasonsOf(set, [[], [0], [1]], [now]).map((reason) => reason.startsWith("allowed"));
    };
    fc.assert(
      fc.property(policiesWithoutGlobs, fc.nat(), (files, at) => {
        const before = policySet(files, groups);
        // Most rules of a policy are of no consequence for some request: leaving one out is a small change.
        const after = policySet(
          files.map((file) => ({ ...file, rules: file.rules.filter((_, i) => i !== at % file.rules.length) })),
          groups,
        );
        const changes = diffRulesets(compileRuleset(before), compileRuleset(after), now);
        const isTold = changes.some(({ kind }) => kind === "allowed" || kind === "denied");
        const isSo = verdicts(before).join() !== verdicts(after).join();
        if (!isTold) equal += 1;
        // The requests here know fewer ports and hosts than a diff: it may tell more, and never less.
        expect(isTold || !isSo).toBe(true);
      }),
      { numRuns: 800 },
    );
    expect(equal).toBeGreaterThan(50);
  });
});
