/** The results as they are written to disk: everything that the tables and the pictures are made of. */
import { readFileSync } from "node:fs";
import { arch, cpus, loadavg, totalmem } from "node:os";
import type { Work } from "./plan.ts";
import type { RulesResult } from "./rules.ts";

/** One figure of one contender in one round. */
export type Sample = {
  readonly metric: string;
  readonly contender: string;
  readonly round: number;
  readonly value: number;
};

export type Results = {
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Machine;
  readonly options: { readonly rounds: number; readonly sampleMs: number; readonly works: readonly Work[] };
  readonly contenders: readonly { readonly name: string; readonly version: string; readonly note?: string }[];
  /** Who took no part, or not in all works, and why. */
  readonly leftOut: readonly { readonly name: string; readonly problem: string }[];
  readonly samples: readonly Sample[];
  readonly rules?: RulesResult;
};

export type Machine = {
  readonly processor: string;
  readonly cores: number;
  readonly architecture: string;
  readonly memoryGb: number;
  readonly node: string;
  /** Over the last minute, before the run: what else the machine did. */
  readonly load: number;
};

export function describeMachine(): Machine {
  return {
    processor: cpus()[0]?.model ?? "unknown processor",
    cores: cpus().length,
    architecture: arch(),
    memoryGb: Math.round(totalmem() / 1e9),
    node: process.version,
    load: loadavg()[0] ?? Number.NaN,
  };
}

/** A file that this program wrote. */
export function readResults(path: string): Results {
  return JSON.parse(readFileSync(path, "utf8")) as Results;
}
