/**
 * One exchange as a line of NDJSON. Written by hand because it is on the path of every exchange: the logger's own
 * serializer takes twice as long, and does not escape DEL, C1 and the Unicode controls.
 */
import type { Address } from "../names/address.ts";
import type { Exchange } from "./event.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Longest value of each field that a client can choose, in characters; more is cut off. */
const maxHost = 255;
const maxPath = 2048;
const maxRange = 256;
const maxMethod = 32;
const maxWord = 128;

/** True where something was, or would have been, refused, or did not work. */
export function isNoteworthy({ verdict, would, outcome }: Exchange): boolean {
  return verdict === "deny" || would || isFailure(outcome);
}

/**
 * The line, with its newline, in printable ASCII only: a terminal that shows it does nothing else. Fields and their
 * order are those of interface.md ("Log"), then `outcome` (what went wrong), `nearest` (rule) and `path`.
 */
export function formatExchange(exchange: Exchange, level: LogLevel, time: string, withPath: boolean): string {
  const e = exchange;
  const relayed = e.verdict === "allow" || e.bytesUp > 0 || e.bytesDown > 0;
  return (
    `{"time":"${time}","level":"${level}","event":"${e.kind === "connect" ? "connect" : "request"}"` +
    `,"verdict":"${e.verdict}"` +
    (e.would ? ',"would":"deny"' : "") +
    `,"reason":"${e.reason}"` +
    text(',"denial":', e.denial, maxWord) +
    text(',"rule":', e.rule, maxHost) +
    `,"mode":"${e.mode}","stage":"${e.stage}"` +
    text(',"listener":', e.listener, maxWord) +
    text(',"client":', e.clientAddress, maxWord) +
    text(',"group":', e.group, maxWord) +
    text(',"method":', e.method, maxMethod) +
    text(',"scheme":', e.scheme, maxWord) +
    text(',"host":', e.host, maxHost) +
    (e.port > 0 ? `,"port":${e.port}` : "") +
    text(',"sni":', e.sni, maxHost) +
    text(',"tls":', e.tls, maxWord) +
    text(',"alpn":', e.alpn, maxWord) +
    text(',"range":', e.range, maxRange) +
    (e.status > 0 ? `,"status":${e.status}` : "") +
    (relayed ? `,"bytes_up":${e.bytesUp},"bytes_down":${e.bytesDown}` : "") +
    (e.dialMs === undefined ? "" : `,"dial_ms":${milliseconds(e.dialMs)}`) +
    `,"duration_ms":${milliseconds(e.durationMs)}` +
    (e.upstream === undefined ? "" : `,"upstream":"${socketAddress(e.upstream, e.upstreamPort)}"`) +
    (e.closedBy === undefined ? "" : `,"closed_by":"${e.closedBy}"`) +
    text(',"policy":', e.policy, maxWord) +
    text(',"id":', e.id, maxWord) +
    (e.outcome === undefined || e.outcome === "ok" ? "" : `,"outcome":"${e.outcome}"`) +
    (e.nearest === e.rule ? "" : text(',"nearest":', e.nearest, maxHost)) +
    (withPath ? text(',"path":', e.path, maxPath) : "") +
    "}\n"
  );
}

/** Writes every character outside printable ASCII of a JSON text as `\u`: in valid JSON they stand in strings only. */
export function escapeControls(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A client that hangs up and a tunnel that falls silent are ordinary ends. */
function isFailure(outcome: Exchange["outcome"]): boolean {
  return outcome !== undefined && outcome !== "ok" && outcome !== "client_aborted" && outcome !== "idle_timeout";
}

function text(key: string, value: string | undefined, maxLength: number): string {
  if (value === undefined || value === "") return "";
  const kept = value.length > maxLength ? value.slice(0, maxLength) : value;
  return key + (isPlain.test(kept) ? `"${kept}"` : escapeControls(JSON.stringify(kept)));
}

/** Printable ASCII without quote and backslash. */
const isPlain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function milliseconds(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function socketAddress(address: Address, port: number): string {
  return address.family === 4 ? `${address.text}:${port}` : `[${address.text}]:${port}`;
}
