/** The results as tables to print, in Markdown: figures, and ratios to Squid with their spread and their goals. */
import { formatTable } from "../support/markdown-table.ts";
import { type Metric, metrics } from "./plan.ts";
import type { Results } from "./results.ts";

export const ours = "Sallyport";
export const reference = "Squid";

export type Spread = { readonly median: number; readonly least: number; readonly most: number };

/** What one contender's figures were over the rounds; undefined without any. */
export function figureOf(results: Results, metric: string, contender: string): Spread | undefined {
  const { samples } = results;
  return spreadOf(
    samples.filter((one) => one.metric === metric && one.contender === contender).map(({ value }) => value),
  );
}

/** A contender's figure over another's of the same round. */
export function ratioOf(results: Results, metric: string, contender: string, other: string): Spread | undefined {
  const of = (name: string): Map<number, number> => {
    const own = results.samples.filter((one) => one.metric === metric && one.contender === name);
    return new Map(own.map(({ round, value }) => [round, value]));
  };
  const others = of(other);
  return spreadOf(
    [...of(contender)].flatMap(([round, value]) => (others.has(round) ? [value / (others.get(round) ?? 0)] : [])),
  );
}

export function describeResults(results: Results): readonly string[] {
  const { machine, options } = results;
  const contenders = results.contenders.map(
    ({ name, version, note }) => `${name} ${version}${note ? ` (${note})` : ""}`,
  );
  return [
    "",
    `${results.date.slice(0, 10)}, ${machine.processor}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.architecture}, ` +
      `Node ${machine.node}, load ${machine.load.toFixed(2)} before the run; ${options.rounds} rounds of ${options.sampleMs} ms`,
    ...contenders.map((line) => `- ${line}`),
    ...results.leftOut.map(({ name, problem }) => `- left out: ${name}: ${problem}`),
    ...describeFigures(results, "cost"),
    ...describeRatios(results),
    ...describeFigures(results, "rate"),
    ...describeWorkers(results),
  ];
}

/** Three digits that count, and thousands apart. */
export function formatNumber(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const least = sorted[0];
  const most = sorted.at(-1);
  if (least === undefined || most === undefined) return undefined;
  const upper = sorted[Math.floor(sorted.length / 2)] ?? least;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? least;
  return { median: (lower + upper) / 2, least, most };
}

function describeFigures(results: Results, kind: Metric["kind"]): readonly string[] {
  const names = results.contenders.map(({ name }) => name);
  const rows = measured(results)
    .filter((metric) => metric.kind === kind)
    .map((metric) => [
      `${metric.title} (${metric.unit})`,
      ...names.map((name) => {
        const figure = figureOf(results, metric.id, name);
        return figure === undefined ? "–" : formatNumber(figure.median);
      }),
    ]);
  if (rows.length === 0) return [];
  const head = kind === "cost" ? "median, less is better" : "median, what the machine did in all, more is better";
  return ["", ...formatTable([[head, ...names], ...rows])];
}

function describeRatios(results: Results): readonly string[] {
  if (!results.contenders.some(({ name }) => name === reference)) return ["", `no ratios: ${reference} took no part`];
  const others = results.contenders.map(({ name }) => name).filter((name) => name !== reference);
  const isOurs = (name: string): boolean => name.startsWith(ours);
  const rows = measured(results)
    .filter(({ kind }) => kind === "cost")
    .map((metric) => {
      const cells = others.map((name) => {
        const ratio = ratioOf(results, metric.id, name, reference);
        if (ratio === undefined) return "–";
        const text = `${ratio.median.toFixed(2)} (${ratio.least.toFixed(2)}–${ratio.most.toFixed(2)})`;
        if (metric.goal === undefined || !isOurs(name)) return text;
        return `${text} ${ratio.median <= metric.goal ? "met" : "missed"}`;
      });
      return [`${metric.title}, ${metric.unit}`, metric.goal === undefined ? "" : `≤ ${metric.goal}`, ...cells];
    });
  if (rows.length === 0) return [];
  return [
    "",
    ...formatTable([[`÷ ${reference} in the same round: median (least–most)`, "to reach", ...others], ...rows]),
  ];
}

/** What several processes bring over one. */
function describeWorkers(results: Results): readonly string[] {
  const several = results.contenders.find(({ name }) => name.startsWith(`${ours}, workers`));
  if (several === undefined) return [];
  const rows = measured(results)
    .filter(({ kind }) => kind === "rate")
    .map((metric) => {
      const ratio = ratioOf(results, metric.id, several.name, ours);
      const text = ratio && `${ratio.median.toFixed(2)} (${ratio.least.toFixed(2)}–${ratio.most.toFixed(2)})`;
      return [`${metric.title}, ${metric.unit}`, text ?? "–"];
    });
  return [
    "",
    ...formatTable([[`${several.name}: throughput ÷ one process; to reach: ≥ 1.7 where cores are free`, ""], ...rows]),
  ];
}

function measured(results: Results): readonly Metric[] {
  const known = new Set(results.samples.map(({ metric }) => metric));
  return metrics.filter(({ id }) => known.has(id));
}
