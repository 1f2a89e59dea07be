/** Gathers what rules do to each other pattern by pattern, and tells it once for each pair of rules. */
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { type Finding, type Meeting, findingAt, listed } from "./finding.ts";

/** Why a rule never decides at one of its patterns. */
export type Idleness = {
  /** `shadowed`: another rule decides there before it. `redundant`: without it another would decide the same. */
  readonly why: "shadowed" | "redundant";
  readonly by: CompiledRule;
};

/** Something that one rule loses to another, at a pattern. */
export type Loss = {
  readonly winner: CompiledRule;
  readonly loser: CompiledRule;
  readonly pattern: string;
  readonly about: readonly string[];
};

export type Ledger = {
  readonly meet: (
    kind: Meeting["kind"],
    rule: CompiledRule,
    other: CompiledRule,
    pattern: string,
    about: readonly string[],
  ) => void;
  /** The rule stands at a pattern; `idle` where it never decides there. */
  readonly stand: (rule: CompiledRule, pattern: string, idle: Idleness | undefined) => void;
  /** The winner comes first with the same pattern and decides in another way. */
  readonly override: (loss: Loss) => void;
  /** The winner's pattern is narrower, `broader` is the loser's. */
  readonly takeAway: (loss: Loss, broader: string) => void;
  /** One expects TLS on a port, the other any bytes; the winner comes first. */
  readonly contradict: (loss: Loss) => void;
  readonly close: () => { readonly meetings: readonly Meeting[]; readonly findings: readonly Finding[] };
};

/** `isOurs` says of which rules warnings are given: a site's, or all those of packs that are looked at alone. */
export function createLedger(isOurs: (rule: CompiledRule) => boolean): Ledger {
  const meetings = new Map<string, Gathered & { readonly kind: Meeting["kind"] }>();
  const overrides = new Map<string, Gathered>();
  const contradictions = new Map<string, Gathered>();
  const losses = new Map<string, Gathered & { readonly broader: Set<string> }>();
  const stands = new Map<CompiledRule, Stand>();

  const standOf = (rule: CompiledRule): Stand => {
    let stand = stands.get(rule);
    if (stand === undefined) stands.set(rule, (stand = { patterns: 0, idle: [] }));
    return stand;
  };

  return {
    meet: (kind, rule, other, pattern, about) => {
      gather(
        meetings,
        `${kind} ${rule.index} ${other.index}`,
        { winner: rule, loser: other, pattern, about },
        { kind },
      );
    },
    stand: (rule, pattern, idle) => {
      const stand = standOf(rule);
      stand.patterns += 1;
      if (idle !== undefined) stand.idle.push({ ...idle, pattern });
    },
    override: (loss) => gather(overrides, `${loss.winner.index} ${loss.loser.index}`, loss, {}),
    contradict: (loss) => gather(contradictions, `${loss.winner.index} ${loss.loser.index}`, loss, {}),
    takeAway: (loss, broader) => {
      // Of a pack that lies inside a site's broad rule the administrator sees one line, and not each row.
      const winner = loss.winner.fromSite ? loss.winner.index : loss.winner.file.name;
      gather(losses, `${winner} ${loss.loser.index}`, loss, { broader: new Set<string>() }).broader.add(broader);
    },
    close: () => ({
      meetings: [...meetings.values()].map(({ kind, winner, loser, patterns, about }) => {
        return { kind, rule: winner, other: loser, patterns: [...patterns], about: [...about] };
      }),
      findings: [
        ...[...stands].flatMap(([rule, stand]) => (isOurs(rule) ? tellIdle(rule, stand) : [])),
        ...tellHidden(stands, isOurs),
        ...[...overrides.values()].flatMap((gathered) => tellOverride(gathered, isOurs)),
        ...[...losses.values()].map(tellLoss),
        ...[...contradictions.values()].map((gathered) => tellContradiction(gathered, isOurs)),
      ],
    }),
  };
}

type Gathered = {
  readonly winner: CompiledRule;
  readonly loser: CompiledRule;
  readonly patterns: Set<string>;
  readonly about: Set<string>;
};
type Stand = { patterns: number; readonly idle: (Idleness & { readonly pattern: string })[] };

function gather<Extra extends object>(
  into: Map<string, Gathered & Extra>,
  key: string,
  loss: Loss,
  extra: Extra,
): Gathered & Extra {
  let gathered = into.get(key);
  if (gathered === undefined) {
    const { winner, loser } = loss;
    gathered = { winner, loser, patterns: new Set(), about: new Set(), ...extra };
    into.set(key, gathered);
  }
  gathered.patterns.add(loss.pattern);
  for (const item of loss.about) gathered.about.add(item);
  return gathered;
}

