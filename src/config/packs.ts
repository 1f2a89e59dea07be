/** The packs of a directory, told in a few words each: what `sallyport packs` shows. */
import { join } from "node:path";
import type { Source } from "../policy/rule.ts";
import type { Disk } from "./disk.ts";
import { knownPacks } from "./pack-uses.ts";
import { type PolicyDocument, readPolicyDocument } from "./policy-document.ts";
import { type Problem, sortProblems } from "./problem.ts";

export type PackSummary = {
  readonly name: string;
  readonly path: string;
  readonly title: string | undefined;
  readonly description: string | undefined;
  /** Rules in the file; with parameters, not all of them exist in every use. */
  readonly rules: number;
  /** Documents that the rules come from, each once. */
  readonly sources: readonly Pick<Source, "title" | "address">[];
  /** ISO dates of the rule that was checked longest ago and of the one checked last. */
  readonly checked: { readonly first: string; readonly last: string } | undefined;
  readonly params: readonly PackParameter[];
};
export type PackParameter = {
  readonly name: string;
  readonly description: string | undefined;
  /** Undefined where any label, or any host name, will do. */
  readonly values: readonly string[] | undefined;
  readonly kind: "label" | "host" | undefined;
  readonly optional: boolean;
};

/** By name. A pack with problems is listed as far as it can be read; its problems are complete only when it is loaded. */
export function listPacks(
  disk: Disk,
  packsDir: string,
): { readonly packs: readonly PackSummary[]; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const packs = knownPacks(disk, packsDir).flatMap((name) => {
    const path = join(packsDir, `${name}.yaml`);
    const document = readPolicyDocument(disk, packsDir, path, true, problems);
    return document === undefined ? [] : [summarize(name, path, document)];
  });
  return { packs, problems: sortProblems(problems) };
}

function summarize(name: string, path: string, { raw }: PolicyDocument): PackSummary {
  const rules = raw.rules ?? [];
  const sources = new Map<string, Pick<Source, "title" | "address">>();
  const checked: string[] = [];
  for (const { source } of rules) {
    if (source === undefined) continue;
    const { title, address } = typeof source === "string" ? { title: source } : source;
    sources.set(JSON.stringify([title, address]), { title, address });
    if (typeof source !== "string" && source.checked !== undefined) checked.push(source.checked);
  }
  checked.sort();
  const [first] = checked;
  const params = Object.entries(raw.params ?? {}).map(([parameter, { description, values, kind, optional }]) => {
    return { name: parameter, description, values, kind, optional: optional ?? false };
  });
  return {
    name,
    path,
    title: raw.title,
    description: raw.description,
    rules: rules.length,
    sources: [...sources.values()],
    checked: first === undefined ? undefined : { first, last: checked.at(-1) ?? first },
    params,
  };
}
