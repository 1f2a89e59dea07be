/** What is asked of one denial, or of one host: why, and what rule would allow it. For the API and for the command line. */
import { explainDenial } from "../policy/explain.ts";
import type { DenialRecord } from "../record/denial-ring.ts";
import { parseHostname } from "../names/hostname.ts";
import { deniedRequest } from "../review/denied-request.ts";
import { type Explanation, type PlaceText, explainRequest } from "../review/explanation.ts";
import { explanationFields } from "../review/explanation-fields.ts";
import { type DenialSources, type ProposalWishes, askedFor, proposeFor, readWishes } from "./denial-proposal.ts";
import { listText, proposalText, whyText } from "./denial-text.ts";
import { normalizeDenialId, viewDenial } from "./denial-view.ts";

/** `text` is what a person is told; without one `body` is all there is. */
export type ApiAnswer = { readonly status: 200 | 400 | 404 | 409; readonly body: object; readonly text?: string };

const maxRelated = 20;
const maxOfHost = 50;

/** One id, which names one cause or, hardly ever, two. 404 where it is not known. */
export async function answerDenial(sources: DenialSources, text: string, query: URLSearchParams): Promise<ApiAnswer> {
  const found = findById(sources, text);
  if ("status" in found) return found;
  const wishes = readWishes(query, sources.now());
  if (typeof wishes === "string") return badRequest(wishes);
  const causes = await Promise.all(found.records.map((record) => causeOf(sources, record, wishes)));
  const texts = found.records.map((record) => whyTextOf(sources, record));
  return { status: 200, body: { id: found.id, causes }, text: texts.join("\n") };
}

/** `?of=ID` or `?of=HOST`. 404 where nothing was denied. */
export function answerWhy(sources: DenialSources, query: URLSearchParams): Promise<ApiAnswer> {
  const of = query.get("of") ?? "";
  if (normalizeDenialId(of) !== undefined && parseHostname(of)?.includes(".") !== true) {
    return answerDenial(sources, of, new URLSearchParams());
  }
  const host = (parseHostname(of) ?? of).toLowerCase();
  const all = [...sources.denials.records()];
  const ofHost = all.filter(({ last }) => last.host === host || last.sni === host);
  const found = ofHost.length > 0 ? ofHost : all.filter(({ last }) => host !== "" && last.host.endsWith(`.${host}`));
  const [only] = found;
  if (only === undefined) return Promise.resolve(unknown(`nothing under ${of} was denied since ${sinceText(sources)}`));
  const denials = found.slice(0, maxOfHost).map(viewDenial);
  if (found.length > 1) {
    const text = listText(denials, found.length);
    return Promise.resolve({ status: 200, body: { denials, matched: found.length }, text });
  }
  return answerDenial(sources, only.last.id, new URLSearchParams());
}

/** `?id=&wide=&ttl=&ticket=&resolved=`. 409 where no rule can allow it. */
export async function answerAllow(sources: DenialSources, query: URLSearchParams): Promise<ApiAnswer> {
  const found = findById(sources, query.get("id") ?? "");
  if ("status" in found) return found;
  const wishes = readWishes(query, sources.now());
  if (typeof wishes === "string") return badRequest(wishes);
  const proposals = await Promise.all(found.records.map((record) => proposeFor(sources, record, wishes)));
  return {
    status: proposals.some(({ kind }) => kind !== "none") ? 200 : 409,
    body: { id: found.id, proposals },
    text: proposals.map((proposal) => proposalText(proposal, found.id)).join("\n"),
  };
}

export function badRequest(hint: string): ApiAnswer {
  return { status: 400, body: { error: "bad_request", hint } };
}

/** As in `/api/policy`. */
export function placeText({ rule: { place } }: Parameters<PlaceText>[0]): string {
  return `${place.file}:${place.line}`;
}

type Found = { readonly id: string; readonly records: readonly DenialRecord[] };

function findById(sources: DenialSources, text: string): Found | ApiAnswer {
  const id = normalizeDenialId(text);
  if (id === undefined) return unknown(`${text === "" ? "an id" : text} is no id: ten characters, as 7F3KQ-2MX9A`);
  const records = sources.denials.find(id);
  if (records.length > 0) return { id, records };
  return unknown(`${id} is not among the ${sources.denials.size()} causes seen since ${sinceText(sources)}`);
}

function unknown(hint: string): ApiAnswer {
  return { status: 404, body: { error: "not_found", hint } };
}

function sinceText({ denials }: DenialSources): string {
  return new Date(denials.sinceMs).toISOString();
}

async function causeOf(sources: DenialSources, record: DenialRecord, wishes: ProposalWishes): Promise<object> {
  const explained = explain(sources, record);
  return {
    denial: viewDenial(record),
    explanation: explained === undefined ? undefined : explanationFields(explained.explanation),
    explanation_is_whole: explained?.isWhole,
    proposal: await proposeFor(sources, record, wishes),
    others: relatedTo(sources, record).map(viewDenial),
  };
}

type Explained = { readonly explanation: Explanation; readonly isWhole: boolean };

function explain({ ruleset, now }: DenialSources, { last }: DenialRecord): Explained | undefined {
  const inForce = ruleset();
  const denied = deniedRequest(inForce, last);
  if (denied === undefined) return undefined;
  const explanation = explainRequest(inForce, denied.request, now(), placeText);
  return { explanation, isWhole: denied.isWhole };
}

/** What else the last client was denied, the newest first. */
function relatedTo({ denials }: DenialSources, record: DenialRecord): readonly DenialRecord[] {
  const { client } = record.last;
  return [...denials.records()].filter((one) => one !== record && one.clients.has(client)).slice(0, maxRelated);
}

function whyTextOf(sources: DenialSources, record: DenialRecord): string {
  const { reason, nearest, rule } = record.last;
  const explained = explain(sources, record);
  const denial = explained?.explanation.denial;
  const rules = sources.ruleset().rules;
  const closest = rules.find(({ fullId }) => fullId === (nearest ?? rule));
  const decider = rules.find(({ fullId }) => fullId === rule);
  const sentences = explainDenial({
    kind: "deny",
    reason,
    stage: "request",
    rule: decider,
    nearest: closest,
    mode: "enforce",
  });
  return whyText({
    denial: viewDenial(record),
    asked: askedFor(record),
    message: sentences.join(" "),
    today: todayText(explained, reason),
    place: closest === undefined ? undefined : placeText(closest),
    remedies: denial?.reason === reason ? (explained?.explanation.remedies ?? []).map(({ text }) => text) : [],
    others: relatedTo(sources, record).map(viewDenial),
  });
}

function todayText(explained: Explained | undefined, reason: string): string {
  if (explained === undefined || !explained.isWhole) return "";
  const { answer } = explained.explanation;
  if (answer.reason === reason) return "";
  if (answer.reason === "allowed")
    return `the policy in force allows it now, by ${answer.decided.rule?.fullId ?? "its mode"}`;
  return `the policy in force denies it for another reason now: ${answer.reason}`;
}
