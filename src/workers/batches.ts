/** Values that are sent together, every so often and so many at most: whoever is flooded does not pass the flood on. */

export type Batches<T> = {
  readonly add: (item: T) => void;
  /** Sends what is there at once. */
  readonly flush: () => void;
};

export type BatchesOptions<T> = {
  readonly maxItems: number;
  readonly intervalMs: number;
  /** `dropped` items did not fit. */
  readonly send: (items: readonly T[], dropped: number) => void;
  /** Runs it once, later. */
  readonly later: (run: () => void, afterMs: number) => void;
};

/** The first item waits for `intervalMs`, and those that come by then go with it. */
export function createBatches<T>({ maxItems, intervalMs, send, later }: BatchesOptions<T>): Batches<T> {
  let items: T[] = [];
  let dropped = 0;
  const flush = (): void => {
    if (items.length === 0) return;
    send(items, dropped);
    items = [];
    dropped = 0;
  };
  return {
    add(item) {
      if (items.length >= maxItems) {
        dropped += 1;
        return;
      }
      items.push(item);
      if (items.length === 1) later(flush, intervalMs);
    },
    flush,
  };
}
