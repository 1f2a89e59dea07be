/** Runs the tests of site policies against the compiled ruleset; a failure is a problem at the test's own place. */
import { explainDenial } from "../policy/explain.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { type TrialAnswer, tryRequest } from "../policy/trial.ts";
import type { Problem } from "./problem.ts";
import type { PolicyTest } from "./read-tests.ts";

/**
 * One problem for each test that fails. Where the test would pass if no rule had expired it is a warning: a rule that
 * ran out as it was told to is no broken file (policy.md, "Tests").
 */
export function runPolicyTests(ruleset: Ruleset, tests: readonly PolicyTest[], nowMs: number): readonly Problem[] {
  return tests.flatMap((test) => {
    const answer = tryRequest(ruleset, test, nowMs);
    if (passes(test, answer)) return [];
    const hasExpired = test.time === undefined && passes(test, tryRequest(ruleset, test, beforeAnyExpiry));
    return {
      severity: hasExpired ? "warning" : "error",
      place: test.place,
      offending: test.request,
      message: hasExpired
        ? `fails since a rule has expired: ${describe(answer)}`
        : `is expected ${expected(test)}, but ${describe(answer)}`,
      instead: undefined,
    } as const;
  });
}

/** Every rule still exists at the beginning of time. */
const beforeAnyExpiry = 0;

function passes(test: PolicyTest, { verdict, reason, decided }: TrialAnswer): boolean {
  if (test.expect !== verdict) return false;
  if (test.reason !== undefined && test.reason !== reason) return false;
  return test.rule === undefined || test.rule === decided.rule?.fullId;
}

function expected({ expect, reason, rule }: PolicyTest): string {
  const because = reason === undefined ? "" : ` with ${reason}`;
  return `${expect === "allow" ? "to be allowed" : "to be denied"}${because}${rule === undefined ? "" : ` by ${rule}`}`;
}

function describe({ verdict, reason, decided }: TrialAnswer): string {
  const by = decided.rule === undefined ? "" : ` by ${decided.rule.fullId}`;
  if (verdict === "allow") return `it is allowed${by}${reason === "allowed" ? "" : ` in report mode (${reason})`}`;
  const words = decided.kind === "deny" ? explainDenial(decided).join(" ") : "";
  return `it is denied${by}: ${reason}. ${words}`.trimEnd();
}
