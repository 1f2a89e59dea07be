/** `sallyport check`: is the policy valid, does it pass its tests, and does it say what its author means? */
import { resolve } from "node:path";
import type { Command } from "commander";
import { type PackCases, loadPackCases } from "../config/pack-cases.ts";
import { type Problem, formatProblem, sortProblems } from "../config/problem.ts";
import { runPolicyTests } from "../config/run-tests.ts";
import { compileRuleset } from "../policy/compile.ts";
import type { Finding, Meeting } from "../review/finding.ts";
import { type Wildcard, lintRuleset } from "../review/lint.ts";
import type { PolicySet } from "../policy/rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { tellMeetings } from "./check-meetings.ts";
import type { ExitCode, Io } from "./io.ts";
import { type PolicyTarget, configuredTarget, diskAt, loadTarget, packsDirOf, targetsOf } from "./policy-target.ts";
import { counted, sayError, sayHint, sayProblems, table } from "./terminal.ts";

type CheckOptions = {
  readonly config?: string;
  readonly policy?: readonly string[];
  readonly json?: boolean;
  readonly strict?: boolean;
};

const help = `
Without files, the configured policies are checked; a pack is checked with its cases (NAME.cases.yaml beside NAME.yaml).
Exit: 0 valid, also with warnings; 1 warnings with --strict; 3 an invalid file, or a test that failed.

Example:
  $ sallyport check policies/site.yaml
  policies/site.yaml:12:5: warning: \`updates\` takes decisions away: *.windowsupdate.com of windows-update/windowsupdate
  no longer decides au.windowsupdate.com; lost there: http:80`;

/** Adds the command's arguments, options and help. */
export function configureCheck(command: Command, io: Io, done: (exit: ExitCode) => void): void {
  command
    .argument("[file...]", "policies, packs, or a sallyport.yaml, in place of the configured policies")
    .option("--strict", "exit 1 on warnings")
    .addHelpText("after", help)
    .action((files: string[], options: CheckOptions) => done(runCheck(files, options, io)));
}

/** Exit 0 also on warnings, 1 on warnings with `strict`, 3 where a file is invalid or a test failed. */
function runCheck(files: readonly string[], options: CheckOptions, io: Io): ExitCode {
  const report = collectReport(files.length === 0 ? [configuredTarget(options, io)] : targetsOf(files, io), io);
  const exit = exitOf(report, options.strict === true);
  if (options.json === true) io.stdout(`${JSON.stringify(asJson(report), undefined, 2)}\n`);
  else tell(report, exit, io);
  return exit;
}

type Report = {
  /** Sorted, once all targets are in. */
  readonly problems: Problem[];
  /** What a problem was made of, where it is a warning of the linter. */
  readonly findings: Map<Problem, Finding>;
  readonly wildcards: Wildcard[];
  readonly meetings: Meeting[];
  readonly counts: Counts;
};
type Counts = { sites: number; siteRules: number; packs: number; packRules: number; tests: number; cases: number };

function collectReport(targets: readonly PolicyTarget[], io: Io): Report {
  const report: Report = { problems: [], findings: new Map(), wildcards: [], meetings: [], counts: noCounts() };
  const packs = new Map<string, PackCases>();
  const casesOf = (path: string): PackCases => {
    const key = resolve(io.cwd, path);
    const known = packs.get(key) ?? loadPackCases(diskAt(io), packsDirOf(io), path);
    packs.set(key, known);
    return known;
  };
  for (const target of targets) {
    const cases = target.kind === "pack" ? casesOf(target.path) : undefined;
    // Its cases say with which values a pack is to be looked at.
    if (cases !== undefined && cases.kind !== "absent") {
      if (cases.kind === "loaded") addLint(report, { files: [cases.pack], groups: [] }, new Set(), io);
      continue;
    }
    const loaded = loadTarget(target, io);
    if (loaded.kind === "problems") {
      report.problems.push(...loaded.problems);
      continue;
    }
    const { set, ruleset, tests, notices, listenerGroups } = loaded;
    report.problems.push(...notices, ...runPolicyTests(ruleset, tests, io.now()));
    report.counts.tests += tests.length;
    addLint(report, set, listenerGroups, io, ruleset);
    for (const { kind, path } of set.files) if (kind === "pack") casesOf(path);
  }
  for (const cases of packs.values()) {
    if (cases.kind === "problems") report.problems.push(...cases.problems);
    if (cases.kind !== "loaded") continue;
    report.counts.cases += cases.cases.length;
    report.problems.push(...cases.notices, ...runPolicyTests(compileRuleset(cases.set), cases.cases, io.now()));
  }
  return { ...report, problems: sortProblems(report.problems) };
}

