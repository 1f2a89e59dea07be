/** How it grows with the number of rules: decision time and memory beside the alternatives, and how long a policy takes to load. */
import { fileURLToPath } from "node:url";
import { askModule, forkModule, stopChild } from "./children.ts";

/** One number of rules. Times of a host as fresh bytes that a rule covers. */
export type RulesAtCount = {
  readonly rules: number;
  readonly contenders: readonly {
    readonly name: string;
    /** Median of the rounds, making the string included. */
    readonly ns: number;
    /** To an lru-cache hit of the same round. */
    readonly ratio: number;
    /** What it holds beyond the patterns, in MB; absent where it holds nothing. */
    readonly megabytes?: number;
    readonly buildMs?: number;
  }[];
};

export type PolicyLoad = {
  readonly rules: number;
  readonly fileMegabytes: number;
  /** YAML to validated values, with the position of each. */
  readonly readMs: number;
  /** Values to the ruleset that decides. */
  readonly compileMs: number;
  readonly peakMegabytes: number;
};

export type RulesResult = { readonly counts: readonly RulesAtCount[]; readonly load: PolicyLoad };

/** What a child is asked for, in a process of its own, so that no heap is measured with another's remains. */
export type RulesTask =
  | { readonly kind: "count"; readonly rules: number; readonly quick: boolean }
  | { readonly kind: "load"; readonly rules: number; readonly directory: string };

const ruleCounts = [10, 100, 1_000, 10_000, 100_000, 1_000_000] as const;
const loadedRules = 100_000;
const deadlineMs = 10 * 60_000;
/** A million rules as objects, and a tree of Maps of them. */
const heapMegabytes = 12_000;

export async function measureRules(
  directory: string,
  quick: boolean,
  say: (line: string) => void,
): Promise<RulesResult> {
  const counts: RulesAtCount[] = [];
  for (const rules of quick ? ruleCounts.slice(0, -1) : ruleCounts) {
    const at = (await inChild({ kind: "count", rules, quick })) as RulesAtCount;
    counts.push(at);
    const figures = at.contenders.map(({ name, ns }) => `${name} ${Math.round(ns)}`);
    say(`rules ${rules.toLocaleString("en")}, ns: ${figures.join(" | ")}`);
  }
  const load = (await inChild({ kind: "load", rules: loadedRules, directory })) as PolicyLoad;
  say(
    `rules: ${loadedRules.toLocaleString("en")} from YAML: read ${seconds(load.readMs)}, compiled ${seconds(load.compileMs)}`,
  );
  return { counts, load };
}

async function inChild(task: RulesTask): Promise<unknown> {
  const path = fileURLToPath(new URL("rules-child.ts", import.meta.url));
  const execArgv = [...process.execArgv, `--max-old-space-size=${heapMegabytes}`];
  const child = forkModule(path, [], { execArgv });
  try {
    return await askModule(child, task, deadlineMs);
  } finally {
    await stopChild(child);
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
