/** A fixed number of places for workers, each of which is filled again when its worker ends. */
import type { OwnListener } from "../egress/own-listeners.ts";
import type { DenialSighting } from "../record/denial-sighting.ts";
import type { MetricsSnapshot } from "../record/metrics-merge.ts";
import { type Member, startMember } from "./member.ts";
import { type CountsChange, type FromWorker, type NextPolicy, type Setup, type ToWorker, errorOf } from "./messages.ts";
import { type RestartDelay, createRestartDelay } from "./restart-delay.ts";

export type CrewOptions = {
  readonly workers: number;
  /** Ports to ask for, in the order of `listen`. */
  readonly ports: readonly number[];
  readonly onDenials: (sightings: readonly DenialSighting[]) => void;
  /** The last that a worker has said of its metrics, when it has ended. */
  readonly onBuried: (last: MetricsSnapshot) => void;
  /** A worker is started in place of one that has ended. */
  readonly onRestart: () => void;
  readonly onProblem: (message: string, error?: Error) => void;
};

export type Crew<Options> = {
  /**
   * Fills all places with workers that begin with this; answers what all listen on. Rejects with the first worker's
   * error, and fills no place again.
   */
  readonly start: (setup: Omit<Setup<Options>, "ports">) => Promise<readonly OwnListener[]>;
  readonly allListen: () => boolean;
  /** Asks every worker that listens; those that do not answer in time are left out. */
  readonly ask: <Kind extends Question>(kind: Kind, withinMs: number) => Promise<readonly Answer<Kind>[]>;
  /**
   * Puts a policy into force in all workers, or in none: all have loaded it before the first swaps. Who has not in time
   * is a reason to leave everything as it is; who then does not swap is replaced. Workers that begin later have it.
   */
  readonly adopt: (next: Omit<NextPolicy, "attempt">) => Promise<CrewAdoption>;
  /** The metrics of every worker, as it has last told them. */
  readonly metrics: () => readonly MetricsSnapshot[];
  /** Begins the end: no place is filled again. Fulfilled when no worker is left; who is late is killed. */
  readonly end: (how: "drain" | "stop", withinMs: number) => Promise<void>;
};

export type Question = "metrics" | "reopened" | "draining";
export type Answer<Kind extends FromWorker["kind"]> = Extract<FromWorker, { readonly kind: Kind }>;

export type CrewAdoption =
  | { readonly kind: "adopted"; readonly revokedTunnels: number }
  | { readonly kind: "failed"; readonly failures: readonly WorkerFailure[] }
  /** The end has begun. */
  | { readonly kind: "ending" };

/** `message` completes "worker 1 …". */
export type WorkerFailure = { readonly worker: number; readonly message: string };

type Place<Options> = {
  readonly number: number;
  readonly delay: RestartDelay;
  worker: Occupant<Options> | undefined;
  next: NodeJS.Timeout | undefined;
};

type Occupant<Options> = {
  readonly member: Member<Options>;
  readonly startedAtMs: number;
  /** It has been told what to begin with, and hears everything after that. */
  isTold: boolean;
  /** Undefined until it listens. */
  listeners: readonly OwnListener[] | undefined;
  metrics: MetricsSnapshot | undefined;
  /** As it has last told it, for workers that begin later. */
  connections: number;
  readonly clients: Map<string, number>;
  /** Who waits for its answers; undefined is none. */
  readonly waiting: Set<(answer: FromWorker | undefined) => void>;
  readonly startDeadline: NodeJS.Timeout;
};

/** A worker that takes longer to begin is stuck. */
const startTimeoutMs = 60_000;
/** To load a policy: the admin server gives up on whoever waits twice as long. To swap it takes no time, and who has none for it is stuck. */
const prepareTimeoutMs = 5_000;
const swapTimeoutMs = 30_000;
const questions = { metrics: "ask", reopened: "reopen", draining: "drain" } as const;

