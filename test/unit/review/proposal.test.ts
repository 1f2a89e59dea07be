import fc from "fast-check";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { disk } from "../../../src/config/disk.ts";
import { loadPolicySet } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { compileRuleset } from "../../../src/policy/compile.ts";
import type { Ruleset } from "../../../src/policy/ruleset.ts";
import { type TrialRequest, tryRequest, unsaid } from "../../../src/policy/trial.ts";
import type { DenialReason } from "../../../src/policy/verdict.ts";
import { type DeniedFacts, deniedRequest } from "../../../src/review/denied-request.ts";
import { type Proposal, type ProposalOptions, proposeRule } from "../../../src/review/proposal.ts";
import { addressAt } from "../../support/policy.ts";

const packsDir = fileURLToPath(new URL("../../../policies/packs", import.meta.url));
const now = Date.UTC(2026, 10, 21);

/** Defaults that a proposed rule must not fall for. */
const head = `version: 1
name: site
use: [windows-update]
defaults: { range: allow, tls_min: "1.0", sni: any, ech: deny }
clients:
  servers: [10.20.0.0/16]
  kiosks: [10.30.0.0/16]
`;
const rules = `rules:
  - { id: portal, hosts: [portal.vendor.example], expect: https, tls_min: "1.3", sni: match, ech: deny }
  - { id: below, hosts: ["*.covered.example"], expect: [https, "http:8080"], sni: match, tls_min: "1.2", range: deny }
  - { id: tunnel, hosts: ["*.tunnel.example"], expect: https }
  - { id: files, hosts: ["*.files.example"], expect: [http, https], methods: [GET], paths: [/pub/**], range: deny }
  - { id: plain, hosts: ["*.plain.example"], expect: http, range: deny }
  - { id: for-servers, hosts: [inner.example], expect: [http, https], clients: [servers] }
  - { id: no-telemetry, action: deny, hosts: ["*.telemetry.example"] }
  - { id: never, action: deny, hosts: [never.example] }
  - { id: licence, addresses: [192.0.2.0/24], expect: "https:8443" }
`;

function load(text: string): Ruleset {
  const readFile = (path: string): string => (path === "site.yaml" ? text : disk.readFile(path));
  const loaded = loadPolicySet({ ...disk, readFile, files: ["site.yaml"], packsDir });
  if (loaded.kind === "problems") throw new Error(loaded.problems.map(formatProblem).join("\n"));
  return compileRuleset(loaded.set);
}

/** As a person pastes it: at the top of `rules:`. */
function paste(yaml: string): Ruleset {
  // A function, since `$'` in a path would stand for something in a text.
  return load(`${head}${rules.replace("rules:\n", () => `rules:\n${yaml}`)}`);
}

const before = load(head + rules);
const options: ProposalOptions = {
  id: "7F3KQ-2MX9A",
  wide: false,
  expiresAt: undefined,
  ticket: undefined,
  resolved: undefined,
  evidence: [],
};

function facts(reason: DenialReason, words: string, changes: Partial<DeniedFacts> = {}): DeniedFacts {
  const [, method = "", scheme = "", host = "", port = scheme === "" ? "443" : "80", path = scheme === "" ? "" : "/"] =
    /^(\S+) (http:\/\/)?([^/:]+)(?::(\d+))?(\/.*)?$/.exec(words) ?? [];
  const protocol = method === "CONNECT" ? "connect" : "http";
  return {
    reason,
    method,
    host,
    port: Number(port),
    path,
    protocol,
    ech: false,
    client: "192.0.2.7",
    group: "_none",
    ...changes,
  };
}

function propose(denied: DeniedFacts, changes: Partial<ProposalOptions> = {}, ruleset = before): Proposal {
  return proposeRule(ruleset, denied, { ...options, ...changes }, now);
}

function ruleOf(proposal: Proposal): Extract<Proposal, { kind: "rule" }> {
  if (proposal.kind !== "rule") throw new Error(JSON.stringify(proposal));
  return proposal;
}

function outcome(ruleset: Ruleset, request: TrialRequest): string {
  const { verdict, reason } = tryRequest(ruleset, request, now);
  return `${verdict} ${reason}`;
}

