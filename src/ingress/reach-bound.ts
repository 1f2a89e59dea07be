/** The way of requests to a connection that is, or will be, their client's alone. */
import { type Upstream, connectUpstream } from "../egress/inflow.ts";
import { type Origin, createOrigin } from "../egress/origin.ts";
import type { PoolKey } from "../egress/pool.ts";
import { streamUpstream } from "../egress/secure-upstream.ts";
import { formatHost } from "../names/hostname.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { type Admitted, type Refused, admitReached } from "./admission.ts";
import { takeBound } from "./bound-origins.ts";
import type { Connection } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import type { OpenExchange } from "./exchange.ts";
import { type Reached, type Way, reach } from "./reach.ts";
import { shelfOf } from "./through-parent.ts";

/** A parent proxy is asked in absolute form. */
export const askedUpstream: Way<Upstream>["behind"] = { over: streamUpstream, tunnel: undefined };

/** What a connection for this request is good for. */
export function keyOf({ target, passage }: Admitted, policy: Ruleset): PoolKey {
  return { host: shelfOf(formatHost(target.host), passage), port: target.port, policy };
}

/** Notes that an exchange goes on over a connection that was there. */
export function noteReuse(exchange: OpenExchange, { destination }: Origin): void {
  const { event } = exchange;
  exchange.conclude();
  event.upstream = destination.address;
  event.upstreamPort = destination.port;
}

/** Takes the connection that is bound to the client, or dials one. `done` is called once, and not after `cancel`. */
export function reachBound(
  context: IngressContext,
  connection: Connection,
  exchange: OpenExchange,
  admitted: Admitted,
  key: PoolKey,
  done: (reached: Origin | Refused) => void,
): { readonly cancel: () => void } {
  const { allow, target, passage } = admitted;
  const onProblem = (error: unknown): void => context.log.problem({ message: "a request failed", error });
  const way: Way<Upstream> = {
    connect: connectUpstream,
    reuse: (destinations) => {
      const found = takeBound(connection, key, destinations);
      if (found === undefined) return false;
      noteReuse(exchange, found);
      done(found);
      return true;
    },
    behind: askedUpstream,
  };
  const onReached = (reached: Reached<Upstream>): void => {
    const opened: Upstream | Refused = admitReached(exchange, allow, reached);
    if ("kind" in opened) done(opened);
    else if (reached.kind === "connected") done(createOrigin(opened, reached.destination, onProblem));
  };
  return reach(context, { permit: allow.permit, target, way, passage, done: onReached });
}
