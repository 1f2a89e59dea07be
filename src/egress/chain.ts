/**
 * Things that come and go by the thousand a second: a doubly linked list. A Set or a Map would do, but one that is
 * emptied as fast as it is filled makes a new table every few entries, and V8 keeps what the old tables still name
 * until the next full collection: half of what a tunnel had allocated outlived it (docs/benchmarks.md).
 */

export type Link<T> = {
  readonly value: T;
  /** Undefined once it has been removed, so that what is gone holds nobody. */
  previous: Link<T> | undefined;
  next: Link<T> | undefined;
  inChain: boolean;
};

export type Chain<T> = {
  readonly add: (value: T) => Link<T>;
  /** Does nothing where it has been removed already. */
  readonly remove: (link: Link<T>) => void;
  readonly size: () => number;
  /** All that are there when it is called and not removed by `visit` itself. */
  readonly each: (visit: (value: T, link: Link<T>) => void) => void;
};

export function createChain<T>(): Chain<T> {
  let first: Link<T> | undefined;
  let size = 0;
  return {
    add: (value) => {
      const link: Link<T> = { value, previous: undefined, next: first, inChain: true };
      if (first !== undefined) first.previous = link;
      first = link;
      size += 1;
      return link;
    },
    remove: (link) => {
      if (!link.inChain) return;
      link.inChain = false;
      if (link.previous === undefined) first = link.next;
      else link.previous.next = link.next;
      if (link.next !== undefined) link.next.previous = link.previous;
      link.previous = undefined;
      link.next = undefined;
      size -= 1;
    },
    size: () => size,
    each: (visit) => {
      const all: Link<T>[] = [];
      for (let link = first; link !== undefined; link = link.next) all.push(link);
      for (const link of all) if (link.inChain) visit(link.value, link);
    },
  };
}
