/** Packs that would allow a request: the vendor's own rule is better than one of the site's. */
import { setImmediate } from "node:timers/promises";
import type { OfferPacks, PackOffer } from "../admin/denial-proposal.ts";
import { type PackParameterValues, loadPackAlone } from "../config/pack-alone.ts";
import { type PackSummary, listPacks } from "../config/packs.ts";
import { compileRuleset } from "../policy/compile.ts";
import type { PolicyFile } from "../policy/rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { type TrialRequest, tryRequest } from "../policy/trial.ts";
import { withFile } from "../review/ruleset-with.ts";
import type { Io } from "./io.ts";
import { packsDirOf } from "./policy-target.ts";

type Variant = { readonly pack: string; readonly use: string; readonly file: PolicyFile; readonly alone: Ruleset };

/**
 * Packs are loaded at the first question, one at a time, since a proxy that answers has other things to do. A pack
 * with a parameter that takes any value is left out: which value a site has is not for us to guess.
 */
export function createPackOffers(io: Pick<Io, "disk" | "policiesDir">): OfferPacks {
  let loading: Promise<readonly Variant[]> | undefined;
  return async (ruleset, request, nowMs) => {
    const inUse = new Set(ruleset.files.map(({ name }) => name));
    loading ??= loadVariants(io);
    const offers = new Map<string, PackOffer>();
    for (const { pack, use, file, alone } of await loading) {
      if (inUse.has(file.name) || ruleAllowing(alone, { ...request, group: undefined }, nowMs) === undefined) continue;
      // Beside the rules that are there it may not get to decide.
      const rule = ruleAllowing(withFile(ruleset, file), request, nowMs);
      // Of the values of a parameter the first that will do; the widest is not among them.
      if (rule !== undefined && !offers.has(pack)) offers.set(pack, { pack, rule, use });
    }
    return [...offers.values()];
  };
}

function ruleAllowing(ruleset: Ruleset, request: TrialRequest, nowMs: number): string | undefined {
  const { decided } = tryRequest(ruleset, request, nowMs);
  return decided.kind === "allow" && decided.would === undefined ? decided.rule?.fullId : undefined;
}

async function loadVariants(io: Pick<Io, "disk" | "policiesDir">): Promise<readonly Variant[]> {
  const packsDir = packsDirOf(io);
  const variants: Variant[] = [];
  for (const summary of listPacks(io.disk, packsDir).packs) {
    for (const values of valuesOf(summary)) {
      await setImmediate();
      const loaded = loadPackAlone(io.disk, packsDir, summary.path, values);
      if (loaded.kind === "problems") continue;
      const words = Object.entries(values ?? {}).map(([name, value]) => `${name}: ${String(value)}`);
      const use = words.length === 0 ? summary.name : `{ pack: ${summary.name}, with: { ${words.join(", ")} } }`;
      variants.push({ pack: summary.name, use, file: loaded.pack, alone: compileRuleset(loaded.set) });
    }
  }
  return variants;
}

/** Each value of the first parameter, together with all values of the others. */
function valuesOf({ params }: PackSummary): readonly (PackParameterValues | undefined)[] {
  const needed = params.filter(({ optional, values }) => !optional || values !== undefined);
  const [first, ...others] = needed;
  if (first === undefined) return [undefined];
  if (needed.some(({ values }) => values === undefined)) return [];
  const rest = Object.fromEntries(others.map(({ name }) => [name, "all"]));
  return (first.values ?? []).map((value) => ({ [first.name]: value, ...rest }));
}
