/** The rules that a denied request needs: one that opens it, and copies of those that a narrower rule would take away. */
import { type Address, parseCidr } from "../names/address.ts";
import type { Authority } from "../names/authority.ts";
import { registrableDomain } from "../names/public-suffix.ts";
import type { CompiledRule } from "../policy/compiled-rule.ts";
import { compilePaths } from "../policy/path.ts";
import { type Pattern, parsePattern } from "../policy/pattern.ts";
import type { Endpoint, Rule } from "../policy/rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { TrialRequest } from "../policy/trial.ts";
import type { Denial } from "../policy/verdict.ts";
import { type CoveringPattern, audienceNames, decidingPattern } from "./covering.ts";
import { admissionOf } from "./remedy-rule.ts";
import { slotOf } from "./conditions.ts";
import { defaultMethods } from "./rule-text.ts";

export type Draft = {
  readonly added: Rule;
  /** All of them, in the order in which they have to stand. */
  readonly rules: readonly Rule[];
  /** Which rule each of the others is a copy of, by id. */
  readonly origins: ReadonlyMap<string, CompiledRule>;
};

export type DraftQuestion = {
  readonly ruleset: Ruleset;
  readonly request: TrialRequest;
  readonly target: Authority;
  readonly denial: Denial;
  readonly covering: readonly CoveringPattern[];
  /** The client's group, undefined where it is in none. */
  readonly group: string | undefined;
  /** False where the record has no path: a log without `log.paths`. */
  readonly hasPath: boolean;
  /** Names, paths and methods around the request too. */
  readonly wide: boolean;
  /** Ids are made of it. */
  readonly stem: string;
  readonly expiresAt: number;
  readonly ticket: string | undefined;
};

/** Undefined where no rule beside the others can open it. */
export function draftRules(question: DraftQuestion): Draft | undefined {
  const { ruleset, denial, covering, group, stem, expiresAt, ticket } = question;
  const at = decidingPattern(covering) ?? covering.find(({ rules }) => rules.length > 0)?.pattern;
  const key = keyOf(question, at);
  const opened = openedRule(question);
  if (key === undefined || opened === undefined) return undefined;
  // A deny with the same pattern wins over whatever stands beside it.
  if (denial.reason === "rule_denied" && key.text === at) return undefined;
  const added: Rule = {
    ...opened,
    ...key.fields,
    id: freeId(ruleset, `allow-${stem}`),
    place: nowhere,
    clients: group === undefined ? opened.clients : [group],
    expiresAt: Math.min(opened.expiresAt, expiresAt),
    ticket: ticket ?? opened.ticket,
  };
  const isForOthers = denial.reason === "client_denied" && added.clients === null;
  const kept = key.text !== at || isForOthers ? keptRules(question, at, added, !isForOthers) : [];
  const copies = kept.map(({ rule, copy }) => ({
    ...copy,
    ...key.fields,
    id: freeId(ruleset, `keep-${stem}-${rule.rule.id}`),
    place: nowhere,
  }));
  // What was opened for strangers comes last; what replaces a condition comes first.
  const rules = isForOthers ? [...copies, added] : [added, ...copies];
  const origins = new Map(copies.flatMap(({ id }, i) => (kept[i] === undefined ? [] : [[id, kept[i].rule] as const])));
  return { added, rules, origins };
}

const nowhere = { file: "proposal", line: 1, column: 1 };

type Key = { readonly text: string; readonly fields: Pick<Rule, "patterns" | "addresses"> };

/** What the rule is for: the host alone, or with `wide` the pattern that decided, else the names beside it. */
function keyOf({ target: { host }, wide }: DraftQuestion, at: string | undefined): Key | undefined {
  if (host.kind === "address") {
    const text = `${host.address.text}/${host.address.family === 4 ? 32 : 128}`;
    return blockKey(wide && at !== undefined ? at : text);
  }
  if (!wide) return patternKey(host.name);
  return patternKey(at ?? besideName(host.name)) ?? patternKey(host.name);
}

function patternKey(text: string): Key | undefined {
  const reading = parsePattern(text, true);
  const patterns: readonly Pattern[] = reading.kind === "patterns" ? reading.patterns : [];
  return patterns.length === 0 ? undefined : { text, fields: { patterns, addresses: [] } };
}

function blockKey(text: string): Key | undefined {
  const cidr = parseCidr(text);
  return "problem" in cidr ? undefined : { text: cidr.text, fields: { patterns: [], addresses: [cidr] } };
}

/** `*.eu.vendor.example` for `api.eu.vendor.example`; never above what somebody registered or rented. */
function besideName(name: string): string {
  const registered = registrableDomain(name);
  if (registered === undefined) return name;
  const suffix = `*.${name === registered ? name : name.slice(name.indexOf(".") + 1)}`;
  return parsePattern(suffix, false).kind === "patterns" ? suffix : name;
}

