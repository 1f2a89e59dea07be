/** Names whose addresses are written down: `dns.hosts` of the configuration, and the system's hosts file. */
import { readFileSync, statSync } from "node:fs";
import { type Address, parseAddress } from "../names/address.ts";
import { type Hostname, parseHostname } from "../names/hostname.ts";

/** One entry of `dns.hosts`: `name`, or with `wildcard` the apex of `*.name`. */
export type HostsEntry = {
  readonly name: Hostname;
  readonly wildcard: boolean;
  readonly addresses: readonly Address[];
};
/** Addresses by name, in the order in which they were written. */
export type HostsTable = ReadonlyMap<Hostname, readonly Address[]>;
/** The addresses written down for a name; undefined for none. */
export type FindHosts = (name: Hostname) => readonly Address[] | undefined;

/** How often, at most, the hosts file is asked whether it changed. */
const recheckAfterMs = 2_000;
/** Beyond this a hosts file is not read: blocking lists of a few hundred thousand names stay below it. */
const maxFileBytes = 32 * 1024 * 1024;

/**
 * Compiles `dns.hosts`. `*.name` covers the apex and every name below; an exact entry wins, then the longest wildcard
 * (interface.md, "Where an address comes from").
 */
export function compileHosts(entries: readonly HostsEntry[]): FindHosts {
  const exact = new Map<string, readonly Address[]>();
  const below = new Map<string, readonly Address[]>();
  for (const { name, wildcard, addresses } of entries) {
    const table = wildcard ? below : exact;
    table.set(name, [...(table.get(name) ?? []), ...addresses]);
  }
  return (name) => exact.get(name) ?? (below.size === 0 ? undefined : longestSuffix(below, name));
}

/**
 * Reads hosts(5): an address, then names, `#` starts a comment. Names are made canonical; several lines for one name add up.
 * Lines that cannot be used (a zone id, a name that DNS cannot carry) are passed over, as the system does.
 */
export function parseHostsFile(text: string): HostsTable {
  const table = new Map<Hostname, Address[]>();
  for (const line of text.replace(/^\uFEFF/, "").split(/\r?\n/)) {
    const [first = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    const address = parseAddress(first);
    if (address === undefined) continue;
    for (const spelling of names) {
      const name = parseHostname(spelling);
      if (name === undefined) continue;
      const addresses = table.get(name) ?? [];
      if (!addresses.some((known) => known.text === address.text)) addresses.push(address);
      table.set(name, addresses);
    }
  }
  return table;
}

/**
 * Follows a hosts file: read again when its time or size changed. Reads synchronously, as getaddrinfo does. A
 * missing file is an empty one; one that cannot be read for the moment (out of descriptors, half replaced) leaves the
 * last contents in force. `path` undefined is no file. `now` is in milliseconds.
 */
export function followHostsFile(path: string | undefined, now: () => number): FindHosts {
  let table: HostsTable = new Map();
  let checkedAt = -Infinity;
  let seen = "";
  return (name) => {
    if (path !== undefined && now() - checkedAt >= recheckAfterMs) {
      checkedAt = now();
      ({ table, seen } = readIfChanged(path, table, seen));
    }
    return table.get(name);
  };
}

function readIfChanged(path: string, table: HostsTable, seen: string): { table: HostsTable; seen: string } {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return { table: new Map(), seen: "" };
    const version = `${stat.mtimeMs} ${stat.size} ${stat.ino}`;
    if (version === seen || stat.size > maxFileBytes) return { table, seen };
    return { table: parseHostsFile(readFileSync(path, "utf8")), seen: version };
  } catch {
    return { table, seen };
  }
}

function longestSuffix(below: ReadonlyMap<string, readonly Address[]>, name: Hostname): readonly Address[] | undefined {
  for (let start = 0; ;) {
    const addresses = below.get(start === 0 ? name : name.slice(start));
    if (addresses !== undefined) return addresses;
    const dot = name.indexOf(".", start);
    if (dot < 0) return undefined;
    start = dot + 1;
  }
}
