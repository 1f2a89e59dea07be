/** One explained request, for a person: the verdict first, then who decided, who lost, and what would have to change. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { decidingPattern, decidingRule } from "../review/covering.ts";
import { expectationOf, explainDenial, tlsName } from "../policy/explain.ts";
import type { Remedy } from "../review/remedy-rule.ts";
import type { TrialAnswer } from "../policy/trial.ts";
import { rowOfReason } from "../wire/refusal.ts";
import { alerts } from "../wire/tls-alert.ts";
import { type Explanation, type PlaceText, groupNames } from "../review/explanation.ts";
import { fateText } from "../review/explanation-fields.ts";
import { table } from "./terminal.ts";

/** Several lines, with newlines. */
export function explanationText(explanation: Explanation): string {
  const { answer, denial, remedies } = explanation;
  const { verdict, would, reason } = answer;
  const heading =
    would === undefined
      ? verdict === "deny"
        ? `denied: ${reason}`
        : "allowed"
      : `allowed, but only in report mode: enforced, it would be denied: ${reason}`;
  const change =
    would === undefined
      ? "To be allowed, one of these has to change:"
      : "To be allowed when enforced, one of these has to change:";
  return [
    `${heading}\n`,
    ...(denial === undefined ? [] : [`${explainDenial(denial).join(" ")}\n`]),
    `\n${table(factRows(explanation))}`,
    coveringText(explanation),
    remedies.length === 0 ? "" : `\n${change}\n${remedies.map(remedyText).join("")}`,
  ]
    .join("")
    .replace(control, "\ufffd");
}

/** What a file or a request says must not steer the terminal that shows it. */
// eslint-disable-next-line no-control-regex
const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

function remedyText({ text, rule }: Remedy): string {
  return rule === undefined ? `  - ${text}\n` : `  - ${text}:\n      ${rule}\n`;
}

function factRows(explanation: Explanation): readonly (readonly string[])[] {
  const { request, client, answer, covering, placeText } = explanation;
  const decider = decidingRule(answer.decided);
  const pattern = decidingPattern(covering);
  const groups = groupNames(explanation);
  const address = request.client === undefined ? `${client.address.text} (this host)` : client.address.text;
  return [
    ["request", `${request.method} ${request.target}`],
    ["client", groups.length === 0 ? `${address}, in no group` : `${address}, in ${groups.join(", ")}`],
    ...(decider === undefined ? [] : ruleRows(decider, pattern, placeText)),
    ["judged", judgedText(explanation)],
    ...toldRows(answer),
  ];
}

function ruleRows(
  decider: CompiledRule,
  pattern: string | undefined,
  placeText: PlaceText,
): readonly (readonly string[])[] {
  const { purpose } = decider.rule;
  const what = decider.deny ? "denied" : expectationOf(decider);
  return [
    ["rule", `${decider.fullId}, ${placeText(decider)}`],
    ["", `${pattern === undefined ? "" : `${pattern}: `}${what}`],
    ...(purpose === undefined ? [] : [["", purpose]]),
  ];
}

/** How far the request was followed, and what was not asked. */
function judgedText({ request, answer }: Explanation): string {
  const { decided, stage } = answer;
  const endpoint = decided.kind === "allow" ? decided.permit.endpoint : undefined;
  const addresses = stage !== "request" && request.resolved !== undefined ? ", the addresses" : "";
  if (stage === "tunnel") return `the request${addresses} and the tunnel`;
  if (decided.kind === "deny") return stage === "dial" ? "the request and the addresses" : "the request";
  const judged = `the request${addresses}`;
  if (endpoint === undefined) return `${judged}; what no endpoint expects is not inspected further`;
  if (endpoint.scheme !== "https") return judged;
  const floor = tlsName(decided.rule?.rule.tlsMin);
  return `${judged}; the tunnel must then begin with TLS ${floor} or later: --tls and --sni judge that too`;
}

function toldRows({ status, alert, reason, verdict }: TrialAnswer): readonly (readonly string[])[] {
  if (verdict === "allow") return [];
  if (status !== undefined)
    return [["told", `status ${status}, Proxy-Status: sallyport; error=${rowOfReason(reason).error}`]];
  const name = Object.entries(alerts).find(([, code]) => code === alert)?.[0];
  return [
    [
      "told",
      name === undefined
        ? "nothing: the connection is closed"
        : `TLS alert ${name} (${alert}), after the 200 of the CONNECT`,
    ],
  ];
}

function coveringText({ ruleset, covering, answer, placeText }: Explanation): string {
  const decider = decidingRule(answer.decided);
  const rows = covering.flatMap(({ pattern, rules }) =>
    rules.map((one, i) => [
      i === 0 ? `  ${pattern}` : "",
      one.rule.fullId,
      fateText(ruleset, one, decider),
      placeText(one.rule),
    ]),
  );
  if (rows.length === 0 || (rows.length === 1 && decider !== undefined)) return "";
  return `\nWhat covers it, the most specific first (it decides alone):\n${table(rows)}`;
}
