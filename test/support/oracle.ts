/**
 * The naive oracle: policy.md read aloud. No table, no index, nothing prepared: every question walks every rule of
 * every file, names are lists of labels and addresses strings of bits. It shares types and parsed patterns with the
 * production code, and nothing else.
 */
import type { Address, Cidr } from "../../src/names/address.ts";
import type { FinalHello } from "../../src/policy/decide-hello.ts";
import type { RequestFacts } from "../../src/policy/decide.ts";
import type { Pattern } from "../../src/policy/pattern.ts";
import type { Endpoint, Mode, PolicyFile, PolicySet, Rule } from "../../src/policy/rule.ts";
import type { Told } from "./policy.ts";

/** Everything a decision is a function of. */
export type Question = {
  readonly set: PolicySet;
  readonly client: Address;
  readonly facts: RequestFacts;
  readonly nowMs: number;
};

/** Answers for a request, CONNECT or plain HTTP. */
export function askOracle(question: Question): Told {
  return decide(question).told;
}

/** Answers for a CONNECT and the ClientHello inside; the request's answer where no hello is judged. */
export function askOracleHello(question: Question, hello: FinalHello): Told {
  const { told, goesOn } = decide(question);
  if (goesOn?.endpoint?.scheme !== "https") return told;
  const reason = hello.kind === "hello" ? helloReason(question, goesOn.by, hello) : readingReasons[hello.kind];
  if (reason === undefined) return told;
  const mode = modeOfRule(question, goesOn.by);
  if (mode === "enforce") return denied(reason, goesOn.by, goesOn.by);
  return told.mode === "report" ? told : passed(denied(reason, goesOn.by, goesOn.by), goesOn);
}

/** A rule in its file; `position` is its place in the order of precedence. */
type Listed = { readonly file: PolicyFile; readonly rule: Rule; readonly id: string; readonly position: number };
/** A rule that covers the target by one of its patterns or blocks. `rank` compares from the left, more is more specific. */
type Covering = { readonly by: Listed; readonly key: string; readonly rank: readonly number[] };
type GoesOn = { readonly by: Listed; readonly endpoint: Endpoint | undefined };
type Answer = { readonly told: Told; readonly goesOn: GoesOn | undefined };
type Judged =
  | { readonly kind: "goes"; readonly by: Listed; readonly endpoint: Endpoint }
  | {
      readonly kind: "stops";
      readonly reason: string;
      readonly by: Listed | undefined;
      readonly nearest: Listed | undefined;
    };

function decide(question: Question): Answer {
  const { facts } = question;
  if (!facts.hostAgrees) {
    const rest = decide({ ...question, facts: { ...facts, hostAgrees: true } });
    const closest = rest.told.verdict === "deny" ? rest.told.nearest : rest.goesOn?.by.id;
    const told: Told = { ...denied("host_mismatch", undefined, undefined), nearest: closest };
    const passes = rest.told.verdict === "allow" && modeOfRule(question, rest.goesOn?.by) === "report";
    return passes ? { told: passed(told, rest.goesOn), goesOn: rest.goesOn } : { told, goesOn: undefined };
  }
  const judged = judge(question, false);
  if (judged.kind === "stops" && judged.reason === "rule_denied" && judged.by?.rule.mode === "report") {
    return onTrial(question, denied("rule_denied", judged.by, judged.by));
  }
  return settle(question, judged);
}

/** A deny rule that says report is recorded, and the request decided as if it were not there. */
function onTrial(question: Question, recorded: Told): Answer {
  const rest = judge(question, true);
  const uncovered = rest.kind === "stops" && (rest.reason === "no_rule" || rest.reason === "client_denied");
  if (uncovered && isOrdinary(question)) return { told: passed(recorded, undefined), goesOn: undefined };
  const answer = settle(question, rest);
  return answer.told.verdict === "deny" ? answer : { told: passed(recorded, answer.goesOn), goesOn: answer.goesOn };
}

