/** What all dashboards have in common: variables, links to each other, times; and how panels are laid out. */
// The SDK calls this form deprecated for one that only Grafana 12 reads.
/* oxlint-disable typescript/no-deprecated */
import {
  type Dashboard,
  type Panel,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  TextBoxVariableBuilder,
  VariableRefresh,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { inPlainSight } from "./panels.ts";

export type Row = {
  readonly title: string;
  readonly panels: readonly Panel[];
  /** Folded up, so that nothing is asked before somebody opens it. */
  readonly collapsed?: boolean;
};

export type DashboardWords = {
  /** Of the file and of the address: `sallyport-` before it. */
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly rows: readonly Row[];
  /** Has a table of the log. */
  readonly withLog?: boolean;
};

/** Where the console and the documents are unless somebody says otherwise; `.example` is nobody's. */
const defaultConsole = "http://127.0.0.1:9180";
const defaultDocs = "https://docs.example/sallyport";
const tag = "sallyport";
const fullWidth = 24;

export function dashboard(words: DashboardWords): Dashboard {
  const builder = new DashboardBuilder(`Sallyport / ${words.title}`)
    .uid(`sallyport-${words.name}`)
    .description(words.description)
    .tags([tag])
    .timezone("browser")
    .time({ from: "now-6h", to: "now" })
    .refresh("30s")
    .tooltip(DashboardCursorSync.Crosshair)
    .link(
      inPlainSight(
        new DashboardLinkBuilder("Sallyport")
          .type(DashboardLinkType.Dashboards)
          .tags([tag])
          .includeVars(true)
          .keepTime(true),
      ),
    )
    .variables(variables(words.withLog ?? false));
  let id = 0;
  let y = 0;
  for (const { title, panels, collapsed = false } of words.rows) {
    const row = new RowBuilder(title).id(++id).collapsed(collapsed).gridPos({ x: 0, y, w: fullWidth, h: 1 });
    y += 1;
    let x = 0;
    let rowHeight = 0;
    const placed: Panel[] = [];
    for (const panel of panels) {
      const { w, h } = panel.gridPos ?? { w: fullWidth, h: 8 };
      if (x + w > fullWidth) {
        x = 0;
        y += rowHeight;
        rowHeight = 0;
      }
      placed.push({ ...panel, id: ++id, gridPos: { x, y, w, h } });
      x += w;
      rowHeight = Math.max(rowHeight, h);
    }
    y += rowHeight;
    if (collapsed) for (const panel of placed) row.withPanel({ build: () => panel });
    builder.withRow(row);
    // The panels of an open row follow it: only those of a folded one are its own.
    if (!collapsed) for (const panel of placed) builder.withPanel({ build: () => panel });
  }
  return builder.build();
}

type Variable = Parameters<DashboardBuilder["variables"]>[0][number];

function variables(withLog: boolean): Variable[] {
  const prometheus = { type: "prometheus", uid: "${datasource}" };
  const all = (name: string, label: string, query: string): Variable =>
    new QueryVariableBuilder(name)
      .label(label)
      .datasource(prometheus)
      .query(query)
      .refresh(VariableRefresh.OnTimeRangeChanged)
      .multi(true)
      .includeAll(true)
      .allValue(".+")
      .current({ text: "All", value: "$__all" });
  return [
    new DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"),
    ...(withLog ? [new DatasourceVariableBuilder("loki").label("Loki").type("loki")] : []),
    all("job", "Job", "label_values(sallyport_build_info, job)"),
    all("instance", "Instance", 'label_values(sallyport_build_info{job=~"$job"}, instance)'),
    text("console", "Console", "Where the console is: the admin address of the proxy.", defaultConsole),
    text("docs", "Documents", "Where docs/ of Sallyport can be read.", defaultDocs),
  ];
}

function text(name: string, label: string, description: string, value: string): Variable {
  return new TextBoxVariableBuilder(name)
    .label(label)
    .description(description)
    .defaultValue(value)
    .current({ text: value, value });
}
