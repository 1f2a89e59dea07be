/** What a reload came to, and what a new policy changes, as the API shows them. */
import type { Problem } from "../config/problem.ts";
import { formatProblem } from "../config/problem.ts";
import type { PolicyChange, ReloadReport } from "../reload/report.ts";
import type { Change } from "../review/diff.ts";

export type ChangeView = {
  /** ISO 8601. */
  readonly at: string;
  readonly trigger: string;
  /** Hash of the policy before. */
  readonly from: string;
  readonly rules: PolicyChange["rules"];
  readonly summary: PolicyChange["counts"];
  readonly changes: readonly Change[];
  /** False where `changes` does not have them all. */
  readonly complete: boolean;
};

export type ReloadAnswer = { readonly status: 200 | 422 | 503; readonly body: Readonly<Record<string, unknown>> };

export function viewChange({ atMs, trigger, from, rules, counts, changes, isComplete }: PolicyChange): ChangeView {
  return { at: new Date(atMs).toISOString(), trigger, from, rules, summary: counts, changes, complete: isComplete };
}

/** 200 where the files are in force now, 422 where something is wrong with them, 503 where nobody has looked. */
export function answerReload(report: ReloadReport): ReloadAnswer {
  const { policy } = report;
  const inForce = { generation: policy.generation, hash: policy.ruleset.hash };
  switch (report.kind) {
    case "not_now":
      return { status: 503, body: { error: "not_now", hint: "the proxy is draining, or not yet at work", ...inForce } };
    case "refused":
      return {
        status: 422,
        body: {
          error: "policy_refused",
          hint: "nothing has changed; mend the problems and reload again",
          ...inForce,
          problems: report.problems.map(viewProblem),
        },
      };
    case "unchanged":
      return { status: 200, body: { result: "unchanged", ...inForce, restart_needed: report.restartNeeded } };
    case "adopted":
      return {
        status: 200,
        body: {
          result: "reloaded",
          ...inForce,
          change: viewChange(report.change),
          on_revoke: report.onRevoke,
          tunnels_revoked: report.revokedTunnels,
          restart_needed: report.restartNeeded,
          notices: report.notices.map(viewProblem),
        },
      };
  }
}

/** `text` is the problem as `check` prints it. */
function viewProblem(problem: Problem): Readonly<Record<string, unknown>> {
  const { place, severity, offending, message, instead } = problem;
  return { ...place, severity, offending, message, instead, text: formatProblem(problem) };
}
