/** Policies in few words: rules, files and requests as tests need them, everything else as the language's defaults say. */
import { type Client, identify } from "../../src/identity/groups.ts";
import { type Address, type Cidr, parseAddress, parseCidr } from "../../src/names/address.ts";
import { parseAuthority } from "../../src/names/authority.ts";
import { compileRuleset } from "../../src/policy/compile.ts";
import type { HttpFacts, RequestFacts } from "../../src/policy/decide.ts";
import { type Pattern, parsePattern } from "../../src/policy/pattern.ts";
import type { ClientGroup, Endpoint, Mode, PackUse, PolicyFile, PolicySet, Rule } from "../../src/policy/rule.ts";
import type { Ruleset } from "../../src/policy/ruleset.ts";
import type { Verdict } from "../../src/policy/verdict.ts";
import { parseRequestTarget } from "../../src/wire/request-target.ts";

/** A rule as its file would say it. Hosts, addresses and endpoints are text; whatever is left out has its default. */
export type RuleWords = Partial<Omit<Rule, "place" | "patterns" | "addresses" | "endpoints" | "resolvesTo">> & {
  readonly id: string;
  readonly hosts?: readonly string[];
  readonly addresses?: readonly string[];
  /** `http:80`, `https`, `tcp:22`. */
  readonly expect?: readonly string[];
  readonly sharedSuffix?: boolean;
  /** `public`, `private` and blocks. */
  readonly resolvesTo?: readonly string[];
};

const nowhere = { file: "test.yaml", line: 1, column: 1 };
const defaultMethods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const idleTimeoutMs = 15 * 60 * 1000;

/** An allow rule, or with `action: "deny"` a deny rule. Throws where the language would refuse the text. */
export function rule(words: RuleWords): Rule {
  const { hosts = [], addresses = [], expect = [], sharedSuffix = false, resolvesTo = ["public"], ...given } = words;
  return {
    place: nowhere,
    action: "allow",
    patterns: hosts.flatMap((text) => patternsOf(text, sharedSuffix)),
    addresses: addresses.map(cidr),
    endpoints: expect.map(endpoint),
    tlsMin: 0x0303,
    sni: undefined,
    addressSni: words.sni,
    ech: "allow",
    range: "deny",
    methods: defaultMethods,
    paths: null,
    websocket: "deny",
    clients: null,
    resolvesTo: {
      public: resolvesTo.includes("public"),
      private: resolvesTo.includes("private"),
      cidrs: resolvesTo.filter((text) => text !== "public" && text !== "private").map(cidr),
    },
    idleTimeoutMs: undefined,
    mode: undefined,
    expiresAt: Infinity,
    purpose: undefined,
    owner: undefined,
    ticket: undefined,
    source: undefined,
    ...given,
  };
}

/** A deny rule. */
export function deny(words: Omit<RuleWords, "action" | "expect">): Rule {
  return rule({ ...words, action: "deny" });
}

export type FileWords = {
  readonly name?: string;
  readonly mode?: Mode;
  readonly idleTimeoutMs?: number;
  readonly uses?: readonly Partial<PackUse>[];
};

/** A site's file. */
export function siteFile(rules: readonly Rule[], words: FileWords = {}): PolicyFile {
  return policyFile("site", rules, { name: "site", ...words });
}

/** A pack, used by everyone unless `uses` says otherwise. */
export function packFile(rules: readonly Rule[], words: FileWords = {}): PolicyFile {
  return policyFile("pack", rules, { name: "pack", uses: [{}], ...words });
}

export type GroupWords = {
  readonly name: string;
  readonly addresses?: readonly string[];
  readonly mode?: Mode;
  readonly perClient?: number;
};

/** A group of clients. */
function group({ name, addresses = [], mode, perClient }: GroupWords): ClientGroup {
  return { name, place: nowhere, addresses: addresses.map(cidr), users: [], subjects: [], mode, perClient };
}

export function policySet(files: readonly PolicyFile[], groups: readonly GroupWords[] = []): PolicySet {
  return { files, groups: groups.map(group) };
}

