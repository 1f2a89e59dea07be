/** Who is denied most, over a moving window: by host, group, rule, reason, and by cause, each in bounded memory. */
import type { DenialSighting } from "./denial-sighting.ts";
import { type SpaceSaving, createSpaceSaving } from "./space-saving.ts";

export const topDimensions = ["host", "group", "rule", "reason"] as const;
export type TopDimension = (typeof topDimensions)[number];

/** What a slot of `sallyport_top_denials` names. */
export type TopCause = {
  readonly host: string;
  readonly reason: string;
  readonly group: string;
  readonly id: string;
};

/** `count` is certain; there may have been `error` more. */
export type Ranked<Name = string> = { readonly name: Name; readonly count: number; readonly error: number };

export type TopDenials = {
  readonly add: (sighting: DenialSighting) => void;
  /** The most frequent first. */
  readonly top: (by: TopDimension, limit: number) => readonly Ranked[];
  readonly causes: (limit: number) => readonly Ranked<TopCause>[];
};

/** Sightings are forgotten by slices: the window is between `slices - 1` and `slices` of them long. */
const slices = 6;
export const topWindowMs = 60 * 60 * 1000;
const sliceMs = topWindowMs / slices;
const counters = 256;

type Slice = { readonly number: number } & Readonly<Record<TopDimension | "cause", SpaceSaving>>;

/** `now` in milliseconds since the epoch. */
export function createTopDenials(now: () => number): TopDenials {
  let kept: Slice[] = [];
  const current = (): Slice => {
    const number = Math.floor(now() / sliceMs);
    const newest = kept.at(-1);
    if (newest !== undefined && newest.number >= number) return newest;
    const slice = createSlice(number);
    kept = [...kept.filter((old) => old.number > number - slices), slice];
    return slice;
  };
  const ranked = (by: TopDimension | "cause", limit: number): readonly Ranked[] => {
    const oldest = Math.floor(now() / sliceMs) - slices;
    const sums = new Map<string, { count: number; error: number }>();
    for (const slice of kept) {
      if (slice.number <= oldest) continue;
      for (const [name, { count, error }] of slice[by].entries()) {
        const sum = sums.get(name) ?? { count: 0, error: 0 };
        sums.set(name, { count: sum.count + count - error, error: sum.error + error });
      }
    }
    return [...sums]
      .map(([name, sum]) => ({ name, ...sum }))
      .sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
      .slice(0, limit);
  };
  return {
    add(sighting) {
      const { host, group, rule, reason, id } = sighting;
      const slice = current();
      slice.host.add(host);
      slice.group.add(group);
      slice.rule.add(rule ?? "_none");
      slice.reason.add(reason);
      slice.cause.add(JSON.stringify([host, reason, group, id]));
    },
    top: ranked,
    causes: (limit) => ranked("cause", limit).map((one) => ({ ...one, name: causeOf(one.name) })),
  };
}

function createSlice(number: number): Slice {
  return {
    number,
    host: createSpaceSaving(counters),
    group: createSpaceSaving(counters),
    rule: createSpaceSaving(counters),
    reason: createSpaceSaving(counters),
    cause: createSpaceSaving(counters),
  };
}

function causeOf(key: string): TopCause {
  const parts: unknown = JSON.parse(key);
  const [host = "", reason = "", group = "", id = ""] = Array.isArray(parts) ? parts.map(String) : [];
  return { host, reason, group, id };
}
