/** Goes through all patterns once and tells the ledger which rules meet there, and who decides. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { type Way, conditionsOf, endpointName, lostBetween, slotOf, waysOf } from "./conditions.ts";
import type { Ledger } from "./lint-ledger.ts";
import type { Spot, Spots } from "./spots.ts";

/**
 * For each pattern, in this order:
 * 1. rules with the same pattern: a deny wins, else the first that has the endpoint (policy.md, "Rules with the same pattern")
 * 2. the deny of a site file around it, which hides the rules of packs
 * 3. the nearest broader pattern, from which it takes decisions away
 */
export function meetRules(spots: Spots, ledger: Ledger): void {
  for (const spot of spots.list) {
    const around = spots.around(spot);
    // Where a site denies, its packs may have no say.
    const packsDecide = !spots.isCrossed(spot) && around.every(({ siteDenies }) => siteDenies.length === 0);
    const live = settleSpot(spot, around, packsDecide, ledger);
    for (const { rule, idle } of live) {
      ledger.stand(rule, spot.text, idle ?? redundancy(spot, rule, live.length, around, packsDecide, spots));
    }
    const deciding = live.filter(({ idle }) => idle === undefined).map(({ rule }) => rule);
    for (const audience of audiencesOf(deciding)) meetBroader(spot, deciding, audience, around, ledger);
  }
}

/** One rule at a spot. */
type Standing = {
  readonly rule: CompiledRule;
  readonly idle: { readonly why: "shadowed" | "redundant"; readonly by: CompiledRule } | undefined;
};

/** More than this many audiences at one pattern are not told apart. */
const maxAudiences = 8;

function settleSpot(spot: Spot, around: readonly Spot[], packsDecide: boolean, ledger: Ledger): Standing[] {
  const siteDenies = around.flatMap((broader) => broader.siteDenies).filter(isEnforced);
  const denies = spot.rules.filter((rule) => rule.deny && isEnforced(rule));
  const takers = new Map<number, Map<string, Way>>();
  const [first] = spot.rules;
  return spot.rules.map((rule) => {
    const deny = denies.find((other) => {
      if (other === rule || (rule.deny && other.index > rule.index) || !outlives(other, rule)) return false;
      return packsDecide || other.fromSite || !rule.fromSite;
    });
    const by = deny ?? (rule.fromSite ? undefined : siteDenies.find((other) => outlives(other, rule)));
    if (by !== undefined) {
      ledger.meet("shadows", by, rule, spot.text, []);
      return { rule, idle: { why: "shadowed", by } };
    }
    if (rule.deny) return { rule, idle: undefined };
    const taken = takeSlots(spot, rule, takers, ledger);
    if (taken.winner === undefined) {
      if (first !== undefined && first !== rule)
        ledger.meet("leaves_open", first, rule, spot.text, rule.endpoints.map(endpointName));
      return { rule, idle: undefined };
    }
    if (taken.open.length === 0) {
      ledger.meet("shadows", taken.winner, rule, spot.text, taken.about);
      return { rule, idle: { why: "shadowed", by: taken.winner } };
    }
    ledger.meet("overrides", taken.winner, rule, spot.text, taken.about);
    ledger.meet("leaves_open", taken.winner, rule, spot.text, taken.open);
    return { rule, idle: undefined };
  });
}

/** Which endpoints of a rule an earlier rule has taken, and which are its own from now on. */
function takeSlots(spot: Spot, rule: CompiledRule, takers: Map<number, Map<string, Way>>, ledger: Ledger) {
  const forAddress = spot.key.kind === "block";
  const own = takers.get(rule.audience) ?? new Map<string, Way>();
  takers.set(rule.audience, own);
  let winner: CompiledRule | undefined;
  const about: string[] = [];
  const open: string[] = [];
  let differs = false;
  for (const endpoint of rule.endpoints) {
    const slot = slotOf(endpoint);
    const way: Way = { rule, endpoint };
    const taker = takers.get(0)?.get(slot) ?? own.get(slot);
    if (taker === undefined || taker.rule === rule || !outlives(taker.rule, rule)) {
      open.push(endpointName(endpoint));
      if (taker === undefined) own.set(slot, way);
      continue;
    }
    winner ??= taker.rule;
    about.push(endpointName(endpoint));
    differs ||= !sameWay(taker, way, forAddress);
    if (taker.endpoint.scheme !== endpoint.scheme) {
      const judged = taker.endpoint.scheme === "https" ? ["tls"] : [];
      ledger.contradict({ winner: taker.rule, loser: rule, pattern: spot.text, about: judged });
    }
  }
  // Rules of one kind of file: what is shadowed is told as such, and only the rest as overridden.
  if (winner !== undefined && differs && (open.length > 0 || (winner.fromSite && !rule.fromSite))) {
    ledger.override({ winner, loser: rule, pattern: spot.text, about });
  }
  return { winner, about, open };
}

