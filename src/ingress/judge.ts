/** A request put to the policy in force, and one decision in 64 timed: the only call of `decideTarget` on real traffic. */
import { type RequestFacts, decideTarget } from "../policy/decide.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { Verdict } from "../policy/verdict.ts";
import { type Connection, clientOf } from "./connection.ts";
import type { IngressContext } from "./context.ts";

/** Decides for the client of this connection, under the ruleset that its exchange began with. */
export function judgeTarget(
  { metrics, now }: IngressContext,
  connection: Connection,
  ruleset: Ruleset,
  facts: RequestFacts,
): Verdict {
  const client = clientOf(connection, ruleset);
  const sampled = metrics.sampleDecision();
  const startedAt = sampled ? performance.now() : 0;
  const verdict = decideTarget(ruleset, client, facts, now());
  if (sampled) metrics.observeDecision((performance.now() - startedAt) / 1000);
  return verdict;
}
