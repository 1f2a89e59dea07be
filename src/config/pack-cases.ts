/** The cases of a pack: requests with the verdict that the pack alone must give, in NAME.cases.yaml beside NAME.yaml. */
import { basename } from "node:path";
import { z } from "zod";
import type { PolicyFile, PolicySet } from "../policy/rule.ts";
import { createDiagnostics } from "./diagnostics.ts";
import { type Disk, readFailure } from "./disk.ts";
import { loadPackAlone } from "./pack-alone.ts";
import type { PolicyDocument } from "./policy-document.ts";
import { policyRemainder, policySchema } from "./policy-schema.ts";
import { type Problem, hasErrors, sortProblems } from "./problem.ts";
import { type PolicyTest, readTests } from "./read-tests.ts";
import { judge } from "./schema-problems.ts";
import { placeAt } from "./source-text.ts";
import { parseYaml, problemOfFile } from "./yaml.ts";
import { type YamlNode, entryOf } from "./yaml-tree.ts";

/** `set` is the pack, used by one site without rules, with the values that its cases give to its parameters. */
export type PackCases =
  | {
      readonly kind: "loaded";
      readonly set: PolicySet;
      readonly pack: PolicyFile;
      readonly cases: readonly PolicyTest[];
      /** Warnings and rewritings, of the pack and of its cases. */
      readonly notices: readonly Problem[];
    }
  | { readonly kind: "absent" }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

const suffix = ".cases.yaml";

/** The pack whose cases a file holds; undefined for a file of another kind. */
export function packOfCases(path: string): string | undefined {
  return path.endsWith(suffix) ? `${path.slice(0, -suffix.length)}.yaml` : undefined;
}

/** Where the cases of a pack stand. */
export function casesOfPack(path: string): string {
  return path.replace(/\.ya?ml$/, suffix);
}

/** Reads the cases of the pack at `packPath`, and the pack itself with the values they give to its parameters. */
export function loadPackCases(disk: Disk, packsDir: string, packPath: string): PackCases {
  const file = casesOfPack(packPath);
  let content: string;
  try {
    content = disk.readFile(file);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return { kind: "absent" };
    return { kind: "problems", problems: [problemOfFile(file, readFailure(error))] };
  }
  const problems: Problem[] = [];
  const document = readCasesDocument(file, content, problems);
  if (document === undefined) return { kind: "problems", problems: sortProblems(problems) };
  const { raw, root, diagnostics } = document;
  const stem = basename(packPath).replace(/\.ya?ml$/, "");
  if (raw.pack !== undefined && raw.pack !== stem) {
    diagnostics.value(root, ["pack"], "is not the pack that this file is named after", stem);
  }

  const alone = loadPackAlone(disk, packsDir, packPath, raw.with);
  if (alone.kind === "problems") {
    const anchor = entryOf(root, "with") ?? entryOf(root, "pack");
    const place = placeAt(diagnostics.source, anchor?.keyStart ?? 0);
    problems.push(...alone.ofPack, ...alone.ofValues.map((problem) => ({ ...problem, place })));
    return { kind: "problems", problems: sortProblems(problems) };
  }
  const { set, pack } = alone;
  const ruleIds = new Set(pack.rules.map((rule) => `${pack.name}/${rule.id}`));
  const cases = readTests(asSite(document), new Set(), ruleIds);
  const sorted = sortProblems([...problems, ...alone.notices]);
  return hasErrors(sorted)
    ? { kind: "problems", problems: sorted }
    : { kind: "loaded", set, pack, cases, notices: sorted };
}

const testSchema = policySchema.shape.tests.unwrap().element;
const testRemainder = policyRemainder.shape.tests.unwrap().unwrap().element;
const withSchema = z.record(z.string(), z.union([z.string(), z.array(z.string()).min(1)]));
const note = z.string().min(1).max(1000).optional();

/** A case is a test with, where it is not evident, a note on the reason. */
const casesSchema = z.strictObject({
  pack: z.string(),
  with: withSchema.optional(),
  cases: z.array(testSchema.extend({ note })).min(1),
});
const casesRemainder = z
  .strictObject({ pack: z.string(), with: withSchema, cases: z.array(testRemainder.extend({ note })) })
  .partial();

type CasesDocument = Pick<PolicyDocument, "path" | "root" | "diagnostics"> & {
  readonly raw: z.infer<typeof casesRemainder>;
};

function readCasesDocument(path: string, content: string, problems: Problem[]): CasesDocument | undefined {
  const reading = parseYaml(path, content);
  problems.push(...reading.problems);
  if (reading.file === undefined) return undefined;
  const {
    value: raw,
    root,
    problems: disagreements,
  } = judge(reading.file, casesSchema, casesRemainder, { refusedKeys: {} });
  problems.push(...disagreements);
  if (raw === undefined) return undefined;
  return { path, raw, root, diagnostics: createDiagnostics(reading.file.source, problems) };
}

/** The cases as the tests of a site policy, which is what reads them. */
function asSite({ path, raw, root, diagnostics }: CasesDocument): PolicyDocument {
  const renamed: YamlNode =
    root.kind === "map"
      ? { ...root, entries: root.entries.map((entry) => (entry.key === "cases" ? { ...entry, key: "tests" } : entry)) }
      : root;
  return { kind: "site", path, raw: { tests: raw.cases ?? [] }, root: renamed, diagnostics };
}
