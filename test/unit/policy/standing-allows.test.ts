/** When an allow stands, and that it is then the one that the long way finds. */
import { describe, expect, test } from "vitest";
import { findEndpoint } from "../../../src/policy/find-endpoint.ts";
import type { PolicyFile } from "../../../src/policy/rule.ts";
import { findStandingAllow } from "../../../src/policy/standing-allows.ts";
import { clientAt, connect, deny, packFile, rule, rulesetOf, siteFile } from "../../support/policy.ts";

const nowMs = Date.UTC(2027, 0, 1);
const https = { id: "a", hosts: ["a.x.com"], expect: ["https"] };
const broadDeny = deny({ id: "no", hosts: ["*.x.com"] });

function find(files: readonly PolicyFile[], from = "10.20.1.4", listenerAdmits = true) {
  const ruleset = rulesetOf(files, [{ name: "g", addresses: ["10.20.0.0/16"] }]);
  const client = clientAt(ruleset, from);
  const facts = { ...connect("a.x.com:443"), listenerAdmits };
  return {
    standing: findStandingAllow(ruleset, client, facts),
    found: findEndpoint(ruleset, client, facts, nowMs, false),
  };
}

describe("stands", () => {
  test.each<[string, readonly PolicyFile[]]>([
    ["one rule for everyone", [siteFile([rule(https)])]],
    ["the second way of a pattern", [siteFile([rule({ ...https, expect: ["http:80", "https"] })])]],
    ["the first of several rules", [siteFile([rule(https), rule({ ...https, id: "b" })])]],
    ["a rule of the client's group", [siteFile([rule({ ...https, clients: ["g"] })])]],
    ["above a deny of a pack", [packFile([broadDeny, rule(https)])]],
  ])("%s", (_, files) => {
    const { standing, found } = find(files);
    expect(standing?.kind).toBe("allow");
    expect(standing).toBe(found);
  });
});

describe("does not stand", () => {
  test.each<[string, readonly PolicyFile[], string?, boolean?]>([
    ["under a site's deny", [siteFile([broadDeny]), packFile([rule(https)])]],
    ["a rule that expires one day", [siteFile([rule({ ...https, expiresAt: nowMs + 1 })])]],
    ["beside a deny of the pattern", [siteFile([rule(https), deny({ id: "no", hosts: ["a.x.com"] })])]],
    ["a rule of another group", [siteFile([rule({ ...https, clients: ["g"] })])], "192.0.2.1"],
    ["beside a rule for others", [siteFile([rule(https), rule({ ...https, id: "b", clients: ["g"] })])]],
    ["another way", [siteFile([rule({ ...https, expect: ["https:8443", "http:443"] })])]],
    ["the third way", [siteFile([rule({ ...https, expect: ["http:80", "https:8443", "https"] })])]],
    ["where the listener admits others only", [siteFile([rule(https)])], "10.20.1.4", false],
    ["where nothing covers", [siteFile([rule({ ...https, hosts: ["b.x.com"] })])]],
  ])("%s", (_, files, from, listenerAdmits) => {
    expect(find(files, from, listenerAdmits).standing).toBeUndefined();
  });
});
