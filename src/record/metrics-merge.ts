/** The metrics of several processes as those of one: what each counted, added up, and what the dead have counted kept. */
import { AggregatorRegistry, Counter, Histogram, type Registry } from "prom-client";

/** Metrics with their values, as plain data. */
export type MetricsSnapshot = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>;

export type MetricsMerge = {
  /** Keeps the counters and histograms of a process that has ended: its last snapshot is no longer to be rendered. */
  readonly bury: (last: MetricsSnapshot) => void;
  /** Prometheus's text of the snapshots and of whom was buried before the call. The first snapshot says which metrics there are, and is the one that counts where only one can. */
  readonly render: (snapshots: readonly [MetricsSnapshot, ...(readonly MetricsSnapshot[])]) => Promise<string>;
};

/**
 * How values of several processes become one where adding them up would be wrong; prom-client's own `aggregator` says
 * it for the rest. A limit on open files is one process's, so what is shown beside it is the process with the most.
 */
const aggregators: Readonly<Record<string, "min" | "max" | "average">> = {
  process_start_time_seconds: "min",
  process_open_fds: "max",
  process_max_fds: "min",
  nodejs_eventloop_lag_seconds: "max",
  nodejs_eventloop_lag_stddev_seconds: "max",
  nodejs_eventloop_lag_p50_seconds: "max",
  nodejs_eventloop_lag_p90_seconds: "max",
  nodejs_eventloop_lag_p99_seconds: "max",
};

export function createMetricsMerge(): MetricsMerge {
  let dead: Promise<MetricsSnapshot> = Promise.resolve([]);
  let shown: ReadonlyMap<string, number> = new Map();
  return {
    bury(last) {
      const totals = last.filter(({ type }) => growingTypes.has(String(type)));
      dead = dead.then((before) => AggregatorRegistry.aggregate([before, totals]).getMetricsAsJSON());
    },
    async render([first, ...others]) {
      const judged = first.map((metric) => ({ ...metric, aggregator: aggregators[metric.name] ?? metric.aggregator }));
      const merged = AggregatorRegistry.aggregate([judged, ...others, await dead]);
      // What is changed here is what is printed below.
      shown = keepGrowing(await merged.getMetricsAsJSON(), shown);
      return merged.metrics();
    },
  };
}

/** Of the metrics of a registry those that only grow: what is lost when the process ends. */
export async function totalsOf(registry: Registry): Promise<MetricsSnapshot> {
  const growing = registry
    .getMetricsAsArray()
    .filter((metric) => metric instanceof Counter || metric instanceof Histogram);
  return Promise.all(growing.map((metric) => metric.get()));
}

/**
 * Sums of fractions come out a rounding smaller when a process dies and is added in another order. Prometheus takes any
 * decrease for a restart, and would count everything once more: then the value of before stands. Answers all values.
 */
function keepGrowing(metrics: MetricsSnapshot, shown: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const metric of metrics) {
    if (!growingTypes.has(String(metric.type))) continue;
    for (const sample of metric.values) {
      const name = "metricName" in sample ? String(sample.metricName) : metric.name;
      const key = `${name} ${JSON.stringify(sample.labels)}`;
      const before = shown.get(key) ?? 0;
      if (sample.value < before && before - sample.value < before * rounding) sample.value = before;
      values.set(key, sample.value);
    }
  }
  return values;
}

const rounding = 1e-9;
const growingTypes: ReadonlySet<string> = new Set(["counter", "histogram"]);
