/**
 * A real Prometheus scrapes a real Sallyport under the demo's traffic: every query of the dashboards and of the rules names
 * what exists, and finds data of the right sign. promtool checks the rules and runs their unit tests.
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { runDeliveryOptimization } from "../support/agents/delivery-optimization.ts";
import { attempt, nearMisses } from "../support/agents/near-misses.ts";
import { hangUp, openTunnel, secure } from "../support/agents/proxied.ts";
import { automationAnywherePack, roster } from "../support/agents/roster.ts";
import { type Panel, panelsOf, readDashboards } from "../support/dashboards.ts";
import { type DnsServer, startDnsServer } from "../support/dns-server.ts";
import { type Lab, startLab } from "../support/lab/lab.ts";
import { type Prometheus, type Sample, startPrometheus } from "../support/prometheus.ts";
import { namesIn } from "../support/promql.ts";
import { connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { describeWithTool, requireTool } from "../support/tools.ts";

type Rule = {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly annotations?: Readonly<Record<string, string>>;
};

const root = fileURLToPath(new URL("../..", import.meta.url));
const directory = `${root}deploy/prometheus/`;
const ruleFiles = ["sallyport.rules.yaml", "sallyport.alerts.yaml"].map((name) => directory + name);
const rules = ruleFiles.flatMap((file) => {
  const { groups } = parse(readFileSync(file, "utf8")) as { groups: { rules: Rule[] }[] };
  return groups.flatMap((group) => group.rules);
});
const alerts = rules.flatMap((rule) => (rule.alert === undefined ? [] : [{ ...rule, alert: rule.alert }]));
const recorded = rules.flatMap((rule) => (rule.record === undefined ? [] : [{ ...rule, record: rule.record }]));

const queries = readDashboards().flatMap((dashboard) =>
  panelsOf(dashboard).flatMap((panel) =>
    panel.targets
      .filter(({ datasource }) => datasource.type === "prometheus")
      .map((target) => ({ name: `${dashboard.title} / ${panel.title} ${target.refId}`, panel, target })),
  ),
);

/** Where 0 is what a healthy proxy shows: everything else has to be above 0 under this traffic. */
const zero: Readonly<Record<string, string>> = {
  "Sallyport / Policy / Reloads A": "nothing was reloaded",
  "Sallyport / Policy / Rules nobody used A": "0 is what it looks for",
  "Sallyport / Tunnels and limits / Log lines lost A": "no line was lost",
  "Sallyport / Tunnels and limits / Workers started again A": "no worker ended",
};

/** Of the demo's 216 pieces. */
const pieces = 12;
/** More than all of this takes. */
const windowSeconds = 120;
const site = {
  use: [automationAnywherePack],
  clients: { lab: { addresses: ["127.0.0.0/8"] } },
  rules: [
    { id: "on-trial", hosts: ["trial.vendor.example"], expect: "http", mode: "report" },
    { id: "for-a-year", hosts: ["year.vendor.example"], expect: "https", expires: "2099-12-31" },
    { id: "inside", hosts: ["inside.vendor.example"], expect: "http:8530" },
  ],
};

let lab: Lab;
let dns: DnsServer;
let sallyport: Sallyport;
let prometheus: Prometheus;
let tunnel: Socket;
let metrics: string;

