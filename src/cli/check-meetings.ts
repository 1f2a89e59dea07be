/** Where rules meet, in rows for a person: rule by rule for one's own, pack by pack for what packs do to each other. */
import { type Meeting, listed } from "../review/finding.ts";

const words = { shadows: "shadows", overrides: "overrides", leaves_open: "leaves open" } as const;

/** Columns: who, what, whom, at which patterns and about what. */
export function tellMeetings(meetings: readonly Meeting[], hasSite: boolean): readonly (readonly string[])[] {
  const rows = new Map<
    string,
    { readonly cells: readonly string[]; readonly patterns: Set<string>; readonly about: Set<string> }
  >();
  for (const { kind, rule, other, patterns, about } of meetings) {
    const own = rule.fromSite || other.fromSite;
    // How the rows of one vendor's table lie in each other is that pack's affair.
    if (!own && hasSite && rule.file === other.file) continue;
    const byRule = own || rule.file === other.file;
    const cells = byRule ? [rule.fullId, words[kind], other.fullId] : [rule.file.name, words[kind], other.file.name];
    const key = cells.join(" ");
    const row = rows.get(key) ?? { cells, patterns: new Set(), about: new Set() };
    rows.set(key, row);
    for (const pattern of patterns) row.patterns.add(pattern);
    for (const item of about) row.about.add(item);
  }
  return [...rows.values()].map(({ cells, patterns, about }) => {
    const what = about.size === 0 ? "" : ` (${listed([...about])})`;
    return [...cells, `${listed([...patterns])}${what}`];
  });
}
