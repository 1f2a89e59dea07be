/** The second and third look at a tunnel: is the ClientHello what the rule expects, and does the server keep to it? */
import type { Client } from "../identity/groups.ts";
import { type Host, parseHost, sameHost } from "../names/hostname.ts";
import type { ClientHello, HelloReading, ServerHelloReading } from "../wire/hello.ts";
import { decideServerName, modeOf } from "./decide.ts";
import { type SniMode, sniModeOf } from "./rule.ts";
import type { Ruleset } from "./ruleset.ts";
import type { Allow, Denial, DenialReason } from "./verdict.ts";

/** A whole reading of the first tunnel bytes, or the deadline that ended it. */
export type FinalHello = Exclude<HelloReading, { kind: "incomplete" }> | { readonly kind: "timeout" };
export type FinalServerHello = Exclude<ServerHelloReading, { kind: "incomplete" }>;

/** What the tunnel was opened for. */
export type TunnelFacts = { readonly host: Host; readonly port: number };

/**
 * Judges the first bytes of a tunnel against the https expectation that opened it. In this order:
 * 1. `not_tls`, `hello_malformed`, `hello_timeout`, `hello_too_large`: no complete ClientHello
 * 2. `tls_version`  3. `ech_denied`  4. `sni_missing`  5. `sni_mismatch`
 * Returns the allow it was given where all is well or where report mode lets it pass.
 */
export function decideHello(
  ruleset: Ruleset,
  client: Client,
  tunnel: TunnelFacts,
  allow: Allow,
  hello: FinalHello,
  nowMs: number,
): Allow | Denial {
  const reason =
    hello.kind === "hello" ? judgeHello(ruleset, client, tunnel, allow, hello, nowMs) : unreadable[hello.kind];
  return reason === undefined ? allow : settle(ruleset, client, allow, reason);
}

/** Judges what the server negotiated: less than `tls_min`, or no ServerHello at all, is `tls_downgrade`. */
export function decideServerHello(
  ruleset: Ruleset,
  client: Client,
  allow: Allow,
  hello: FinalServerHello,
): Allow | Denial {
  const floor = allow.rule?.rule.tlsMin ?? 0;
  if (hello.kind === "hello" && hello.version >= floor) return allow;
  return settle(ruleset, client, allow, "tls_downgrade");
}

/** No address of the target was admitted. Always enforced. */
export function denyAddress(allow: Allow): Denial {
  return {
    kind: "deny",
    reason: "address_denied",
    stage: "dial",
    rule: allow.rule,
    nearest: allow.rule,
    mode: "enforce",
  };
}

const unreadable = {
  not_tls: "not_tls",
  malformed: "hello_malformed",
  timeout: "hello_timeout",
  too_large: "hello_too_large",
} as const;

function judgeHello(
  ruleset: Ruleset,
  client: Client,
  tunnel: TunnelFacts,
  allow: Allow,
  hello: ClientHello,
  nowMs: number,
): DenialReason | undefined {
  const rule = allow.rule?.rule;
  if (rule === undefined) return undefined;
  if (hello.maxVersion < rule.tlsMin) return "tls_version";
  if (hello.ech && rule.ech === "deny") return "ech_denied";
  const mode = sniModeOf(rule, tunnel.host.kind === "address");
  return judgeServerName(ruleset, client, tunnel, allow, mode, hello.serverName, nowMs);
}

function judgeServerName(
  ruleset: Ruleset,
  client: Client,
  tunnel: TunnelFacts,
  allow: Allow,
  mode: SniMode,
  serverName: string | null,
  nowMs: number,
): DenialReason | undefined {
  if (serverName === null) return mode === "any" ? undefined : "sni_missing";
  const host = parseHost(serverName);
  if (host === undefined) return "sni_mismatch";
  if (mode === "match") return sameHost(host, tunnel.host) ? undefined : "sni_mismatch";
  const decided = decideServerName(ruleset, client, host, tunnel.port, nowMs);
  const covered = decided !== undefined && (mode === "any" || decided.rule === allow.rule);
  return covered ? undefined : "sni_mismatch";
}

function settle(ruleset: Ruleset, client: Client, allow: Allow, reason: DenialReason): Allow | Denial {
  const mode = modeOf(ruleset, client, allow.rule);
  const denial: Denial = { kind: "deny", reason, stage: "tunnel", rule: allow.rule, nearest: allow.rule, mode };
  return mode === "enforce" ? denial : { ...allow, mode: "report", would: allow.would ?? denial };
}
