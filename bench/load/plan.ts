/** What `npm run bench:load` measures: the works, the figures that come of each, and the goals. */

export const mebibyte = 2 ** 20;
/** The payload of issue and documents: 100 MB is 100,000,000 bytes. */
export const payloadBytes = 100_000_000;
export const smallBytes = 2 ** 10;
export const rangeBytes = 2 ** 20;
/** What a tunnel carries before it is closed: so much that opening it does not count. */
export const bulkBytes = 256 * mebibyte;
/** The small exchange in a new tunnel. */
export const echoBytes = 64;

/** Works whose cost is CPU: as much as the contender can do, for a while. */
export const busyWorks = [
  "small-get",
  "payload-get",
  "range-get",
  "connect",
  "tunnel-download",
  "tunnel-upload",
] as const;
/** Works at a fixed rate, whose figure is how long the client waits. */
export const pacedWorks = ["latency-get", "latency-connect"] as const;
export const works = [...busyWorks, ...pacedWorks, "idle-memory", "rules"] as const;

export type BusyWork = (typeof busyWorks)[number];
export type PacedWork = (typeof pacedWorks)[number];
export type Work = (typeof works)[number];

/** A figure of which there is one for each contender and round. */
export type Metric = {
  readonly id: string;
  readonly work: Work;
  readonly title: string;
  readonly unit: string;
  /** `cost`: less is better. */
  readonly kind: "cost" | "rate";
  /** The largest ratio ours / Squid that was set out to be reached. */
  readonly goal?: number;
};

type Busy = {
  readonly title: string;
  /** How many exchanges are under way at a time. */
  readonly width: number;
  readonly goal: number;
  /** Bytes of one exchange where the cost is told for a GB; undefined where it is told for an exchange. */
  readonly bytes?: number;
  readonly rateUnit: string;
  readonly costUnit: string;
};

const perGigabyte = { costUnit: "CPU ms/GB", rateUnit: "MB/s" } as const;

export const busy: Readonly<Record<BusyWork, Busy>> = {
  "small-get": {
    title: "plain HTTP, 1 KiB GET, keep-alive",
    width: 32,
    goal: 0.4,
    costUnit: "CPU µs/request",
    rateUnit: "requests/s",
  },
  "payload-get": { title: "plain HTTP, 100 MB GET", width: 4, goal: 0.2, bytes: payloadBytes, ...perGigabyte },
  "range-get": {
    title: "plain HTTP, 1 MiB Range GET",
    width: 8,
    goal: 0.2,
    costUnit: "CPU µs/request",
    rateUnit: "requests/s",
  },
  connect: {
    title: "CONNECT, hello, 64 B echo, close",
    width: 16,
    goal: 0.9,
    costUnit: "CPU µs/tunnel",
    rateUnit: "tunnels/s",
  },
  "tunnel-download": { title: "tunnel download", width: 4, goal: 0.7, bytes: bulkBytes, ...perGigabyte },
  "tunnel-upload": { title: "tunnel upload", width: 4, goal: 1, bytes: bulkBytes, ...perGigabyte },
};

export const paced: Readonly<Record<PacedWork, { readonly title: string; readonly perSecond: number }>> = {
  "latency-get": { title: "1 KiB GET at 200/s", perSecond: 200 },
  "latency-connect": { title: "CONNECT, hello, 64 B echo at 100/s", perSecond: 100 },
};

/** In the order of the tables. */
export const metrics: readonly Metric[] = [
  ...busyWorks.map((work): Metric => {
    const { title, goal, costUnit } = busy[work];
    return { id: `${work}.cpu`, work, title, unit: costUnit, kind: "cost", goal };
  }),
  {
    id: "idle-memory.tunnel",
    work: "idle-memory",
    title: "memory of an idle tunnel",
    unit: "kB/tunnel",
    kind: "cost",
    goal: 0.3,
  },
  ...pacedWorks.flatMap((work): Metric[] =>
    [50, 99].map((share) => ({
      id: `${work}.p${share}`,
      work,
      title: `${paced[work].title}, p${share}`,
      unit: "ms",
      kind: "cost",
    })),
  ),
  ...busyWorks.map((work): Metric => {
    const { title, rateUnit } = busy[work];
    return { id: `${work}.rate`, work, title, unit: rateUnit, kind: "rate" };
  }),
];

export function isBusy(work: Work): work is BusyWork {
  return busyWorks.some((one) => one === work);
}

export function isPaced(work: Work): work is PacedWork {
  return pacedWorks.some((one) => one === work);
}
