/** One request in words, decided and explained: all that text and JSON say of it. */
import type { Client } from "../identity/groups.ts";
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { type CoveringPattern, listCovering } from "./covering.ts";
import type { Remedy } from "./remedy-rule.ts";
import { remediesOf } from "./remedy.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { type TrialAnswer, type TrialRequest, trialClient, trialTarget, tryRequest } from "../policy/trial.ts";
import type { Denial } from "../policy/verdict.ts";

export type Explanation = {
  readonly ruleset: Ruleset;
  readonly request: TrialRequest;
  readonly client: Client;
  readonly answer: TrialAnswer;
  /** What was, or in report mode would have been, refused. */
  readonly denial: Denial | undefined;
  /** The most specific first. */
  readonly covering: readonly CoveringPattern[];
  /** What would have to change. */
  readonly remedies: readonly Remedy[];
  readonly placeText: PlaceText;
};

/** The place of a rule as `path:line`. */
export type PlaceText = (rule: CompiledRule) => string;

/** Decides the request at its own time, else at `nowMs`. */
export function explainRequest(
  ruleset: Ruleset,
  request: TrialRequest,
  nowMs: number,
  placeText: PlaceText,
): Explanation {
  const time = request.time ?? nowMs;
  const answer = tryRequest(ruleset, request, time);
  const target = trialTarget(request);
  const client = trialClient(ruleset, request);
  const covering = target === undefined ? [] : listCovering(ruleset, client, target.host, answer.decided, time);
  const denial = answer.decided.kind === "deny" ? answer.decided : answer.decided.would;
  const remedies = denial === undefined ? [] : remediesOf(ruleset, { request, target, denial, covering, placeText });
  return { ruleset, request, client, answer, denial, covering, remedies, placeText };
}

/** Names of the groups that a client is in, in their order. */
export function groupNames({ ruleset, client }: Explanation): readonly string[] {
  return client.groups.flatMap((number) => ruleset.groups[number]?.name ?? []);
}