/** Requests near to a CONNECT or GET: other hosts, ports, ways, and for http other methods, paths and a Range. */
function nearTo({ request }: { readonly request: TrialRequest }): Readonly<Record<string, TrialRequest>> {
  const [, host = "", port = "80", path = ""] = /^(?:http:\/\/)?([^/:]+)(?::(\d+))?(\/.*)?$/.exec(request.target) ?? [];
  const isConnect = request.method === "CONNECT";
  const connect = (name: string, at: string): TrialRequest => ({
    ...unsaid,
    client: request.client,
    group: request.group,
    method: "CONNECT",
    target: `${name}:${at}`,
  });
  const get = (name: string, at: string, changes: Partial<TrialRequest> = {}): TrialRequest => ({
    ...unsaid,
    client: request.client,
    group: request.group,
    method: isConnect ? "GET" : request.method,
    target: `http://${name}${at === "80" ? "" : `:${at}`}${path === "" ? "/" : path}`,
    range: request.range,
    ...changes,
  });
  const same = (name: string, at: string): TrialRequest => (isConnect ? connect(name, at) : get(name, at));
  const near: Record<string, TrialRequest> = {
    "a name below": same(`x.${host}`, port),
    "a name far below": same(`a.b.c.${host}`, port),
    "a name beside": same(`x${host}`, port),
    "the name above": same(host.slice(host.indexOf(".") + 1), port),
    "another port": same(host, String(Number(port) + 1)),
    "the other way, same port": isConnect ? get(host, port) : connect(host, port),
    "the other way, usual port": isConnect ? get(host, "80") : connect(host, "443"),
  };
  if (isConnect) return near;
  return {
    ...near,
    "another method": get(host, port, { method: request.method === "DELETE" ? "PATCH" : "DELETE" }),
    "another path": get(host, port, { target: `${request.target.replace(/\?.*$/, "")}x` }),
    "a path below": get(host, port, { target: `${request.target.replace(/\/?(\?.*)?$/, "")}/x` }),
    "a Range": get(host, port, { range: "bytes=5-9" }),
  };
}

type Case = {
  readonly denied: DeniedFacts;
  readonly resolved?: string;
  /** Neighbours that this language cannot leave out, and the note that says so. */
  readonly opens?: Readonly<Record<string, string>>;
};

const remediable: Readonly<Record<string, Case>> = {
  "no_rule, CONNECT": { denied: facts("no_rule", "CONNECT new.vendor.example:443") },
  "no_rule, CONNECT to a port of its own": { denied: facts("no_rule", "CONNECT new.vendor.example:5721") },
  "no_rule, plain HTTP": { denied: facts("no_rule", "GET http://new.vendor.example/a/b.cab?x=1") },
  "no_rule with a Range": {
    denied: facts("no_rule", "GET http://new.vendor.example/a.cab", { range: "bytes=0-1" }),
    opens: { "a Range": "requests with and without Range" },
  },
  "no_rule of a group": {
    denied: facts("no_rule", "CONNECT new.vendor.example:443", { client: "10.30.1.1", group: "kiosks" }),
  },
  ip_literal: { denied: facts("ip_literal", "GET http://198.51.100.7/a") },
  "client_denied of nobody's client": { denied: facts("client_denied", "CONNECT inner.example:443") },
  "client_denied of another group": {
    denied: facts("client_denied", "GET http://inner.example/x", { client: "10.30.1.1", group: "kiosks" }),
  },
  "rule_denied by a wildcard": { denied: facts("rule_denied", "CONNECT x.telemetry.example:443") },
  "scheme_mismatch below a pack's wildcard": {
    denied: facts("scheme_mismatch", "CONNECT tlu.dl.delivery.mp.microsoft.com:443"),
  },
  "scheme_mismatch the other way": { denied: facts("scheme_mismatch", "GET http://x.tunnel.example/") },
  "scheme_mismatch, a WebSocket": {
    denied: facts("scheme_mismatch", "GET http://x.plain.example/socket", { rule: "site/plain" }),
  },
  port_mismatch: { denied: facts("port_mismatch", "CONNECT portal.vendor.example:8443") },
  method_denied: {
    denied: facts("method_denied", "PUT http://x.files.example/pub/a"),
    opens: { "another path": "GET, PUT", "a path below": "GET, PUT" },
  },
  path_denied: { denied: facts("path_denied", "GET http://x.files.example/private/a") },
  range_denied: {
    denied: facts("range_denied", "GET http://x.plain.example/a", { range: "bytes=0-1" }),
    opens: {
      "a Range": "Range",
      "another path": "every path",
      "a path below": "every path",
      "another method": "every usual method",
    },
  },
  address_denied: { denied: facts("address_denied", "CONNECT x.covered.example:443"), resolved: "10.9.8.7" },
  not_tls: { denied: facts("not_tls", "CONNECT x.covered.example:443") },
  tls_version: {
    denied: facts("tls_version", "CONNECT portal.vendor.example:443", { tls: "1.2", sni: "portal.vendor.example" }),
  },
  tls_downgrade: {
    denied: facts("tls_downgrade", "CONNECT x.covered.example:443", { tls: "1.0", sni: "x.covered.example" }),
  },
  ech_denied: {
    denied: facts("ech_denied", "CONNECT portal.vendor.example:443", {
      tls: "1.3",
      ech: true,
      sni: "portal.vendor.example",
    }),
  },
  sni_missing: { denied: facts("sni_missing", "CONNECT x.covered.example:443", { tls: "1.3" }) },
};

