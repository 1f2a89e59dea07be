/** One denial as it was seen, as a plain value: what the ring keeps of it, and what a worker sends to the primary. */
import type { Mode } from "../policy/rule.ts";
import type { DenialReason, Reason, Stage } from "../policy/verdict.ts";
import type { Exchange } from "./event.ts";

/** Survives JSON: a field that is undefined may as well be missing. All texts are bounded in length. */
export type DenialSighting = {
  /** The denial id, `7F3KQ-2MX9A`. */
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  readonly host: string;
  readonly port: number;
  readonly protocol: "connect" | "http";
  readonly sni?: string | undefined;
  readonly reason: DenialReason;
  /** The client's first group, else `_none`. */
  readonly group: string;
  /** True where report mode let it pass. */
  readonly would: boolean;
  readonly mode: Mode;
  readonly stage: Stage;
  /** Full id of the rule that decided. */
  readonly rule?: string | undefined;
  /** Full id of the rule that came closest. */
  readonly nearest?: string | undefined;
  readonly client: string;
  readonly listener: string;
  readonly method: string;
  /** Path and query of a plain HTTP request; kept in memory only. */
  readonly path: string;
  readonly range?: string | undefined;
  /** `1.2`: the highest offered, or once known the one that the server chose. */
  readonly tls?: string | undefined;
  readonly ech: boolean;
  /** Hash of the policy that decided. */
  readonly policy: string;
  /** Id of the exchange, as in the log. */
  readonly exchange: string;
};

/** As in the log line. */
const maxHost = 255;
const maxPath = 2048;
const maxRange = 256;
const maxMethod = 32;
const maxWord = 128;

/** The sighting of an exchange that was, or in report mode would have been, refused; undefined of any other. */
export function sightingOf(exchange: Exchange, atMs: number): DenialSighting | undefined {
  const { denial, reason } = exchange;
  if (denial === undefined || !isDenial(reason)) return undefined;
  return {
    id: denial,
    atMs,
    host: cut(exchange.host, maxHost),
    port: exchange.port,
    protocol: exchange.kind,
    sni: exchange.sni === undefined ? undefined : cut(exchange.sni, maxHost),
    reason,
    group: cut(exchange.group, maxWord),
    would: exchange.would,
    mode: exchange.mode,
    stage: exchange.stage,
    rule: exchange.rule,
    nearest: exchange.nearest,
    client: exchange.clientAddress,
    listener: exchange.listener,
    method: cut(exchange.method, maxMethod),
    path: cut(exchange.path, maxPath),
    range: exchange.range === undefined ? undefined : cut(exchange.range, maxRange),
    tls: exchange.tls,
    ech: exchange.ech,
    policy: exchange.policy,
    exchange: exchange.id,
  };
}

function isDenial(reason: Reason): reason is DenialReason {
  return reason !== "allowed";
}

/** A copy, where something is cut off: a slice would keep the whole text in memory. */
function cut(text: string, maxLength: number): string {
  return text.length > maxLength ? Buffer.from(text.slice(0, maxLength), "utf16le").toString("utf16le") : text;
}
