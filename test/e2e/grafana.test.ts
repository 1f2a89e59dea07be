/** Dashboards as they are shipped: current, explained, leading somewhere, and asking Loki for fields that the log has. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { dashboardFiles } from "../../deploy/grafana/src/dashboards.ts";
import { type Panel, panelsOf, readDashboards } from "../support/dashboards.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const directory = `${root}deploy/grafana/`;
const dashboards = readDashboards();
const panels = dashboards.flatMap((dashboard) =>
  panelsOf(dashboard).map((panel) => ({ name: `${dashboard.title} / ${panel.title}`, panel })),
);
const headings = new Set(
  Array.from(readFileSync(`${root}docs/reasons.md`, "utf8").matchAll(/^#{2,3} (.+)$/gm), ([, heading = ""]) =>
    heading.toLowerCase().replaceAll(" ", "-"),
  ),
);
const logFields = new Set(
  readFileSync(`${root}docs/configuration.md`, "utf8")
    .split("\n## Log\n")[1]
    ?.split("\n## ")[0]
    ?.split("\n")
    .filter((line) => line.startsWith("| `"))
    .flatMap((line) => Array.from((line.split("|")[1] ?? "").matchAll(/`(\w+)`/g), ([, field = ""]) => field)),
);

describe("files", () => {
  test.each(dashboardFiles())("dashboards/$name is what its sources say: npm run dashboards", ({ name, text }) => {
    expect(readFileSync(`${directory}dashboards/${name}`, "utf8")).toBe(text);
  });

  test("there is no other", () => {
    const names = dashboardFiles().map(({ name }) => name);
    expect(readdirSync(`${directory}dashboards`).toSorted()).toEqual(names.toSorted());
  });

  test("dashboards and their panels have names and numbers of their own", () => {
    expect(new Set(dashboards.map(({ uid }) => uid)).size).toBe(dashboards.length);
    expect(new Set(panels.map(({ name }) => name)).size).toBe(panels.length);
    for (const dashboard of dashboards) {
      const ids = dashboard.panels.flatMap(({ id, panels: inner = [] }) => [id, ...inner.map((panel) => panel.id)]);
      expect(new Set(ids).size).toBe(ids.length);
    }
  });

  test.each(dashboards)("no panels of $title overlap", (dashboard) => {
    const cells = dashboard.panels
      .flatMap((panel) => [panel, ...(panel.panels ?? [])])
      .flatMap(({ gridPos: { x, y, w, h } }) =>
        Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
      );
    expect(cells.length).toBeGreaterThan(100);
    expect(new Set(cells).size).toBe(cells.length);
  });

  test("Grafana is told where they are, and of a data source of each kind that they ask", () => {
    const providers = parse(readFileSync(`${directory}provisioning/dashboards/sallyport.yaml`, "utf8")) as {
      providers: { type: string; options: { path: string } }[];
    };
    expect(providers.providers).toEqual([
      expect.objectContaining({
        type: "file",
        options: expect.objectContaining({ path: "/etc/sallyport/dashboards" }),
      }),
    ]);
    const sources = parse(readFileSync(`${directory}provisioning/datasources/sallyport.yaml`, "utf8")) as {
      datasources: { type: string; url: string }[];
    };
    const asked = new Set(panels.flatMap(({ panel }) => panel.targets.map(({ datasource }) => datasource.type)));
    expect(new Set(sources.datasources.map(({ type }) => type))).toEqual(asked);
  });
});

describe("variables", () => {
  test.each(dashboards)("$title uses those that it has, and has those that it uses", ({ uid }) => {
    const text = readFileSync(`${directory}dashboards/${uid.replace("sallyport-", "")}.json`, "utf8");
    const { templating } = JSON.parse(text) as { templating: { list: { name: string }[] } };
    const used = Array.from(text.matchAll(/\$\{?([a-z]+)\b/g), ([, name]) => name).filter((name) => name !== "all");
    const own = templating.list.map(({ name }) => name);
    expect([...new Set(used)].filter((name) => !own.includes(name ?? ""))).toEqual([]);
    expect(own).toEqual(expect.arrayContaining(["datasource", "job", "instance", "docs"]));
  });
});

describe("every panel", () => {
  test.each(panels)("$name has a unit, and says in words what it shows", ({ panel }) => {
    expect(panel.fieldConfig.defaults.unit).toMatch(/^\w+$/);
    expect(panel.description).toMatch(/^[^]{25,}\.$/);
    expect(panel.targets.length).toBeGreaterThan(0);
    if (panel.type === "timeseries") expect(panel.options?.legend?.showLegend).toBe(true);
    for (const { expr } of panel.targets) expect(expr).toContain('job=~"$job"');
  });

  const links = panels.flatMap(({ name, panel }) => (panel.links ?? []).map(({ url }) => ({ name, url })));
  test.each(links)("the link of $name to $url leads to a heading", ({ url }) => {
    const [, anchor = ""] = /^\$\{docs:raw\}\/reasons\.md#(.+)$/.exec(url) ?? [];
    expect([...headings]).toContain(anchor);
  });

  test("many have such a link", () => {
    expect(links.length).toBeGreaterThan(20);
  });
});

describe("the console", () => {
  test("ids of denials lead to it, from metrics and from the log", () => {
    const leading = panels.flatMap(({ name, panel }) => cellLinks(panel).map(({ column, url }) => [name, column, url]));
    const url = "${console:raw}/#/denials/${__value.raw}";
    expect(leading).toEqual([
      ["Sallyport / Denials / Hosts denied most", "Id", url],
      ["Sallyport / Denials / Denials in the log", "denial", url],
    ]);
  });
});

describe("LogQL", () => {
  const logs = panels.filter(({ panel }) => panel.targets.some(({ datasource }) => datasource.type === "loki"));

  test("there is a table of the log, folded up where no Loki may be", () => {
    expect(logs).toHaveLength(1);
    const rows = dashboards.flatMap((dashboard) => dashboard.panels).filter(({ collapsed }) => collapsed);
    expect(rows.flatMap((row) => row.panels ?? []).map(({ title }) => title)).toEqual(
      logs.map(({ panel }) => panel.title),
    );
  });

  test.each(logs)("$name names only fields of the log line that are documented", ({ panel }) => {
    expect(logFields.size).toBeGreaterThan(20);
    const expr = panel.targets[0]?.expr ?? "";
    const [selector = "", ...stages] = expr.split("|").map((part) => part.trim());
    expect(selector).toBe('{job=~"$job"}');
    expect(stages[0]).toBe("json");
    const filtered = Array.from(
      stages
        .slice(1)
        .join(" ")
        .matchAll(/(\w+)=/g),
      ([, field = ""]) => field,
    );
    const shown = (panel.transformations ?? []).flatMap(({ options }) => options.include?.names ?? []);
    expect(filtered.length).toBeGreaterThan(1);
    expect(shown.length).toBeGreaterThan(5);
    expect([...filtered, ...shown].filter((field) => field !== "Time" && !logFields.has(field))).toEqual([]);
  });
});

describe("README", () => {
  const readme = readFileSync(`${root}deploy/README.md`, "utf8");

  test("names files that exist", () => {
    const files = Array.from(readme.matchAll(/^\| `([^`]+)` \|/gm), ([, file = ""]) => file);
    expect(files.length).toBeGreaterThan(3);
    expect(files.filter((file) => !existsSync(`${root}deploy/${file}`))).toEqual([]);
  });
});

function cellLinks({ fieldConfig }: Panel): { readonly column: string; readonly url: string }[] {
  return (fieldConfig.overrides ?? []).flatMap(({ matcher, properties }) =>
    properties.flatMap(({ id, value }) =>
      id === "links" ? value.map(({ url }) => ({ column: matcher.options, url })) : [],
    ),
  );
}
