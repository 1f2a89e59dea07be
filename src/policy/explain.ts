/** A denial in words: one sentence on what happened, one on what the nearest rule expects. Pure text, for every place that tells one. */
import type { CompiledRule } from "./compiled-rule.ts";
import type { Endpoint } from "./rule.ts";
import type { Denial } from "./verdict.ts";

/** Sentences for a denial; the request itself is told by whoever knows it. */
export function explainDenial({ reason, rule, nearest }: Denial): readonly string[] {
  const named = rule === undefined ? "The rule" : `Rule ${rule.fullId}`;
  switch (reason) {
    case "bad_request":
      return ["The request is malformed."];
    case "limit_exceeded":
      return ["A limit on connections is reached: try again later."];
    case "auth_required":
      return ["This listener asks for credentials."];
    case "host_mismatch":
      return ["The Host field names another host than the request target."];
    case "ip_literal":
      return ["No rule lists this address: an address is allowed only where a rule has it under `addresses`."];
    case "no_rule":
      return ["No rule covers this host.", ...nearestSentence(nearest)];
    case "client_denied":
      return ["Rules cover this host, but none for this client.", ...nearestSentence(nearest)];
    case "rule_denied":
      return [`${named} denies this host.`];
    case "scheme_mismatch":
    case "port_mismatch":
      return [`${named} covers this host, but expects ${expectationOf(rule)}.`];
    case "method_denied":
      return [`${named} allows ${[...(rule?.methods ?? [])].join(", ")} only.`];
    case "path_denied":
      return [`${named} does not cover this path, or the path can be read in two ways.`];
    case "range_denied":
      return [`${named} does not allow Range.`];
    case "range_invalid":
      return [`${named} allows Range in its plain form only: bytes, at most 16 ranges, ascending and disjoint.`];
    case "address_denied":
      if (rule === undefined) return ["The target has no public address, and without a rule no other is admitted."];
      return [`The name resolves to no address that rule ${rule.fullId} admits: see resolves_to.`];
    case "not_tls":
      return [`${named} expects TLS, but the first bytes are something else.`];
    case "hello_malformed":
      return ["The TLS ClientHello is malformed."];
    case "hello_timeout":
      return ["The TLS ClientHello did not arrive in time."];
    case "hello_too_large":
      return ["The TLS ClientHello is larger than the limit."];
    case "tls_version":
      return [`${named} asks for TLS ${tlsName(rule?.rule.tlsMin)} or later, which the client does not offer.`];
    case "ech_denied":
      return [`${named} does not allow Encrypted ClientHello.`];
    case "sni_missing":
      return [`${named} asks for a server name (SNI), and the ClientHello has none.`];
    case "sni_mismatch":
      return [`${named} does not allow this server name (SNI) in this tunnel.`];
    case "tls_downgrade":
      return [`The server did not negotiate TLS ${tlsName(rule?.rule.tlsMin)} or later.`];
  }
}

/** `http on port 80 or https on port 443`. */
export function expectationOf(rule: CompiledRule | undefined): string {
  const endpoints = rule?.endpoints ?? [];
  if (endpoints.length === 0) return "nothing";
  return endpoints.map(endpointText).join(" or ");
}

/** `1.2` for 0x0303. */
export function tlsName(version: number | undefined): string {
  if (version === undefined) return "";
  return version === 0x0300 ? "SSL 3" : `1.${(version & 0xff) - 1}`;
}

function endpointText({ scheme, port }: Endpoint): string {
  const way = scheme === "tcp" ? "any bytes in a tunnel" : scheme === "https" ? "https (CONNECT)" : "http";
  return `${way} on port ${port}`;
}

function nearestSentence(nearest: CompiledRule | undefined): readonly string[] {
  if (nearest === undefined) return [];
  const pattern = nearest.rule.patterns[0]?.text ?? nearest.rule.addresses[0]?.text ?? "";
  return [`The nearest rule is ${nearest.fullId} (${pattern}: ${expectationOf(nearest)}).`];
}
