/** What a worker of `serve` runs: the settings and the policy that the primary has read, loaded from the same bytes. */
import { replayDisk } from "../config/recorded-disk.ts";
import { shareOpenFiles } from "../ingress/connection-slots.ts";
import type { ProxyOptions } from "../proxy.ts";
import type { Setup } from "../workers/messages.ts";
import { runWorker } from "../workers/worker.ts";
import type { Io } from "./io.ts";
import { hostsFile } from "./serve.ts";
import { type SourceOptions, loadSources } from "./sources.ts";

/** Resolves when the worker's work is over; the process is then to be ended. */
export function runServeWorker(io: Io): Promise<void> {
  // A terminal or a service manager signals all processes at once: the primary says what comes of it.
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) io.onSignal(signal, () => {});
  return runWorker((setup: Setup<SourceOptions>) => prepare(setup, io));
}

function prepare({ version, options, recording, policyHash }: Setup<SourceOptions>, io: Io): ProxyOptions {
  if (version !== io.version)
    throw new Error(`the program on the disk is version ${io.version}, and ${version} is running: restart it`);
  const replayed: Io = { ...io, disk: replayDisk(recording), fileExists: (path) => recording.files.has(path) };
  const sources = loadSources(options, replayed, "start");
  if (sources.kind === "failed" || sources.ruleset.hash !== policyHash)
    throw new Error("a worker has not loaded the policy that the primary has");
  const { settings, ruleset } = sources;
  const slots = shareOpenFiles(settings.limits.connections, io.openFiles());
  return { settings, ruleset, slots, version, nodeVersion: io.nodeVersion, hostsFile };
}
