import { describe, expect, test } from "vitest";
import { compileRuleset } from "../../../src/policy/compile.ts";
import { type Change, diffRulesets } from "../../../src/review/diff.ts";
import type { PolicyFile, Rule } from "../../../src/policy/rule.ts";
import { type GroupWords, deny, packFile, policySet, rule, siteFile } from "../../support/policy.ts";

const now = Date.UTC(2026, 10, 21, 12);
type Version = readonly Rule[] | readonly PolicyFile[];

function changes(
  before: Version,
  after: Version,
  groups: readonly GroupWords[] = [],
  newGroups = groups,
): readonly Change[] {
  return diffRulesets(compile(before, groups), compile(after, newGroups), now);
}

function compile(version: Version, groups: readonly GroupWords[]) {
  const files = version.flatMap((item) => ("rules" in item ? [item] : []));
  const rules = version.flatMap((item) => ("rules" in item ? [] : [item]));
  return compileRuleset(policySet(files.length > 0 ? files : [siteFile(rules)], groups));
}

/** `allowed https:443 at a.example for everyone: no_rule → site/a; tls_min 1.2 → 1.3` */
function told({ kind, requests, patterns, clients, before, after, conditions }: Change): string {
  const side = ({ verdict, reason, rule: id }: Change["before"]): string =>
    [
      ...(verdict === "allow" && reason === "allowed" ? [] : [`${verdict} ${reason}`]),
      ...(id === undefined ? [] : [id]),
    ].join(" ");
  const differing = conditions.length === 0 ? "" : `; ${conditions.join(", ")}`;
  return `${kind} ${requests.join(", ")} at ${patterns.join(", ")} for ${clients?.join(", ") ?? "everyone"}: ${side(before)} → ${side(after)}${differing}`;
}

const a = rule({ id: "a", hosts: ["www.a.example"], expect: ["https"] });
const wide = rule({ id: "wide", hosts: ["*.a.example"], expect: ["https"] });
const http = rule({ id: "h", hosts: ["h.example"], expect: ["http"] });

