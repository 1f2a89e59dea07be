import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { maxClients } from "../../../src/record/denial-ring.ts";
import { sightingOf } from "../../../src/record/denial-sighting.ts";
import { type Denials, type DenialsOptions, createDenials } from "../../../src/record/denials.ts";
import { createSpaceSaving } from "../../../src/record/space-saving.ts";
import { exchangeWith, tunnelWith } from "../../support/exchange.ts";
import { sightingWith } from "../../support/sighting.ts";

const minute = 60_000;

function create(options: Partial<DenialsOptions> = {}): Denials & { readonly at: (ms: number) => void } {
  let nowMs = 0;
  const denials = createDenials({ topSlots: 2, now: () => nowMs, ...options });
  return { ...denials, at: (ms) => void (nowMs = ms) };
}

const hosts = (denials: Denials): string[] => [...denials.records()].map(({ last }) => last.host);

describe("a sighting", () => {
  test("is made of a denial, and of what report mode let pass", () => {
    const denied = tunnelWith({ verdict: "deny", reason: "sni_mismatch", denial: "AAAAA-BBBBB", stage: "tunnel" });
    const passed = exchangeWith({ reason: "no_rule", would: true, mode: "report", denial: "AAAAA-CCCCC" });
    expect([sightingOf(denied, 5), sightingOf(passed, 6)]).toMatchObject([
      { id: "AAAAA-BBBBB", atMs: 5, would: false, mode: "enforce", sni: "fe2.update.microsoft.com", path: "" },
      { id: "AAAAA-CCCCC", atMs: 6, would: true, mode: "report", path: "/x.cab" },
    ]);
  });

  test("is made of nothing else", () => {
    expect(sightingOf(exchangeWith(), 0)).toBeUndefined();
  });

  test("is bounded in every text that a client chooses", () => {
    const long = "x".repeat(100_000);
    const exchange = exchangeWith({
      verdict: "deny",
      reason: "no_rule",
      denial: "A",
      host: long,
      path: long,
      sni: long,
      range: long,
      method: long,
    });
    expect(JSON.stringify(sightingOf(exchange, 0)).length).toBeLessThan(4_000);
  });

  test("goes through JSON, as between processes, without a loss", () => {
    const seen = sightingWith({ sni: "a.example", range: "bytes=0-1" });
    const [first, second] = [create(), create()];
    first.add(seen);
    second.add(JSON.parse(JSON.stringify(seen)) as typeof seen);
    second.add(seen);
    expect([...second.records()].map(({ count }) => count)).toEqual([2]);
    expect([...first.records()][0]?.last).toEqual(seen);
  });
});

describe("the ring", () => {
  test("counts a cause, with its first and last time, its clients and its last request", () => {
    const denials = create();
    denials.add(sightingWith({ atMs: 10, client: "10.0.0.1" }));
    denials.add(sightingWith({ atMs: 20, client: "10.0.0.2", would: true, path: "/later" }));
    denials.add(sightingWith({ atMs: 30, client: "10.0.0.1" }));
    const [record, ...others] = denials.records();
    expect(others).toEqual([]);
    expect(record).toMatchObject({
      count: 3,
      wouldCount: 1,
      firstSeenMs: 10,
      last: { atMs: 30, path: "" },
      otherClients: 0,
    });
    expect([...(record?.clients ?? [])]).toEqual([
      ["10.0.0.1", 2],
      ["10.0.0.2", 1],
    ]);
  });

  test("shows two causes that share an id", () => {
    const denials = create();
    denials.add(sightingWith({ host: "a.example" }));
    denials.add(sightingWith({ host: "b.example" }));
    expect(denials.find("TTJNQ-1CQ9M").map(({ last }) => last.host)).toEqual(["b.example", "a.example"]);
  });

  test.each([
    ["host", { host: "other.example" }],
    ["port", { port: 444 }],
    ["protocol", { protocol: "http" }],
    ["server name", { sni: "a.example" }],
    ["reason", { reason: "port_mismatch" }],
    ["group", { group: "servers" }],
  ] as const)("parts causes by %s", (_, change) => {
    const denials = create();
    denials.add(sightingWith());
    denials.add(sightingWith(change));
    expect(denials.size()).toBe(2);
  });

  test("puts out the cause that was not seen for the longest time", () => {
    const denials = create({ capacity: 3, maxOfClient: 3 });
    for (const host of ["a", "b", "c", "a", "d"]) denials.add(sightingWith({ host }));
    expect(hosts(denials)).toEqual(["d", "a", "c"]);
  });

  test("lets no client bring in more than an eighth, and none push out what others did", () => {
    const denials = create({ capacity: 64 });
    for (let i = 0; i < 8; i++) denials.add(sightingWith({ host: `honest${i}`, client: "10.0.0.9" }));
    for (let i = 0; i < 10_000; i++) denials.add(sightingWith({ host: `flood${i}`, client: "10.6.6.6" }));
    const kept = hosts(denials);
    expect(kept.filter((host) => host.startsWith("flood"))).toEqual(
      Array.from({ length: 8 }, (_, i) => `flood${9_999 - i}`),
    );
    expect(kept.filter((host) => host.startsWith("honest"))).toHaveLength(8);
  });

  test("keeps what its owner still sees, and gives up what it does not", () => {
    const denials = create({ capacity: 16 });
    for (const host of ["a", "b", "a", "c"]) denials.add(sightingWith({ host }));
    expect(hosts(denials)).toEqual(["c", "a"]);
  });

  test("names the first clients only, and counts the others", () => {
    const denials = create();
    for (let i = 0; i < maxClients + 5; i++) denials.add(sightingWith({ client: `10.0.1.${i}` }));
    const [record] = denials.records();
    expect([record?.clients.size, record?.otherClients, record?.count]).toEqual([maxClients, 5, maxClients + 5]);
  });

  test("tells whoever listens, until they no longer do", () => {
    const denials = create();
    const seen: string[] = [];
    const end = denials.subscribe(({ last, count }) => seen.push(`${last.host} ${count}`));
    for (const host of ["a", "a"]) denials.add(sightingWith({ host }));
    end();
    denials.add(sightingWith({ host: "b" }));
    expect(seen).toEqual(["a 1", "a 2"]);
  });
});

