/** The second and third look at a tunnel: what the ClientHello must say, and what the server may answer. */
import { describe, expect, test } from "vitest";
import {
  type FinalHello,
  type FinalServerHello,
  decideHello,
  decideServerHello,
  denyAddress,
} from "../../../src/policy/decide-hello.ts";
import { decideTarget } from "../../../src/policy/decide.ts";
import type { PolicyFile, Rule } from "../../../src/policy/rule.ts";
import type { Allow } from "../../../src/policy/verdict.ts";
import type { ClientHello } from "../../../src/wire/hello.ts";
import {
  type GroupWords,
  type Told,
  clientAt,
  connect,
  deny,
  packFile,
  rule,
  rulesetOf,
  siteFile,
  tell,
} from "../../support/policy.ts";

const nowMs = Date.UTC(2027, 2, 1);
const kiosk = "10.30.0.9";
const kiosks: readonly GroupWords[] = [{ name: "kiosks", addresses: ["10.30.0.0/16"] }];
const readable: ClientHello = {
  kind: "hello",
  serverName: "a.x.com",
  maxVersion: 0x0304,
  alpn: [],
  ech: false,
  length: 512,
};
const a = rule({ id: "a", hosts: ["a.x.com"], expect: ["https"] });

type Content = readonly PolicyFile[] | readonly Rule[];
type Asked = { readonly authority?: string; readonly client?: string; readonly groups?: readonly GroupWords[] };

function open(content: Content, { authority = "a.x.com:443", client, groups = kiosks }: Asked) {
  const ruleset = rulesetOf(content, groups);
  const facts = connect(authority);
  const who = clientAt(ruleset, client);
  const allow = decideTarget(ruleset, who, facts, nowMs);
  if (allow.kind === "deny") throw new Error(`${authority} is refused: ${allow.reason}`);
  return { ruleset, facts, who, allow };
}

function sees(content: Content, hello: FinalHello | Partial<ClientHello>, asked: Asked = {}): Told {
  const { ruleset, facts, who, allow } = open(content, asked);
  const whole: FinalHello = "kind" in hello ? (hello as FinalHello) : { ...readable, ...hello };
  return tell(decideHello(ruleset, who, facts, allow, whole, nowMs));
}

describe("the first bytes must be a complete ClientHello", () => {
  test.each<[string, FinalHello, string]>([
    ["a readable one passes", readable, "allowed"],
    ["other bytes", { kind: "not_tls" }, "not_tls"],
    ["a broken one", { kind: "malformed", detail: "session_id" }, "hello_malformed"],
    ["silence", { kind: "timeout" }, "hello_timeout"],
    ["one that is too large", { kind: "too_large" }, "hello_too_large"],
  ])("%s", (_sentence, hello, reason) => {
    expect(sees([a], hello)).toMatchObject({ reason, rule: "site/a" });
  });

  test("a denial is of the tunnel stage, and names the rule that opened it", () => {
    const { ruleset, facts, who, allow } = open([a], {});
    const denial = decideHello(ruleset, who, facts, allow, { kind: "not_tls" }, nowMs);
    expect(denial).toMatchObject({
      kind: "deny",
      stage: "tunnel",
      mode: "enforce",
      rule: { fullId: "site/a" },
      nearest: { fullId: "site/a" },
    });
  });

  test("where all is well the very allow comes back", () => {
    const { ruleset, facts, who, allow } = open([a], {});
    expect(decideHello(ruleset, who, facts, allow, readable, nowMs)).toBe(allow);
  });
});

describe("tls_min: the hello must offer at least that", () => {
  test.each([
    ["1.2 is the default: 1.1 is too old", 0x0303, 0x0302, "tls_version"],
    ["1.2 is enough", 0x0303, 0x0303, "allowed"],
    ["a floor of 1.0 lets 1.0 pass", 0x0301, 0x0301, "allowed"],
    ["and not SSL 3", 0x0301, 0x0300, "tls_version"],
    ["a floor of 1.3 refuses 1.2", 0x0304, 0x0303, "tls_version"],
    ["a hello without any version", 0x0301, 0, "tls_version"],
  ] as const)("%s", (_sentence, tlsMin, maxVersion, reason) => {
    expect(sees([{ ...a, tlsMin }], { maxVersion }).reason).toBe(reason);
  });
});

