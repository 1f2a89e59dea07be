/** Small random policies whose rules often meet, and requests that tell them apart. */
import fc from "fast-check";
import type { RequestFacts } from "../../src/policy/decide.ts";
import type { PolicyFile, Rule } from "../../src/policy/rule.ts";
import { connect, get, packFile, rule, siteFile } from "./policy.ts";

/** The time at which some of the rules have expired and others are about to. */
export const now = Date.UTC(2026, 10, 21);
export const groups = [{ name: "g" }, { name: "h" }] as const;

const names = ["a.example", "x.a.example", "y.x.a.example", "z.y.x.a.example", "kv1.x.a.example"];
const plain = [...names.slice(0, 3), ...names.slice(0, 3).map((name) => `*.${name}`)];
const odd = ["z.y.x.a.example", "kv1.x.a.example", "*.kv1.x.a.example"];
const globs = ["glob:*.a.example", "glob:kv*.x.a.example", "glob:**.x.a.example"];
const blocks = ["192.0.2.0/24", "192.0.2.0/28", "192.0.2.1/32"];
/** No port but 443 for tunnels: in report mode a rule that names another lets hosts without a rule pass there. */
const ways = [
  ["https"],
  ["https"],
  ["https"],
  ["https"],
  ["http"],
  ["http", "https"],
  ["http:443", "https"],
  ["tcp:443"],
];

/** A site file and perhaps a pack. */
export const policies = files([...odd, ...globs]);
export const policiesWithoutGlobs = files(odd);

/** For every name, names below and beside them, and addresses. */
export const requests: readonly RequestFacts[] = [
  ...[...names, "n.a.example", "n.x.a.example", "n.y.x.a.example", "kv9.x.a.example", "m.n.kv1.x.a.example"].flatMap(
    (host) => [
      connect(`${host}:443`),
      connect(`${host}:80`),
      get(`http://${host}/`),
      get(`http://${host}/`, { range: "valid" }),
      get(`http://${host}:443/`),
    ],
  ),
  ...["192.0.2.0", "192.0.2.1", "192.0.2.9", "192.0.2.99"].flatMap((host) => [
    connect(`${host}:443`),
    get(`http://${host}/`),
  ]),
];

function files(rare: readonly string[]): fc.Arbitrary<readonly PolicyFile[]> {
  const rules = rulesOf(rare);
  return fc.tuple(rules, fc.option(rules), fc.constantFrom("enforce", "report")).map(([site, pack, mode]) => {
    return [
      siteFile(site, { mode }),
      ...(pack === null
        ? []
        : [
            packFile(
              pack.map((one) => ({ ...one, clients: null })),
              { mode },
            ),
          ]),
    ];
  });
}

function rulesOf(rare: readonly string[]): fc.Arbitrary<readonly Rule[]> {
  const words = fc.record({
    hosts: fc.oneof(
      { weight: 3, arbitrary: fc.uniqueArray(fc.constantFrom(...plain), { minLength: 1, maxLength: 2 }) },
      { weight: 1, arbitrary: fc.uniqueArray(fc.constantFrom(...plain, ...rare), { minLength: 1, maxLength: 2 }) },
    ),
    addresses: fc.constantFrom([], [], [], [], [], [], ...blocks.map((block) => [block])),
    expect: fc.constantFrom(...ways),
    action: fc.constantFrom("allow", "allow", "allow", "deny"),
    range: fc.constantFrom("deny", "deny", "deny", "allow"),
    clients: fc.constantFrom(null, null, null, null, ["g"], ["h"]),
    mode: fc.constantFrom(undefined, undefined, undefined, undefined, "report"),
    expiresAt: fc.constantFrom(Infinity, Infinity, Infinity, Infinity, now + 1, now - 1),
  } as const);
  return fc
    .array(words, { minLength: 1, maxLength: 6 })
    .map((list) =>
      list.map((given, i) => rule({ id: `r-${i}`, ...given, expect: given.action === "deny" ? [] : given.expect })),
    );
}
