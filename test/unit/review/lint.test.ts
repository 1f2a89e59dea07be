import { describe, expect, test } from "vitest";
import { compileRuleset } from "../../../src/policy/compile.ts";
import type { FindingKind } from "../../../src/review/finding.ts";
import { type Lint, lintRuleset } from "../../../src/review/lint.ts";
import { coverageOf } from "../../../src/review/lint-rules.ts";
import type { PolicyFile, Rule } from "../../../src/policy/rule.ts";
import { type GroupWords, deny, packFile, patternsOf, policySet, rule, siteFile } from "../../support/policy.ts";

const now = Date.UTC(2026, 10, 21, 12);
const day = 24 * 3600 * 1000;
const midnight = Date.UTC(2026, 10, 22);

function lint(
  files: readonly PolicyFile[],
  groups: readonly GroupWords[] = [],
  listenerGroups: readonly string[] = [],
): Lint {
  const set = policySet(files, groups);
  return lintRuleset(set, compileRuleset(set), new Set(listenerGroups), now);
}

/** `kind rule message`, of one site file. */
function warningsOf(rules: readonly Rule[], ...packs: readonly PolicyFile[]): string[] {
  return lint(
    [siteFile(rules), ...packs],
    [
      { name: "servers", perClient: 1 },
      { name: "kiosks", perClient: 1 },
    ],
  ).findings.map(({ kind, rule: id, message }) => `${kind} ${id}: ${message}`);
}

/** `rule kind other: patterns (about)`. */
function meetingsOf(rules: readonly Rule[], ...packs: readonly PolicyFile[]): string[] {
  const { meetings } = lint([siteFile(rules), ...packs], [{ name: "servers" }, { name: "kiosks" }]);
  return meetings.map((meeting) => {
    const about = meeting.about.length === 0 ? "" : ` (${meeting.about.join(", ")})`;
    return `${meeting.rule.fullId} ${meeting.kind} ${meeting.other.fullId}: ${meeting.patterns.join(", ")}${about}`;
  });
}

const a = rule({ id: "a", hosts: ["www.a.example"], expect: ["https"] });

