/** The two pictures, drawn from the results by Vega: they stand on a ground of their own, whatever the page's colour is. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { View, parse } from "vega";
import { type Config, type TopLevelSpec, compile } from "vega-lite";
import * as rulesPlan from "../support/plan.ts";
import { metrics } from "./plan.ts";
import { ours, ratioOf, reference } from "./report.ts";
import type { Results } from "./results.ts";

const ground = "#ffffff";
const ink = "#24292f";
const faint = "#d8dee4";
const accent = "#0b7285";
const goalColour = "#fd7e14";
const others = ["#868e96", "#adb5bd", "#ced4da", "#e9ecef"];

const look: Config = {
  font: "Helvetica, Arial, sans-serif",
  background: ground,
  padding: 16,
  view: { stroke: null },
  title: { color: ink, subtitleColor: "#57606a", anchor: "start", fontSize: 16, subtitleFontSize: 12, offset: 16 },
  axis: {
    labelColor: ink,
    titleColor: ink,
    gridColor: faint,
    domainColor: faint,
    tickColor: faint,
    labelFontSize: 12,
    labelLimit: 320,
  },
  legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, orient: "bottom", labelLimit: 400 },
};

/** Writes the pictures whose figures are there, and answers their paths. */
export async function drawPictures(results: Results, directory: string): Promise<readonly string[]> {
  mkdirSync(directory, { recursive: true });
  const pictures: readonly (readonly [string, TopLevelSpec | undefined])[] = [
    ["load-ratios.svg", ratiosPicture(results)],
    ["rule-scaling.svg", rulesPicture(results)],
  ];
  const drawn: string[] = [];
  for (const [name, spec] of pictures) {
    if (spec === undefined) continue;
    const view = new View(parse(compile(spec).spec), { renderer: "none" });
    const path = join(directory, name);
    writeFileSync(path, `${await view.toSVG()}\n`);
    view.finalize();
    drawn.push(path);
  }
  return drawn;
}

/** Cost of each work beside Squid's. */
function ratiosPicture(results: Results): TopLevelSpec | undefined {
  const names = results.contenders.map(({ name }) => name).filter((name) => name !== reference);
  const values = metrics
    .filter(({ kind, goal }) => kind === "cost" && goal !== undefined)
    .flatMap(({ id, title, goal }) =>
      names.flatMap((contender) => {
        const ratio = ratioOf(results, id, contender, reference);
        return ratio === undefined
          ? []
          : [{ work: title, contender, ratio: ratio.median, least: ratio.least, most: ratio.most, goal }];
      }),
    );
  if (values.length === 0) return undefined;
  const order = [...names].sort((a, b) => Number(b.startsWith(ours)) - Number(a.startsWith(ours)));
  const colours = order.map((_, i) => (i === 0 ? accent : (others[i - 1] ?? faint)));
  const y = {
    field: "work",
    type: "nominal",
    sort: null,
    title: null,
    axis: { ticks: false },
  } as const;
  const yOffset = { field: "contender", sort: order } as const;
  const x = {
    field: "ratio",
    type: "quantitative",
    title: "cost ÷ Squid's cost for the same work (1 = the line)",
    axis: { tickCount: 6 },
  } as const;
  return {
    title: {
      text: "What the same work costs, beside Squid",
      subtitle: [
        `CPU (of the idle tunnel: memory), less is better; median of ${results.options.rounds} rounds with their range; orange: what ${ours} is to reach.`,
        whereOf(results),
      ],
    },
    width: 560,
    height: { step: 15 },
    data: { values },
    config: look,
    layer: [
      {
        mark: { type: "bar", tooltip: false },
        encoding: {
          y,
          yOffset,
          x,
          color: {
            field: "contender",
            type: "nominal",
            title: null,
            scale: { domain: [...order], range: colours },
          },
        },
      },
      {
        mark: { type: "rule", color: ink, strokeWidth: 1 },
        encoding: { y, yOffset, x: { ...x, field: "least" }, x2: { field: "most" } },
      },
      {
        mark: { type: "text", align: "left", dx: 6, fontSize: 10, color: ink },
        encoding: {
          y,
          yOffset,
          x: { ...x, field: "most" },
          text: { field: "ratio", type: "quantitative", format: ".2f" },
        },
      },
      {
        transform: [{ filter: { field: "contender", equal: ours } }],
        mark: { type: "tick", color: goalColour, thickness: 4 },
        encoding: { y, yOffset, x: { ...x, field: "goal" } },
      },
      { mark: { type: "rule", color: ink, strokeDash: [4, 3] }, encoding: { x: { datum: 1, type: "quantitative" } } },
    ],
  };
}

/** Time to decide over the number of rules. */
function rulesPicture(results: Results): TopLevelSpec | undefined {
  const { rules } = results;
  if (rules === undefined) return undefined;
  const labels: Readonly<Record<string, string>> = {
    [rulesPlan.wholeDecision]: "Sallyport: the whole decision",
    [rulesPlan.cacheHit]: "lru-cache that always hits",
    [rulesPlan.suffixProbe]: "Map, asked for each suffix",
    [rulesPlan.trie]: "trie of Maps over labels",
    [rulesPlan.minimatchLoop]: "minimatch, rule by rule",
  };
  const values = rules.counts.flatMap((at) =>
    at.contenders.flatMap(({ name, ns }) => {
      const way = labels[name];
      return way === undefined ? [] : [{ way, rules: at.rules, ns }];
    }),
  );
  return {
    title: {
      text: "How long it takes to decide on a host, over the number of rules",
      subtitle: ["A host that a rule covers, as fresh bytes; both axes are logarithmic.", whereOf(results)],
    },
    width: 620,
    height: 320,
    data: { values },
    config: look,
    mark: { type: "line", point: { size: 50 }, strokeWidth: 2.5 },
    encoding: {
      x: {
        field: "rules",
        type: "quantitative",
        title: "rules",
        scale: { type: "log" },
        axis: { values: rules.counts.map((at) => at.rules), format: ",d" },
      },
      y: {
        field: "ns",
        type: "quantitative",
        title: "ns",
        scale: { type: "log", nice: true },
        axis: { values: [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000], format: ",d" },
      },
      color: {
        field: "way",
        type: "nominal",
        title: null,
        scale: { domain: Object.values(labels), range: [accent, goalColour, "#5c7cfa", "#ae3ec9", "#868e96"] },
        legend: { columns: 3 },
      },
    },
  };
}

function whereOf({ machine, date }: Results): string {
  return `${machine.processor}, ${machine.cores} cores, Node ${machine.node}, ${date.slice(0, 10)}.`;
}
