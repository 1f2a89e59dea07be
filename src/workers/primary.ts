/**
 * A proxy of several processes. Here is what there is once: what was read, the admin server with the metrics of all, and
 * the denials. No client's byte passes through this process.
 */
import {
  type Bound,
  type Proxy,
  type ProxyOptions,
  createControl,
  createRecorder,
  listenForAdmin,
  logStart,
  pseudonymOf,
} from "../proxy.ts";
import type { Problem } from "../config/problem.ts";
import { createMetricsMerge } from "../record/metrics-merge.ts";
import { type ReloadOptions, createRecordedReloader, describePolicy } from "../reload/recorded-reloader.ts";
import type { Adoption, Candidate } from "../reload/reloader.ts";
import { type Crew, type WorkerFailure, createCrew } from "./crew.ts";

/** `slots` are those of all workers together. */
export type WorkersOptions<Options> = ProxyOptions &
  ReloadOptions & {
    /** At least 2. */
    readonly workers: number;
    /** What the workers load the recording with. */
    readonly options: Options;
  };

/** For metrics: a worker that is busy for longer is shown as it was a second ago. */
const answerTimeoutMs = 500;
/** Longer than a worker takes to write its last log lines. */
const stopTimeoutMs = 4_000;

/** Makes a proxy of several processes; nothing runs before `start`. Throws where the log file cannot be opened. */
export function createWorkers<Options>(given: WorkersOptions<Options>): Proxy {
  const { settings, ruleset, recording, workers, options, version } = given;
  const via = pseudonymOf(settings);
  const recorder = createRecorder(given, true);
  const { metrics, log } = recorder;
  const merge = createMetricsMerge();
  let ready = false;
  let rendering: Promise<string> | undefined;

  const render = async (): Promise<string> => {
    const [own] = await Promise.all([metrics.snapshot(), crew.ask("metrics", answerTimeoutMs)]);
    // From here on nothing waits: who ends meanwhile is counted among the living or among the dead, never twice.
    return merge.render([own, ...crew.metrics()]);
  };
  const reloader = createRecordedReloader(given, recorder, () => ready, adopt);
  const control = createControl(given, recorder, {
    reloader,
    isReady: () => ready && crew.allListen(),
    render: () => {
      rendering ??= render().finally(() => {
        rendering = undefined;
      });
      return rendering;
    },
  });
  const crew: Crew<Options> = createCrew<Options>({
    workers,
    ports: settings.listen.map((listener) => listener.address.port),
    onDenials: (sightings) => {
      for (const sighting of sightings) control.denials.add(sighting);
    },
    onBuried: merge.bury,
    onRestart: metrics.workerRestarted,
    onProblem: (message, error) => log.problem({ message, error }),
  });

  /** Counts and shows it here, once all workers judge by it. */
  async function adopt({ ruleset: next, recording: read }: Candidate): Promise<Adoption> {
    const adoption = await crew.adopt({ recording: read, policyHash: next.hash });
    switch (adoption.kind) {
      case "ending":
        return { kind: "not_now" };
      case "failed":
        return { kind: "refused", problems: adoption.failures.map(problemOfWorker) };
      case "adopted":
        describePolicy(metrics, next);
        return adoption;
    }
  }
  const close = async (): Promise<void> => {
    await control.admin.close();
    await log.close();
  };
  const stop = async (): Promise<void> => {
    ready = false;
    await crew.end("stop", stopTimeoutMs);
    await close();
  };
  return {
    async start(): Promise<Bound> {
      try {
        const admin = await listenForAdmin(control.admin, settings);
        const policyHash = ruleset.hash;
        const listeners = await crew.start({ options, recording, version, policyHash, workers, via, admin });
        ready = true;
        return logStart(log, given, listeners, admin, workers);
      } catch (error) {
        await stop();
        throw error;
      }
    },
    async drain() {
      ready = false;
      const left = crew.ask("draining", stopTimeoutMs);
      const gone = crew.end("drain", settings.limits.drainTimeoutMs + stopTimeoutMs);
      log.drain({ connections: (await left).reduce((sum, { connections }) => sum + connections, 0) });
      await gone;
      await close();
    },
    stop,
    reload: reloader.reload,
    async reopenLog() {
      const [own, answers] = await Promise.all([log.reopen(), crew.ask("reopened", stopTimeoutMs)]);
      return own ?? answers.find(({ failure }) => failure !== undefined)?.failure;
    },
  };
}

function problemOfWorker({ worker, message }: WorkerFailure): Problem {
  const place = { file: `worker ${worker}`, line: 0, column: 0 };
  return { severity: "error", place, offending: "", message, instead: undefined };
}
