/** Requests in words: embedded tests and `explain` must see what real traffic would. */
import { describe, expect, test } from "vitest";
import { type TrialRequest, tryRequest, unsaid as nothingSaid } from "../../../src/policy/trial.ts";
import type { PolicyFile, Rule } from "../../../src/policy/rule.ts";
import { type GroupWords, addressAt, deny, packFile, rule, rulesetOf, siteFile } from "../../support/policy.ts";

const nowMs = Date.UTC(2027, 2, 1);
const groups: readonly GroupWords[] = [
  { name: "servers", addresses: ["10.20.0.0/16"] },
  { name: "kiosks", addresses: ["10.30.0.0/16"] },
  { name: "here", addresses: ["127.0.0.0/8"] },
];
const unsaid: TrialRequest = { ...nothingSaid, method: "CONNECT", target: "a.x.com:443" };
const rules: readonly Rule[] = [
  rule({ id: "both", hosts: ["*.x.com"], expect: ["http", "https"], range: "allow", paths: ["/d/**"] }),
  rule({ id: "plain", hosts: ["p.x.com"], expect: ["http"] }),
  rule({ id: "kiosk", hosts: ["k.y.com"], expect: ["https"], clients: ["kiosks"] }),
  rule({ id: "here", hosts: ["l.y.com"], expect: ["https"], clients: ["here"] }),
  rule({ id: "inside", hosts: ["i.x.com"], expect: ["https", "tcp:22"], resolvesTo: ["10.0.0.0/8"] }),
  rule({ id: "old", hosts: ["o.x.com"], expect: ["https"], expiresAt: nowMs }),
  rule({ id: "ip", addresses: ["10.9.0.1"], expect: ["https"] }),
  deny({ id: "no", hosts: ["t.x.com"] }),
];
const get = { method: "GET", target: "http://a.x.com/d/f" };

function ask(request: Partial<TrialRequest>, content: readonly PolicyFile[] | readonly Rule[] = rules) {
  const { verdict, reason, would, stage, status, alert, decided } = tryRequest(
    rulesetOf(content, groups),
    { ...unsaid, ...request },
    nowMs,
  );
  return { verdict, reason, would, stage, status, alert, rule: decided.rule?.fullId };
}

function inShort(request: Partial<TrialRequest>, content?: readonly PolicyFile[] | readonly Rule[]): string {
  const { verdict, reason, would, stage } = ask(request, content);
  return [verdict, would === undefined ? undefined : "(would deny)", reason === "allowed" ? undefined : reason, stage]
    .filter(Boolean)
    .join(" ");
}

describe("a request in words", () => {
  test.each<[string, Partial<TrialRequest>, string]>([
    ["CONNECT alone is judged as a request", {}, "allow request"],
    ["plain HTTP", get, "allow request"],
    [
      "plain HTTP on a host that is https only",
      { method: "GET", target: "http://k.y.com/", group: "kiosks" },
      "deny scheme_mismatch request",
    ],
    ["CONNECT to a host that is http only", { target: "p.x.com:443" }, "deny scheme_mismatch request"],
    ["an origin form is malformed", { method: "GET", target: "/d/f" }, "deny bad_request request"],
    ["an https: URL is malformed", { method: "GET", target: "https://a.x.com/" }, "deny bad_request request"],
    ["a CONNECT without a port is malformed", { target: "a.x.com" }, "deny bad_request request"],
    ["a CONNECT with a path is malformed", { target: "a.x.com:443/" }, "deny bad_request request"],
    ["an address in another spelling is malformed", { target: "0x7f.1:443" }, "deny bad_request request"],
    ["a method that is no token is malformed", { ...get, method: "GE T" }, "deny bad_request request"],
    ["an empty method too", { ...get, method: "" }, "deny bad_request request"],
    ["TRACE is no method of any rule", { ...get, method: "TRACE" }, "deny method_denied request"],
    ["a path", { method: "GET", target: "http://a.x.com/e" }, "deny path_denied request"],
    ["a Range", { ...get, range: "bytes=0-9" }, "allow request"],
    ["a Range that is none", { ...get, range: "bytes=9-0" }, "deny range_invalid request"],
    ["a deny rule", { target: "t.x.com:443" }, "deny rule_denied request"],
    ["no rule", { target: "a.net:443" }, "deny no_rule request"],
    ["an address without a rule", { target: "10.9.0.2:443" }, "deny ip_literal request"],
    ["an address with one, in whatever class", { target: "10.9.0.1:443" }, "allow request"],
  ])("%s", (_sentence, request, expected) => {
    expect(inShort(request)).toBe(expected);
  });

  test("the deciding rule comes along", () => {
    expect(ask({ target: "p.x.com:443" }).rule).toBe("site/plain");
  });
});

