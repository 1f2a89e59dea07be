/**
 * Connections to origins that rest between two requests. Each is known by what it was vetted for: the name that was
 * asked for, the address, the port and the policy in force; and serves no request that was vetted for anything else.
 */
import type { Destination } from "./admit.ts";
import type { Deadline, Deadlines } from "./deadlines.ts";
import type { Origin } from "./origin.ts";

/** `policy` is compared by identity: what was opened under another one is not used any more. */
export type PoolKey = { readonly host: string; readonly port: number; readonly policy: object };

export type Pool = {
  /** A resting connection to one of these destinations, the latest first. It is the caller's. */
  readonly take: (key: PoolKey, admitted: readonly Destination[]) => Origin | undefined;
  /** Keeps a resting connection for the next request, or closes it where there are enough. */
  readonly keep: (key: PoolKey, origin: Origin) => void;
  /** Closes what was opened under another policy, now and whenever such a one comes back. */
  readonly use: (policy: object) => void;
  /** Closes all, and every one that is still to come. */
  readonly close: () => void;
};

/** Origins close connections themselves after 60 s and more; one that is just being closed costs a second try. */
const maxRestMs = 30_000;
const maxResting = 512;
const maxRestingOfTarget = 32;

export function createPool(deadlines: Deadlines): Pool {
  const shelves = new Map<string, Resting[]>();
  let count = 0;
  let closed = false;
  /** Undefined until one has been named: then any will do. */
  let inForce: object | undefined;

  const remove = (resting: Resting): void => {
    const shelf = shelves.get(resting.shelf);
    const i = shelf?.indexOf(resting) ?? -1;
    if (shelf === undefined || i < 0) return;
    shelf.splice(i, 1);
    if (shelf.length === 0) shelves.delete(resting.shelf);
    count -= 1;
    resting.deadline.cancel();
    resting.origin.onGone(() => {});
  };
  const end = (resting: Resting): void => {
    remove(resting);
    resting.origin.destroy();
  };

  return {
    take: ({ host, port, policy }, admitted) => {
      const shelf = shelves.get(`${host}:${port}`);
      if (shelf === undefined) return undefined;
      for (let i = shelf.length - 1; i >= 0; i--) {
        const resting = shelf[i];
        if (resting === undefined || resting.policy !== policy || !resting.origin.isResting()) continue;
        const { destination } = resting.origin;
        if (!admitted.some((one) => one.address.text === destination.address.text && one.port === destination.port))
          continue;
        remove(resting);
        return resting.origin;
      }
      return undefined;
    },
    keep: ({ host, port, policy }, origin) => {
      const name = `${host}:${port}`;
      const shelf = shelves.get(name) ?? [];
      const isOutdated = inForce !== undefined && policy !== inForce;
      if (closed || isOutdated || !origin.isResting() || count >= maxResting || shelf.length >= maxRestingOfTarget) {
        origin.destroy();
        return;
      }
      const resting: Resting = {
        origin,
        policy,
        shelf: name,
        deadline: deadlines.after(maxRestMs, () => end(resting)),
      };
      if (shelf.length === 0) shelves.set(name, shelf);
      shelf.push(resting);
      count += 1;
      origin.onGone(() => remove(resting));
    },
    use: (policy) => {
      inForce = policy;
      for (const resting of Array.from(shelves.values()).flat()) if (resting.policy !== policy) end(resting);
    },
    close: () => {
      closed = true;
      for (const resting of Array.from(shelves.values()).flat()) end(resting);
    },
  };
}

type Resting = {
  readonly origin: Origin;
  readonly policy: object;
  readonly shelf: string;
  readonly deadline: Deadline;
};
