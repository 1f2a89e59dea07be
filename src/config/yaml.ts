/** The home of `yaml`: text in, a tree with positions out, and every problem of the text at its place. */
import {
  type CST,
  Composer,
  type Document,
  type Node as LibraryNode,
  type Pair,
  Parser,
  type Scalar,
  isAlias,
  isMap,
  isScalar,
  isSeq,
} from "yaml";
import type { Problem } from "./problem.ts";
import { type SourceText, createSourceText, lineAt, placeAt } from "./source-text.ts";
import { syntaxMessage } from "./yaml-messages.ts";
import { type YamlEntry, type YamlFile, type YamlNode, problemAt, textOf } from "./yaml-tree.ts";

/** Room for more than 100,000 rules; beyond it a file is a mistake. */
export const maxFileLength = 64 * 1024 * 1024;

/** Deeper files are refused before they are composed: V8 ends the process when a regular expression runs out of stack. */
const maxDepth = 64;

/** `file` is undefined where there is nothing to go on with. Problems of the text do not stop the reading. */
export type YamlReading = { readonly file: YamlFile | undefined; readonly problems: readonly Problem[] };

/**
 * Reads one YAML 1.2 document (core schema). Aliases, anchors, tags, merge keys, directives, duplicate keys,
 * further documents, and whatever the library warns of are errors: a policy must not say one thing to its reader
 * and another to the program. An alias is most often an unquoted `*.x.com`, and is read on as that text.
 */
export function parseYaml(path: string, content: string): YamlReading {
  const source = createSourceText(path, content);
  if (content.length > maxFileLength) {
    return { file: undefined, problems: [problemOfFile(path, `is larger than ${maxFileLength / 1024 / 1024} MiB`)] };
  }
  const broken = source.text.search(/[\0\ufffd]/);
  if (broken >= 0) {
    const message = "is not text in UTF-8: save the file in that encoding";
    return { file: undefined, problems: [problemAt(source, { start: broken, end: broken + 1 }, message)] };
  }
  const problems: Problem[] = [];
  const text = withStarKeysMasked(source.text);
  const tokens = [...new Parser().parse(text)];
  if (isTooDeep(tokens)) return { file: undefined, problems: [problemOfFile(path, "is nested too deeply")] };
  const composer = new Composer({ version: "1.2", schema: "core", uniqueKeys: false, prettyErrors: false });
  const documents = [...composer.compose(tokens)];
  const [first, second] = documents;
  if (first?.contents === undefined || first.contents === null) problems.push(problemOfFile(path, "is empty"));
  const context: Context = { source, problems, reported: new Set(), masked: text !== source.text };
  const root = first?.contents ? convert(context, first.contents) : undefined;
  if (first !== undefined) reportLibraryProblems(context, first);
  if (first?.directives?.yaml.explicit === true || Object.keys(first?.directives?.tags ?? {}).length > 1) {
    problems.push(problemAt(source, { start: 0, end: source.text.indexOf("\n") }, "is a YAML directive: leave it out"));
  }
  if (second !== undefined) {
    const start = source.text.indexOf("---", first?.range[1] ?? 0);
    problems.push(
      problemAt(
        source,
        { start: Math.max(start, 0), end: start + 3 },
        "begins a second document: one file is one document",
      ),
    );
  }
  return { file: root === undefined ? undefined : { source, root }, problems };
}

/** A problem of a file as a whole: it is missing, unreadable, empty. */
export function problemOfFile(path: string, message: string): Problem {
  return { severity: "error", place: { file: path, line: 1, column: 1 }, offending: path, message, instead: undefined };
}

type Context = {
  readonly source: SourceText;
  readonly problems: Problem[];
  /** Offsets of aliases, tags and anchors: the library's own words on them add nothing. */
  readonly reported: Set<number>;
  readonly masked: boolean;
};

/**
 * Whoever composes and converts recurses, and running out of stack in there can end the process (a regular expression
 * that V8 then compiles is fatal, not an exception). The tokens are nested without recursion, so they are asked first.
 */
function isTooDeep(tokens: readonly CST.Token[]): boolean {
  let level: readonly (CST.Token | null | undefined)[] = tokens;
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) return true;
    const below: (CST.Token | null | undefined)[] = [];
    for (const token of level) {
      if (token?.type === "document") below.push(token.value);
      else if (token !== null && token !== undefined && "items" in token)
        for (const item of token.items) below.push(item.key, item.value);
    }
    level = below;
  }
  return false;
}

function convert(context: Context, node: LibraryNode | null): YamlNode {
  const [start, end] = node?.range ?? [0, 0];
  if (isAlias(node)) return convertAlias(context, node.source, start);
  const odd = node === null ? undefined : oddity(context, node, start);
  if (isSeq<LibraryNode>(node))
    return { kind: "list", items: node.items.map((item) => convert(context, item)), start, end };
  if (isMap<LibraryNode, LibraryNode | null>(node)) return convertMap(context, node.items, start, end);
  if (!isScalar(node)) return { kind: "scalar", value: null, start, end };
  // `!foo.com` and `&foo` leave an empty value behind: go on with the text that was meant.
  if (odd !== undefined && start === end) return { kind: "scalar", value: odd, start, end };
  return { kind: "scalar", value: plainValue(context, node, start, end), start, end };
}

/** Stands for the star of an unquoted `*.x.com:`, which YAML takes, colon and all, for an alias that is no key. */
const starMask = "\ue000";

