/** One rule: what its schema cannot see is judged here, and its texts become values. */
import { METHODS } from "node:http";
import { type Cidr, parseCidr } from "../names/address.ts";
import { compilePaths } from "../policy/path.ts";
import { type Pattern, parsePattern } from "../policy/pattern.ts";
import type { Endpoint, ResolvesTo, Rule, Source, TlsVersion } from "../policy/rule.ts";
import { type Diagnostics, nameNode } from "./diagnostics.ts";
import type { RawDefaults, RawRule } from "./policy-schema.ts";
import { placeAt } from "./source-text.ts";
import { suggest } from "./suggest.ts";
import { parseDuration } from "./units.ts";
import { type YamlNode, entryOf, hasKey } from "./yaml-tree.ts";

/** What a rule needs to know of the file that it stands in. */
export type RuleContext = {
  readonly diagnostics: Diagnostics;
  readonly defaults: RawDefaults;
  /** A host with its pack's parameters filled in; `absent` where an optional one is not given, so that the rule does not exist. */
  readonly expandHost: (text: string) => HostExpansion;
};

export type HostExpansion =
  | { readonly kind: "hosts"; readonly hosts: readonly string[] }
  | { readonly kind: "absent" }
  | { readonly kind: "problem"; readonly message: string; readonly instead: string | undefined };

/**
 * Reads a rule, reporting whatever is wrong with it. Undefined for a rule that does not exist here; a rule with
 * problems comes back with what could be read, and must not be used.
 */
export function readRule(context: RuleContext, raw: RawRule, node: YamlNode): Rule | undefined {
  const { diagnostics, defaults } = context;
  const deny = raw.action === "deny";
  const endpoints = readEndpoints(diagnostics, raw, node);
  const patterns = readHosts(context, raw, node);
  const addresses = (raw.addresses ?? []).flatMap((text, i) => readCidr(diagnostics, node, ["addresses", i], text));
  if (deny) checkDeny(diagnostics, raw, node);
  else if (raw.action === "allow" || !hasKey(node, "action")) checkAllow(diagnostics, raw, node, endpoints);
  const methods = readMethods(diagnostics, raw, node);
  for (const [i, glob] of (raw.paths ?? []).entries()) {
    const compiled = compilePaths([glob]);
    if ("problem" in compiled) diagnostics.value(node, ["paths", i], compiled.problem);
  }
  const resolvesTo = readResolvesTo(diagnostics, raw, node);
  const source = readSource(diagnostics, raw, node);
  const expiresAt = readExpires(diagnostics, raw, node);
  if (patterns === undefined) return undefined;
  return {
    id: raw.id ?? "",
    place: placeAt(diagnostics.source, node.start),
    action: raw.action ?? "allow",
    patterns,
    addresses,
    endpoints: deny ? [] : endpoints,
    tlsMin: tlsVersions[raw.tls_min ?? defaults.tls_min ?? "1.2"],
    sni: raw.sni ?? defaults.sni,
    addressSni: raw.sni,
    ech: raw.ech ?? defaults.ech ?? "allow",
    range: raw.range ?? defaults.range ?? "deny",
    methods,
    paths: raw.paths ?? null,
    websocket: raw.websocket ?? "deny",
    clients: raw.clients ?? null,
    resolvesTo,
    idleTimeoutMs:
      readIdleTimeout(diagnostics, node, ["idle_timeout"], raw.idle_timeout) ??
      parseDuration(defaults.idle_timeout ?? ""),
    mode: raw.mode,
    expiresAt,
    purpose: raw.purpose,
    owner: raw.owner,
    ticket: raw.ticket,
    source,
  };
}

export const tlsVersions: Readonly<Record<"1.0" | "1.1" | "1.2" | "1.3", TlsVersion>> = {
  "1.0": 0x0301,
  "1.1": 0x0302,
  "1.2": 0x0303,
  "1.3": 0x0304,
};

/** An address or a block, in a list or alone. */
export function readCidr(diagnostics: Diagnostics, node: YamlNode, path: readonly PropertyKey[], text: string): Cidr[] {
  const cidr = parseCidr(text.trim());
  if (!("problem" in cidr)) return [cidr];
  const [, instead] = /: write (\S+)$/.exec(cidr.problem) ?? [];
  diagnostics.value(node, path, cidr.problem, instead);
  return [];
}

