/** Packs beside each other: what one opens alone and a pair refuses, or the reverse, stands in docs/packs.md. */
import { describe, expect, test } from "vitest";
import type { TrialAnswer, TrialRequest } from "../../src/policy/trial.ts";
import { casesOf, decideWith, loadPack, packNames, probesOf, slotOf } from "../support/pack-probes.ts";
import { codeIn, readPage, tableUnder } from "../support/packs-document.ts";

const packs = packNames.map(loadPack);
const cases = packNames.map(casesOf);
const probes = probesOf(packs, cases.flat());
const alone = packs.map((pack) => probes.map(decideWith([pack])));

/** `closes automox/agent by site/x: scheme_mismatch on tunnel:443`; each row of the table may hold several. */
const intended = new Set(
  tableUnder(readPage().byHand, "What a pair changes").flatMap(([effect = "", own = "", by = "", what = ""]) => {
    const [reason, slot] = codeIn(what);
    return codeIn(own).flatMap((rule) => {
      const deciding = by === "itself" ? [rule] : codeIn(by);
      return deciding.map((other) => `${effect} ${rule} by ${other}: ${reason} on ${slot}`);
    });
  }),
);

/** A host that a pack does not name is no row of it. */
function covers({ reason }: TrialAnswer): boolean {
  return reason !== "no_rule" && reason !== "ip_literal";
}

/** What a set of packs does to a row of one of them; undefined where nothing. */
function effectOf(probe: TrialRequest, own: TrialAnswer, together: TrialAnswer): string | undefined {
  if (own.verdict === together.verdict || !covers(own)) return undefined;
  const [effect, reason] = own.verdict === "allow" ? ["closes", together.reason] : ["opens", own.reason];
  return `${effect} ${own.decided.rule?.fullId} by ${together.decided.rule?.fullId}: ${reason} on ${slotOf(probe)}`;
}

/** What a rule grants beyond the verdict. */
function grant({ decided }: TrialAnswer, request: TrialRequest): string {
  if (decided.kind === "deny") return "nothing";
  const { rule, endpoint } = decided.permit;
  const { range, tlsMin, sni, resolvesTo } = rule?.rule ?? {};
  const rangeLeft = request.range === undefined ? undefined : range;
  return JSON.stringify([endpoint?.scheme, tlsMin, sni, resolvesTo, rule?.idleTimeoutMs, rangeLeft]);
}

describe("every pair of packs, in both orders", () => {
  const effects = new Map<string, string>();
  const changed = new Set<string>();
  for (const [a, first] of packs.entries()) {
    for (const [b, second] of packs.entries()) {
      if (a === b) continue;
      const decide = decideWith([first, second]);
      for (const [i, probe] of probes.entries()) {
        const owns = [alone[a]?.[i], alone[b]?.[i]].flatMap((answer) => answer ?? []);
        // Where one of the two does not name the host, only a server name of its own could change anything.
        if (!owns.every(covers) && typeof probe.sni !== "string") continue;
        const together = decide(probe);
        for (const own of owns) {
          const effect = effectOf(probe, own, together);
          if (effect !== undefined)
            effects.set(effect, `${first.name}, ${second.name}: ${probe.method} ${probe.target}`);
          if (own.verdict === "allow" && together.verdict === "allow" && grant(own, probe) !== grant(together, probe))
            changed.add(`${own.decided.rule?.fullId} by ${together.decided.rule?.fullId}`);
        }
      }
    }
  }

  test("decides each pack's rows as that pack alone, save what docs/packs.md lists", () => {
    const unexpected = [...effects].filter(([effect]) => !intended.has(effect));
    expect(unexpected.map(([effect, example]) => `${effect} (${example})`).sort()).toEqual([]);
  });

  test("has every effect that docs/packs.md lists", () => {
    expect(intended.size).toBeGreaterThan(10);
    expect([...intended].filter((effect) => !effects.has(effect)).sort()).toEqual([]);
  });

  test("asks the same of a row that stays open: scheme, TLS, server name, addresses, idle time, Range", () => {
    expect([...changed].sort()).toEqual([]);
  });
});

describe.each([
  ["by name", packs],
  ["in the reverse order", packs.toReversed()],
])("all packs together, %s", (_, order) => {
  const decide = decideWith(order);

  test.each(packNames)("leave every row of %s open that it opens alone, save what docs/packs.md lists", (name) => {
    const own = decideWith([loadPack(name)]);
    const rows = casesOf(name).filter((request) => own(request).verdict === "allow");
    const effects = rows.flatMap((request) => effectOf(request, own(request), decide(request)) ?? []);
    expect(rows.length).toBeGreaterThan(0);
    expect(effects.filter((effect) => !intended.has(effect))).toEqual([]);
  });

  test("open nothing that no pack opens alone, save what docs/packs.md lists", () => {
    const opened = probes.flatMap((probe, i) => {
      const answers = alone.flatMap((answersOfPack) => answersOfPack[i] ?? []);
      const together = decide(probe);
      if (together.verdict === "deny" || answers.some(({ verdict }) => verdict === "allow")) return [];
      const effects = answers.flatMap((own) => effectOf(probe, own, together) ?? []);
      return effects.length > 0 && effects.every((effect) => intended.has(effect))
        ? []
        : [`${probe.method} ${probe.target}`];
    });
    expect(opened).toEqual([]);
  });
});