/** Conditions, then report mode. */
function settle(question: Question, judged: Judged): Answer {
  if (judged.kind === "goes") {
    const reason = conditionReason(judged.by.rule, question.facts);
    const { by, endpoint } = judged;
    if (reason === undefined) {
      const told: Told = {
        verdict: "allow",
        reason: "allowed",
        mode: "enforce",
        rule: by.id,
        nearest: undefined,
        goesOn: wayOf({ by, endpoint }),
      };
      return { told, goesOn: { by, endpoint } };
    }
    return reportOrDeny(question, denied(reason, by, by), { by, endpoint });
  }
  const told = denied(judged.reason, judged.by, judged.nearest);
  switch (judged.reason) {
    case "scheme_mismatch":
    case "port_mismatch":
      return reportOrDeny(question, told, judged.by === undefined ? undefined : { by: judged.by, endpoint: undefined });
    case "no_rule":
    case "client_denied": {
      const sites = question.set.files.filter((file) => file.kind === "site");
      const reported = sites.length > 0 && sites.every((file) => file.defaultMode === "report");
      const passes =
        reported && question.facts.listenerAdmits && modeOfGroups(question) !== "enforce" && isOrdinary(question);
      return { told: passes ? passed(told, undefined) : told, goesOn: undefined };
    }
    default:
      return { told, goesOn: undefined };
  }
}

function reportOrDeny(question: Question, told: Told, goesOn: GoesOn | undefined): Answer {
  if (modeOfRule(question, goesOn?.by) === "enforce") return { told, goesOn: undefined };
  return { told: passed(told, goesOn), goesOn };
}

/** Who covers the target, who of them exists for this client, which of those is most specific, what it says. */
function judge(question: Question, withoutTrials: boolean): Judged {
  const { facts } = question;
  const onTheBooks = listRules(question.set)
    .filter(({ rule }) => question.nowMs < rule.expiresAt)
    .filter(({ rule }) => !(withoutTrials && rule.action === "deny" && rule.mode === "report"));
  const covering = onTheBooks.flatMap((by) => coverings(question, by)).sort(mostSpecificFirst);
  const theirs = covering.filter(({ by }) => existsForClient(question, by));
  const siteDenies = theirs.filter(({ by }) => by.file.kind === "site" && by.rule.action === "deny");
  const left = theirs.filter(
    (candidate) =>
      candidate.by.file.kind === "site" ||
      !siteDenies.some((siteDeny) => compareRanks(candidate.rank, siteDeny.rank) > 0),
  );
  const [best] = left;
  if (covering.length === 0 && facts.host.kind === "address") return stops("ip_literal", undefined, undefined);
  if (covering.length === 0) return stops("no_rule", undefined, nearest(question, onTheBooks));
  if (best === undefined) return stops("client_denied", undefined, covering[0]?.by);
  const whole = left.filter(({ key }) => key === best.key).map(({ by }) => by);
  const judged = judgeWhole(whole, facts);
  if (facts.listenerAdmits) return judged;
  return stops("client_denied", undefined, judged.kind === "goes" ? judged.by : judged.nearest);
}

/** The rules of one pattern. */
function judgeWhole(whole: readonly Listed[], facts: RequestFacts): Judged {
  const refusing = whole.find(({ rule }) => rule.action === "deny");
  if (refusing !== undefined) return stops("rule_denied", refusing, refusing);
  const isHttp = facts.kind === "http";
  for (const by of whole) {
    for (const endpoint of by.rule.endpoints) {
      if ((endpoint.scheme === "http") === isHttp && endpoint.port === facts.port)
        return { kind: "goes", by, endpoint };
    }
  }
  const all = whole.flatMap(({ rule }) => rule.endpoints);
  const sameWay = all.filter(({ scheme }) => (scheme === "http") === isHttp);
  const otherWayHere = all.some(({ scheme, port }) => scheme === "http" && port === facts.port);
  const schemeMismatch = sameWay.length === 0 || (!isHttp && otherWayHere);
  return stops(schemeMismatch ? "scheme_mismatch" : "port_mismatch", whole[0], whole[0]);
}

function conditionReason(rule: Rule, { http }: RequestFacts): string | undefined {
  if (http === undefined) return undefined;
  if (http.websocket && rule.websocket === "deny") return "scheme_mismatch";
  if (!rule.methods.includes(http.method)) return "method_denied";
  if (rule.paths !== null && !rule.paths.some((glob) => pathCovered(glob, http.path))) return "path_denied";
  if (http.range !== "none" && rule.range === "deny") return "range_denied";
  if (http.range === "invalid" && rule.range === "allow") return "range_invalid";
  return undefined;
}

/** Paths of which decoding, decoding twice and dot segments are all there is to judge. */
function pathCovered(glob: string, sent: string): boolean {
  const [path = ""] = sent.split("?");
  const once = decodeURIComponent(path);
  if (once !== decodeURIComponent(once)) return false;
  const segments = once.split("/");
  if (segments.includes("..") || segments.includes(".")) return false;
  return labelsMatch(glob.split("/"), segments);
}