/** The rule in its conditions, before it is known for which host, clients and time. */
function openedRule(question: DraftQuestion): Rule | undefined {
  const { ruleset, request, target, denial, hasPath, wide } = question;
  const { reason, rule } = denial;
  const isHttp = request.method !== "CONNECT";
  const asked = askedEndpoint(request, target);
  const changed = (changes: Partial<Rule>): Rule | undefined => {
    if (rule === undefined) return undefined;
    const { rule: base } = rule;
    const clients = audienceNames(ruleset, rule) ?? null;
    return {
      ...base,
      ...named(base),
      endpoints: [asked],
      clients,
      ...withResolved(base, request.resolved),
      ...changes,
    };
  };
  switch (reason) {
    case "method_denied":
      return request.method === "TRACE" ? undefined : changed({ methods: [...(rule?.methods ?? []), request.method] });
    case "path_denied": {
      const path = hasPath ? exactPath(request.target) : undefined;
      return path === undefined ? undefined : changed({ paths: [...(rule?.rule.paths ?? []), path] });
    }
    case "range_denied":
      return changed({ range: "allow" });
    case "address_denied":
      return target.host.kind === "address" ? undefined : changed({});
    case "tls_version":
      return lowered(request.tls ?? undefined, changed);
    case "tls_downgrade":
      return lowered(request.serverTls, changed);
    case "ech_denied":
      return changed({ ech: "allow" });
    case "sni_missing":
      return changed({ sni: "any", addressSni: "any" });
    default: {
      // The host and the port are open to plain requests already: what was refused is a WebSocket.
      if (request.websocket === true && rule?.endpoints.some((one) => slotOf(one) === slotOf(asked)) === true)
        return changed({ websocket: "allow" });
      const path = isHttp && !wide && hasPath ? exactPath(request.target) : undefined;
      return {
        ...blankRule,
        ...withResolved(blankRule, request.resolved),
        endpoints: [asked],
        methods: isHttp && !wide ? [request.method] : blankRule.methods,
        paths: path === undefined ? null : [path],
        range: isHttp && request.range !== undefined ? "allow" : "deny",
        websocket: request.websocket === true ? "allow" : "deny",
      };
    }
  }
}

function lowered(
  version: Rule["tlsMin"] | undefined,
  changed: (changes: Partial<Rule>) => Rule | undefined,
): Rule | undefined {
  return version === undefined ? undefined : changed({ tlsMin: version });
}

const blankRule: Rule = {
  id: "",
  place: nowhere,
  action: "allow",
  patterns: [],
  addresses: [],
  endpoints: [],
  tlsMin: 0x0303,
  sni: "match",
  addressSni: undefined,
  ech: "allow",
  range: "deny",
  methods: defaultMethods.split(" "),
  paths: null,
  websocket: "deny",
  clients: null,
  resolvesTo: { public: true, private: false, cidrs: [] },
  idleTimeoutMs: undefined,
  mode: undefined,
  expiresAt: Number.POSITIVE_INFINITY,
  purpose: undefined,
  owner: undefined,
  ticket: undefined,
  source: undefined,
};

/** What a copy does not take over. A rule in report mode lets pass what it should judge. */
function named({ sni }: Rule): Partial<Rule> {
  return { sni: sni ?? "match", mode: undefined, purpose: undefined, owner: undefined, source: undefined };
}

/** The conditions on addresses, with those added that the name is known to resolve to. */
function withResolved({ resolvesTo }: Rule, resolved: readonly Address[] | undefined): Pick<Rule, "resolvesTo"> {
  const words = new Set((resolved ?? []).map(admissionOf));
  const cidrs = [...words].flatMap((word) => {
    const cidr = parseCidr(word);
    return "problem" in cidr || resolvesTo.cidrs.some(({ text }) => text === cidr.text) ? [] : [cidr];
  });
  return {
    resolvesTo: {
      public: resolvesTo.public || words.has("public"),
      private: resolvesTo.private || words.has("private"),
      cidrs: [...resolvesTo.cidrs, ...cidrs],
    },
  };
}

function askedEndpoint({ method, tls }: TrialRequest, { port }: Authority): Endpoint {
  if (method !== "CONNECT") return { scheme: "http", port };
  return { scheme: tls === null ? "tcp" : "https", port };
}

/** The path of a URL as a glob that covers it alone; undefined where it has no single reading, or a wildcard in it. */
function exactPath(url: string): string | undefined {
  const sent = /^http:\/\/[^/?#]*(\/[^?#]*)?/i.exec(url)?.[1] ?? "/";
  let path: string;
  try {
    path = decodeURIComponent(sent);
  } catch {
    return undefined;
  }
  if (/[*?]/.test(path)) return undefined;
  const matcher = compilePaths([path]);
  return "judge" in matcher && matcher.judge(sent) === "match" ? path : undefined;
}

/**
 * The rules of the pattern that decided until now: the most specific pattern decides alone, so that without a copy the
 * narrower rule would close what they open. What the added rule decides in their place is left out of the copy.
 */
function keptRules(
  { ruleset, covering, denial }: DraftQuestion,
  at: string | undefined,
  added: Rule,
  replaces: boolean,
): readonly { readonly rule: CompiledRule; readonly copy: Rule }[] {
  if (denial.reason === "rule_denied") return [];
  const rules = covering.find(({ pattern }) => pattern === at)?.rules ?? [];
  const slots = new Set(added.endpoints.map(slotOf));
  return rules.flatMap(({ rule, fate }) => {
    const clients = audienceNames(ruleset, rule) ?? null;
    if (fate === "expired" || clients?.length === 0) return [];
    const isReplaced = replaces && (added.clients === null || added.clients.join() === clients?.join());
    const endpoints = rule.rule.endpoints.filter((endpoint) => !isReplaced || !slots.has(slotOf(endpoint)));
    if (!rule.deny && endpoints.length === 0) return [];
    const { mode } = rule.rule;
    return [{ rule, copy: { ...rule.rule, ...named(rule.rule), mode, endpoints, clients } }];
  });
}

function freeId({ files }: Ruleset, wanted: string): string {
  const taken = new Set(files.find(({ kind }) => kind === "site")?.rules.map(({ id }) => id));
  let id = wanted;
  for (let i = 2; taken.has(id); i++) id = `${wanted}-${i}`;
  return id;
}
