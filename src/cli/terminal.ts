/** How this program speaks to people: one prefix, no capital, a hint what to try. */
import { type Problem, formatProblem } from "../config/problem.ts";
import type { Io } from "./io.ts";

export function sayError(io: Pick<Io, "stderr">, message: string): void {
  io.stderr(`sallyport: error: ${message}\n`);
}

export function sayWarning(io: Pick<Io, "stderr">, message: string): void {
  io.stderr(`sallyport: warning: ${message}\n`);
}

export function sayHint(io: Pick<Io, "stderr">, message: string): void {
  io.stderr(`sallyport: hint: ${message}\n`);
}

/** Every problem on lines of its own, and how many there were. */
export function sayProblems(io: Pick<Io, "stderr">, problems: readonly Problem[]): void {
  for (const problem of problems) io.stderr(`${formatProblem(problem)}\n`);
  const errors = problems.filter((problem) => problem.severity === "error").length;
  if (errors > 0) sayError(io, `${errors} ${errors === 1 ? "problem" : "problems"} found, nothing was loaded`);
}

/** Columns aligned with spaces, the last one ragged; no trailing white space. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

/** `1 rule`, `3 rules`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
