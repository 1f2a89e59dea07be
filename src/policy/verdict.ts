/** What deciding says: one verdict, one reason, the rule that decided; and the permit that dialling asks for. */
import type { CompiledEndpoint, CompiledRule } from "./compiled-rule.ts";
import type { Mode } from "./rule.ts";

/** The closed list, in the order in which the first that applies is given (policy.md, "Verdicts"). */
export const reasons = [
  "allowed",
  "bad_request",
  "limit_exceeded",
  "auth_required",
  "host_mismatch",
  "ip_literal",
  "no_rule",
  "client_denied",
  "rule_denied",
  "scheme_mismatch",
  "port_mismatch",
  "method_denied",
  "path_denied",
  "range_denied",
  "range_invalid",
  "address_denied",
  "not_tls",
  "hello_malformed",
  "hello_timeout",
  "hello_too_large",
  "tls_version",
  "ech_denied",
  "sni_missing",
  "sni_mismatch",
  "tls_downgrade",
] as const;
export type Reason = (typeof reasons)[number];
export type DenialReason = Exclude<Reason, "allowed">;
export type Stage = "request" | "dial" | "tunnel";

/**
 * The right to dial, and the conditions under which. Only `decide` makes one. `endpoint` is undefined where
 * report mode let a request pass that no endpoint expects: the tunnel is then not inspected.
 */
export type Permit = {
  readonly __brand: "Permit";
  readonly rule: CompiledRule | undefined;
  readonly endpoint: CompiledEndpoint | undefined;
};

/** The request may go on. `would` is the denial that report mode let pass. */
export type Allow = {
  readonly kind: "allow";
  readonly permit: Permit;
  readonly rule: CompiledRule | undefined;
  readonly mode: Mode;
  readonly would: Denial | undefined;
};

/** The request ends here. */
export type Denial = {
  readonly kind: "deny";
  readonly reason: DenialReason;
  readonly stage: Stage;
  /** The rule that decided, where one did. */
  readonly rule: CompiledRule | undefined;
  /** The rule that came closest: the deciding one on a mismatch, else the nearest by name. */
  readonly nearest: CompiledRule | undefined;
  readonly mode: Mode;
};

export type Verdict = Allow | Denial;

/** Makes the right to dial. Only the policy's own files call it (import rules). */
export function makePermit(rule: CompiledRule | undefined, endpoint: CompiledEndpoint | undefined): Permit {
  return { rule, endpoint } as Permit;
}
