/** What compiling makes of a policy: order, audiences, indexes, and a hash that changes with verdicts only. */
import { describe, expect, test } from "vitest";
import { compileRuleset } from "../../../src/policy/compile.ts";
import type { PolicySet } from "../../../src/policy/rule.ts";
import { deny, packFile, policySet, rule, rulesetOf, siteFile } from "../../support/policy.ts";

const https = (id: string, hosts: readonly string[] = ["a.x.com"]) => rule({ id, hosts, expect: ["https"] });

describe("order", () => {
  test("all site files in their order, then packs in theirs, then position", () => {
    const { rules } = rulesetOf([
      packFile([https("a"), https("b")], { name: "p1" }),
      siteFile([https("c")], { name: "s1" }),
      packFile([https("d")], { name: "p2" }),
      siteFile([https("e"), https("f")], { name: "s2" }),
    ]);
    expect(rules.map(({ fullId }) => fullId)).toEqual(["s1/c", "s2/e", "s2/f", "p1/a", "p1/b", "p2/d"]);
    expect(rules.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(rules.map(({ fromSite }) => fromSite)).toEqual([true, true, true, false, false, false]);
  });

  test("a rule that every use leaves out is not there", () => {
    const files = [
      packFile([https("a"), https("b")], {
        uses: [{ without: new Set(["a"]) }, { clients: ["g"], without: new Set(["a"]) }],
      }),
    ];
    const { rules, tunnelPorts, hostGroups } = rulesetOf(files, [{ name: "g" }]);
    expect(rules.map(({ fullId }) => fullId)).toEqual(["pack/b"]);
    expect(hostGroups.flatMap((group) => group.rules)).toHaveLength(1);
    expect([...tunnelPorts.keys()]).toEqual([443]);
  });

  test("an instance of a pack keeps its name in the ids of its rules", () => {
    expect(rulesetOf([packFile([https("a")], { name: "pack@de-1" })]).rules[0]?.fullId).toBe("pack@de-1/a");
  });
});

describe("rules of one pattern stand together", () => {
  test("in order of precedence, once each, and a site's deny is marked", () => {
    const { hostGroups } = rulesetOf([
      packFile([https("p", ["*.x.com", "b.x.com"])]),
      siteFile([
        rule({ id: "s", hosts: ["b.x.com", "b.x.com"], expect: ["http"] }),
        deny({ id: "no", hosts: ["*.x.com"] }),
      ]),
    ]);
    expect(
      hostGroups.map(({ key, rules, siteDeny }) => [key.text, rules.map(({ fullId }) => fullId), siteDeny]),
    ).toEqual([
      ["b.x.com", ["site/s", "pack/p"], false],
      ["*.x.com", ["site/no", "pack/p"], true],
    ]);
  });

  test("a pack's deny is none of a site", () => {
    expect(rulesetOf([packFile([deny({ id: "no", hosts: ["*.x.com"] })])]).hostGroups[0]?.siteDeny).toBe(false);
  });

  test("a block of addresses is the same however it is written", () => {
    const { addressGroups } = rulesetOf([
      rule({ id: "a", addresses: ["10.0.0.0/8", "2001:DB8::/32"], expect: ["https"] }),
      rule({ id: "b", addresses: ["::ffff:10.0.0.0/104", "2001:0db8::/32"], expect: ["http"] }),
    ]);
    expect(addressGroups.map(({ key, rules }) => [key.text, rules.length])).toEqual([
      ["10.0.0.0/8", 2],
      ["2001:db8::/32", 2],
    ]);
  });

  test("the same spelling of a braced glob and of its expansion is one pattern", () => {
    const { hostGroups } = rulesetOf([https("a", ["glob:{us,eu}*.x.com"]), https("b", ["glob:eu*.x.com"])]);
    expect(hostGroups.map(({ key, rules }) => [key.text, rules.length])).toEqual([
      ["glob:us*.x.com", 1],
      ["glob:eu*.x.com", 2],
    ]);
  });
});

describe("audiences", () => {
  test("everyone is number 0, and equal audiences share a number", () => {
    const groups = [{ name: "g" }, { name: "h" }];
    const { rules, audiences } = rulesetOf(
      [
        siteFile([https("all"), { ...https("gh"), clients: ["g", "h"] }, { ...https("hg"), clients: ["h", "g"] }]),
        packFile([https("p"), { ...https("pg"), clients: ["g"] }], { uses: [{ clients: ["h"] }] }),
      ],
      groups,
    );
    expect(rules.map(({ audience }) => audience)).toEqual([0, 1, 1, 2, 3]);
    expect(audiences).toEqual([
      { ruleGroups: null, useGroups: null },
      { ruleGroups: [0, 1], useGroups: null },
      { ruleGroups: null, useGroups: [1] },
      { ruleGroups: [0], useGroups: [1] },
    ]);
  });
});

describe("what is worked out once", () => {
  test("each endpoint has the one enforced allow that its requests share", () => {
    const { allows, rules } = rulesetOf([rule({ id: "a", hosts: ["a.x.com"], expect: ["http", "https"] }), https("b")]);
    expect(allows.map(({ rule: by, mode, would, permit }) => [by?.fullId, mode, would, permit.endpoint?.id])).toEqual([
      ["site/a", "enforce", undefined, 0],
      ["site/a", "enforce", undefined, 1],
      ["site/b", "enforce", undefined, 2],
    ]);
    expect(rules[1]?.endpoints[0]).toEqual({ scheme: "https", port: 443, id: 2 });
  });

  test("rules with the same methods share one set", () => {
    const { rules } = rulesetOf([
      https("a"),
      { ...https("b"), methods: ["GET"] },
      { ...https("c"), methods: ["HEAD", "GET"] },
      { ...https("d"), methods: ["GET"] },
      https("e"),
    ]);
    expect(rules.map(({ methods }) => [...methods].join(" "))).toEqual(
      rules.map(({ rule: { methods } }) => methods.join(" ")),
    );
    expect(rules[0]?.methods).toBe(rules[4]?.methods);
    expect(rules[1]?.methods).toBe(rules[3]?.methods);
  });

  test("ports of tunnels, until the last rule that names them is gone", () => {
    const { tunnelPorts } = rulesetOf([
      rule({ id: "a", hosts: ["a.x.com"], expect: ["http:8530", "https", "tcp:22", "tcp:23"], expiresAt: 5 }),
      rule({ id: "b", hosts: ["b.x.com"], expect: ["tcp:22", "tcp:24"], expiresAt: 9 }),
      rule({ id: "c", hosts: ["c.x.com"], expect: ["https", "tcp:24"] }),
      rule({ id: "d", hosts: ["d.x.com"], expect: ["https", "tcp:22"], expiresAt: 7 }),
    ]);
    expect(Object.fromEntries(tunnelPorts)).toEqual({ 443: Infinity, 22: 9, 23: 5, 24: Infinity });
  });

  test("idle timeouts: the rule's own, else its file's", () => {
    const { rules } = rulesetOf([siteFile([https("a"), { ...https("b"), idleTimeoutMs: 7 }], { idleTimeoutMs: 5 })]);
    expect(rules.map(({ idleTimeoutMs }) => idleTimeoutMs)).toEqual([5, 7]);
  });

  test("defaults of what no rule covers: report where every site says so, the idle timeout of the first", () => {
    const report = siteFile([], { name: "s1", mode: "report", idleTimeoutMs: 5 });
    const enforce = siteFile([], { name: "s2" });
    expect(rulesetOf([report])).toMatchObject({ defaultMode: "report", defaultIdleTimeoutMs: 5 });
    expect(rulesetOf([report, enforce]).defaultMode).toBe("enforce");
    expect(rulesetOf([packFile([], { mode: "report" })]).defaultMode).toBe("enforce");
    expect(rulesetOf([])).toMatchObject({ defaultMode: "enforce", defaultIdleTimeoutMs: 900_000 });
  });

  test("a path that nobody validated is a bug, and says so", () => {
    expect(() => rulesetOf([{ ...https("a"), paths: ["no slash"] }])).toThrow("path 0 was not validated");
  });
});

describe("the hash", () => {
  const base: PolicySet = policySet(
    [siteFile([https("a", ["*.x.com"])]), packFile([https("p")])],
    [{ name: "g", addresses: ["10.0.0.0/8"] }],
  );
  const [site, pack] = base.files;
  const hash = (set: PolicySet) => compileRuleset(set).hash;
  const withRule = (changes: object): PolicySet => ({
    ...base,
    files: [{ ...site!, rules: [{ ...site!.rules[0]!, ...changes }] }, pack!],
  });

  test("is 16 hex characters, and the same for the same policy", () => {
    expect(hash(base)).toMatch(/^[0-9a-f]{16}$/);
    expect(
      hash(
        policySet(
          [siteFile([https("a", ["*.x.com"])]), packFile([https("p")])],
          [{ name: "g", addresses: ["10.0.0.0/8"] }],
        ),
      ),
    ).toBe(hash(base));
  });

  test("stays what it was, whatever the version: processes and log lines of two versions are compared by it", () => {
    const rules = [
      https("a", ["a.x.com", "*.y.com", "glob:c*.z.com"]),
      rule({ id: "b", addresses: ["10.0.0.0/8"], expect: ["https:8443"], clients: ["g"], expiresAt: 5 }),
      rule({ id: "c", hosts: ["c.x.com"], expect: ["http"], paths: ["/a/*"], resolvesTo: ["private", "10.0.0.0/8"] }),
      deny({ id: "d", hosts: ["d.x.com"] }),
      https("e", ["e.x.com"]),
      https("f", ["f.x.com"]),
    ];
    // In the order in which a file's rules have their fields.
    const asRead = rules.map(({ id, place, ...rest }) => ({ id, place, ...rest }));
    expect(hash(policySet([siteFile(asRead)], [{ name: "g", addresses: ["10.0.0.0/8"] }]))).toBe("947d8c84b68c4c83");
  });

  test.each<[string, PolicySet]>([
    [
      "a condition of the last of many rules",
      policySet([siteFile([https("a"), https("p"), { ...https("b"), sni: "any" }])]),
    ],
    ["the methods of one", policySet([siteFile([https("a"), { ...https("p"), methods: ["GET"] }, https("b")])])],
    ["its paths", policySet([siteFile([https("a"), { ...https("p"), paths: ["/a"] }, https("b")])])],
    ["its clients", policySet([siteFile([https("a"), { ...https("p"), clients: [] }, https("b")])])],
    [
      "its port",
      policySet([siteFile([https("a"), { ...https("p"), endpoints: [{ scheme: "https", port: 444 }] }, https("b")])]),
    ],
  ])("is another with %s", (_sentence, set) => {
    expect(hash(set)).not.toBe(hash(policySet([siteFile([https("a"), https("p"), https("b")])])));
  });

  test.each<[string, PolicySet]>([
    ["places", withRule({ place: { file: "elsewhere.yaml", line: 9, column: 9 } })],
    [
      "what is said about a rule",
      withRule({
        purpose: "x",
        owner: "x",
        ticket: "x",
        source: { title: "x", address: undefined, checked: undefined, confidence: undefined },
      }),
    ],
    ["the order of packs and sites among one another", { ...base, files: [pack!, site!] }],
  ])("does not change with %s", (_sentence, set) => {
    expect(hash(set)).toBe(hash(base));
  });

  test.each<[string, PolicySet]>([
    ["a host", withRule({ patterns: https("q", ["*.y.com"]).patterns })],
    ["a block", withRule({ addresses: rule({ id: "q", addresses: ["10.0.0.1"] }).addresses })],
    ["an endpoint", withRule({ endpoints: [{ scheme: "https", port: 8443 }] })],
    ["an expiry", withRule({ expiresAt: 1 })],
    ["clients", withRule({ clients: ["g"] })],
    ["resolves_to", withRule({ resolvesTo: { public: true, private: true, cidrs: [] } })],
    ["sni", withRule({ sni: "any" })],
    ["a mode", withRule({ mode: "report" })],
    ["a default mode", { ...base, files: [{ ...site!, defaultMode: "report" }, pack!] }],
    ["the order of rules", policySet([siteFile([https("b"), https("a")])])],
    ["a use", { ...base, files: [site!, { ...pack!, uses: [{ clients: ["g"], without: new Set() }] }] }],
    [
      "what a use leaves out",
      { ...base, files: [site!, { ...pack!, uses: [{ clients: null, without: new Set(["z"]) }] }] },
    ],
    ["a group's addresses", { ...base, groups: policySet([], [{ name: "g", addresses: ["10.0.0.0/9"] }]).groups }],
    [
      "a group's mode",
      { ...base, groups: policySet([], [{ name: "g", addresses: ["10.0.0.0/8"], mode: "report" }]).groups },
    ],
  ])("changes with %s", (_sentence, set) => {
    expect(hash(set)).not.toBe(hash(base));
  });
});
