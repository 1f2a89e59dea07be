/** One of several processes that share the listeners: it does what the primary says, and tells it what there is to know. */
import cluster from "node:cluster";
import { type ProxyOptions, type Recorder, createRecorder, createTraffic } from "../proxy.ts";
import type { DenialSighting } from "../record/denial-sighting.ts";
import type { Candidate } from "../reload/reloader.ts";
import { createBatches } from "./batches.ts";
import {
  type CountsChange,
  type FromWorker,
  type NextPolicy,
  type Setup,
  type ToWorker,
  errorFacts,
} from "./messages.ts";
import { createSharedCounts } from "./shared-counts.ts";

/** How much a worker may have counted that is lost when it is killed. */
const totalsEveryMs = 1000;
const countsAfterMs = 10;
const denialsAfterMs = 100;
const maxDenials = 256;

type Send = (message: FromWorker) => Promise<void>;

/** What a worker does, once it runs. */
type Duties = {
  readonly hear: (from: number, change: CountsChange) => void;
  readonly forget: (from: number) => void;
  readonly answer: () => Promise<void>;
  readonly reopen: () => Promise<void>;
  readonly prepare: (next: NextPolicy) => Promise<void>;
  readonly discard: () => void;
  readonly swap: (attempt: number) => Promise<void>;
  readonly drain: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

/**
 * Works until the primary has enough of it; the caller then ends the process. `prepare` loads what the setup holds, and
 * throws where that is not what the primary has. When the primary dies Node ends this process at once.
 */
export function runWorker<Options>(prepare: (setup: Setup<Options>) => ProxyOptions): Promise<void> {
  const { worker } = cluster;
  if (worker === undefined) throw new Error("this process is no worker");
  // Whoever sends to a primary that is gone has not much longer to live.
  worker.on("error", () => undefined);
  const send: Send = (message) => new Promise((fulfil) => worker.send(message, () => fulfil()));
  return new Promise((fulfil) => {
    let duties: Duties | undefined;
    const fail = async (error: unknown): Promise<void> => {
      await send({ kind: "failed", error: errorFacts(error) });
      fulfil();
    };
    worker.on("message", (message: ToWorker<Options>) => {
      switch (message.kind) {
        case "run":
          try {
            duties = takeUp(message.setup, prepare, send, fulfil, fail);
          } catch (error) {
            void fail(error);
          }
          return;
        case "counts":
          duties?.hear(message.from, message.change);
          return;
        case "gone":
          duties?.forget(message.from);
          return;
        case "ask":
          void duties?.answer();
          return;
        case "reopen":
          void duties?.reopen();
          return;
        case "prepare":
          void duties?.prepare(message);
          return;
        case "discard":
          duties?.discard();
          return;
        case "swap":
          void duties?.swap(message.attempt);
          return;
        case "drain":
          void (duties?.drain() ?? fulfil());
          return;
        case "stop":
          void (duties?.stop() ?? fulfil());
      }
    });
    void send({ kind: "hello" });
  });
}

function takeUp<Options>(
  setup: Setup<Options>,
  prepare: (setup: Setup<Options>) => ProxyOptions,
  send: Send,
  over: () => void,
  fail: (error: unknown) => Promise<void>,
): Duties {
  const { workers, via, admin, ports } = setup;
  const given = prepare(setup);
  const listen = given.settings.listen.map((listener, i) => {
    const { host, port } = listener.address;
    return { ...listener, address: { host, port: ports[i] ?? port } };
  });
  const settings = { ...given.settings, listen };
  const options: ProxyOptions = { ...given, settings };
  const recorder: Recorder = createRecorder(options, true);
  const { metrics, log } = recorder;
  const later = (run: () => void, afterMs: number): void => void setTimeout(run, afterMs);
  const counts = createSharedCounts({
    limit: settings.limits.connections,
    ownLimit: options.slots.connections,
    workers,
    say: (change) => void send({ kind: "counts", change }),
    soon: (run) => later(run, countsAfterMs),
  });
  const denials = createBatches<DenialSighting>({
    maxItems: maxDenials,
    intervalMs: denialsAfterMs,
    send: (items, dropped) => void send({ kind: "denials", items, dropped }),
    later,
  });
  const traffic = createTraffic(options, recorder, { via, counts, own: [admin], onDenial: denials.add });
  const tellTotals = async (): Promise<void> => send({ kind: "metrics", all: false, snapshot: await metrics.totals() });

  let isTelling = false;
  const telling = setInterval(() => {
    // One at a time: a primary that is slow to listen is not to be buried.
    if (isTelling) return;
    isTelling = true;
    void tellTotals().finally(() => (isTelling = false));
  }, totalsEveryMs);

  let prepared: (Pick<Candidate, "ruleset" | "onRevoke"> & { readonly attempt: number }) | undefined;
  const load = ({ attempt, recording, policyHash }: NextPolicy): string | undefined => {
    prepared = undefined;
    try {
      const next = prepare({ ...setup, recording, policyHash });
      prepared = { attempt, ruleset: next.ruleset, onRevoke: next.settings.reload.onRevoke };
      return undefined;
    } catch (error) {
      return errorFacts(error).message;
    }
  };
  const swap = async (attempt: number): Promise<number | undefined> => {
    const next = prepared;
    prepared = undefined;
    return next?.attempt === attempt ? traffic.adopt(next) : undefined;
  };

  let ended: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    clearInterval(telling);
    await traffic.stop();
    // The last lines are written when all exchanges are over, and what could not be written is counted.
    await log.close();
    denials.flush();
    await tellTotals();
    over();
  };

  let drained: Promise<void> | undefined;
  const drain = async (): Promise<void> => {
    const closed = traffic.drain();
    await send({ kind: "draining", connections: traffic.connections() });
    await closed;
    await (ended ??= end());
  };

  traffic.listen().then(
    (listeners) => send({ kind: "listening", listeners }),
    (error: unknown) => fail(error),
  );
  return {
    hear: counts.hear,
    forget: counts.forget,
    answer: async () => send({ kind: "metrics", all: true, snapshot: await metrics.snapshot() }),
    async reopen() {
      const failure = await log.reopen();
      await send({ kind: "reopened", failure: failure === undefined ? undefined : errorFacts(failure).message });
    },
    prepare: async (next) => send({ kind: "prepared", attempt: next.attempt, failure: load(next) }),
    discard: () => (prepared = undefined),
    swap: async (attempt) => send({ kind: "swapped", attempt, revokedTunnels: await swap(attempt) }),
    drain: () => (drained ??= drain()),
    stop: () => (ended ??= end()),
  };
}
