/** What was denied of late: a ring of causes, the most frequent of them, and a stream for whoever watches. */
import { type DenialRecord, createDenialRing } from "./denial-ring.ts";
import type { DenialSighting } from "./denial-sighting.ts";
import { type Ranked, type TopDimension, createTopDenials } from "./top-denials.ts";
import { type TopSlot, createTopSlots } from "./top-slots.ts";

/** One for all workers: only `add` is called from elsewhere. */
export type Denials = {
  readonly add: (sighting: DenialSighting) => void;
  /** The one that was seen last first. */
  readonly records: () => Iterable<DenialRecord>;
  /** Causes under this id, which can be more than one: an id has 50 bits. */
  readonly find: (id: string) => readonly DenialRecord[];
  /** Calls back at every sighting, with the record of its cause. Returns the end of it. */
  readonly subscribe: (listener: (record: DenialRecord) => void) => () => void;
  readonly top: (by: TopDimension, limit: number) => readonly Ranked[];
  /** For `sallyport_top_denials`. */
  readonly topSlots: () => readonly TopSlot[];
  readonly size: () => number;
  readonly capacity: number;
  /** When this began, ms since the epoch. */
  readonly sinceMs: number;
};

export type DenialsOptions = {
  /** Slots of `sallyport_top_denials`; 0 names nobody. */
  readonly topSlots: number;
  readonly capacity?: number;
  /** Most records that one client may have brought in; an eighth of the capacity. */
  readonly maxOfClient?: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** With all texts as long as they may be, some 5 MB. */
const defaultCapacity = 1024;

export function createDenials(options: DenialsOptions): Denials {
  const { capacity = defaultCapacity, maxOfClient = Math.max(1, Math.floor(capacity / 8)), now } = options;
  const ring = createDenialRing({ maxRecords: capacity, maxOfClient });
  const top = createTopDenials(now);
  const listeners = new Set<(record: DenialRecord) => void>();
  return {
    add(sighting) {
      const record = ring.add(sighting);
      top.add(sighting);
      for (const listener of listeners) listener(record);
    },
    records: ring.records,
    find: (id) => [...ring.records()].filter(({ last }) => last.id === id),
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    top: top.top,
    // Some more than there are slots: holders that no longer rank among the first still have a count.
    topSlots: createTopSlots(options.topSlots, () => (options.topSlots === 0 ? [] : top.causes(1024)), now),
    size: ring.size,
    capacity,
    sinceMs: now(),
  };
}
