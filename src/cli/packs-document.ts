/** The packs as a Markdown document: each pack's table as its vendor would write it, every row with its source. */
import type { PackSummary } from "../config/packs.ts";
import { endpointName } from "../policy/conditions.ts";
import type { PolicyFile, Rule, Source } from "../policy/rule.ts";

/** A pack, and what it opens with every value of its parameters. */
export type DocumentedPack = { readonly summary: PackSummary; readonly file: PolicyFile };

/** One section a pack, in the order given. Ends with a newline. */
export function packsDocument(packs: readonly DocumentedPack[]): string {
  return packs.map(section).join("\n");
}

function section({ summary, file }: DocumentedPack): string {
  const { name, title, description, params, checked } = summary;
  const sources = uniqueSources(file.rules);
  const lines = [
    `### ${name}`,
    "",
    `${title ?? name}. ${description ?? ""}`.trimEnd(),
    "",
    ...params.map(({ name: parameter, description: meaning, values }) => {
      const choice = values === undefined ? "" : `: ${values.join(", ")}`;
      return `- parameter \`${parameter}\` (${meaning ?? "required"})${choice}`;
    }),
    ...(params.length === 0 ? [] : [""]),
    "| rule | hosts | expect | Range | other conditions | for | source |",
    "|---|---|---|---|---|---|---|",
    ...file.rules.map((rule) => row(rule, sources)),
    "",
    ...sources.map((source, i) => `${i + 1}. ${sourceText(source)}`),
    "",
    ...(checked === undefined
      ? []
      : [`Checked ${checked.first === checked.last ? checked.first : `${checked.first} to ${checked.last}`}.`, ""]),
  ];
  return lines.join("\n");
}

function row(rule: Rule, sources: readonly Source[]): string {
  const hosts = [
    ...rule.patterns.map(({ text }) => text),
    ...rule.addresses.map(({ text }) => text.replace(/\/(32|128)$/, "")),
  ];
  const cells = [
    rule.id,
    hosts.map((host) => `\`${host}\``).join("<br>"),
    rule.endpoints.map(endpointName).join(", "),
    rule.endpoints.some(({ scheme }) => scheme === "http") ? rule.range : "",
    conditions(rule).join(", "),
    rule.purpose ?? "",
    rule.source === undefined
      ? ""
      : `${sources.findIndex((source) => isSame(source, rule.source)) + 1} (${rule.source.confidence ?? "?"})`,
  ];
  return `| ${cells.join(" | ")} |`;
}

/** What differs from the language's defaults. */
function conditions({ sni, websocket, resolvesTo, paths, idleTimeoutMs, methods, endpoints }: Rule): string[] {
  const hasHttp = endpoints.some(({ scheme }) => scheme === "http");
  return [
    ...(sni === undefined ? [] : [`sni: ${sni}`]),
    ...(websocket === "allow" ? ["websocket"] : []),
    ...(resolvesTo.private ? ["may resolve to private addresses"] : []),
    ...(paths === null ? [] : [`paths ${paths.map((path) => `\`${path}\``).join(" ")}`]),
    ...(hasHttp && methods.length <= 3 ? [methods.join(" ")] : []),
    ...(idleTimeoutMs === undefined ? [] : [`idle ${idleTimeoutMs / 60_000} min`]),
  ];
}

function uniqueSources(rules: readonly Rule[]): readonly Source[] {
  const unique: Source[] = [];
  for (const { source } of rules) {
    if (source !== undefined && !unique.some((known) => isSame(known, source))) unique.push(source);
  }
  return unique;
}

function isSame(a: Source, b: Source | undefined): boolean {
  return a.title === b?.title && a.address === b.address;
}

function sourceText({ title, address }: Source): string {
  return address === undefined ? title : `[${title}](${address})`;
}