describe("one site file gets", () => {
  const cases: Readonly<Record<string, readonly [rules: readonly Rule[], warnings: readonly string[]]>> = {
    "no warning for rules that have nothing in common": [
      [a, rule({ id: "b", hosts: ["*.x.b.example"], expect: ["https"] }), deny({ id: "c", hosts: ["*.c.example"] })],
      [],
    ],
    "a rule that repeats another": [
      [a, { ...a, id: "again" }],
      [
        "shadowed site/again: is shadowed and never decides: site/a comes first with www.a.example and the same endpoints",
      ],
    ],
    "a rule that differs from an earlier one in its conditions": [
      [a, rule({ id: "b", hosts: ["www.a.example"], expect: ["https"], tlsMin: 0x0304 })],
      ["shadowed site/b: is shadowed and never decides: site/a comes first with www.a.example and the same endpoints"],
    ],
    "no warning for the same pattern with other endpoints": [
      [a, rule({ id: "b", hosts: ["www.a.example"], expect: ["http", "https:8443"] })],
      [],
    ],
    "a rule of which an earlier one takes an endpoint, in another way": [
      [a, rule({ id: "b", hosts: ["www.a.example"], expect: ["http", "https"], tlsMin: 0x0304 })],
      [
        "overridden site/b: is overridden at www.a.example: site/a comes first with the same pattern and decides https:443",
      ],
    ],
    "a rule of which an earlier one has some hosts": [
      [a, rule({ id: "b", hosts: ["www.a.example", "www.b.example"], expect: ["https"] })],
      [
        "overridden site/b: is overridden at www.a.example: site/a comes first with www.a.example and the same endpoints",
      ],
    ],
    "an allow beside a deny with the same pattern, in whatever order": [
      [a, deny({ id: "no-a", hosts: ["www.a.example"] })],
      ["shadowed site/a: is shadowed and never decides: site/no-a denies www.a.example"],
    ],
    "no warning for a deny that only reports": [
      [a, deny({ id: "no-a", hosts: ["www.a.example"], mode: "report" })],
      [],
    ],
    "a narrower rule that says the same": [
      [
        rule({ id: "wide", hosts: ["*.x.a.example"], expect: ["https"] }),
        rule({ id: "one", hosts: ["www.x.a.example"], expect: ["https"] }),
      ],
      ["redundant site/one: is redundant: without it site/wide decides the same for www.x.a.example"],
    ],
    "a host that the rule's own wildcard covers": [
      [rule({ id: "wide", hosts: ["*.x.a.example", "www.x.a.example"], expect: ["https"] })],
      ["redundant site/wide: has redundant entries: without www.x.a.example its own broader pattern decides the same"],
    ],
    "no redundancy where a rule between would decide otherwise": [
      [
        rule({ id: "wide", hosts: ["*.x.a.example"], expect: ["https"] }),
        rule({ id: "between", hosts: ["*.y.x.a.example"], expect: ["https", "http"] }),
        rule({ id: "one", hosts: ["www.y.x.a.example"], expect: ["https"] }),
      ],
      [
        "takes_away site/one: takes decisions away: *.y.x.a.example of site/between no longer decides www.y.x.a.example; lost there: http:80",
      ],
    ],
    "a narrower rule that loses an endpoint": [
      [
        rule({ id: "wide", hosts: ["*.do.dsp.a.example"], expect: ["https"] }),
        rule({ id: "narrow", hosts: ["*.prod.do.dsp.a.example", "x.do.dsp.a.example"], expect: ["http"] }),
      ],
      [
        "takes_away site/narrow: takes decisions away: *.do.dsp.a.example of site/wide no longer decides *.prod.do.dsp.a.example, x.do.dsp.a.example; lost there: https:443",
      ],
    ],
    "a narrower rule that loses a condition": [
      [
        rule({
          id: "wide",
          hosts: ["*.x.a.example"],
          expect: ["http"],
          range: "allow",
          methods: ["GET", "PUT"],
          websocket: "allow",
        }),
        rule({ id: "narrow", hosts: ["cdn.x.a.example"], expect: ["http"], methods: ["GET"], paths: ["/p/**"] }),
      ],
      [
        "takes_away site/narrow: takes decisions away: *.x.a.example of site/wide no longer decides cdn.x.a.example; lost there: range: allow, PUT, some of the paths, websocket: allow",
      ],
    ],
    "no warning for a narrower rule that only opens more": [
      [
        rule({ id: "wide", hosts: ["*.x.a.example"], expect: ["https"] }),
        rule({ id: "narrow", hosts: ["cdn.x.a.example"], expect: ["https", "http"] }),
      ],
      [],
    ],
    "no warning for a deny inside of an allow, and an allow inside of a deny": [
      [
        rule({ id: "wide", hosts: ["*.x.a.example"], expect: ["https"] }),
        deny({ id: "not-y", hosts: ["*.y.x.a.example"] }),
        rule({ id: "but-z", hosts: ["z.y.x.a.example"], expect: ["https"] }),
      ],
      [],
    ],
    "no warning for rules of different groups": [
      [
        rule({ id: "wide", hosts: ["*.x.a.example"], expect: ["https"], clients: ["servers"] }),
        rule({ id: "narrow", hosts: ["cdn.x.a.example"], expect: ["http"], clients: ["kiosks"] }),
        rule({ id: "same", hosts: ["cdn.x.a.example"], expect: ["http"], clients: ["servers"], range: "allow" }),
      ],
      [
        "takes_away site/same: takes decisions away: *.x.a.example of site/wide no longer decides cdn.x.a.example; lost there: https:443",
      ],
    ],
    "no shadow of a rule that lives longer": [
      [
        rule({ id: "short", hosts: ["www.a.example"], expect: ["https"], expiresAt: midnight + 100 * day }),
        rule({ id: "long", hosts: ["www.a.example"], expect: ["https"] }),
      ],
      [],
    ],
    "tcp where another rule expects https": [
      [a, rule({ id: "raw", hosts: ["www.a.example"], expect: ["tcp:443", "tcp:8080"] })],
      [
        "overridden site/raw: is overridden at www.a.example: site/a comes first with the same pattern and decides tcp:443",
        "tcp_beside_https site/raw: expects tcp where site/a expects https, at www.a.example on one port: site/a comes first, so TLS is judged there",
      ],
    ],
    "https where another rule expects tcp": [
      [
        rule({ id: "raw", hosts: ["www.a.example"], expect: ["tcp:443"] }),
        rule({ id: "tls", hosts: ["www.a.example"], expect: ["https", "http"] }),
      ],
      [
        "overridden site/tls: is overridden at www.a.example: site/raw comes first with the same pattern and decides https:443",
        "tcp_beside_https site/tls: expects https where site/raw expects tcp, at www.a.example on one port: site/raw comes first, so nothing judges the TLS there",
      ],
    ],
    "a smaller block inside a larger one": [
      [
        rule({ id: "block", addresses: ["192.0.2.0/24"], expect: ["https", "http"] }),
        rule({ id: "one", addresses: ["192.0.2.10/32"], expect: ["https"] }),
        rule({ id: "other", addresses: ["192.0.2.11/32"], expect: ["https", "http"] }),
      ],
      [
        "redundant site/other: is redundant: without it site/block decides the same for 192.0.2.11/32",
        "takes_away site/one: takes decisions away: 192.0.2.0/24 of site/block no longer decides 192.0.2.10/32; lost there: http:80",
      ],
    ],
    "a glob inside a suffix, and a name inside a glob": [
      [
        rule({ id: "wide", hosts: ["*.x.a.example"], expect: ["https"] }),
        rule({ id: "glob", hosts: ["glob:kv*.x.a.example"], expect: ["http"] }),
        rule({ id: "name", hosts: ["kv1.x.a.example"], expect: ["http"] }),
      ],
      [
        "redundant site/name: is redundant: without it site/glob decides the same for kv1.x.a.example",
        "takes_away site/glob: takes decisions away: *.x.a.example of site/wide no longer decides glob:kv*.x.a.example; lost there: https:443",
      ],
    ],
    "an expired rule, and rules about to expire": [
      [
        rule({ id: "gone", hosts: ["a.example.com"], expect: ["https"], expiresAt: midnight - day }),
        rule({ id: "today", hosts: ["b.example.com"], expect: ["https"], expiresAt: midnight }),
        rule({ id: "soon", hosts: ["c.example.com"], expect: ["https"], expiresAt: midnight + 13 * day }),
        rule({ id: "later", hosts: ["d.example.com"], expect: ["https"], expiresAt: midnight + 15 * day }),
      ],
      [
        "expired site/gone: has expired: it does not exist since the end of 2026-11-20 (UTC)",
        "expiring site/today: is expiring in less than a day: its last day is 2026-11-21 (UTC)",
        "expiring site/soon: is expiring in 13 days: its last day is 2026-12-04 (UTC)",
      ],
    ],
    "wildcards and blocks that are broad": [
      [
        rule({
          id: "domain",
          hosts: ["*.example.com", "glob:**.example.org", "*.corp", "www.example.net"],
          expect: ["https"],
        }),
        rule({ id: "rented", hosts: ["*.cloudfront.net"], expect: ["https"], sharedSuffix: true }),
        rule({ id: "blocks", addresses: ["8.0.0.0/8", "10.0.0.0/9", "2000::/3"], expect: ["https"] }),
        rule({ id: "floor", hosts: ["a.b.example"], expect: ["https"], resolvesTo: ["0.0.0.0/0", "127.0.0.0/8"] }),
        deny({ id: "no-domain", hosts: ["*.example.edu"] }),
      ],
      [
        "broad site/domain: is broad: *.example.com, glob:**.example.org cover whole registered domains",
        "broad site/rented: is broad: *.cloudfront.net covers names under cloudfront.net, where anyone can rent one",
        "broad site/blocks: is broad: 8.0.0.0/8, 2000::/3 hold millions of addresses of many owners",
        "broad site/floor: is broad: resolves_to 0.0.0.0/0 admits loopback, and with it the proxy's own machine",
      ],
    ],
  };
  test.each(Object.entries(cases))("%s", (_, [rules, warnings]) => {
    expect(warningsOf(rules)).toEqual(warnings);
  });
});

