/** What `npm run bench` measures: the benchmark declares it, and the reporter reads the figures back by these words. */

export const ruleCounts = [10, 1_000, 100_000] as const;
export type RuleCount = (typeof ruleCounts)[number];

/**
 * Kinds of host. `hits` are drawn from all rules alike, `deep` have 12 to 20 labels below a suffix rule, `253 bytes`
 * are as long as a name may be, `globs` are covered by a glob.
 */
export const hostKinds = ["hits", "misses", "deep", "253 bytes", "globs"] as const;
export type HostKind = (typeof hostKinds)[number];

/** `lookup` gives the most specific pattern, `decision` the whole verdict of `decideTarget`. */
export const subjects = ["lookup", "decision"] as const;
export type Subject = (typeof subjects)[number];

/** Every figure is measured in each round, all contenders of one line side by side, and the medians count. */
export const rounds = 5;
export const warmupMs = 15;
export const measuredMs = 50;

/** Fresh hosts of each kind: many enough that branch predictors and caches do not learn them by heart. */
export const hostsOfKind = 4096;

export const stringAlone = "the fresh string alone";
export const cacheHit = "lru-cache, always a hit";
export const cacheMiss = "lru-cache, always a miss";
export const compiledTable = "compiled table";
export const minimatchLoop = "minimatch loop";
export const wholeDecision = "decideTarget";

/** Operations in one sample: so many that the clock does not count, so few that most samples are not interrupted. */
export function operationsInSample(contender: string, ruleCount: RuleCount): number {
  return contender === minimatchLoop && ruleCount > 10 ? 8 : 256;
}

/** `1,000 rules` */
export function nameOfRuleCount(ruleCount: RuleCount): string {
  return `${ruleCount.toLocaleString("en")} rules`;
}
