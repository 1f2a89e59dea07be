/** The `tests` of a site policy: requests with the verdict that they must get. */
import { type Address, parseAddress } from "../names/address.ts";
import type { Permission, Place } from "../policy/rule.ts";
import type { TrialRequest } from "../policy/trial.ts";
import { type Reason, reasons } from "../policy/verdict.ts";
import { nameNode } from "./diagnostics.ts";
import type { PolicyDocument } from "./policy-document.ts";
import type { RawTest } from "./policy-schema.ts";
import { tlsVersions } from "./read-rule.ts";
import { unknownGroup } from "./read-groups.ts";
import { placeAt } from "./source-text.ts";
import { suggest } from "./suggest.ts";
import { parseMoment } from "./units.ts";
import { type YamlNode, nodeAt } from "./yaml-tree.ts";

/** One test. What is undefined was not said; interface.md, `explain --ndjson`, gives the meaning of that. */
export type PolicyTest = TrialRequest & {
  readonly place: Place;
  /** The request line without its version: `CONNECT host:port`, `GET http://host/path`. */
  readonly request: string;
  readonly expect: Permission;
  readonly reason: Reason | undefined;
  /** Full id of the rule that must decide. */
  readonly rule: string | undefined;
};

/** Reads the tests of a site; `groups` and `ruleIds` are those of the whole set; undefined where they are not all known. */
export function readTests(
  site: PolicyDocument,
  groups: ReadonlySet<string>,
  ruleIds: ReadonlySet<string> | undefined,
): PolicyTest[] {
  return (site.raw.tests ?? []).flatMap((raw, i) => {
    const node = nodeAt(site.root, ["tests", i]);
    return node === undefined ? [] : (readTest(site, raw, node, groups, ruleIds) ?? []);
  });
}

function readTest(
  { diagnostics }: PolicyDocument,
  raw: RawTest,
  node: YamlNode,
  groups: ReadonlySet<string>,
  ruleIds: ReadonlySet<string> | undefined,
): PolicyTest | undefined {
  const [, method = "", target = ""] = /^(\S+) (\S+)$/.exec(raw.request ?? "") ?? [];
  if (raw.request !== undefined && method === "") {
    diagnostics.value(
      node,
      ["request"],
      'is no request: "CONNECT host:port" or "GET http://host/path"',
      insteadOfRequest(raw.request),
    );
  }
  const client = readAddress(raw.client, (message) => diagnostics.value(node, ["client"], message));
  if (raw.group !== undefined && !groups.has(raw.group)) {
    const { message, instead } = unknownGroup(raw.group, groups);
    diagnostics.value(node, ["group"], message, instead);
  }
  const resolved = [raw.resolved ?? []].flat().flatMap((text, i) => {
    const path = typeof raw.resolved === "string" ? ["resolved"] : ["resolved", i];
    return readAddress(text, (message) => diagnostics.value(node, path, message)) ?? [];
  });
  if (method !== "" && method !== "CONNECT") {
    for (const key of ["sni", "tls", "ech", "server_tls"] as const) {
      if (raw[key] !== undefined)
        diagnostics.key(node, [key], "has no place here: only a CONNECT carries a ClientHello");
    }
  }
  if (raw.rule !== undefined && ruleIds?.has(raw.rule) === false) {
    diagnostics.value(node, ["rule"], "is no rule of this policy: a full id is file/id", suggest(raw.rule, ruleIds));
  }
  const reason = reasons.find((known) => known === raw.reason);
  if (raw.reason !== undefined && reason === undefined) {
    diagnostics.value(node, ["reason"], `is no reason: one of ${reasons.join(", ")}`, suggest(raw.reason, reasons));
  }
  if (reason !== undefined && raw.expect !== undefined && (reason === "allowed") !== (raw.expect === "allow")) {
    diagnostics.value(node, ["reason"], `contradicts expect: ${raw.expect}`);
  }
  const time = raw.time === undefined ? undefined : parseMoment(raw.time);
  if (raw.time !== undefined && time === undefined)
    diagnostics.value(node, ["time"], "is no moment: 2027-03-01 or 2027-03-01T12:00:00Z, in UTC");
  if (raw.expect === undefined || method === "") return undefined;
  return {
    place: placeAt(diagnostics.source, nameNode(node).start),
    request: `${method} ${target}`,
    method,
    target,
    client,
    group: raw.group,
    host: raw.host,
    range: raw.range,
    sni: raw.sni,
    tls: raw.tls === undefined || raw.tls === null ? raw.tls : tlsVersions[raw.tls],
    ech: raw.ech,
    serverTls: raw.server_tls === undefined ? undefined : tlsVersions[raw.server_tls],
    resolved: raw.resolved === undefined ? undefined : resolved,
    time,
    expect: raw.expect,
    reason,
    rule: raw.rule,
  };
}

function readAddress(text: string | undefined, report: (message: string) => void): Address | undefined {
  if (text === undefined) return undefined;
  const address = parseAddress(text);
  if (address === undefined) report("is no IP address");
  return address;
}

function insteadOfRequest(text: string): string | undefined {
  if (/^https?:\/\/\S+$/.test(text)) return text.startsWith("https") ? undefined : `"GET ${text}"`;
  if (/^[\w.-]+:\d+$/.test(text)) return `"CONNECT ${text}"`;
  const [method, target] = text.trim().split(/\s+/);
  return target === undefined ? undefined : `"${method} ${target}"`;
}

/** Milliseconds since the epoch; a day is its first instant, UTC. */