describeWithTool(["prometheus"], "under the demo's traffic", () => {
  beforeAll(async () => {
    [lab, dns] = await Promise.all([startLab(), startDnsServer()]);
    dns.answer("A", "inside.vendor.example", { kind: "addresses", addresses: ["127.0.0.1"] });
    sallyport = await startSallyport({
      policy: site,
      settings: {
        policy: [`${root}policies/default.yaml`, "site.yaml"],
        // All but the last, which would catch what is to be looked up.
        connect_to: lab.connectTo.slice(0, -1),
        dns: { servers: [dns.address] },
      },
    });
    prometheus = await startPrometheus({ target: `127.0.0.1:${sallyport.adminPort}`, ruleFiles });
    // Before the traffic: what grows has to be seen growing.
    await prometheus.until("sallyport_build_info", (samples) => samples.length === 1);
    await makeTraffic();
    metrics = await (await fetch(`http://127.0.0.1:${sallyport.adminPort}/metrics`)).text();
    const decisions = sumOf(metrics, "sallyport_decisions_total");
    await prometheus.until("sum(sallyport_decisions_total)", ([sample]) => sample?.values[0] === decisions);
    await prometheus.until("sum(rate(sallyport_decisions_total[5s]))", ([sample]) => (sample?.values[0] ?? 0) > 0);
    await prometheus.until("instance:sallyport_denial_ratio:increase15m", ([sample]) => (sample?.values[0] ?? 0) > 0);
  }, 40_000);

  afterAll(async () => {
    if (tunnel !== undefined) await hangUp(tunnel);
    await prometheus?.stop();
    await lab?.close();
    await sallyport?.stop();
    await dns?.close();
  });

  describe("every panel", () => {
    test("there are some, and the exceptions are panels", () => {
      expect(queries.length).toBeGreaterThan(30);
      expect(Object.keys(zero).filter((name) => !queries.some((query) => query.name === name))).toEqual([]);
    });

    test.each(queries)("$name asks for metrics and labels that exist", async ({ target }) => {
      await expectNames(target.expr);
    });

    test.each(queries)("$name finds data of the right sign", async ({ name, panel, target }) => {
      const expr = filledIn(target.expr);
      const samples =
        target.instant === true ? await prometheus.query(expr) : await prometheus.queryRange(expr, windowSeconds);
      const values = samples.flatMap((sample) => sample.values).filter((value) => !Number.isNaN(value));
      expect(values).not.toEqual([]);
      expect(values.filter((value) => value < 0 || !Number.isFinite(value))).toEqual([]);
      const most = Math.max(...values);
      if (zero[name] === undefined) expect(most).toBeGreaterThan(0);
      else expect(most).toBe(0);
      expectShown(panel, target.legendFormat, samples);
    });

    test("a share is at most 1", async () => {
      const shares = queries.filter(({ panel }) => panel.fieldConfig.defaults.unit === "percentunit");
      expect(shares.length).toBeGreaterThan(4);
      for (const { name, target } of shares.filter(({ panel }) => panel.title !== "CPU")) {
        const values = (await prometheus.query(filledIn(target.expr))).flatMap((sample) => sample.values);
        expect([name, values.filter((value) => value > 1)]).toEqual([name, []]);
      }
    });

    test("the denials are those that were provoked", async () => {
      const { expr } = targetOf("Denials by reason");
      const reasons = (await prometheus.queryRange(filledIn(expr), windowSeconds)).map(
        ({ labels }) => labels["reason"],
      );
      const provoked = [...nearMisses.map(({ reason }) => reason), "address_denied", "bad_request"];
      expect(new Set(reasons)).toEqual(new Set(provoked));
    });

    test("the hosts are named with the ids that the log has", async () => {
      const named = await prometheus.query(filledIn(targetOf("Hosts denied most").expr));
      const logged = new Map(sallyport.log.map((line) => [line["denial"], line]));
      expect(named.length).toBeGreaterThan(10);
      for (const { labels } of named) {
        const { host, reason, group } = logged.get(labels["id"]) ?? {};
        expect([host, reason, group]).toEqual([labels["host"], labels["reason"], labels["group"]]);
      }
    });
  });

  describe("rules", () => {
    test("Prometheus evaluates all of them without an error", async () => {
      const states = await prometheus.rules();
      expect(new Set(states.map(({ name }) => name))).toEqual(
        new Set(rules.map(({ alert, record }) => alert ?? record)),
      );
      expect(states.filter(({ health, lastError }) => health !== "ok" || lastError !== undefined)).toEqual([]);
    });

    test.each(rules)("$alert$record asks for metrics and labels that exist", async ({ expr }) => {
      await expectNames(expr);
    });

    test("a tunnel with another name inside raises its alert at once, and a proxy that answers none", async () => {
      const firing = 'ALERTS{alertstate="firing"}';
      await prometheus.until(firing, (samples) => samples.length > 0);
      const names = (await prometheus.query(firing)).map(({ labels }) => labels["alertname"]);
      expect(new Set(names)).toEqual(new Set(["SallyportSniMismatch"]));
    });

    test.each(recorded)("$record finds data", async ({ record }) => {
      const values = (await prometheus.query(record)).flatMap((sample) => sample.values);
      expect(values).not.toEqual([]);
      expect(values.filter((value) => !(value >= 0))).toEqual([]);
    });
  });

  describe("the check itself", () => {
    test.each([
      ["sallyport_no_such_total", /no series/],
      ['sallyport_decisions_total{reason="no_such"}', /no series/],
      ['sallyport_decisions_total{colour!="red"}', /no label colour/],
      ["sum by (colour) (sallyport_decisions_total)", /no label colour/],
      ["sallyport_tunnels_active / ignoring (colour) sallyport_limit", /no label colour/],
      ["sallyport_tunnels_active * on (instance) group_left (colour) sallyport_limit", /no label colour/],
    ])("finds what is wrong in %s", async (expr, problem) => {
      await expect(expectNames(expr)).rejects.toThrow(problem);
    });
  });
});

describeWithTool(["promtool"], "promtool", () => {
  test("takes the rules", async () => {
    expect(await promtool("check", "rules", ...ruleFiles)).toMatch(/SUCCESS: \d+ rules found/);
  });

  test("takes the example configuration, and finds the rules that it names", async () => {
    expect(await promtool("check", "config", `${directory}prometheus.example.yml`)).toMatch(
      /SUCCESS: 2 rule files found/,
    );
  });

  test("runs the unit tests of the rules", async () => {
    expect(await promtool("test", "rules", `${directory}sallyport.test.yaml`)).toMatch(/SUCCESS/);
  });
});

