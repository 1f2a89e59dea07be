/** One pack, with values for its parameters, as if a site policy used it and nothing else. */
import { basename, dirname, join } from "node:path";
import type { PolicyFile, PolicySet } from "../policy/rule.ts";
import type { Disk } from "./disk.ts";
import { loadPolicySet } from "./load.ts";
import type { Problem } from "./problem.ts";

export type PackParameterValues = Readonly<Record<string, string | readonly string[]>>;

export type PackAlone =
  | {
      readonly kind: "loaded";
      readonly set: PolicySet;
      readonly pack: PolicyFile;
      readonly notices: readonly Problem[];
    }
  | {
      readonly kind: "problems";
      /** What is wrong with the values; their places mean nothing. */
      readonly ofValues: readonly Problem[];
      /** What is wrong with the pack's own file. */
      readonly ofPack: readonly Problem[];
    };

/** Loads the pack at a path; without `values` it is used in the plain way, which a pack with parameters may refuse. */
export function loadPackAlone(
  disk: Disk,
  packsDir: string,
  packPath: string,
  values: PackParameterValues | undefined,
): PackAlone {
  // In a directory of its own: whatever lies beside packs is taken for one.
  const site = join(dirname(packPath), "(alone)", "site.yaml");
  const use = { pack: `../${basename(packPath)}`, ...(values === undefined ? {} : { with: values }) };
  const text = `version: 1\nname: a-site-that-uses-one-pack\nuse: [${JSON.stringify(use)}]\n`;
  const readFile = (path: string): string => (path === site ? text : disk.readFile(path));
  const loaded = loadPolicySet({ ...disk, readFile, files: [site], packsDir });
  if (loaded.kind === "problems") {
    const ofValues = loaded.problems.filter(({ place }) => place.file === site);
    return { kind: "problems", ofValues, ofPack: loaded.problems.filter(({ place }) => place.file !== site) };
  }
  const pack = loaded.set.files.find(({ kind }) => kind === "pack");
  if (pack === undefined) throw new Error(`${packPath} was used and is not there`);
  return { kind: "loaded", set: loaded.set, pack, notices: loaded.notices };
}
