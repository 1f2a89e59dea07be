/** An answer of `explain` as fields: the same for one request with `--json` and for each line of `--ndjson`. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { type CoveringRule, audienceNames, decidingRule } from "./covering.ts";
import { explainDenial } from "../policy/explain.ts";
import type { Place } from "../policy/rule.ts";
import type { TrialAnswer } from "../policy/trial.ts";
import { type Explanation, groupNames } from "./explanation.ts";

/** Names as in interface.md, `explain --ndjson`. Absent fields are undefined, which JSON leaves out. */
export type AnswerFields = {
  readonly verdict: "allow" | "deny";
  /** Set where report mode lets a denial pass; `reason` is then the denial's. */
  readonly would: "deny" | undefined;
  readonly reason: string;
  readonly rule: string | undefined;
  readonly nearest: string | undefined;
  /** Only with `would`. */
  readonly mode: "report" | undefined;
  readonly stage: string;
  readonly status: number | undefined;
  /** Null where a tunnel is closed without an alert. */
  readonly alert: number | null | undefined;
};

export function answerFields({ verdict, reason, would, stage, decided, status, alert }: TrialAnswer): AnswerFields {
  const denial = decided.kind === "deny" ? decided : decided.would;
  return {
    verdict,
    would,
    reason,
    rule: decided.rule?.fullId,
    nearest: denial?.nearest?.fullId,
    mode: would === undefined ? undefined : "report",
    stage,
    status,
    alert,
  };
}

/** The same for one request, and beside it all that the text says. */
export function explanationFields(explanation: Explanation): AnswerFields & Readonly<Record<string, unknown>> {
  const { ruleset, client, answer, denial, covering, remedies } = explanation;
  const decider = decidingRule(answer.decided);
  return {
    ...answerFields(answer),
    place: decider === undefined ? undefined : placeText(decider.rule.place),
    message: denial === undefined ? undefined : explainDenial(denial).join(" "),
    client: { address: client.address.text, groups: groupNames(explanation) },
    covering: covering.map(({ pattern, rules }) => ({
      pattern,
      rules: rules.map((one) => ({
        rule: one.rule.fullId,
        place: placeText(one.rule.rule.place),
        fate: one.fate,
        message: fateText(ruleset, one, decider),
      })),
    })),
    remedies,
    policy: ruleset.hash,
  };
}

/** Why a covering rule decides, or does not. */
export function fateText(ruleset: Ruleset, { rule, fate }: CoveringRule, decider: CompiledRule | undefined): string {
  switch (fate) {
    case "decides":
      return "decides";
    case "carries":
      return "lets it pass, since the rule that decides only reports";
    case "same_pattern":
      if (decider?.deny === true) return "lost: of the same pattern, a deny wins";
      return (decider?.index ?? 0) < rule.index
        ? "lost: same pattern, later in order"
        : "lost: same pattern, but no endpoint for this";
    case "less_specific":
      return "lost: less specific";
    case "site_deny":
      return `lost: a site file's deny beats it${decider === undefined ? "" : ` (${decider.fullId})`}`;
    case "expired":
      return `lost: expired, its last day was ${new Date(rule.expiresAt - 1).toISOString().slice(0, 10)}`;
    case "other_clients": {
      const names = audienceNames(ruleset, rule) ?? [];
      return names.length === 0 ? "lost: left out where its pack is used" : `lost: only for ${names.join(", ")}`;
    }
  }
}

/** As in `/api/policy`: for programs, so never shortened. */
function placeText({ file, line, column }: Place): string {
  return `${file}:${line}:${column}`;
}
