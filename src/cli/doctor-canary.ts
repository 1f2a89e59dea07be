/** What `doctor` asks the proxy for: requests that the policy allows, and one that no policy allows. */
import type { Client } from "../identity/groups.ts";
import type { Address } from "../names/address.ts";
import { parseAuthority } from "../names/authority.ts";
import { formatHost } from "../names/hostname.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { tryRequest, unsaid } from "../policy/trial.ts";

/** A request that is tried for real; https is a tunnel with a TLS handshake in it. */
export type Canary = {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  /** Of plain HTTP. */
  readonly path: string;
  /** Full id of the rule that allows it; undefined where somebody has named it. */
  readonly rule: string | undefined;
};

/** Reserved, so that nobody has it and no policy can mean it (RFC 2606). */
export const deniedHost = "denied.sallyport-doctor.invalid";

/**
 * Some that this client may ask for, https first, one for each file of rules, the names that agents ask for first.
 * Rules for WebSockets and paths are left out: a GET of / is no good there.
 */
export function allowedCanaries(
  ruleset: Ruleset,
  client: Pick<Client, "address"> | undefined,
  most: number,
  nowMs: number,
): readonly Canary[] {
  const found: Canary[] = [];
  const seen = new Set<string>();
  for (const scheme of ["https", "http"] as const) {
    for (const kind of ["exact", "suffix"] as const) {
      for (const { rule, endpoints, deny, fullId, file } of ruleset.rules) {
        if (found.length >= most) return found;
        const endpoint = endpoints.find((one) => one.scheme === scheme);
        const pattern = rule.patterns.find((one) => one.kind === kind);
        if (deny || endpoint === undefined || pattern === undefined || seen.has(file.name)) continue;
        const host = pattern.kind === "suffix" ? pattern.apex : pattern.text;
        const canary = { scheme, host, port: endpoint.port, path: "/", rule: fullId };
        if (!isAllowed(ruleset, canary, client?.address, nowMs)) continue;
        seen.add(file.name);
        found.push(canary);
      }
    }
  }
  return found;
}

/** `https://host/`, `http://host:8080/path`; undefined for anything else. */
export function readCanary(text: string): Canary | undefined {
  const [, scheme = "", authority = "", path = "/"] = /^(https?):\/\/([^/?#]+)(\/\S*)?$/i.exec(text) ?? [];
  const isHttps = scheme.toLowerCase() === "https";
  const target = parseAuthority(authority, isHttps ? 443 : 80);
  if (target === undefined) return undefined;
  const host = formatHost(target.host);
  return { scheme: isHttps ? "https" : "http", host, port: target.port, path, rule: undefined };
}

/** `https://host:8443/`, as a person would write it. */
export function canaryText({ scheme, host, port, path }: Canary): string {
  const isImplied = port === (scheme === "https" ? 443 : 80);
  return `${scheme}://${host}${isImplied ? "" : `:${port}`}${path}`;
}

function isAllowed(ruleset: Ruleset, canary: Canary, client: Address | undefined, nowMs: number): boolean {
  const request =
    canary.scheme === "https"
      ? { method: "CONNECT", target: `${canary.host}:${canary.port}`, tls: 0x0304 as const }
      : { method: "GET", target: canaryText(canary) };
  return tryRequest(ruleset, { ...unsaid, client, ...request }, nowMs).reason === "allowed";
}
