/** What a redirected TLS connection asks for: its ClientHello is all there is to say so. */
import type { Authority } from "../names/authority.ts";
import { parseHost } from "../names/hostname.ts";
import type { FinalHello } from "../policy/decide-hello.ts";
import type { Denial, DenialReason } from "../policy/verdict.ts";
import type { ClientHello } from "../wire/hello.ts";

export type Opening = { readonly kind: "opening"; readonly target: Authority; readonly hello: ClientHello };

/**
 * The target is the SNI, at the port of the listener; where the connection was going to before it was redirected is
 * not known, and would not be believed. Without a name there is nothing that report mode could let pass.
 */
export function readOpening(hello: FinalHello, port: number): Opening | Denial {
  if (hello.kind !== "hello") return deny(unreadable[hello.kind]);
  if (hello.serverName === null) return deny("sni_missing");
  const host = parseHost(hello.serverName);
  // RFC 6066 section 3 has no addresses in it.
  if (host === undefined || host.kind === "address") return deny("sni_mismatch");
  return { kind: "opening", target: { host, port }, hello };
}

const unreadable = {
  not_tls: "not_tls",
  malformed: "hello_malformed",
  timeout: "hello_timeout",
  too_large: "hello_too_large",
} as const;

function deny(reason: DenialReason): Denial {
  return { kind: "deny", reason, stage: "tunnel", rule: undefined, nearest: undefined, mode: "enforce" };
}
