/** One part of the fuzzing: inputs that grow out of each other, a property that holds for each, and the least that breaks it. */
import { mutate } from "./mutate.ts";
import { type Random, hashOf, randomFrom } from "./random.ts";

export type FuzzPart = {
  readonly name: string;
  /** Inputs to begin with. */
  readonly seeds: readonly Uint8Array[];
  /** Words of the format, inserted among other changes. */
  readonly words?: readonly string[];
  /** Makes an input out of nothing; used as often as mutation. */
  readonly generate?: (random: Random) => Uint8Array;
  /**
   * Throws where the property does not hold. Otherwise says in a few words what became of the input: one that is told
   * of in other words than those before is worth mutating on.
   */
  readonly check: (input: Uint8Array) => string | Promise<string>;
  /** Processor time that one input may cost; not measured where left out. */
  readonly maxCpuMs?: number;
};

/** An input that breaks the property, as small as could be made. */
export type Finding = { readonly input: Uint8Array; readonly problem: string };

export type PartResult = {
  readonly inputs: number;
  /** How often each word of `check` was said. */
  readonly outcomes: ReadonlyMap<string, number>;
  readonly finding: Finding | undefined;
};

const maxCorpus = 2000;
const minimiseMs = 10_000;

/** Runs a part until its time or its inputs are used up, or the first finding. The seeds themselves are checked first. */
export async function runPart(
  part: FuzzPart,
  seed: number,
  limit: { readonly ms?: number; readonly inputs?: number },
): Promise<PartResult> {
  const random = randomFrom(seed ^ hashOf(Buffer.from(part.name)));
  const corpus = [...part.seeds];
  const outcomes = new Map<string, number>();
  const end = performance.now() + (limit.ms ?? Infinity);
  let inputs = 0;
  while (inputs < (limit.inputs ?? Infinity) && (inputs === 0 || performance.now() < end)) {
    const input = part.seeds[inputs] ?? nextInput(part, random, corpus);
    inputs += 1;
    const outcome = await tryInput(part, input);
    if (outcome.kind === "broken") {
      const finding = await minimise(part, { input, problem: outcome.problem });
      return { inputs, outcomes, finding };
    }
    const count = outcomes.get(outcome.word) ?? 0;
    outcomes.set(outcome.word, count + 1);
    if (count < 3 && corpus.length < maxCorpus) corpus.push(input);
  }
  return { inputs, outcomes, finding: undefined };
}

/** Asserts inside a check. */
export function hold(condition: boolean, problem: string): asserts condition {
  if (!condition) throw new Error(problem);
}

type Tried = { readonly kind: "held"; readonly word: string } | { readonly kind: "broken"; readonly problem: string };

function nextInput(part: FuzzPart, random: Random, corpus: readonly Uint8Array[]): Uint8Array {
  if (part.generate !== undefined && random.chance(0.5)) {
    const made = part.generate(random);
    return random.chance(0.5) ? made : mutate(random, made, corpus, part.words);
  }
  return mutate(random, random.pick(corpus), corpus, part.words);
}

async function tryInput(part: FuzzPart, input: Uint8Array): Promise<Tried> {
  const { maxCpuMs = Infinity } = part;
  let leastMs = Infinity;
  let word = "";
  // What is slow once may have been interrupted; what is slow three times is slow.
  for (let round = 0; round < 3; round++) {
    const before = process.cpuUsage();
    try {
      word = await part.check(input);
    } catch (error) {
      return { kind: "broken", problem: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    const { user, system } = process.cpuUsage(before);
    leastMs = Math.min(leastMs, (user + system) / 1000);
    if (leastMs <= maxCpuMs) return { kind: "held", word };
  }
  return { kind: "broken", problem: `takes ${leastMs.toFixed(0)} ms of processor time, three times in a row` };
}

/** Takes out ever smaller pieces as long as something is still broken, then sees which bytes may as well be an `a`. */
async function minimise(part: FuzzPart, finding: Finding): Promise<Finding> {
  const end = performance.now() + minimiseMs;
  let best = finding;
  const isBroken = async (input: Uint8Array): Promise<boolean> => {
    const tried = await tryInput(part, input);
    if (tried.kind === "broken") best = { input, problem: tried.problem };
    return tried.kind === "broken";
  };
  for (let size = 2 ** Math.ceil(Math.log2(finding.input.length + 1)); size >= 1; size /= 2) {
    for (let at = 0; at < best.input.length;) {
      if (performance.now() > end) return best;
      const { input } = best;
      if (!(await isBroken(Buffer.concat([input.subarray(0, at), input.subarray(at + size)])))) at += size;
    }
  }
  return best;
}
