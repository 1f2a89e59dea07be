/** The narrowest rule that would allow a denied request, tried on the policy before it is shown. Nothing is edited. */
import type { Address } from "../names/address.ts";
import { tlsName } from "../policy/explain.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { type TrialRequest, trialClient, tryRequest } from "../policy/trial.ts";
import type { Denial } from "../policy/verdict.ts";
import { beyondRules } from "./beyond-rules.ts";
import { listCovering } from "./covering.ts";
import { type DeniedFacts, deniedRequest, deniedTarget } from "./denied-request.ts";
import { type Change, diffRulesets } from "./diff.ts";
import { type Draft, draftRules } from "./proposal-draft.ts";
import { withRules } from "./ruleset-with.ts";
import { defaultMethods } from "./rule-text.ts";
import { ruleYaml } from "./rule-yaml.ts";

export type Proposal =
  | {
      readonly kind: "rule";
      /** Rules to paste at the top of `rules:`, with their comments. */
      readonly yaml: string;
      /** The site policy that they belong into. */
      readonly file: string;
      /** Their ids. */
      readonly rules: readonly string[];
      /** What they admit besides the request, as sentences. */
      readonly notes: readonly string[];
      /** What they change in this policy, copies apart; undefined where that was too much to try. */
      readonly changes: readonly Change[] | undefined;
    }
  /** The policy allows it already. */
  | { readonly kind: "allowed"; readonly rule: string | undefined }
  /** No rule can allow it. */
  | { readonly kind: "none"; readonly why: string; readonly instead: readonly string[] };

export type ProposalOptions = {
  /** The denial id. */
  readonly id: string;
  readonly wide: boolean;
  /** First instant at which the rule no longer exists; undefined for ever. */
  readonly expiresAt: number | undefined;
  readonly ticket: string | undefined;
  /** What the name resolves to, as far as somebody knows. */
  readonly resolved: readonly Address[] | undefined;
  /** Comments on who asked and how often. */
  readonly evidence: readonly string[];
};

/** Comparing two policies takes a millisecond for some ten rules; a proxy that answers has other things to do. */
const maxRulesToCompare = 2_000;

export function proposeRule(ruleset: Ruleset, facts: DeniedFacts, options: ProposalOptions, nowMs: number): Proposal {
  const beyond = beyondRules(facts);
  if (beyond !== undefined) return { kind: "none", ...beyond };
  const target = deniedTarget(facts);
  const denied = deniedRequest(ruleset, facts);
  if (target === undefined || denied === undefined)
    return { kind: "none", why: "the record has no target that could be read", instead: [] };
  const request: TrialRequest = { ...denied.request, resolved: options.resolved };
  const { decided } = tryRequest(ruleset, request, nowMs);
  const denial = decided.kind === "deny" ? decided : decided.would;
  if (denial === undefined) {
    if (facts.reason === "address_denied") return unknownAddress(options, decided.rule?.fullId);
    if (facts.reason === "tls_downgrade") return unknownAnswer;
    return { kind: "allowed", rule: decided.rule?.fullId };
  }
  const now = beyondRules({ ...facts, reason: denial.reason });
  if (now !== undefined) return { kind: "none", ...now };
  const site = ruleset.files.find(({ kind }) => kind === "site");
  const draft = draftRules({
    ruleset,
    request,
    target,
    denial,
    covering: listCovering(ruleset, trialClient(ruleset, request), target.host, decided, nowMs),
    group: ruleset.groups.some(({ name }) => name === facts.group) ? facts.group : undefined,
    hasPath: facts.path !== "",
    wide: options.wide,
    stem: options.id.toLowerCase(),
    expiresAt: options.expiresAt ?? Number.POSITIVE_INFINITY,
    ticket: options.ticket,
  });
  if (draft === undefined || site === undefined) return hopeless(denial);
  const after = withRules(ruleset, draft.rules);
  const verdict = tryRequest(after, request, nowMs);
  if (verdict.verdict === "deny" || verdict.would !== undefined) return hopeless(denial);
  const notes = notesOf(draft, request);
  const changes =
    ruleset.rules.length > maxRulesToCompare
      ? undefined
      : diffRulesets(ruleset, after, nowMs).filter((change) => !isCopy(change, draft, site.name));
  return {
    kind: "rule",
    yaml: yamlOf(draft, [...options.evidence, ...notes]),
    file: site.path,
    rules: draft.rules.map(({ id }) => id),
    notes,
    changes,
  };
}