describe("alerts", () => {
  const { tests } = parse(readFileSync(`${directory}sallyport.test.yaml`, "utf8")) as {
    tests: { alert_rule_test?: { alertname: string; exp_alerts: unknown[] }[] }[];
  };
  const cases = tests.flatMap((one) => one.alert_rule_test ?? []);

  test.each(alerts)("the unit tests of $alert show it firing, and when it does not", ({ alert }) => {
    const own = cases.filter(({ alertname }) => alertname === alert);
    expect(own.some(({ exp_alerts: expected }) => expected.length > 0)).toBe(true);
    // Where one series fires and another does not, the expected list leaves the other out.
    expect(own.length).toBeGreaterThan(1);
  });

  test.each(alerts)("$alert says what happened", ({ annotations = {} }) => {
    expect(annotations["summary"]).toMatch(/\w/);
    expect(annotations["description"]).toMatch(/\.$|end \}\}$/);
  });
});

/** What the demo shows, and what a healthy demo has none of: a limit, a failed lookup, report mode, a tunnel that stays. */
async function makeTraffic(): Promise<void> {
  const around = { proxyPort: sallyport.port, ca: lab.ca };
  for (const { name, run } of roster) {
    await (name === "Delivery Optimization" ? runDeliveryOptimization(around, pieces) : run(around));
  }
  for (const miss of nearMisses) await attempt(sallyport.port, miss);
  const many = Array.from({ length: 200 }, (_, i) => `X-${i}: 1\r\n`).join("");
  await askPlainly(
    `GET http://au.download.windowsupdate.com/ HTTP/1.1\r\nHost: au.download.windowsupdate.com\r\n${many}`,
  );
  await askPlainly("GET http://inside.vendor.example:8530/ HTTP/1.1\r\nHost: inside.vendor.example:8530\r\n");
  await askPlainly("GET http://trial.vendor.example/ HTTP/1.1\r\nHost: trial.vendor.example\r\nRange: bytes=0-1\r\n");
  tunnel = await secure(around, await openTunnel(around, "api.automox.com:443"), "api.automox.com");
}

async function askPlainly(head: string): Promise<void> {
  const client = await connectRaw(sallyport.port);
  try {
    client.send(`${head}\r\n`);
    await client.readHead();
  } finally {
    client.close();
  }
}

/** Throws where an expression names a metric, a label or a label's value that Prometheus has not. */
async function expectNames(expr: string): Promise<void> {
  const { selectors, labels } = namesIn(filledIn(expr));
  if (selectors.length === 0) throw new Error(`no metric in ${expr}`);
  const known = new Set<string>();
  for (const { metric, text, labels: matched } of selectors) {
    const own = await prometheus.series(metric);
    // `absent(up)` asks for what is not there, and this target is there.
    if ((await prometheus.series(text)).length === 0) throw new Error(`no series ${text}`);
    const ownLabels = new Set(own.flatMap((series) => Object.keys(series)));
    for (const label of matched) if (!ownLabels.has(label)) throw new Error(`no label ${label} of ${metric}`);
    for (const label of ownLabels) known.add(label);
    if (metric.startsWith("sallyport_")) expect(metrics).toContain(`# TYPE ${metric.replace(/_bucket$/, "")} `);
  }
  for (const label of labels) if (!known.has(label)) throw new Error(`no label ${label} in ${expr}`);
}

/** As Grafana fills in its variables: all instances, the whole time shown. */
function filledIn(expr: string): string {
  return expr
    .replaceAll("$job", prometheus.job)
    .replaceAll("$instance", ".+")
    .replaceAll("$__rate_interval", "10s")
    .replaceAll("$__range", `${windowSeconds}s`);
}

/** Columns of tables and names of lines are labels that the answer has. */
function expectShown(panel: Panel, legend: string | undefined, samples: readonly Sample[]): void {
  const labels = new Set(samples.flatMap((sample) => Object.keys(sample.labels)));
  const named = Array.from((legend ?? "").matchAll(/\{\{(\w+)\}\}/g), ([, label = ""]) => label);
  const columns = (panel.transformations ?? []).flatMap(({ options }) => options.include?.names ?? []);
  expect([...named, ...columns].filter((label) => label !== "Value" && !labels.has(label))).toEqual([]);
}

function targetOf(title: string): Panel["targets"][number] {
  const found = queries.find(({ panel }) => panel.title === title);
  if (found === undefined) throw new Error(`no panel ${title}`);
  return found.target;
}

function sumOf(text: string, metric: string): number {
  const lines = text.split("\n").filter((line) => line.startsWith(`${metric}{`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

/** All that it said; throws, with the same, where it is not content. */
async function promtool(...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(requireTool("promtool") ?? "promtool", args);
  return stdout + stderr;
}
