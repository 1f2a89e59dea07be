/** The slots of `sallyport_top_denials`: who is named in them, and for how long at least (interface.md, "Metrics"). */
import type { Ranked, TopCause } from "./top-denials.ts";

export type TopSlot = TopCause & { readonly count: number };

/** A slot keeps its holder at least so long, so that a series is there for more than a scrape or two. */
const holdMs = 5 * 60 * 1000;

type Holder = { readonly cause: TopCause; readonly sinceMs: number };

/**
 * Makes the function that a scrape calls. `rank` lists causes, the most frequent first; at most `slots` are named. A
 * holder gives its slot up only after `holdMs`, and only where it no longer ranks among the first `slots`.
 */
export function createTopSlots(
  slots: number,
  rank: () => readonly Ranked<TopCause>[],
  now: () => number,
): () => readonly TopSlot[] {
  let holders = new Map<string, Holder>();
  return () => {
    const nowMs = now();
    const ranked = new Map(rank().map((one) => [keyOf(one.name), one]));
    const first = new Set([...ranked.keys()].slice(0, slots));
    holders = new Map([...holders].filter(([key, { sinceMs }]) => nowMs - sinceMs < holdMs || first.has(key)));
    for (const [key, { name }] of ranked) {
      if (holders.size >= slots) break;
      if (!holders.has(key)) holders.set(key, { cause: name, sinceMs: nowMs });
    }
    return [...holders].map(([key, { cause }]) => ({ ...cause, count: ranked.get(key)?.count ?? 0 }));
  };
}

function keyOf({ host, reason, group, id }: TopCause): string {
  return JSON.stringify([host, reason, group, id]);
}
