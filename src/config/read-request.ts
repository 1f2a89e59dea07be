/** A request in words, as `explain` takes it from the command line, a line of JSON or a query, read into what is decided. */
import { LRUCache } from "lru-cache";
import { tlsVersions } from "./read-rule.ts";
import { suggest } from "./suggest.ts";
import { parseMoment } from "./units.ts";
import type { Groups } from "../identity/groups.ts";
import { type Address, parseAddress } from "../names/address.ts";
import type { TlsVersion } from "../policy/rule.ts";
import type { TrialRequest } from "../policy/trial.ts";

/** Keys as in interface.md, `explain --ndjson`; values unjudged, and further keys are left alone. */
export type RequestWords = Readonly<Record<string, unknown>>;

export type RequestReading =
  | { readonly kind: "request"; readonly request: TrialRequest }
  /** `message` completes "KEY TEXT …". */
  | {
      readonly kind: "problem";
      readonly key: string;
      readonly text: string;
      readonly message: string;
      readonly instead: string | undefined;
    };

/** Addresses that were read are kept: a list of requests names the same clients over and over. */
const keptAddresses = 1024;
const versions: ReadonlyMap<string, TlsVersion> = new Map(Object.entries(tlsVersions));

/**
 * Makes a reader. What it refuses: a missing `method` or `target`, a value of another type, text that is no address,
 * TLS version or moment, and a group that the policy does not have. A malformed target is for the decision to refuse.
 */
export function createRequestReader(groups: Groups): (words: RequestWords) => RequestReading {
  const addresses = new LRUCache<string, Address>({ max: keptAddresses });
  const groupNames = new Set(groups.map((group) => group.name));

  const addressOf = (text: string): Address | undefined => {
    const kept = addresses.get(text);
    if (kept !== undefined) return kept;
    const address = parseAddress(text);
    if (address !== undefined) addresses.set(text, address);
    return address;
  };

  return (words) => {
    let problem: (RequestReading & { kind: "problem" }) | undefined;
    const refuse = (key: string, value: unknown, message: string, instead?: string): undefined => {
      const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
      problem ??= { kind: "problem", key, text, message, instead };
    };
    const textAt = (key: string): string | undefined => {
      const value = words[key];
      if (value === undefined || typeof value === "string") return value;
      return refuse(key, value, "is no text");
    };
    const versionAt = (key: string): TlsVersion | undefined => {
      const text = textAt(key);
      if (text === undefined) return undefined;
      return (
        versions.get(text) ??
        refuse(key, text, `is no TLS version: one of ${[...versions.keys()].join(", ")}`, versionIn(text))
      );
    };
    const addressAt = (key: string, value: unknown): Address | undefined => {
      if (value === undefined) return undefined;
      return (typeof value === "string" ? addressOf(value) : undefined) ?? refuse(key, value, "is no IP address");
    };
    const resolvedAt = (value: unknown): readonly Address[] | undefined => {
      if (value === undefined) return undefined;
      const list: readonly unknown[] = Array.isArray(value) ? value : [value];
      if (list.length === 0) return refuse("resolved", value, "has no address: leave it out where nothing is known");
      return list.flatMap((one) => addressAt("resolved", one ?? null) ?? []);
    };
    const groupAt = (): string | undefined => {
      const name = textAt("group");
      if (name === undefined || groupNames.has(name)) return name;
      const known = groupNames.size === 0 ? "the policy has none" : `one of ${[...groupNames].join(", ")}`;
      return refuse("group", name, `is no group: ${known}`, suggest(name, groupNames));
    };
    const timeAt = (): number | undefined => {
      const text = textAt("time");
      if (text === undefined) return undefined;
      return parseMoment(text) ?? refuse("time", text, "is no moment: 2027-03-01 or 2027-03-01T12:00:00Z, in UTC");
    };
    const flagAt = (key: string): boolean | undefined => {
      const value = words[key];
      if (value === undefined || typeof value === "boolean") return value;
      return refuse(key, value, "is neither true nor false");
    };

    const method = textAt("method") ?? refuse("method", "", "is missing");
    const target = textAt("target") ?? refuse("target", "", "is missing");
    const request: TrialRequest = {
      method: method ?? "",
      target: target ?? "",
      client: addressAt("client", words["client"]),
      group: groupAt(),
      host: textAt("host"),
      range: textAt("range"),
      websocket: flagAt("websocket") ?? false,
      sni: words["sni"] === null ? null : textAt("sni"),
      tls: words["tls"] === null ? null : versionAt("tls"),
      ech: flagAt("ech"),
      serverTls: versionAt("server_tls"),
      resolved: resolvedAt(words["resolved"]),
      time: timeAt(),
    };
    return problem ?? { kind: "request", request };
  };
}

/** `TLSv1.2`, `tls 1.2` and `12` are probably `1.2`. */
function versionIn(text: string): string | undefined {
  const [, minor] = /^(?:tls)?[\s_]*v?1[._]?([0-3])$/i.exec(text.trim()) ?? [];
  return minor === undefined ? undefined : `1.${minor}`;
}