describe("who asks", () => {
  test.each<[string, Partial<TrialRequest>, string]>([
    ["nobody said is the proxy's own host", { target: "l.y.com:443" }, "allow request"],
    [
      "which an address replaces",
      { target: "l.y.com:443", client: addressAt("10.20.1.4") },
      "deny client_denied request",
    ],
    ["an address is in its groups", { target: "k.y.com:443", client: addressAt("10.30.1.4") }, "allow request"],
    ["and not in others", { target: "k.y.com:443", client: addressAt("10.20.1.4") }, "deny client_denied request"],
    [
      "a group may be said",
      { target: "k.y.com:443", client: addressAt("10.20.1.4"), group: "kiosks" },
      "allow request",
    ],
    ["besides those of the address", { target: "l.y.com:443", group: "kiosks" }, "allow request"],
    ["a group that does not exist is none", { target: "k.y.com:443", group: "ghosts" }, "deny client_denied request"],
  ])("%s", (_sentence, request, expected) => {
    expect(inShort(request)).toBe(expected);
  });
});

describe("when", () => {
  test.each<[string, number | undefined, string]>([
    ["nothing said is now", undefined, "deny path_denied request"],
    ["before the rule expired", nowMs - 1, "allow request"],
  ])("%s", (_sentence, time, expected) => {
    const old = [
      rule({ id: "old", hosts: ["a.x.com"], expect: ["http"], expiresAt: nowMs }),
      rule({ id: "all", hosts: ["*.x.com"], expect: ["http"], paths: ["/never"] }),
    ];
    expect(inShort({ ...get, time }, old)).toBe(expected);
  });
});

describe("the Host field", () => {
  test.each<[string, Partial<TrialRequest>, string]>([
    ["equal in canonical form", { ...get, host: "A.X.com." }, "allow request"],
    ["with the default port implied", { ...get, host: "a.x.com:80" }, "allow request"],
    ["of another port", { ...get, host: "a.x.com:81" }, "deny host_mismatch request"],
    ["of another host", { ...get, host: "b.x.com" }, "deny host_mismatch request"],
    ["malformed", { ...get, host: "a b" }, "deny bad_request request"],
    ["empty", { ...get, host: "" }, "deny bad_request request"],
    ["on CONNECT only the host part counts", { host: "a.x.com:1" }, "allow request"],
    ["on CONNECT without a port", { host: "a.x.com" }, "allow request"],
    ["on CONNECT of another host", { host: "b.x.com:443" }, "deny host_mismatch request"],
  ])("%s", (_sentence, request, expected) => {
    expect(inShort(request)).toBe(expected);
  });
});

describe("what the name resolves to", () => {
  const to = (...texts: string[]) => texts.map(addressAt);
  test.each<[string, Partial<TrialRequest>, string]>([
    ["a public address", { resolved: to("93.184.216.34") }, "allow dial"],
    ["a private one", { resolved: to("10.0.0.1") }, "deny address_denied dial"],
    ["one of several is enough", { resolved: to("10.0.0.1", "93.184.216.34") }, "allow dial"],
    ["none at all is not", { resolved: [] }, "deny address_denied dial"],
    ["an address that embeds a private one", { resolved: to("64:ff9b::a00:1") }, "deny address_denied dial"],
    ["a block of the rule", { target: "i.x.com:443", resolved: to("10.0.0.1") }, "allow dial"],
    ["and nothing else", { target: "i.x.com:443", resolved: to("93.184.216.34") }, "deny address_denied dial"],
    ["of a literal nothing is asked", { target: "10.9.0.1:443", resolved: [] }, "allow dial"],
  ])("%s", (_sentence, request, expected) => {
    expect(inShort(request)).toBe(expected);
  });
});