/** A duration between a second and a week; its form is the schema's business. */
export function readIdleTimeout(
  diagnostics: Diagnostics,
  node: YamlNode,
  path: readonly PropertyKey[],
  text: string | undefined,
): number | undefined {
  const ms = text === undefined ? undefined : parseDuration(text);
  if (ms === undefined) return undefined;
  if (ms < minIdleTimeoutMs) diagnostics.value(node, path, "is too short: at least 1s", "1s");
  if (ms > maxIdleTimeoutMs) diagnostics.value(node, path, "is too long: at most 168h", "168h");
  return ms;
}

const minIdleTimeoutMs = 1000;
const maxIdleTimeoutMs = 7 * 24 * 3600 * 1000;
const maxPort = 65535;
const defaultPorts = { http: 80, https: 443 } as const;

function readEndpoints(diagnostics: Diagnostics, raw: RawRule, node: YamlNode): Endpoint[] {
  const list = raw.expect === undefined ? [] : [raw.expect].flat();
  const endpoints: Endpoint[] = [];
  for (const [i, text] of list.entries()) {
    const path = typeof raw.expect === "string" ? ["expect"] : ["expect", i];
    const endpoint = parseEndpoint(text);
    if (endpoint === undefined) continue;
    const { scheme, port } = endpoint;
    const rival = scheme === "tcp" ? "https" : "tcp";
    if (port > maxPort) diagnostics.value(node, path, `has a port beyond ${maxPort}`);
    else if (endpoints.some((other) => other.scheme === scheme && other.port === port)) {
      diagnostics.value(node, path, `stands twice: ${scheme}:${port} is expected already`);
    } else if (scheme !== "http" && endpoints.some((other) => other.scheme === rival && other.port === port)) {
      const message = `stands beside ${rival}:${port}: tcp lets any bytes pass that https would judge, so keep one of them`;
      diagnostics.value(node, path, message, undefined);
    } else endpoints.push(endpoint);
  }
  return endpoints;
}

function parseEndpoint(text: string): Endpoint | undefined {
  const [scheme, port] = text.split(":");
  if (scheme !== "http" && scheme !== "https" && scheme !== "tcp") return undefined;
  if (scheme === "tcp") return port === undefined ? undefined : { scheme, port: Number(port) };
  return { scheme, port: port === undefined ? defaultPorts[scheme] : Number(port) };
}

function readHosts(context: RuleContext, raw: RawRule, node: YamlNode): Pattern[] | undefined {
  const { diagnostics } = context;
  const patterns: Pattern[] = [];
  let exists = true;
  for (const [i, text] of (raw.hosts ?? []).entries()) {
    const path = ["hosts", i];
    const expansion = context.expandHost(text);
    if (expansion.kind === "absent") exists = false;
    if (expansion.kind === "problem") diagnostics.value(node, path, expansion.message, expansion.instead);
    if (expansion.kind !== "hosts") continue;
    for (const host of expansion.hosts) {
      const reading = parsePattern(host, raw.shared_suffix ?? false);
      if (reading.kind === "problem") {
        const [prefix, instead] = host === text ? ["", reading.instead] : [`stands for ${host}, which `, undefined];
        diagnostics.value(node, path, prefix + reading.message, instead === undefined ? undefined : yamlText(instead));
        break;
      }
      if (reading.rewritten !== undefined && host === text) {
        diagnostics.value(node, path, `is read as ${reading.rewritten}`, yamlText(reading.rewritten), "rewriting");
      }
      patterns.push(...reading.patterns);
    }
  }
  return exists ? patterns : undefined;
}