describe("between two versions of a site file", () => {
  const cases: Readonly<Record<string, readonly [before: Version, after: Version, told: readonly string[]]>> = {
    "nothing changes where they say the same": [[a], [a], []],
    "nothing changes by purposes, orders of unrelated rules and a needless rule": [
      [a, http],
      [{ ...http, purpose: "other" }, a, rule({ id: "again", hosts: ["www.a.example"], expect: ["https"] })],
      [],
    ],
    "a new rule allows": [[a], [a, http], ["allowed http:80 at h.example for everyone: deny no_rule → site/h"]],
    "a rule that is gone denies": [[a, http], [a], ["denied http:80 at h.example for everyone: site/h → deny no_rule"]],
    "an endpoint that moves allows and denies": [
      [a],
      [{ ...a, endpoints: [{ scheme: "https", port: 8443 }] }],
      [
        "denied https:443 at www.a.example for everyone: site/a → deny port_mismatch site/a",
        "allowed https:8443 at www.a.example for everyone: deny port_mismatch site/a → site/a",
      ],
    ],
    "a narrower rule changes the names below it, and those only": [
      [wide],
      [wide, rule({ id: "x", hosts: ["*.x.a.example"], expect: ["http"] })],
      [
        "denied https:443 at *.x.a.example for everyone: site/wide → deny scheme_mismatch site/x",
        "allowed http:80 at *.x.a.example for everyone: deny scheme_mismatch site/wide → site/x",
      ],
    ],
    "a wildcard in place of a name leaves the name alone": [
      [rule({ id: "r", hosts: ["a.example"], expect: ["https"] })],
      [rule({ id: "r", hosts: ["*.a.example"], expect: ["https"] })],
      [
        "allowed https:443 at names one label below a.example, names further below a.example for everyone: deny no_rule → site/r",
      ],
    ],
    "Range is told apart": [
      [http],
      [{ ...http, range: "allow" }],
      ["allowed http:80 with Range at h.example for everyone: deny range_denied site/h → site/h"],
    ],
    "Range that is stripped no more is another condition": [
      [{ ...http, range: "strip" }],
      [{ ...http, range: "allow" }],
      ["conditions http:80 with Range at h.example for everyone: site/h → site/h; range strip → allow"],
    ],
    "another rule decides": [
      [a],
      [{ ...a, id: "b", tlsMin: 0x0304 }],
      ["rule https:443 at www.a.example for everyone: site/a → site/b; tls_min 1.2 → 1.3"],
    ],
    "conditions of a tunnel": [
      [a],
      [
        {
          ...a,
          sni: "any",
          ech: "deny",
          idleTimeoutMs: 60_000,
          resolvesTo: { public: false, private: true, cidrs: [] },
        },
      ],
      [
        "conditions https:443 at www.a.example for everyone: site/a → site/a; sni match → any, ech allow → deny, resolves_to public → private, idle_timeout 900s → 60s",
      ],
    ],
    "a mode": [
      [a],
      [{ ...a, mode: "report" }],
      [
        "conditions https:443 at www.a.example for everyone: site/a → site/a; mode enforce → report",
        "allowed http:80, http:443, http to other ports at www.a.example for everyone: deny scheme_mismatch site/a → allow scheme_mismatch site/a",
        "allowed CONNECT 80, CONNECT to other ports at www.a.example for everyone: deny port_mismatch site/a → allow port_mismatch site/a",
      ],
    ],
    "an end": [
      [a],
      [{ ...a, expiresAt: Date.UTC(2027, 2, 2) }],
      ["conditions https:443 at www.a.example for everyone: site/a → site/a; expires unset → 2027-03-01"],
    ],
    "a rule that has expired": [
      [a],
      [{ ...a, expiresAt: now }],
      ["denied https:443 at www.a.example for everyone: site/a → deny no_rule"],
    ],
    "a deny of what was denied anyway changes nothing": [[a], [a, deny({ id: "no", hosts: ["*.b.example"] })], []],
    "one deny in place of another is another rule": [
      [deny({ id: "no", hosts: ["b.example"] })],
      [deny({ id: "never", hosts: ["b.example"] })],
      ["rule https:443, http:80 at b.example for everyone: deny rule_denied site/no → deny rule_denied site/never"],
    ],
    "paths and methods are met by those that the rules name": [
      [rule({ id: "h", hosts: ["h.example"], expect: ["http"], methods: ["HEAD"] })],
      [rule({ id: "h", hosts: ["h.example"], expect: ["http"], methods: ["HEAD"], paths: ["/p/**"] })],
      ["denied HEAD http:80 at h.example for everyone: site/h → deny path_denied site/h"],
    ],
    "globs have a sample": [
      [rule({ id: "g", hosts: ["glob:kv?*.b.example"], expect: ["https"] })],
      [rule({ id: "g", hosts: ["glob:kv?*.b.example"], expect: ["tcp:443"] })],
      [
        "conditions https/tcp:443 at glob:kv?*.b.example for everyone: site/g → site/g; endpoint https:443 → tcp:443, tls_min 1.2 → unset, sni match → unset, ech allow → unset",
      ],
    ],
    "of blocks the first and the last address": [
      [rule({ id: "g", addresses: ["192.0.2.0/24"], expect: ["https"] })],
      [rule({ id: "g", addresses: ["192.0.2.0/25"], expect: ["https"] })],
      ["denied https:443 at 192.0.2.255 for everyone: site/g → deny ip_literal"],
    ],
  };
  test.each(Object.entries(cases))("%s", (_, [before, after, expected]) => {
    expect(changes(before, after).map(told).sort()).toEqual(expected.toSorted());
  });

  test("as a whole in report mode, hosts that no rule covers pass", () => {
    const lines = changes([siteFile([a])], [siteFile([a], { mode: "report" })]).map(told);
    expect(lines).toContain(
      "allowed http:80, CONNECT 443 at any host that no rule covers for everyone: deny no_rule → allow no_rule",
    );
  });

  test("a pack that comes in is told by its rules", () => {
    const pack = packFile([rule({ id: "p", hosts: ["*.p.example"], expect: ["https"] })]);
    expect(changes([siteFile([a])], [siteFile([a]), pack]).map(told)).toEqual([
      "allowed https:443 at *.p.example for everyone: deny no_rule → pack/p",
    ]);
  });
});

describe("for groups of clients", () => {
  const groups = [
    { name: "servers", addresses: ["10.20.0.0/16"] },
    { name: "kiosks", addresses: ["10.30.0.0/16"] },
  ];

  test("a rule that is given to one group is told for the others", () => {
    expect(changes([a], [{ ...a, clients: ["servers"] }], groups).map(told)).toEqual([
      "denied https:443 at www.a.example for no group, kiosks: site/a → deny client_denied",
    ]);
  });

  test("a client that comes into a group is told by its address", () => {
    const before = [
      { ...a, clients: ["servers"] },
      { ...http, clients: ["servers"] },
    ];
    const moved = [{ name: "servers", addresses: ["10.20.0.0/16", "10.21.0.0/16"] }, groups[1]!];
    expect(changes(before, before, groups, moved).map(told)).toEqual([
      "allowed https:443 at www.a.example for 10.21.0.0 (no group → servers): deny various → allow various",
      "allowed http:80 at h.example for 10.21.0.0 (no group → servers): deny various → allow various",
    ]);
  });

  test("groups of users have no address, and count too", () => {
    const users = [...groups, { name: "users" }];
    expect(changes([a], [{ ...a, clients: ["users"] }], users).map(told)).toEqual([
      "denied https:443 at www.a.example for no group, servers, kiosks: site/a → deny client_denied",
    ]);
  });
});
