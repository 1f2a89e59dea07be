/** The compiled decision, held against the naive oracle on random policies; alphabets are small, so that rules collide. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseHost } from "../../src/names/hostname.ts";
import { compileRuleset } from "../../src/policy/compile.ts";
import { type FinalHello, decideHello } from "../../src/policy/decide-hello.ts";
import { type RequestFacts, decideTarget } from "../../src/policy/decide.ts";
import { parsePattern } from "../../src/policy/pattern.ts";
import type { Mode, PolicyFile, PolicySet, Rule } from "../../src/policy/rule.ts";
import { reasons } from "../../src/policy/verdict.ts";
import { askOracle, askOracleHello } from "../support/oracle.ts";
import { addressAt, clientAt, deny, packFile, policySet, rule, siteFile, tell } from "../support/policy.ts";

const nowMs = Date.UTC(2027, 2, 1);
const numRuns = Math.max(1000, Number(process.env["PROPERTY_RUNS"] ?? 0));
const groupNames = ["g0", "g1", "g2"];
const ruleIds = ["r0", "r1", "r2", "r3", "r4"];

const apex = fc.constantFrom("x.com", "x.com", "x.com", "x.com", "y.co.uk", "corp", "x.com.y.co.uk");
const name = fc
  .tuple(fc.array(fc.constantFrom("a", "a", "b", "ab", "ba"), { maxLength: 3 }), apex)
  .map(([labels, top]) => [...labels, top].join("."));
const glob = fc
  .tuple(
    fc.array(fc.constantFrom("a", "b", "*", "?", "a*", "*b", "?b", "**", "{a,b}"), { minLength: 1, maxLength: 3 }),
    name,
  )
  .map(([labels, top]) => `glob:${[...labels, top].join(".")}`)
  .filter((text) => parsePattern(text, true).kind === "patterns");
const host = fc.oneof(
  { weight: 2, arbitrary: name },
  { weight: 3, arbitrary: name.map((text) => `*.${text}`) },
  { weight: 2, arbitrary: glob },
);
const block = fc.constantFrom(
  "0.0.0.0/0",
  "10.0.0.0/8",
  "10.1.0.0/16",
  "10.1.2.3",
  "::ffff:10.1.2.0/120",
  "::/0",
  "2001:db8::/32",
  "2001:db8::1",
);
const literal = fc.constantFrom(
  "10.1.2.3",
  "10.1.2.4",
  "10.9.9.9",
  "192.0.2.1",
  "[2001:db8::1]",
  "[2001:db8::2]",
  "[::1]",
);

const ports = [80, 443, 8530];
const endpoint = fc
  .tuple(fc.constantFrom("http", "https", "https", "tcp"), fc.constantFrom(...ports))
  .map(([scheme, port]) => `${scheme}:${port}`);
const mode = fc.constantFrom<(Mode | undefined)[]>(undefined, undefined, undefined, "report", "enforce");
const someGroups = fc.option(fc.subarray(groupNames, { minLength: 1 }), { nil: null, freq: 2 });
const expiresAt = fc.constantFrom(Infinity, Infinity, Infinity, nowMs + 1, nowMs, nowMs - 1);

const hostsAndAddresses = fc.record({
  hosts: fc.array(host, { minLength: 1, maxLength: 2 }),
  addresses: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(block, { maxLength: 2 })),
});
const allowRule = fc
  .tuple(
    hostsAndAddresses,
    fc.record({
      expect: fc.uniqueArray(endpoint, { minLength: 1, maxLength: 2 }),
      methods: fc.constantFrom(["GET", "HEAD"], ["GET", "HEAD", "POST"]),
      paths: fc.constantFrom(null, null, null, null, ["/a/*"], ["/b"], ["/a/**"]),
      range: fc.constantFrom("allow" as const, "allow" as const, "deny" as const, "strip" as const),
      websocket: fc.constantFrom("allow" as const, "deny" as const),
      sni: fc.constantFrom(undefined, "match" as const, "covered" as const, "any" as const),
      ech: fc.constantFrom("allow" as const, "deny" as const),
      tlsMin: fc.constantFrom(0x0302 as const, 0x0303 as const, 0x0304 as const),
      mode,
      clients: someGroups,
      expiresAt,
    }),
  )
  .map(
    ([what, how]) =>
      (id: string) =>
        rule({ id, sharedSuffix: true, ...what, ...how }),
  );
const denyRule = fc.tuple(hostsAndAddresses, fc.record({ mode, clients: someGroups, expiresAt })).map(
  ([what, how]) =>
    (id: string) =>
      deny({ id, sharedSuffix: true, ...what, ...how }),
);
const rules: fc.Arbitrary<readonly Rule[]> = fc
  .array(fc.oneof({ weight: 4, arbitrary: allowRule }, { weight: 1, arbitrary: denyRule }), {
    maxLength: ruleIds.length,
  })
  .map((makers) => makers.map((make, i) => make(ruleIds[i] ?? "")));

const site = (siteName: string): fc.Arbitrary<PolicyFile> =>
  fc
    .tuple(rules, fc.constantFrom<Mode[]>("enforce", "enforce", "report"))
    .map(([list, defaultMode]) => siteFile(list, { name: siteName, mode: defaultMode }));
const use = fc.record({
  clients: someGroups,
  without: fc.subarray(ruleIds, { maxLength: 2 }).map((ids) => new Set(ids)),
});
const pack = (packName: string): fc.Arbitrary<PolicyFile> =>
  fc
    .tuple(rules, fc.array(use, { minLength: 1, maxLength: 2 }), fc.constantFrom<Mode[]>("enforce", "report"))
    .map(([list, uses, defaultMode]) => packFile(list, { name: packName, uses, mode: defaultMode }));
const policies: fc.Arbitrary<PolicySet> = fc
  .tuple(
    // Not in the order of precedence: that is the compiler's business.
    fc.tuple(pack("pack0"), site("site0"), pack("pack1"), site("site1")),
    fc.subarray([0, 1, 2, 3], { minLength: 1 }),
    fc.tuple(mode, mode, mode),
  )
  .map(([files, chosen, modes]) => {
    const blocks = ["10.20.0.0/16", "10.20.1.0/24", "10.30.0.0/16"];
    return policySet(
      files.filter((_, i) => chosen.includes(i)),
      groupNames.map((groupName, i) => {
        const groupMode = modes[i];
        return {
          name: groupName,
          addresses: [blocks[i] ?? ""],
          ...(groupMode === undefined ? {} : { mode: groupMode }),
        };
      }),
    );
  });

const client = fc.constantFrom("10.20.1.4", "10.20.9.9", "10.30.0.1", "192.0.2.1");
const rarelyFalse = fc.integer({ min: 0, max: 15 }).map((n) => n > 0);
const target = fc.oneof({ weight: 5, arbitrary: name }, { weight: 1, arbitrary: literal }).map((text) => {
  const parsed = parseHost(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
});
const common = {
  host: target,
  port: fc.constantFrom(...ports, 22),
  hostAgrees: rarelyFalse,
  listenerAdmits: rarelyFalse,
};
/** A request, and where in the policy to aim it: at a pattern of some rule, and mostly at one of its endpoints. */
type Shot = {
  readonly facts: RequestFacts;
  readonly rule: number | null;
  readonly part: number;
  readonly endpoint: number | null;
};
const aim = { rule: fc.option(fc.nat(30), { freq: 4 }), part: fc.nat(3), endpoint: fc.option(fc.nat(3), { freq: 4 }) };
const connectShot: fc.Arbitrary<Shot> = fc.record({
  ...aim,
  facts: fc.record({ ...common, kind: fc.constant("connect" as const), http: fc.constant(undefined) }),
});
const httpShot: fc.Arbitrary<Shot> = fc.record({
  ...aim,
  facts: fc.record({
    ...common,
    kind: fc.constant("http" as const),
    http: fc.record({
      method: fc.constantFrom("GET", "GET", "HEAD", "POST"),
      path: fc.constantFrom("/a/1", "/a/1/2", "/a/1?/../", "/b", "/a/%2e%2e/b", "/a/%2531", "/A/1", "/a/%31"),
      range: fc.constantFrom("none" as const, "valid" as const, "invalid" as const),
      websocket: fc.constantFrom(false, false, false, false, true),
    }),
  }),
});

