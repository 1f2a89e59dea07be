/** What the API answers about many denials, and about requests that nobody made: lists, the most frequent, a trial. */
import { createRequestReader } from "../config/read-request.ts";
import { formatDuration } from "../config/units.ts";
import { topDimensions, topWindowMs } from "../record/top-denials.ts";
import { explainRequest } from "../review/explanation.ts";
import { explanationFields } from "../review/explanation-fields.ts";
import { type ApiAnswer, badRequest, placeText } from "./denial-answers.ts";
import type { DenialSources } from "./denial-proposal.ts";
import { matchesSearch, viewDenial } from "./denial-view.ts";

const defaultLimit = 100;

/** `?limit=&q=`: the one seen last first. */
export function answerDenials({ denials }: DenialSources, query: URLSearchParams): ApiAnswer {
  const limit = limitOf(query, denials.capacity);
  if (limit === undefined) return badLimit(denials.capacity);
  const search = query.get("q")?.trim() ?? "";
  const found = [...denials.records()].filter((record) => search === "" || matchesSearch(record, search));
  return {
    status: 200,
    body: {
      denials: found.slice(0, limit).map(viewDenial),
      matched: found.length,
      total: denials.size(),
      capacity: denials.capacity,
      since: new Date(denials.sinceMs).toISOString(),
    },
  };
}

/** `?by=host|group|rule|reason&limit=` */
export function answerTop({ denials }: DenialSources, query: URLSearchParams): ApiAnswer {
  const by = topDimensions.find((dimension) => dimension === (query.get("by") ?? "host"));
  if (by === undefined) return badRequest(`by is one of ${topDimensions.join(", ")}`);
  const limit = limitOf(query, maxTop);
  if (limit === undefined) return badLimit(maxTop);
  return { status: 200, body: { by, window: formatDuration(topWindowMs), top: denials.top(by, limit) } };
}

const maxTop = 256;

/** The query's keys are those of a line of `explain --ndjson`; `no_sni` and `no_tls` are what `null` is there. */
export function answerExplain({ ruleset, now }: DenialSources, query: URLSearchParams): ApiAnswer {
  const unknown = [...query.keys()].find((key) => !explainKeys.has(key));
  if (unknown !== undefined) return badRequest(`${unknown} is not known; the keys are ${[...explainKeys].join(", ")}`);
  const [, method, target] = /^(\S+) (\S+)$/.exec(query.get("request") ?? "") ?? [];
  const words: Record<string, unknown> = { method, target };
  for (const [key, value] of query) {
    if (value === "" || key === "request") continue;
    if (key === "no_sni" || key === "no_tls") {
      if (value === "true") words[key.slice("no_".length)] = null;
    } else if (key === "ech" || key === "websocket") words[key] = value === "true";
    else if (key === "resolved") words[key] = query.getAll(key).flatMap((text) => text.split(","));
    else words[key] = value;
  }
  const inForce = ruleset();
  const reading = createRequestReader(inForce.groups)(words);
  if (reading.kind === "problem") {
    const { key, text, message, instead } = reading;
    return badRequest(
      `${[key, text, message].filter((part) => part !== "").join(" ")}${instead === undefined ? "" : `; write ${instead}`}`,
    );
  }
  return { status: 200, body: explanationFields(explainRequest(inForce, reading.request, now(), placeText)) };
}

const explainKeys: ReadonlySet<string> = new Set([
  "request",
  "method",
  "target",
  "client",
  "group",
  "host",
  "range",
  "websocket",
  "sni",
  "no_sni",
  "tls",
  "no_tls",
  "ech",
  "server_tls",
  "resolved",
  "time",
]);

function limitOf(query: URLSearchParams, most: number): number | undefined {
  const text = query.get("limit") ?? String(Math.min(defaultLimit, most));
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  return limit < 1 ? undefined : Math.min(limit, most);
}

function badLimit(most: number): ApiAnswer {
  return badRequest(`limit is a number from 1 to ${most}`);
}
