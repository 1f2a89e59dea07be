/** What is said in the handshake of a tunnel, noted and counted; and what follows from the server's answer. */
import type { ClosedBy, Exchange } from "../record/event.ts";
import type { Metrics } from "../record/metrics.ts";
import type { FinalHello } from "../policy/decide-hello.ts";
import { tlsName } from "../policy/explain.ts";
import type { Verdict } from "../policy/verdict.ts";
import type { ClientHello } from "../wire/hello.ts";
import type { Outcome } from "../wire/refusal.ts";
import { type ServerFinding, inspectionResult } from "./inspect.ts";

export function noteHello(event: Exchange, hello: ClientHello): void {
  event.sni = hello.serverName ?? undefined;
  event.tls = hello.maxVersion === 0 ? undefined : tlsName(hello.maxVersion);
  event.alpn = hello.alpn[0];
  event.ech = hello.ech;
}

/** Counts what was found, and the limit that a denial ran into. */
export function countHello(metrics: Metrics, verdict: Verdict, hello: FinalHello): void {
  metrics.sniInspected(inspectionResult(verdict, hello));
  if (verdict.kind === "allow") return;
  if (hello.kind === "timeout") metrics.limitRejected("hello_timeout");
  if (hello.kind === "too_large") metrics.limitRejected("hello");
}

/** How a tunnel ends whose server has said nothing to shake hands on; `hasClientLeft` says who ended it. */
export function endOfSilence(
  said: Extract<ServerFinding["said"], { readonly kind: "ended" | "timeout" }>,
  hasClientLeft: boolean,
): { readonly outcome: Outcome; readonly closedBy: ClosedBy } {
  if (said.kind === "ended" && said.alerted) return { outcome: "ok", closedBy: hasClientLeft ? "client" : "upstream" };
  if (hasClientLeft) return { outcome: "client_aborted", closedBy: "client" };
  if (said.kind === "timeout") return { outcome: "connection_timeout", closedBy: "proxy" };
  return { outcome: "connection_terminated", closedBy: "upstream" };
}