describe("ech", () => {
  test.each([
    ["is allowed by default, and the outer name judged", "allow", "a.x.com", "allowed"],
    ["a wrong outer name is wrong all the same", "allow", "evil.net", "sni_mismatch"],
    ["is refused where the rule says so", "deny", "a.x.com", "ech_denied"],
  ] as const)("%s", (_sentence, ech, serverName, reason) => {
    expect(sees([{ ...a, ech }], { ech: true, serverName }).reason).toBe(reason);
  });
});

describe("sni: match is the default: present, and equal to the host asked for", () => {
  test.each<[string, string | null, string]>([
    ["equal", "a.x.com", "allowed"],
    ["equal in canonical form: case", "A.X.Com", "allowed"],
    ["equal in canonical form: a trailing dot", "a.x.com.", "allowed"],
    ["none", null, "sni_missing"],
    ["empty", "", "sni_mismatch"],
    ["another name of the same rule", "b.x.com", "sni_mismatch"],
    ["a name that begins like it", "a.x.com.evil.net", "sni_mismatch"],
    ["an address", "10.0.0.1", "sni_mismatch"],
    ["a NUL inside", "a.x.com\0.evil.net", "sni_mismatch"],
    ["a star", "*.x.com", "sni_mismatch"],
    ["two trailing dots", "a.x.com..", "sni_mismatch"],
    ["bytes beyond ASCII", "a.x.com\u00e9", "sni_mismatch"],
  ])("%s", (_sentence, serverName, reason) => {
    const rules = [{ ...a, patterns: [...a.patterns, ...rule({ id: "b", hosts: ["b.x.com"] }).patterns] }];
    expect(sees(rules, { serverName }).reason).toBe(reason);
  });
});

describe("sni: covered is a name that this same rule decides, for this client and port", () => {
  const covered = rule({ id: "c", hosts: ["*.x.com", "cdn.net"], expect: ["https", "https:8443"], sni: "covered" });
  const others = [
    rule({ id: "other", hosts: ["*.y.com", "*.n.x.com"], expect: ["https"] }),
    rule({ id: "http", hosts: ["*.h.x.com"], expect: ["http"] }),
    rule({ id: "kiosk", hosts: ["k.x.com"], expect: ["https"], clients: ["kiosks"] }),
    deny({ id: "no", hosts: ["t.x.com"] }),
  ];
  test.each<[string, string | null, Asked, string]>([
    ["the host itself", "a.x.com", {}, "allowed"],
    ["another name of the rule", "b.c.x.com", {}, "allowed"],
    ["a name of the rule by another pattern", "CDN.net", {}, "allowed"],
    ["none is missing", null, {}, "sni_missing"],
    ["a name of another rule", "a.y.com", {}, "sni_mismatch"],
    ["a name that a narrower rule decides", "a.n.x.com", {}, "sni_mismatch"],
    ["a name that is http only", "a.h.x.com", {}, "sni_mismatch"],
    ["a name that is denied", "t.x.com", {}, "sni_mismatch"],
    ["a name without a rule", "evil.net", {}, "sni_mismatch"],
    ["a name that a rule for others decides for others only", "k.x.com", {}, "allowed"],
    ["and for them is another rule's", "k.x.com", { client: kiosk }, "sni_mismatch"],
    ["on the other port too", "b.x.com", { authority: "a.x.com:8443" }, "allowed"],
    ["an address", "10.0.0.1", {}, "sni_mismatch"],
  ])("%s", (_sentence, serverName, asked, reason) => {
    expect(sees([covered, ...others], { serverName }, asked).reason).toBe(reason);
  });

  test("a name that the same rule decides by a tunnel of any bytes is not covered", () => {
    const tcp = rule({ id: "tcp", hosts: ["a.x.com"], expect: ["tcp:443"] });
    const https = rule({ id: "https", hosts: ["b.x.com"], expect: ["https"], sni: "covered" });
    expect(sees([tcp, https], { serverName: "a.x.com" }, { authority: "b.x.com:443" }).reason).toBe("sni_mismatch");
  });

  test("a deny on trial covers the name as little as it covers the host", () => {
    const files = [
      siteFile([deny({ id: "trial", hosts: ["*.x.com"], mode: "report" })]),
      packFile([{ ...covered, mode: "enforce" }]),
    ];
    expect(sees(files, { serverName: "a.x.com" })).toMatchObject({
      verdict: "allow",
      reason: "rule_denied",
      mode: "report",
    });
    expect(sees(files, { serverName: "b.x.com" })).toMatchObject({
      verdict: "allow",
      reason: "rule_denied",
      mode: "report",
    });
    expect(sees(files, { serverName: "evil.net" })).toMatchObject({ verdict: "deny", reason: "sni_mismatch" });
  });
});

