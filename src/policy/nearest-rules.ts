/** Which allow rules there are at or below a suffix: what `no_rule` names as nearest. */
import type { CompiledRule } from "./compiled-rule.ts";
import type { SuffixTree } from "./host-entries.ts";

/** Positions of the allow rules of suffix `n`, in order of precedence: `rules` from `from[n]` to `from[n + 1]`. */
export type NearestRules = { readonly from: Int32Array; readonly rules: Int32Array };

const none = -1;

/** `numbers` are those of the patterns of all rules, in the order in which they stand. */
export function indexNearest(
  rules: readonly CompiledRule[],
  numbers: readonly number[],
  { parents, ofPattern }: SuffixTree,
): NearestRules {
  // All lists lie in one array, so they are counted before they are filled.
  const from = new Int32Array(parents.length + 1);
  eachPlace(rules, numbers, parents, ofPattern, (entry) => {
    from[entry + 1] = (from[entry + 1] ?? 0) + 1;
  });
  for (let entry = 0; entry < parents.length; entry++) from[entry + 1] = (from[entry + 1] ?? 0) + (from[entry] ?? 0);
  const next = from.slice();
  const positions = new Int32Array(from[parents.length] ?? 0);
  eachPlace(rules, numbers, parents, ofPattern, (entry, rule) => {
    const at = next[entry] ?? 0;
    positions[at] = rule;
    next[entry] = at + 1;
  });
  return { from, rules: positions };
}

/** Every suffix of every pattern of every allow rule; of a rule, none twice. */
function eachPlace(
  rules: readonly CompiledRule[],
  numbers: readonly number[],
  parents: Int32Array,
  ofPattern: Int32Array,
  visit: (entry: number, rule: number) => void,
): void {
  const last = new Int32Array(parents.length).fill(none);
  let at = 0;
  for (const { index, deny, rule } of rules) {
    const end = at + rule.patterns.length;
    for (; at < end; at++) {
      if (deny) continue;
      // Where a rule has been, it has been at all parents too.
      for (let entry = ofPattern[numbers[at] ?? 0] ?? none; entry !== none && last[entry] !== index;) {
        last[entry] = index;
        visit(entry, index);
        entry = parents[entry] ?? none;
      }
    }
  }
}
