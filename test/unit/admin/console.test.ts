/** What the console makes of what it reads, as far as no browser is needed. */
import { describe, expect, test } from "vitest";
import { matchesSearch, viewDenial } from "../../../src/admin/denial-view.ts";
import { type Filter, askedText, keyOf, matches, parseDenial, trialQuery } from "../../../src/admin/console/denial.ts";
import { ratesBetween, readMetrics } from "../../../src/admin/console/metrics-text.ts";
import { agoText, bytesText, countText, shown } from "../../../src/admin/console/shown.ts";
import { createEventReader } from "../../../src/admin/console/sse.ts";
import { createDenials } from "../../../src/record/denials.ts";
import { createMetrics } from "../../../src/record/metrics.ts";
import { sightingWith } from "../../support/sighting.ts";

const all: Filter = { search: "", reason: "", kind: "all" };

/** A record, and what the console reads of the JSON that the API makes of it. */
function recordOf(changes: Parameters<typeof sightingWith>[0]) {
  const denials = createDenials({ topSlots: 0, now: () => 0 });
  denials.add(sightingWith(changes));
  const [record] = denials.records();
  return { record: record!, denial: parseDenial(JSON.stringify(viewDenial(record!)))! };
}

describe("events of a stream", () => {
  const stream = `retry: 2000\n\nevent: denial\ndata: {"a":1}\n\n: keep-alive\n\nevent: dropped\r\ndata: 1\ndata: 2\r\n\r\ndata:x\n\n`;
  const events = [
    { name: "denial", data: '{"a":1}' },
    { name: "dropped", data: "1\n2" },
    { name: "message", data: "x" },
  ];

  test("are the same however the text is cut", () => {
    for (let length = 1; length <= stream.length; length++) {
      const read = createEventReader();
      const pieces = stream.match(new RegExp(`[^]{1,${length}}`, "g")) ?? [];
      expect(pieces.flatMap((piece) => read(piece))).toEqual(events);
    }
  });

  test("are not waited for without end", () => {
    const read = createEventReader();
    expect(() => {
      for (let i = 0; i < 100; i++) read("x".repeat(20_000));
    }).toThrow("no end");
  });
});

describe("a denial", () => {
  const { record, denial } = recordOf({
    host: "x.dl.example",
    protocol: "http",
    method: "GET",
    port: 8080,
    path: "/A?b",
  });

  test("is told as it was asked for", () => {
    expect(askedText(denial)).toBe("GET http://x.dl.example:8080/A?b");
    expect(askedText(recordOf({ host: "x.example", protocol: "connect", port: 443, method: "CONNECT" }).denial)).toBe(
      "CONNECT x.example:443",
    );
    expect(askedText(recordOf({ host: "", method: "" }).denial)).toBe("a request that could not be read");
    expect(new URLSearchParams(trialQuery(denial)).get("request")).toBe("GET http://x.dl.example:8080/A?b");
  });

  test.each(["", "DL.example", "dl get", "x.dl.example:8080", "/a?b", "enforce deny", "would", "nowhere", "10.20."])(
    "is found by the search %s where the API finds it",
    (search) => {
      const byApi = search === "" || matchesSearch(record, search);
      expect(matches(denial, { ...all, search })).toBe(byApi);
    },
  );

  test("has a key of its whole cause", () => {
    const changes = [
      { host: "y.example" },
      { port: 1 },
      { sni: "z.example" },
      { reason: "no_rule" as const },
      { group: "g" },
    ];
    const keys = changes.map((change) => keyOf(recordOf({ id: "AAAAA-AAAAA", ...change }).denial));
    expect(new Set(keys).size).toBe(changes.length);
  });

  test("that is none is not shown", () => {
    expect([parseDenial("{"), parseDenial("null"), parseDenial('{"host":"x"}')]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe("metrics", () => {
  test("are read out of what the registry says", async () => {
    const metrics = createMetrics({ version: "1.2.3", nodeVersion: "v20" });
    metrics.policyLoaded({ hash: "0123456789abcdef", rules: 3, atMs: 5_000 });
    metrics.tunnelOpened();
    metrics.reload("success");
    const before = readMetrics(await metrics.render(), 1_000);
    expect(before).toMatchObject({
      version: "1.2.3",
      hash: "0123456789abcdef",
      loadedAtMs: 5_000,
      lastReloadWorked: true,
      tunnels: 1,
      decided: 0,
    });
    expect(before.reloads.get("success")).toBe(1);
    const after = readMetrics(
      [
        'sallyport_decisions_total{verdict="allow",reason="allowed",mode="enforce"} 6',
        'sallyport_decisions_total{verdict="deny",reason="no_rule",mode="enforce"} 3',
        'sallyport_decisions_total{verdict="allow",reason="no_rule",mode="report"} 1',
        'sallyport_transferred_bytes_total{direction="up",scheme="http"} 10',
        'sallyport_transferred_bytes_total{direction="down",scheme="http"} 4e3',
        'sallyport_transferred_bytes_total{direction="down",scheme="https"} 2000',
      ].join("\n"),
      3_000,
    );
    expect(ratesBetween(before, after)).toEqual({ decided: 5, denied: 1.5, would: 0.5, bytesUp: 5, bytesDown: 3000 });
    expect(ratesBetween(after, before)).toBeUndefined();
    expect(ratesBetween(after, { ...before, atMs: 9_000 })).toBeUndefined();
  });
});

describe("values for people", () => {
  test.each([
    ["a\u0000b", "a\\u{0}b"],
    ["\u202egpj.exe", "\\u{202e}gpj.exe"],
    ["zero\u200bwidth\ufeff", "zero\\u{200b}width\\u{feff}"],
    ["lone \ud800", "lone \\u{d800}"],
    ["\u{e0041}tag", "\\u{e0041}tag"],
    ["two\nlines, <b>, é, 日本, 🙂", "two\nlines, <b>, é, 日本, 🙂"],
  ])("%j has nothing that cannot be seen", (text, told) => {
    expect(shown(text)).toBe(told);
  });

  test("are short", () => {
    expect([0, 999, 999.7, 1234, 56_789, 1e9, 1e15].map(bytesText)).toEqual([
      "0 B",
      "999 B",
      "1.0 kB",
      "1.2 kB",
      "57 kB",
      "1.0 GB",
      "1000 TB",
    ]);
    expect([0, 0.25, 3, 12.4, 3100].map(countText)).toEqual(["0", "0.3", "3", "12", "3.1 k"]);
    expect([-5, 1_400, 5_000, 65_000, 7_200_000, 2e8].map(agoText)).toEqual([
      "now",
      "now",
      "5 s ago",
      "1 min ago",
      "2 h ago",
      "2 d ago",
    ]);
  });
});