describe("sni: any is absent, or a name allowed for https on this port", () => {
  const any = rule({ id: "any", hosts: ["*.x.com"], expect: ["https", "https:8443"], sni: "any" });
  const other = rule({ id: "other", hosts: ["*.y.com"], expect: ["https"] });
  const tcp = rule({ id: "tcp", hosts: ["*.z.com"], expect: ["tcp:443"] });
  test.each<[string, string | null, Asked, string]>([
    ["absent", null, {}, "allowed"],
    ["a name of this rule", "b.x.com", {}, "allowed"],
    ["a name of another rule", "a.y.com", {}, "allowed"],
    ["which is not on this port", "a.y.com", { authority: "a.x.com:8443" }, "sni_mismatch"],
    ["a name that is a tunnel of any bytes only", "a.z.com", {}, "sni_mismatch"],
    ["a name without a rule", "evil.net", {}, "sni_mismatch"],
    ["a malformed name", "a..x.com", {}, "sni_mismatch"],
  ])("%s", (_sentence, serverName, asked, reason) => {
    expect(sees([any, other, tcp], { serverName }, asked).reason).toBe(reason);
  });
});

describe("for `addresses` the default is any", () => {
  const literal = rule({ id: "ip", addresses: ["10.0.0.1"], expect: ["https"] });
  const asked = { authority: "10.0.0.1:443" };
  test.each<[string, Rule, string | null, string]>([
    ["absent", literal, null, "allowed"],
    ["a name that some rule allows", literal, "a.x.com", "allowed"],
    ["a name that none does", literal, "evil.net", "sni_mismatch"],
    ["match, where the rule says so, wants it present", { ...literal, addressSni: "match" }, null, "sni_missing"],
    ["but not where only its file says so", { ...literal, sni: "match" }, null, "allowed"],
    ["and equal", { ...literal, addressSni: "match" }, "a.x.com", "sni_mismatch"],
  ])("%s", (_sentence, ip, serverName, reason) => {
    expect(sees([ip, a], { serverName }, asked).reason).toBe(reason);
  });

  test("a rule with both has both defaults", () => {
    const both = rule({ id: "both", hosts: ["a.x.com"], addresses: ["10.0.0.1"], expect: ["https"] });
    expect(sees([both], { serverName: null }, asked).reason).toBe("allowed");
    expect(sees([both], { serverName: null }).reason).toBe("sni_missing");
  });
});

describe("of several reasons the first in the order of the table is given", () => {
  test.each<[string, Partial<ClientHello>, string]>([
    ["tls_version before ech_denied", { maxVersion: 0x0301, ech: true, serverName: null }, "tls_version"],
    ["ech_denied before sni_missing", { ech: true, serverName: null }, "ech_denied"],
    ["ech_denied before sni_mismatch", { ech: true, serverName: "evil.net" }, "ech_denied"],
  ])("%s", (_sentence, hello, reason) => {
    expect(sees([{ ...a, ech: "deny" }], hello).reason).toBe(reason);
  });
});

