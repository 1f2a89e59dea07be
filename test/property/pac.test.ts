/** Property: what a PAC script answers for a host is what the policy covers for that client. */
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { identify } from "../../src/identity/groups.ts";
import { parseAddress } from "../../src/names/address.ts";
import { type Host, parseHost } from "../../src/names/hostname.ts";
import { findEndpoint } from "../../src/policy/find-endpoint.ts";
import type { Ruleset } from "../../src/policy/ruleset.ts";
import { pacCoverage, pacScript } from "../../src/review/pac.ts";
import { rule, rulesetOf, siteFile } from "../support/policy.ts";
import { groups, now, policies, requests } from "../support/random-policies.ts";
import { formatHost } from "../../src/names/hostname.ts";

const answers = { covered: "PROXY p.example:3128", otherwise: "DIRECT" };
const clients = ["192.0.2.1", "198.51.100.1", "203.0.113.1"];
const members = [
  { name: groups[0].name, addresses: ["192.0.2.0/24"] },
  { name: groups[1].name, addresses: ["198.51.100.0/24"] },
];

type Find = (url: string, host: string) => string;

function evaluate(script: string): Find {
  return runInNewContext(`${script}; FindProxyForURL`, {}) as Find;
}

/** Some rule is on the host for this client: neither `no_rule` nor `ip_literal` nor `client_denied`. */
function isCovered(ruleset: Ruleset, address: string, host: Host): boolean {
  const client = identify(ruleset.groups, parseAddress(address)!);
  const target = { kind: "connect", host, port: 1, listenerAdmits: true } as const;
  const found = findEndpoint(ruleset, client, target, now, false);
  return found.kind === "allow" || !["no_rule", "ip_literal", "client_denied"].includes(found.reason);
}

describe("the answer of the script is the coverage of the policy", () => {
  const hosts = [...new Set(requests.map(({ host }) => formatHost(host)))];

  test("for random policies, clients and the hosts that tell them apart", () => {
    let [inside, outside] = [0, 0];
    fc.assert(
      fc.property(policies, fc.constantFrom(...clients), (files, address) => {
        const ruleset = rulesetOf(files, members);
        const client = identify(ruleset.groups, parseAddress(address)!);
        const find = evaluate(pacScript(pacCoverage(ruleset, client, now), answers));
        for (const host of hosts) {
          const covered = isCovered(ruleset, address, parseHost(host)!);
          if (covered) inside++;
          else outside++;
          expect([host, find(`https://${host}/`, host)]).toEqual([host, covered ? answers.covered : "DIRECT"]);
        }
      }),
      { numRuns: 500 },
    );
    expect(Math.min(inside, outside)).toBeGreaterThan(1000);
  });

  const label = fc.constantFrom("a", "b", "kv", "kv1", "xkv", "cc", "acc", "1", "__proto__", "constructor", "x-y");
  const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => [...labels, "example"].join("."));
  const glob = fc
    .array(fc.constantFrom("a", "*", "kv*", "*cc", "?", "k?1", "v*", "{a,b}"), { minLength: 1, maxLength: 2 })
    .chain((labels) => fc.boolean().map((many) => `glob:${many ? "**." : ""}${labels.join(".")}.b.example`));

  test("for random names under random globs, names of JavaScript's own objects among them", () => {
    let matched = 0;
    fc.assert(
      fc.property(
        fc.array(fc.oneof(glob, glob, name), { minLength: 1, maxLength: 4 }),
        fc.array(name),
        (hosts, asked) => {
          const site = siteFile([rule({ id: "r", hosts: [...new Set(hosts)], expect: ["https"] })]);
          const ruleset = rulesetOf([site]);
          const client = identify(ruleset.groups, parseAddress("192.0.2.1")!);
          const find = evaluate(pacScript(pacCoverage(ruleset, client, now), answers));
          for (const host of [...asked, ...asked.map((one) => one.replace(/example$/, "b.example"))]) {
            const parsed = parseHost(host);
            const covered = parsed !== undefined && isCovered(ruleset, "192.0.2.1", parsed);
            if (covered) matched++;
            expect([hosts, host, find("", host)]).toEqual([hosts, host, covered ? answers.covered : "DIRECT"]);
          }
        },
      ),
      { numRuns: 500 },
    );
    expect(matched).toBeGreaterThan(200);
  });

  test("for random addresses of both families, in the spellings that evaluators use", () => {
    const blocks = ["10.0.0.0/8", "192.0.2.7", "0.0.0.0/1", "2001:db8::/32", "2001:db8:1::1", "::/3", "fe80::/10"];
    const byte = fc.constantFrom(0, 1, 7, 10, 127, 128, 192, 255);
    const group = fc.constantFrom("0", "1", "2001", "db8", "fe80", "febf", "fec0", "ffff", "0db8");
    const four = fc.array(byte, { minLength: 4, maxLength: 4 }).map((bytes) => bytes.join("."));
    const whole = fc.array(group, { minLength: 8, maxLength: 8 }).map((all) => all.join(":"));
    const short = fc
      .tuple(fc.array(group, { maxLength: 3 }), fc.array(group, { maxLength: 3 }))
      .map(([left, right]) => `${left.join(":")}::${right.join(":")}`);
    const mixed = four.map((tail) => `::ffff:${tail}`);
    fc.assert(
      fc.property(fc.uniqueArray(fc.constantFrom(...blocks)), fc.oneof(four, whole, short, mixed), (used, text) => {
        const ruleset = rulesetOf([rule({ id: "r", hosts: ["x.example"], addresses: used, expect: ["https"] })]);
        const client = identify(ruleset.groups, parseAddress("192.0.2.1")!);
        const find = evaluate(pacScript(pacCoverage(ruleset, client, now), answers));
        const covered = isCovered(ruleset, "192.0.2.1", { kind: "address", address: parseAddress(text)! });
        const expected = covered ? answers.covered : "DIRECT";
        for (const host of text.includes(":") ? [text, `[${text}]`, text.toUpperCase()] : [text]) {
          expect([used, host, find("", host)]).toEqual([used, host, expected]);
        }
      }),
      { numRuns: 500 },
    );
  });
});
