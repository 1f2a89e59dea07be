/** Panels as our dashboards need them: none without a unit, a description in plain words and queries of this proxy only. */
import {
  BigValueColorMode,
  BigValueGraphMode,
  GraphDrawStyle,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import {
  type DynamicConfigValue,
  type Panel,
  type Threshold,
  type DashboardLink,
  DashboardLinkBuilder,
  DashboardLinkType,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder as LokiQueryBuilder } from "@grafana/grafana-foundation-sdk/loki";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TableBuilder } from "@grafana/grafana-foundation-sdk/table";
import { PanelBuilder as TimeseriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

/** What every panel says. Sizes are in cells of Grafana's grid, which is 24 wide. */
export type PanelWords = {
  readonly title: string;
  /** For the administrator: what is shown, and what to make of it. */
  readonly description: string;
  /** A word of Grafana's: `short`, `Bps`, `cpm` (a minute). */
  readonly unit: string;
  readonly width: number;
  readonly height?: number;
  readonly decimals?: number;
  /** Headings of docs/reasons.md, as they stand there. */
  readonly reasons?: readonly string[];
};

export type Query = {
  readonly expr: string;
  /** Name of a series, as `{{reason}}`; of a column, on tables. */
  readonly legend?: string;
};

/** The columns of a table in their order, each with its title: fields of the log, labels of the query, or `Value`. */
export type Columns = Readonly<Record<string, string | LinkedColumn>>;

export type LinkedColumn = {
  readonly title: string;
  /** Where its cells lead, `${__value.raw}` being what stands in one. */
  readonly link: { readonly title: string; readonly url: string };
};

type Bad = { readonly from: number } | { readonly below: number };

const prometheus = { type: "prometheus", uid: "${datasource}" };
const loki = { type: "loki", uid: "${loki}" };
const ours = 'job=~"$job", instance=~"$instance"';

/** A metric of the chosen instances, `sallyport_` before its name: `series("decisions_total", 'verdict="deny"')`. */
export function series(name: string, matchers = ""): string {
  return ofProcess(`sallyport_${name}`, matchers);
}

/** A metric that Node gives, under its own name. */
export function ofProcess(name: string, matchers = ""): string {
  return `${name}{${ours}${matchers === "" ? "" : `, ${matchers}`}}`;
}

/** Joins the counts of rules to what the rules are: adds the label `file`, the pack or site policy that a rule stands in. */
export function withFile(counts: string, matchers = ""): string {
  return `${counts} * on (job, instance, rule) group_left (file) ${series("rule_info", matchers)}`;
}

/** A link where readers look for it: the SDK's default is a menu that only newer versions of Grafana have. */
export function inPlainSight(builder: DashboardLinkBuilder): { build: () => DashboardLink } {
  const { placement: _menu, ...link } = builder.build();
  return { build: () => link };
}

/** Lines over time; stacked bars where the parts of a whole are shown, some of which come and go. */
export function lines(words: PanelWords, queries: readonly Query[], stacked = false): Panel {
  const builder = new TimeseriesBuilder()
    .min(0)
    .fillOpacity(stacked ? 80 : 10)
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending))
    .targets(queries.map((query, i) => promQuery(query, i).range()));
  if (stacked) {
    builder
      .drawStyle(GraphDrawStyle.Bars)
      .lineWidth(0)
      .stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group("A"));
  }
  return finish(builder, words, prometheus);
}

/** One number for now, or for the whole time shown; red from `bad.from` on, or below `bad.below`, and green elsewhere. */
export function number(words: PanelWords, query: Query, bad?: Bad): Panel {
  const builder = new StatBuilder()
    .colorMode(BigValueColorMode.Value)
    .graphMode(BigValueGraphMode.None)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .targets([promQuery(query, 0).instant()]);
  builder.thresholds(new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(stepsOf(bad)));
  return finish(builder, words, prometheus);
}

/** A table of one query: the columns in this order, and no others. The query's value is in `Value`. */
export function table(words: PanelWords, query: Query, columns: Columns): Panel {
  const builder = new TableBuilder()
    .targets([promQuery(query, 0).instant().format(PromQueryFormat.Table)])
    .transformations(onlyColumns(columns));
  showColumns(builder, columns);
  return finish(builder, words, prometheus);
}

/** Lines of the log as a table; each column is a field of the log line. */
export function logTable(words: PanelWords, expr: string, columns: Columns): Panel {
  const query = new LokiQueryBuilder().expr(expr).refId("A").datasource(loki).queryType("range").maxLines(500);
  const builder = new TableBuilder()
    .targets([query])
    .transformations([
      { id: "extractFields", options: { source: "labels", format: "json", replace: true, keepTime: true } },
      ...onlyColumns(columns),
    ]);
  showColumns(builder, columns);
  return finish(builder, words, loki);
}

function stepsOf(bad: Bad | undefined): Threshold[] {
  if (bad === undefined) return [{ value: null, color: "text" }];
  const [first, at, then] = "from" in bad ? ["green", bad.from, "red"] : ["red", bad.below, "green"];
  return [
    { value: null, color: first },
    { value: at, color: then },
  ];
}

function promQuery({ expr, legend }: Query, i: number): DataqueryBuilder {
  const builder = new DataqueryBuilder()
    .expr(expr)
    .refId(String.fromCodePoint(65 + i))
    .datasource(prometheus);
  return legend === undefined ? builder : builder.legendFormat(legend);
}

function finish(
  builder: TimeseriesBuilder | StatBuilder | TableBuilder,
  words: PanelWords,
  datasource: typeof prometheus,
): Panel {
  builder
    .title(words.title)
    .description(words.description)
    .unit(words.unit)
    .span(words.width)
    .height(words.height ?? 8)
    .datasource(datasource)
    .links((words.reasons ?? []).map(reasonLink));
  if (words.decimals !== undefined) builder.decimals(words.decimals);
  return builder.build();
}

function reasonLink(heading: string): { build: () => DashboardLink } {
  const anchor = heading.toLowerCase().replaceAll(" ", "-");
  const builder = new DashboardLinkBuilder(`reasons.md: ${heading}`)
    .type(DashboardLinkType.Link)
    .url(`\${docs:raw}/reasons.md#${anchor}`)
    .targetBlank(true);
  return inPlainSight(builder);
}

function onlyColumns(columns: Columns): { id: string; options: unknown }[] {
  const names = Object.keys(columns);
  const indexByName = Object.fromEntries(names.map((name, i) => [name, i]));
  const renameByName = Object.fromEntries(
    Object.entries(columns).map(([name, column]) => [name, typeof column === "string" ? column : column.title]),
  );
  return [
    { id: "filterFieldsByName", options: { include: { names } } },
    { id: "organize", options: { indexByName, renameByName } },
  ];
}

function showColumns(builder: TableBuilder, columns: Columns): void {
  for (const column of Object.values(columns)) {
    if (typeof column === "string") continue;
    const { title, link } = column;
    const properties: DynamicConfigValue[] = [{ id: "links", value: [{ ...link, targetBlank: true }] }];
    builder.overrideByName(title, properties);
  }
}