describe("a site file beside packs gets", () => {
  const packRule = rule({ id: "p", hosts: ["*.x.a.example"], expect: ["http", "https"], range: "allow" });
  const cases: Readonly<
    Record<string, readonly [rules: readonly Rule[], packs: readonly PolicyFile[], warnings: readonly string[]]>
  > = {
    "a rule that a pack has as well": [
      [{ ...packRule, id: "mine" }],
      [packFile([packRule])],
      ["redundant site/mine: is redundant: without it pack/p decides the same for *.x.a.example"],
    ],
    "a rule that decides otherwise than a pack": [
      [rule({ id: "mine", hosts: ["*.x.a.example"], expect: ["http"], range: "strip" })],
      [packFile([packRule])],
      ["overridden site/mine: overrides pack/p at *.x.a.example: http:80 is decided here, in another way"],
    ],
    "a narrower rule that takes from a pack": [
      [rule({ id: "mine", hosts: ["cdn.x.a.example"], expect: ["https"] })],
      [packFile([packRule])],
      [
        "takes_away site/mine: takes decisions away: *.x.a.example of pack/p no longer decides cdn.x.a.example; lost there: http:80",
      ],
    ],
    "one line for all rows of a pack inside its own broad rule": [
      [rule({ id: "mine", hosts: ["*.y.a.example"], expect: ["https"] })],
      [
        packFile([
          rule({ id: "p", hosts: ["a.y.a.example", "b.y.a.example"], expect: ["http"] }),
          rule({ id: "q", hosts: ["c.y.a.example"], expect: ["http"] }),
        ]),
      ],
      [
        "takes_away site/mine: loses decisions to the narrower rules of pack: *.y.a.example no longer decides a.y.a.example, b.y.a.example, c.y.a.example; lost there: https:443",
      ],
    ],
    "its deny told where it hides rules of packs whole": [
      [deny({ id: "none", hosts: ["*.a.example"] })],
      [packFile([packRule, rule({ id: "q", hosts: ["q.a.example", "q.b.example"], expect: ["http"] })])],
      ["shadowed site/none: denies all of pack/p, which is shadowed and never decides"],
    ],
    "nothing of what packs do to each other and to themselves": [
      [a],
      [
        packFile([packRule, rule({ id: "q", hosts: ["q.x.a.example"], expect: ["http"] })]),
        packFile([{ ...packRule, range: "deny" }, rule({ id: "wide", hosts: ["*.example.com"], expect: ["https"] })], {
          name: "second",
        }),
      ],
      [],
    ],
    "nothing of a rule that every use leaves out": [
      [deny({ id: "none", hosts: ["*.a.example"] })],
      [packFile([packRule], { uses: [{ without: new Set(["p"]) }] })],
      [],
    ],
  };
  test.each(Object.entries(cases))("%s", (_, [rules, packs, warnings]) => {
    expect(warningsOf(rules, ...packs)).toEqual(warnings);
  });
});

