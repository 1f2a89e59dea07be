/** What the command line, the environment and the files say, loaded, compiled and tested; or told what is wrong with it. */
import { isAbsolute, join } from "node:path";
import type { Disk } from "../config/disk.ts";
import { type Loaded, loadPolicySet, loadSettings } from "../config/load.ts";
import { type Problem, hasErrors, sortProblems } from "../config/problem.ts";
import { checkGroupReferences } from "../config/read-groups.ts";
import { runPolicyTests } from "../config/run-tests.ts";
import type { Settings } from "../config/settings.ts";
import { compileRuleset } from "../policy/compile.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { ExitCode, Io } from "./io.ts";
import { configPath } from "./policy-target.ts";
import { sayProblems } from "./terminal.ts";

/** Options that every command has, and those of `serve` that override settings. */
export type SourceOptions = {
  readonly config?: string;
  readonly policy?: readonly string[];
  readonly json?: boolean;
  readonly listen?: readonly string[];
  readonly admin?: string;
  /** Packs by name, in place of any policy. */
  readonly pack?: readonly string[];
};

/** What was read, or everything that is wrong with it. */
export type ReadSources =
  | {
      readonly kind: "loaded";
      readonly settings: Settings;
      readonly ruleset: Ruleset;
      /** Warnings and rewritings, sorted. */
      readonly notices: readonly Problem[];
      /** Nobody chose a policy: it is the default one. */
      readonly isDefault: boolean;
    }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

export type Sources = Extract<ReadSources, { kind: "loaded" }> | { readonly kind: "failed"; readonly exit: ExitCode };

/** Loads everything; says every problem of every file at once. */
export function loadSources(options: SourceOptions, io: Io, purpose: "start" | "check"): Sources {
  const read = readSources(options, io, purpose);
  if (read.kind === "loaded") return read;
  sayProblems(io, read.problems);
  return { kind: "failed", exit: 3 };
}

/**
 * Loads everything, and says nothing. A policy test that fails rejects the policy, but not at `start`: a reboot must not
 * stop patching (policy.md, "Tests").
 */
export function readSources(
  options: SourceOptions,
  io: Omit<Io, "stdout" | "stderr">,
  purpose: "start" | "check",
): ReadSources {
  const result = readFiles(options, io);
  if (result.kind === "problems") return result;
  const ruleset = compileRuleset(result.loaded.set);
  const failures = runPolicyTests(ruleset, result.loaded.tests, io.now());
  const judged =
    purpose === "start" ? failures.map((failure) => ({ ...failure, severity: "warning" as const })) : failures;
  const notices = sortProblems([...result.notices, ...result.loaded.notices, ...judged]);
  if (hasErrors(notices)) return { kind: "problems", problems: notices };
  return { kind: "loaded", settings: result.settings, ruleset, notices, isDefault: result.isDefault };
}

type Read =
  | {
      readonly kind: "read";
      readonly settings: Settings;
      readonly loaded: Extract<Loaded, { kind: "loaded" }>;
      readonly notices: readonly Problem[];
      readonly isDefault: boolean;
    }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

const commandLineFile = "command line";

function readFiles(options: SourceOptions, io: Omit<Io, "stdout" | "stderr">): Read {
  const path = configPath(options.config, io);
  const { listen, admin, policy } = options;
  const settings = loadSettings({
    ...diskOf(io, undefined),
    path: path === undefined ? undefined : at(io, path),
    flags: { listen, admin, policy: policy?.map((file) => at(io, file)) },
    env: io.env,
    nowMs: io.now(),
  });
  const configured = settings.kind === "loaded" ? settings.settings.policy : settings.policy;
  const packs = options.pack ?? [];
  const isDefault = configured.length === 0 && packs.length === 0;
  const files = packs.length > 0 ? [commandLineFile] : isDefault ? [join(io.policiesDir, "default.yaml")] : configured;
  const loaded = loadPolicySet({ ...diskOf(io, packs), files, packsDir: join(io.policiesDir, "packs") });
  if (settings.kind === "problems") {
    return {
      kind: "problems",
      problems: sortProblems([
        ...settings.problems,
        ...(loaded.kind === "problems" ? loaded.problems : loaded.notices),
      ]),
    };
  }
  if (loaded.kind === "problems")
    return { kind: "problems", problems: sortProblems([...settings.notices, ...loaded.problems]) };
  const references = checkGroupReferences(settings.groupReferences, loaded.set.groups);
  if (hasErrors(references)) return { kind: "problems", problems: sortProblems(references) };
  return { kind: "read", settings: settings.settings, loaded, notices: settings.notices, isDefault };
}

/** Packs given as flags are a site policy that nobody had to write. */
function diskOf(io: Pick<Io, "disk">, packs: readonly string[] | undefined): Disk {
  const written = `version: 1\nname: command-line\nuse: [${(packs ?? []).map((pack) => JSON.stringify(pack)).join(", ")}]\n`;
  return {
    ...io.disk,
    readFile: (path) => (packs !== undefined && path === commandLineFile ? written : io.disk.readFile(path)),
  };
}

function at(io: Pick<Io, "cwd">, path: string): string {
  return isAbsolute(path) ? path : join(io.cwd, path);
}
