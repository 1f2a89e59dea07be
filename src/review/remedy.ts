/** What would have to change for a denied request to be allowed: by whoever asks, or in a policy. Words only; nothing is edited. */
import { classOfAddress } from "../names/address-class.ts";
import { type Authority, formatAuthority } from "../names/authority.ts";
import { formatHost, parseHost } from "../names/hostname.ts";
import { tlsName } from "../policy/explain.ts";
import { audienceNames, decidingPattern } from "./covering.ts";
import {
  type DeniedRequest,
  type Found,
  type Remedy,
  admissionOf,
  besideRule,
  changeRule,
  newRule,
  provided,
} from "./remedy-rule.ts";
import { type Endpoint, sniModeOf } from "../policy/rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { TrialRequest } from "../policy/trial.ts";

/** What the asker can do comes before what a policy would have to say. */
export function remediesOf(ruleset: Ruleset, denied: DeniedRequest): readonly Remedy[] {
  return findRemedies(ruleset, denied).map((remedy) =>
    typeof remedy === "string" ? { text: remedy, rule: undefined } : remedy,
  );
}

function findRemedies(ruleset: Ruleset, denied: DeniedRequest): readonly Found[] {
  const { request, target, denial } = denied;
  const { reason, rule } = denial;
  if (target === undefined) return readableSpelling(request);
  const host = formatHost(target.host);
  switch (reason) {
    case "bad_request":
      return [
        request.host === undefined
          ? "write the method as one word"
          : `send a Host field that can be read: ${hostField(request, target)}`,
      ];
    case "host_mismatch":
      return [`send the Host of the target: ${hostField(request, target)}`];
    case "ip_literal":
      return ["ask for the host by its name, where a rule covers that", newRule(denied, target)];
    case "no_rule":
      return [...renewals(denied), newRule(denied, target)];
    case "client_denied":
      return admissions(ruleset, denied);
    case "rule_denied":
      return exceptions(denied, target);
    case "scheme_mismatch":
    case "port_mismatch":
      if (request.websocket === true) return [changeRule(denied, target, { websocket: "allow" })];
      return [...(rule?.endpoints ?? []).map((endpoint) => useEndpoint(endpoint, host)), besideRule(denied, target)];
    case "method_denied":
      return [
        `use ${[...(rule?.methods ?? [])].join(", ")}; methods are case-sensitive`,
        ...otherMethod(denied, target),
      ];
    case "path_denied":
      return [
        `ask for a path that ${denied.denial.rule?.rule.paths?.join(" or ") ?? "the rule"} covers`,
        ...otherPath(denied, target),
      ];
    case "range_denied":
      return ["leave the Range field out", changeRule(denied, target, { range: "allow" })];
    case "range_invalid":
      return ["send one Range field in its plain form: bytes=0-1048575", "leave the Range field out"];
    case "address_denied":
      return addressRemedies(denied, target);
    case "not_tls":
      return ["begin the tunnel with a TLS ClientHello", withoutTls(denied, target)];
    case "tls_version":
    case "tls_downgrade": {
      const floor = tlsName(rule?.rule.tlsMin);
      const version = reason === "tls_version" ? request.tls : request.serverTls;
      const lower = version === null || version === undefined ? {} : { tlsMin: version };
      const whose = reason === "tls_version" ? "let the client offer" : "let the server negotiate";
      return [`${whose} TLS ${floor} or later`, changeRule(denied, target, lower)];
    }
    case "ech_denied":
      return ["switch Encrypted ClientHello off in the client", changeRule(denied, target, { ech: "allow" })];
    case "sni_missing":
      return [`let the client send the server name ${host}`, changeRule(denied, target, { sni: "any" })];
    case "sni_mismatch":
      return [`let the client send the server name ${host}`, ...otherServerName(denied, target)];
    // Nothing that a policy says leads to these.
    case "limit_exceeded":
    case "auth_required":
    case "hello_malformed":
    case "hello_timeout":
    case "hello_too_large":
      return [];
  }
}

function hostField({ method }: TrialRequest, target: Authority): string {
  return formatAuthority(target, method === "CONNECT" ? 443 : 80);
}

