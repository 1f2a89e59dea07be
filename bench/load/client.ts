/** The clients, in a process of their own: it does one job after the other and lives until the channel closes. */
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { askModule, forkModule, stopChild } from "./children.ts";
import { driveClosed, driveOpen } from "./drive.ts";
import { type Done, type Exchanger, createGetExchanger } from "./get-connection.ts";
import type { Get, Job, Load, Report, Tunnel } from "./job.ts";
import { createTunnelExchanger } from "./tunnel-exchange.ts";

export type Client = {
  /** Rejects where an answer was not what it has to be. */
  readonly run: (exchange: Get | Tunnel, load: Load) => Promise<Extract<Report, { kind: "done" }>>;
  /** Closes the tunnels that are held. */
  readonly release: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

/** Tunnels that are being opened at a time, of those to be held. */
const openingWidth = 32;
/** Every job has a shorter one of its own. */
const deadlineMs = 120_000;

export function startClient(): Client {
  const child = forkModule(fileURLToPath(import.meta.url), ["client"]);
  return {
    run: async (exchange, load) => {
      const report = await ask(child, { kind: "run", exchange, load });
      if (report.kind === "failed") throw new Error(report.problem);
      return report;
    },
    release: async () => {
      await ask(child, { kind: "release" });
    },
    stop: () => stopChild(child),
  };
}

async function ask(child: ChildProcess, job: Job): Promise<Report> {
  return (await askModule(child, job, deadlineMs)) as Report;
}

if (process.argv[2] === "client") serve();

function serve(): void {
  const held: Exchanger[] = [];
  const answer = async (job: Job): Promise<Report> => {
    if (job.kind === "run") return run(job.exchange, job.load, held);
    for (const exchanger of held.splice(0)) exchanger.close();
    return { kind: "done", units: 0, seconds: 0, p50Ms: 0, p99Ms: 0 };
  };
  process.on("message", (job: Job) => {
    void answer(job).then((report) => process.send?.(report));
  });
  process.on("disconnect", () => process.exit(0));
  // Ctrl-C in a terminal reaches this process too; the runner ends it.
  process.on("SIGINT", () => {});
}

async function run(exchange: Get | Tunnel, load: Load, held: Exchanger[]): Promise<Report> {
  const create = (): Exchanger =>
    exchange.kind === "get" ? createGetExchanger(exchange) : createTunnelExchanger(exchange);
  switch (load.kind) {
    case "closed":
      return driveClosed(create, load.width, load.forMs);
    case "open":
      return driveOpen(create, load.perSecond, load.forMs);
    case "hold":
      return hold(create, load.count, held);
  }
}

async function hold(create: () => Exchanger, count: number, held: Exchanger[]): Promise<Report> {
  const startedAt = performance.now();
  const open = (): Promise<string | undefined> =>
    new Promise((fulfil) => {
      const exchanger = create();
      held.push(exchanger);
      const done: Done = (problem) => fulfil(problem);
      exchanger.run(done);
    });
  let begun = 0;
  let problem: string | undefined;
  const worker = async (): Promise<void> => {
    while (begun < count && problem === undefined) {
      begun += 1;
      problem = (await open()) ?? problem;
    }
  };
  await Promise.all(Array.from({ length: openingWidth }, worker));
  if (problem !== undefined) return { kind: "failed", problem };
  const seconds = (performance.now() - startedAt) / 1000;
  return { kind: "done", units: count, seconds, p50Ms: Number.NaN, p99Ms: Number.NaN };
}
