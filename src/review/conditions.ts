/** What a rule asks of the traffic on one of its endpoints, in words, so that two rules can be compared. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { tlsName } from "../policy/explain.ts";
import { type Endpoint, type ResolvesTo, sniModeOf } from "../policy/rule.ts";

/** A rule together with one of its endpoints. */
export type Way = { readonly rule: CompiledRule; readonly endpoint: Endpoint };

/**
 * What a request can be told apart by before a rule is chosen: `http:80`, or `tunnel:443` for https and tcp alike.
 * Of the rules of one pattern the first that has an endpoint on it decides.
 */
export function slotOf({ scheme, port }: Endpoint): string {
  return `${scheme === "http" ? "http" : "tunnel"}:${port}`;
}

/** `https:443`, as `expect` has it. */
export function endpointName({ scheme, port }: Endpoint): string {
  return `${scheme}:${port}`;
}

/** The rule that decides on each slot, of rules with one pattern in order of precedence. */
export function waysOf(rules: readonly CompiledRule[]): ReadonlyMap<string, Way> {
  const ways = new Map<string, Way>();
  for (const rule of rules) {
    for (const endpoint of rule.endpoints) {
      const slot = slotOf(endpoint);
      if (!ways.has(slot)) ways.set(slot, { rule, endpoint });
    }
  }
  return ways;
}

/** Names as in a policy file, with the value in force. `forAddress`: clients name an address and not a host. */
export function conditionsOf({ rule: compiled, endpoint }: Way, forAddress: boolean): ReadonlyMap<string, string> {
  const { rule } = compiled;
  const conditions = new Map([["endpoint", endpointName(endpoint)]]);
  if (endpoint.scheme === "https") {
    conditions.set("tls_min", tlsName(rule.tlsMin));
    conditions.set("sni", sniModeOf(rule, forAddress));
    conditions.set("ech", rule.ech);
  }
  if (endpoint.scheme === "http") {
    conditions.set("range", rule.range);
    conditions.set("methods", [...rule.methods].sort().join(" "));
    conditions.set("paths", rule.paths === null ? "all" : rule.paths.toSorted().join(" "));
    conditions.set("websocket", rule.websocket);
  }
  if (!forAddress) conditions.set("resolves_to", resolvesToText(rule.resolvesTo));
  if (endpoint.scheme !== "http") conditions.set("idle_timeout", `${compiled.idleTimeoutMs / 1000}s`);
  return conditions;
}

/** What the first way lets pass and the second does not, as `range: allow` or `tls_min below 1.3`; empty where nothing. */
export function lostBetween(before: Way, after: Way, forAddress: boolean): readonly string[] {
  const from = before.rule.rule;
  const to = after.rule.rule;
  const lost: string[] = [];
  if (before.endpoint.scheme !== after.endpoint.scheme) {
    if (before.endpoint.scheme === "tcp") return [`${endpointName(before.endpoint)}, which lets any bytes pass`];
    return lost;
  }
  if (before.endpoint.scheme === "https") {
    if (to.tlsMin > from.tlsMin) lost.push(`TLS ${tlsName(from.tlsMin)}`);
    const sni = sniModeOf(from, forAddress);
    if (sniRank[sniModeOf(to, forAddress)] < sniRank[sni]) lost.push(`sni: ${sni}`);
    if (from.ech === "allow" && to.ech === "deny") lost.push("ech: allow");
  }
  if (before.endpoint.scheme === "http") {
    if (rangeRank[to.range] < rangeRank[from.range]) lost.push(`range: ${from.range}`);
    const methods = from.methods.filter((method) => !to.methods.includes(method));
    if (methods.length > 0) lost.push(methods.join(" "));
    const kept = to.paths;
    const losesPaths = kept !== null && (from.paths === null || from.paths.some((path) => !kept.includes(path)));
    if (losesPaths) lost.push("some of the paths");
    if (from.websocket === "allow" && to.websocket === "deny") lost.push("websocket: allow");
  }
  if (!forAddress) lost.push(...lostAddresses(from.resolvesTo, to.resolvesTo));
  return lost;
}

const sniRank = { match: 0, covered: 1, any: 2 } as const;
const rangeRank = { deny: 0, strip: 1, allow: 2 } as const;

function resolvesToText(admitted: ResolvesTo): string {
  const words = [...(admitted.public ? ["public"] : []), ...(admitted.private ? ["private"] : [])];
  return [...words, ...admitted.cidrs.map((cidr) => cidr.text).sort()].join(" ");
}

function lostAddresses(from: ResolvesTo, to: ResolvesTo): readonly string[] {
  const lost = [
    ...(from.public && !to.public ? ["public"] : []),
    ...(from.private && !to.private ? ["private"] : []),
    ...from.cidrs.map((cidr) => cidr.text).filter((text) => !to.cidrs.some((cidr) => cidr.text === text)),
  ];
  return lost.length === 0 ? [] : [`resolves_to: ${lost.join(" ")}`];
}