function addLint(
  report: Report,
  set: PolicySet,
  listenerGroups: ReadonlySet<string>,
  io: Io,
  compiled?: Ruleset,
): void {
  const lint = lintRuleset(set, compiled ?? compileRuleset(set), listenerGroups, io.now());
  for (const finding of lint.findings) {
    const { place, offending, message } = finding;
    const problem: Problem = { severity: "warning", place, offending, message, instead: undefined };
    report.findings.set(problem, finding);
    report.problems.push(problem);
  }
  for (const wildcard of lint.wildcards) report.wildcards.push(wildcard);
  for (const meeting of lint.meetings) report.meetings.push(meeting);
  for (const { kind, rules } of set.files) {
    report.counts[kind === "site" ? "sites" : "packs"] += 1;
    report.counts[kind === "site" ? "siteRules" : "packRules"] += rules.length;
  }
}

function noCounts(): Counts {
  return { sites: 0, siteRules: 0, packs: 0, packRules: 0, tests: 0, cases: 0 };
}

function exitOf({ problems }: Report, strict: boolean): ExitCode {
  if (problems.some(({ severity }) => severity === "error")) return 3;
  return strict && problems.some(({ severity }) => severity === "warning") ? 1 : 0;
}

/** Of a long list, the beginning; `--json` has all of it. */
const maxLines = 200;

function tell({ problems, wildcards, meetings, counts }: Report, exit: ExitCode, io: Io): void {
  if (exit === 3) {
    sayProblems(io, problems);
    return;
  }
  section(
    io,
    "wildcards",
    table(wildcards.slice(0, maxLines).map(({ rule, text, covers }) => [`  ${rule.fullId}`, text, covers])),
    wildcards.length,
  );
  const met = tellMeetings(meetings, counts.sites > 0);
  section(
    io,
    "where rules meet",
    table(met.slice(0, maxLines).map((row) => row.map((cell, i) => (i === 0 ? `  ${cell}` : cell)))),
    met.length,
  );
  for (const problem of problems.slice(0, maxLines)) io.stdout(`${formatProblem(problem)}\n`);
  if (problems.length > maxLines) io.stdout(`… and ${problems.length - maxLines} more: --json lists them all\n`);
  if (problems.length > 0) io.stdout("\n");
  const warnings = countOf(problems, "warning");
  const found = [
    ...(warnings === 0 ? [] : [counted(warnings, "warning")]),
    ...(countOf(problems, "rewriting") === 0 ? [] : [counted(countOf(problems, "rewriting"), "rewriting")]),
  ];
  io.stdout(`valid${found.length === 0 ? "" : `, with ${found.join(" and ")}`}: ${summaryOf(counts)}\n`);
  if (exit === 0) return;
  sayError(io, `${counted(warnings, "warning")} found, which --strict does not accept`);
  sayHint(io, "each warning says which rule to change");
}

function section(io: Io, title: string, body: string, length: number): void {
  if (length === 0) return;
  const rest = length > maxLines ? `  … and ${length - maxLines} more: --json lists them all\n` : "";
  io.stdout(`${title}\n${body}${rest}\n`);
}

function summaryOf({ sites, siteRules, packs, packRules, tests, cases }: Counts): string {
  const parts = [
    ...(siteRules === 0 ? [] : [`${counted(siteRules, "rule")} in ${counted(sites, "site policy", "site policies")}`]),
    ...(packs === 0 ? [] : [`${counted(packRules, "rule")} in ${counted(packs, "pack")}`]),
    ...(tests === 0 ? [] : [`${counted(tests, "test")} passed`]),
    ...(cases === 0 ? [] : [`${counted(cases, "case")} of packs passed`]),
  ];
  return parts.join(", ");
}

function countOf(problems: readonly Problem[], severity: Problem["severity"]): number {
  return problems.filter((problem) => problem.severity === severity).length;
}

function asJson({ problems, findings, wildcards, meetings, counts }: Report): object {
  return {
    problems: problems.map((problem) => {
      const { place, severity, offending, message, instead } = problem;
      const finding = findings.get(problem);
      const { file, line, column } = place;
      return { file, line, column, severity, kind: finding?.kind, rule: finding?.rule, offending, message, instead };
    }),
    wildcards: wildcards.map(({ rule, text, covers }) => ({ rule: rule.fullId, pattern: text, covers })),
    meetings: meetings.map(({ kind, rule, other, patterns, about }) => {
      return { rule: rule.fullId, kind, other: other.fullId, patterns, about };
    }),
    summary: {
      valid: !problems.some(({ severity }) => severity === "error"),
      errors: countOf(problems, "error"),
      warnings: countOf(problems, "warning"),
      rewritings: countOf(problems, "rewriting"),
      site_policies: counts.sites,
      site_rules: counts.siteRules,
      packs: counts.packs,
      pack_rules: counts.packRules,
      tests: counts.tests,
      cases: counts.cases,
    },
  };
}
