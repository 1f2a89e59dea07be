/** Patterns and blocks with the rules that stand at each, and which lies inside which: how a ruleset hangs together. */
import { type Cidr, blockText } from "../names/address.ts";
import { parseHostname } from "../names/hostname.ts";
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { eachSuffix, literalSuffix } from "../policy/host-table.ts";
import type { GlobPattern, Pattern } from "../policy/pattern.ts";
import type { PatternGroup, Ruleset } from "../policy/ruleset.ts";

/** One pattern or block, and the rules that exist at it, in order of precedence. */
export type Spot = {
  readonly key: { readonly kind: "host"; readonly pattern: Pattern } | { readonly kind: "block"; readonly cidr: Cidr };
  readonly text: string;
  readonly rules: readonly CompiledRule[];
  /** The first of the rules: what patterns inside this one are compared with. */
  readonly heads: readonly CompiledRule[];
  /** The first denies of site files, which hide the rules of packs below. */
  readonly siteDenies: readonly CompiledRule[];
};

export type Spots = {
  readonly list: readonly Spot[];
  /**
   * Spots whose pattern or block holds this one, the nearest first. Between globs, and where a glob lies around a
   * suffix, that is judged by an example: they may have only some names in common.
   */
  readonly around: (spot: Spot) => readonly Spot[];
  /** Some glob may share only a part of the names of this wildcard, so that `around` is not the whole truth. */
  readonly isCrossed: (spot: Spot) => boolean;
  /** Suffixes with more globs than are compared with each other. */
  readonly crowded: readonly { readonly suffix: string; readonly globs: readonly Spot[] }[];
};

/** Of more rules with one pattern the later ones hardly ever decide; comparing all with all below would be quadratic. */
const maxHeads = 32;

/** Each name below a suffix is matched against every glob that ends in it, by the proxy as well as here. */
export const maxGlobsAtSuffix = 256;

/**
 * Collects the spots of a ruleset. `exists` leaves out rules that nobody can meet. Cost of `around` grows with the
 * number of labels or of prefix lengths, not with that of rules.
 */
export function collectSpots(ruleset: Ruleset, exists: (rule: CompiledRule) => boolean): Spots {
  const hosts = ruleset.hostGroups.flatMap((group) => spotOf({ kind: "host", pattern: group.key }, group, exists));
  const blocks = ruleset.addressGroups.flatMap((group) => spotOf({ kind: "block", cidr: group.key }, group, exists));
  const suffixes = indexBySuffix(hosts);
  const byBlock = new Map(blocks.map((spot) => [spot.text, spot]));
  const prefixes = [...new Set(ruleset.addressGroups.map(({ key }) => key.prefix))].sort((a, b) => b - a);
  const around = (spot: Spot): readonly Spot[] =>
    spot.key.kind === "host"
      ? aroundName(suffixes, spot, spot.key.pattern)
      : aroundBlock(byBlock, prefixes, spot.key.cidr);
  const crowded = [...suffixes].flatMap(([suffix, { globs }]) =>
    globs.length > maxGlobsAtSuffix ? [{ suffix, globs }] : [],
  );
  const isCrossed = (spot: Spot): boolean =>
    spot.key.kind === "host" && isCrossedName(suffixes, spot, spot.key.pattern);
  return { list: [...hosts, ...blocks], around, isCrossed, crowded };
}

/** Some name that a pattern covers; undefined for a glob whose wildcards leave no room for one. */
export function sampleName(pattern: Pattern, filling = "x"): string | undefined {
  if (pattern.kind !== "glob") return literalSuffix(pattern);
  const name = pattern.text
    .slice("glob:".length)
    .replaceAll("**", filling)
    .replaceAll("*", filling)
    .replaceAll("?", "x");
  return parseHostname(name) !== undefined && pattern.matches(name) ? name : undefined;
}

type SuffixEntry = { suffix: Spot | undefined; globs: (Spot & { readonly glob: GlobPattern })[] };

function spotOf(
  key: Spot["key"],
  group: PatternGroup<Pattern | Cidr>,
  exists: (rule: CompiledRule) => boolean,
): Spot[] {
  const rules = group.rules.filter(exists);
  if (rules.length === 0) return [];
  const siteDenies = group.siteDeny ? rules.filter((rule) => rule.deny && rule.fromSite).slice(0, maxHeads) : [];
  return [{ key, text: group.key.text, rules, heads: rules.slice(0, maxHeads), siteDenies }];
}

function indexBySuffix(spots: readonly Spot[]): ReadonlyMap<string, SuffixEntry> {
  const entries = new Map<string, SuffixEntry>();
  for (const spot of spots) {
    if (spot.key.kind !== "host") continue;
    const { pattern } = spot.key;
    const at = literalSuffix(pattern);
    let entry = entries.get(at);
    if (entry === undefined) entries.set(at, (entry = { suffix: undefined, globs: [] }));
    if (pattern.kind === "suffix") entry.suffix = spot;
    else if (pattern.kind === "glob") entry.globs.push({ ...spot, glob: pattern });
  }
  // As the host table has them: fewer literal characters are less specific, then later in the file.
  for (const entry of entries.values()) {
    entry.globs.reverse();
    entry.globs.sort((a, b) => a.glob.literalCharacters - b.glob.literalCharacters);
  }
  return entries;
}

/** Walks from the broadest suffix to the pattern itself, in the order of specificity (policy.md, "Hosts"). */
function aroundName(entries: ReadonlyMap<string, SuffixEntry>, spot: Spot, pattern: Pattern): readonly Spot[] {
  const sample = sampleName(pattern);
  if (sample === undefined) return [];
  const own = literalSuffix(pattern);
  const found: Spot[] = [];
  eachSuffix(sample, (suffix) => {
    const entry = entries.get(suffix);
    if (entry === undefined || suffix.length > own.length) return;
    if (entry.suffix !== undefined && entry.suffix !== spot) found.push(entry.suffix);
    if (suffix.length === own.length && pattern.kind === "suffix") return;
    if (entry.globs.length > maxGlobsAtSuffix) return;
    for (const candidate of entry.globs) {
      if (candidate.text === spot.text) return;
      const covers =
        candidate.glob.matches(sample) && (pattern.kind !== "suffix" || candidate.glob.matches(`x.${sample}`));
      if (covers) found.push(candidate);
    }
  });
  return found.reverse();
}

/** Globs that end in a part of its literal labels; beside a glob, those that end like it as well. */
function isCrossedName(entries: ReadonlyMap<string, SuffixEntry>, spot: Spot, pattern: Pattern): boolean {
  if (pattern.kind === "exact") return false;
  const own = literalSuffix(pattern);
  let isCrossed = false;
  eachSuffix(own, (suffix) => {
    if (pattern.kind === "suffix" && suffix === own) return;
    isCrossed ||= entries.get(suffix)?.globs.some(({ text }) => text !== spot.text) ?? false;
  });
  return isCrossed;
}

function aroundBlock(byBlock: ReadonlyMap<string, Spot>, prefixes: readonly number[], cidr: Cidr): readonly Spot[] {
  return prefixes.flatMap((prefix) => (prefix < cidr.prefix ? (byBlock.get(blockText(cidr, prefix)) ?? []) : []));
}
