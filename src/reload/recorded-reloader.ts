/** A reloader whose every reload is in the log and in the metrics. */
import type { Recording } from "../config/recorded-disk.ts";
import type { Settings } from "../config/settings.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { AccessLog } from "../record/access-log.ts";
import type { Metrics } from "../record/metrics.ts";
import { recordReload } from "./record-reload.ts";
import { type Adoption, type Candidate, type Reloader, createReloader } from "./reloader.ts";
import type { ReloadReport, Reread } from "./report.ts";

/** How another policy is had, for whoever takes one: the process that was started. */
export type ReloadOptions = {
  /** What settings and ruleset were loaded from. */
  readonly recording: Recording;
  readonly reread: () => Reread;
  readonly onReload: (report: ReloadReport) => void;
};

/** `adopt` puts a policy into force wherever there is traffic. */
export function createRecordedReloader(
  given: ReloadOptions & { readonly settings: Settings; readonly ruleset: Ruleset },
  recorder: { readonly metrics: Metrics; readonly log: AccessLog },
  isAtWork: () => boolean,
  adopt: (candidate: Candidate) => Promise<Adoption>,
): Reloader {
  const { settings, ruleset, recording, reread, onReload } = given;
  const tell = (report: ReloadReport): void => {
    recordReload(report, recorder);
    onReload(report);
  };
  const first = { ruleset, recording };
  return createReloader({ running: settings, first, reread, adopt, isAtWork, tell, now: Date.now });
}

/** For the metrics, from now on this is the policy in force. */
export function describePolicy(metrics: Metrics, ruleset: Ruleset): void {
  metrics.setRules(ruleset.rules.map((rule) => rule.fullId));
  metrics.setGroups(ruleset.groups.map((group) => group.name));
  metrics.describeRules(ruleset.rules);
  metrics.policyLoaded({ hash: ruleset.hash, rules: ruleset.rules.length, atMs: Date.now() });
}
