/** What `serve` does when its files change: reads them anew, watches them, and says what came of it. */
import { dirname, resolve, sep } from "node:path";
import { recordDisk } from "../config/recorded-disk.ts";
import type { ReloadReport, Reread } from "../reload/report.ts";
import { type Sightings, sightFiles, sightNow, watchFiles } from "../reload/watch.ts";
import type { Io } from "./io.ts";
import { type SourceOptions, readSources } from "./sources.ts";
import { counted, sayError, sayHint, sayProblems, sayWarning } from "./terminal.ts";

/** Reads everything as it is now; `seen` is what there was of each file before it was read. */
export function rereadSources(
  options: SourceOptions,
  io: Io,
  purpose: "start" | "check",
): { readonly read: Reread & { readonly isDefault?: boolean }; readonly seen: Sightings } {
  const sighted = sightFiles(io.disk);
  const { disk, recording } = recordDisk(sighted.disk);
  const read = readSources(options, { ...io, disk }, purpose);
  return { read: read.kind === "loaded" ? { ...read, recording } : read, seen: sighted.seen };
}

/** Follows the files of the policy in force, and those of the last attempt to load another. */
export type SourceWatch = {
  readonly onRead: (seen: Sightings) => void;
  readonly onReport: (report: ReloadReport) => void;
  readonly close: () => void;
};

/**
 * `first` is what the policy of the start was read from. What ships with the program is not watched: it changes when
 * another version is installed, which is another program's policy.
 */
export function watchSources(
  io: Pick<Io, "cwd" | "policiesDir">,
  logFile: string,
  first: Sightings,
  onChange: () => void,
): SourceWatch {
  const shipped = resolve(io.policiesDir) + sep;
  const own = (seen: Sightings): Sightings =>
    new Map([...seen].filter(([path]) => !resolve(io.cwd, path).startsWith(shipped)));
  const watch = watchFiles({
    onChange,
    busyDirectories: logFile === "-" ? [] : [dirname(resolve(io.cwd, logFile))],
  });
  let inForce: Sightings = own(first);
  let last: Sightings = inForce;
  watch.follow(inForce);
  return {
    onRead(seen) {
      last = own(seen);
      // Of a broken file others may not be known that were in force with it.
      const others = [...inForce.keys()].filter((path) => !last.has(path));
      watch.follow(new Map([...sightNow(others), ...last]));
    },
    onReport({ kind }) {
      if (kind !== "adopted") return;
      inForce = last;
      watch.follow(last);
    },
    close: watch.close,
  };
}

/** Says to people what a reload came to. */
export function sayReload(io: Pick<Io, "stderr">, report: ReloadReport): void {
  const { policy } = report;
  switch (report.kind) {
    case "refused":
      sayProblems(io, report.problems);
      sayError(io, `the reload has changed nothing: the policy in force is still ${policy.ruleset.hash}`);
      return;
    case "not_now":
      sayError(io, "no reload now: the proxy is draining, or not yet at work");
      return;
    case "unchanged":
      sayRestart(io, report.restartNeeded);
      return;
    case "adopted": {
      const { change, notices, restartNeeded } = report;
      sayProblems(
        io,
        notices.filter(({ severity }) => severity === "warning"),
      );
      const { added, removed, changed } = change.rules;
      io.stderr(
        `sallyport: reloaded: policy ${change.to} (was ${change.from}), generation ${policy.generation}: ${counted(added.length, "rule")} added, ${removed.length} removed, ${changed.length} changed\n`,
      );
      sayRestart(io, restartNeeded);
    }
  }
}

function sayRestart(io: Pick<Io, "stderr">, names: readonly string[]): void {
  if (names.length === 0) return;
  sayWarning(io, `a reload does not change ${names.join(", ")}: what this process was started with stays`);
  sayHint(io, "restart it for that; tunnels and downloads that run may finish until limits.drain_timeout");
}
