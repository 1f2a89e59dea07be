/** A cause of denial as /api/denials tells it (docs/api.md). */
import { type Fields, fieldsOf } from "./read.ts";

export type Denial = {
  readonly id: string;
  /** Report mode let the last one pass. */
  readonly would: boolean;
  readonly reason: string;
  readonly rule: string;
  readonly nearest: string;
  readonly stage: string;
  readonly group: string;
  readonly host: string;
  readonly port: number;
  readonly protocol: string;
  readonly sni: string;
  readonly count: number;
  readonly wouldCount: number;
  /** ISO 8601 */
  readonly firstSeen: string;
  readonly lastSeen: string;
  readonly clients: readonly { readonly address: string; readonly count: number }[];
  readonly otherClients: number;
  /** Of the last request. */
  readonly client: string;
  readonly listener: string;
  readonly method: string;
  readonly path: string;
  readonly range: string;
  readonly tls: string;
  readonly ech: boolean;
};

export type Filter = {
  readonly search: string;
  /** Empty is all. */
  readonly reason: string;
  readonly kind: "all" | "deny" | "would";
};

export function readDenial(fields: Fields): Denial {
  const last = fields.child("last");
  return {
    id: fields.text("id"),
    would: fields.text("would") === "deny",
    reason: fields.text("reason"),
    rule: fields.text("rule"),
    nearest: fields.text("nearest"),
    stage: fields.text("stage"),
    group: fields.text("group"),
    host: fields.text("host"),
    port: fields.number("port"),
    protocol: fields.text("protocol"),
    sni: fields.text("sni"),
    count: fields.number("count"),
    wouldCount: fields.number("would_count"),
    firstSeen: fields.text("first_seen"),
    lastSeen: fields.text("last_seen"),
    clients: fields.children("clients").map((one) => ({ address: one.text("address"), count: one.number("count") })),
    otherClients: fields.number("other_clients"),
    client: last.text("client"),
    listener: last.text("listener"),
    method: last.text("method"),
    path: last.text("path"),
    range: last.text("range"),
    tls: last.text("tls"),
    ech: last.flag("ech"),
  };
}

/** Tells causes apart, also two that share an id. */
export function keyOf({ id, host, port, protocol, sni, reason, group }: Denial): string {
  return JSON.stringify([id, host, port, protocol, sni, reason, group]);
}

/** All words of the search occur, as with `?q=` of the API. */
export function matches(denial: Denial, { search, reason, kind }: Filter): boolean {
  if (reason !== "" && denial.reason !== reason) return false;
  if (kind !== "all" && denial.would !== (kind === "would")) return false;
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const { id, host, port, sni, group, rule, nearest, method, path, stage, clients } = denial;
  const mode = denial.would ? "would report" : "deny enforce";
  const texts = [id, `${host}:${port}`, sni, denial.reason, group, rule, nearest, method, path, stage, mode];
  const all = [...texts, ...clients.map(({ address }) => address)].join("\n").toLowerCase();
  return words.every((word) => all.includes(word));
}

/** `CONNECT host:443`, `GET http://host/path` */
export function askedText({ method, host, port, protocol, path }: Denial): string {
  if (host === "") return method === "" ? "a request that could not be read" : `${method}, of an unreadable target`;
  if (protocol === "connect") return `${method === "" ? "CONNECT" : method} ${host}:${port}`;
  return `${method} http://${host}${port === 80 ? "" : `:${port}`}${path}`;
}

/** The same request for the form that tries requests. */
export function trialQuery(denial: Denial): string {
  const { client, sni, tls, range, ech } = denial;
  const words = { request: askedText(denial), client, sni, tls, range, ech: ech ? "true" : "" };
  const query = new URLSearchParams(Object.entries(words).filter(([, value]) => value !== ""));
  return query.toString();
}

/** One record of a stream's event; undefined where it is none. */
export function parseDenial(data: string): Denial | undefined {
  try {
    const denial = readDenial(fieldsOf(JSON.parse(data)));
    return denial.id === "" ? undefined : denial;
  } catch {
    return undefined;
  }
}
