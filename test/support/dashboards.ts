/** The dashboards under deploy/grafana/dashboards, as far as tests look at them. */
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

export type Target = {
  readonly expr: string;
  readonly refId: string;
  readonly instant?: boolean;
  readonly legendFormat?: string;
  readonly datasource: { readonly type: string };
};

export type Panel = {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly Target[];
  readonly links?: readonly { readonly url: string }[];
  readonly options?: { readonly legend?: { readonly showLegend?: boolean } };
  readonly fieldConfig: {
    readonly defaults: { readonly unit: string };
    readonly overrides?: readonly {
      readonly matcher: { readonly options: string };
      readonly properties: readonly { readonly id: string; readonly value: readonly { readonly url: string }[] }[];
    }[];
  };
  readonly transformations?: readonly { readonly options: { readonly include?: { readonly names: string[] } } }[];
  /** Of a row: folded up, with its panels inside. */
  readonly collapsed?: boolean;
  readonly panels?: readonly Panel[];
};

export type Dashboard = { readonly uid: string; readonly title: string; readonly panels: readonly Panel[] };

const directory = fileURLToPath(new URL("../../deploy/grafana/dashboards/", import.meta.url));

export function readDashboards(): readonly Dashboard[] {
  return readdirSync(directory)
    .toSorted()
    .map((name) => JSON.parse(readFileSync(directory + name, "utf8")) as Dashboard);
}

/** Those that show something: rows are no panels, but those of folded rows are among them. */
export function panelsOf({ panels }: Dashboard): readonly Panel[] {
  return panels.flatMap((panel) => (panel.type === "row" ? (panel.panels ?? []) : [panel]));
}
