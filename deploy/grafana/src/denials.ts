/** What was denied: why, to whom, by which rule, and which hosts. */
import { CountsPerMinute, NoUnit, PercentUnit, Short } from "@grafana/grafana-foundation-sdk/units";
import type { DashboardWords } from "./frame.ts";
import { type Columns, lines, logTable, number, series, table, withFile } from "./panels.ts";

const denied = series("decisions_total", 'verdict="deny"');
const decided = series("decisions_total");
const wouldBeDenied = series("decisions_total", 'verdict="allow", reason!="allowed", mode="report"');
const deniedByRule = series("rule_decisions_total", 'verdict="deny", rule!="_other"');

const consoleLink = { title: "Show in the console", url: "${console:raw}/#/denials/${__value.raw}" };
const logFields = ["reason", "would", "client", "group", "method", "host", "port", "sni", "rule", "nearest"];
const logColumns: Columns = {
  Time: "time",
  ...Object.fromEntries(logFields.map((field) => [field, field])),
  denial: { title: "denial", link: consoleLink },
};

export const denials: DashboardWords = {
  name: "denials",
  title: "Denials",
  description: "What was denied: why, to whom, by which rule, and which hosts.",
  withLog: true,
  rows: [
    {
      title: "At a glance",
      panels: [
        number(
          {
            title: "Denied",
            description: "Requests and tunnels that were denied in the time shown.",
            unit: Short,
            decimals: 0,
            width: 6,
            height: 4,
            reasons: ["How to look"],
          },
          { expr: `sum(increase(${denied}[$__range]))` },
        ),
        number(
          {
            title: "Share denied",
            description:
              "Denied ones among all. A few per cent are usual: software tries hosts that no vendor's document names. A jump is an agent that lost its vendor.",
            unit: PercentUnit,
            decimals: 1,
            width: 6,
            height: 4,
            reasons: ["SallyportDenialRatioHigh"],
          },
          { expr: `sum(increase(${denied}[$__range])) / (sum(increase(${decided}[$__range])) > 0)` },
          { from: 0.25 },
        ),
        number(
          {
            title: "Would be denied",
            description:
              "Let pass by report mode only: what enforcing the policy would deny. `sallyport readiness` tells whether a group can be switched.",
            unit: Short,
            decimals: 0,
            width: 6,
            height: 4,
          },
          { expr: `sum(increase(${wouldBeDenied}[$__range]))` },
        ),
        number(
          {
            title: "Other name inside the tunnel",
            description:
              "Tunnels whose TLS server name is not the host that was asked for: domain fronting, or a vendor with several names for one service.",
            unit: Short,
            decimals: 0,
            width: 6,
            height: 4,
            reasons: ["sni_mismatch"],
          },
          { expr: `sum(increase(${series("decisions_total", 'reason="sni_mismatch"')}[$__range]))` },
          { from: 1 },
        ),
      ],
    },
    {
      title: "Hosts",
      panels: [
        table(
          {
            title: "Hosts denied most",
            description:
              "The hosts that are denied most at the moment, as the proxy names them. The id leads to the console, which explains the denial and proposes a rule; `sallyport why ID` says the same.",
            unit: Short,
            decimals: 0,
            width: 24,
            height: 9,
            reasons: ["How to look"],
          },
          { expr: `sort_desc(${series("top_denials")} > 0)` },
          {
            host: "Host",
            reason: "Reason",
            group: "Group",
            Value: "Denials",
            id: { title: "Id", link: consoleLink },
            instance: "Instance",
          },
        ),
      ],
    },
    {
      title: "Why, to whom, by what",
      panels: [
        lines(
          {
            title: "Denials by reason",
            description: "Each reason has its entry in docs/reasons.md: what it usually is, and how to mend it.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["How to look", "no_rule", "scheme_mismatch"],
          },
          [{ expr: `sum by (reason) (rate(${denied}[$__rate_interval])) * 60 > 0`, legend: "{{reason}}" }],
          true,
        ),
        lines(
          {
            title: "Denials by client group",
            description: "A client's group is its first one in the order of the files; _none is in no group.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["client_denied"],
          },
          [
            {
              expr: `sum by (group) (rate(${series("group_denials_total")}[$__rate_interval])) * 60 > 0`,
              legend: "{{group}}",
            },
          ],
          true,
        ),
        lines(
          {
            title: "Denials by pack",
            description:
              "Denials that a rule decided, by the pack or site policy it stands in: its hosts were asked for, but not in the way the rule expects. Denials for want of a rule have none.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["SallyportPackStarved"],
          },
          [
            {
              expr: `sum by (file) (${withFile(`rate(${deniedByRule}[$__rate_interval])`)}) * 60 > 0`,
              legend: "{{file}}",
            },
          ],
          true,
        ),
        table(
          {
            title: "Denials by rule",
            description: "The rules that decided, the busiest first, over the time shown.",
            unit: Short,
            decimals: 0,
            width: 12,
            reasons: ["rule_denied", "scheme_mismatch", "port_mismatch"],
          },
          { expr: `topk(25, sum by (rule) (increase(${deniedByRule}[$__range])) > 0)` },
          { rule: "Rule", Value: "Denials" },
        ),
      ],
    },
    {
      title: "Report mode",
      panels: [
        lines(
          {
            title: "Would be denied, by reason",
            description: "What report mode let pass, and enforcing would deny.",
            unit: CountsPerMinute,
            width: 24,
          },
          [{ expr: `sum by (reason) (rate(${wouldBeDenied}[$__rate_interval])) * 60 > 0`, legend: "{{reason}}" }],
          true,
        ),
      ],
    },
    {
      title: "From the log, where there is a Loki",
      collapsed: true,
      panels: [
        logTable(
          {
            title: "Denials in the log",
            description:
              "Log lines of denials and would-be denials, the newest first. Needs a Loki that is fed with Sallyport's NDJSON under the label job.",
            unit: NoUnit,
            width: 24,
            height: 14,
            reasons: ["How to look"],
          },
          '{job=~"$job"} | json | verdict="deny" or would="deny"',
          logColumns,
        ),
      ],
    },
  ],
};