/** The same text at the same offsets, but with keys that can be read on with. */
function withStarKeysMasked(text: string): string {
  if (text.includes(starMask)) return text;
  return text.replace(/^([ \t]*(?:- +)*|.*[{,] *)\*(?=[^\s,[\]{}"']*:(?:\s|$))/gm, `$1${starMask}`);
}

function isStarKey(key: LibraryNode): key is Scalar<string> {
  return isScalar(key) && key.type === "PLAIN" && typeof key.value === "string" && key.value.startsWith(starMask);
}

function convertAlias(context: Context, name: string, start: number): YamlNode {
  const text = `*${name}`;
  const end = start + text.length;
  context.reported.add(start);
  context.problems.push(problemAt(context.source, { start, end }, `is a YAML alias; quote it: "${text}"`, `"${text}"`));
  return { kind: "scalar", value: text, start, end };
}

/** Reports an anchor or a tag, and answers with its text. */
function oddity(context: Context, node: Exclude<LibraryNode, { source: string }>, start: number): string | undefined {
  let text: string | undefined;
  for (const [kind, sign, name] of [
    ["anchor", "&", node.anchor],
    ["tag", "!", node.tag],
  ] as const) {
    // Parsed nodes carry a tag only where the text has one.
    if (name === undefined) continue;
    let at = Math.max(context.source.text.lastIndexOf(sign, start), 0);
    if (context.source.text[at - 1] === sign) at--;
    text = /^\S*[^\s,\]}]/.exec(context.source.text.slice(at, start + 200))?.[0] ?? name;
    context.reported.add(at);
    const message = `is a YAML ${kind}: leave it out, or quote it if it is text`;
    context.problems.push(problemAt(context.source, { start: at, end: at + text.length }, message, `"${text}"`));
  }
  return text;
}

function convertMap(
  context: Context,
  pairs: readonly Pair<LibraryNode, LibraryNode | null>[],
  start: number,
  end: number,
): YamlNode {
  const entries: YamlEntry[] = [];
  const lines = new Map<string, number>();
  for (const pair of pairs) {
    const key = isStarKey(pair.key)
      ? convertAlias(context, pair.key.value.slice(1), pair.key.range?.[0] ?? 0)
      : convert(context, pair.key);
    const value =
      pair.value === null
        ? { kind: "scalar" as const, value: null, start: key.start, end: key.end }
        : convert(context, pair.value);
    const text = key.kind === "scalar" ? keyText(context, key) : undefined;
    const first = text === undefined ? undefined : lines.get(text);
    if (text === undefined) {
      context.problems.push(problemAt(context.source, key, "is no key: a key is one word"));
    } else if (text === "<<") {
      context.problems.push(problemAt(context.source, key, "is a YAML merge key: write the fields out"));
    } else if (first !== undefined) {
      context.problems.push(problemAt(context.source, key, `stands twice in one mapping, first on line ${first}`));
    } else {
      lines.set(text, placeAt(context.source, key.start).line);
      entries.push({ key: text, keyStart: key.start, keyEnd: key.end, value });
    }
  }
  return { kind: "map", entries, start, end };
}

function keyText(context: Context, key: Extract<YamlNode, { kind: "scalar" }>): string {
  return typeof key.value === "string" ? key.value : textOf(context.source, key);
}

/** YAML has numbers that JavaScript cannot write back (`0x10`, `.inf`); only what a person calls a number stays one. */
function plainValue(context: Context, node: Scalar, start: number, end: number): string | number | boolean | null {
  const { value } = node;
  // What looked like a key of its own was part of a text.
  if (typeof value === "string" && context.masked) return value.replaceAll(starMask, "*");
  if (typeof value === "number" && !/^[-+]?(\d+\.?\d*|\.\d+)$/.test(context.source.text.slice(start, end)))
    return context.source.text.slice(start, end);
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean" || value === null)
    return value;
  return context.source.text.slice(start, end);
}

/** One problem a line: the library often says two things of one slip. */
function reportLibraryProblems(context: Context, document: Document.Parsed): void {
  const lines = new Set<number>();
  for (const error of [...document.errors, ...document.warnings]) {
    const offset = error.pos[0];
    if (context.reported.has(offset)) continue;
    const start = error.message.startsWith("Missing closing") ? openingQuote(document, offset) : offset;
    const place = placeAt(context.source, start);
    if (lines.has(place.line)) continue;
    lines.add(place.line);
    context.problems.push({
      severity: "error",
      place,
      offending: lineAt(context.source, start),
      message: syntaxMessage(error.code, error.message),
      instead: undefined,
    });
  }
}

/** Where the quoted text begins that runs into the end of the file. */
function openingQuote(document: Document.Parsed, offset: number): number {
  let start = offset;
  const visitNode = (node: unknown): void => {
    if (isMap<LibraryNode, LibraryNode | null>(node)) {
      for (const pair of node.items) {
        visitNode(pair.key);
        visitNode(pair.value);
      }
    } else if (isSeq(node)) {
      for (const item of node.items) visitNode(item);
    } else if (isScalar(node) && (node.type === "QUOTE_DOUBLE" || node.type === "QUOTE_SINGLE")) {
      const [from, to] = node.range ?? [0, 0];
      if (from < offset && offset <= to + 1) start = from;
    }
  };
  visitNode(document.contents);
  return start;
}