/** Nothing runs before `start`. */
export function createCrew<Options>(options: CrewOptions): Crew<Options> {
  const { onProblem } = options;
  const places: readonly Place<Options>[] = Array.from({ length: options.workers }, (_, i) => ({
    number: i + 1,
    delay: createRestartDelay(),
    worker: undefined,
    next: undefined,
  }));
  /** While some worker lives, a new one asks for what the others have asked for: the socket is kept under that. */
  let { ports } = options;
  let setup: Omit<Setup<Options>, "ports"> | undefined;
  let attempt = 0;
  let ending = false;
  /** Set while the crew starts: then a failure is an answer, and later a problem. */
  let starting: { readonly fulfil: () => void; readonly reject: (error: Error) => void } | undefined;
  let onAllGone: (() => void) | undefined;

  const workers = (): Occupant<Options>[] => places.flatMap(({ worker }) => worker ?? []);
  const others = (one: Occupant<Options>): Occupant<Options>[] => workers().filter((other) => other !== one);
  const told = (): { readonly number: number; readonly worker: Occupant<Options> }[] =>
    places.flatMap(({ number, worker }) => (worker?.isTold === true ? [{ number, worker }] : []));
  const allListen = (): boolean => places.every(({ worker }) => worker?.listeners !== undefined);

  function fill(place: Place<Options>): void {
    try {
      const member = startMember<Options>({
        onMessage: (message) => hear(place, worker, message),
        onEnd: (how) => leave(place, worker, how),
      });
      const worker: Occupant<Options> = {
        member,
        startedAtMs: performance.now(),
        isTold: false,
        listeners: undefined,
        metrics: undefined,
        connections: 0,
        clients: new Map(),
        waiting: new Set(),
        startDeadline: setTimeout(member.kill, startTimeoutMs),
      };
      place.worker = worker;
    } catch (cause) {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      fail(`worker ${place.number} could not be started`, error);
      refill(place, place.delay.after(0));
    }
  }

  function refill(place: Place<Options>, afterMs: number): void {
    if (ending) return;
    place.next = setTimeout(() => {
      options.onRestart();
      fill(place);
    }, afterMs);
  }

  /** While the crew starts one failure ends it all. */
  function fail(message: string, error?: Error): void {
    if (ending) return;
    if (starting === undefined) {
      onProblem(message, error);
      return;
    }
    ending = true;
    starting.reject(error ?? new Error(message));
  }

  function hear(place: Place<Options>, worker: Occupant<Options>, message: FromWorker): void {
    switch (message.kind) {
      case "hello":
        welcome(worker);
        return;
      case "listening":
        clearTimeout(worker.startDeadline);
        worker.listeners = message.listeners;
        if (allListen()) starting?.fulfil();
        return;
      case "failed":
        fail(`worker ${place.number} cannot start`, errorOf(message.error));
        return;
      case "counts":
        note(worker, message.change);
        for (const { member } of others(worker))
          member.send({ kind: "counts", from: worker.member.id, change: message.change });
        return;
      case "denials":
        options.onDenials(message.items);
        return;
      case "metrics":
        worker.metrics = message.snapshot;
        if (message.all) answer(worker, message);
        return;
      case "prepared":
      case "swapped":
        // Who is late with the one before has nothing to say about this one.
        if (message.attempt === attempt) answer(worker, message);
        return;
      case "reopened":
      case "draining":
        answer(worker, message);
    }
  }

  function welcome(worker: Occupant<Options>): void {
    if (ending || setup === undefined) {
      worker.member.send({ kind: "stop" });
      return;
    }
    worker.member.send({ kind: "run", setup: { ...setup, ports } });
    worker.isTold = true;
    for (const { member, connections, clients } of others(worker)) {
      worker.member.send({ kind: "counts", from: member.id, change: { total: connections, clients: [...clients] } });
    }
  }

  function leave(place: Place<Options>, worker: Occupant<Options>, how: string): void {
    const { member, listeners, metrics, startedAtMs } = worker;
    clearTimeout(worker.startDeadline);
    place.worker = undefined;
    if (metrics !== undefined) options.onBuried(metrics);
    answer(worker, undefined);
    const left = workers();
    for (const other of left) other.member.send({ kind: "gone", from: member.id });
    if (listeners !== undefined && left.every((other) => other.listeners === undefined))
      ports = listeners.map(({ port }) => port);
    if (left.length === 0) onAllGone?.();
    const afterMs = place.delay.after(performance.now() - startedAtMs);
    const when = afterMs === 0 ? "at once" : `in ${afterMs} ms`;
    fail(`worker ${place.number} (pid ${member.pid ?? "unknown"}) ended ${how}; another is started ${when}`);
    refill(place, afterMs);
  }

  return {
    async start(given) {
      setup = given;
      try {
        await new Promise<void>((fulfil, reject) => {
          starting = { fulfil, reject };
          for (const place of places) fill(place);
        });
      } finally {
        starting = undefined;
      }
      return workers()[0]?.listeners ?? [];
    },
    allListen,
    async ask(kind, withinMs) {
      const asked = workers().filter(({ listeners }) => listeners !== undefined);
      const answers = await Promise.all(
        asked.map((worker) => answerOf(worker, { kind: questions[kind] }, kind, withinMs)),
      );
      return answers.filter((given) => given !== undefined);
    },
    async adopt(next) {
      const prepare = { kind: "prepare", attempt: (attempt += 1), ...next } as const;
      const asked = told();
      const failures = await Promise.all(
        asked.map(async ({ number, worker }) => {
          const given = await answerOf(worker, prepare, "prepared", prepareTimeoutMs);
          const message = given === undefined ? "has not loaded it in time" : given.failure;
          // Who has ended is replaced by one that begins with what is then in force.
          return message === undefined || !workers().includes(worker) ? [] : [{ worker: number, message }];
        }),
      ).then((all) => all.flat());
      if (ending || setup === undefined || failures.length > 0) {
        for (const { worker } of asked) worker.member.send({ kind: "discard" });
        return ending || setup === undefined ? { kind: "ending" } : { kind: "failed", failures };
      }
      setup = { ...setup, ...next };
      const all = told();
      for (const { worker } of all.filter((one) => !asked.some(({ worker: other }) => other === one.worker)))
        worker.member.send(prepare);
      const counts = await Promise.all(
        all.map(async ({ number, worker }) => {
          const given = await answerOf(worker, { kind: "swap", attempt: prepare.attempt }, "swapped", swapTimeoutMs);
          if (given?.revokedTunnels !== undefined) return given.revokedTunnels;
          if (!ending && workers().includes(worker)) {
            onProblem(`worker ${number} has not taken the policy in force, and is replaced`);
            worker.member.kill();
          }
          return 0;
        }),
      );
      return { kind: "adopted", revokedTunnels: counts.reduce((sum, count) => sum + count, 0) };
    },
    metrics: () => workers().flatMap(({ metrics }) => (metrics === undefined ? [] : [metrics])),
    async end(how, withinMs) {
      ending = true;
      for (const { next } of places) clearTimeout(next);
      for (const { member } of workers()) member.send({ kind: how });
      if (workers().length === 0) return;
      const deadline = setTimeout(() => {
        for (const { member } of workers()) member.kill();
      }, withinMs);
      await new Promise<void>((fulfil) => {
        const before = onAllGone;
        onAllGone = () => {
          before?.();
          fulfil();
        };
      });
      clearTimeout(deadline);
    },
  };
}