/** Would another rule decide the same at this spot if this one were not there? */
function redundancy(
  spot: Spot,
  rule: CompiledRule,
  count: number,
  around: readonly Spot[],
  packsDecide: boolean,
  spots: Spots,
): Standing["idle"] {
  if (count > 1) return packsDecide ? redundantBesidePack(spot, rule) : undefined;
  const [nearest] = around;
  if (nearest === undefined || spots.isCrossed(spot)) return undefined;
  const covers = (other: CompiledRule): boolean => outlives(other, rule);
  if (nearest.heads.length < nearest.rules.length || !nearest.heads.every(covers)) return undefined;
  const [by] = nearest.heads;
  if (by === undefined || (!packsDecide && rule.fromSite && nearest.heads.some((other) => !other.fromSite)))
    return undefined;
  if (rule.deny || nearest.heads.some((other) => other.deny)) {
    const same =
      nearest.heads.length === 1 &&
      rule.deny &&
      by.deny &&
      by.rule.mode === rule.rule.mode &&
      (by.fromSite || !rule.fromSite);
    return same ? { why: "redundant", by } : undefined;
  }
  const isSame = sameWays(waysOf([rule]), waysOf(nearest.heads), spot.key.kind === "block");
  return isSame ? { why: "redundant", by } : undefined;
}

/** A site's rule that a pack has as well. */
function redundantBesidePack(spot: Spot, rule: CompiledRule): Standing["idle"] {
  const [first, second] = spot.rules;
  if (first !== rule || second === undefined || !rule.fromSite || second.fromSite || spot.rules.length > 2)
    return undefined;
  if (rule.deny || second.deny || !outlives(second, rule)) return undefined;
  const isSame = sameWays(waysOf([rule]), waysOf([second]), spot.key.kind === "block");
  return isSame ? { why: "redundant", by: second } : undefined;
}

/** Compares the rules that exist for an audience with those of the nearest broader pattern that exist for it too. */
function meetBroader(
  spot: Spot,
  deciding: readonly CompiledRule[],
  audience: number,
  around: readonly Spot[],
  ledger: Ledger,
): void {
  const rules = deciding.filter((rule) => rule.audience === 0 || rule.audience === audience);
  const [child] = rules;
  if (child === undefined) return;
  for (const broader of around) {
    const shared = broader.heads.filter((rule) => audience === 0 || rule.audience === 0 || rule.audience === audience);
    const [first] = shared;
    if (first === undefined) continue;
    const parents = shared.filter((rule) => rule.audience === 0 || rule.audience === first.audience);
    compare(spot, rules, child, broader, parents, ledger);
    return;
  }
}

function compare(
  spot: Spot,
  rules: readonly CompiledRule[],
  child: CompiledRule,
  broader: Spot,
  parents: readonly CompiledRule[],
  ledger: Ledger,
): void {
  const parent = parents.find((rule) => rule.deny) ?? parents[0];
  if (parent === undefined || parent === child) return;
  if (parent.deny) {
    if (!child.deny)
      ledger.meet(
        "leaves_open",
        parent,
        child,
        spot.text,
        rules.flatMap((rule) => rule.endpoints.map(endpointName)),
      );
    return;
  }
  if (child.deny) {
    ledger.meet("overrides", child, parent, spot.text, []);
    return;
  }
  const forAddress = spot.key.kind === "block";
  const ways = waysOf(rules);
  const parentWays = waysOf(parents);
  if (sameWays(ways, parentWays, forAddress)) return;
  const lost = [...parentWays].flatMap(([slot, way]) => {
    const kept = ways.get(slot);
    return kept === undefined ? [endpointName(way.endpoint)] : lostBetween(way, kept, forAddress);
  });
  ledger.meet("overrides", child, parent, spot.text, lost);
  // Rows of packs lie in each other because their vendors' tables do: that is no news to warn of.
  if (lost.length === 0 || (!child.fromSite && !parent.fromSite)) return;
  ledger.takeAway({ winner: child, loser: parent, pattern: spot.text, about: lost }, broader.text);
}

function audiencesOf(rules: readonly CompiledRule[]): readonly number[] {
  return [...new Set(rules.map((rule) => rule.audience))].slice(0, maxAudiences);
}

/** The first rule exists whenever the second does. */
function outlives(rule: CompiledRule, other: CompiledRule): boolean {
  return (rule.audience === 0 || rule.audience === other.audience) && rule.expiresAt >= other.expiresAt;
}

/** A deny that only reports takes nothing from the others. */
function isEnforced(rule: CompiledRule): boolean {
  return rule.rule.mode !== "report";
}

function sameWays(a: ReadonlyMap<string, Way>, b: ReadonlyMap<string, Way>, forAddress: boolean): boolean {
  if (a.size !== b.size) return false;
  return [...a].every(([slot, way]) => {
    const other = b.get(slot);
    return other !== undefined && sameWay(way, other, forAddress);
  });
}

function sameWay(a: Way, b: Way, forAddress: boolean): boolean {
  if ((a.rule.rule.mode ?? a.rule.file.defaultMode) !== (b.rule.rule.mode ?? b.rule.file.defaultMode)) return false;
  // A timeout of its own stays when the defaults change.
  if (a.rule.rule.idleTimeoutMs !== b.rule.rule.idleTimeoutMs) return false;
  const conditions = conditionsOf(b, forAddress);
  return [...conditionsOf(a, forAddress)].every(([name, value]) => conditions.get(name) === value);
}