describe("a pack alone", () => {
  test("may repeat rows of its vendor's table, and cover its vendor's domain", () => {
    const pack = packFile([
      rule({ id: "wide", hosts: ["*.example.com"], expect: ["https"] }),
      rule({ id: "row", hosts: ["cdn.example.com"], expect: ["https"] }),
      rule({ id: "http", hosts: ["*.dl.example.com"], expect: ["http"] }),
    ]);
    expect(lint([pack]).findings).toEqual([]);
  });

  test("is told of rules that never decide", () => {
    const row = rule({ id: "row", hosts: ["cdn.example.com"], expect: ["https"] });
    expect(lint([packFile([row, { ...row, id: "again" }])]).findings.map(({ kind }) => kind)).toEqual(["shadowed"]);
  });
});

describe("where rules meet", () => {
  test.each<readonly [sentence: string, rules: readonly Rule[], packs: readonly PolicyFile[], met: readonly string[]]>([
    [
      "a rule overrides an endpoint of a later one and leaves open the rest",
      [a],
      [packFile([rule({ id: "p", hosts: ["www.a.example"], expect: ["http", "https"], tlsMin: 0x0304 })])],
      ["site/a overrides pack/p: www.a.example (https:443)", "site/a leaves_open pack/p: www.a.example (http:80)"],
    ],
    [
      "a rule shadows an equal one",
      [a, { ...a, id: "again" }],
      [],
      ["site/a shadows site/again: www.a.example (https:443)"],
    ],
    [
      "a deny leaves open what its own file allows below it, and shadows what packs allow",
      [deny({ id: "none", hosts: ["*.a.example"] }), a],
      [packFile([rule({ id: "p", hosts: ["p.a.example"], expect: ["http"] })])],
      ["site/none leaves_open site/a: www.a.example (https:443)", "site/none shadows pack/p: p.a.example"],
    ],
    [
      "a narrower rule overrides the nearest broader one only",
      [
        rule({ id: "one", hosts: ["*.one.a.example"], expect: ["https"] }),
        rule({ id: "two", hosts: ["*.two.one.a.example"], expect: ["http"] }),
        rule({ id: "three", hosts: ["three.two.one.a.example", "four.two.one.a.example"], expect: ["https"] }),
      ],
      [],
      [
        "site/two overrides site/one: *.two.one.a.example (https:443)",
        "site/three overrides site/two: three.two.one.a.example, four.two.one.a.example (http:80)",
      ],
    ],
  ])("%s", (_, rules, packs, met) => {
    expect(meetingsOf(rules, ...packs)).toEqual(met);
  });
});

