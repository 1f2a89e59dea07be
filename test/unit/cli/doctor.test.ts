/** What doctor makes of the clock, and what it chooses to ask for. */
import { describe, expect, test } from "vitest";
import { allowedCanaries, canaryText, deniedHost, readCanary } from "../../../src/cli/doctor-canary.ts";
import { judgeClock } from "../../../src/cli/doctor-clock.ts";
import type { Sources } from "../../../src/cli/sources.ts";
import { defaultSettings } from "../../../src/config/read-settings.ts";
import { tryRequest, unsaid } from "../../../src/policy/trial.ts";
import { addressAt, deny, packFile, rule, rulesetOf, siteFile } from "../../support/policy.ts";

const now = Date.UTC(2026, 10, 21);
const source = { title: "a page", address: undefined, checked: "2026-11-01", confidence: undefined };
const ruleset = rulesetOf([rule({ id: "a", hosts: ["a.example"], expect: ["https"], source })]);
const sources: Sources = { kind: "loaded", settings: defaultSettings, ruleset, notices: [], isDefault: false };
const certificate = { issuer: "b", validFromMs: now };

describe("the clock", () => {
  test.each([
    ["before the packs were made", Date.UTC(2026, 9, 31), [], "problem", /before the packs/],
    [
      "before a certificate is valid",
      now - 1,
      [{ host: "a", certificate, dateMs: undefined }],
      "problem",
      /not valid yet/,
    ],
    [
      "ten minutes behind an answer",
      now,
      [{ host: "a", certificate: undefined, dateMs: now + 600_000 }],
      "problem",
      /10 minutes slow/,
    ],
    [
      "ten minutes before one",
      now,
      [{ host: "a", certificate: undefined, dateMs: now - 600_000 }],
      "problem",
      /10 minutes fast/,
    ],
    ["a minute behind one", now, [{ host: "a", certificate, dateMs: now + 60_000 }], "ok", /agrees/],
    ["alone", now, [], "ok", /nothing from outside/],
  ])("%s", (_title, nowMs, seen, status, said) => {
    expect(judgeClock(sources, seen, nowMs)).toMatchObject({ status, said: expect.stringMatching(said) });
  });
});

describe("what is asked for", () => {
  const rules = [
    siteFile([
      rule({ id: "paths", hosts: ["paths.example"], expect: ["http"], paths: ["/only/*"] }),
      rule({ id: "odd", hosts: ["odd.example"], expect: ["tcp:443"] }),
      rule({ id: "theirs", hosts: ["theirs.example"], expect: ["https"], clients: ["servers"] }),
      rule({ id: "wide", hosts: ["*.wide.example"], expect: ["https:8443"] }),
      deny({ id: "no", hosts: ["p1.example"] }),
    ]),
    packFile([rule({ id: "p1", hosts: ["p1.example", "p2.example"], expect: ["https"] })], { name: "one" }),
    packFile([rule({ id: "q", hosts: ["q.example"], expect: ["http:8080"] })], { name: "two" }),
  ];
  const policy = rulesetOf(rules, [{ name: "servers", addresses: ["10.0.0.0/8"] }]);
  const chosen = (address: string) =>
    allowedCanaries(policy, { address: addressAt(address) }, 5, now).map((one) => `${canaryText(one)} ${one.rule}`);

  test("is allowed to that very client, one of each file, https before http", () => {
    expect(chosen("192.0.2.1")).toEqual(["https://wide.example:8443/ site/wide", "http://q.example:8080/ two/q"]);
    expect(chosen("10.0.0.1")[0]).toBe("https://theirs.example/ site/theirs");
  });

  test("to be denied is denied by any policy that names hosts", () => {
    const asked = { ...unsaid, method: "CONNECT", target: `${deniedHost}:443` };
    expect(tryRequest(policy, asked, now).reason).toBe("no_rule");
  });

  test.each([
    ["https://A.example", "https://a.example/"],
    ["http://a.example:8080/x?y", "http://a.example:8080/x?y"],
    ["https://a.example:443/", "https://a.example/"],
    ["ftp://a.example/", undefined],
    ["https://a b/", undefined],
    ["https://u@a.example/", undefined],
  ])("%s is read as %s", (text, expected) => {
    const canary = readCanary(text);
    expect(canary && canaryText(canary)).toBe(expected);
  });
});
