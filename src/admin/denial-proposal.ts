/** The rule that would allow what a record says, with the record as its evidence. */
import { parseMoment } from "../config/units.ts";
import { parseAddress } from "../names/address.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { TrialRequest } from "../policy/trial.ts";
import type { DenialRecord } from "../record/denial-ring.ts";
import type { Denials } from "../record/denials.ts";
import { deniedRequest } from "../review/denied-request.ts";
import { type Proposal, type ProposalOptions, proposeRule } from "../review/proposal.ts";

export type DenialSources = {
  readonly denials: Denials;
  readonly ruleset: () => Ruleset;
  /** Finds packs that would allow a request; without it none is named. */
  readonly offerPacks?: OfferPacks;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

/** Packs that, used beside what the ruleset has, would allow the request. */
export type OfferPacks = (ruleset: Ruleset, request: TrialRequest, nowMs: number) => Promise<readonly PackOffer[]>;

/** `use` is the entry to write under `use:`. */
export type PackOffer = { readonly pack: string; readonly rule: string; readonly use: string };

export type OfferedProposal = Proposal & { readonly packs?: readonly PackOffer[] };

/** How the rule is wished for. */
export type ProposalWishes = Pick<ProposalOptions, "wide" | "expiresAt" | "ticket" | "resolved">;

/** `?wide=&ttl=&ticket=&resolved=`; a text is what is wrong with them. */
export function readWishes(query: URLSearchParams, nowMs: number): ProposalWishes | string {
  const ttl = query.get("ttl") ?? "";
  const days = daysOf(ttl);
  if (ttl !== "" && days === undefined) return `ttl ${ttl} is no number of days or weeks: 7d, 2w; at most 520w`;
  const texts = query.getAll("resolved").flatMap((text) => text.split(","));
  const resolved = texts.flatMap((text) => parseAddress(text) ?? []);
  if (resolved.length < texts.length) return "resolved is no IP address";
  const ticket = query.get("ticket") ?? "";
  if (ticket.length > 200) return "ticket is longer than 200 characters";
  return {
    wide: query.get("wide") === "true",
    expiresAt: days === undefined ? undefined : afterDays(nowMs, days),
    ticket: ticket === "" ? undefined : ticket,
    resolved: resolved.length === 0 ? undefined : resolved,
  };
}

export async function proposeFor(
  { ruleset, offerPacks, now }: DenialSources,
  record: DenialRecord,
  wishes: ProposalWishes,
): Promise<OfferedProposal> {
  const inForce = ruleset();
  const { last } = record;
  const proposal = proposeRule(inForce, last, { ...wishes, id: last.id, evidence: evidenceOf(record) }, now());
  if (proposal.kind !== "rule" || offerPacks === undefined) return proposal;
  const denied = deniedRequest(inForce, last);
  if (denied === undefined) return proposal;
  return { ...proposal, packs: await offerPacks(inForce, denied.request, now()) };
}

/** What was asked for, in words: `CONNECT host:443`, `GET http://host/path`. */
export function askedFor({ last }: DenialRecord): string {
  const { method, host, port, protocol, path } = last;
  if (host === "") return method === "" ? "a connection" : `${method}, of a target that cannot be read`;
  if (protocol === "connect") return `CONNECT ${host}:${port}`;
  return `${method} http://${host}${port === 80 ? "" : `:${port}`}${path}`;
}

function evidenceOf(record: DenialRecord): readonly string[] {
  const { last, count, firstSeenMs, clients } = record;
  const [first, latest] = [firstSeenMs, last.atMs].map((ms) => new Date(ms).toISOString());
  const shown = [...clients].sort((a, b) => b[1] - a[1]).slice(0, 4);
  const others = count - shown.reduce((sum, [, times]) => sum + times, 0);
  const who = [
    ...shown.map(([address, times]) => `${address} (${times})`),
    ...(others > 0 ? [`others (${others})`] : []),
  ];
  const sni = last.sni === undefined ? "" : `, server name ${last.sni}`;
  const range = last.range === undefined ? "" : `, Range ${last.range}`;
  return [
    `denial ${last.id}, ${last.reason}${last.would ? " (report mode)" : ""}: ${askedFor(record)}${sni}${range}`,
    count === 1
      ? `once, at ${latest}, by ${who.join(", ")}`
      : `${count} times from ${first} to ${latest}, by ${who.join(", ")}`,
  ];
}

const maxDays = 520 * 7;

function daysOf(text: string): number | undefined {
  const [, number = "", unit] = /^([1-9]\d{0,4})(d|w)$/.exec(text) ?? [];
  const days = Number(number) * (unit === "w" ? 7 : 1);
  return number === "" || days > maxDays ? undefined : days;
}

/** `expires` names the last day, UTC; the rule ends with it. */
function afterDays(nowMs: number, days: number): number | undefined {
  const dayMs = 86_400_000;
  const today = parseMoment(new Date(nowMs).toISOString().slice(0, 10));
  return today === undefined ? undefined : today + (days + 1) * dayMs;
}
