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

/** Hosts of each kind: enough that branch predictors and caches do not learn them by heart. */
export const hostsOfKind = 4096;

export const stringAlone = "the fresh string alone";
export const cacheHit = "lru-cache, always a hit";
export const cacheMiss = "lru-cache, always a miss";
export const compiledTable = "compiled table";
export const suffixProbe = "Map, probed for each suffix";
export const trie = "trie of Maps over labels";
export const minimatchLoop = "minimatch loop";
export const wholeDecision = "decideTarget";

/** In the order of the tables. */
export const contenders = [
  stringAlone,
  compiledTable,
  wholeDecision,
  suffixProbe,
  trie,
  cacheHit,
  cacheMiss,
  minimatchLoop,
] as const;

/** How many lru-cache hits a hit may cost. */
export const goals = [
  { ruleCount: 1_000, atMost: 1 },
  { ruleCount: 100_000, atMost: 2 },
] as const;

/** Operations in one sample: so many that the clock does not count, so few that most samples are not interrupted. */
export function operationsInSample(contender: string, ruleCount: RuleCount): number {
  return contender === minimatchLoop && ruleCount > 10 ? 8 : 256;
}

/** One line of the table in one round. */
export type Measurement = {
  readonly subject: Subject;
  readonly ruleCount: RuleCount;
  readonly kind: HostKind;
  readonly round: number;
};

/** `lookup, 1000 rules, hits, round 1` */
export function nameOfMeasurement({ subject, ruleCount, kind, round }: Measurement): string {
  return `${subject}, ${ruleCount} rules, ${kind}, round ${round}`;
}

/** Undefined for any other name. */
export function parseMeasurement(name: string): Measurement | undefined {
  const [, subjectText, count, kindText, round] = /^(\w+), (\d+) rules, ([\w ]+), round (\d+)$/.exec(name) ?? [];
  const subject = subjects.find((known) => known === subjectText);
  const ruleCount = ruleCounts.find((known) => String(known) === count);
  const kind = hostKinds.find((known) => known === kindText);
  if (subject === undefined || ruleCount === undefined || kind === undefined) return undefined;
  return { subject, ruleCount, kind, round: Number(round) };
}
