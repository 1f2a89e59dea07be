/**
 * Tells when files change: also those that are replaced by renaming, that vanish and come back, and those behind
 * symbolic links that are swapped, as Kubernetes does with `..data`.
 *
 * What counts is what `stat` says of each path, links followed: it is looked at every two seconds, wherever the files
 * are. Where the system tells of changes in their directories, it is looked at soon after one. Nothing is told before
 * it has been the same twice in a row: an editor that is still writing is not interrupted.
 */
import { type FSWatcher, statSync, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Disk } from "../config/disk.ts";

/** What was seen of each path. */
export type Sightings = ReadonlyMap<string, string>;

export type FileWatch = {
  /** Watches these files from now on, and tells of every difference to what was seen. Absolute paths. */
  readonly follow: (seen: Sightings) => void;
  readonly close: () => void;
};

export type FileWatchOptions = {
  readonly onChange: () => void;
  /** Directories with files that are written to all the time: there only the clock helps. */
  readonly busyDirectories?: readonly string[];
  readonly everyMs?: number;
  readonly settleMs?: number;
};

const defaultEveryMs = 2_000;
const defaultSettleMs = 150;

/** A disk that looks at each file before it is read: what changes while it is read is a difference afterwards. */
export function sightFiles(disk: Disk): { readonly disk: Disk; readonly seen: Sightings } {
  const seen = new Map<string, string>();
  return {
    disk: {
      ...disk,
      readFile: (path) => {
        if (!seen.has(path)) seen.set(path, sight(path));
        return disk.readFile(path);
      },
    },
    seen,
  };
}

/** What there is to be seen of these files now. */
export function sightNow(paths: Iterable<string>): Sightings {
  return new Map(Array.from(paths, (path) => [path, sight(path)]));
}

/** Watches nothing before `follow`. Nothing of it keeps the process alive. */
export function watchFiles(options: FileWatchOptions): FileWatch {
  const { onChange, busyDirectories = [], everyMs = defaultEveryMs, settleMs = defaultSettleMs } = options;
  const watchers = new Set<FSWatcher>();
  let paths: readonly string[] = [];
  let known = "";
  /** What the last look saw, where that is not `known`. */
  let changing: string | undefined;
  /** Something has happened in a directory since the last look began. */
  let hinted = false;
  let next: NodeJS.Timeout | undefined;
  let round = 0;
  let closed = false;

  const lookAfter = (ms: number): void => {
    clearTimeout(next);
    next = setTimeout(() => void look(), ms);
    next.unref();
  };
  async function look(): Promise<void> {
    const mine = (round += 1);
    hinted = false;
    const seen = (await Promise.all(paths.map(sightLater))).join("\n");
    // Others are followed by now, or none.
    if (mine !== round) return;
    const isSettled = seen === changing;
    changing = seen === known || isSettled ? undefined : seen;
    lookAfter(changing !== undefined || hinted ? settleMs : everyMs);
    if (!isSettled || seen === known) return;
    known = seen;
    onChange();
  }

  function hint(): void {
    // Many events are one change, and do not put off what is due already.
    if (hinted || changing !== undefined) return;
    hinted = true;
    lookAfter(settleMs);
  }

  /** Opened anew each time: a directory that was replaced under the same name would be watched in vain. */
  function watchDirectories(): void {
    unwatch();
    for (const path of new Set(paths.map((file) => dirname(file)))) {
      if (!busyDirectories.includes(path)) watchDirectory(path);
    }
  }

  /** Where it cannot be watched, or no longer, the clock is left. */
  function watchDirectory(path: string): void {
    try {
      const watcher = watch(path, { persistent: false }, hint);
      watcher.on("error", () => watcher.close());
      watchers.add(watcher);
    } catch {
      // A directory that is not there, or too many that are watched.
    }
  }

  function unwatch(): void {
    for (const watcher of watchers) watcher.close();
    watchers.clear();
  }

  return {
    follow(seen) {
      if (closed) return;
      round += 1;
      paths = [...seen.keys()];
      known = [...seen.values()].join("\n");
      changing = undefined;
      hinted = false;
      watchDirectories();
      lookAfter(settleMs);
    },
    close() {
      closed = true;
      round += 1;
      clearTimeout(next);
      unwatch();
    },
  };
}

function sight(path: string): string {
  try {
    return describe(path, statSync(path, { bigint: true }));
  } catch (error) {
    return describe(path, error);
  }
}

async function sightLater(path: string): Promise<string> {
  try {
    return describe(path, await stat(path, { bigint: true }));
  } catch (error) {
    return describe(path, error);
  }
}

/** Which file it is, and when it was last written to; or why it cannot be seen. */
function describe(path: string, what: unknown): string {
  const facts: ReadonlyMap<string, unknown> = new Map(
    typeof what === "object" && what !== null ? Object.entries(what) : [],
  );
  return [path, ...["dev", "ino", "size", "mtimeNs", "ctimeNs", "code"].map((key) => String(facts.get(key)))].join(" ");
}
