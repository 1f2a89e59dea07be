/** A whole rule as YAML, in the form that files have: for people to paste. */
import { tlsName } from "../policy/explain.ts";
import { parsePattern } from "../policy/pattern.ts";
import type { Rule } from "../policy/rule.ts";
import { defaultMethods, endpointText, listText } from "./rule-text.ts";

/**
 * An item of `rules:`, its lines indented by two, with a newline at the end. Conditions that a file's `defaults` could
 * fill are written out, so that the rule means the same in every file. `comments` stand before it.
 */
export function ruleYaml(rule: Rule, comments: readonly string[]): string {
  const lines = fieldLines(rule).map((line, i) => (i === 0 ? `  - ${line}` : `    ${line}`));
  return [...comments.map((text) => `  # ${plainText(text)}`), ...lines].map((line) => `${line}\n`).join("");
}

function fieldLines(rule: Rule): readonly string[] {
  const { patterns, addresses, endpoints, clients, resolvesTo } = rule;
  const hosts = patterns.map(({ text }) => text);
  const cidrs = resolvesTo.cidrs.map(({ text }) => text);
  const admitted = [...(resolvesTo.public ? ["public"] : []), ...(resolvesTo.private ? ["private"] : []), ...cidrs];
  const isShared = hosts.some((text) => parsePattern(text, false).kind === "problem");
  const expect = endpoints.map(endpointText);
  const lines: readonly (string | false | undefined)[] = [
    `id: ${rule.id}`,
    rule.action === "deny" && "action: deny",
    hosts.length > 0 && `hosts: ${listText(hosts)}`,
    isShared && "shared_suffix: true",
    addresses.length > 0 && `addresses: ${listText(addresses.map(({ text }) => text))}`,
    expect.length > 0 && `expect: ${expect.length === 1 ? expect.join("") : `[${expect.join(", ")}]`}`,
    ...conditionLines(rule),
    rule.action === "allow" && admitted.join(" ") !== "public" && `resolves_to: ${listText(admitted)}`,
    rule.idleTimeoutMs !== undefined && endpoints.length > 0 && `idle_timeout: ${rule.idleTimeoutMs}ms`,
    clients !== null && `clients: ${listText(clients)}`,
    rule.mode !== undefined && `mode: ${rule.mode}`,
    Number.isFinite(rule.expiresAt) && `expires: ${new Date(rule.expiresAt - 1).toISOString().slice(0, 10)}`,
    rule.ticket !== undefined && `ticket: ${JSON.stringify(plainText(rule.ticket))}`,
  ];
  return lines.filter((line) => typeof line === "string");
}

function conditionLines(rule: Rule): readonly string[] {
  const has = (scheme: string): boolean => rule.endpoints.some((endpoint) => endpoint.scheme === scheme);
  const sni = rule.patterns.length > 0 ? (rule.sni ?? "match") : rule.addressSni;
  const lines: readonly (string | false)[] = [
    ...(has("https")
      ? [`tls_min: "${tlsName(rule.tlsMin)}"`, sni !== undefined && `sni: ${sni}`, `ech: ${rule.ech}`]
      : []),
    ...(has("http")
      ? [
          rule.methods.join(" ") !== defaultMethods && `methods: ${listText(rule.methods)}`,
          rule.paths !== null && `paths: ${listText(rule.paths)}`,
          `range: ${rule.range}`,
          rule.websocket === "allow" && "websocket: allow",
        ]
      : []),
  ];
  return lines.filter((line) => typeof line === "string");
}

/** What a client chose must not end a comment, or steer the terminal that shows it. */
function plainText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}
