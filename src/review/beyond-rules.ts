/** Denials that no rule can take back, and what to do instead. */
import type { DenialReason } from "../policy/verdict.ts";
import type { DeniedFacts } from "./denied-request.ts";

export type BeyondRules = { readonly why: string; readonly instead: readonly string[] };

/** Undefined where a rule may help. */
export function beyondRules(facts: DeniedFacts): BeyondRules | undefined {
  const { host, port, sni } = facts;
  const reason: DenialReason = facts.reason;
  switch (reason) {
    case "bad_request":
      return {
        why: "the request is malformed, and malformed requests are refused before any rule is asked",
        instead: ["mend the client; the line after `Refused:` in its error says what is wrong with the request"],
      };
    case "limit_exceeded":
      return {
        why: "a limit was reached, or the proxy was being stopped; rules have no part in that",
        instead: [
          "look which: sallyport_limit_rejections_total names the limit",
          "raise limits.connections or limits.per_client, or per_client of the client's group",
        ],
      };
    case "auth_required":
      return {
        why: "the listener asks for credentials before any rule is asked",
        instead: ["give the client credentials, or a listener without auth"],
      };
    case "host_mismatch":
      return {
        why: "the Host field names another host than the request target, and no rule says which of the two is meant",
        instead: [`let the client send the Host of its target, ${host}`],
      };
    case "range_invalid":
      return {
        why: "the rule allows Range already, but only in its plain form",
        instead: [
          "let the client ask for bytes, in at most 16 ranges that ascend and do not overlap",
          "or write range: strip into the rule, where the client can do with the whole file",
        ],
      };
    case "sni_mismatch":
      return {
        why: "the ClientHello asks for another server than the CONNECT did; a rule that allowed it would let a client reach any server of the same network under the name of an allowed one",
        instead: [
          `let the client send the server name ${host}`,
          ...(sni === undefined ? [] : [`or let it ask for what it wants: CONNECT ${sni}:${port}`]),
          "or, where one rule covers both names, write sni: covered into it",
        ],
      };
    case "hello_malformed":
      return {
        why: "the first bytes in the tunnel are no ClientHello that can be read",
        instead: [
          "look what the client sends; a middlebox or an antivirus between it and the proxy is the usual cause",
        ],
      };
    case "hello_timeout":
      return {
        why: "no ClientHello came in time",
        instead: [
          "look whether the client waits for the server to speak first: then it speaks no TLS, and a rule with tcp:PORT in place of https is what it needs",
          "raise limits.hello_timeout for slow lines",
        ],
      };
    case "hello_too_large":
      return { why: "the ClientHello is larger than limits.hello", instead: ["raise limits.hello"] };
    case "ip_literal":
    case "no_rule":
    case "client_denied":
    case "rule_denied":
    case "scheme_mismatch":
    case "port_mismatch":
    case "method_denied":
    case "path_denied":
    case "range_denied":
    case "address_denied":
    case "not_tls":
    case "tls_version":
    case "ech_denied":
    case "sni_missing":
    case "tls_downgrade":
      return undefined;
  }
}
