/** From a name to its addresses: what is written down first, then DNS, each answer kept as long as it says. */
import { Resolver as DnsResolver } from "node:dns";
import { domainToASCII, domainToUnicode } from "node:url";
import { LRUCache } from "lru-cache";
import type { Hostname } from "../names/hostname.ts";
import { type FamilyAnswer, type Resolution, combine, familyAnswer, maxAddresses, unanswered } from "./dns-answer.ts";
import { type HostsEntry, compileHosts, followHostsFile } from "./hosts-file.ts";

/** What a lookup gives is part of what a resolver is; it stands beside the code that makes it. */
export type { Resolution } from "./dns-answer.ts";

/** The closed list of `dns_lookups_total{result}`: from the cache, written down, and four ways a query can end. */
export const lookupResults = ["hit", "hosts", "ok", "negative", "error", "timeout"] as const;
export type LookupResult = (typeof lookupResults)[number];

export type ResolverOptions = {
  /** `address` or `address:port`; empty is the system's. */
  readonly servers: readonly string[];
  readonly hosts: readonly HostsEntry[];
  /** The system's hosts file; undefined reads none. */
  readonly hostsFile: string | undefined;
  /** A lookup takes no longer than this, whatever the servers do. */
  readonly timeoutMs: number;
  /** How long a failure of any kind is kept (RFC 2308, RFC 9520); 0 keeps none. */
  readonly negativeTtlMs: number;
  /** Milliseconds, never going back. */
  readonly now: () => number;
  /** Whether IPv6 comes first: RFC 6724 rule 1 wants addresses that cannot be reached last. */
  readonly ipv6First: () => boolean;
  /** Told once for each answer. Callers that joined a running query count as `hit`. */
  readonly onLookup: (result: LookupResult) => void;
};

export type Resolver = {
  /** The answer where none has to be waited for; undefined asks nobody and counts nothing. */
  readonly cached: (name: Hostname) => Resolution | undefined;
  /** Always fulfilled, never rejected. Call it for permitted names only: a query is itself a way out. */
  readonly resolve: (name: Hostname) => Promise<Resolution>;
  /** Gives up what is under way: it ends as `dns_error`, `CANCELLED`. */
  readonly close: () => void;
};

const maxNames = 10_000;
/** Bounds the memory of a cache full of names with many addresses. */
const maxCachedAddresses = 80_000;
/** How long a positive A answer waits for AAAA (RFC 8305 section 3, "Resolution Delay"). */
const resolutionDelayMs = 50;
/**
 * The first try at a server takes a fifth of the deadline, so that a dead server leaves time for the next; c-ares
 * doubles that in each round, and with three rounds the deadline is what ends a lookup.
 */
const tries = 3;
const tryShare = 5;

/** Starts nothing until asked; `close` it to give up what is under way. */
export function createResolver(options: ResolverOptions): Resolver {
  const { now, onLookup } = options;
  const findHosts = compileHosts(options.hosts);
  const findInFile = followHostsFile(options.hostsFile, now);
  const dns = new DnsResolver({ timeout: Math.max(1, Math.floor(options.timeoutMs / tryShare)), tries });
  if (options.servers.length > 0) dns.setServers(options.servers);
  const cache = new LRUCache<Hostname, Kept>({
    max: maxNames,
    maxSize: maxCachedAddresses,
    sizeCalculation: ({ resolution }) => (resolution.kind === "addresses" ? resolution.addresses.length : 1),
  });
  /** Queries under way, each at most `timeoutMs` old; there are never more than connections that wait for one. */
  const pending = new Map<Hostname, Promise<Resolution>>();
  let closed = false;

  function cached(name: Hostname): Resolution | undefined {
    const written = findHosts(name) ?? findInFile(name);
    if (written !== undefined) {
      onLookup("hosts");
      return { kind: "addresses", addresses: written.length > maxAddresses ? written.slice(0, maxAddresses) : written };
    }
    const kept = cache.get(name);
    if (kept === undefined || kept.expiresAt <= now()) return undefined;
    onLookup("hit");
    return kept.resolution;
  }

  function resolve(name: Hostname): Promise<Resolution> {
    const known = cached(name);
    if (known !== undefined) return Promise.resolve(known);
    if (closed || !isQueryable(name)) {
      onLookup("error");
      return Promise.resolve({ kind: "dns_error", detail: closed ? "CANCELLED" : "BADNAME" });
    }
    const running = pending.get(name);
    if (running !== undefined) {
      onLookup("hit");
      return running;
    }
    const query = ask(name);
    pending.set(name, query);
    return query;
  }

  function ask(name: Hostname): Promise<Resolution> {
    return new Promise((fulfil) => {
      let waiting = true;
      let a: FamilyAnswer | undefined;
      let aaaa: FamilyAnswer | undefined;
      let delay: NodeJS.Timeout | undefined;
      const deadline = setTimeout(settle, options.timeoutMs);

      function settle(): void {
        waiting = false;
        clearTimeout(deadline);
        clearTimeout(delay);
        pending.delete(name);
        const resolution = keep();
        onLookup(resultOf(resolution));
        fulfil(resolution);
      }
      function keep(): Resolution {
        const { resolution, ttlMs } = combine(a ?? unanswered, aaaa ?? unanswered, {
          ipv6First: options.ipv6First(),
          negativeTtlMs: options.negativeTtlMs,
        });
        if (!closed && ttlMs > 0) cache.set(name, { resolution, expiresAt: now() + ttlMs });
        return resolution;
      }
      function progress(latest: FamilyAnswer): void {
        if (waiting) {
          if (a !== undefined && aaaa !== undefined) settle();
          else if (a?.kind === "records") delay = setTimeout(settle, resolutionDelayMs);
          // AAAA alone waits for A, up to the deadline: without an IPv6 route it would be no answer at all.
        } else if (latest.kind === "records") {
          keep(); // Too late for who asked, in time for the next.
        }
      }
      dns.resolve4(name, { ttl: true }, (error, records) => progress((a = familyAnswer(error, records))));
      dns.resolve6(name, { ttl: true }, (error, records) => progress((aaaa = familyAnswer(error, records))));
    });
  }

  function close(): void {
    closed = true;
    cache.clear();
    dns.cancel();
  }

  return { cached, resolve, close };
}

type Kept = { readonly resolution: Resolution; readonly expiresAt: number };

/**
 * c-ares asks for the root, "", when punycode cannot be read (`xn--a.test`), and what came back would be dialled as
 * the name's address. Such names cannot exist in DNS as registered names; they get no query.
 */
function isQueryable(name: Hostname): boolean {
  if (!name.includes("xn--")) return true;
  // Node 20 has no ASCII form of such a name; Node 24 has, but leaves the label as it is in the Unicode form.
  return domainToASCII(name) === name && !/(^|\.)xn--/.test(domainToUnicode(name));
}

function resultOf(resolution: Resolution): LookupResult {
  if (resolution.kind === "addresses") return "ok";
  if (resolution.kind === "dns_timeout") return "timeout";
  return resolution.detail === "NXDOMAIN" || resolution.detail === "NODATA" ? "negative" : "error";
}