/** Hosts drawn at random are mostly under no rule: most shots take theirs from a rule of the policy. */
function aimAt(set: PolicySet, { facts, rule: ruleNumber, part, endpoint: endpointNumber }: Shot): RequestFacts {
  const all = set.files.flatMap((file) => file.rules);
  const aimedAt = ruleNumber === null ? undefined : all[ruleNumber % Math.max(1, all.length)];
  if (aimedAt === undefined) return facts;
  const parts = [...aimedAt.patterns, ...aimedAt.addresses];
  const text = parts[part % parts.length]?.text.replace(/\/\d+$/, "").replace(/^glob:|^\*\./, "") ?? "";
  const spelled = text.replace("**.", "").replaceAll("*", "a").replaceAll("?", "b");
  const found = parseHost(spelled.includes(":") ? `[${spelled}]` : spelled);
  const ways = aimedAt.endpoints.filter(({ scheme }) => (scheme === "http") === (facts.kind === "http"));
  const way = endpointNumber === null ? undefined : ways[endpointNumber % Math.max(1, ways.length)];
  return { ...facts, host: found ?? facts.host, port: way?.port ?? facts.port };
}

const hello: fc.Arbitrary<FinalHello> = fc.oneof(
  {
    weight: 1,
    arbitrary: fc.constantFrom<FinalHello[]>({ kind: "not_tls" }, { kind: "timeout" }, { kind: "too_large" }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("hello" as const),
      serverName: fc.option(fc.oneof(name, fc.constantFrom("own", "OWN.")), { freq: 4 }),
      maxVersion: fc.constantFrom(0x0301, 0x0302, 0x0303, 0x0304, 0x0304),
      alpn: fc.constant([]),
      ech: fc.boolean(),
      length: fc.constant(200),
    }),
  },
);

