/** What every exchange needs and none owns. `proxy.ts` makes it; ingress only receives it. */
import type { OnRevoke, Settings } from "../config/settings.ts";
import type { Deadlines } from "../egress/deadlines.ts";
import type { OwnDials } from "../egress/own-dials.ts";
import type { FindOwnListener } from "../egress/own-listeners.ts";
import type { Resolver } from "../egress/resolver.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { AccessLog } from "../record/access-log.ts";
import type { DenialSighting } from "../record/denial-sighting.ts";
import type { Metrics } from "../record/metrics.ts";

export type IngressContext = {
  readonly settings: Settings;
  /** The ruleset in force: ask once an exchange, so that one exchange sees one policy. */
  readonly ruleset: () => Ruleset;
  /** What becomes of open tunnels that the ruleset in force would not let in. */
  readonly onRevoke: () => OnRevoke;
  /** The pseudonym in Via, unique to this instance. */
  readonly via: string;
  /** Part of the ids of exchanges, so that those of several workers differ in one log. */
  readonly instance: string;
  readonly resolver: Resolver;
  readonly findOwnListener: FindOwnListener;
  /** Undefined where no listener takes redirected TLS. */
  readonly ownDials: OwnDials | undefined;
  readonly deadlines: Deadlines;
  readonly metrics: Metrics;
  readonly log: AccessLog;
  /** Told of every denial, and of what report mode let pass, at the final verdict. */
  readonly onDenial: (sighting: DenialSighting) => void;
  /** Wall clock, ms since the epoch. */
  readonly now: () => number;
  /** True once a drain has begun: nothing new is accepted. */
  readonly isDraining: () => boolean;
};
