import { describe, expect, test } from "vitest";
import { addressClasses } from "../../../src/names/address-class.ts";
import { reasons } from "../../../src/policy/verdict.ts";
import {
  denialLabels,
  dialResults,
  dnsResults,
  limitNames,
  reasonLabels,
  sniResults,
} from "../../../src/record/metrics-labels.ts";
import { type Metrics, type RuleFacts, createMetrics } from "../../../src/record/metrics.ts";
import { exchangeWith, tunnelWith } from "../../support/exchange.ts";

function newMetrics(): Metrics {
  return createMetrics({ version: "1.2.3", nodeVersion: "v20.0.0" });
}

/** An allow rule of a pack without an end, but for what is said. */
function ruleFacts(fullId: string, facts: Partial<RuleFacts> = {}): RuleFacts {
  return { fullId, fromSite: false, deny: false, expiresAt: Infinity, ...facts };
}

/** Series of Sallyport by name and labels. */
async function seriesOf(metrics: Metrics): Promise<Map<string, number>> {
  const lines = (await metrics.render()).split("\n").filter((line) => line.startsWith("sallyport_"));
  return new Map(
    lines.map((line) => [
      line.slice("sallyport_".length, line.lastIndexOf(" ")),
      Number(line.slice(line.lastIndexOf(" ") + 1)),
    ]),
  );
}

async function changesOf(act: (metrics: Metrics) => void, prepare: (metrics: Metrics) => void = () => {}) {
  const metrics = newMetrics();
  prepare(metrics);
  const before = await seriesOf(metrics);
  act(metrics);
  const after = await seriesOf(metrics);
  return Object.fromEntries(
    [...after].flatMap(([name, value]) =>
      value === before.get(name) ? [] : [[name, value - (before.get(name) ?? 0)]],
    ),
  );
}

