/** What a YAML file says, as a plain tree that knows where each part stands. Free of the library that read it. */
import type { Problem, Severity } from "./problem.ts";
import { type SourceText, lineAt, placeAt } from "./source-text.ts";
import { suggest } from "./suggest.ts";

export type YamlNode = YamlScalar | YamlList | YamlMap;
/** `start` and `end` are offsets into the source. */
export type YamlScalar = {
  readonly kind: "scalar";
  readonly value: string | number | boolean | null;
  readonly start: number;
  readonly end: number;
};
export type YamlList = {
  readonly kind: "list";
  readonly items: readonly YamlNode[];
  readonly start: number;
  readonly end: number;
};
/** `cut` holds the keys that were there and were refused: what is wrong is not also missing. */
export type YamlMap = {
  readonly kind: "map";
  readonly entries: readonly YamlEntry[];
  readonly start: number;
  readonly end: number;
  readonly cut?: readonly string[];
};
export type YamlEntry = {
  readonly key: string;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly value: YamlNode;
};

/** A way from a node to one below it: keys and positions. */
export type YamlPath = readonly PropertyKey[];

/** A tree together with the text it was read from. */
export type YamlFile = { readonly source: SourceText; readonly root: YamlNode };

/** The entry of a key, or undefined. */
export function entryOf(node: YamlNode | undefined, key: PropertyKey): YamlEntry | undefined {
  return node?.kind === "map" ? node.entries.find((entry) => entry.key === key) : undefined;
}

/** True when a mapping has the key, had it and was refused its value, or has it misspelt. */
export function hasKey(node: YamlNode, key: string): boolean {
  if (entryOf(node, key) !== undefined) return true;
  return node.kind === "map" && node.cut !== undefined && node.cut.some((name) => suggest(name, [key]) === key);
}

/** The node at the end of a path, or undefined where the path leaves the tree. */
export function nodeAt(node: YamlNode | undefined, path: YamlPath): YamlNode | undefined {
  let at = node;
  for (const step of path) {
    if (at?.kind === "list" && typeof step === "number") at = at.items[step];
    else at = entryOf(at, step)?.value;
  }
  return at;
}

/** The tree as plain data, for a schema to judge. */
export function valueOf(node: YamlNode): unknown {
  if (node.kind === "scalar") return node.value;
  if (node.kind === "list") return node.items.map(valueOf);
  // Not a literal object: `__proto__` is a key like any other.
  const value: Record<string, unknown> = {};
  for (const entry of node.entries) {
    if (entry.key === "__proto__")
      Object.defineProperty(value, entry.key, { value: valueOf(entry.value), enumerable: true });
    else value[entry.key] = valueOf(entry.value);
  }
  return value;
}

/** The tree without what stands at these paths, so that what is left can still be judged. */
export function pruneTree(node: YamlNode, paths: readonly YamlPath[]): YamlNode | undefined {
  if (paths.some((path) => path.length === 0)) return undefined;
  if (paths.length === 0 || node.kind === "scalar") return node;
  const below = new Map<PropertyKey, YamlPath[]>();
  for (const [step, ...rest] of paths) {
    if (step === undefined) continue;
    const known = below.get(step);
    if (known === undefined) below.set(step, [rest]);
    else known.push(rest);
  }
  if (node.kind === "list") {
    const items = node.items.flatMap((item, i) => pruneTree(item, below.get(i) ?? []) ?? []);
    return { ...node, items };
  }
  const cut = [...(node.cut ?? [])];
  const entries = node.entries.flatMap((entry) => {
    const value = pruneTree(entry.value, below.get(entry.key) ?? []);
    if (value !== undefined) return { ...entry, value };
    cut.push(entry.key);
    return [];
  });
  return { ...node, entries, cut };
}

/** The source text of a node; of a list or mapping in block style, its first line. */
export function textOf(source: SourceText, node: { readonly start: number; readonly end: number }): string {
  const text = source.text.slice(node.start, node.end).trimEnd();
  return text.includes("\n") ? lineAt(source, node.start) : text;
}

/** A problem at a value. */
export function problemAt(
  source: SourceText,
  node: { readonly start: number; readonly end: number },
  message: string,
  instead?: string,
  severity: Severity = "error",
): Problem {
  const offending = textOf(source, node).replace(/^(["'])(.*)\1$/, "$2");
  return { severity, place: placeAt(source, node.start), offending, message, instead };
}

/** A problem at a key. */
export function problemAtKey(
  source: SourceText,
  entry: YamlEntry,
  message: string,
  instead?: string,
  severity: Severity = "error",
): Problem {
  return problemAt(source, { start: entry.keyStart, end: entry.keyEnd }, message, instead, severity);
}
