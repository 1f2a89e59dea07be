/** Denials and proposals in words: what `sallyport why` and `sallyport allow` print. */
import type { Change } from "../review/diff.ts";
import type { DenialView } from "./denial-view.ts";
import type { OfferedProposal } from "./denial-proposal.ts";

/** What is told of one cause. */
export type CauseText = {
  readonly denial: DenialView;
  readonly asked: string;
  /** What was wrong, as sentences. */
  readonly message: string;
  /** What the policy in force would do now, where that is another thing; else empty. */
  readonly today: string;
  /** `site.yaml:12` of the rule in `nearest` or `rule`. */
  readonly place: string | undefined;
  /** What whoever asks, or a policy, can change. */
  readonly remedies: readonly string[];
  readonly others: readonly DenialView[];
};

export function whyText({ denial, asked, message, today, place, remedies, others }: CauseText): string {
  const { id, reason, would, count, would_count, first_seen, last_seen, clients, other_clients, sni, last } = denial;
  const heading = would === undefined ? `denied: ${reason}` : `report mode let it pass: ${reason}`;
  const often = count === 1 ? `once, at ${last_seen}` : `${count} times, from ${first_seen} to ${last_seen}`;
  const who = [
    ...clients.map((one) => `${one.address} (${one.count})`),
    ...(other_clients > 0 ? [`others (${other_clients})`] : []),
  ];
  const closest = denial.nearest ?? denial.rule;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["id", id],
    ["asked for", asked],
    ["server name", sni],
    ["Range", last.range],
    ["TLS", last.tls],
    ["by", `${who.join(", ")}, group ${denial.group}`],
    ["how often", would_count > 0 && would_count < count ? `${often}; ${would_count} of them passed` : often],
    ["closest rule", closest === undefined ? "none" : `${closest}${place === undefined ? "" : `, ${place}`}`],
  ];
  const lines = [
    heading,
    message,
    "",
    ...rows.flatMap(([name, value]) => (value === undefined ? [] : [`${name.padEnd(12)}  ${value}`])),
    ...(today === "" ? [] : ["", today]),
    ...(remedies.length === 0 ? [] : ["", "to be allowed:", ...remedies.map((text) => `  - ${text}`)]),
    ...(others.length === 0 ? [] : ["", `what else ${last.client} was denied:`, ...tableOf(others)]),
    "",
    `what a rule would have to be: sallyport allow ${id}`,
    `what it means: docs/reasons.md#${reason}`,
  ];
  return plain(lines);
}

/** Several causes, one a line. */
export function listText(denials: readonly DenialView[], matched: number): string {
  const more = matched > denials.length ? [`… and ${matched - denials.length} more`] : [];
  return plain([...tableOf(denials), ...more, "", "one of them: sallyport why ID"]);
}

export function proposalText(proposal: OfferedProposal, id: string): string {
  switch (proposal.kind) {
    case "allowed":
      return plain([`# ${id}: the policy in force allows this already, by ${proposal.rule ?? "its mode"}`]);
    case "none":
      return plain([
        `# ${id}: no rule can allow this: ${proposal.why}`,
        ...(proposal.instead.length === 0 ? [] : ["# instead:"]),
        ...proposal.instead.map((text) => `#   - ${text}`),
      ]);
    case "rule":
      return plain([
        ...packLines(proposal.packs ?? []),
        `# at the top of rules: in ${proposal.file}`,
        ...proposal.yaml.trimEnd().split("\n"),
        ...changeLines(proposal.changes),
      ]);
  }
}

function packLines(packs: NonNullable<OfferedProposal["packs"]>): readonly string[] {
  if (packs.length === 0) return [];
  return [
    "# a pack covers it, with the vendor's document as its source; better than a rule of your own:",
    ...packs.map(({ use, pack, rule }) => `#   use: ${use}   # ${pack} has this endpoint (${rule})`),
    "# else:",
  ];
}

const maxChanges = 12;

function changeLines(changes: readonly Change[] | undefined): readonly string[] {
  if (changes === undefined) return ["# not tried on the policy, which is large: sallyport diff OLD NEW"];
  const lines = changes.map(({ kind, requests, patterns, clients, before, after, conditions }) => {
    const who = clients === null ? "" : ` for ${clients.join(", ")}`;
    const what = { allowed: "newly allowed", denied: "newly denied", rule: "by another rule", conditions: "otherwise" };
    const how = kind === "rule" ? `: ${before.rule ?? before.reason}, then ${after.rule ?? after.reason}` : "";
    const terms = conditions.length === 0 ? "" : ` (${conditions.join(", ")})`;
    return `#   ${what[kind]}: ${requests.join(", ")} of ${patterns.join(", ")}${who}${how}${terms}`;
  });
  const more = lines.length > maxChanges ? [`#   … and ${lines.length - maxChanges} more`] : [];
  return ["# tried on the policy in force, it changes:", ...lines.slice(0, maxChanges), ...more];
}

function tableOf(denials: readonly DenialView[]): readonly string[] {
  const rows = denials.map((one) => [
    `  ${one.id}`,
    `${one.count}x`,
    one.would === undefined ? one.reason : `${one.reason} (passed)`,
    one.protocol === "connect" ? `CONNECT ${one.host}:${one.port}` : `${one.last.method} ${one.host}:${one.port}`,
    one.group,
    one.last_seen,
  ]);
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** Controls, and marks that turn the direction of text. */
// eslint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** What a client chose must not steer the terminal that shows it. */
function plain(lines: readonly string[]): string {
  return lines.map((line) => `${line.replace(control, "?")}\n`).join("");
}
