/** A reload in the log and in the metrics. */
import { formatProblem } from "../config/problem.ts";
import type { AccessLog } from "../record/access-log.ts";
import type { Metrics } from "../record/metrics.ts";
import type { ReloadReport } from "./report.ts";

const maxProblems = 20;
const maxRules = 20;

/** Loud where it did not work, or not all of it: `error`, or `warn` where settings need a restart. */
export function recordReload(report: ReloadReport, { metrics, log }: { metrics: Metrics; log: AccessLog }): void {
  const { trigger, policy } = report;
  const inForce = { trigger, generation: policy.generation, policy: policy.ruleset.hash };
  switch (report.kind) {
    case "refused": {
      metrics.reload("failure");
      const problems = report.problems.filter(({ severity }) => severity === "error").map(formatProblem);
      log.reload("error", {
        result: "failure",
        ...inForce,
        problem_count: problems.length,
        problems: problems.slice(0, maxProblems),
      });
      return;
    }
    case "not_now":
      log.reload("warn", { result: "not_now", ...inForce });
      return;
    case "unchanged":
      metrics.reload("success");
      log.reload(report.restartNeeded.length === 0 ? "info" : "warn", {
        result: "success",
        changed: false,
        ...inForce,
        ...restart(report.restartNeeded),
      });
      return;
    case "adopted": {
      metrics.reload("success");
      const { change, restartNeeded, notices } = report;
      const { rules, counts } = change;
      log.reload(restartNeeded.length === 0 ? "info" : "warn", {
        result: "success",
        changed: true,
        ...inForce,
        from: change.from,
        rules: policy.ruleset.rules.length,
        rules_added: rules.added.slice(0, maxRules),
        rules_removed: rules.removed.slice(0, maxRules),
        rules_changed: rules.changed.slice(0, maxRules),
        newly_allowed: counts.allowed,
        newly_denied: counts.denied,
        other_rule: counts.rule,
        other_conditions: counts.conditions,
        complete: change.isComplete,
        on_revoke: report.onRevoke,
        tunnels_revoked: report.revokedTunnels,
        warnings: notices.filter(({ severity }) => severity === "warning").length,
        ...restart(restartNeeded),
      });
    }
  }
}

function restart(names: readonly string[]): { readonly restart_needed?: readonly string[] } {
  return names.length === 0 ? {} : { restart_needed: names };
}