/** Compiles files, or the rules of one site file. */
export function rulesetOf(
  content: readonly PolicyFile[] | readonly Rule[],
  groups: readonly GroupWords[] = [],
): Ruleset {
  const files = content.every(isFile) ? content : [siteFile(content.filter((item): item is Rule => !isFile(item)))];
  return compileRuleset(policySet(files, groups));
}

/** The client at an address, in the groups that hold it. */
export function clientAt(ruleset: Ruleset, address = "192.0.2.7"): Client {
  return identify(ruleset.groups, addressAt(address));
}

/** Facts of `CONNECT host:port`. */
export function connect(authority: string, facts: Partial<RequestFacts> = {}): RequestFacts {
  const target = parseAuthority(authority);
  if (target === undefined) throw new Error(`${authority} is no authority`);
  return { kind: "connect", ...target, hostAgrees: true, listenerAdmits: true, http: undefined, ...facts };
}

/** Facts of `GET http://…`. */
export function get(url: string, http: Partial<HttpFacts> = {}, facts: Partial<RequestFacts> = {}): RequestFacts {
  const target = parseRequestTarget("GET", url);
  if (target.kind === "malformed") throw new Error(`${url} ${target.detail}`);
  return {
    kind: "http",
    ...target.authority,
    hostAgrees: true,
    listenerAdmits: true,
    http: { method: "GET", path: target.path, range: "none", websocket: false, ...http },
    ...facts,
  };
}

/** A verdict in one line: what is told of it, and by which rule and endpoint the request goes on. */
export type Told = {
  readonly verdict: "allow" | "deny";
  /** In report mode the denial's. */
  readonly reason: string;
  readonly mode: Mode;
  /** The rule that decided: in report mode the one that would have denied. */
  readonly rule: string | undefined;
  readonly nearest: string | undefined;
  /** `site/wsus http:8530`; a rule alone where no endpoint of it was asked for; undefined on a denial and without a rule. */
  readonly goesOn: string | undefined;
};

export function tell(verdict: Verdict): Told {
  if (verdict.kind === "deny") {
    const { reason, mode, rule: decided, nearest } = verdict;
    return { verdict: "deny", reason, mode, rule: decided?.fullId, nearest: nearest?.fullId, goesOn: undefined };
  }
  const { mode, permit, would } = verdict;
  const way = permit.endpoint === undefined ? "" : ` ${permit.endpoint.scheme}:${permit.endpoint.port}`;
  const goesOn = permit.rule === undefined ? undefined : permit.rule.fullId + way;
  if (would === undefined) {
    return { verdict: "allow", reason: "allowed", mode, rule: verdict.rule?.fullId, nearest: undefined, goesOn };
  }
  const { reason, rule: decided, nearest } = would;
  return { verdict: "allow", reason, mode, rule: decided?.fullId, nearest: nearest?.fullId, goesOn };
}

export function patternsOf(text: string, sharedSuffix = false): readonly Pattern[] {
  const reading = parsePattern(text, sharedSuffix);
  if (reading.kind === "problem") throw new Error(`${text} ${reading.message}`);
  return reading.patterns;
}

function cidr(text: string): Cidr {
  const block = parseCidr(text);
  if ("problem" in block) throw new Error(`${text} ${block.problem}`);
  return block;
}

export function addressAt(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

function endpoint(text: string): Endpoint {
  const [scheme, port] = text.split(":");
  if (scheme === "http" || scheme === "https" || (scheme === "tcp" && port !== undefined)) {
    return { scheme, port: port === undefined ? (scheme === "http" ? 80 : 443) : Number(port) };
  }
  throw new Error(`${text} is no endpoint`);
}

function policyFile(kind: PolicyFile["kind"], rules: readonly Rule[], words: FileWords): PolicyFile {
  const { name = kind, mode = "enforce", uses = [] } = words;
  return {
    kind,
    name,
    path: `${name}.yaml`,
    title: undefined,
    rules,
    uses: uses.map(({ clients = null, without = new Set<string>() }) => ({ clients, without })),
    defaultMode: mode,
    defaultIdleTimeoutMs: words.idleTimeoutMs ?? idleTimeoutMs,
  };
}

function isFile(item: PolicyFile | Rule): item is PolicyFile {
  return "kind" in item;
}
