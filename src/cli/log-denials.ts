/** Denials out of a log file: the lines of exchanges that were, or in report mode would have been, refused. */
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { type DenialReason, reasons } from "../policy/verdict.ts";
import type { DenialSighting } from "../record/denial-sighting.ts";

/** A line of the log as an object; values unjudged. */
export type LoggedLine = Readonly<Record<string, unknown>>;

/** Calls `take` with every line that is a JSON object; answers how many lines were none. Rejects where reading fails. */
export async function readLog(input: Readable, take: (line: LoggedLine) => void): Promise<number> {
  let strange = 0;
  // An error of the input ends the iteration without a word: it is caught here and thrown below.
  let failure: { readonly error: unknown } | undefined;
  input.once("error", (error) => {
    failure = { error };
    lines.close();
  });
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  for await (const text of lines) {
    const line = parseObject(text);
    if (line !== undefined) take(line);
    else if (text.trim() !== "") strange++;
  }
  if (failure !== undefined) throw failure.error;
  return strange;
}

/** True for a line about an exchange, whatever became of it. */
export function isExchange({ event }: LoggedLine): boolean {
  return event === "connect" || event === "request";
}

/** The sighting that a line tells of; undefined where it tells of none. Paths are there with `log.paths` only. */
export function sightingOfLine(line: LoggedLine): DenialSighting | undefined {
  const id = textAt(line, "denial");
  const reason = reasonOf(line["reason"]);
  if (id === undefined || reason === undefined || !isExchange(line)) return undefined;
  const rule = textAt(line, "rule");
  return {
    id,
    atMs: Date.parse(textAt(line, "time") ?? "") || 0,
    host: textAt(line, "host") ?? "",
    port: typeof line["port"] === "number" ? line["port"] : 0,
    protocol: line["event"] === "connect" ? "connect" : "http",
    sni: textAt(line, "sni"),
    reason,
    group: textAt(line, "group") ?? "_none",
    would: line["would"] === "deny",
    mode: line["mode"] === "report" ? "report" : "enforce",
    stage: stageOf(line["stage"]),
    rule,
    nearest: textAt(line, "nearest") ?? rule,
    client: textAt(line, "client") ?? "",
    listener: textAt(line, "listener") ?? "",
    method: textAt(line, "method") ?? "",
    path: textAt(line, "path") ?? "",
    range: textAt(line, "range"),
    tls: textAt(line, "tls"),
    // The log does not say: what was denied for it had it.
    ech: reason === "ech_denied",
    policy: textAt(line, "policy") ?? "",
    exchange: textAt(line, "id") ?? "",
  };
}

function parseObject(text: string): LoggedLine | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : undefined;
  } catch {
    return undefined;
  }
}

function textAt(line: LoggedLine, key: string): string | undefined {
  const value = line[key];
  return typeof value === "string" ? value : undefined;
}

function reasonOf(word: unknown): DenialReason | undefined {
  const reason = reasons.find((known) => known === word);
  return reason === "allowed" ? undefined : reason;
}

function stageOf(word: unknown): DenialSighting["stage"] {
  return word === "dial" || word === "tunnel" ? word : "request";
}
