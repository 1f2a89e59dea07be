/** Judges a YAML tree by a zod schema, and says each disagreement as a problem at its place. */
import { z } from "zod";
import type { Problem } from "./problem.ts";
import { suggest } from "./suggest.ts";
import { type SourceText, placeAt } from "./source-text.ts";
import { suggestForm, textForm } from "./text-forms.ts";
import {
  type YamlFile,
  type YamlNode,
  type YamlPath,
  entryOf,
  nodeAt,
  problemAt,
  problemAtKey,
  pruneTree,
  textOf,
  valueOf,
} from "./yaml-tree.ts";

/** What could be read. `root` is the tree that `value` stands for: without the parts that were refused. */
export type Judged<T> = {
  readonly value: T | undefined;
  readonly root: YamlNode;
  readonly problems: readonly Problem[];
};

/** Words for one schema: what a key of it was called elsewhere, and the keys that this version does not have. */
export type Vocabulary = {
  /** Why a key that looks known is refused: the clause that completes "KEY …". Paths without list positions, joined with a dot. */
  readonly refusedKeys: Readonly<Record<string, string>>;
};

type Issue = z.core.$ZodIssue;

const maxPrunings = 8;

/**
 * Judges the tree by `schema`. Where it disagrees, the parts at fault are cut out and the rest is read by `remainder`,
 * the same schema with nothing required, so that one mistake does not hide the next.
 */
export function judge<T>(
  file: YamlFile,
  schema: z.ZodType<T>,
  remainder: z.ZodType<T>,
  vocabulary: Vocabulary,
): Judged<T> {
  const first = schema.safeParse(valueOf(file.root), silent);
  if (first.success) return { value: first.data, root: file.root, problems: [] };
  const issues = first.error.issues.flatMap(narrowed);
  const problems = issues.flatMap((issue) => describe(file, issue, schema, vocabulary));
  let root: YamlNode | undefined = file.root;
  let next: readonly Issue[] = issues;
  for (let round = 0; round < maxPrunings && root !== undefined; round++) {
    root = pruneTree(
      root,
      next.flatMap((issue) => faultyPaths(issue, root)),
    );
    if (root === undefined) break;
    const again = remainder.safeParse(valueOf(root), silent);
    if (again.success) return { value: again.data, root, problems };
    next = again.error.issues.flatMap(narrowed);
  }
  return { value: undefined, root: file.root, problems };
}

/** Words come from here and not from zod; a schema's own `error` wins, and is the name of a text form or a clause. */
const silent = { error: () => "" };

/** An issue of a union, answered by the branch that the value was meant for: the one that agrees on the type. */
function narrowed(issue: Issue): Issue[] {
  if (issue.code !== "invalid_union" || !("errors" in issue)) return [issue];
  const meant = issue.errors.filter((branch) => !branch.some((inner) => inner.path.length === 0 && isTypeIssue(inner)));
  const [branch] = meant;
  if (meant.length !== 1 || branch === undefined) return [issue];
  return branch.flatMap((inner) => narrowed({ ...inner, path: [...issue.path, ...inner.path] }));
}

function isTypeIssue(issue: Issue): boolean {
  return issue.code === "invalid_type" || issue.code === "invalid_value";
}

function faultyPaths(issue: Issue, root: YamlNode | undefined): YamlPath[] {
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => [...issue.path, key]);
  // What is missing cannot be cut out; `remainder` does not ask for it.
  return nodeAt(root, issue.path) === undefined &&
    entryOf(nodeAt(root, issue.path.slice(0, -1)), lastOf(issue.path)) === undefined
    ? []
    : [issue.path];
}

function describe(file: YamlFile, issue: Issue, schema: z.ZodType, vocabulary: Vocabulary): Problem[] {
  const { source, root } = file;
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => describeUnknownKey(file, [...issue.path, key], schema, vocabulary));
  }
  const parent = nodeAt(root, issue.path.slice(0, -1));
  const key = lastOf(issue.path);
  const entry = entryOf(parent, key);
  const node = nodeAt(root, issue.path);
  if (node === undefined) return [describeMissing(source, root, issue.path)];
  if (issue.code === "invalid_key" && entry !== undefined) {
    const [inner] = issue.issues;
    const form = textForm(inner?.message ?? "");
    return [problemAtKey(source, entry, form?.message ?? "is no fitting name", form && suggestForm(form, entry.key))];
  }
  if (node.kind === "scalar" && node.value === null && entry !== undefined && isTypeIssue(issue)) {
    return [problemAtKey(source, entry, "has no value: give it one, or leave the key out")];
  }
  const { message, instead } = clause(issue, node, source);
  return [problemAt(source, node, message, instead)];
}

function describeUnknownKey(file: YamlFile, path: YamlPath, schema: z.ZodType, vocabulary: Vocabulary): Problem {
  const { source, root } = file;
  const parentPath = path.slice(0, -1);
  const parent = nodeAt(root, parentPath);
  const key = lastOf(path);
  const entry = entryOf(parent, key);
  const name = String(key);
  const known = keysAt(schema, parentPath);
  const dotted = path.filter((step) => typeof step !== "number").join(".");
  const refused = Object.hasOwn(vocabulary.refusedKeys, dotted) ? vocabulary.refusedKeys[dotted] : undefined;
  const closest = refused === undefined ? suggest(name, known) : undefined;
  const message =
    refused ??
    (closest === undefined ? `is no key here: one of ${known.join(", ")}` : `is no key here: did you mean ${closest}?`);
  if (entry === undefined) return problemAt(source, parent ?? root, message);
  return problemAtKey(source, entry, message, closest);
}