describe("the hello, where anything is said of it", () => {
  test.each<[string, Partial<TrialRequest>, string]>([
    ["the host's own name", { sni: "a.x.com" }, "allow tunnel"],
    ["another", { sni: "b.net" }, "deny sni_mismatch tunnel"],
    ["none", { sni: null }, "deny sni_missing tunnel"],
    ["a version alone stands beside the host's own name", { tls: 0x0303 }, "allow tunnel"],
    ["an old version", { tls: 0x0302 }, "deny tls_version tunnel"],
    ["bytes that are no TLS", { tls: null }, "deny not_tls tunnel"],
    ["ECH", { ech: true }, "allow tunnel"],
    ["a server that negotiates less", { serverTls: 0x0301 }, "deny tls_downgrade tunnel"],
    ["a server that negotiates enough", { serverTls: 0x0304 }, "allow tunnel"],
    ["the hello is judged before the server", { sni: null, serverTls: 0x0301 }, "deny sni_missing tunnel"],
    [
      "a literal's hello has no name of its own, nor needs one",
      { target: "10.9.0.1:443", tls: 0x0304 },
      "allow tunnel",
    ],
    ["the address is judged before the hello", { sni: null, resolved: [] }, "deny address_denied dial"],
    ["in a tunnel of any bytes there is none", { target: "i.x.com:22", sni: null }, "allow request"],
    ["in plain HTTP neither", { ...get, sni: null }, "allow request"],
  ])("%s", (_sentence, request, expected) => {
    expect(inShort(request)).toBe(expected);
  });
});

describe("how it is told", () => {
  test.each<[string, Partial<TrialRequest>, number | undefined, number | null | undefined]>([
    ["an allowed request has neither status nor alert", {}, undefined, undefined],
    ["a malformed one is 400", { target: "?" }, 400, undefined],
    ["a denial is 403", { target: "a.net:443" }, 403, undefined],
    ["a dropped address too", { resolved: [] }, 403, undefined],
    ["SNI is unrecognized_name", { sni: null }, undefined, 112],
    ["a version is protocol_version", { tls: 0x0302 }, undefined, 70],
    ["a downgrade too", { serverTls: 0x0302 }, undefined, 70],
    ["no TLS is a bare close", { tls: null }, undefined, null],
  ])("%s", (_sentence, request, status, alert) => {
    const told = ask(request);
    expect([told.status, told.alert]).toEqual([status, alert]);
  });
});

describe("in report mode", () => {
  const site = [
    siteFile(
      [...rules, rule({ id: "ip2", addresses: ["10.9.0.3", "93.184.216.34"], expect: ["https"], clients: ["kiosks"] })],
      { mode: "report" },
    ),
  ];
  test.each<[string, Partial<TrialRequest>, string]>([
    ["the reason is the denial's", { target: "p.x.com:443" }, "allow (would deny) scheme_mismatch request"],
    ["a host without a rule", { target: "a.net:443" }, "allow (would deny) no_rule request"],
    [
      "goes to public addresses only",
      { target: "a.net:443", resolved: [addressAt("10.0.0.1")] },
      "deny address_denied dial",
    ],
    [
      "a private literal that is listed for others is no public address",
      { target: "10.9.0.3:443" },
      "deny address_denied dial",
    ],
    ["a public one is", { target: "93.184.216.34:443" }, "allow (would deny) client_denied request"],
    ["a hello", { sni: "b.net" }, "allow (would deny) sni_mismatch tunnel"],
    [
      "a tunnel that nothing expected is not inspected",
      { target: "p.x.com:443", sni: null },
      "allow (would deny) scheme_mismatch request",
    ],
    ["an address is enforced", { resolved: [] }, "deny address_denied dial"],
  ])("%s", (_sentence, request, expected) => {
    expect(inShort(request, site)).toBe(expected);
  });

  test("a deny on trial does not put the pack's hello into report mode", () => {
    const files = [
      siteFile([deny({ id: "trial", hosts: ["*.x.com"], mode: "report" })]),
      packFile([rule({ id: "p", hosts: ["a.x.com"], expect: ["https"] })]),
    ];
    expect(inShort({ sni: "a.x.com" }, files)).toBe("allow (would deny) rule_denied tunnel");
    expect(inShort({ sni: "b.net" }, files)).toBe("deny sni_mismatch tunnel");
  });
});
