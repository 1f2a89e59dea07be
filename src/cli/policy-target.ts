/** What `check` and `diff` are pointed at: policy files or a configuration, loaded and compiled. */
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import type { Disk } from "../config/disk.ts";
import { loadPolicySet, loadSettings } from "../config/load.ts";
import { casesOfPack, packOfCases } from "../config/pack-cases.ts";
import { type Problem, hasErrors, sortProblems } from "../config/problem.ts";
import { checkGroupReferences } from "../config/read-groups.ts";
import type { PolicyTest } from "../config/read-tests.ts";
import { compileRuleset } from "../policy/compile.ts";
import type { PolicySet } from "../policy/rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { Io } from "./io.ts";

export type PolicyTarget =
  /** sallyport.yaml and the policies it names; without a path, what environment and defaults say. */
  | { readonly kind: "config"; readonly path: string | undefined; readonly policy: readonly string[] | undefined }
  /** Policies that belong together. */
  | { readonly kind: "policies"; readonly paths: readonly string[] }
  /** A pack that is looked at alone. */
  | { readonly kind: "pack"; readonly path: string };

export type LoadedTarget =
  | {
      readonly kind: "loaded";
      readonly set: PolicySet;
      readonly ruleset: Ruleset;
      readonly tests: readonly PolicyTest[];
      /** Groups that listeners name. */
      readonly listenerGroups: ReadonlySet<string>;
      readonly notices: readonly Problem[];
    }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

const defaultConfig = "sallyport.yaml";

/** The configured policies: those of --policy, of --config, of ./sallyport.yaml, or the one that ships. */
export function configuredTarget(
  { config, policy }: { readonly config?: string; readonly policy?: readonly string[] },
  io: Io,
): PolicyTarget {
  return { kind: "config", path: configPath(config, io), policy };
}

/** The configuration: that of --config, else ./sallyport.yaml where there is one. */
export function configPath(
  given: string | undefined,
  { fileExists, cwd }: Pick<Io, "fileExists" | "cwd">,
): string | undefined {
  return given ?? (fileExists(join(cwd, defaultConfig)) ? defaultConfig : undefined);
}

/**
 * Sorts files: each configuration is a target, each pack is looked at alone, and all site policies belong together.
 * A file of cases stands for its pack.
 */
export function targetsOf(files: readonly string[], io: Io): readonly PolicyTarget[] {
  const targets: PolicyTarget[] = [];
  const sites: string[] = [];
  const packs = new Set<string>();
  for (const file of files) {
    const path = packOfCases(file) ?? file;
    const kind = kindOf(path, io);
    if (kind === "config") targets.push({ kind: "config", path, policy: undefined });
    else if (kind === "site") sites.push(path);
    else packs.add(path);
  }
  if (sites.length > 0) targets.unshift({ kind: "policies", paths: sites });
  return [...targets, ...[...packs].map((path) => ({ kind: "pack", path }) as const)];
}

/** Loads and compiles; every problem of every file at once. Paths in messages are as they were given. */
export function loadTarget(target: PolicyTarget, io: Io): LoadedTarget {
  const disk = diskAt(io);
  if (target.kind === "policies") return loadPolicies(disk, packsDirOf(io), target.paths, new Set(), []);
  // A file in the packs directory is a pack, wherever that directory is.
  if (target.kind === "pack") return loadPolicies(disk, dirname(target.path), [target.path], new Set(), []);
  const settings = loadSettings({ ...disk, path: target.path, flags: { policy: target.policy }, env: io.env });
  const configured = settings.kind === "loaded" ? settings.settings.policy : settings.policy;
  const paths = configured.length === 0 ? [join(io.policiesDir, "default.yaml")] : configured;
  if (settings.kind === "problems") {
    const policies = loadPolicies(disk, packsDirOf(io), paths, new Set(), []);
    const more = policies.kind === "problems" ? policies.problems : policies.notices;
    return { kind: "problems", problems: sortProblems([...settings.problems, ...more]) };
  }
  const groups = new Set(settings.groupReferences.map(({ name }) => name));
  const policies = loadPolicies(disk, packsDirOf(io), paths, groups, settings.notices);
  if (policies.kind === "problems") return policies;
  const references = checkGroupReferences(settings.groupReferences, policies.set.groups);
  return hasErrors(references)
    ? { kind: "problems", problems: sortProblems([...policies.notices, ...references]) }
    : policies;
}

/** The disk, seen from the directory that paths are relative to. */
export function diskAt({ disk, cwd }: Pick<Io, "disk" | "cwd">): Disk {
  const at = (path: string): string => (isAbsolute(path) ? path : join(cwd, path));
  return {
    readFile: (path) => disk.readFile(at(path)),
    listFiles: (path) => disk.listFiles(at(path)),
    isOpenToOthers: (path) => disk.isOpenToOthers?.(at(path)) === true,
  };
}

export function packsDirOf({ policiesDir }: Pick<Io, "policiesDir">): string {
  return join(policiesDir, "packs");
}

function loadPolicies(
  disk: Disk,
  packsDir: string,
  paths: readonly string[],
  listenerGroups: ReadonlySet<string>,
  earlier: readonly Problem[],
): LoadedTarget {
  const loaded = loadPolicySet({ ...disk, files: paths, packsDir });
  if (loaded.kind === "problems") return { kind: "problems", problems: sortProblems([...earlier, ...loaded.problems]) };
  const { set, tests } = loaded;
  const notices = sortProblems([...earlier, ...loaded.notices]);
  return { kind: "loaded", set, tests, notices, listenerGroups, ruleset: compileRuleset(set) };
}

/** By what stands at the left margin, and where that says nothing, by name and place. */
function kindOf(path: string, io: Io): "config" | "site" | "pack" {
  const text = textOf(path, io);
  const isShipped = resolve(io.cwd, dirname(path)) === resolve(packsDirOf(io));
  if (isShipped || /^params\s*:/m.test(text) || textOf(casesOfPack(path), io) !== "") return "pack";
  if (/^(name|rules|use|tests|clients|defaults)\s*:/m.test(text)) return "site";
  if (/^(listen|admin|policy|workers|via|dns|connect_to|parents|limits|reload|log|denials|pac)\s*:/m.test(text))
    return "config";
  return basename(path).startsWith("sallyport") ? "config" : "site";
}

function textOf(path: string, io: Io): string {
  try {
    return diskAt(io).readFile(path);
  } catch {
    // What cannot be read is said by the loader, at its place.
    return "";
  }
}