describe("groups", () => {
  const unused = (
    files: readonly PolicyFile[],
    groups: readonly GroupWords[],
    listenerGroups: readonly string[] = [],
  ): string[] =>
    lint(files, groups, listenerGroups).findings.flatMap(({ kind, offending }) =>
      kind === "unused_group" ? [offending] : [],
    );

  test("that no rule, use or listener names, and that set nothing, are unused", () => {
    const files = [
      siteFile([{ ...a, clients: ["by-rule"] }]),
      packFile([rule({ id: "p", hosts: ["p.example"], expect: ["http"] })], { uses: [{ clients: ["by-use"] }] }),
    ];
    const names = ["by-rule", "by-use", "by-listener", "idle"].map((name) => ({ name }));
    const groups: GroupWords[] = [...names, { name: "limited", perClient: 5 }, { name: "watched", mode: "report" }];
    expect(unused(files, groups, ["by-listener"])).toEqual(["idle"]);
  });
});

describe("coverage", () => {
  test.each<readonly [pattern: string, covers: string | undefined]>([
    ["www.example.com", undefined],
    ["*.example.com", "example.com and every name below it, at any depth"],
    ["glob:*cc.centrastage.net", "names of 3 labels, like abccc.centrastage.net"],
    ["glob:a?.**.example.com", "names of 3 or more labels, like ax.example.com"],
  ])("of %s is told in words", (text, covers) => {
    const [pattern] = patternsOf(text);
    expect(coverageOf(pattern!)).toBe(covers);
  });

  test("is listed for each wildcard of each rule that exists", () => {
    const { wildcards } = lint([
      siteFile([
        rule({ id: "x", hosts: ["*.b.example.com", "b.c.example"], expect: ["https"] }),
        { ...a, expiresAt: 0 },
      ]),
    ]);
    expect(wildcards.map(({ rule: { fullId }, text }) => [fullId, text])).toEqual([["site/x", "*.b.example.com"]]);
  });
});

describe("many rules", () => {
  const count = 20_000;
  const big: Readonly<Record<string, readonly Rule[]>> = {
    "names inside one wildcard": [
      rule({ id: "wide", hosts: ["*.x.example.com"], expect: ["https", "http"] }),
      ...Array.from({ length: count }, (_, i) =>
        rule({ id: `r-${i}`, hosts: [`n${i}.x.example.com`], expect: ["https"] }),
      ),
    ],
    "rules with one pattern": Array.from({ length: count }, (_, i) =>
      rule({ id: `r-${i}`, hosts: ["*.x.example.com"], expect: [`https:${1 + (i % 60_000)}`] }),
    ),
    "rules with one pattern around as many names": Array.from({ length: count }, (_, i) => {
      return rule({ id: `r-${i}`, hosts: ["*.x.example.com", `n${i}.x.example.com`], expect: ["https"] });
    }),
    "globs that end in one name": Array.from({ length: 2000 }, (_, i) =>
      rule({ id: `r-${i}`, hosts: [`glob:n${i}*.x.example.com`], expect: ["https"] }),
    ),
  };
  test.each(Object.entries(big))("%s are looked at in linear time", (_, rules) => {
    const started = performance.now();
    const { findings } = lint([siteFile(rules)]);
    // Quadratic, this is 400 million comparisons: minutes.
    expect(performance.now() - started).toBeLessThan(10_000);
    const kinds = new Set<FindingKind>(["takes_away", "shadowed", "overridden", "crowded", "redundant"]);
    expect(findings.every(({ kind }) => kinds.has(kind))).toBe(true);
  });

  test("of globs that end in one name one warning is enough", () => {
    expect(lint([siteFile(big["globs that end in one name"] ?? [])]).findings.map(({ kind }) => kind)).toEqual([
      "crowded",
    ]);
  });
});