/** A text as it must stand in YAML. */
function yamlText(text: string): string {
  return /^[*&!|>%@`{[]|[{}[\],]/.test(text) ? `"${text}"` : text;
}

const httpConditions = ["range", "methods", "paths", "websocket"] as const;
const tlsConditions = ["tls_min", "sni", "ech"] as const;

function checkDeny(diagnostics: Diagnostics, raw: RawRule, node: YamlNode): void {
  for (const key of ["expect", ...httpConditions, ...tlsConditions]) {
    if (entryOf(node, key) !== undefined)
      diagnostics.key(node, [key], "has no place on a deny rule, which refuses its hosts in every way: leave it out");
  }
  for (const key of ["resolves_to", "idle_timeout"]) {
    if (entryOf(node, key) !== undefined)
      diagnostics.key(node, [key], "does nothing on a deny rule: leave it out", "warning");
  }
  checkTarget(diagnostics, raw, node);
}

function checkAllow(diagnostics: Diagnostics, raw: RawRule, node: YamlNode, endpoints: readonly Endpoint[]): void {
  if (!hasKey(node, "expect")) {
    diagnostics.value(nameNode(node), [], "has no expect: say how the hosts are reached, as expect: [https]");
  }
  checkTarget(diagnostics, raw, node);
  // With a broken endpoint in the list nothing can be said of the others.
  if (endpoints.length === 0) return;
  const schemes = new Set(endpoints.map((endpoint) => endpoint.scheme));
  for (const key of httpConditions) {
    if (entryOf(node, key) === undefined || schemes.has("http")) continue;
    diagnostics.key(
      node,
      [key],
      "is a condition on plain HTTP, and this rule expects no http endpoint: leave it out, or add http to expect",
    );
  }
  for (const key of tlsConditions) {
    if (entryOf(node, key) === undefined || schemes.has("https")) continue;
    diagnostics.key(node, [key], "does nothing here: this rule expects no https endpoint", "warning");
  }
  if (!hasKey(node, "hosts") && raw.resolves_to !== undefined) {
    diagnostics.key(node, ["resolves_to"], "does nothing here: addresses are admitted as they are listed", "warning");
  }
}

function checkTarget(diagnostics: Diagnostics, raw: RawRule, node: YamlNode): void {
  if (!hasKey(node, "hosts") && !hasKey(node, "addresses")) {
    diagnostics.value(nameNode(node), [], "has neither hosts nor addresses: say what it is about");
  }
  if (raw.shared_suffix !== undefined && !hasKey(node, "hosts")) {
    diagnostics.key(node, ["shared_suffix"], "does nothing here: this rule has no hosts", "warning");
  }
}

const defaultMethods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;
const forbiddenMethods: Readonly<Record<string, string>> = {
  TRACE: "is never allowed: it echoes what the client sent, credentials among it",
  CONNECT: "is no method here: a tunnel is expected as https or tcp:PORT",
};
const knownMethods: ReadonlySet<string> = new Set(METHODS);

function readMethods(diagnostics: Diagnostics, raw: RawRule, node: YamlNode): readonly string[] {
  if (raw.methods === undefined) return defaultMethods;
  const methods = new Set<string>();
  for (const [i, method] of raw.methods.entries()) {
    const path = ["methods", i];
    const upper = method.toUpperCase();
    const forbidden = forbiddenMethods[upper];
    if (forbidden !== undefined) diagnostics.value(node, path, forbidden);
    else if (!knownMethods.has(method)) {
      const closest = knownMethods.has(upper) ? upper : suggest(upper, defaultMethods);
      diagnostics.value(
        node,
        path,
        knownMethods.has(upper) ? "is not in upper case, as methods are" : "is no method that the HTTP parser knows",
        closest,
      );
    } else if (methods.has(method)) diagnostics.value(node, path, "stands twice", undefined, "warning");
    methods.add(method);
  }
  return [...methods];
}

function readResolvesTo(diagnostics: Diagnostics, raw: RawRule, node: YamlNode): ResolvesTo {
  const list = raw.resolves_to ?? ["public"];
  const cidrs: Cidr[] = [];
  for (const [i, text] of list.entries()) {
    const path = ["resolves_to", i];
    if (text === "public" || text === "private") continue;
    const word = suggest(text, ["public", "private"]);
    if (word === undefined) cidrs.push(...readCidr(diagnostics, node, path, text));
    else diagnostics.value(node, path, "is neither public, private nor a CIDR block", word);
  }
  return { public: list.includes("public"), private: list.includes("private"), cidrs };
}

function readSource(diagnostics: Diagnostics, raw: RawRule, node: YamlNode): Source | undefined {
  if (raw.source === undefined) return undefined;
  const { title, address, checked, confidence } = typeof raw.source === "string" ? { title: raw.source } : raw.source;
  readDay(diagnostics, node, ["source", "checked"], checked);
  return { title, address, checked, confidence };
}

/** `expires` is inclusive: the rule is gone with the first instant of the next day, UTC. */
function readExpires(diagnostics: Diagnostics, raw: RawRule, node: YamlNode): number {
  const day = readDay(diagnostics, node, ["expires"], raw.expires);
  return day === undefined ? Infinity : day + 24 * 3600 * 1000;
}

/** The first instant of a day; undefined (and reported) for a 30th of February. */
function readDay(
  diagnostics: Diagnostics,
  node: YamlNode,
  path: readonly PropertyKey[],
  text: string | undefined,
): number | undefined {
  if (text === undefined) return undefined;
  const ms = Date.parse(`${text}T00:00:00Z`);
  if (!Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text)) return ms;
  diagnostics.value(node, path, "is no day of the calendar");
  return undefined;
}
