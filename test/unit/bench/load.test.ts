/** The arithmetic of `npm run bench:load`: claims rest on it. */
import { describe, expect, test } from "vitest";
import { readOptions } from "../../../bench/load/options.ts";
import { canMeasure, cpuMsOf, memoryKbOf } from "../../../bench/load/process-tree.ts";
import { describeResults, figureOf, formatNumber, ratioOf } from "../../../bench/load/report.ts";
import type { Results, Sample } from "../../../bench/load/results.ts";

const machine = { processor: "p", cores: 2, architecture: "x64", memoryGb: 8, node: "v20", load: 0 };

function resultsOf(samples: readonly Sample[]): Results {
  return {
    date: "2026-01-01T00:00:00.000Z",
    machine,
    options: { rounds: 3, sampleMs: 1, works: ["connect"] },
    contenders: [...new Set(samples.map(({ contender }) => contender))].map((name) => ({ name, version: "1" })),
    leftOut: [],
    samples,
  };
}

/** `values` are those of the rounds, undefined where there is none. */
function samples(contender: string, values: readonly (number | undefined)[]): readonly Sample[] {
  return values.flatMap((value, i) =>
    value === undefined ? [] : [{ metric: "connect.cpu", contender, round: i + 1, value }],
  );
}

describe("figures and ratios", () => {
  const results = resultsOf([...samples("Sallyport", [10, 30, 20]), ...samples("Squid", [20, 10, undefined])]);

  test("a figure is the median over the rounds, with its range", () => {
    expect(figureOf(results, "connect.cpu", "Sallyport")).toEqual({ median: 20, least: 10, most: 30 });
    expect(figureOf(results, "connect.cpu", "Squid")).toEqual({ median: 15, least: 10, most: 20 });
    expect(figureOf(results, "small-get.cpu", "Squid")).toBeUndefined();
  });

  test("a ratio is taken within a round, and a round without both has none", () => {
    expect(ratioOf(results, "connect.cpu", "Sallyport", "Squid")).toEqual({ median: 1.75, least: 0.5, most: 3 });
  });

  test.each([
    ["met, where the median is at the goal", [9, 18, 27], "0.90 (0.45–1.35) met"],
    ["missed, where it is above", [9.5, 19, 28.5], "0.95 (0.47–1.43) missed"],
  ])("a goal is %s", (_, values, expected) => {
    const text = describeResults(resultsOf([...samples("Sallyport", values), ...samples("Squid", [20, 20, 20])]));
    expect(text.join("\n")).toContain(expected);
  });

  test("without Squid there are figures and no ratios", () => {
    const text = describeResults(resultsOf([...samples("Sallyport", [1, 2, 3])])).join("\n");
    expect(text).toContain("no ratios: Squid took no part");
  });

  test("numbers have three digits that count", () => {
    expect([0.123, 1.234, 12.34, 123.4, 12_345.6].map(formatNumber)).toEqual(["0.12", "1.23", "12.3", "123", "12,346"]);
  });
});

describe("the command line", () => {
  test("without options: everything, five rounds", () => {
    expect(readOptions([])).toMatchObject({ rounds: 5, quick: false, peers: ["squid", "tinyproxy", "forwarder"] });
  });

  test.each([
    ["an unknown work", ["--only", "everything"], "unknown: everything"],
    ["an unknown peer", ["--with", "envoy"], "unknown: envoy"],
    ["rounds that are no number", ["--rounds", "many"], "--rounds"],
    ["no workers", ["--workers", "0"], "--workers"],
    ["an unknown option", ["--fast"], "--fast"],
  ])("refuses %s", (_, argv, words) => {
    expect(readOptions(argv)).toMatchObject({ problem: expect.stringContaining(words) });
  });
});

describe.runIf(canMeasure)("a process, as /proc tells it", () => {
  test("its CPU is what the process itself knows, within two ticks", () => {
    const { user, system } = process.cpuUsage();
    const known = (user + system) / 1000;
    // The runner may have child processes of its own: theirs come on top.
    expect(cpuMsOf(process.pid)).toBeGreaterThanOrEqual(known - 20);
  });

  test("its memory is no more than what is resident, and not nothing", () => {
    const memory = memoryKbOf(process.pid);
    expect(memory).toBeGreaterThan(10_000);
  });

  test("a process that is gone is no process without CPU", () => {
    expect(() => cpuMsOf(2 ** 30)).toThrow("is gone");
  });
});
