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
import type { Verdict } from "../src/policy/verdict.ts";
import * as plan from "./support/plan.ts";

const seed = 20_260_101;
/** minimatch takes milliseconds for a host among 100,000 rules: it is the oracle there for some, and not measured. */
const oracleHostsOfLargest = 60;

type Operation = (hostname: string) => unknown;
type Line = {
  readonly subject: plan.Subject;
  readonly kind: plan.HostKind;
  readonly hosts: readonly string[];
  readonly contenders: ReadonlyMap<string, Operation>;
};

for (const ruleCount of plan.ruleCounts) {
  const lines = prepareLines(ruleCount);
  for (let round = 1; round <= plan.rounds; round++) {
    for (const { subject, kind, hosts, contenders } of lines) {
      describe(plan.nameOfMeasurement({ subject, ruleCount, kind, round }), () => {
        const fresh = createFreshHosts(hosts);
        for (const [name, operation] of contenders) {
          const sample = createSample(fresh, operation, plan.operationsInSample(name, ruleCount));
          bench(name, sample, { time: plan.measuredMs, warmupTime: plan.warmupMs, iterations: 5, warmupIterations: 1 });
        }
      });
    }
  }
}

/** What every contender pays before it begins. */
function stringAlone(hostname: string): number {
  return hostname.length;
}

/** Generates rules and hosts, builds the contenders, and lets none through whose answers differ. */
function prepareLines(ruleCount: plan.RuleCount): readonly Line[] {
  const random = createRandom(seed + ruleCount);
  const patterns = generatePatterns(random, ruleCount);
  const ruleset = generateRuleset(patterns);
  const find = createTableFind(ruleset.hosts);
  const decide = createDecide(ruleset);
  const minimatch = createMinimatchFind(patterns);
  const suffixProbe = createSuffixProbeFind(patterns);
  const trie = createTrieFind(patterns);
  const isLargest = ruleCount === plan.ruleCounts.at(-1);

  return plan.hostKinds.flatMap((kind): readonly Line[] => {
    const hosts = generateHosts(random, kind, patterns, (hostname) => suffixProbe(hostname) !== -1);
    // No host comes twice running.
    const tooSmall = 1;
    const finds = new Map<string, Find>([
      [plan.stringAlone, stringAlone],
      [plan.compiledTable, find],
      [plan.suffixProbe, suffixProbe],
      [plan.trie, trie],
      [plan.cacheHit, createCached(find, hosts.length)],
      [plan.cacheMiss, createCached(find, tooSmall)],
      [plan.minimatchLoop, minimatch],
    ]);
    const decides = new Map<string, (hostname: string) => Verdict>([
      [plan.wholeDecision, decide],
      [plan.cacheHit, createCached(decide, hosts.length)],
      [plan.cacheMiss, createCached(decide, tooSmall)],
    ]);
    const judged = without(finds, plan.stringAlone);
    const quick = isLargest ? without(judged, plan.minimatchLoop) : judged;
    assertCovered(hosts, suffixProbe, kind !== "misses");
    assertSameAnswers(isLargest ? hosts.slice(0, oracleHostsOfLargest) : hosts, patterns, minimatch, judged);
    assertSameAnswers(hosts, patterns, suffixProbe, quick);
    assertSameVerdicts(hosts, ruleset, suffixProbe, decides);
    return [
      { subject: "lookup", kind, hosts, contenders: isLargest ? without(finds, plan.minimatchLoop) : finds },
      {
        subject: "decision",
        kind,
        hosts,
        contenders: new Map<string, Operation>([[plan.stringAlone, stringAlone], ...decides]),
      },
    ];
  });
}

function without<Value>(map: ReadonlyMap<string, Value>, name: string): ReadonlyMap<string, Value> {
  return new Map([...map].filter(([key]) => key !== name));
}
