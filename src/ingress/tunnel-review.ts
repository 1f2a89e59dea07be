/**
 * Open tunnels under a policy that came after them: each is judged again by what it was judged by when it was opened,
 * and where it would not be let in any more, `reload.on_revoke` says what becomes of it.
 */
import { setImmediate } from "node:timers/promises";
import type { Chain } from "../egress/chain.ts";
import { admit } from "../egress/admit.ts";
import type { Deadline } from "../egress/deadlines.ts";
import type { Splice } from "../egress/splice.ts";
import type { Address } from "../names/address.ts";
import { type RequestFacts, decideTarget } from "../policy/decide.ts";
import { type FinalHello, type FinalServerHello, decideHello, decideServerHello } from "../policy/decide-hello.ts";
import type { Permit } from "../policy/verdict.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { ClosedBy, Exchange } from "../record/event.ts";
import { type Connection, clientOf, isAdmitted } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import type { OpenExchange } from "./exchange.ts";
import { routeFor } from "./reach.ts";
import { passageFor } from "./through-parent.ts";

export type Tunnel = {
  readonly close: (closedBy: ClosedBy) => void;
  /** True where it is open, and the policy in force would not let it in; then done with as `on_revoke` says. */
  readonly review: () => boolean;
};

/** What a tunnel is judged by, as it becomes known. */
export type TunnelFacts = {
  asked: RequestFacts | undefined;
  /** Undefined where nobody looked. */
  hello: FinalHello | undefined;
  answer: FinalServerHello | undefined;
};

export type Review = {
  readonly known: TunnelFacts;
  /** True where the policy that it began with is no longer in force, and the one that is would end it here and now. */
  readonly isOver: () => boolean;
  /** It is open from now on: judged at once where the policy that it began with is no longer in force. */
  readonly open: (spliced: Splice) => void;
  readonly review: () => boolean;
  readonly over: () => void;
};

/** A drain does not wait for a tunnel in which nothing has moved for so long. */
const quietMs = 5_000;
/** How many are judged before others have their turn. */
const batch = 512;

/** Judges all; answers how many of them would not be let in. */
export async function reviewTunnels(tunnels: Chain<Tunnel>): Promise<number> {
  let revoked = 0;
  let count = 0;
  const all: Tunnel[] = [];
  tunnels.each((tunnel) => all.push(tunnel));
  for (const tunnel of all) {
    if (tunnel.review()) revoked += 1;
    count += 1;
    if (count % batch === 0) await setImmediate();
  }
  return revoked;
}

/**
 * Until `open` a tunnel is nobody's business but its own: what is being opened is finished under the policy that it began
 * with. `close` ends it at once. `over` is to be called when it has ended.
 */
export function createReview(
  context: IngressContext,
  connection: Connection,
  { event, ruleset }: Pick<OpenExchange, "event" | "ruleset">,
  close: () => void,
): Review {
  return new Standing(context, connection, event, ruleset, close);
}

class Standing implements Review {
  readonly known: TunnelFacts = { asked: undefined, hello: undefined, answer: undefined };
  readonly #context: IngressContext;
  readonly #connection: Connection;
  readonly #event: Exchange;
  readonly #ruleset: Ruleset;
  readonly #close: () => void;
  #spliced: Splice | undefined;
  #draining: Deadline | undefined;

  constructor(context: IngressContext, connection: Connection, event: Exchange, ruleset: Ruleset, close: () => void) {
    this.#context = context;
    this.#connection = connection;
    this.#event = event;
    this.#ruleset = ruleset;
    this.#close = close;
  }

  isOver(): boolean {
    const context = this.#context;
    return context.ruleset() !== this.#ruleset && context.onRevoke() === "close" && !this.#isLetIn();
  }

  open(opened: Splice): void {
    this.#spliced = opened;
    if (this.#context.ruleset() !== this.#ruleset) this.review();
  }

  review(): boolean {
    // What has begun to end ends, whatever a later policy says; but it may have to be quicker.
    if (this.#spliced === undefined || (this.#draining === undefined && this.#isLetIn())) return false;
    const context = this.#context;
    const how = context.onRevoke();
    if (how === "close") this.#close();
    else if (how === "drain" && this.#draining === undefined) {
      this.#draining = context.deadlines.after(context.settings.limits.drainTimeoutMs, this.#close);
      this.#spliced.whenQuiet(quietMs, this.#close);
    }
    return true;
  }

  over(): void {
    this.#spliced = undefined;
    this.#draining?.cancel();
  }

  #isLetIn(): boolean {
    return isLetIn(this.#context, this.#connection, this.known, this.#event.upstream);
  }
}

/** Judges all that is known of it, in the order in which it became known. */
function isLetIn(
  context: IngressContext,
  connection: Connection,
  { asked, hello, answer }: TunnelFacts,
  address: Address | undefined,
): boolean {
  if (asked === undefined || address === undefined) return false;
  const ruleset = context.ruleset();
  const client = clientOf(connection, ruleset);
  const facts = { ...asked, listenerAdmits: isAdmitted(connection, ruleset) };
  const verdict = decideTarget(ruleset, client, facts, context.now());
  if (verdict.kind === "deny" || !isAddressLetIn(context, verdict.permit, asked, address)) return false;
  if (verdict.permit.endpoint?.scheme !== "https") return true;
  // Bytes that nobody looked at are not known to be TLS.
  if (hello === undefined) return false;
  const second = decideHello(ruleset, client, asked, verdict, hello, context.now());
  if (second.kind === "deny") return false;
  return answer === undefined || decideServerHello(ruleset, client, second, answer).kind === "allow";
}

/** Where the administrator routes, and where the client named the address itself, `resolves_to` has no say. */
function isAddressLetIn(context: IngressContext, permit: Permit, asked: RequestFacts, address: Address): boolean {
  const { settings, findOwnListener } = context;
  const isRouted = passageFor(settings.parents, asked, undefined) ?? routeFor(settings.connectTo, asked);
  const isListed = asked.host.kind === "address" && permit.rule !== undefined && !permit.rule.deny;
  return (
    isRouted !== undefined || isListed || admit(permit, [address], asked.port, findOwnListener).admitted.length > 0
  );
}
