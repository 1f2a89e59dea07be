/** What a reload begins with and what comes of it, as everybody is told: the log, whoever asked for it, and people. */
import type { Recording } from "../config/recorded-disk.ts";
import type { Problem } from "../config/problem.ts";
import type { OnRevoke, Settings } from "../config/settings.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { Change, ChangeKind } from "../review/diff.ts";

/** SIGHUP, a file that changed, or `POST /-/reload`. */
export type ReloadTrigger = "signal" | "watch" | "request";

/** Settings and policy as the files are now, compiled and tested; or all that is wrong with them. */
export type Reread =
  | {
      readonly kind: "loaded";
      readonly settings: Settings;
      readonly ruleset: Ruleset;
      /** Warnings and rewritings. */
      readonly notices: readonly Problem[];
      readonly recording: Recording;
    }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

/** The policy that exchanges are judged by. */
export type PolicyInForce = {
  readonly ruleset: Ruleset;
  /** What it was loaded from. */
  readonly recording: Recording;
  /** Counts the policies that came into force since the start, from 1. */
  readonly generation: number;
  /** What the last reload changed; undefined for the policy of the start. */
  readonly change: PolicyChange | undefined;
};

/** The difference to the policy before. */
export type PolicyChange = {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  readonly trigger: ReloadTrigger;
  /** Hashes. */
  readonly from: string;
  readonly to: string;
  /** Full ids. */
  readonly rules: {
    readonly added: readonly string[];
    readonly removed: readonly string[];
    readonly changed: readonly string[];
  };
  readonly counts: Readonly<Record<ChangeKind, number>>;
  /** What requests are decided otherwise, the most telling first; at most `maxChanges` of them. */
  readonly changes: readonly Change[];
  /** False where `changes` leaves some out, or comparing would have taken too long. */
  readonly isComplete: boolean;
};

export type ReloadReport = { readonly trigger: ReloadTrigger } & ReloadResult;

export type ReloadResult =
  | {
      readonly kind: "adopted";
      readonly policy: PolicyInForce;
      readonly change: PolicyChange;
      readonly onRevoke: OnRevoke;
      /** Open tunnels that the new policy would not let in. */
      readonly revokedTunnels: number;
      /** Settings that differ from those this process runs with, as sallyport.yaml names them. */
      readonly restartNeeded: readonly string[];
      readonly notices: readonly Problem[];
    }
  /** The files are those that the policy in force was loaded from. */
  | { readonly kind: "unchanged"; readonly policy: PolicyInForce; readonly restartNeeded: readonly string[] }
  /** The policy in force stays, everywhere. */
  | { readonly kind: "refused"; readonly policy: PolicyInForce; readonly problems: readonly Problem[] }
  /** The proxy is not yet, or no longer, at work: nothing was read. */
  | { readonly kind: "not_now"; readonly policy: PolicyInForce };
