/** What Squid's `http_access` lines make of a request: for which client addresses the first line that matches allows. */
import {
  type AddressRanges,
  allAddresses,
  complementOf,
  intersectRanges,
  isNoAddress,
  noAddresses,
  rangesBetween,
  rangesOfCidr,
  subtractRanges,
  uniteRanges,
} from "../names/address-ranges.ts";
import { type Address, parseAddress, parseCidr } from "../names/address.ts";
import { parseHostname } from "../names/hostname.ts";
import type { ImportFinding, SourceLine } from "./import-report.ts";
import type { SquidAccess, SquidAcl, SquidConfig } from "./squid-config.ts";

/** A request as far as the ACLs that are understood look at it. */
export type SquidRequest = {
  /** Names of the ACLs of type dstdomain that the host is in. */
  readonly hostAcls: ReadonlySet<string>;
  readonly method: string;
  readonly port: number;
};

export type SquidDecision = {
  readonly allowed: AddressRanges;
  /** Lines that allow some of them. */
  readonly by: readonly SquidAccess[];
  /** Lines that may or may not match, and were passed over. */
  readonly unjudged: readonly SquidAccess[];
};

/** Values of an ACL of type port. */
export type PortRange = { readonly first: number; readonly last: number };

export type SquidJudge = {
  readonly decide: (request: SquidRequest) => SquidDecision;
  /** By ACL: canonical names (`.apex` has its dot) and addresses as text. */
  readonly domains: ReadonlyMap<string, ReadonlySet<string>>;
  readonly ports: ReadonlyMap<string, readonly PortRange[]>;
  readonly sources: ReadonlyMap<string, AddressRanges>;
  /** Methods that some ACL names. */
  readonly methods: ReadonlySet<string>;
  readonly findings: readonly ImportFinding[];
};

type Matching = AddressRanges | "unknown";

const builtin: readonly SquidAcl[] = [
  aclOf("all", "src", ["all"]),
  aclOf("localhost", "src", ["127.0.0.1/32", "::1"]),
  aclOf("CONNECT", "method", ["CONNECT"]),
  // Sallyport has no such URLs, and refuses such addresses without a rule.
  aclOf("manager", "never", []),
  aclOf("to_localhost", "never", []),
  aclOf("to_linklocal", "never", []),
];

/** Reads the ACLs of the types that are understood; of the others, each `http_access` line that needs one is a finding. */
export function createSquidJudge({ acls: written, access }: SquidConfig): SquidJudge {
  const findings: ImportFinding[] = [];
  const find = (at: SourceLine, message: string, effect: ImportFinding["effect"] = "unclear"): void => {
    if (message !== asksNames || !findings.some((finding) => finding.message === message))
      findings.push({ at, effect, message });
  };
  const acls = new Map([...builtin.map((acl) => [acl.name, acl] as const), ...written]);
  const all = [...acls.values()];
  const ofType = (...types: readonly string[]): readonly SquidAcl[] => all.filter(({ type }) => types.includes(type));
  const domains = new Map(ofType("dstdomain").map((acl) => [acl.name, readDomains(acl, find)]));
  const ports = new Map(ofType("port").map((acl) => [acl.name, readPorts(acl, find)]));
  const sources = new Map(ofType("src").map((acl) => [acl.name, readSources(acl, find)]));
  const methods = new Map(
    ofType("method").map((acl) => [acl.name, new Set(acl.values.map(({ text }) => text.toUpperCase()))]),
  );

  const matching = (name: string, request: SquidRequest, depth: number): Matching => {
    const acl = acls.get(name);
    if (acl === undefined || depth > 16) return "unknown";
    const yes = (matches: boolean): Matching => (matches ? allAddresses : noAddresses);
    switch (acl.type) {
      case "src":
        return sources.get(name) ?? noAddresses;
      case "dstdomain":
        return yes(request.hostAcls.has(name));
      case "port":
        return yes((ports.get(name) ?? []).some(({ first, last }) => request.port >= first && request.port <= last));
      case "method":
        return yes(methods.get(name)?.has(request.method) ?? false);
      case "proto":
        if (request.method === "CONNECT") return "unknown";
        return yes(acl.values.some(({ text }) => text.toUpperCase() === "HTTP"));
      case "never":
        return noAddresses;
      case "any-of":
        return anyOf(acl.values.map(({ text }) => literal(text, request, depth)));
      case "all-of":
        return allOf(acl.values.map(({ text }) => literal(text, request, depth)));
      default:
        return "unknown";
    }
  };
  const literal = (text: string, request: SquidRequest, depth: number): Matching => {
    const found = matching(text.replace(/^!/, ""), request, depth + 1);
    return found === "unknown" || !text.startsWith("!") ? found : complementOf(found);
  };

  const decide = (request: SquidRequest): SquidDecision => {
    let rest = allAddresses;
    let allowed = noAddresses;
    const by: SquidAccess[] = [];
    const unjudged: SquidAccess[] = [];
    for (const line of access) {
      if (isNoAddress(rest)) break;
      const parts = line.literals.map(({ name, negated }) => literal(`${negated ? "!" : ""}${name}`, request, 0));
      const matched = intersectRanges(rest, known(parts));
      if (isNoAddress(matched)) continue;
      if (parts.includes("unknown")) {
        unjudged.push(line);
        continue;
      }
      rest = subtractRanges(rest, matched);
      if (line.action === "deny") continue;
      allowed = uniteRanges([allowed, matched]);
      by.push(line);
    }
    // Where no line matches, Squid does the opposite of the last one.
    const last = access.at(-1);
    if (last?.action === "deny" && !isNoAddress(rest)) {
      allowed = uniteRanges([allowed, rest]);
      by.push(last);
    }
    return { allowed, by, unjudged };
  };

  return {
    decide,
    domains,
    ports,
    sources,
    methods: new Set([...methods.values()].flatMap((names) => [...names])),
    findings,
  };
}

