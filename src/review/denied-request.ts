/** A denial that was recorded, put as a request in words again, so that the policy of today can be asked about it. */
import type { Groups } from "../identity/groups.ts";
import { parseAddress } from "../names/address.ts";
import { type Authority, formatAuthority } from "../names/authority.ts";
import { parseHost } from "../names/hostname.ts";
import type { TlsVersion } from "../policy/rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { TrialRequest } from "../policy/trial.ts";
import type { DenialReason } from "../policy/verdict.ts";

/** What a record says of a refused request. */
export type DeniedFacts = {
  readonly reason: DenialReason;
  /** Canonical; empty where none could be read. */
  readonly host: string;
  readonly port: number;
  readonly protocol: "connect" | "http";
  readonly method: string;
  /** Path and query, empty where they are not known. */
  readonly path: string;
  readonly range?: string | undefined;
  readonly sni?: string | undefined;
  /** `1.2` */
  readonly tls?: string | undefined;
  readonly ech: boolean;
  readonly client: string;
  readonly group: string;
  /** Full id of the rule that decided. */
  readonly rule?: string | undefined;
};

/** What was asked for; undefined where the record has no host. */
export function deniedTarget({ host, port }: DeniedFacts): Authority | undefined {
  const parsed = parseHost(host);
  return parsed === undefined || port === 0 ? undefined : { host: parsed, port };
}

/**
 * The request as far as the record tells it; undefined without a target. `isWhole` is false where the reason lay in
 * something that no record has (the Host field, resolved addresses, the bytes of a hello, a limit): the policy can then
 * allow what was refused.
 */
export function deniedRequest(
  ruleset: Ruleset,
  facts: DeniedFacts,
): { readonly request: TrialRequest; readonly isWhole: boolean } | undefined {
  const target = deniedTarget(facts);
  if (target === undefined) return undefined;
  const isConnect = facts.protocol === "connect";
  const path = facts.path === "" ? "/" : facts.path;
  const request: TrialRequest = {
    method: facts.method === "" ? "GET" : facts.method,
    target: isConnect ? formatAuthority(target) : `http://${formatAuthority(target, 80)}${path}`,
    client: parseAddress(facts.client),
    group: groupOf(ruleset.groups, facts.group),
    host: undefined,
    range: facts.range,
    ...helloOf(facts),
    resolved: undefined,
    time: undefined,
  };
  const isWhole = !untold.has(facts.reason);
  return { request: wantsWebSocket(ruleset, facts) ? { ...request, websocket: true } : request, isWhole };
}

/** A record does not say it, but the rule that refused does: it expects plain HTTP on this very port. */
function wantsWebSocket({ rules }: Ruleset, { reason, protocol, method, port, rule }: DeniedFacts): boolean {
  if (reason !== "scheme_mismatch" || protocol !== "http" || method !== "GET") return false;
  const decided = rules.find(({ fullId }) => fullId === rule);
  return decided?.endpoints.some((endpoint) => endpoint.scheme === "http" && endpoint.port === port) === true;
}

const untold: ReadonlySet<DenialReason> = new Set([
  "bad_request",
  "limit_exceeded",
  "auth_required",
  "host_mismatch",
  "address_denied",
  "hello_malformed",
  "hello_timeout",
  "hello_too_large",
]);

function groupOf(groups: Groups, name: string): string | undefined {
  return groups.some((group) => group.name === name) ? name : undefined;
}

/** What is known of a ClientHello: nothing before the tunnel, and of bytes that were none that they were none. */
function helloOf(facts: DeniedFacts): Pick<TrialRequest, "sni" | "tls" | "ech" | "serverTls"> {
  const version = versionOf(facts.tls);
  const hello = { sni: facts.sni ?? null, tls: version, ech: facts.ech, serverTls: undefined };
  switch (facts.reason) {
    case "not_tls":
      return { sni: undefined, tls: null, ech: undefined, serverTls: undefined };
    case "tls_version":
    case "ech_denied":
    case "sni_missing":
    case "sni_mismatch":
      return hello;
    case "tls_downgrade":
      return { ...hello, tls: undefined, serverTls: version };
    default:
      return { sni: undefined, tls: undefined, ech: undefined, serverTls: undefined };
  }
}

const versions: Readonly<Record<string, TlsVersion>> = { "1.0": 0x0301, "1.1": 0x0302, "1.2": 0x0303, "1.3": 0x0304 };

function versionOf(text: string | undefined): TlsVersion | undefined {
  return text === undefined ? undefined : versions[text];
}
