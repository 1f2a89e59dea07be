/**
 * squid.conf to a site policy. Squid takes the first line that matches; Sallyport the most specific pattern, which then
 * decides alone. So the lines are not translated one by one: for each name of a dstdomain ACL it is worked out what
 * Squid allows there, to whom and on which ports, and that is written as the rules of this name.
 */
import { type AddressRanges, isNoAddress, rangesKey, subtractRanges, uniteRanges } from "../names/address-ranges.ts";
import { type Groups, createGroups, slug, unique } from "./import-groups.ts";
import type { ImportFinding, Imported, ImportedRule } from "./import-report.ts";
import { type SquidJudge, createSquidJudge } from "./squid-access.ts";
import type { SquidAccess, SquidConfig } from "./squid-config.ts";
import { otherDirectives } from "./squid-directives.ts";
import { type Spot, aclsOf, ancestors, collectSpots, labels } from "./squid-names.ts";
import { type Table, createTables } from "./squid-tables.ts";

/** Pure and total; what cannot be carried over is among the findings. */
export function importSquid(config: SquidConfig): Imported {
  const judge = createSquidJudge(config);
  const findings: ImportFinding[] = [...config.findings, ...judge.findings, ...otherDirectives(config.others)];
  const tables = createTables(judge, config, findings);
  const spots = collectSpots(judge, config, findings);
  const known = new Map(spots.map((spot) => [spot.text, spot]));
  const tableAt = (spot: Spot): Table => tables(aclsOf(judge, spot));
  const groups = createGroups(judge.sources);

  const kept = new Map<string, { readonly spots: Spot[]; readonly table: Table; readonly denied: AddressRanges }>();
  const isKept = new Set<string>();
  // From the root of names to their leaves: whether a name needs rules depends on those above it.
  for (const spot of [...spots].sort((a, b) => labels(a.text) - labels(b.text) || (a.kind === "suffix" ? -1 : 1))) {
    const table = tableAt(spot);
    const above = ancestors(spot).flatMap((text) => (isKept.has(text) ? (known.get(text) ?? []) : []));
    const [nearest] = above;
    if (nearest !== undefined && tableAt(nearest).key === table.key) continue;
    const denied = subtractRanges(uniteRanges(above.map((one) => tableAt(one).allowed)), table.allowed);
    if (isNoAddress(denied) && isNoAddress(table.allowed)) continue;
    isKept.add(spot.text);
    const names = [...aclsOf(judge, spot)].join(" ");
    const key = JSON.stringify([table.key, rangesKey(denied), spot.isShared, spot.kind === "address", names]);
    const same = kept.get(key);
    if (same === undefined) kept.set(key, { spots: [spot], table, denied });
    else same.spots.push(spot);
  }

  const ids = new Set<string>();
  const rules = [...kept.values()].flatMap(({ spots: same, table, denied }) => {
    const [first] = same;
    if (first === undefined) return [];
    const acls = [...aclsOf(judge, first)];
    return rulesOf(same, acls, table, denied, config, groups, ids);
  });
  reportRest(judge, config, tables(new Set()), findings);
  return { groups: groups.list(), rules, findings: sorted(dedupe(findings)) };
}

function rulesOf(
  spots: readonly Spot[],
  acls: readonly string[],
  table: Table,
  denied: AddressRanges,
  config: SquidConfig,
  groups: Groups,
  ids: Set<string>,
): readonly ImportedRule[] {
  const isAddress = spots[0]?.kind === "address";
  const hosts = spots.map(({ text }) => (text.startsWith(".") ? `*${text}` : text)).sort();
  const places = acls.flatMap((name) => config.acls.get(name)?.at ?? []);
  const from = places.map(({ file, line }) => `${file}:${line}`).join(", ");
  const common = {
    hosts: isAddress ? [] : hosts,
    addresses: isAddress ? hosts : [],
    sharedSuffix: spots[0]?.isShared ?? false,
    resolvesTo: undefined,
  };
  const base = slug(acls.join("-"), "imported");
  const allows = table.drafts.map((draft, i): ImportedRule => ({
    ...common,
    id: unique(base, ids),
    deny: false,
    expect: draft.expect,
    methods: draft.methods,
    clients: groups.namesOf(draft.clients),
    comments:
      i === 0
        ? [`acl ${acls.join(", ")} (${from}), allowed by http_access at ${lines(table.by)}`]
        : ["the same names for other clients or methods"],
  }));
  if (isNoAddress(denied)) return allows;
  const closing: ImportedRule = {
    ...common,
    id: unique(`${base}-closed`, ids),
    deny: true,
    expect: [],
    methods: undefined,
    clients: groups.namesOf(denied),
    comments: [`acl ${acls.join(", ")} (${from}): denied here, though a wider name is allowed`],
  };
  return [...allows, closing];
}

/** Hosts that no ACL names: Sallyport denies them, whatever Squid did. */
function reportRest(judge: SquidJudge, config: SquidConfig, rest: Table, findings: ImportFinding[]): void {
  for (const line of rest.by) {
    if (isNoAddress(rest.allowed)) break;
    findings.push({
      at: line.at,
      effect: "narrower",
      message:
        line.action === "deny"
          ? "Squid allows what no line matches when the last one denies; Sallyport has no rule for every host"
          : "allows hosts that no dstdomain names; Sallyport has no rule for every host: name what your agents need, as packs do, and run in report mode to see it",
    });
  }
  if (config.access.length === 0)
    findings.push(whole("note", "there is no http_access line, so Squid denies everything, and so does this policy"));
  if (judge.domains.size === 0)
    findings.push(whole("narrower", "there is no acl of type dstdomain, so there are no hosts to make rules of"));
  findings.push(
    whole(
      "note",
      "Squid takes the first http_access line that matches, Sallyport the most specific host pattern: the order is worked into the rules, and moving rules changes nothing",
    ),
    whole(
      "note",
      "CONNECT became https: TLS 1.2 or newer with the server name that was asked for. Squid looked at neither: write tcp:PORT where something else is spoken",
    ),
    whole(
      "note",
      "names may resolve to public addresses only: add resolves_to: [private] to rules for hosts of your own network",
    ),
  );
}

function whole(effect: ImportFinding["effect"], message: string): ImportFinding {
  return { at: undefined, effect, message };
}

function lines(access: readonly SquidAccess[]): string {
  const places = access.map(({ at }) => at);
  const shown = places.slice(0, 6).map(({ file, line }) => `${file}:${line}`);
  return `${shown.join(", ")}${places.length > shown.length ? " and more" : ""}`;
}

function dedupe(findings: readonly ImportFinding[]): readonly ImportFinding[] {
  return [...new Map(findings.map((finding) => [JSON.stringify(finding), finding])).values()];
}

/** What lets more pass comes first, then in the order of the lines; what is about the whole comes last. */
function sorted(findings: readonly ImportFinding[]): readonly ImportFinding[] {
  const weight = ({ at, effect }: ImportFinding): number => (effect === "wider" ? 0 : at === undefined ? 2 : 1);
  return [...findings].sort(
    (a, b) =>
      weight(a) - weight(b) ||
      ((a.at?.file ?? "") < (b.at?.file ?? "") ? -1 : 1) * Number(a.at?.file !== b.at?.file) ||
      (a.at?.line ?? 0) - (b.at?.line ?? 0),
  );
}
