/** squid.conf as lines: ACLs, `http_access` in its order, and what else there is. No meaning yet. */
import type { ImportFinding, SourceLine } from "./import-report.ts";

export type SquidAcl = {
  readonly name: string;
  /** In lower case. */
  readonly type: string;
  readonly flags: readonly string[];
  readonly values: readonly SquidValue[];
  /** Where it was named first. */
  readonly at: SourceLine;
};
export type SquidValue = { readonly text: string; readonly at: SourceLine };

export type SquidAccess = {
  readonly action: "allow" | "deny";
  readonly literals: readonly { readonly negated: boolean; readonly name: string }[];
  readonly at: SourceLine;
};

export type SquidConfig = {
  readonly acls: ReadonlyMap<string, SquidAcl>;
  readonly access: readonly SquidAccess[];
  /** All other directives. */
  readonly others: readonly { readonly name: string; readonly at: SourceLine }[];
  readonly findings: readonly ImportFinding[];
};

export type SquidFiles = {
  /** The text of a file that the configuration names; undefined where it cannot be read. */
  readonly read: (path: string) => string | undefined;
  /** Paths that an `include` names, in its order. */
  readonly expand: (pattern: string) => readonly string[];
};

/** Squid refuses more than 16 includes within each other; so do we, a circle among them. */
const maxDepth = 16;

/** Total: what cannot be read is a finding. */
export function readSquidConfig(path: string, text: string, files: SquidFiles): SquidConfig {
  const acls = new Map<string, { -readonly [Key in keyof SquidAcl]: SquidAcl[Key] }>();
  const access: SquidAccess[] = [];
  const others: { readonly name: string; readonly at: SourceLine }[] = [];
  const findings: ImportFinding[] = [];
  const find = (at: SourceLine, effect: ImportFinding["effect"], message: string): void => {
    findings.push({ at, effect, message });
  };

  const readAcl = ([name, type, ...rest]: readonly string[], at: SourceLine): void => {
    if (name === undefined || type === undefined) return find(at, "unclear", "an acl needs a name and a type");
    const known = acls.get(name);
    if (known !== undefined && known.type !== type.toLowerCase())
      return find(at, "unclear", `${name} is of type ${known.type} already`);
    const words = [...rest];
    const flags: string[] = [];
    while (/^[-+][a-z]$|^--$/i.test(words[0] ?? "")) flags.push(words.shift() ?? "");
    const values = words.flatMap((word) => valuesOf(word, at));
    if (known === undefined) acls.set(name, { name, type: type.toLowerCase(), flags, values, at });
    else Object.assign(known, { flags: [...known.flags, ...flags], values: [...known.values, ...values] });
  };

  /** A word, or the lines of the file that it names in quotes. */
  const valuesOf = (word: string, at: SourceLine): readonly SquidValue[] => {
    const [, named] = /^"(.*)"$/.exec(word) ?? /^parameters\("(.*)"\)$/.exec(word) ?? [];
    if (named === undefined) return [{ text: word, at }];
    const content = files.read(named);
    if (content === undefined) {
      find(at, "unclear", `${named} cannot be read, so its entries are missing`);
      return [];
    }
    return content.split("\n").flatMap((line, i) => {
      const entry = line.replace(/\s#.*$/, "").trim();
      return entry === "" || entry.startsWith("#")
        ? []
        : [{ text: entry, at: { file: named, line: i + 1, text: entry } }];
    });
  };

  const readAccess = ([action, ...names]: readonly string[], at: SourceLine): void => {
    if (action !== "allow" && action !== "deny") return find(at, "unclear", "http_access needs allow or deny");
    const literals = names.map((name) => ({ negated: name.startsWith("!"), name: name.replace(/^!/, "") }));
    access.push({ action, literals, at });
  };

  const readText = (file: string, content: string, depth: number): void => {
    for (const { line, text: whole } of joinedLines(content)) {
      const words = wordsOf(whole);
      const [directive = "", ...rest] = words;
      if (directive === "") continue;
      const at = { file, line, text: words.join(" ") };
      if (directive === "acl") readAcl(rest, at);
      else if (directive === "http_access") readAccess(rest, at);
      else if (directive === "include") readInclude(rest, at, depth);
      else if (["if", "else", "endif"].includes(directive))
        find(at, "unclear", "conditions are not judged: what is between them was read as if they held");
      else others.push({ name: directive, at });
    }
  };

  const readInclude = (patterns: readonly string[], at: SourceLine, depth: number): void => {
    if (depth >= maxDepth) return find(at, "unclear", "too many files include each other");
    for (const pattern of patterns) {
      const paths = files.expand(pattern.replace(/^"|"$/g, ""));
      if (paths.length === 0) find(at, "unclear", `${pattern} names no file that can be read`);
      for (const included of paths) {
        const content = files.read(included);
        if (content === undefined) find(at, "unclear", `${included} cannot be read`);
        else readText(included, content, depth + 1);
      }
    }
  };

  readText(path, text, 0);
  return { acls, access, others, findings };
}

/** Lines that end in a backslash go on in the next one; a comment does not. */
function joinedLines(text: string): readonly { readonly line: number; readonly text: string }[] {
  const joined: { line: number; text: string }[] = [];
  let open = false;
  for (const [i, raw] of text.split(/\r?\n/).entries()) {
    const isComment: boolean = !open && raw.trimStart().startsWith("#");
    const goesOn: boolean = !isComment && raw.endsWith("\\");
    const part = goesOn ? raw.slice(0, -1) : raw;
    const last = joined.at(-1);
    if (open && last !== undefined) last.text += part;
    else joined.push({ line: i + 1, text: part });
    open = goesOn;
  }
  return joined;
}

/** Words up to one that begins a comment; quotes hold blanks together and are kept. */
function wordsOf(line: string): readonly string[] {
  const words = line.match(/"[^"]*"|\S+/g) ?? [];
  const comment = words.findIndex((word) => word.startsWith("#"));
  return comment < 0 ? words : words.slice(0, comment);
}