describe("the most frequent", () => {
  test("are found among any others, and their error is bounded (Metwally et al., theorem 2)", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 400 }), fc.integer({ min: 1, max: 12 }), (names, capacity) => {
        const sketch = createSpaceSaving(capacity);
        const truth = new Map<string, number>();
        for (const number of names) {
          sketch.add(String(number));
          truth.set(String(number), (truth.get(String(number)) ?? 0) + 1);
        }
        const entries = new Map(sketch.entries());
        expect(entries.size).toBeLessThanOrEqual(capacity);
        for (const [name, { count, error }] of entries) {
          const times = truth.get(name) ?? 0;
          expect(count - error).toBeLessThanOrEqual(times);
          expect(count).toBeGreaterThanOrEqual(times);
          expect(error).toBeLessThanOrEqual(names.length / capacity);
        }
        for (const [name, times] of truth) if (times > names.length / capacity) expect(entries.has(name)).toBe(true);
      }),
    );
  });

  test("are told by host, group, rule and reason", () => {
    const denials = create();
    for (const host of ["a", "b", "a"]) denials.add(sightingWith({ host, group: `of-${host}`, rule: undefined }));
    expect(denials.top("host", 1)).toEqual([{ name: "a", count: 2, error: 0 }]);
    expect(denials.top("group", 9).map(({ name }) => name)).toEqual(["of-a", "of-b"]);
    expect(denials.top("rule", 9)).toEqual([{ name: "_none", count: 3, error: 0 }]);
    expect(denials.top("reason", 9)).toEqual([{ name: "scheme_mismatch", count: 3, error: 0 }]);
  });

  test("are forgotten after an hour", () => {
    const denials = create();
    denials.add(sightingWith({ host: "early" }));
    denials.at(30 * minute);
    denials.add(sightingWith({ host: "later" }));
    expect(denials.top("host", 9).map(({ name }) => name)).toEqual(["early", "later"]);
    denials.at(60 * minute);
    expect(denials.top("host", 9).map(({ name }) => name)).toEqual(["later"]);
    denials.at(95 * minute);
    expect(denials.top("host", 9)).toEqual([]);
  });

  test("stand out of a flood of names that are seen once", () => {
    const denials = create();
    for (let i = 0; i < 20_000; i++) {
      denials.add(sightingWith({ host: `random${i}`, id: `R${i}` }));
      if (i % 50 === 0) denials.add(sightingWith({ host: "agent", id: "AGENT" }));
    }
    expect(denials.top("host", 1)[0]?.name).toBe("agent");
    expect(denials.topSlots()[0]?.host).toBe("agent");
  });
});

describe("slots of the metric", () => {
  const named = (denials: Denials): string[] => denials.topSlots().map(({ host, count }) => `${host} ${count}`);

  test("are as many as were asked for, the most frequent first", () => {
    const denials = create();
    for (const host of ["a", "b", "b", "c", "c", "c"]) denials.add(sightingWith({ host, id: host }));
    expect(named(denials)).toEqual(["c 3", "b 2"]);
  });

  test("keep their holder for five minutes, whoever is denied more in the meantime", () => {
    const denials = create();
    for (const host of ["a", "b"]) denials.add(sightingWith({ host, id: host }));
    expect(named(denials)).toEqual(["a 1", "b 1"]);
    for (const host of ["c", "c", "d", "d"]) denials.add(sightingWith({ host, id: host }));
    denials.at(5 * minute - 1);
    expect(named(denials)).toEqual(["a 1", "b 1"]);
    denials.at(5 * minute);
    expect(named(denials)).toEqual(["c 2", "d 2"]);
  });

  test("keep a holder that still ranks for as long as it does", () => {
    const denials = create();
    for (const host of ["a", "a", "a", "b"]) denials.add(sightingWith({ host, id: host }));
    denials.topSlots();
    denials.at(6 * minute);
    for (const host of ["c", "c"]) denials.add(sightingWith({ host, id: host }));
    expect(named(denials)).toEqual(["a 3", "c 2"]);
  });

  test("show a holder that is denied no more at 0, and then nobody", () => {
    const denials = create();
    denials.at(58 * minute);
    denials.add(sightingWith({ host: "a" }));
    denials.at(118 * minute);
    expect(named(denials)).toEqual([]);
    denials.add(sightingWith({ host: "b" }));
    expect(named(denials)).toEqual(["b 1"]);
  });

  test("name nobody where there is none", () => {
    const denials = create({ topSlots: 0 });
    denials.add(sightingWith());
    expect(denials.topSlots()).toEqual([]);
  });
});
