/**
 * How many connections there are, in all and for each client, over all workers. Each knows its own exactly, and those
 * of the others from what they last said: a connection is counted without asking anybody.
 *
 * A worker speaks up whenever a count of its has moved by a step, the 32nd part of the limit shared among the workers.
 * So what it knows of the others is wrong by a 32nd at most, and by what happened while the word was on its way.
 */
import type { ConnectionCounts } from "../ingress/connection-counts.ts";
import type { CountsChange } from "./messages.ts";

export type SharedCounts = ConnectionCounts & {
  /** What worker `from` has now. */
  readonly hear: (from: number, change: CountsChange) => void;
  /** That worker has ended, and its connections with it. */
  readonly forget: (from: number) => void;
};

export type SharedCountsOptions = {
  /** Connections of all workers. */
  readonly limit: number;
  /** Connections of this worker alone: what it has files for. */
  readonly ownLimit: number;
  readonly workers: number;
  /** Tells the others. */
  readonly say: (change: CountsChange) => void;
  /** Runs it once, soon: what changes by then is said in one go. */
  readonly soon: (run: () => void) => void;
};

type Own = { count: number; said: number; step: number };
type Heard = { total: number; readonly clients: Map<string, number> };

const stepsOfLimit = 32;

export function createSharedCounts({ limit, ownLimit, workers, say, soon }: SharedCountsOptions): SharedCounts {
  const stepOf = (most: number): number => Math.max(1, Math.floor(most / (stepsOfLimit * workers)));
  const own = new Map<string, Own>();
  const others = new Map<number, Heard>();
  /** Sums over the others. */
  const elsewhere = new Map<string, number>();
  const news = new Set<string>();
  const totalStep = stepOf(limit);
  let total = 0;
  let totalElsewhere = 0;
  let totalSaid = 0;
  let isDue = false;

  const speak = (): void => {
    isDue = false;
    const clients: [string, number][] = [];
    for (const address of news) {
      const entry = own.get(address);
      if (entry === undefined || entry.count === entry.said) continue;
      clients.push([address, entry.count]);
      entry.said = entry.count;
      if (entry.count === 0) own.delete(address);
    }
    news.clear();
    totalSaid = total;
    say({ total, clients });
  };
  const speakSoon = (): void => {
    if (isDue) return;
    isDue = true;
    soon(speak);
  };
  const note = (address: string, entry: Own): void => {
    if (Math.abs(entry.count - entry.said) >= entry.step || (entry.count === 0 && entry.said > 0)) {
      news.add(address);
      speakSoon();
    } else if (entry.count === 0) own.delete(address);
    if (Math.abs(total - totalSaid) >= totalStep) speakSoon();
  };
  const change = (address: string, by: number): void => {
    const sum = (elsewhere.get(address) ?? 0) + by;
    if (sum <= 0) elsewhere.delete(address);
    else elsewhere.set(address, sum);
  };
  const set = (heard: Heard, address: string, count: number): void => {
    change(address, count - (heard.clients.get(address) ?? 0));
    if (count === 0) heard.clients.delete(address);
    else heard.clients.set(address, count);
  };

  return {
    enter(address, perClient) {
      const entry = own.get(address) ?? { count: 0, said: 0, step: stepOf(perClient) };
      if (entry.count + (elsewhere.get(address) ?? 0) >= perClient) return "per_client";
      if (total >= ownLimit || total + totalElsewhere >= limit) return "connections";
      own.set(address, entry);
      entry.count += 1;
      total += 1;
      note(address, entry);
      return undefined;
    },
    leave(address) {
      const entry = own.get(address);
      if (entry === undefined) return;
      entry.count -= 1;
      total -= 1;
      note(address, entry);
    },
    total: () => total,
    hear(from, { total: now, clients }) {
      const heard = others.get(from) ?? { total: 0, clients: new Map<string, number>() };
      others.set(from, heard);
      totalElsewhere += now - heard.total;
      heard.total = now;
      for (const [address, count] of clients) set(heard, address, count);
    },
    forget(from) {
      const heard = others.get(from);
      if (heard === undefined) return;
      others.delete(from);
      totalElsewhere -= heard.total;
      for (const address of heard.clients.keys()) set(heard, address, 0);
    },
  };
}