/** What is certain to be beyond the unknown parts of a line: the line matches these at most. */
function known(parts: readonly Matching[]): AddressRanges {
  return parts.reduce<AddressRanges>(
    (found, part) => (part === "unknown" || part === allAddresses ? found : intersectRanges(found, part)),
    allAddresses,
  );
}

function anyOf(parts: readonly Matching[]): Matching {
  const certain = uniteRanges(parts.filter((part) => part !== "unknown"));
  return parts.includes("unknown") && !isNoAddress(complementOf(certain)) ? "unknown" : certain;
}

function allOf(parts: readonly Matching[]): Matching {
  const most = known(parts);
  return parts.includes("unknown") && !isNoAddress(most) ? "unknown" : most;
}

type Find = (at: SourceLine, message: string, effect?: ImportFinding["effect"]) => void;

function readDomains({ values, flags }: SquidAcl, find: Find): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { text, at } of values) {
    const address = parseAddress(text);
    const name = parseHostname(text.replace(/^\./, ""));
    if (address !== undefined) names.add(address.text);
    else if (name !== undefined) names.add(`${text.startsWith(".") ? "." : ""}${name}`);
    else find(at, `"${text}" is no domain that a client could name; Squid takes it literally`);
  }
  const [first] = values;
  if (first !== undefined && !flags.includes("-n")) find(first.at, asksNames, "note");
  return names;
}

const asksNames =
  "without -n Squid looks up the names of addresses that clients ask for; Sallyport never does, so such requests are denied";

function readPorts({ values }: SquidAcl, find: Find): readonly PortRange[] {
  return values.flatMap(({ text, at }) => {
    const [, from = "", to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
    const range = { first: Number(from), last: Number(to) };
    if (from !== "" && range.first <= range.last && range.last <= 65_535) return [range];
    find(at, `"${text}" is no port`);
    return [];
  });
}

function readSources({ values }: SquidAcl, find: Find): AddressRanges {
  const found = values.map(({ text, at }) => {
    const ranges = readSource(text);
    if (ranges === undefined) find(at, `"${text}" is no address; groups of clients are told by address only`);
    return ranges ?? noAddresses;
  });
  return uniteRanges(found);
}

/** `all`, an address, a block with a prefix or a mask, a range of addresses. */
function readSource(text: string): AddressRanges | undefined {
  if (text === "all") return allAddresses;
  if (text === "ipv4") return { four: allAddresses.four, six: [] };
  if (text === "ipv6") return { four: [], six: allAddresses.six };
  const [, from = "", to, mask] = /^([0-9a-f.:]+)(?:-([0-9a-f.:]+))?(?:\/([0-9a-f.:]+))?$/i.exec(text) ?? [];
  const first = parseAddress(from);
  if (first === undefined) return undefined;
  const prefix = mask === undefined ? undefined : prefixOf(mask, first);
  if (mask !== undefined && prefix === undefined) return undefined;
  const last = to === undefined ? first : parseAddress(to);
  if (last === undefined) return undefined;
  if (prefix === undefined) return rangesBetween(first, last);
  // Squid cuts what stands beyond the mask; both ends of a range are cut, and the blocks between them belong to it.
  const blocks = [first, last].flatMap(({ text: address, bytes }) => {
    const block = parseCidr(`${address}/${prefix}`);
    const cut = "problem" in block ? parseCidr(/write (\S+)$/.exec(block.problem)?.[1] ?? "") : block;
    return "problem" in cut || bytes.length === 0 ? [] : [cut];
  });
  const [low, high] = blocks;
  if (low === undefined || high === undefined) return undefined;
  const ends = [rangesOfCidr(low), rangesOfCidr(high)];
  if (to === undefined) return ends[0];
  const between = rangesBetween(first, last);
  return between === undefined ? undefined : uniteRanges([...ends, between]);
}

/** Length of the prefix of `24` or `255.255.255.0`. */
function prefixOf(mask: string, { bytes }: Address): number | undefined {
  if (/^\d{1,3}$/.test(mask)) return Number(mask) <= bytes.length * 8 ? Number(mask) : undefined;
  const parsed = parseAddress(mask);
  if (parsed === undefined || parsed.bytes.length !== bytes.length) return undefined;
  const bits = [...parsed.bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return /^1*0*$/.test(bits) ? bits.lastIndexOf("1") + 1 : undefined;
}

function aclOf(name: string, type: string, texts: readonly string[]): SquidAcl {
  const at = { file: "built in", line: 0, text: "" };
  return { name, type, flags: [], values: texts.map((text) => ({ text, at })), at };
}
