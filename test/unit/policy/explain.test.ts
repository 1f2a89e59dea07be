/** Denials in words. */
import { describe, expect, test } from "vitest";
import { expectationOf, explainDenial, tlsName } from "../../../src/policy/explain.ts";
import { type Denial, type DenialReason, reasons } from "../../../src/policy/verdict.ts";
import { rule, rulesetOf } from "../../support/policy.ts";

const { rules } = rulesetOf([
  rule({ id: "payload", hosts: ["*.dl.x.com"], expect: ["http"], methods: ["GET", "HEAD"], tlsMin: 0x0303 }),
  rule({ id: "ip", addresses: ["10.0.0.0/8"], expect: ["https:8531", "tcp:22"] }),
]);
const [payload, ip] = rules;

function denial(reason: DenialReason, named = true): Denial {
  return {
    kind: "deny",
    reason,
    stage: "request",
    rule: named ? payload : undefined,
    nearest: payload,
    mode: "enforce",
  };
}

describe("what is said of a denial", () => {
  test.each<[DenialReason, string]>([
    ["scheme_mismatch", "Rule site/payload covers this host, but expects http on port 80."],
    ["port_mismatch", "Rule site/payload covers this host, but expects http on port 80."],
    ["rule_denied", "Rule site/payload denies this host."],
    ["method_denied", "Rule site/payload allows GET, HEAD only."],
    ["range_denied", "Rule site/payload does not allow Range."],
    ["address_denied", "The name resolves to no address that rule site/payload admits: see resolves_to."],
    ["tls_version", "Rule site/payload asks for TLS 1.2 or later, which the client does not offer."],
    ["tls_downgrade", "The server did not negotiate TLS 1.2 or later."],
    ["sni_missing", "Rule site/payload asks for a server name (SNI), and the ClientHello has none."],
  ])("%s", (reason, sentence) => {
    expect(explainDenial(denial(reason))).toEqual([sentence]);
  });

  test("no_rule names the nearest rule, its pattern and what it expects", () => {
    expect(explainDenial(denial("no_rule", false))).toEqual([
      "No rule covers this host.",
      "The nearest rule is site/payload (*.dl.x.com: http on port 80).",
    ]);
    expect(explainDenial({ ...denial("no_rule", false), nearest: undefined })).toEqual(["No rule covers this host."]);
  });

  test("client_denied names a rule of addresses by its block", () => {
    const told = explainDenial({ ...denial("client_denied", false), nearest: ip });
    expect(told[1]).toBe(
      "The nearest rule is site/ip (10.0.0.0/8: https (CONNECT) on port 8531 or any bytes in a tunnel on port 22).",
    );
  });

  test.each(reasons.filter((reason) => reason !== "allowed"))(
    "%s is told in whole sentences, with a rule and without",
    (reason) => {
      for (const named of [true, false]) {
        const sentences = explainDenial(denial(reason, named));
        expect(sentences.length).toBeGreaterThan(0);
        for (const sentence of sentences) {
          expect(sentence).toMatch(/^[A-Z][^\n]*\.$/);
          expect(sentence).not.toMatch(/undefined|\S The rule/);
        }
      }
    },
  );
});

describe("small words", () => {
  test.each([
    [0x0300, "SSL 3"],
    [0x0301, "1.0"],
    [0x0302, "1.1"],
    [0x0303, "1.2"],
    [0x0304, "1.3"],
  ])("TLS version %i is %s", (version, name) => {
    expect(tlsName(version)).toBe(name);
  });

  test("a rule without endpoints expects nothing", () => {
    expect(expectationOf(undefined)).toBe("nothing");
  });
});