/** That a copy decides where its origin did is no change. */
function isCopy({ kind, before, after, conditions }: Change, { origins }: Draft, file: string): boolean {
  if (kind !== "rule" || conditions.length > 0) return false;
  const id = after.rule?.startsWith(`${file}/`) === true ? after.rule.slice(file.length + 1) : "";
  return before.rule !== undefined && origins.get(id)?.fullId === before.rule;
}

function unknownAddress({ id }: ProposalOptions, rule: string | undefined): Proposal {
  return {
    kind: "none",
    why: `the name resolved to no address that ${rule ?? "the policy"} admits, and which it was is not recorded`,
    instead: [
      "look the name up where the proxy runs; a public name that leads to a private address is an attack more often than not",
      `if that address is meant: sallyport allow ${id} --resolved ADDRESS`,
    ],
  };
}

/** What is recorded as its version would be enough: it was the client's. */
const unknownAnswer: Proposal = {
  kind: "none",
  why: "the server answered the ClientHello with something that is no TLS, or the rule has changed since",
  instead: [
    "look what listens there; where the agent speaks no TLS, a rule with tcp:PORT in place of https is what it needs",
  ],
};

function hopeless({ reason, rule }: Denial): Proposal {
  const { file, line } = rule?.rule.place ?? {};
  const name = rule?.fullId ?? "the policy";
  const at = file === undefined ? "" : ` (${file}:${line})`;
  if (reason === "rule_denied") {
    return {
      kind: "none",
      why: `${name} denies exactly this${at}, and a deny wins over any rule beside it`,
      instead: [`take ${name} back or narrow it; a pack's rule is left out with without: [${rule?.rule.id ?? ""}]`],
    };
  }
  return {
    kind: "none",
    why: `no rule beside the others opens this (${reason}${rule === undefined ? "" : ` by ${name}`})`,
    instead: ["sallyport explain says what would have to change"],
  };
}

function yamlOf({ rules, origins }: Draft, comments: readonly string[]): string {
  return rules
    .map((rule) => {
      const origin = origins.get(rule.id);
      if (origin === undefined) return ruleYaml(rule, comments);
      return ruleYaml(rule, [`keeps what ${origin.fullId} opens, which the narrower rule would close here`]);
    })
    .join("");
}

function notesOf({ added, origins }: Draft, { method, tls }: TrialRequest): readonly string[] {
  const { clients, patterns, addresses, paths, methods, range, endpoints, sni, tlsMin } = added;
  const keys = [...patterns.map(({ text }) => text), ...addresses.map(({ text }) => text)];
  const isHttp = endpoints.some(({ scheme }) => scheme === "http");
  const isHttps = endpoints.some(({ scheme }) => scheme === "https");
  const [port = 0] = endpoints.map((endpoint) => endpoint.port);
  return [
    clients === null ? "admits every client" : `admits every client of ${clients.join(", ")}`,
    ...keys.flatMap((key) =>
      key.startsWith("*.") ? [`admits ${key.slice(2)} and every name below it, at any depth`] : [],
    ),
    ...keys.flatMap((key) => (key.startsWith("glob:") ? [`admits every name that ${key} matches`] : [])),
    ...(isHttp ? [paths === null ? "admits every path" : "admits any query behind the path"] : []),
    ...(isHttp && methods.length > 1
      ? [methods.join(" ") === defaultMethods ? "admits every usual method" : `admits ${methods.join(", ")}`]
      : []),
    ...(isHttp && range === "allow" ? ["admits requests with and without Range"] : []),
    ...(isHttps ? [`admits whatever TLS ${tlsName(tlsMin)} or later carries on port ${port}: nobody can see it`] : []),
    ...(isHttps && patterns.length > 0 && sni === "any"
      ? ["admits hellos without a server name, and with any that some rule allows on this port"]
      : []),
    ...(!isHttp && !isHttps ? [`admits any bytes on port ${port}`] : []),
    ...(method === "CONNECT" && tls === undefined && isHttps && port !== 443
      ? [`if the agent speaks no TLS on port ${port}, this becomes not_tls, for which there is another rule`]
      : []),
    ...(origins.size > 0 ? ["what is kept is a copy: later changes of the rules it comes from do not reach it"] : []),
  ];
}
