/**
 * The hot matching path: what it costs to find the rule for a host, and to decide, beside other ways to do it.
 * The answers are compared before anything is measured; a difference fails the run.
 */
import { bench, describe } from "vitest";
import {
  type Find,
  createCached,
  createMinimatchFind,
  createSuffixProbeFind,
  createTableFind,
  createTrieFind,
} from "./support/contenders.ts";
import { assertCovered, assertSameAnswers, assertSameVerdicts } from "./support/equality.ts";
import { createFreshHosts, createSample } from "./support/fresh-hosts.ts";
import { createRandom, generateHosts, generatePatterns } from "./support/generated-rules.ts";
import { createDecide, generateRuleset } from "./support/generated-ruleset.ts";
import * as plan from "./support/plan.ts";

const seed = 20_260_101;
/** minimatch takes milliseconds for a host among 100,000 rules: it is the oracle there for some, and not measured. */
const oracleHostsOfLargest = 60;

type Operation = (hostname: string) => unknown;
type Line = { readonly kind: plan.HostKind; readonly contenders: ReadonlyMap<string, Operation>; readonly hosts: readonly string[] };

for (const ruleCount of plan.ruleCounts) {
  const lines = prepare(ruleCount);
  for (let round = 1; round <= plan.rounds; round++) {
    for (const subject of plan.subjects) {
      for (const { kind, contenders, hosts } of lines[subject]) {
        describe(plan.nameOfSuite({ subject, ruleCount, kind, round }), () => {
          const fresh = createFreshHosts(hosts);
          for (const [name, operation] of contenders) {
            const sample = createSample(fresh, operation, plan.operationsInSample(name, ruleCount));
            bench(name, sample, { time: plan.measuredMs, warmupTime: plan.warmupMs, iterations: 5, warmupIterations: 1 });
          }
        });
      }
    }
  }
}
