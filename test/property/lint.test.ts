/** What the linter calls needless can be left out: no verdict changes, for any host, way, client and time. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileRuleset } from "../../src/policy/compile.ts";
import { decideTarget } from "../../src/policy/decide.ts";
import { lintRuleset } from "../../src/policy/lint.ts";
import type { PolicyFile, PolicySet, Rule } from "../../src/policy/rule.ts";
import { addressAt, connect, get, packFile, policySet, rule, siteFile } from "../support/policy.ts";

const now = Date.UTC(2026, 10, 21);
const groups = [{ name: "g" }, { name: "h" }];
const memberships: readonly (readonly number[])[] = [[], [0], [1], [0, 1]];

const names = ["a.example", "x.a.example", "y.x.a.example", "z.y.x.a.example", "kv1.x.a.example"];
const patterns = [...names, ...names.map((name) => `*.${name}`), "glob:*.a.example", "glob:kv*.x.a.example", "glob:**.x.a.example"];
const blocks = ["192.0.2.0/24", "192.0.2.0/28", "192.0.2.1/32"];
const ways = [["https"], ["https"], ["http"], ["http", "https"], ["http:443", "https"], ["tcp:443"], ["https:80", "http"]];

const words = fc.record({
  hosts: fc.uniqueArray(fc.constantFrom(...patterns), { minLength: 1, maxLength: 2 }),
  addresses: fc.constantFrom([], [], [], ...blocks.map((block) => [block])),
  expect: fc.constantFrom(...ways),
  action: fc.constantFrom("allow", "allow", "allow", "deny"),
  range: fc.constantFrom("deny", "deny", "allow"),
  clients: fc.constantFrom(null, null, null, ["g"], ["h"]),
  mode: fc.constantFrom(undefined, undefined, undefined, undefined, "report"),
  expiresAt: fc.constantFrom(Infinity, Infinity, Infinity, Infinity, now + 1, now - 1),
} as const);

const rules = fc.array(words, { minLength: 1, maxLength: 6 }).map((list) =>
  list.map((given, i): Rule => {
    return rule({ id: `r-${i}`, ...given, expect: given.action === "deny" ? [] : given.expect });
  }),
);

const files = fc.tuple(rules, fc.option(rules), fc.constantFrom("enforce", "report")).map(([site, pack, mode]): readonly PolicyFile[] => {
  return [siteFile(site, { mode }), ...(pack === null ? [] : [packFile(pack.map((one) => ({ ...one, clients: null })), { mode })])];
});

const hosts = [...names, "n.a.example", "n.x.a.example", "n.y.x.a.example", "kv9.x.a.example", "m.n.kv1.x.a.example"];
const requests = [
  ...hosts.flatMap((host) => [
    connect(`${host}:443`),
    connect(`${host}:80`),
    get(`http://${host}/`),
    get(`http://${host}/`, { range: "valid" }),
    get(`http://${host}:443/`),
  ]),
  ...["192.0.2.0", "192.0.2.1", "192.0.2.9", "192.0.2.99"].flatMap((host) => [connect(`${host}:443`), get(`http://${host}/`)]),
];

/** Verdict and reason of every request, of every kind of client, now and when what expires has expired. */
function verdictsOf(set: PolicySet): readonly string[] {
  const ruleset = compileRuleset(set);
  return memberships.flatMap((groups) =>
    [now, now + 1].flatMap((time) =>
      requests.map((facts) => {
        const verdict = decideTarget(ruleset, { address: addressAt("10.0.0.1"), groups }, facts, time);
        return verdict.kind === "deny" ? verdict.reason : `allowed ${verdict.would?.reason ?? ""}`;
      }),
    ),
  );
}

describe("a rule that is said to be", () => {
  const found = { shadowed: 0, redundant: 0 };
  test("shadowed or redundant can be left out", () => {
    fc.assert(
      fc.property(files, (list) => {
        const set = policySet(list, groups);
        const needless = lintRuleset(set, compileRuleset(set), new Set(), now).findings.filter(({ message }) => /^is (shadowed|redundant)/.test(message));
        if (needless.length === 0) return;
        const before = verdictsOf(set);
        for (const { rule: id, kind, message } of needless) {
          if (kind === "shadowed" || kind === "redundant") found[kind] += 1;
          const without = list.map((file) => ({ ...file, rules: file.rules.filter((one) => `${file.name}/${one.id}` !== id) }));
          expect(verdictsOf({ ...set, files: without }), `${id} ${message}`).toEqual(before);
        }
      }),
      { numRuns: 400 },
    );
    // The property is about something.
    expect(Math.min(found.shadowed, found.redundant)).toBeGreaterThan(20);
  });
});
