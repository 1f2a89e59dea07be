/** The packs as a Markdown document: each pack's table as its vendor would write it, every row with rule and source. */
import { join } from "node:path";
import type { Disk } from "../config/disk.ts";
import { type PackParameterValues, loadPackAlone } from "../config/pack-alone.ts";
import { type PackParameter, type PackSummary, listPacks } from "../config/packs.ts";
import type { Problem } from "../config/problem.ts";
import { shortText } from "../names/address.ts";
import { tlsName } from "../policy/explain.ts";
import type { Endpoint, Rule, Source } from "../policy/rule.ts";

export type PacksDocument =
  /** One section for each pack, by name; ends with a newline. */
  | { readonly kind: "document"; readonly text: string }
  /** At least one pack is broken. */
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

/** Every pack of a directory. A parameter stands in the hosts as `<name>`, and its values above the table. */
export function packsDocument(disk: Disk, packsDir: string): PacksDocument {
  const problems: Problem[] = [];
  const sections = listPacks(disk, packsDir).packs.map((pack) => {
    const values = pack.params.length === 0 ? undefined : sampleValues(pack.params);
    const alone = loadPackAlone(disk, packsDir, join(packsDir, `${pack.name}.yaml`), values);
    if (alone.kind === "loaded") return section(pack, alone.pack.rules);
    problems.push(...alone.ofPack, ...alone.ofValues);
    return "";
  });
  return problems.length === 0 ? { kind: "document", text: sections.join("\n") } : { kind: "problems", problems };
}

/** One value for each parameter: a table shows the pattern, not its every instance. */
function sampleValues(params: readonly PackParameter[]): PackParameterValues {
  return Object.fromEntries(params.map((parameter) => [parameter.name, sampleOf(parameter)]));
}

function sampleOf({ name, values, kind }: PackParameter): string {
  const label = `sample-of-${name.replaceAll("_", "-")}`;
  return values?.[0] ?? (kind === "host" ? `${label}.example` : label);
}

function section({ name, title, description, params, checked }: PackSummary, rules: readonly Rule[]): string {
  const sources = uniqueSources(rules);
  const days = checked === undefined ? [] : [...new Set([checked.first, checked.last])];
  const blocks = [
    [`### ${name}`],
    [[`${title ?? name}.`, ...(description === undefined ? [] : [description])].join(" ")],
    params.map(parameterText),
    [
      "| hosts | protocol and port | Range | other conditions | for | rule | source |",
      "|---|---|---|---|---|---|---|",
      ...rules.map((rule) => row(rule, params, sources)),
    ],
    sources.map((source, i) => `${i + 1}. ${sourceText(source)}`),
    days.length === 0 ? [] : [`Checked ${days.join(" to ")}.`],
  ];
  const texts = blocks.filter((lines) => lines.length > 0).map((lines) => lines.join("\n"));
  return `${texts.join("\n\n")}\n`;
}

function parameterText({ name, description, values, optional }: PackParameter): string {
  const choice = values === undefined ? "" : `: ${values.map((value) => `\`${value}\``).join(", ")}`;
  const meaning = description === undefined ? "" : `, ${description}`;
  return `- parameter \`${name}\`${optional ? " (optional)" : ""}${meaning}${choice}`;
}

function row(rule: Rule, params: readonly PackParameter[], sources: readonly Source[]): string {
  const { patterns, addresses, endpoints, source } = rule;
  const hosts = [...patterns.map(({ text }) => asWritten(text, params)), ...addresses.map(shortText)];
  const cells = [
    hosts.map((host) => `\`${host}\``).join("<br>"),
    rule.action === "deny" ? "denied" : endpoints.map((endpoint) => protocolText(endpoint, rule)).join("<br>"),
    endpoints.some(isHttp) ? rule.range : "",
    conditions(rule).join("<br>"),
    rule.purpose ?? "",
    `\`${rule.id}\``,
    source === undefined
      ? ""
      : `${sources.findIndex((known) => isSame(known, source)) + 1}, ${source.confidence ?? ""}`,
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

/** The host with `<region>` in place of the sample that was filled in. */
function asWritten(host: string, params: readonly PackParameter[]): string {
  return params.reduce((text, parameter) => {
    const sample = sampleOf(parameter).replaceAll(".", "\\.");
    return text.replace(new RegExp(`(?<=^|\\.)${sample}(?=\\.|$)`, "g"), `<${parameter.name}>`);
  }, host);
}

function protocolText({ scheme, port }: Endpoint, { tlsMin }: Rule): string {
  if (scheme === "http") return `HTTP ${port}`;
  if (scheme === "tcp") return `TCP ${port}, any bytes`;
  const floor = `${tlsName(tlsMin)}+`;
  return port === 443 ? `HTTPS 443, TLS ${floor}` : `TLS ${floor} over TCP ${port}`;
}

/** What a rule says beyond the language's defaults. */
function conditions({ sni, websocket, resolvesTo, paths, idleTimeoutMs, methods, endpoints }: Rule): string[] {
  return [
    ...(sni === undefined ? [] : [`SNI: ${sni}`]),
    ...(websocket === "allow" ? ["WebSocket"] : []),
    ...(resolvesTo.private ? ["may have a private address"] : []),
    ...(paths === null ? [] : paths.map((path) => `\`${path}\``)),
    ...(endpoints.some(isHttp) && !methods.includes("PUT") ? [methods.join(", ")] : []),
    ...(idleTimeoutMs === undefined ? [] : [`may be silent for ${idleTimeoutMs / 60_000} min`]),
  ];
}

function isHttp({ scheme }: Endpoint): boolean {
  return scheme === "http";
}

function uniqueSources(rules: readonly Rule[]): readonly Source[] {
  const unique: Source[] = [];
  for (const { source } of rules) {
    if (source !== undefined && !unique.some((known) => isSame(known, source))) unique.push(source);
  }
  return unique;
}

function isSame(a: Source, b: Source): boolean {
  return a.title === b.title && a.address === b.address;
}

function sourceText({ title, address }: Source): string {
  return address === undefined ? title : `[${title}](${address})`;
}