describe("a rule that is pasted", () => {
  test.each(Object.entries(remediable))("lets exactly the request pass: %s", (_, { denied, resolved, opens = {} }) => {
    const addresses = resolved === undefined ? undefined : [addressAt(resolved)];
    const proposal = ruleOf(propose(denied, { resolved: addresses }));
    const after = paste(proposal.yaml);
    const asked = deniedRequest(before, denied);
    if (asked === undefined) throw new Error("the request has no target");
    const request = { ...asked.request, resolved: addresses };
    expect([outcome(before, request), outcome(after, request)]).toEqual([`deny ${denied.reason}`, "allow allowed"]);
    const changed = Object.entries(nearTo({ request })).filter(
      ([, near]) => tryRequest(before, near, now).verdict !== tryRequest(after, near, now).verdict,
    );
    expect(changed.map(([name]) => name).filter((name) => !(name in opens))).toEqual([]);
    for (const note of Object.values(opens)) expect(proposal.notes.join("\n")).toContain(note);
  });

  test.each(Object.entries(remediable))("says all that it changes: %s", (_, { denied, resolved }) => {
    const proposal = ruleOf(propose(denied, { resolved: resolved === undefined ? undefined : [addressAt(resolved)] }));
    expect(proposal.changes?.filter(({ kind }) => kind === "denied")).toEqual([]);
  });

  test.each(Object.entries(remediable))("is read back as it was tried: %s", (_, { denied, resolved }) => {
    const proposal = ruleOf(propose(denied, { resolved: resolved === undefined ? undefined : [addressAt(resolved)] }));
    const again = propose(
      denied,
      { resolved: resolved === undefined ? undefined : [addressAt(resolved)] },
      paste(proposal.yaml),
    );
    expect(again.kind === "allowed" || denied.reason === "address_denied" || denied.reason === "tls_downgrade").toBe(
      true,
    );
  });

  test("of a group is for that group alone", () => {
    const denied = facts("no_rule", "CONNECT new.vendor.example:443", { client: "10.30.1.1", group: "kiosks" });
    const after = paste(ruleOf(propose(denied)).yaml);
    const request = { ...unsaid, method: "CONNECT", target: "new.vendor.example:443" };
    const byClient = ["10.30.1.1", "10.20.1.1", "192.0.2.7"].map((client) =>
      outcome(after, { ...request, client: addressAt(client) }),
    );
    expect(byClient).toEqual(["allow allowed", "deny client_denied", "deny client_denied"]);
  });

  test("does not take from others what they had", () => {
    const after = paste(ruleOf(propose(facts("client_denied", "GET http://inner.example/x"))).yaml);
    const asServer = {
      ...unsaid,
      client: addressAt("10.20.1.1"),
      method: "POST",
      target: "http://inner.example/other",
    };
    expect([outcome(before, asServer), outcome(after, asServer)]).toEqual(["allow allowed", "allow allowed"]);
  });

  test("leaves the payload of Windows Update as it was", () => {
    const after = paste(ruleOf(propose(facts("scheme_mismatch", "CONNECT tlu.dl.delivery.mp.microsoft.com:443"))).yaml);
    const payload = {
      ...unsaid,
      method: "GET",
      target: "http://tlu.dl.delivery.mp.microsoft.com/x",
      range: "bytes=0-1",
    };
    expect(outcome(after, payload)).toBe("allow allowed");
  });

  test("of any path covers that path alone", () => {
    const character = fc.constantFrom(...Array.from("abcXYZ019-_.~!$&'()+,;=:@/%20 é\"#{}[]*?\\"));
    fc.assert(
      fc.property(fc.array(character, { maxLength: 12 }), (characters) => {
        const path = `/${characters.join("")}`;
        const proposal = propose(facts("no_rule", "GET http://new.vendor.example/", { path }));
        if (proposal.kind !== "rule") return;
        const after = paste(proposal.yaml);
        const request = { ...unsaid, method: "GET", target: `http://new.vendor.example${path}` };
        expect(outcome(after, request)).toBe("allow allowed");
        if (proposal.notes.includes("admits every path")) return;
        const query = path.indexOf("?");
        const longer = query < 0 ? `${path}x` : `${path.slice(0, query)}x${path.slice(query)}`;
        expect(outcome(after, { ...request, target: `http://new.vendor.example${longer}` })).toBe("deny path_denied");
      }),
      { numRuns: 100 },
    );
  });
});

