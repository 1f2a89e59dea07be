/**
 * One reload at a time: read once, compare, put into force everywhere or nowhere, and say what came of it.
 *
 *   asked ──► reading ──► unchanged
 *                │  └────► refused: a problem in the files, a test of theirs that fails, a worker that cannot
 *                └► adopting ──► adopted
 *
 * Whoever asks while one runs gets the next one, and all who ask by then share it: what they have written is in it.
 */
import { isDeepStrictEqual } from "node:util";
import type { Problem } from "../config/problem.ts";
import type { OnRevoke, Settings } from "../config/settings.ts";
import { describeChange, settingsForRestart } from "./changes.ts";
import type { PolicyInForce, ReloadReport, ReloadResult, ReloadTrigger, Reread } from "./report.ts";

export type ReloaderOptions = {
  /** What this process runs with until it ends. */
  readonly running: Settings;
  /** The policy of the start. */
  readonly first: Pick<PolicyInForce, "ruleset" | "recording">;
  readonly reread: () => Reread;
  /** Puts the policy into force in all processes, or in none. */
  readonly adopt: (candidate: Candidate) => Promise<Adoption>;
  /** False before all listen, and once a drain has begun. */
  readonly isAtWork: () => boolean;
  /** Told of every reload but those for which no file had changed after all. */
  readonly tell: (report: ReloadReport) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

export type Candidate = Pick<PolicyInForce, "ruleset" | "recording"> & { readonly onRevoke: OnRevoke };

export type Adoption =
  | { readonly kind: "adopted"; readonly revokedTunnels: number }
  | { readonly kind: "refused"; readonly problems: readonly Problem[] }
  /** A drain has begun meanwhile. */
  | { readonly kind: "not_now" };

export type Reloader = {
  readonly inForce: () => PolicyInForce;
  /** Never rejects. */
  readonly reload: (trigger: ReloadTrigger) => Promise<ReloadReport>;
};

export function createReloader({ running, first, reread, adopt, isAtWork, tell, now }: ReloaderOptions): Reloader {
  let inForce: PolicyInForce = { ...first, generation: 1, change: undefined };
  let last: Promise<unknown> = Promise.resolve();
  /** The one that has not begun yet. */
  let queued: Promise<ReloadReport> | undefined;
  let queuedBy: ReloadTrigger = "watch";

  async function run(trigger: ReloadTrigger): Promise<ReloadResult> {
    if (!isAtWork()) return { kind: "not_now", policy: inForce };
    const read = reread();
    if (read.kind === "problems") return { kind: "refused", policy: inForce, problems: read.problems };
    const { ruleset, recording, settings, notices } = read;
    const restartNeeded = settingsForRestart(running, settings);
    if (isDeepStrictEqual(recording, inForce.recording)) return { kind: "unchanged", policy: inForce, restartNeeded };
    const before = inForce;
    const { onRevoke } = settings.reload;
    const adoption = await adopt({ ruleset, recording, onRevoke });
    if (adoption.kind === "not_now") return { kind: "not_now", policy: inForce };
    if (adoption.kind === "refused") return { kind: "refused", policy: inForce, problems: adoption.problems };
    const atMs = now();
    const change = describeChange(before.ruleset, ruleset, trigger, atMs);
    inForce = { ruleset, recording, generation: before.generation + 1, change };
    const { revokedTunnels } = adoption;
    return { kind: "adopted", policy: inForce, change, onRevoke, revokedTunnels, restartNeeded, notices };
  }

  async function runSafely(trigger: ReloadTrigger): Promise<ReloadReport> {
    let report: ReloadReport;
    try {
      report = { trigger, ...(await run(trigger)) };
    } catch (error) {
      report = { trigger, kind: "refused", policy: inForce, problems: [bug(error)] };
    }
    if (trigger !== "watch" || report.kind !== "unchanged") tell(report);
    return report;
  }

  return {
    inForce: () => inForce,
    reload(trigger) {
      // Who asked is to hear of it, even where nothing has changed.
      if (queued === undefined || trigger !== "watch") queuedBy = trigger;
      queued ??= last.then(() => {
        queued = undefined;
        return runSafely(queuedBy);
      });
      last = queued;
      return queued;
    },
  };
}

function bug(error: unknown): Problem {
  const message = `this is a bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  return {
    severity: "error",
    place: { file: "reload", line: 0, column: 0 },
    offending: "",
    message,
    instead: undefined,
  };
}
