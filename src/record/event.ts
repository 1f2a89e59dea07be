/** All that is known about one exchange, as one flat value: the log line and the metrics are made of it. */
import type { Address } from "../names/address.ts";
import type { Mode, Scheme } from "../policy/rule.ts";
import type { Reason, Stage } from "../policy/verdict.ts";
import type { Outcome } from "../wire/refusal.ts";

/**
 * One exchange: a CONNECT with its tunnel, or one plain HTTP request. `ingress` fills it on the way; `record` reads it
 * twice: `recordDecision` once at the final verdict, `recordEnd` once when the exchange is over.
 */
export type Exchange = {
  /** Unique in this process. */
  readonly id: string;
  readonly startedAtMs: number;
  readonly listener: string;
  readonly clientAddress: string;
  /** The client's first group in file order, else `_none`. */
  group: string;
  method: string;
  /** `connect` for tunnels, `http` for forwarded requests. */
  readonly kind: "connect" | "http";
  /** Canonical; empty until parsed, and for ever on a malformed request. */
  host: string;
  port: number;
  /** Path and query as sent; logged only with `log.paths`. */
  path: string;
  /** The expectation that decided, once one did. */
  scheme: Scheme | undefined;
  verdict: "allow" | "deny";
  reason: Reason;
  /** Set where report mode let a denial pass: `reason` is then that of the denial. */
  would: boolean;
  mode: Mode;
  stage: Stage;
  /** Full id of the deciding rule, else of none. */
  rule: string | undefined;
  /** Full id of the nearest rule of a denial. */
  nearest: string | undefined;
  /** The denial id, `7F3KQ-2MX9A`; set with every denial and would-denial. */
  denial: string | undefined;
  /** Hash of the policy in force. */
  policy: string;
  sni: string | undefined;
  /** `1.2`: the highest offered, or once known the negotiated version. */
  tls: string | undefined;
  alpn: string | undefined;
  ech: boolean;
  /** Range as sent, undefined without. */
  range: string | undefined;
  /** What became of the Range fields. */
  rangeKind: RangeKind;
  /** Status that the client was sent: 200 for a tunnel that was opened. 0 while there is none. */
  status: number;
  /** How an allowed exchange ended; undefined while it runs, and on a denial. */
  outcome: Outcome | undefined;
  /** Bytes relayed from the client to upstream, and back; heads not counted. */
  bytesUp: number;
  bytesDown: number;
  /** Time from the first dial to the connection; undefined where none was made. */
  dialMs: number | undefined;
  durationMs: number;
  /** The admitted address that was dialled. */
  upstream: Address | undefined;
  upstreamPort: number;
  closedBy: ClosedBy | undefined;
};

/** How the Range fields were judged; `stripped` were removed before the request went on. */
export type RangeKind = "none" | "valid" | "invalid" | "stripped";

/** `policy`: a reload took the rule away, and `reload.on_revoke` says that its tunnels end. */
export type ClosedBy = "client" | "upstream" | "proxy" | "idle" | "drain" | "policy";
