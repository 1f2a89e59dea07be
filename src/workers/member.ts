/** One worker as the primary sees it: a process, what it last said, and how it ended. */
import cluster, { type Worker } from "node:cluster";
import type { FromWorker, ToWorker } from "./messages.ts";

export type Member<Options> = {
  /** No other worker ever has this number. */
  readonly id: number;
  readonly pid: number | undefined;
  readonly send: (message: ToWorker<Options>) => void;
  readonly kill: () => void;
};

export type MemberEvents = {
  readonly onMessage: (message: FromWorker) => void;
  /** Once, when the process is gone and everything it said has been heard. `how` completes "worker 1 ended …". */
  readonly onEnd: (how: string) => void;
};

/**
 * Starts a process that runs this program as a worker. Throws where there can be none. The first call decides for the
 * whole life of this process how workers share the listeners: all of them accept, see docs/decisions/0008-workers.md.
 */
export function startMember<Options>({ onMessage, onEnd }: MemberEvents): Member<Options> {
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({ serialization: "advanced" });
  const worker: Worker = cluster.fork();
  worker.on("error", (error) => {
    // Either it could not be started, and no other event is sure to come, or it is gone and cannot be written to.
    if (worker.process.pid === undefined) setImmediate(onEnd, `before it began: ${error.message}`);
  });
  worker.on("message", (message: FromWorker) => onMessage(message));
  // Not "exit" and "disconnect": the second never comes where a listener was on its way to the worker, since Node then
  // waits for a receipt that nobody will send. "close" is: it is gone, and its channel has been read to the end.
  worker.process.once("close", (code: number | null, signal: string | null) => {
    if (worker.process.pid !== undefined) onEnd(signal === null ? `with exit code ${code}` : `by ${signal}`);
  });
  return {
    id: worker.id,
    pid: worker.process.pid,
    send: (message) => {
      // The callback takes the error of a worker that is just ending.
      if (worker.isConnected()) worker.send(message, () => undefined);
    },
    kill: () => void worker.process.kill("SIGKILL"),
  };
}
