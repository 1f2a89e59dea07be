import { expect, test } from "vitest";
import { denialId } from "../../../src/record/denial-id.ts";
import { sightingOf } from "../../../src/record/denial-sighting.ts";
import { createDenials } from "../../../src/record/denials.ts";
import { createMetrics } from "../../../src/record/metrics.ts";
import { collectGarbage } from "../../support/collect-garbage.ts";
import { exchangeWith } from "../../support/exchange.ts";

const exchanges = 1_000_000;
const slots = 20;
const capacity = 1024;

test("a million random hosts, server names, clients and methods add no series, and the ring keeps its bound", async () => {
  const metrics = createMetrics({ version: "1", nodeVersion: "20" });
  let nowMs = 0;
  const denials = createDenials({ topSlots: slots, capacity, now: () => nowMs });
  metrics.setTopDenials(denials.topSlots);
  metrics.setGroups(["servers"]);
  metrics.setRules(["site/a"]);
  const seriesOf = (text: string): string[] =>
    text
      .split("\n")
      .filter((line) => line.startsWith("sallyport_") && !line.startsWith("sallyport_top_denials"))
      .map((line) => line.slice(0, line.lastIndexOf(" ")));
  const before = seriesOf(await metrics.render());
  const random = (n: number): string => Math.floor(Math.random() * n).toString(36);
  const heapBefore = heap();
  const startedAt = performance.now();
  for (let i = 0; i < exchanges; i++) {
    // Two hours, so that slices of the window come and go.
    nowMs = i * 7;
    const [host, sni, reason] = [`${random(1e9)}.example`, `${random(1e9)}.example`, "no_rule"] as const;
    // A digest for each is what takes the time here: one in ten has its own.
    const denial =
      i % 10 === 0 ? denialId({ host, port: 443, protocol: "connect", sni, reason, group: "_none" }) : `I${i}`;
    const exchange = exchangeWith({
      kind: i % 2 === 0 ? "connect" : "http",
      host,
      sni,
      reason,
      denial,
      path: `/${random(1e9)}`,
      method: random(1e9).toUpperCase(),
      clientAddress: `10.${i % 7}.${i % 251}.${i % 241}`,
      group: i % 3 === 0 ? "servers" : random(1e9),
      rule: random(1e9),
      verdict: i % 4 === 0 ? "allow" : "deny",
      would: i % 4 === 0,
      mode: i % 4 === 0 ? "report" : "enforce",
      status: i % 1000,
    });
    metrics.recordDecision(exchange);
    metrics.recordEnd(exchange);
    const sighting = sightingOf(exchange, nowMs);
    if (sighting !== undefined) denials.add(sighting);
    // A scrape a minute.
    if (i % 8571 === 0) denials.topSlots();
  }
  const tookMs = performance.now() - startedAt;
  const scrapedAt = performance.now();
  const text = await metrics.render();
  const scrapeMs = performance.now() - scrapedAt;
  const grown = (heap() - heapBefore) / 1024 / 1024;
  console.log(
    `${exchanges} denials in ${Math.round(tookMs)} ms, /metrics in ${scrapeMs.toFixed(1)} ms, heap ${grown.toFixed(1)} MiB larger`,
  );
  expect(seriesOf(text)).toEqual(before);
  expect(text.match(/^sallyport_top_denials\{/gm)?.length).toBe(slots);
  expect(denials.size()).toBe(capacity);
  expect(grown).toBeLessThan(8);
}, 120_000);

/** What is alive, in bytes. */
function heap(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}
