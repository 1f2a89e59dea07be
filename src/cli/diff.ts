/** `sallyport diff OLD NEW`: what requests would be decided otherwise. */
import type { Command } from "commander";
import { type Problem, formatProblem } from "../config/problem.ts";
import { type Change, type ChangeKind, type Outcome, diffRulesets } from "../review/diff.ts";
import { listed } from "../review/finding.ts";
import type { ExitCode, Io } from "./io.ts";
import { type LoadedTarget, configuredTarget, loadTarget, targetsOf } from "./policy-target.ts";
import { sayProblems, table } from "./terminal.ts";

type DiffOptions = { readonly config?: string; readonly policy?: readonly string[]; readonly json?: boolean };

const help = `
OLD and NEW are a site policy, a pack or a sallyport.yaml each. Requests that stand for every pattern and endpoint of
either are decided by both, as of now, for every group of clients. Exit: 0 nothing changes, 1 something does, 3 invalid.

Example:
  $ sallyport diff policies/site.old.yaml policies/site.yaml
  newly allowed
    https:443  *.portal.vendor.example for operators  by site/vendor-portal, was no_rule`;

/** Adds the command's arguments, options and help. */
export function configureDiff(command: Command, io: Io, done: (exit: ExitCode) => void): void {
  command
    .argument("<old>", "policy or sallyport.yaml in force")
    .argument("[new]", "policy or sallyport.yaml to be; the configured one when left out")
    .addHelpText("after", help)
    .action((before: string, after: string | undefined, options: DiffOptions) =>
      done(runDiff(before, after, options, io)),
    );
}

/** Exit 0 where nothing changes, 1 where something does, 3 where one of the two is invalid. */
function runDiff(before: string, after: string | undefined, options: DiffOptions, io: Io): ExitCode {
  const old = load(before, io);
  const now = after === undefined ? loadTarget(configuredTarget(options, io), io) : load(after, io);
  if (old.kind === "problems" || now.kind === "problems") {
    const problems = [
      ...(old.kind === "problems" ? old.problems : []),
      ...(now.kind === "problems" ? now.problems : []),
    ];
    sayInvalid(problems, options, io);
    return 3;
  }
  const changes = diffRulesets(old.ruleset, now.ruleset, io.now());
  if (options.json === true) io.stdout(`${JSON.stringify(asJson(changes), undefined, 2)}\n`);
  else tell(changes, io);
  return changes.length === 0 ? 0 : 1;
}

function load(file: string, io: Io): LoadedTarget {
  const [target] = targetsOf([file], io);
  return loadTarget(target ?? { kind: "policies", paths: [file] }, io);
}

function sayInvalid(problems: readonly Problem[], { json }: DiffOptions, io: Io): void {
  if (json !== true) {
    sayProblems(io, problems);
    return;
  }
  const told = problems.map(({ place, severity, offending, message, instead }) => ({
    ...place,
    severity,
    offending,
    message,
    instead,
  }));
  io.stdout(`${JSON.stringify({ problems: told }, undefined, 2)}\n`);
  for (const problem of problems) io.stderr(`${formatProblem(problem)}\n`);
}

const titles: Readonly<Record<ChangeKind, string>> = {
  allowed: "newly allowed",
  denied: "newly denied",
  rule: "decided by another rule",
  conditions: "other conditions",
};
const kinds = ["allowed", "denied", "rule", "conditions"] as const;

/** Of a long list, the beginning; `--json` has all of it. */
const maxLines = 200;

function tell(changes: readonly Change[], io: Io): void {
  if (changes.length === 0) {
    io.stdout("nothing changes\n");
    return;
  }
  for (const kind of kinds) {
    const ofKind = changes.filter((change) => change.kind === kind);
    if (ofKind.length === 0) continue;
    io.stdout(`${titles[kind]}\n${table(ofKind.slice(0, maxLines).map(rowOf))}`);
    if (ofKind.length > maxLines) io.stdout(`  … and ${ofKind.length - maxLines} more: --json lists them all\n`);
    io.stdout("\n");
  }
  io.stdout(`${kinds.map((kind) => `${numberOf(changes, kind)} ${titles[kind]}`).join(", ")}\n`);
}

function rowOf(change: Change): readonly string[] {
  const { requests, patterns, clients, before, after, conditions } = change;
  const who = clients === null ? "" : ` for ${listed(clients)}`;
  const what = transition(change.kind, before, after);
  return [
    `  ${listed(requests)}`,
    `${listed(patterns)}${who}`,
    [what, conditions.join(", ")].filter((text) => text !== "").join(": "),
  ];
}

function transition(kind: ChangeKind, before: Outcome, after: Outcome): string {
  if (after.reason === "various") return "";
  switch (kind) {
    case "allowed":
      return `by ${by(after)}, was ${before.reason}${at(before)}`;
    case "denied":
      return `${after.reason}${at(after)}, was allowed by ${by(before)}`;
    case "rule":
      return `${by(before)} → ${by(after)}`;
    case "conditions":
      return by(after);
  }
}

function by({ rule, verdict, reason }: Outcome): string {
  const reported = verdict === "allow" && reason !== "allowed" ? `report mode (${reason})` : undefined;
  if (rule === undefined) return reported ?? reason;
  return reported === undefined ? rule : `${reported} of ${rule}`;
}

function at({ rule }: Outcome): string {
  return rule === undefined ? "" : ` by ${rule}`;
}

function numberOf(changes: readonly Change[], kind: ChangeKind): number {
  return changes.filter((change) => change.kind === kind).length;
}

function asJson(changes: readonly Change[]): object {
  const summary = Object.fromEntries(kinds.map((kind) => [kind, numberOf(changes, kind)]));
  return { changes, summary };
}
