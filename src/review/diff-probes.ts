/** Requests that stand for all that two rulesets say: every pattern, every endpoint that some covering rule has. */
import { type Cidr, addressOfBytes } from "../names/address.ts";
import { type Host, parseHost } from "../names/hostname.ts";
import type { CompiledRule } from "../policy/compiled-rule.ts";
import type { HttpFacts, RequestFacts } from "../policy/decide.ts";
import { requestsFor, stranger } from "./diff-requests.ts";
import type { Pattern } from "../policy/pattern.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { sampleName } from "./spots.ts";

export type Probe = {
  readonly facts: RequestFacts;
  /** Pattern or block that the host was made from. */
  readonly spot: string;
  /** The host in words, one of `hostsOfSpot`. */
  readonly hostLabel: string;
  readonly hostsOfSpot: number;
  /** The request in words, without its host. */
  readonly request: string;
  /** The plain request that this one is a variation of; the request itself where it is none. */
  readonly base: string;
  /** Some covering rule or some group makes a difference between clients. */
  readonly dependsOnClient: boolean;
};

const uncovered = "any host that no rule covers";

/** Goes through the patterns of both, each once, and at last to a host that neither knows. */
export function* collectProbes(before: Ruleset, after: Ruleset): Generator<Probe> {
  const byMode = [...before.groups, ...after.groups].some((group) => group.mode !== undefined);
  const reports =
    byMode || [...before.rules, ...after.rules].some(({ rule, file }) => (rule.mode ?? file.defaultMode) === "report");
  for (const { text, hosts } of collectSpots(before, after)) {
    for (const { host, label } of hosts) {
      const rules = [...coveringRules(before, host), ...coveringRules(after, host)];
      const dependsOnClient = byMode || rules.some((rule) => rule.audience !== 0);
      for (const { request, base, kind, port, http } of requestsFor(rules, reports)) {
        const facts: RequestFacts = { kind, port, http, host, hostAgrees: true, listenerAdmits: true };
        yield { facts, spot: text, hostLabel: label, hostsOfSpot: hosts.length, request, base, dependsOnClient };
      }
    }
  }
  yield* uncoveredProbes(before, after, byMode);
}

type Sample = { readonly host: Host; readonly label: string };

function* collectSpots(
  before: Ruleset,
  after: Ruleset,
): Generator<{ readonly text: string; readonly hosts: readonly Sample[] }> {
  const seen = new Set<string>();
  for (const { key } of [...before.hostGroups, ...after.hostGroups]) {
    if (seen.has(key.text)) continue;
    seen.add(key.text);
    yield { text: key.text, hosts: namesOf(key) };
  }
  for (const { key } of [...before.addressGroups, ...after.addressGroups]) {
    if (seen.has(key.text)) continue;
    seen.add(key.text);
    yield { text: key.text, hosts: addressesOf(key) };
  }
}

/** An exact name; of a suffix the apex, a name below it and one three labels below; of a glob some name. */
function namesOf(pattern: Pattern): readonly Sample[] {
  const own = sampleName(pattern, stranger) ?? sampleName(pattern);
  if (own === undefined) return [];
  if (pattern.kind !== "suffix") return samples([[own, pattern.text]]);
  return samples([
    [own, own],
    [`${stranger}.${own}`, `names one label below ${own}`],
    [`${stranger}.a.b.${own}`, `names further below ${own}`],
  ]);
}

function samples(names: readonly (readonly [name: string, label: string])[]): Sample[] {
  return names.flatMap(([name, label]) => {
    const host = parseHost(name);
    return host === undefined ? [] : [{ host, label }];
  });
}

/** The first address of a block and the last. */
function addressesOf({ bytes, prefix, text }: Cidr): readonly Sample[] {
  const last = bytes.map((byte, i) => byte | (0xff >> Math.min(8, Math.max(0, prefix - i * 8))));
  const ends = prefix === bytes.length * 8 ? [bytes] : [bytes, last];
  return ends.map((end) => {
    const address = addressOfBytes(end);
    return { host: { kind: "address", address }, label: ends.length === 1 ? text : address.text };
  });
}

function coveringRules(ruleset: Ruleset, host: Host): readonly CompiledRule[] {
  if (host.kind === "address")
    return ruleset.addresses.lookup(host.address).flatMap((number) => ruleset.addressGroups[number]?.rules ?? []);
  const count = ruleset.hosts.lookup(host.name);
  return Array.from(ruleset.hosts.covering.subarray(0, count)).flatMap(
    (number) => ruleset.hostGroups[number]?.rules ?? [],
  );
}

/** In report mode hosts without a rule pass on ports that some rule names. */
function* uncoveredProbes(before: Ruleset, after: Ruleset, dependsOnClient: boolean): Generator<Probe> {
  const host = parseHost(`${stranger}.invalid`);
  if (host === undefined || coveringRules(before, host).length + coveringRules(after, host).length > 0) return;
  const ports = new Set([443, ...before.tunnelPorts.keys(), ...after.tunnelPorts.keys()]);
  const facts = { host, hostAgrees: true, listenerAdmits: true } as const;
  const words = { spot: uncovered, hostLabel: uncovered, hostsOfSpot: 1, dependsOnClient };
  const http: HttpFacts = { method: "GET", path: "/", range: "none", websocket: false };
  yield { facts: { ...facts, kind: "http", port: 80, http }, request: "http:80", base: "http:80", ...words };
  for (const port of ports) {
    const request = `CONNECT ${port}`;
    yield { facts: { ...facts, kind: "connect", port, http: undefined }, request, base: request, ...words };
  }
}
