import { describe, expect, test } from "vitest";
import { viewPolicy } from "../../../src/admin/policy-view.ts";
import { type Cidr, parseCidr } from "../../../src/names/address.ts";
import { compileRuleset } from "../../../src/policy/compile.ts";
import type { Rule } from "../../../src/policy/rule.ts";

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if ("problem" in parsed) throw new Error(parsed.problem);
  return parsed;
}

function ruleWith(changes: Partial<Rule>): Rule {
  return {
    id: "wsus",
    place: { file: "site.yaml", line: 12, column: 5 },
    action: "allow",
    patterns: [{ kind: "exact", text: "wsus.corp.example" }],
    addresses: [],
    endpoints: [{ scheme: "https", port: 8531 }],
    tlsMin: 0x0303,
    sni: undefined,
    addressSni: undefined,
    ech: "allow",
    range: "allow",
    methods: ["GET", "HEAD"],
    paths: null,
    websocket: "deny",
    clients: ["servers"],
    resolvesTo: { public: false, private: true, cidrs: [cidr("127.0.0.0/8")] },
    idleTimeoutMs: undefined,
    mode: undefined,
    expiresAt: Number.POSITIVE_INFINITY,
    purpose: "internal WSUS",
    owner: undefined,
    ticket: undefined,
    source: undefined,
    ...changes,
  };
}

function view(...rules: readonly Rule[]) {
  const ruleset = compileRuleset({
    files: [
      {
        kind: "site",
        name: "site",
        path: "/site.yaml",
        title: undefined,
        rules,
        uses: [],
        defaultMode: "enforce",
        defaultIdleTimeoutMs: 900_000,
      },
    ],
    groups: [
      {
        name: "servers",
        place: { file: "site.yaml", line: 1, column: 1 },
        addresses: [cidr("10.20.0.0/16")],
        users: [],
        subjects: [],
        mode: undefined,
        perClient: undefined,
      },
    ],
  });
  // Through JSON, as a client sees it.
  return JSON.parse(JSON.stringify(viewPolicy({ ruleset, generation: 3, change: undefined })));
}

describe("viewPolicy", () => {
  test("shows a rule with its defaults, in the words of a policy file", () => {
    const shown = view(ruleWith({}));
    expect(shown).toMatchObject({
      generation: 3,
      default_mode: "enforce",
      files: [{ name: "site", kind: "site", uses: [] }],
      groups: [{ name: "servers", addresses: ["10.20.0.0/16"] }],
    });
    expect(shown.hash).toMatch(/^[0-9a-f]{16}$/);
    expect(shown.rules).toEqual([
      {
        id: "site/wsus",
        place: "site.yaml:12:5",
        action: "allow",
        hosts: ["wsus.corp.example"],
        addresses: [],
        expect: ["https:8531"],
        clients: ["servers"],
        tls_min: "1.2",
        sni: "match",
        ech: "allow",
        resolves_to: ["private", "127.0.0.0/8"],
        idle_timeout_ms: 900_000,
        purpose: "internal WSUS",
      },
    ]);
  });

  test("shows HTTP conditions only where there is an http endpoint, TLS ones only where there is an https one", () => {
    const [rule] = view(ruleWith({ endpoints: [{ scheme: "http", port: 80 }], paths: ["/x/**"] })).rules;
    expect(rule).toMatchObject({ range: "allow", methods: ["GET", "HEAD"], paths: ["/x/**"], websocket: "deny" });
    for (const key of ["tls_min", "sni", "ech"]) expect(rule).not.toHaveProperty(key);
  });

  test("a deny rule has no conditions", () => {
    const [rule] = view(ruleWith({ action: "deny", endpoints: [] })).rules;
    expect(Object.keys(rule)).toEqual(["id", "place", "action", "hosts", "addresses", "expect", "clients", "purpose"]);
  });

  test("an expiry is an instant in UTC", () => {
    expect(view(ruleWith({ expiresAt: Date.UTC(2027, 2, 2) })).rules[0].expires_at).toBe("2027-03-02T00:00:00.000Z");
  });

  test.each<[string, Partial<Rule>, string]>([
    ["of names is match", {}, "match"],
    ["of addresses is any", { patterns: [], addresses: [cidr("192.0.2.0/24")] }, "any"],
    ["of both is said of both", { addresses: [cidr("192.0.2.0/24")] }, "match, any for addresses"],
    ["that is written stays", { sni: "covered" }, "covered"],
  ])("the sni %s", (_, changes, expected) => {
    expect(view(ruleWith(changes)).rules[0].sni).toBe(expected);
  });
});
