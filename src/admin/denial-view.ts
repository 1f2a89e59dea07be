/** A record of denials as the API shows it. Names are those of the log line where it has them. */
import type { DenialRecord } from "../record/denial-ring.ts";

/** Absent fields are undefined, which JSON leaves out. Instants are ISO 8601, UTC. */
export type DenialView = {
  readonly id: string;
  readonly verdict: "allow" | "deny";
  /** Set where report mode let the last one pass. */
  readonly would: "deny" | undefined;
  readonly reason: string;
  readonly rule: string | undefined;
  readonly nearest: string | undefined;
  readonly mode: string;
  readonly stage: string;
  readonly group: string;
  readonly host: string;
  readonly port: number;
  readonly protocol: "connect" | "http";
  readonly sni: string | undefined;
  /** Sightings, those that report mode let pass among them. */
  readonly count: number;
  readonly would_count: number;
  readonly first_seen: string;
  readonly last_seen: string;
  /** The most frequent first. */
  readonly clients: readonly { readonly address: string; readonly count: number }[];
  /** Sightings by clients that are not listed. */
  readonly other_clients: number;
  readonly last: {
    readonly client: string;
    readonly listener: string;
    readonly method: string;
    readonly path: string | undefined;
    readonly range: string | undefined;
    readonly tls: string | undefined;
    readonly ech: boolean;
    readonly policy: string;
    readonly exchange: string;
  };
};

export function viewDenial({ last, count, wouldCount, firstSeenMs, clients, otherClients }: DenialRecord): DenialView {
  return {
    id: last.id,
    verdict: last.would ? "allow" : "deny",
    would: last.would ? "deny" : undefined,
    reason: last.reason,
    rule: last.rule,
    nearest: last.nearest,
    mode: last.mode,
    stage: last.stage,
    group: last.group,
    host: last.host,
    port: last.port,
    protocol: last.protocol,
    sni: last.sni,
    count,
    would_count: wouldCount,
    first_seen: new Date(firstSeenMs).toISOString(),
    last_seen: new Date(last.atMs).toISOString(),
    clients: [...clients].map(([address, times]) => ({ address, count: times })).sort((a, b) => b.count - a.count),
    other_clients: otherClients,
    last: {
      client: last.client,
      listener: last.listener,
      method: last.method,
      path: last.path === "" ? undefined : last.path,
      range: last.range,
      tls: last.tls,
      ech: last.ech,
      policy: last.policy,
      exchange: last.exchange,
    },
  };
}

/** True where some text of the record holds all words of the search. Upper and lower case are the same. */
export function matchesSearch(record: DenialRecord, search: string): boolean {
  const { last, clients } = record;
  const { id, host, sni, reason, group, rule, nearest, method, path, stage } = last;
  const mode = last.would ? "would report" : "deny enforce";
  const texts = [id, host, `${host}:${last.port}`, sni, reason, group, rule, nearest, method, path, stage, mode];
  const all = [...texts, ...clients.keys()].join("\n").toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

/** As ids are written, from what a person typed: any case, with or without the dash, O for 0 and I or L for 1. */
export function normalizeDenialId(text: string): string | undefined {
  const plain = text.toUpperCase().replaceAll("-", "").replaceAll("O", "0").replace(/[IL]/g, "1");
  return /^[0-9A-HJKMNP-TV-Z]{10}$/.test(plain) ? `${plain.slice(0, 5)}-${plain.slice(5)}` : undefined;
}
