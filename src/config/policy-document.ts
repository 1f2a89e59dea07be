/** One policy file, read and judged by its schema, before its parts become rules, groups and uses. */
import { basename, resolve, dirname } from "node:path";
import { type Diagnostics, createDiagnostics } from "./diagnostics.ts";
import { type Disk, readFailure } from "./disk.ts";
import { type RawPolicy, policyRemainder, policySchema, policyVocabulary } from "./policy-schema.ts";
import type { Problem } from "./problem.ts";
import { judge } from "./schema-problems.ts";
import { parseYaml, problemOfFile } from "./yaml.ts";
import { type YamlNode, entryOf } from "./yaml-tree.ts";

export type PolicyDocument = {
  readonly kind: "site" | "pack";
  /** The path as the user gave it. */
  readonly path: string;
  readonly raw: RawPolicy;
  /** The tree that `raw` stands for. */
  readonly root: YamlNode;
  readonly diagnostics: Diagnostics;
};

/**
 * Reads a policy file. A file is a pack when it lies in the packs directory, declares `params`, or is `used` by
 * another. Undefined where nothing of it could be read; whatever is wrong is added to `problems`.
 */
export function readPolicyDocument(
  disk: Disk,
  packsDir: string,
  path: string,
  used: boolean,
  problems: Problem[],
): PolicyDocument | undefined {
  let content: string;
  try {
    content = disk.readFile(path);
  } catch (error) {
    problems.push(problemOfFile(path, readFailure(error)));
    return undefined;
  }
  const reading = parseYaml(path, content);
  problems.push(...reading.problems);
  if (reading.file === undefined) return undefined;
  const judged = judge(reading.file, policySchema, policyRemainder, policyVocabulary);
  problems.push(...judged.problems);
  const { value: raw, root } = judged;
  if (raw === undefined) return undefined;
  const diagnostics = createDiagnostics(reading.file.source, problems);
  const shipped = isIn(packsDir, path);
  const kind = used || shipped || raw.params !== undefined ? "pack" : "site";
  const document: PolicyDocument = { kind, path, raw, root, diagnostics };
  checkKeys(document, shipped);
  return document;
}

/** True for a file that lies directly in the packs directory. */
function isIn(packsDir: string, path: string): boolean {
  return resolve(packsDir) === dirname(resolve(path));
}

function checkKeys(document: PolicyDocument, shipped: boolean): void {
  const { kind, raw, root, diagnostics, path } = document;
  if (kind === "pack") checkPackKeys(document);
  const stem = basename(path).replace(/\.ya?ml$/, "");
  if (shipped && raw.name !== undefined && raw.name !== stem) {
    diagnostics.value(root, ["name"], `differs from the name of its file, by which it is used: ${stem}`, stem);
  }
  if (
    kind === "site" &&
    (raw.use ?? []).length === 0 &&
    (raw.rules ?? []).length === 0 &&
    entryOf(root, "name") !== undefined
  ) {
    diagnostics.value(root, ["name"], "has neither rules nor packs: it allows nothing", undefined, "warning");
  }
}

function checkPackKeys({ raw, root, diagnostics }: PolicyDocument): void {
  const belongs = "belongs to site policies, and this file is a pack";
  for (const key of ["use", "clients", "tests"]) {
    if (entryOf(root, key) !== undefined) diagnostics.key(root, [key], belongs);
  }
  if (raw.defaults?.mode !== undefined) diagnostics.key(root, ["defaults", "mode"], belongs);
  for (const [i, rule] of (raw.rules ?? []).entries()) {
    if (rule.clients !== undefined)
      diagnostics.key(root, ["rules", i, "clients"], `${belongs}: name the clients where it is used`);
  }
  if (raw.rules === undefined) diagnostics.value(root, ["name"], "has no rules");
}