describe("what was wished for", () => {
  test("with an end, and a ticket that is no YAML", () => {
    const { yaml } = ruleOf(
      propose(facts("no_rule", "CONNECT new.vendor.example:443"), {
        expiresAt: Date.UTC(2026, 10, 29),
        ticket: 'CHG "88": \n- x',
        evidence: ["denial\n  - id: evil"],
      }),
    );
    expect(yaml).toContain("    expires: 2026-11-28\n");
    expect(yaml).toContain("  # denial?  - id: evil\n");
    expect(paste(yaml).rules.find(({ rule }) => rule.ticket !== undefined)?.rule.ticket).toBe('CHG "88": ?- x');
  });

  test.each([
    ["the names beside it", "CONNECT api.eu.vendor.example:443", '"*.eu.vendor.example"'],
    ["never beyond what somebody registered", "CONNECT vendor.co.uk:443", '"*.vendor.co.uk"'],
    ["never beyond what somebody rented", "CONNECT bucket.s3.amazonaws.com:443", '"*.bucket.s3.amazonaws.com"'],
    ["every path and method", "GET http://www.vendor.example/a", "expect: http\n"],
  ])("wide: %s", (_, words, part) => {
    const { yaml } = ruleOf(propose(facts("no_rule", words), { wide: true }));
    expect(yaml).toContain(part);
    expect(yaml).not.toContain("paths:");
  });

  test("wide, the pattern that decided", () => {
    const { yaml, rules: ids } = ruleOf(
      propose(facts("scheme_mismatch", "GET http://x.tunnel.example/"), { wide: true }),
    );
    expect([yaml.includes('hosts: ["*.tunnel.example"]'), ids]).toEqual([true, ["allow-7f3kq-2mx9a"]]);
  });

  test("a second rule for the same id gets another name", () => {
    const denied = facts("no_rule", "CONNECT new.vendor.example:443");
    const once = paste(ruleOf(propose(denied)).yaml);
    const again = propose({ ...denied, port: 8443, reason: "port_mismatch" }, {}, once);
    expect(ruleOf(again).rules[0]).toBe("allow-7f3kq-2mx9a-2");
  });

  test("a log without paths gets a rule for every path", () => {
    const { notes } = ruleOf(propose(facts("no_rule", "GET http://new.vendor.example/", { path: "" })));
    expect(notes).toContain("admits every path");
  });
});

describe("where no rule helps, it is said what does", () => {
  const cases: readonly (readonly [DenialReason, string, Partial<DeniedFacts>])[] = [
    ["bad_request", "CONNECT x.example:443", {}],
    ["limit_exceeded", "CONNECT x.example:443", {}],
    ["auth_required", "CONNECT x.example:443", {}],
    ["host_mismatch", "GET http://x.plain.example/", {}],
    ["range_invalid", "GET http://x.plain.example/", { range: "bytes=5-1" }],
    ["sni_mismatch", "CONNECT portal.vendor.example:443", { sni: "evil.example" }],
    ["hello_malformed", "CONNECT portal.vendor.example:443", {}],
    ["hello_timeout", "CONNECT portal.vendor.example:443", {}],
    ["hello_too_large", "CONNECT portal.vendor.example:443", {}],
    ["address_denied", "CONNECT portal.vendor.example:443", {}],
    ["rule_denied", "CONNECT never.example:443", {}],
    ["method_denied", "TRACE http://x.plain.example/", {}],
    ["tls_downgrade", "CONNECT x.covered.example:443", { tls: "1.3", sni: "x.covered.example" }],
  ];
  test.each(cases)("%s", (reason, words, more) => {
    const proposal = propose(facts(reason, words, more));
    expect(proposal.kind).toBe("none");
    if (proposal.kind === "none") expect(proposal.instead.length).toBeGreaterThan(0);
  });

  test("a target that could not be read", () => {
    expect(propose(facts("no_rule", "GET http://x.example/", { host: "", port: 0 })).kind).toBe("none");
  });

  test("a request that is allowed by now needs none", () => {
    expect(propose(facts("no_rule", "CONNECT x.covered.example:443"))).toEqual({ kind: "allowed", rule: "site/below" });
  });
});
