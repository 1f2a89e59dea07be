/** What is wrong with a file, where, and what to write instead: values first, one spelling for people at the end. */
import type { Place } from "../policy/rule.ts";

/** `error` rejects the files; `warning` and `rewriting` (a spelling that was accepted and read in another way) do not. */
export type Severity = "error" | "warning" | "rewriting";

export type Problem = {
  readonly severity: Severity;
  /** Line 0 is a place without lines: a flag or an environment variable. */
  readonly place: Place;
  /** The text as it stands in the file; may be empty where something is missing. */
  readonly offending: string;
  /** Completes the sentence "OFFENDING …". */
  readonly message: string;
  /** What to write in place of the offending text, where that is evident. */
  readonly instead: string | undefined;
};

const maxOffendingLength = 100;

/** `path:line:column: error: …`, and below it the text to write instead as `  hint: write …`. */
export function formatProblem(problem: Problem): string {
  const { place, severity, offending, message, instead } = problem;
  const where = place.line === 0 ? place.file : `${place.file}:${place.line}:${place.column}`;
  const what = offending === "" ? message : `${quoted(offending)} ${message}`;
  const hint = instead === undefined ? "" : `\n  hint: write ${printable(instead)}`;
  return `${printable(where)}: ${severity}: ${printable(what)}${hint}`;
}

/** By file, line and column, each problem once: a pack that is used twice is wrong once. */
export function sortProblems(problems: readonly Problem[]): Problem[] {
  const seen = new Set<string>();
  const unique = problems.filter((problem) => {
    const { place, severity, message, offending } = problem;
    const key = JSON.stringify([place.file, place.line, place.column, severity, offending, message]);
    return seen.has(key) ? false : seen.add(key);
  });
  return unique.sort(
    (a, b) => compareText(a.place.file, b.place.file) || a.place.line - b.place.line || a.place.column - b.place.column,
  );
}

/** True when one of them rejects the files. */
export function hasErrors(problems: readonly Problem[]): boolean {
  return problems.some((problem) => problem.severity === "error");
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function quoted(text: string): string {
  const [line = ""] = text.split(/\r?\n/, 1);
  const cut = line.length > maxOffendingLength || line.length < text.length;
  return `\`${line.slice(0, maxOffendingLength)}${cut ? "…" : ""}\``;
}

/** What a file says must not steer the terminal that shows it. */
function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