function answer<Options>({ waiting }: Occupant<Options>, given: FromWorker | undefined): void {
  for (const take of waiting) take(given);
}

/** Asks one worker; undefined where it does not answer in time, or ends. */
function answerOf<Options, Kind extends FromWorker["kind"]>(
  { member, waiting }: Occupant<Options>,
  question: ToWorker<Options>,
  kind: Kind,
  withinMs: number,
): Promise<Answer<Kind> | undefined> {
  return new Promise((fulfil) => {
    const settle = (given: Answer<Kind> | undefined): void => {
      clearTimeout(timer);
      waiting.delete(take);
      fulfil(given);
    };
    const take = (given: FromWorker | undefined): void => {
      if (given === undefined) settle(undefined);
      else if (isAnswer(given, kind)) settle(given);
    };
    const timer = setTimeout(() => settle(undefined), withinMs);
    waiting.add(take);
    member.send(question);
  });
}

function isAnswer<Kind extends FromWorker["kind"]>(message: FromWorker, kind: Kind): message is Answer<Kind> {
  return message.kind === kind;
}

function note<Options>(worker: Occupant<Options>, { total, clients }: CountsChange): void {
  worker.connections = total;
  for (const [address, count] of clients) {
    if (count === 0) worker.clients.delete(address);
    else worker.clients.set(address, count);
  }
}