const readingReasons = {
  not_tls: "not_tls",
  malformed: "hello_malformed",
  timeout: "hello_timeout",
  too_large: "hello_too_large",
} as const;

function helloReason(
  question: Question,
  by: Listed,
  hello: Extract<FinalHello, { kind: "hello" }>,
): string | undefined {
  const { host, port } = question.facts;
  const sni = by.rule.sni ?? (host.kind === "name" ? "match" : "any");
  if (hello.maxVersion < by.rule.tlsMin) return "tls_version";
  if (hello.ech && by.rule.ech === "deny") return "ech_denied";
  if (hello.serverName === null) return sni === "any" ? undefined : "sni_missing";
  const named = hello.serverName.toLowerCase().replace(/\.$/, "");
  if (sni === "match") return host.kind === "name" && host.name === named ? undefined : "sni_mismatch";
  const facts = {
    kind: "connect" as const,
    host: { kind: "name" as const, name: named as Extract<typeof host, { kind: "name" }>["name"] },
    port,
    hostAgrees: true,
    listenerAdmits: true,
    http: undefined,
  };
  const judged = judge({ ...question, facts }, true);
  if (judged.kind === "stops" || judged.endpoint.scheme !== "https") return "sni_mismatch";
  return sni === "any" || judged.by.id === by.id ? undefined : "sni_mismatch";
}

/** Site files in their order, then packs in theirs, then position; a pack's rule that every use leaves out is not there. */
function listRules({ files }: PolicySet): readonly Listed[] {
  const sites = files.filter(({ kind }) => kind === "site");
  const packs = files.filter(({ kind }) => kind === "pack");
  return [...sites, ...packs]
    .flatMap((file) => file.rules.map((rule) => ({ file, rule })))
    .filter(({ file, rule }) => file.kind === "site" || file.uses.some(({ without }) => !without.has(rule.id)))
    .map(({ file, rule }, position) => ({ file, rule, id: `${file.name}/${rule.id}`, position }));
}

function existsForClient(question: Question, { file, rule }: Listed): boolean {
  const mine = new Set(groupsOf(question).map(({ name }) => name));
  const names = (list: readonly string[] | null) => list === null || list.some((name) => mine.has(name));
  if (!names(rule.clients)) return false;
  return file.kind === "site" || file.uses.some((use) => !use.without.has(rule.id) && names(use.clients));
}

function coverings({ set, facts }: Question, by: Listed): readonly Covering[] {
  const { host } = facts;
  if (host.kind === "address") {
    const blocks = by.rule.addresses.filter((block) => holds(block, host.address));
    return blocks.map((block) => ({ by, key: block.text, rank: [block.prefix] }));
  }
  const labels = host.name.split(".");
  const found = by.rule.patterns.filter((pattern) => labelsMatch(labelsOf(pattern), labels));
  return found.map((pattern) => ({ by, key: pattern.text, rank: rankOf(set, pattern) }));
}

/**
 * Exact; literal labels on the right; a glob before the suffix; literal characters; file order, which is where the
 * pattern stands first, whether or not that rule exists today and for this client.
 */
function rankOf(set: PolicySet, pattern: Pattern): readonly number[] {
  const exact = pattern.kind === "exact" ? 1 : 0;
  const characters = pattern.text.replace("glob:", "").replace(/[*?.]/g, "").length;
  const first = listRules(set).find(({ rule }) => rule.patterns.some(({ text }) => text === pattern.text));
  const inRule = first?.rule.patterns.findIndex(({ text }) => text === pattern.text) ?? 0;
  return [
    exact,
    literalLabels(pattern).length,
    pattern.kind === "glob" ? 1 : 0,
    characters,
    -(first?.position ?? 0),
    -inRule,
  ];
}

function mostSpecificFirst(a: Covering, b: Covering): number {
  return compareRanks(b.rank, a.rank) || a.by.position - b.by.position;
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  const different = a.findIndex((value, i) => value !== b[i]);
  return different < 0 ? 0 : (a[different] ?? 0) - (b[different] ?? 0);
}

/** Labels of a pattern as of a glob: `*.x.com` is `**.x.com`, none included. */
function labelsOf(pattern: Pattern): readonly string[] {
  if (pattern.kind === "suffix") return ["**", ...pattern.text.split(".").slice(1)];
  return pattern.text.replace("glob:", "").split(".");
}

