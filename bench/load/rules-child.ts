/** The process that measures one number of rules, or one load: it does what the first message says, and answers. */
import { once } from "node:events";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { disk } from "../../src/config/disk.ts";
import { loadPolicySet } from "../../src/config/load.ts";
import { compileRuleset } from "../../src/policy/compile.ts";
import { createHostTable } from "../../src/policy/host-table.ts";
import type { Pattern } from "../../src/policy/pattern.ts";
import {
  createCached,
  createMinimatchFind,
  createSuffixProbeFind,
  createTableFind,
  createTrieFind,
} from "../support/contenders.ts";
import { assertSameAnswers } from "../support/equality.ts";
import { createFreshHosts, createSample } from "../support/fresh-hosts.ts";
import { createRandom, generateHosts, generatePatterns } from "../support/generated-rules.ts";
import { collectGarbage } from "../../test/support/collect-garbage.ts";
import { createDecide, generateRuleset } from "../support/generated-ruleset.ts";
import * as plan from "../support/plan.ts";
import type { PolicyLoad, RulesAtCount, RulesTask } from "./rules.ts";

type Operation = (hostname: string) => unknown;
type Built<T> = { readonly value: T; readonly megabytes: number; readonly buildMs: number };

const seed = 20_260_101;
const mostForMinimatch = 1_000;
const megabyte = 1_000_000;

const [task]: RulesTask[] = (await once(process, "message")) as RulesTask[];
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => {});
if (task !== undefined)
  process.send?.(task.kind === "count" ? measureCount(task.rules, task.quick) : measureLoad(task));

function measureCount(rules: number, quick: boolean): RulesAtCount {
  const random = createRandom(seed + rules);
  const patterns = generatePatterns(random, rules);
  const table = build(() => createTableFind(createHostTable(patterns)));
  const probe = build(() => createSuffixProbeFind(patterns));
  const trie = build(() => createTrieFind(patterns));
  const hosts = generateHosts(random, "hits", patterns, (hostname) => probe.value(hostname) !== -1);
  const ruleset = build(() => generateRuleset(patterns));
  const decide = createDecide(ruleset.value);
  const cached = build(() => {
    const find = createCached(decide, hosts.length);
    for (const host of hosts) find(host);
    return find;
  });
  const minimatch = rules <= mostForMinimatch ? build(() => createMinimatchFind(patterns)) : undefined;

  const finds = new Map([
    [plan.compiledTable, table.value],
    [plan.trie, trie.value],
    ...(minimatch === undefined ? [] : [[plan.minimatchLoop, minimatch.value] as const]),
  ]);
  assertSameAnswers(hosts, patterns, probe.value, finds);
  const operations: readonly (readonly [string, Operation, Built<unknown> | undefined])[] = [
    [plan.stringAlone, (hostname) => hostname.length, undefined],
    [plan.compiledTable, table.value, table],
    [plan.wholeDecision, decide, ruleset],
    [plan.cacheHit, cached.value, cached],
    [plan.suffixProbe, probe.value, probe],
    [plan.trie, trie.value, trie],
    ...(minimatch === undefined ? [] : [[plan.minimatchLoop, minimatch.value, minimatch] as const]),
  ];
  const times = measureTimes(hosts, operations, quick ? 3 : plan.rounds);
  return {
    rules,
    contenders: operations.map(([name, , built]) => ({
      name,
      ns: median(times.map((round) => round.get(name) ?? Number.NaN)),
      ratio: median(times.map((round) => (round.get(name) ?? Number.NaN) / (round.get(plan.cacheHit) ?? Number.NaN))),
      ...(built === undefined ? {} : { megabytes: built.megabytes, buildMs: built.buildMs }),
    })),
  };
}

/** ns of each contender, round by round; all side by side in each. */
function measureTimes(
  hosts: readonly string[],
  operations: readonly (readonly [string, Operation, unknown])[],
  rounds: number,
): readonly ReadonlyMap<string, number>[] {
  const fresh = createFreshHosts(hosts);
  const samples = operations.map(([name, operation]) => {
    const inSample = name === plan.minimatchLoop ? 8 : 256;
    return { name, inSample, run: createSample(fresh, operation, inSample) };
  });
  return Array.from({ length: rounds }, () => {
    const round = new Map<string, number>();
    for (const { name, inSample, run } of samples) {
      runFor(run, plan.warmupMs);
      round.set(name, median(runFor(run, plan.measuredMs)) / inSample);
    }
    return round;
  });
}

/** ns of each run. */
function runFor(run: () => void, ms: number): readonly number[] {
  const times: number[] = [];
  const until = performance.now() + ms;
  do {
    const at = process.hrtime.bigint();
    run();
    times.push(Number(process.hrtime.bigint() - at));
  } while (performance.now() < until);
  return times;
}

function measureLoad({ rules, directory }: Extract<RulesTask, { kind: "load" }>): PolicyLoad {
  const patterns = generatePatterns(createRandom(seed + rules), rules);
  const path = join(directory, "site.yaml");
  writeFileSync(path, `version: 1\nname: site\nrules:\n${patterns.map(ruleText).join("")}`);
  const begun = performance.now();
  const loaded = loadPolicySet({ ...disk, files: [path], packsDir: directory });
  const read = performance.now();
  if (loaded.kind === "problems")
    throw new Error(`the policy is refused: ${JSON.stringify(loaded.problems.slice(0, 3))}`);
  const ruleset = compileRuleset(loaded.set);
  const compiled = performance.now();
  if (ruleset.hostGroups.length !== rules) throw new Error("rules are missing");
  return {
    rules,
    fileMegabytes: statSync(path).size / megabyte,
    readMs: read - begun,
    compileMs: compiled - read,
    // maxRSS is in kibibytes.
    peakMegabytes: (process.resourceUsage().maxRSS * 1024) / megabyte,
  };
}

function ruleText({ text }: Pattern, number: number): string {
  return `  - id: rule-${number}\n    hosts: ["${text}"]\n    expect: https\n`;
}

function build<T>(make: () => T): Built<T> {
  const before = bytesAlive();
  const begun = performance.now();
  const value = make();
  const buildMs = performance.now() - begun;
  return { value, megabytes: Math.max(0, bytesAlive() - before) / megabyte, buildMs };
}

function bytesAlive(): number {
  // What the first one finds dead may have kept something else alive.
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
