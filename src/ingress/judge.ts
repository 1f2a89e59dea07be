/**
 * A request put to the policy in force, and one decision in 64 timed: the only call of `decideTarget` on real traffic.
 * What comes before policy comes here as well, so that nobody is judged without it.
 */
import { type RequestFacts, decideTarget } from "../policy/decide.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { Denial, Verdict } from "../policy/verdict.ts";
import { type Connection, clientOf } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright } from "./exchange.ts";

/** Decides for the client of this connection, under the ruleset that its exchange began with. */
export function judgeTarget(
  context: IngressContext,
  connection: Connection,
  ruleset: Ruleset,
  facts: RequestFacts,
): Verdict {
  const early = denyBeforePolicy(context, connection);
  if (early !== undefined) return early;
  const { metrics, now } = context;
  const client = clientOf(connection, ruleset);
  const sampled = metrics.sampleDecision();
  const startedAt = sampled ? performance.now() : 0;
  const verdict = decideTarget(ruleset, client, facts, now());
  if (sampled) metrics.observeDecision((performance.now() - startedAt) / 1000);
  return verdict;
}

/** Refuses before policy is asked: everything new while draining, and whoever has not said who he is where he is to. */
function denyBeforePolicy(
  { isDraining, metrics }: IngressContext,
  { authenticate, credentials }: Connection,
): Denial | undefined {
  if (isDraining()) {
    metrics.limitRejected("draining");
    return denyOutright("limit_exceeded");
  }
  if (authenticate === undefined || credentials?.kind === "user") return undefined;
  if (credentials?.kind !== "limited") return denyOutright("auth_required");
  metrics.limitRejected("auth");
  return denyOutright("limit_exceeded");
}
