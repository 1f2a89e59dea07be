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
import { createMetricsMerge } from "../record/metrics-merge.ts";
import { type Crew, createCrew } from "./crew.ts";
import type { Setup } from "./messages.ts";

/** `slots` are those of all workers together. */
export type WorkersOptions<Options> = ProxyOptions & {
  /** At least 2. */
  readonly workers: number;
  /** What the workers load settings and policy from. */
  readonly sources: Pick<Setup<Options>, "options" | "recording">;
};

/** For metrics: a worker that is busy for longer is shown as it was a second ago. */
const answerTimeoutMs = 500;
/** Longer than a worker takes to write its last log lines. */
const stopTimeoutMs = 4_000;

/** Makes a proxy of several processes; nothing runs before `start`. Throws where the log file cannot be opened. */
export function createWorkers<Options>(options: WorkersOptions<Options>): Proxy {
  const { settings, ruleset, workers, sources, version } = options;
  const via = pseudonymOf(settings);
  const recorder = createRecorder(options, true);
  const { metrics, log } = recorder;
  const merge = createMetricsMerge();
  let ready = false;
  let rendering: Promise<string> | undefined;

  const render = async (): Promise<string> => {
    const [own] = await Promise.all([metrics.snapshot(), crew.ask("metrics", answerTimeoutMs)]);
    // From here on nothing waits: who ends meanwhile is counted among the living or among the dead, never twice.
    return merge.render([own, ...crew.metrics()]);
  };
  const control = createControl(options, recorder, {
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
        const listeners = await crew.start({ ...sources, version, policyHash: ruleset.hash, workers, via, admin });
        ready = true;
        return logStart(log, options, listeners, admin, workers);
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
    async reopenLog() {
      const [own, answers] = await Promise.all([log.reopen(), crew.ask("reopened", stopTimeoutMs)]);
      return own ?? answers.find(({ failure }) => failure !== undefined)?.failure;
    },
  };
}
