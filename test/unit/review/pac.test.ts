/** The PAC script: what it looks like, and that no text gets out of its quotes. */
import { Script, runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import type { Client } from "../../../src/identity/groups.ts";
import type { Ruleset } from "../../../src/policy/ruleset.ts";
import { pacCoverage, pacScript } from "../../../src/review/pac.ts";
import { clientAt, deny, packFile, rule, rulesetOf, siteFile } from "../../support/policy.ts";

const now = Date.UTC(2026, 10, 21);
const answers = { covered: "PROXY p.example:3128", otherwise: "DIRECT" };

function scriptOf(ruleset: Ruleset, client: Client = clientAt(ruleset), nowMs = now): string {
  return pacScript(pacCoverage(ruleset, client, nowMs), answers);
}

function answer(script: string, host: string): unknown {
  return runInNewContext(`${script}; FindProxyForURL("http://x/", ${JSON.stringify(host)})`, {});
}

describe("hosts", () => {
  const ruleset = rulesetOf([
    rule({ id: "a", hosts: ["a.example", "*.b.example", "glob:kv*.c.example"], expect: ["https"] }),
    rule({ id: "hidden", hosts: ["x.b.example"], addresses: ["192.0.2.0/24"], expect: ["http"] }),
    deny({ id: "d", hosts: ["d.example"] }),
  ]);

  test.each([
    ["a.example", "PROXY p.example:3128"],
    ["A.EXAMPLE.", "PROXY p.example:3128"],
    ["b.example", "PROXY p.example:3128"],
    ["y.x.b.example", "PROXY p.example:3128"],
    ["kv9.c.example", "PROXY p.example:3128"],
    ["192.0.2.9", "PROXY p.example:3128"],
    ["[::ffff:192.0.2.9]", "PROXY p.example:3128"],
    ["x.a.example", "DIRECT"],
    ["evilb.example", "DIRECT"],
    ["b.example.evil.test", "DIRECT"],
    ["kv.9.c.example", "DIRECT"],
    ["192.0.3.9", "DIRECT"],
    ["192.0.2.256", "DIRECT"],
    ["", "DIRECT"],
    ["b.example..", "DIRECT"],
    ["[", "DIRECT"],
    ["toString", "DIRECT"],
    ["__proto__", "DIRECT"],
    ["ꓐ.b.example", "DIRECT"],
    ["\u212a.b.example", "DIRECT"],
  ])("%s goes to %s", (host, expected) => {
    expect(answer(scriptOf(ruleset), host)).toBe(expected);
  });

  test("that a rule denies go to the proxy, which says why, and never around it", () => {
    expect(answer(scriptOf(ruleset), "d.example")).toBe("PROXY p.example:3128");
  });

  test("below a domain that is covered as a whole are left out", () => {
    expect(scriptOf(ruleset)).not.toContain("x.b.example");
  });
});

describe("rules", () => {
  const ruleset = rulesetOf(
    [
      siteFile([
        rule({ id: "all", hosts: ["all.example"], expect: ["https"] }),
        rule({ id: "mine", hosts: ["mine.example"], expect: ["https"], clients: ["servers"] }),
        rule({ id: "old", hosts: ["old.example"], expect: ["https"], expiresAt: now }),
        rule({ id: "soon", hosts: ["soon.example"], expect: ["https"], expiresAt: now + 5 }),
      ]),
      packFile([rule({ id: "p", hosts: ["pack.example"], expect: ["https"] })], {
        uses: [{ clients: ["servers"] }],
      }),
    ],
    [{ name: "servers", addresses: ["10.0.0.0/8"] }],
  );

  test("of other groups do not exist for a client", () => {
    const script = scriptOf(ruleset);
    expect(["all", "mine", "pack"].filter((name) => answer(script, `${name}.example`) !== "DIRECT")).toEqual(["all"]);
    const servers = scriptOf(ruleset, clientAt(ruleset, "10.1.1.1"));
    expect(["all", "mine", "pack"].filter((name) => answer(servers, `${name}.example`) === "DIRECT")).toEqual([]);
  });

  test("that have expired are gone, and the first that will is known", () => {
    expect(answer(scriptOf(ruleset), "old.example")).toBe("DIRECT");
    expect(answer(scriptOf(ruleset), "soon.example")).toBe(answers.covered);
    expect(pacCoverage(ruleset, clientAt(ruleset), now).untilMs).toBe(now + 5);
    expect(answer(scriptOf(ruleset, undefined, now + 5), "soon.example")).toBe("DIRECT");
  });
});

describe("the script", () => {
  const many = rulesetOf(
    Array.from({ length: 2000 }, (_, i) =>
      rule({ id: `r-${i}`, hosts: [i % 2 === 0 ? `*.n${i}.example` : `n${i}.test`], expect: ["https"] }),
    ),
  );

  test("is the same for the same policy, whatever order its rules have", () => {
    const rules = ["b.example", "a.example", "glob:x*.c.example", "glob:a*.c.example"].map((host, i) =>
      rule({ id: `r-${i}`, hosts: [host], expect: ["https"] }),
    );
    expect(scriptOf(rulesetOf(rules))).toBe(scriptOf(rulesetOf(rules.toReversed())));
  });

  test("of 2,000 rules stays far below what evaluators take (1 MiB in Chromium)", () => {
    expect(scriptOf(many).length).toBeLessThan(64 * 1024);
    expect(answer(scriptOf(many), "deep.below.n10.example")).toBe(answers.covered);
    expect(answer(scriptOf(many), "x.n11.test")).toBe("DIRECT");
  });

  test("is one line where all hosts have one answer", () => {
    const coverage = pacCoverage(many, clientAt(many), now);
    const same = pacScript(coverage, { covered: "PROXY p.example:1", otherwise: "PROXY p.example:1" });
    expect(same).toBe('function FindProxyForURL(url, host) {\n  return "PROXY p.example:1";\n}\n');
  });

  test("has printable ASCII only, and holds every answer as data", () => {
    const hostile = '"; alert(1); //\\\n\u2028</script>';
    const script = pacScript(pacCoverage(many, clientAt(many), now), { covered: hostile, otherwise: "DIRECT" });
    expect(script).toMatch(/^[\x20-\x7e\n]*$/);
    expect(answer(script, "n1.test")).toBe(hostile);
  });

  test("is ECMAScript 3: nothing of later editions, and none of the helpers that PAC evaluators bring", () => {
    const script = scriptOf(many);
    expect(() => new Script(script)).not.toThrow();
    expect(script).not.toMatch(
      /\b(let|const|class|Map|Set|includes|startsWith|endsWith|padStart|forEach|Object)\b|=>|`/,
    );
    expect(script).not.toMatch(/\b(dnsResolve|isInNet|shExpMatch|dnsDomainIs|myIpAddress|isResolvable)\b/);
    // ES3 has no trailing commas.
    expect(script).not.toMatch(/,\s*[}\]]/);
  });
});
