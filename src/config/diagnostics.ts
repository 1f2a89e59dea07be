/** Collects the problems of one file, each with its place. */
import type { Problem, Severity } from "./problem.ts";
import type { SourceText } from "./source-text.ts";
import { type YamlNode, type YamlPath, entryOf, nodeAt, problemAt, problemAtKey } from "./yaml-tree.ts";

/** Reports against one file. A path that leads nowhere is reported at the last node on the way. */
export type Diagnostics = {
  readonly source: SourceText;
  /** At a value below `node`. */
  readonly value: (node: YamlNode, path: YamlPath, message: string, instead?: string, severity?: Severity) => void;
  /** At the key that a path ends in. */
  readonly key: (node: YamlNode, path: YamlPath, message: string, severity?: Severity) => void;
};

export function createDiagnostics(source: SourceText, problems: Problem[]): Diagnostics {
  const value: Diagnostics["value"] = (node, path, message, instead, severity) => {
    problems.push(problemAt(source, deepest(node, path), message, instead, severity));
  };
  const key: Diagnostics["key"] = (node, path, message, severity) => {
    const entry = entryOf(nodeAt(node, path.slice(0, -1)), path.at(-1) ?? "");
    if (entry === undefined) value(node, path, message, undefined, severity);
    else problems.push(problemAtKey(source, entry, message, undefined, severity));
  };
  return { source, value, key };
}

/** What a node stands for in a message: a rule for its id. */
export function nameNode(node: YamlNode): YamlNode {
  return nodeAt(node, ["id"]) ?? nodeAt(node, ["pack"]) ?? nodeAt(node, ["request"]) ?? node;
}

function deepest(node: YamlNode, path: YamlPath): YamlNode {
  let at = node;
  for (const step of path) {
    const next = nodeAt(at, [step]);
    if (next === undefined) return path.length > 0 && at === node ? nameNode(at) : at;
    at = next;
  }
  return at;
}
