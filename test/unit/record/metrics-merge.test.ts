/** The metrics of several processes as those of one. */
import { describe, expect, test } from "vitest";
import { createMetricsMerge } from "../../../src/record/metrics-merge.ts";
import { type Metrics, createMetrics } from "../../../src/record/metrics.ts";

const build = { version: "1.2.3", nodeVersion: "20.0.0" };

function worker(atMs: number): Metrics {
  const metrics = createMetrics(build);
  metrics.setRules(["site/a"]);
  metrics.policyLoaded({ hash: "abc", rules: 7, atMs });
  return metrics;
}

function valueOf(text: string, series: string): number | undefined {
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

describe("of a primary and two workers", () => {
  const primary = worker(9000);
  const [one, two] = [worker(10_000), worker(8000)];
  const merge = createMetricsMerge();
  const render = async (...living: Metrics[]): Promise<string> =>
    merge.render([await primary.snapshot(), ...(await Promise.all(living.map((each) => each.snapshot())))]);

  test("counters and histograms are added up, what is in force is shown once, what must be well everywhere as the worst", async () => {
    for (const each of [one, two, two]) {
      each.dial("ok", 0.02);
      each.tunnelOpened();
    }
    two.reload("failure");
    const text = await render(one, two);
    const seen = Object.fromEntries(
      [
        'sallyport_dials_total{result="ok"}',
        "sallyport_dial_duration_seconds_count",
        'sallyport_dial_duration_seconds_bucket{le="0.025"}',
        'sallyport_dial_duration_seconds_bucket{le="0.01"}',
        "sallyport_tunnels_active",
        'sallyport_policy_info{hash="abc"}',
        "sallyport_policy_rules",
        "sallyport_policy_last_reload_successful",
        "sallyport_policy_last_success_timestamp_seconds",
        'sallyport_build_info{version="1.2.3",node="20.0.0"}',
      ].map((series) => [series, valueOf(text, series)]),
    );
    expect(Object.values(seen)).toEqual([3, 3, 3, 0, 3, 1, 7, 0, 8, 1]);
  });

  test("the same series in the same order as of one, from the start", async () => {
    const names = (text: string): string[] => text.split("\n").flatMap((line) => (line.startsWith("# ") ? [line] : []));
    expect(names(await render())).toEqual(names(await primary.render()));
  });

  test("who has died is still counted, but holds nothing any more", async () => {
    merge.bury(structuredClone(await two.totals()));
    const text = await render(one);
    expect(valueOf(text, 'sallyport_dials_total{result="ok"}')).toBe(3);
    expect(valueOf(text, "sallyport_dial_duration_seconds_count")).toBe(3);
    expect(valueOf(text, "sallyport_tunnels_active")).toBe(1);
    merge.bury(structuredClone(await one.snapshot()));
    const last = await render();
    expect(valueOf(last, 'sallyport_dials_total{result="ok"}')).toBe(3);
    expect(valueOf(last, "sallyport_tunnels_active")).toBe(0);
    expect(valueOf(last, "sallyport_policy_rules")).toBe(7);
  });

  test("a sum of fractions never goes back by a rounding when its parts change places", async () => {
    const [first, a, b] = [worker(0), worker(0), worker(0)];
    for (const [each, seconds] of [
      [first, 0.3],
      [a, 0.1],
      [b, 0.2],
    ] as const)
      each.dial("ok", seconds);
    const sums = createMetricsMerge();
    const sum = async (...living: Metrics[]): Promise<number | undefined> => {
      const told = await Promise.all(living.map((each) => each.snapshot()));
      return valueOf(await sums.render([await first.snapshot(), ...told]), "sallyport_dial_duration_seconds_sum");
    };
    const before = await sum(a, b);
    sums.bury(structuredClone(await a.totals()));
    // 0.3 + 0.1 + 0.2 is more than 0.3 + 0.2 + 0.1: Prometheus would take it for a restart, and count all once more.
    expect(0.3 + 0.2 + 0.1).toBeLessThan(0.3 + 0.1 + 0.2);
    expect(await sum(b)).toBe(before);
    b.dial("ok", 0.2);
    expect(await sum(b)).toBeCloseTo(0.8, 9);
  });

  test("of Node's own, lags are the worst, memory is the sum, and files are those of the process with the most", async () => {
    const text = await render(one, two);
    const alone = await one.render();
    for (const name of ["process_max_fds", "process_open_fds", "process_start_time_seconds"]) {
      if (valueOf(alone, name) === undefined) continue;
      expect(valueOf(text, name)! / valueOf(alone, name)!).toBeCloseTo(1, 1);
    }
    expect(
      valueOf(text, "process_resident_memory_bytes")! / valueOf(alone, "process_resident_memory_bytes")!,
    ).toBeGreaterThan(2);
    expect(valueOf(text, "nodejs_eventloop_lag_p99_seconds")).toBeGreaterThanOrEqual(0);
  });
});
