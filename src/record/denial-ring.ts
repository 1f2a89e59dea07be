/** The denials of late, one record for each cause, newest first; bounded in number, and in what one client can fill. */
import { LRUCache } from "lru-cache";
import type { DenialSighting } from "./denial-sighting.ts";

/** One cause of denial, and how often it was seen. It goes on to change for as long as it is in the ring. */
export type DenialRecord = {
  /** The last sighting. */
  readonly last: DenialSighting;
  /** All sightings, those that report mode let pass among them. */
  readonly count: number;
  /** Those that report mode let pass. */
  readonly wouldCount: number;
  readonly firstSeenMs: number;
  /** Sightings by client address; the first `maxClients` clients only. */
  readonly clients: ReadonlyMap<string, number>;
  /** Sightings by clients beyond those. */
  readonly otherClients: number;
};

export type DenialRing = {
  /** Notes a sighting, and returns the record of its cause. */
  readonly add: (sighting: DenialSighting) => DenialRecord;
  /** All records, the one that was seen last first. */
  readonly records: () => Iterable<DenialRecord>;
  readonly size: () => number;
};

export type DenialRingOptions = {
  /** Most records; a new cause puts out the one that was not seen for the longest time. */
  readonly maxRecords: number;
  /** Most records that one client may have brought in. */
  readonly maxOfClient: number;
};

export const maxClients = 16;

type Entry = {
  last: DenialSighting;
  count: number;
  wouldCount: number;
  readonly firstSeenMs: number;
  readonly clients: Map<string, number>;
  otherClients: number;
  /** The client that was first refused for this cause; the record counts as its own. */
  readonly owner: string;
};

export function createDenialRing({ maxRecords, maxOfClient }: DenialRingOptions): DenialRing {
  /** Keys of the records of each client, the one that was not seen for the longest time first. */
  const owned = new Map<string, Set<string>>();
  const entries = new LRUCache<string, Entry>({
    max: maxRecords,
    dispose: ({ owner }, key) => {
      const keys = owned.get(owner);
      keys?.delete(key);
      if (keys?.size === 0) owned.delete(owner);
    },
  });

  const claim = (owner: string, key: string): void => {
    const keys = owned.get(owner) ?? new Set();
    const [oldest] = keys;
    if (keys.size >= maxOfClient && oldest !== undefined) entries.delete(oldest);
    keys.add(key);
    owned.set(owner, keys);
  };
  const touch = ({ owner }: Entry, key: string): void => {
    const keys = owned.get(owner);
    keys?.delete(key);
    keys?.add(key);
  };

  return {
    add(sighting) {
      const { client, would, atMs } = sighting;
      const key = keyOf(sighting);
      let entry = entries.get(key);
      if (entry === undefined) {
        claim(client, key);
        const firstSeenMs = atMs;
        const clients = new Map<string, number>();
        entry = { last: sighting, count: 0, wouldCount: 0, firstSeenMs, clients, otherClients: 0, owner: client };
        entries.set(key, entry);
      } else touch(entry, key);
      entry.last = sighting;
      entry.count++;
      if (would) entry.wouldCount++;
      const ofClient = entry.clients.get(client);
      if (ofClient !== undefined) entry.clients.set(client, ofClient + 1);
      else if (entry.clients.size < maxClients) entry.clients.set(client, 1);
      else entry.otherClients++;
      return entry;
    },
    records: () => entries.values(),
    size: () => entries.size,
  };
}

/** The whole cause, as `denialId` hashes it: two causes that share an id are two records. */
function keyOf({ host, port, protocol, sni, reason, group }: DenialSighting): string {
  return JSON.stringify([host, port, protocol, sni ?? null, reason, group]);
}
