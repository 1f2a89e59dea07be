/** Host patterns: exact names, `*.apex` suffixes and `glob:` patterns, and what is refused in place of guessing. */
import { type Hostname, parseHostname } from "../names/hostname.ts";
import { publicSuffixUnder } from "../names/public-suffix.ts";
import { compileGlob, expandBraces, hasWildcard, wildcardProblem } from "./glob.ts";
import { type HostProblem, hostProblem, placeholderIn, readHostSpelling } from "./host-spelling.ts";

export type Pattern = ExactPattern | SuffixPattern | GlobPattern;
/** Covers one name. */
export type ExactPattern = { readonly kind: "exact"; readonly text: string };
/** `text` is `*.apex`: covers the apex and every name below it, at any depth. */
export type SuffixPattern = { readonly kind: "suffix"; readonly text: string; readonly apex: string };
/** One brace expansion of a `glob:` pattern; `text` keeps the `glob:`. */
export type GlobPattern = {
  readonly kind: "glob";
  readonly text: string;
  /** The literal labels at the right end, `centrastage.net` of `*cc.centrastage.net`. */
  readonly suffix: string;
  /** Characters that are neither wildcard nor dot: more is more specific. */
  readonly literalCharacters: number;
  /** Compiled; total and fast on any canonical name. */
  readonly matches: (hostname: string) => boolean;
};

/** A pattern that was read; `rewritten` is the spelling in use where the file had another. */
export type PatternReading =
  | { readonly kind: "patterns"; readonly patterns: readonly Pattern[]; readonly rewritten: string | undefined }
  /** `message` completes the sentence "HOST …"; `instead` is the line to write, where one is evident. */
  | { readonly kind: "problem"; readonly message: string; readonly instead: string | undefined };

/**
 * Reads one entry of `hosts` (policy.md, "Hosts"). `sharedSuffix` is the rule's `shared_suffix`. Blanks around the
 * entry, upper case, a trailing dot, `http(s)://`, U-labels and the vendors' spellings of `*.` are rewritten.
 * What stands in `instead` is always accepted for the same rule, and in canonical spelling.
 */
export function parsePattern(text: string, sharedSuffix: boolean): PatternReading {
  const spelling = readHostSpelling(text);
  switch (spelling.kind) {
    case "name":
      return oneSpelling(text, readExact(spelling.name));
    case "suffix":
      return oneSpelling(text, readSuffix(spelling.apex, sharedSuffix));
    case "glob":
      return readGlobs(text, spelling.glob, sharedSuffix);
    case "problem":
      return withUsableLine(text, spelling, sharedSuffix);
  }
}

function oneSpelling(text: string, pattern: Pattern | HostProblem): PatternReading {
  if (pattern.kind === "problem") return pattern;
  return { kind: "patterns", patterns: [pattern], rewritten: pattern.text === text ? undefined : pattern.text };
}

/** A proposed line is itself read: it is shown in canonical spelling, or what is wrong with it is said as well. */
function withUsableLine(text: string, problem: HostProblem, sharedSuffix: boolean): PatternReading {
  const { message, instead } = problem;
  if (instead === undefined || instead === text) return hostProblem(message);
  const reading = parsePattern(instead, sharedSuffix);
  if (reading.kind === "patterns") return hostProblem(message, reading.rewritten ?? instead);
  return hostProblem(`${message}; and ${instead} ${reading.message}`, reading.instead);
}

function readExact(name: string): ExactPattern | HostProblem {
  const hostname = readName(name);
  return typeof hostname === "string" ? { kind: "exact", text: hostname } : hostname;
}

function readSuffix(name: string, sharedSuffix: boolean): SuffixPattern | HostProblem {
  const apex = readName(name);
  if (typeof apex !== "string") return apex;
  return sharedProblem(apex, sharedSuffix) ?? { kind: "suffix", text: `*.${apex}`, apex };
}

/** Each expansion is judged as its own pattern; one bad expansion refuses the entry. */
function readGlobs(text: string, glob: string, sharedSuffix: boolean): PatternReading {
  const problem = globTextProblem(glob);
  if (problem !== undefined) return hostProblem(problem);
  const expansions = expandBraces(glob);
  if ("problem" in expansions) return hostProblem(expansions.problem);
  const patterns: Pattern[] = [];
  for (const expansion of expansions) {
    const pattern = hasWildcard(expansion) ? readGlob(expansion, sharedSuffix) : readExact(expansion);
    if (pattern.kind === "problem") {
      return hostProblem(expansion === glob ? pattern.message : `expands to ${expansion}, which ${pattern.message}`);
    }
    patterns.push(pattern);
  }
  const spelling = hasWildcard(glob) || glob.includes("{") ? `glob:${glob}` : glob;
  return { kind: "patterns", patterns, rewritten: spelling === text ? undefined : spelling };
}

function globTextProblem(glob: string): string | undefined {
  if (glob === "") return "is an empty glob";
  const placeholder = placeholderIn(glob);
  if (placeholder !== undefined && placeholder.includes("..")) {
    return `has the range ${placeholder}: ranges are not expanded, write the values with commas`;
  }
  if (placeholder !== undefined) return `still has the placeholder ${placeholder}: write its values with commas`;
  const forbidden = /[^a-z0-9\-_.*?{},]/u.exec(glob);
  if (forbidden === null) return undefined;
  return `has the character ${JSON.stringify(forbidden[0])}, which no glob may have (a-z 0-9 - _ . * ? { } ,)`;
}

function readGlob(glob: string, sharedSuffix: boolean): GlobPattern | HostProblem {
  const labels = glob.split(".");
  const problem = labelsProblem(glob) ?? wildcardProblem(labels, "label");
  if (problem !== undefined) return hostProblem(problem);
  const suffix = labels.slice(labels.findLastIndex(hasWildcard) + 1).join(".");
  if (suffix === "") return hostProblem("has a wildcard in its last label, where a registrable name has to stand");
  const owner = readSuffix(suffix, sharedSuffix);
  if (owner.kind === "problem") return owner;
  const matchesPath = compileGlob(labels.join("/"));
  return {
    kind: "glob",
    text: `glob:${glob}`,
    suffix,
    literalCharacters: glob.replace(/[*?.]/g, "").length,
    matches: (hostname) => matchesPath(hostname.replaceAll(".", "/")),
  };
}

/** A wildcard on `apex` must not cover names of many owners; below a registry's suffix nothing permits that. */
function sharedProblem(apex: string, sharedSuffix: boolean): HostProblem | undefined {
  const open = publicSuffixUnder(apex);
  if (open === undefined) return undefined;
  if (open.kind === "icann") return hostProblem(`covers everybody's names under the public suffix ${open.suffix}`);
  if (sharedSuffix) return undefined;
  return hostProblem(
    `covers names under ${open.suffix}, where anyone can rent one: list the names, or say \`shared_suffix: true\``,
  );
}

function readName(name: string): Hostname | HostProblem {
  const problem = labelsProblem(name);
  if (problem !== undefined) return hostProblem(problem);
  return parseHostname(name) ?? hostProblem("ends in a number, as an address does: addresses belong in `addresses`");
}

/** Labels that DNS could not carry, in a name or in a glob. */
function labelsProblem(text: string): string | undefined {
  const labels = text.split(".");
  if (labels.includes("")) return "has an empty label";
  if (labels.some((label) => label.length > 63)) return "has a label of more than 63 characters";
  return text.length > 253 ? "is longer than 253 characters" : undefined;
}