function tellIdle(rule: CompiledRule, stand: Stand): Finding[] {
  const { patterns } = stand;
  // A pack repeats the rows of its vendor's table, also those that another row makes needless.
  const idle = stand.idle.filter(({ why }) => rule.fromSite || why === "shadowed");
  if (idle.length === 0) return [];
  const shadowed = idle.filter(({ why }) => why === "shadowed");
  const redundant = idle.filter(({ why }) => why === "redundant");
  const whole = idle.length === patterns;
  if (whole && redundant.length === 0)
    return [findingAt(rule, "shadowed", `is shadowed and never decides: ${reasons(shadowed)}`)];
  if (whole && shadowed.length === 0) {
    return [
      findingAt(
        rule,
        "redundant",
        `is redundant: without it ${bySelfOr(rule, redundant)} decides the same for ${listed(names(redundant))}`,
      ),
    ];
  }
  return [
    ...(shadowed.length === 0
      ? []
      : [findingAt(rule, "overridden", `is overridden at ${listed(names(shadowed))}: ${reasons(shadowed)}`)]),
    ...(redundant.length === 0
      ? []
      : [
          findingAt(
            rule,
            "redundant",
            `has redundant entries: without ${listed(names(redundant))} ${bySelfOr(rule, redundant)} decides the same`,
          ),
        ]),
  ];
}

/** Rules of packs that a site's denies hide whole: told at the deny, where the administrator can act. */
function tellHidden(stands: ReadonlyMap<CompiledRule, Stand>, isOurs: (rule: CompiledRule) => boolean): Finding[] {
  const hidden = new Map<CompiledRule, string[]>();
  for (const [rule, { patterns, idle }] of stands) {
    if (isOurs(rule) || idle.length < patterns) continue;
    const denies = new Set(idle.map(({ by }) => by).filter((by) => by.deny && by.fromSite));
    if (denies.size === 0 || idle.some(({ by }) => !denies.has(by))) continue;
    for (const by of denies) hidden.set(by, [...(hidden.get(by) ?? []), rule.fullId]);
  }
  return [...hidden].map(([by, rules]) => {
    const fate = rules.length === 1 ? "which is shadowed and never decides" : "which are shadowed and never decide";
    return findingAt(by, "shadowed", `denies all of ${listed(rules)}, ${fate}`);
  });
}

function tellOverride(
  { winner, loser, patterns, about }: Gathered,
  isOurs: (rule: CompiledRule) => boolean,
): Finding[] {
  const where = listed([...patterns]);
  const what = listed([...about]);
  if (isOurs(loser)) {
    return [
      findingAt(
        loser,
        "overridden",
        `is overridden at ${where}: ${winner.fullId} comes first with the same pattern and decides ${what}`,
      ),
    ];
  }
  if (!isOurs(winner)) return [];
  return [
    findingAt(winner, "overridden", `overrides ${loser.fullId} at ${where}: ${what} is decided here, in another way`),
  ];
}

function tellLoss({
  winner,
  loser,
  patterns,
  about,
  broader,
}: Gathered & { readonly broader: ReadonlySet<string> }): Finding {
  const [from = ""] = broader;
  const what = `${listed([...patterns])}; lost there: ${listed([...about])}`;
  if (winner.fromSite) {
    const owner = winner === loser ? "" : ` of ${loser.fullId}`;
    return findingAt(winner, "takes_away", `takes decisions away: ${from}${owner} no longer decides ${what}`);
  }
  return findingAt(
    loser,
    "takes_away",
    `loses decisions to the narrower rules of ${winner.file.name}: ${from} no longer decides ${what}`,
  );
}

function tellContradiction(
  { winner, loser, patterns, about }: Gathered,
  isOurs: (rule: CompiledRule) => boolean,
): Finding {
  const [at, other] = isOurs(loser) || !isOurs(winner) ? [loser, winner] : [winner, loser];
  const judged = about.has("tls") ? "TLS is judged" : "nothing judges the TLS";
  const own = at === loser ? (about.has("tls") ? "tcp" : "https") : about.has("tls") ? "https" : "tcp";
  const theirs = own === "tcp" ? "https" : "tcp";
  const message = `expects ${own} where ${other.fullId} expects ${theirs}, at ${listed([...patterns])} on one port: ${winner.fullId} comes first, so ${judged} there`;
  return findingAt(at, "tcp_beside_https", message);
}

function names(idle: Stand["idle"]): readonly string[] {
  return [...new Set(idle.map(({ pattern }) => pattern))];
}

function bySelfOr(rule: CompiledRule, idle: Stand["idle"]): string {
  return listed([...new Set(idle.map(({ by }) => (by === rule ? "its own broader pattern" : by.fullId)))]);
}

function reasons(idle: Stand["idle"]): string {
  return listed([
    ...new Set(
      idle.map(({ by, pattern }) =>
        by.deny ? `${by.fullId} denies ${pattern}` : `${by.fullId} comes first with ${pattern} and the same endpoints`,
      ),
    ),
  ]);
}