describe("series at the start", () => {
  test("every metric of interface.md is there", async () => {
    const text = await newMetrics().render();
    const names = [...text.matchAll(/^# TYPE sallyport_(\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`);
    expect(names.toSorted()).toEqual([
      "blocked_addresses_total counter",
      "build_info gauge",
      "certificate_expiry_timestamp_seconds gauge",
      "decision_duration_seconds histogram",
      "decisions_total counter",
      "dial_duration_seconds histogram",
      "dials_total counter",
      "dns_lookups_total counter",
      "group_denials_total counter",
      "http_requests_total counter",
      "limit gauge",
      "limit_rejections_total counter",
      "log_dropped_total counter",
      "policy_info gauge",
      "policy_last_reload_successful gauge",
      "policy_last_success_timestamp_seconds gauge",
      "policy_reloads_total counter",
      "policy_rules gauge",
      "range_responses_total counter",
      "rule_decisions_total counter",
      "rule_expiry_timestamp_seconds gauge",
      "rule_info gauge",
      "sni_inspections_total counter",
      "top_denials gauge",
      "transferred_bytes_total counter",
      "tunnels_active gauge",
      "tunnels_total counter",
      "worker_restarts_total counter",
    ]);
  });

  test("causes of denial are named as the slots have them, and no longer", async () => {
    const metrics = newMetrics();
    let slots = [{ host: "a.example", reason: "no_rule", group: "_none", id: "AAAAA-AAAAA", count: 3 }];
    metrics.setTopDenials(() => slots);
    const named = async (): Promise<string[]> =>
      (await metrics.render()).split("\n").filter((line) => line.startsWith("sallyport_top_denials"));
    expect(await named()).toEqual([
      'sallyport_top_denials{host="a.example",reason="no_rule",group="_none",id="AAAAA-AAAAA"} 3',
    ]);
    slots = [];
    expect(await named()).toEqual([]);
  });

  test("Node's own metrics keep their names", async () => {
    const text = await newMetrics().render();
    expect(text).toContain("\nprocess_cpu_user_seconds_total ");
    expect(text).toContain("\nnodejs_version_info{");
  });

  test("all are 0, but for build_info", async () => {
    const series = await seriesOf(newMetrics());
    series.delete('build_info{version="1.2.3",node="v20.0.0"}');
    expect([...series].filter(([, value]) => value !== 0)).toEqual([]);
    expect(series.size).toBeGreaterThan(300);
  });

  test("decisions that cannot be made have no series", async () => {
    const series = await seriesOf(newMetrics());
    expect(series.has('decisions_total{verdict="allow",reason="no_rule",mode="report"}')).toBe(true);
    expect(series.has('decisions_total{verdict="deny",reason="address_denied",mode="report"}')).toBe(true);
    expect(series.has('decisions_total{verdict="deny",reason="allowed",mode="enforce"}')).toBe(false);
    expect(series.has('decisions_total{verdict="allow",reason="address_denied",mode="report"}')).toBe(false);
    expect(series.has('decisions_total{verdict="allow",reason="no_rule",mode="enforce"}')).toBe(false);
  });

  test("reasons are those of the policy, in its order", () => {
    expect(reasonLabels).toEqual(reasons);
  });
});

describe("counting", () => {
  type Case = { act: (metrics: Metrics) => void; expected: Record<string, number> };
  const cases: Record<string, Case> = {
    "an allowed decision counts once, and for its rule": {
      act: (m) => m.recordDecision(exchangeWith()),
      expected: {
        'decisions_total{verdict="allow",reason="allowed",mode="enforce"}': 1,
        'rule_decisions_total{rule="windows-update/payload",verdict="allow"}': 1,
      },
    },
    "a denial counts for its group, and for no rule where none decided": {
      act: (m) => m.recordDecision(exchangeWith({ verdict: "deny", reason: "no_rule", rule: undefined })),
      expected: {
        'decisions_total{verdict="deny",reason="no_rule",mode="enforce"}': 1,
        'group_denials_total{group="servers",reason="no_rule"}': 1,
      },
    },
    "a denial of a client of no group counts as _none": {
      act: (m) =>
        m.recordDecision(exchangeWith({ verdict: "deny", reason: "no_rule", rule: undefined, group: "_none" })),
      expected: {
        'decisions_total{verdict="deny",reason="no_rule",mode="enforce"}': 1,
        'group_denials_total{group="_none",reason="no_rule"}': 1,
      },
    },
    "what report mode let pass is an allow with the denial's reason": {
      act: (m) => m.recordDecision(exchangeWith({ reason: "range_denied", would: true, mode: "report" })),
      expected: {
        'decisions_total{verdict="allow",reason="range_denied",mode="report"}': 1,
        'rule_decisions_total{rule="windows-update/payload",verdict="allow"}': 1,
      },
    },
    "a combination that should not occur is counted all the same": {
      act: (m) => m.recordDecision(exchangeWith({ reason: "no_rule", rule: undefined })),
      expected: { 'decisions_total{verdict="allow",reason="no_rule",mode="enforce"}': 1 },
    },
    "a rule without series counts as _other": {
      act: (m) => m.recordDecision(exchangeWith({ rule: "site/unheard-of" })),
      expected: {
        'decisions_total{verdict="allow",reason="allowed",mode="enforce"}': 1,
        'rule_decisions_total{rule="_other",verdict="allow"}': 1,
      },
    },
    "a request that ended counts by method, status and range": {
      act: (m) => m.recordEnd(exchangeWith({ status: 206, range: "bytes=0-1", rangeKind: "valid", bytesUp: 3 })),
      expected: {
        'http_requests_total{method="GET",code_class="2xx",range="valid"}': 1,
        'range_responses_total{result="206"}': 1,
        'transferred_bytes_total{direction="up",scheme="http"}': 3,
        'transferred_bytes_total{direction="down",scheme="http"}': 1000,
      },
    },
    "a method nobody knows is other": {
      act: (m) =>
        m.recordEnd(
          exchangeWith({ method: "BREW", status: 403, verdict: "deny", reason: "method_denied", bytesDown: 0 }),
        ),
      expected: { 'http_requests_total{method="other",code_class="4xx",range="none"}': 1 },
    },
    "a request that got no status is none": {
      act: (m) => m.recordEnd(exchangeWith({ status: 0, rangeKind: "valid", outcome: "client_aborted", bytesDown: 0 })),
      expected: { 'http_requests_total{method="GET",code_class="none",range="valid"}': 1 },
    },
    "a status beyond 5xx is none": {
      act: (m) => m.recordEnd(exchangeWith({ status: 999, bytesDown: 0 })),
      expected: { 'http_requests_total{method="GET",code_class="none",range="none"}': 1 },
    },
    "an answer to a range other than 200, 206 and 416 is other": {
      act: (m) => m.recordEnd(exchangeWith({ status: 404, rangeKind: "valid", bytesDown: 0 })),
      expected: {
        'http_requests_total{method="GET",code_class="4xx",range="valid"}': 1,
        'range_responses_total{result="other"}': 1,
      },
    },
    "a stripped range is no range response": {
      act: (m) => m.recordEnd(exchangeWith({ rangeKind: "stripped", bytesDown: 0 })),
      expected: { 'http_requests_total{method="GET",code_class="2xx",range="stripped"}': 1 },
    },
    "a tunnel counts its bytes by scheme": {
      act: (m) => m.recordEnd(tunnelWith({ bytesUp: 10, bytesDown: 20, closedBy: "client" })),
      expected: {
        'tunnels_total{result="ok"}': 1,
        'transferred_bytes_total{direction="up",scheme="https"}': 10,
        'transferred_bytes_total{direction="down",scheme="https"}': 20,
      },
    },
    "a tunnel that report mode did not look into counts as tcp": {
      act: (m) => m.recordEnd(tunnelWith({ scheme: undefined, bytesDown: 20 })),
      expected: { 'tunnels_total{result="ok"}': 1, 'transferred_bytes_total{direction="down",scheme="tcp"}': 20 },
    },
    "a tunnel that never came to be counts by what went wrong": {
      act: (m) => m.recordEnd(tunnelWith({ outcome: "dns_timeout", status: 504, bytesDown: 0 })),
      expected: { 'tunnels_total{result="dns_timeout"}': 1 },
    },
    "a tunnel that was cut for its hello is denied": {
      act: (m) =>
        m.recordEnd(
          tunnelWith({ verdict: "deny", reason: "sni_mismatch", stage: "tunnel", outcome: undefined, bytesDown: 0 }),
        ),
      expected: { 'tunnels_total{result="denied"}': 1 },
    },
    "a refused CONNECT is no tunnel": {
      act: (m) =>
        m.recordEnd(tunnelWith({ verdict: "deny", reason: "no_rule", outcome: undefined, status: 403, bytesDown: 0 })),
      expected: {},
    },
    "a tunnel closed while draining": {
      act: (m) => m.recordEnd(tunnelWith({ closedBy: "drain", bytesDown: 0 })),
      expected: { 'tunnels_total{result="drain"}': 1 },
    },
    "a tunnel closed for silence": {
      act: (m) => m.recordEnd(tunnelWith({ closedBy: "idle", bytesDown: 0 })),
      expected: { 'tunnels_total{result="idle_timeout"}': 1 },
    },
    "open tunnels go up and down": {
      act: (m) => {
        m.tunnelOpened();
        m.tunnelOpened();
        m.tunnelClosed();
      },
      expected: { tunnels_active: 1 },
    },
    "a policy in force": {
      act: (m) => {
        m.policyLoaded({ hash: "aaaa", rules: 1, atMs: 1_000 });
        m.policyLoaded({ hash: "bbbb", rules: 7, atMs: 1_700_000_000_500 });
      },
      expected: {
        'policy_info{hash="bbbb"}': 1,
        policy_rules: 7,
        policy_last_reload_successful: 1,
        policy_last_success_timestamp_seconds: 1_700_000_000.5,
      },
    },
    "a failed reload leaves the policy's gauges alone": {
      act: (m) => {
        m.policyLoaded({ hash: "aaaa", rules: 1, atMs: 1_000 });
        m.reload("failure");
      },
      expected: {
        'policy_info{hash="aaaa"}': 1,
        policy_rules: 1,
        policy_last_success_timestamp_seconds: 1,
        'policy_reloads_total{result="failure"}': 1,
      },
    },
    "the limits on connections": {
      act: (m) => m.setLimits({ connections: 20_000, perClient: 1_000 }),
      expected: { 'limit{limit="connections"}': 20_000, 'limit{limit="per_client"}': 1_000 },
    },
    "the rules, as queries need them": {
      act: (m) => {
        m.describeRules([ruleFacts("site/gone", { fromSite: true, expiresAt: 1_000 })]);
        m.describeRules([
          ruleFacts("site/no-games", { fromSite: true, deny: true }),
          ruleFacts("windows-update/payload", { expiresAt: 1_700_000_000_500 }),
        ]);
      },
      expected: {
        'rule_info{rule="site/no-games",file="site",kind="site",action="deny"}': 1,
        'rule_info{rule="windows-update/payload",file="windows-update",kind="pack",action="allow"}': 1,
        'rule_expiry_timestamp_seconds{rule="windows-update/payload"}': 1_700_000_000.5,
      },
    },
    "lost lines and workers": {
      act: (m) => {
        m.logDropped(3);
        m.workerRestarted();
      },
      expected: { log_dropped_total: 3, worker_restarts_total: 1 },
    },
  };
  test.each(Object.entries(cases))("%s", async (_, { act, expected }) => {
    const prepare = (m: Metrics) => {
      m.setRules(["windows-update/payload"]);
      m.setGroups(["servers"]);
    };
    expect(await changesOf(act, prepare)).toEqual(expected);
  });

  test("each word of each closed list has its series", async () => {
    const counted = await changesOf((m) => {
      for (const result of dialResults) m.dial(result, 0.02);
      for (const result of dnsResults) m.dnsLookup(result);
      for (const limit of limitNames) m.limitRejected(limit);
      for (const result of sniResults) m.sniInspected(result);
      for (const addressClass of addressClasses) m.blockedAddress(addressClass);
    });
    const counters = Object.entries(counted).filter(([name]) => !name.startsWith("dial_duration"));
    expect(counters.map(([, value]) => value)).toEqual(counters.map(() => 1));
    expect(counters).toHaveLength(
      dialResults.length + dnsResults.length + limitNames.length + sniResults.length + addressClasses.length,
    );
    expect(counted["dial_duration_seconds_count"]).toBe(dialResults.length);
    expect(counted['dial_duration_seconds_bucket{le="0.01"}']).toBeUndefined();
    expect(counted['dial_duration_seconds_bucket{le="0.025"}']).toBe(dialResults.length);
  });

  test("one decision in 64 is measured", () => {
    const metrics = newMetrics();
    const sampled = Array.from({ length: 640 }, () => metrics.sampleDecision()).filter(Boolean);
    expect(sampled).toHaveLength(10);
  });

  test("scraping does not change what is counted", async () => {
    const metrics = newMetrics();
    metrics.recordDecision(exchangeWith());
    const first = await seriesOf(metrics);
    expect(await seriesOf(metrics)).toEqual(first);
  });

  test("scrapes at the same time share one answer", () => {
    const metrics = newMetrics();
    expect(metrics.render()).toBe(metrics.render());
  });
});

describe("names that come and go with the policy", () => {
  const count = (m: Metrics, rule: string) => m.recordDecision(exchangeWith({ rule }));

  test("rules have both series at 0 as soon as they are loaded", async () => {
    const metrics = newMetrics();
    metrics.setRules(["site/a"]);
    const series = await seriesOf(metrics);
    expect(series.get('rule_decisions_total{rule="site/a",verdict="allow"}')).toBe(0);
    expect(series.get('rule_decisions_total{rule="site/a",verdict="deny"}')).toBe(0);
  });

  test("a reload keeps the counts of rules that stay, ends those of rules that go, and moves nothing to _other", async () => {
    const metrics = newMetrics();
    metrics.setRules(["site/a", "site/b"]);
    count(metrics, "site/a");
    count(metrics, "site/b");
    metrics.setRules(["site/c", "site/b"]);
    count(metrics, "site/b");
    count(metrics, "site/a");
    const series = await seriesOf(metrics);
    expect(series.get('rule_decisions_total{rule="site/b",verdict="allow"}')).toBe(2);
    expect(series.get('rule_decisions_total{rule="site/c",verdict="allow"}')).toBe(0);
    expect(series.has('rule_decisions_total{rule="site/a",verdict="allow"}')).toBe(false);
    expect(series.get('rule_decisions_total{rule="_other",verdict="allow"}')).toBe(1);
  });

  test("at most 250 rules are described, and at most 250 ends: those that come first", async () => {
    const metrics = newMetrics();
    const last = ruleFacts("site/last", { expiresAt: 1_000 });
    metrics.describeRules([
      ...Array.from({ length: 300 }, (_, i) => ruleFacts(`site/r${i}`, { expiresAt: 2_000 + i })),
      last,
    ]);
    const names = [...(await seriesOf(metrics)).keys()];
    expect(names.filter((name) => name.startsWith("rule_info"))).toHaveLength(250);
    const ends = names.filter((name) => name.startsWith("rule_expiry"));
    expect(ends).toHaveLength(250);
    expect(ends).toContain('rule_expiry_timestamp_seconds{rule="site/last"}');
    expect(ends).not.toContain('rule_expiry_timestamp_seconds{rule="site/r249"}');
  });

  test("at most 500 series are rules; who has one keeps it when others are put before it", async () => {
    const metrics = newMetrics();
    const many = Array.from({ length: 400 }, (_, i) => `pack/rule-${i}`);
    metrics.setRules(many);
    metrics.setRules(["site/new", ...many]);
    for (const rule of many) count(metrics, rule);
    const rules = [...(await seriesOf(metrics))].filter(([name]) => name.startsWith("rule_decisions_total"));
    expect(rules).toHaveLength(500 + 2);
    const named = new Map(rules);
    expect(named.get('rule_decisions_total{rule="pack/rule-249",verdict="allow"}')).toBe(1);
    expect(named.has('rule_decisions_total{rule="site/new",verdict="allow"}')).toBe(false);
    expect(named.get('rule_decisions_total{rule="_other",verdict="allow"}')).toBe(150);
  });

  test("a group that is gone counts as _none", async () => {
    const metrics = newMetrics();
    metrics.setGroups(["servers"]);
    metrics.setGroups(["kiosks"]);
    metrics.recordDecision(exchangeWith({ verdict: "deny", reason: "no_rule", group: "servers" }));
    const series = await seriesOf(metrics);
    expect(series.get('group_denials_total{group="_none",reason="no_rule"}')).toBe(1);
    expect([...series.keys()].filter((name) => name.includes('group="kiosks"'))).toHaveLength(denialLabels.length);
    expect([...series.keys()].filter((name) => name.includes('group="servers"'))).toEqual([]);
  });
});

test("a million random names leave the number of series unchanged", async () => {
  const metrics = newMetrics();
  metrics.setRules(["windows-update/payload"]);
  metrics.setGroups(["servers"]);
  const before = await seriesOf(metrics);
  const exchange = exchangeWith({ verdict: "deny", reason: "no_rule" });
  for (let i = 0; i < 1_000_000; i++) {
    const name = `h${i}.example.com`;
    Object.assign(exchange, {
      host: name,
      sni: name,
      method: name,
      rule: name,
      group: name,
      path: name,
      status: i % 1200,
    });
    metrics.recordDecision(exchange);
    metrics.recordEnd(exchange);
  }
  const after = await seriesOf(metrics);
  expect([...after.keys()]).toEqual([...before.keys()]);
  expect(after.get('decisions_total{verdict="deny",reason="no_rule",mode="enforce"}')).toBe(1_000_000);
}, 20_000);
