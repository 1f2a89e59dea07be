/** The policy in force: which one, since when, and which of its rules nobody uses or will soon end. */
import { DatetimeISO, DurationSeconds, PercentUnit, Short } from "@grafana/grafana-foundation-sdk/units";
import type { DashboardWords } from "./frame.ts";
import { lines, number, series, table } from "./panels.ts";

const byRule = series("rule_decisions_total", 'rule!="_other"');

export const policy: DashboardWords = {
  name: "policy",
  title: "Policy",
  description: "The policy in force: which one, since when, and which of its rules nobody uses or will soon end.",
  rows: [
    {
      title: "In force",
      panels: [
        number(
          {
            title: "Rules in force",
            description: "Rules of all files, packs included.",
            unit: Short,
            width: 6,
            height: 4,
          },
          { expr: `max(${series("policy_rules")})` },
        ),
        number(
          {
            title: "Policies in force",
            description:
              "Different policies on the instances shown. More than one: somewhere a file was not rolled out.",
            unit: Short,
            width: 6,
            height: 4,
            reasons: ["SallyportReloadFailed"],
          },
          { expr: `count(count by (hash) (${series("policy_info")}))` },
          { from: 2 },
        ),
        number(
          {
            title: "Last reload worked",
            description: "1 where the last load worked on every instance. At 0 an older policy is still in force.",
            unit: Short,
            width: 6,
            height: 4,
            reasons: ["SallyportReloadFailed"],
          },
          { expr: `min(${series("policy_last_reload_successful")})` },
          { below: 1 },
        ),
        number(
          {
            title: "Allowed by report mode only",
            description: "The share of what was let pass that enforcing would deny, in the time shown.",
            unit: PercentUnit,
            decimals: 1,
            width: 6,
            height: 4,
          },
          {
            expr: `sum(increase(${series("decisions_total", 'verdict="allow", reason!="allowed", mode="report"')}[$__range])) / (sum(increase(${series("decisions_total", 'verdict="allow"')}[$__range])) > 0)`,
          },
        ),
        table(
          {
            title: "Hash of the policy",
            description: "Which policy each instance has; `sallyport check --json` and the log name the same hash.",
            unit: Short,
            width: 12,
          },
          { expr: series("policy_info") },
          { instance: "Instance", hash: "Hash" },
        ),
        table(
          {
            title: "Last loaded",
            description: "When each instance last loaded a policy that was valid.",
            unit: DatetimeISO,
            width: 6,
            reasons: ["SallyportReloadFailed"],
          },
          { expr: `${series("policy_last_success_timestamp_seconds")} * 1000` },
          { instance: "Instance", Value: "Loaded" },
        ),
        table(
          {
            title: "Version",
            description: "Sallyport and Node on each instance.",
            unit: Short,
            width: 6,
          },
          { expr: series("build_info") },
          { instance: "Instance", version: "Sallyport", node: "Node" },
        ),
        lines(
          {
            title: "Reloads",
            description: "Loads of the policy after the start; a failure leaves the old policy in force.",
            unit: Short,
            width: 24,
            height: 6,
            reasons: ["SallyportReloadFailed"],
          },
          [
            {
              expr: `sum by (result) (increase(${series("policy_reloads_total")}[$__rate_interval]))`,
              legend: "{{result}}",
            },
          ],
        ),
      ],
    },
    {
      title: "Rules",
      panels: [
        table(
          {
            title: "Rules that will end",
            description:
              "Rules with `expires`, the next to end first, and the time that is left to them. At 0 the rule no longer exists, and what it allowed is denied.",
            unit: DurationSeconds,
            decimals: 0,
            width: 12,
            reasons: ["SallyportRuleExpiring"],
          },
          { expr: `sort(clamp_min(min by (rule) (${series("rule_expiry_timestamp_seconds")}) - time(), 0))` },
          { rule: "Rule", Value: "Left" },
        ),
        table(
          {
            title: "Rules nobody used",
            description:
              "Rules that decided nothing in the time shown: choose 30 days or more. What nobody needs is better closed: `without` leaves a rule of a pack out.",
            unit: Short,
            decimals: 0,
            width: 12,
          },
          { expr: `sort(sum by (rule) (increase(${byRule}[$__range])) == 0)` },
          { rule: "Rule", Value: "Decisions" },
        ),
        table(
          {
            title: "Rules used most",
            description: "Decisions of each rule in the time shown, allowed and denied.",
            unit: Short,
            decimals: 0,
            width: 24,
          },
          { expr: `topk(50, sum by (rule, verdict) (increase(${byRule}[$__range])) > 0)` },
          { rule: "Rule", verdict: "Verdict", Value: "Decisions" },
        ),
      ],
    },
  ],
};