/** Puts the tunnel's own host where the hello says `own`, in the spelling that stands there. */
function nameOwn(said: FinalHello, { host: asked }: RequestFacts): FinalHello {
  if (said.kind !== "hello" || asked.kind === "address") return said;
  if (said.serverName === "own") return { ...said, serverName: asked.name };
  return said.serverName === "OWN." ? { ...said, serverName: `${asked.name.toUpperCase()}.` } : said;
}

/** Prints the seed and the shrunk policy where the two differ. */
function agree<Ts extends [unknown, ...unknown[]]>(property: fc.IProperty<Ts>): void {
  fc.assert(property, { numRuns });
}

describe("the compiled decision is the oracle's", () => {
  test("for requests: verdict, reason, deciding rule, nearest rule, mode and way on", () => {
    const seen = new Set<string>();
    agree(
      fc.property(
        policies,
        client,
        fc.array(fc.oneof(connectShot, httpShot), { minLength: 8, maxLength: 16 }),
        (set, from, shots) => {
          const ruleset = compileRuleset(set);
          for (const shot of shots) {
            const facts = aimAt(set, shot);
            const told = tell(decideTarget(ruleset, clientAt(ruleset, from), facts, nowMs));
            expect(told).toEqual(askOracle({ set, client: addressAt(from), facts, nowMs }));
            seen.add(told.reason);
            if (told.mode === "report") seen.add(`report ${told.reason}`);
          }
        },
      ),
    );
    // A generator that never gets somewhere proves nothing of it.
    const wanted = reasons.slice(reasons.indexOf("host_mismatch"), reasons.indexOf("address_denied"));
    const reportable = wanted.filter((reason) => reason !== "ip_literal").map((reason) => `report ${reason}`);
    expect([...wanted, ...reportable].filter((reason) => !seen.has(reason))).toEqual([]);
  });

  test("for the ClientHello of a tunnel, with all three ways to judge its name", () => {
    const seen = new Set<string>();
    agree(
      fc.property(
        policies,
        client,
        fc.array(fc.tuple(connectShot, hello), { minLength: 8, maxLength: 16 }),
        (set, from, shots) => {
          const ruleset = compileRuleset(set);
          const who = clientAt(ruleset, from);
          for (const [shot, said] of shots) {
            const facts = aimAt(set, shot);
            const request = decideTarget(ruleset, who, facts, nowMs);
            const greeting = nameOwn(said, facts);
            const expected = askOracleHello({ set, client: addressAt(from), facts, nowMs }, greeting);
            const judged =
              request.kind === "allow" && request.permit.endpoint?.scheme === "https"
                ? decideHello(ruleset, who, facts, request, greeting, nowMs)
                : request;
            expect(tell(judged)).toEqual(expected);
            seen.add(expected.reason);
          }
        },
      ),
    );
    const wanted = [
      "allowed",
      "not_tls",
      "hello_timeout",
      "hello_too_large",
      "tls_version",
      "ech_denied",
      "sni_missing",
      "sni_mismatch",
    ];
    expect(wanted.filter((reason) => !seen.has(reason))).toEqual([]);
  });
});