describe("report mode", () => {
  const trying: Rule = { ...a, mode: "report" };
  test.each<[string, FinalHello | Partial<ClientHello>, string]>([
    ["a hello that cannot be read is let through", { kind: "not_tls" }, "not_tls"],
    ["so is silence", { kind: "timeout" }, "hello_timeout"],
    ["an old version", { maxVersion: 0x0301 }, "tls_version"],
    ["a foreign name", { serverName: "evil.net" }, "sni_mismatch"],
  ])("%s", (_sentence, hello, reason) => {
    expect(sees([trying], hello)).toEqual({
      verdict: "allow",
      reason,
      mode: "report",
      rule: "site/a",
      nearest: "site/a",
      goesOn: "site/a https:443",
    });
  });

  test("of the client's group", () => {
    const groups: readonly GroupWords[] = [{ name: "kiosks", addresses: ["10.30.0.0/16"], mode: "report" }];
    expect(sees([a], { serverName: null }, { groups, client: kiosk }).verdict).toBe("allow");
    expect(sees([a], { serverName: null }, { groups }).verdict).toBe("deny");
  });

  test("of the defaults", () => {
    expect(sees([siteFile([a], { mode: "report" })], { serverName: null }).verdict).toBe("allow");
  });

  test("what the request would have been denied for stays the reason", () => {
    const { ruleset, facts, who, allow } = open([trying], {});
    const earlier: Allow = {
      ...allow,
      mode: "report",
      would: {
        kind: "deny",
        reason: "host_mismatch",
        stage: "request",
        rule: undefined,
        nearest: undefined,
        mode: "report",
      },
    };
    expect(tell(decideHello(ruleset, who, facts, earlier, { kind: "not_tls" }, nowMs)).reason).toBe("host_mismatch");
  });

  test("a deny on trial does not put the rule that goes on into report mode", () => {
    const files = [siteFile([deny({ id: "trial", hosts: ["*.x.com"], mode: "report" })]), packFile([a])];
    expect(sees(files, { serverName: "evil.net" })).toMatchObject({
      verdict: "deny",
      reason: "sni_mismatch",
      rule: "pack/a",
    });
  });
});

describe("the server must not negotiate less than tls_min", () => {
  const answers = (content: Content, hello: FinalServerHello): Told => {
    const { ruleset, who, allow } = open(content, {});
    return tell(decideServerHello(ruleset, who, allow, hello));
  };
  test.each<[string, Rule, FinalServerHello, string]>([
    ["1.2 is enough for 1.2", a, { kind: "hello", version: 0x0303 }, "allowed"],
    ["1.3 is more", a, { kind: "hello", version: 0x0304 }, "allowed"],
    ["1.1 is less", a, { kind: "hello", version: 0x0302 }, "tls_downgrade"],
    ["1.2 is less than 1.3", { ...a, tlsMin: 0x0304 }, { kind: "hello", version: 0x0303 }, "tls_downgrade"],
    ["1.0 is enough where the rule says so", { ...a, tlsMin: 0x0301 }, { kind: "hello", version: 0x0301 }, "allowed"],
    ["other first bytes than a ServerHello", a, { kind: "malformed", detail: "record type" }, "tls_downgrade"],
    ["more bytes than are held", a, { kind: "too_large" }, "tls_downgrade"],
    ["report mode lets it pass", { ...a, mode: "report" }, { kind: "hello", version: 0x0301 }, "tls_downgrade"],
  ])("%s", (_sentence, by, hello, reason) => {
    const told = answers([by], hello);
    expect(told.reason).toBe(reason);
    expect(told.verdict).toBe(reason === "allowed" || by.mode === "report" ? "allow" : "deny");
  });
});

describe("address_denied", () => {
  test("is of the dial stage, names the rule, and is enforced in report mode too", () => {
    const { allow } = open([{ ...a, mode: "report" }], {});
    expect(denyAddress(allow)).toMatchObject({
      kind: "deny",
      reason: "address_denied",
      stage: "dial",
      mode: "enforce",
      rule: { fullId: "site/a" },
    });
  });
});
