/** The check before the figures: a fast wrong answer is worth nothing. */
import type { Pattern } from "../../src/policy/pattern.ts";
import type { Ruleset } from "../../src/policy/ruleset.ts";
import type { Verdict } from "../../src/policy/verdict.ts";
import type { Find } from "./contenders.ts";

/** Throws on the first host for which a contender differs from `reference`. */
export function assertSameAnswers(
  hosts: readonly string[],
  patterns: readonly Pattern[],
  reference: Find,
  contenders: ReadonlyMap<string, Find>,
): void {
  for (const host of hosts) {
    const expected = reference(host);
    for (const [name, find] of contenders) {
      const found = find(host);
      if (found === expected) continue;
      const show = (number: number) => patterns[number]?.text ?? "nothing";
      throw new Error(`${host}: ${name} says ${show(found)}, expected ${show(expected)}`);
    }
  }
}

/** Throws where a verdict is not what the most specific pattern says: its rule's allow, or `no_rule`. */
export function assertSameVerdicts(
  hosts: readonly string[],
  ruleset: Ruleset,
  reference: Find,
  contenders: ReadonlyMap<string, (hostname: string) => Verdict>,
): void {
  for (const host of hosts) {
    const expected = ruleset.hostGroups[reference(host)]?.rules[0];
    for (const [name, decide] of contenders) {
      const verdict = decide(host);
      const reason = verdict.kind === "allow" ? "allowed" : verdict.reason;
      if (verdict.rule === expected && reason === (expected === undefined ? "no_rule" : "allowed")) continue;
      throw new Error(`${host}: ${name} says ${reason} by ${verdict.rule?.fullId}, expected ${expected?.fullId}`);
    }
  }
}

/** Throws where the hosts of a kind are not of that kind: a hit that no rule covers, a miss that one does. */
export function assertCovered(hosts: readonly string[], reference: Find, covered: boolean): void {
  const odd = hosts.find((host) => (reference(host) !== -1) !== covered);
  if (odd !== undefined) throw new Error(`${odd} is ${covered ? "not " : ""}covered`);
}