/** A missing key is reported where its mapping begins, under the name that the mapping goes by. */
function describeMissing(source: SourceText, root: YamlNode, path: YamlPath): Problem {
  const parentPath = path.slice(0, -1);
  const parent = nodeAt(root, parentPath) ?? root;
  const named = nodeAt(parent, ["id"]) ?? nodeAt(parent, ["pack"]);
  const key = lastOf(parentPath);
  const owner = typeof key === "string" ? entryOf(nodeAt(root, parentPath.slice(0, -1)), key) : undefined;
  const message = `has no ${String(lastOf(path))}`;
  if (owner !== undefined) return problemAtKey(source, owner, message);
  if (named !== undefined) return problemAt(source, named, message);
  if (parentPath.length === 0) {
    return {
      severity: "error",
      place: { ...placeAt(source, 0), line: 1, column: 1 },
      offending: source.file,
      message,
      instead: undefined,
    };
  }
  return problemAt(source, parent, message);
}

type Clause = { readonly message: string; readonly instead: string | undefined };

function clause(issue: Issue, node: YamlNode, source: SourceText): Clause {
  const text = textOf(source, node);
  const form = textForm(issue.message);
  if (form !== undefined) return { message: form.message, instead: suggestForm(form, text) };
  if (issue.message !== "") return { message: issue.message, instead: undefined };
  switch (issue.code) {
    case "invalid_type":
      return typeClause(issue.expected, node, text);
    case "invalid_value":
      return valueClause(issue.values.map(String), node, text);
    case "too_small":
      if (issue.origin === "array" || issue.origin === "string") return { message: "is empty", instead: undefined };
      return { message: `is too small: at least ${String(issue.minimum)}`, instead: String(issue.minimum) };
    case "too_big":
      if (issue.origin === "array")
        return { message: `has too many entries: at most ${String(issue.maximum)}`, instead: undefined };
      if (issue.origin === "string")
        return { message: `is too long: at most ${String(issue.maximum)} characters`, instead: undefined };
      return { message: `is too large: at most ${String(issue.maximum)}`, instead: String(issue.maximum) };
    case "invalid_union":
      return unionClause(issue, node, text);
    default:
      return { message: "does not belong here", instead: undefined };
  }
}

function typeClause(expected: string, node: YamlNode, text: string): Clause {
  const scalar = node.kind === "scalar";
  if (expected === "string" && scalar && node.value !== null) {
    const kind = typeof node.value === "number" ? "a number" : "true or false";
    return { message: `is read by YAML as ${kind}: quote it`, instead: `"${text}"` };
  }
  if (expected === "array" && scalar) return { message: "is one value where a list is needed", instead: `[${text}]` };
  const needed = typeNames[expected] ?? expected;
  return { message: `is ${nodeNames[node.kind]}: ${needed} is needed`, instead: undefined };
}

function valueClause(values: readonly string[], node: YamlNode, text: string): Clause {
  const list =
    values.length === 1 ? `only ${String(values[0])} is known here` : `one of ${values.join(", ")} is needed`;
  if (node.kind !== "scalar") return { message: `is ${nodeNames[node.kind]}: ${list}`, instead: undefined };
  if (typeof node.value !== "string") {
    if (values.includes(text))
      return {
        message: `is read by YAML as ${typeof node.value === "number" ? "a number" : "true or false"}: quote it`,
        instead: `"${text}"`,
      };
    return { message: `does not fit: ${list}`, instead: undefined };
  }
  const closest = suggest(node.value, values) ?? (values.length === 1 ? values[0] : undefined);
  return { message: `is unknown: ${list}`, instead: closest };
}

function unionClause(issue: Issue, node: YamlNode, text: string): Clause {
  const wanted = new Set<string>();
  let string: Issue | undefined;
  for (const inner of "errors" in issue ? issue.errors.flat() : []) {
    if (inner.path.length > 0) continue;
    if (inner.code === "invalid_type" && inner.expected === "string") string = inner;
    if (inner.code === "invalid_type") wanted.add(typeNames[inner.expected] ?? inner.expected);
    if (inner.code === "invalid_value") wanted.add(inner.values.map(String).join(", "));
  }
  if (string !== undefined && node.kind === "scalar") return clause(string, node, { file: "", text, lineStarts: [0] });
  return { message: `is ${nodeNames[node.kind]}: ${[...wanted].join(" or ")} is needed`, instead: undefined };
}

const typeNames: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping",
  record: "a mapping",
};
const nodeNames = { scalar: "a single value", list: "a list", map: "a mapping" } as const;

/** The keys that a schema knows at a path. */
function keysAt(schema: z.core.$ZodType, path: YamlPath): string[] {
  const [step, ...rest] = path;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return keysAt(schema.unwrap(), path);
  if (schema instanceof z.ZodUnion) return [...new Set(schema.options.flatMap((option) => keysAt(option, path)))];
  if (schema instanceof z.ZodObject) {
    if (step === undefined) return Object.keys(schema.shape);
    const next = new Map<string, z.core.$ZodType>(Object.entries(schema.shape)).get(String(step));
    return next === undefined ? [] : keysAt(next, rest);
  }
  if (schema instanceof z.ZodArray && step !== undefined) return keysAt(schema.element, rest);
  if (schema instanceof z.ZodRecord && step !== undefined) return keysAt(schema.valueType, rest);
  return [];
}

function lastOf(path: YamlPath): PropertyKey {
  return path.at(-1) ?? "";
}
