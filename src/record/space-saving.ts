/**
 * The most frequent of many names in bounded memory: Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation
 * of Frequent and Top-k Elements in Data Streams, 2005). A name that has no counter takes over the smallest one.
 */

/** `count - error` sightings are certain, `count` is the most that there can have been. */
export type Counted = { readonly count: number; readonly error: number };

export type SpaceSaving = {
  readonly add: (name: string) => void;
  /** In no order; at most `capacity`. */
  readonly entries: () => Iterable<readonly [name: string, counted: Counted]>;
};

/**
 * Any name with more than 1/capacity of all sightings has a counter, and no error is larger than that. Adding takes
 * constant time on average: counts only grow, so the smallest are looked for from where the last one was found.
 */
export function createSpaceSaving(capacity: number): SpaceSaving {
  const places = new Map<string, number>();
  const names: string[] = [];
  const counts = new Float64Array(capacity);
  const errors = new Float64Array(capacity);
  let least = 1;
  let cursor = 0;
  /** Where a smallest counter is; all places are taken. */
  const findLeast = (): number => {
    for (; ; cursor = 0) {
      for (; cursor < capacity; cursor++) if (counts[cursor] === least) return cursor;
      least = counts.reduce((smallest, count) => Math.min(smallest, count));
    }
  };
  return {
    add(name) {
      const known = places.get(name);
      if (known !== undefined) {
        counts[known] = (counts[known] ?? 0) + 1;
        return;
      }
      if (names.length < capacity) {
        counts[names.length] = 1;
        places.set(name, names.length);
        names.push(name);
        return;
      }
      const place = findLeast();
      places.delete(names[place] ?? "");
      places.set(name, place);
      names[place] = name;
      errors[place] = least;
      counts[place] = least + 1;
    },
    *entries() {
      for (const [place, name] of names.entries())
        yield [name, { count: counts[place] ?? 0, error: errors[place] ?? 0 }];
    },
  };
}