/** The line that was probably meant. */
function readableSpelling({ method, target }: TrialRequest): readonly string[] {
  const https = /^https:\/\/([^/?#@]+)/i.exec(target)?.[1];
  if (https !== undefined)
    return [`use CONNECT ${/:\d+$/.test(https) ? https : `${https}:443`}, as clients do for https`];
  if (method === "CONNECT") {
    const bare = /^(?:\w+:\/\/)?([^/?#@:]+|\[[^\]]*\])\/?$/.exec(target)?.[1];
    return [
      bare === undefined
        ? "name HOST:PORT, the host in its plain spelling"
        : `name the port as well: CONNECT ${bare}:443`,
    ];
  }
  if (target.startsWith("/")) return ["name the whole URL, as a client of a proxy does: http://HOST/PATH"];
  if (/^[\w.-]+(:\d+)?(\/\S*)?$/.test(target)) return [`name the whole URL: ${method} http://${target}`];
  return ["name a URL that begins with http://, the host in its plain spelling"];
}

function renewals({ covering, placeText }: DeniedRequest): readonly string[] {
  const rules = covering
    .flatMap((pattern) => pattern.rules)
    .filter(({ fate, rule }) => fate === "expired" && !rule.deny);
  return rules.map(({ rule }) => `write a later day into expires of ${rule.fullId} (${placeText(rule)})`);
}

function admissions(ruleset: Ruleset, { covering, placeText }: DeniedRequest): readonly string[] {
  const found = covering.flatMap((pattern) => pattern.rules).find(({ fate }) => fate === "other_clients");
  if (found === undefined) return [];
  const { rule } = found;
  const names = audienceNames(ruleset, rule) ?? [];
  if (names.length === 0) return [`take ${rule.rule.id} out of without, where ${rule.file.name} is used`];
  const where = rule.fromSite
    ? `clients of ${rule.fullId} (${placeText(rule)})`
    : `clients where the pack ${rule.file.name} is used`;
  const group = names.length === 1 ? `the group ${names[0]}` : `one of the groups ${names.join(", ")}`;
  return [`ask from a client in ${group}, or put this client there`, `name a group of this client in ${where}`];
}

function exceptions(denied: DeniedRequest, target: Authority): readonly Found[] {
  const { denial, covering, placeText } = denied;
  if (denial.rule === undefined) return [];
  const host = formatHost(target.host);
  const pattern = decidingPattern(covering);
  const takeBack = `take ${denial.rule.fullId} back, or narrow it (${placeText(denial.rule)})`;
  const isExact = pattern === host || target.host.kind === "address";
  return isExact ? [takeBack] : [takeBack, newRule(denied, target)];
}

function useEndpoint({ scheme, port }: Endpoint, host: string): string {
  if (scheme === "http") return `use http on port ${port}: GET http://${host}${port === 80 ? "" : `:${port}`}/`;
  return `use ${scheme === "https" ? "https" : "a tunnel, for any bytes,"} on port ${port}: CONNECT ${host}:${port}`;
}

/** TRACE and what the parser does not know can be in no rule. */
function otherMethod(denied: DeniedRequest, target: Authority): readonly Found[] {
  const { method } = denied.request;
  if (!ordinaryMethods.includes(method)) return [];
  return [changeRule(denied, target, { methods: [...(denied.denial.rule?.methods ?? []), method] })];
}

const ordinaryMethods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** Only a path that means the same as a glob, decoded once and twice. */
function otherPath(denied: DeniedRequest, target: Authority): readonly Found[] {
  const path = /^http:\/\/[^/?#]*(\/[^?#]*)/i.exec(denied.request.target)?.[1] ?? "/";
  if (!/^[\w./~-]+$/.test(path) || /\/\.{1,2}(\/|$)/.test(path)) return [];
  return [changeRule(denied, target, { paths: [...(denied.denial.rule?.rule.paths ?? []), path] })];
}

function addressRemedies(denied: DeniedRequest, target: Authority): readonly Found[] {
  const { request, denial } = denied;
  const addresses = target.host.kind === "address" ? [target.host.address] : (request.resolved ?? []);
  const told = addresses
    .map((address) => `${address.text} is ${classOfAddress(address).replaceAll("_", " ")}`)
    .join(", ");
  const admitted = denial.rule === undefined ? [] : denial.rule.rule.resolvesTo.cidrs.map(({ text }) => text);
  const resolvesTo = [...new Set(["public", ...admitted, ...addresses.map(admissionOf)])];
  const change = target.host.kind === "address" ? {} : { resolvesTo };
  return [
    `let the name resolve to an address that is admitted: ${told}`,
    provided("that address is meant", changeRule(denied, target, change)),
  ];
}

/** `https:P` beside `tcp:P` in one rule is an error, so one takes the place of the other. */
function withoutTls(denied: DeniedRequest, target: Authority): Found {
  const { rule } = denied.denial;
  const condition = "the agent speaks no TLS there";
  if (rule?.fromSite !== true) return provided(condition, besideRule(denied, target));
  const { port } = target;
  return provided(
    condition,
    `write tcp:${port} for https:${port} in expect of ${rule.fullId} (${denied.placeText(rule)})`,
  );
}

/** `match` wants the target's name; `covered` one that the same rule decides; `any` one that some rule allows. */
function otherServerName(denied: DeniedRequest, target: Authority): readonly Found[] {
  const { request, denial, placeText } = denied;
  const { rule } = denial;
  const name = parseHost(request.sni ?? "");
  if (rule === undefined || name?.kind !== "name") return [];
  const asked: Authority = { host: name, port: target.port };
  const askForIt = `ask for the tunnel by the server name: CONNECT ${formatAuthority(asked)}`;
  const mode = sniModeOf(rule.rule, target.host.kind === "address");
  switch (mode) {
    case "match":
      return [
        askForIt,
        provided(`${rule.fullId} decides ${name.name} too`, changeRule(denied, target, { sni: "covered" })),
      ];
    case "covered":
      return rule.fromSite
        ? [askForIt, `write ${name.name} into hosts of ${rule.fullId} (${placeText(rule)})`]
        : [askForIt];
    case "any":
      return [newRule(denied, asked)];
  }
}
