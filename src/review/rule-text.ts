/** A rule, or some of its fields, as one line of YAML: for people to copy into a site policy. */
import { tlsName } from "../policy/explain.ts";
import type { Endpoint, Permission, RangeMode, Rule, SniMode, TlsVersion } from "../policy/rule.ts";

/** Fields of a rule in their own words; what is absent has its default, or is that of the rule it is told from. */
export type RuleChanges = {
  readonly hosts?: readonly string[];
  readonly addresses?: readonly string[];
  readonly expect?: readonly Endpoint[];
  readonly tlsMin?: TlsVersion;
  readonly sni?: SniMode;
  readonly ech?: Permission;
  readonly range?: RangeMode;
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
  readonly websocket?: Permission;
  readonly resolvesTo?: readonly string[];
};

/**
 * `- { id: x, hosts: [x], expect: https }` where `changes` has hosts or addresses, else `range: allow`. The conditions
 * of `base` are kept, as far as they are not the language's defaults and `changes` says nothing else.
 */
export function ruleText(base: Rule | undefined, changes: RuleChanges): string {
  const kept = base === undefined ? {} : conditionsOf(base, changes.expect ?? base.endpoints);
  const fields = { ...kept, ...changes };
  const entries = fieldTexts(fields);
  const key = fields.hosts?.[0] ?? fields.addresses?.[0];
  return key === undefined ? entries.join(", ") : `- { id: ${idFor(key)}, ${entries.join(", ")} }`;
}

function conditionsOf(rule: Rule, endpoints: readonly Endpoint[]): RuleChanges {
  const has = (scheme: Endpoint["scheme"]): boolean => endpoints.some((endpoint) => endpoint.scheme === scheme);
  const { public: isPublic, private: isPrivate, cidrs } = rule.resolvesTo;
  const resolvesTo = [
    ...(isPublic ? ["public"] : []),
    ...(isPrivate ? ["private"] : []),
    ...cidrs.map(({ text }) => text),
  ];
  return {
    ...(has("https") && rule.tlsMin !== 0x0303 ? { tlsMin: rule.tlsMin } : {}),
    ...(has("https") && rule.sni !== undefined ? { sni: rule.sni } : {}),
    ...(has("https") && rule.ech === "deny" ? { ech: rule.ech } : {}),
    ...(has("http") && rule.range !== "deny" ? { range: rule.range } : {}),
    ...(has("http") && rule.methods.join(" ") !== defaultMethods ? { methods: rule.methods } : {}),
    ...(has("http") && rule.paths !== null ? { paths: rule.paths } : {}),
    ...(has("http") && rule.websocket === "allow" ? { websocket: rule.websocket } : {}),
    ...(resolvesTo.join(" ") === "public" ? {} : { resolvesTo }),
  };
}

/** Of a rule that names none. */
export const defaultMethods = "GET HEAD POST PUT PATCH DELETE OPTIONS";

function fieldTexts(fields: RuleChanges): readonly string[] {
  const { hosts, addresses, expect, tlsMin, sni, ech, range, methods, paths, websocket, resolvesTo } = fields;
  const texts: readonly (string | undefined)[] = [
    hosts && `hosts: ${listText(hosts)}`,
    addresses && `addresses: ${listText(addresses)}`,
    expect &&
      `expect: ${expect.length === 1 ? expect.map(endpointText).join("") : `[${expect.map(endpointText).join(", ")}]`}`,
    tlsMin && `tls_min: "${tlsName(tlsMin)}"`,
    sni && `sni: ${sni}`,
    ech && `ech: ${ech}`,
    range && `range: ${range}`,
    methods && `methods: ${listText(methods)}`,
    paths && `paths: ${listText(paths)}`,
    websocket && `websocket: ${websocket}`,
    resolvesTo && `resolves_to: ${listText(resolvesTo)}`,
  ];
  return texts.filter((text) => text !== undefined);
}

/** `http`, `https:8531`, `tcp:5721`. */
export function endpointText({ scheme, port }: Endpoint): string {
  const implied = (scheme === "http" && port === 80) || (scheme === "https" && port === 443);
  return implied ? scheme : `${scheme}:${port}`;
}

/** Quoted where YAML would read something else, or the eye might. */
export function listText(items: readonly string[]): string {
  const isPlain = (item: string): boolean =>
    /^[A-Za-z][\w.-]*$/.test(item) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(item);
  return `[${items.map((item) => (isPlain(item) ? item : JSON.stringify(item))).join(", ")}]`;
}

function idFor(key: string): string {
  const words = key
    .toLowerCase()
    .replace(/^(\*\.|glob:)/, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  const named = /^[a-z]/.test(words) ? words : `rule-${words}`;
  return named.slice(0, 60).replace(/-$/, "");
}
