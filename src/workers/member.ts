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
  let how: string | undefined;
  let isCut = false;
  let isOver = false;
  const settle = (): void => {
    if (isOver || how === undefined || !isCut) return;
    isOver = true;
    onEnd(how);
  };
  worker.on("error", (error) => {
    // Either it could not be started, and there will be no other event, or it is gone and cannot be written to.
    if (worker.process.pid !== undefined) return;
    how = `before it began: ${error.message}`;
    isCut = true;
    setImmediate(settle);
  });
  worker.on("message", (message: FromWorker) => onMessage(message));
  worker.on("exit", (code, signal: string | null) => {
    how = signal === null ? `with exit code ${code}` : `by ${signal}`;
    settle();
  });
  worker.on("disconnect", () => {
    isCut = true;
    settle();
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