function literalLabels(pattern: Pattern): readonly string[] {
  const labels = labelsOf(pattern);
  return labels.slice(labels.findLastIndex((label) => /[*?]/.test(label)) + 1);
}

function labelsMatch(globs: readonly string[], labels: readonly string[]): boolean {
  const [glob, ...globsLeft] = globs;
  if (glob === undefined) return labels.length === 0;
  if (glob === "**")
    return labels.some((_, i) => labelsMatch(globsLeft, labels.slice(i))) || labelsMatch(globsLeft, []);
  const [label, ...labelsLeft] = labels;
  return label !== undefined && lettersMatch(glob, label) && labelsMatch(globsLeft, labelsLeft);
}

function lettersMatch(glob: string, text: string): boolean {
  if (glob === "") return text === "";
  if (glob[0] === "*") return lettersMatch(glob.slice(1), text) || (text !== "" && lettersMatch(glob, text.slice(1)));
  return text !== "" && (glob[0] === "?" || glob[0] === text[0]) && lettersMatch(glob.slice(1), text.slice(1));
}

function holds(block: Cidr, address: Address): boolean {
  return (
    block.family === address.family && bitsOf(address.bytes).startsWith(bitsOf(block.bytes).slice(0, block.prefix))
  );
}

function bitsOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
}

/** The client's groups in file order. */
function groupsOf({ set, client }: Question) {
  return set.groups.filter(({ addresses }) => addresses.some((block) => holds(block, client)));
}

/** The rule's own mode, the client's group, defaults. */
function modeOfRule(question: Question, by: Listed | undefined): Mode {
  const sites = question.set.files.filter(({ kind }) => kind === "site");
  const reported = sites.length > 0 && sites.every(({ defaultMode }) => defaultMode === "report");
  return by?.rule.mode ?? modeOfGroups(question) ?? by?.file.defaultMode ?? (reported ? "report" : "enforce");
}

function modeOfGroups(question: Question): Mode | undefined {
  return groupsOf(question).find(({ mode }) => mode !== undefined)?.mode;
}

/** Where a target without a rule may pass in report mode. */
function isOrdinary({ set, facts, nowMs }: Question): boolean {
  if (facts.kind === "http") return facts.port === 80;
  const named = listRules(set)
    .filter(({ rule }) => nowMs < rule.expiresAt)
    .flatMap(({ rule }) => rule.endpoints)
    .some(({ scheme, port }) => scheme !== "http" && port === facts.port);
  return facts.port === 443 || named;
}

/** Shares the most right-hand labels, and at least one below the registrable domain. */
function nearest(question: Question, onTheBooks: readonly Listed[]): Listed | undefined {
  const { host } = question.facts;
  if (host.kind === "address") return undefined;
  const labels = host.name.split(".");
  const registrable = host.name.endsWith(".co.uk") ? 3 : 2;
  let best: Listed | undefined;
  let most = registrable;
  for (const by of onTheBooks) {
    if (by.rule.action === "deny" || !existsForClient(question, by)) continue;
    for (const pattern of by.rule.patterns) {
      const shared = sharedOnTheRight(literalLabels(pattern), labels);
      if (shared > most) [best, most] = [by, shared];
    }
  }
  return best;
}

function sharedOnTheRight(a: readonly string[], b: readonly string[]): number {
  let shared = 0;
  while (shared < a.length && shared < b.length && a[a.length - 1 - shared] === b[b.length - 1 - shared]) shared++;
  return shared;
}

function stops(reason: string, by: Listed | undefined, closest: Listed | undefined): Judged {
  return { kind: "stops", reason, by, nearest: closest };
}

function denied(reason: string, by: Listed | undefined, closest: Listed | undefined): Told {
  return { verdict: "deny", reason, mode: "enforce", rule: by?.id, nearest: closest?.id, goesOn: undefined };
}

function passed(denial: Told, goesOn: GoesOn | undefined): Told {
  return { ...denial, verdict: "allow", mode: "report", goesOn: wayOf(goesOn) };
}

function wayOf(goesOn: GoesOn | undefined): string | undefined {
  if (goesOn?.endpoint === undefined) return goesOn?.by.id;
  return `${goesOn.by.id} ${goesOn.endpoint.scheme}:${goesOn.endpoint.port}`;
}
