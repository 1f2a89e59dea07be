import { describe, expect, test } from "vitest";
import { policiesDir, run } from "./run-program.ts";

const clean = `version: 1
name: site
use: [amazon-trust]
rules:
  - id: wsus
    hosts: [wsus.corp.example]
    expect: [http:8530]
tests:
  - { request: "GET http://wsus.corp.example:8530/", expect: allow }
`;
const narrow = `version: 1
name: site
rules:
  - { id: wide, hosts: ["*.do.dsp.vendor.example"], expect: https }
  - { id: narrow, hosts: ["https://*.prod.do.dsp.vendor.example/"], expect: http }
`;
const failing = `version: 1
name: site
rules:
  - { id: a, hosts: [a.example], expect: https }
tests:
  - { request: "GET http://a.example/", expect: allow }
`;
const broken = `version: 1
name: site
rules:
  - { id: a, hosts: ["*.com"], expect: https }
  - { id: b, hosts: [b.example], expcet: https }
`;
const pack = `version: 1
name: own
rules:
  - { id: a, hosts: ["*.a.example"], expect: https }
`;
const packCases = `pack: own
cases:
  - { request: "CONNECT a.example:443", expect: allow, rule: own/a, note: apex }
  - { request: "CONNECT b.example:443", expect: deny, reason: no_rule }
`;

type Told = {
  readonly problems: readonly Readonly<Record<string, unknown>>[];
  readonly wildcards: readonly unknown[];
  readonly meetings: readonly unknown[];
  readonly summary: Readonly<Record<string, unknown>>;
};

function parse(text: string): Told {
  return JSON.parse(text) as Told;
}

describe("check", () => {
  test("warns of a parent's credentials that everybody on the machine can read", async () => {
    const parents = '[{ hosts: ["*"], via: "http://parent:3128", credentials_file: gate }]';
    const files = { "sallyport.yaml": `version: 1\nparents: ${parents}\n`, gate: "user:password" };
    const asked: string[] = [];
    const isOpenToOthers = (path: string): boolean => asked.push(path) > 0;
    const { stderr, stdout } = await run(["check"], { files, isOpenToOthers });
    expect(stdout + stderr).toContain("warning: `gate` is open to every user of this machine: chmod 640");
    expect(asked).toEqual(["/nowhere/site/gate"]);
  });

  test("says that a policy is valid, with what was looked at", async () => {
    const { exit, stdout, stderr } = await run(["check", "site.yaml"], { files: { "site.yaml": clean } });
    expect(stdout).toBe("valid: 1 rule in 1 site policy, 1 rule in 1 pack, 1 test passed, 9 cases of packs passed\n");
    expect([exit, stderr]).toEqual([0, ""]);
  });

  test("prints rewritings, wildcards, where rules meet, and warnings with their places", async () => {
    const { exit, stdout } = await run(["check", "site.yaml"], { files: { "site.yaml": narrow } });
    expect(stdout).toBe(`wildcards
  site/wide    *.do.dsp.vendor.example       do.dsp.vendor.example and every name below it, at any depth
  site/narrow  *.prod.do.dsp.vendor.example  prod.do.dsp.vendor.example and every name below it, at any depth

where rules meet
  site/narrow  overrides  site/wide  *.prod.do.dsp.vendor.example (https:443)

site.yaml:5:5: warning: \`narrow\` takes decisions away: *.do.dsp.vendor.example of site/wide no longer decides *.prod.do.dsp.vendor.example; lost there: https:443
site.yaml:5:27: rewriting: \`https://*.prod.do.dsp.vendor.example/\` is read as *.prod.do.dsp.vendor.example
  hint: write "*.prod.do.dsp.vendor.example"

valid, with 1 warning and 1 rewriting: 2 rules in 1 site policy
`);
    expect(exit).toBe(0);
  });

  test("exits 1 on warnings with --strict, and 0 without warnings", async () => {
    const strict = await run(["check", "--strict", "site.yaml"], { files: { "site.yaml": narrow } });
    expect(strict.exit).toBe(1);
    expect(strict.stderr).toContain("sallyport: error: 1 warning found, which --strict does not accept");
    expect((await run(["check", "--strict", "site.yaml"], { files: { "site.yaml": clean } })).exit).toBe(0);
  });

  test("exits 3 on an invalid file, with every problem on stderr", async () => {
    const { exit, stdout, stderr } = await run(["check", "site.yaml"], { files: { "site.yaml": broken } });
    expect([exit, stdout]).toEqual([3, ""]);
    expect(stderr).toContain("site.yaml:4:22: error: `*.com`");
    expect(stderr).toMatch(/site.yaml:5:\d+: error: `expcet`/);
  });

  test("exits 3 on a test that fails, at its place", async () => {
    const { exit, stderr } = await run(["check", "site.yaml"], { files: { "site.yaml": failing } });
    expect(exit).toBe(3);
    expect(stderr).toContain(
      "site.yaml:6:16: error: `GET http://a.example/` is expected to be allowed, but it is denied by site/a: scheme_mismatch",
    );
  });

  test("exits 3 on a file that does not exist, and goes on with the others", async () => {
    const { exit, stderr } = await run(["check", "nowhere.yaml", "pack.yaml"], { files: { "pack.yaml": broken } });
    expect(exit).toBe(3);
    expect(stderr).toContain("nowhere.yaml:1:1: error: `nowhere.yaml` does not exist");
    expect(stderr).toContain("pack.yaml:4:22: error: `*.com`");
  });

  test("answers in JSON, problems and all else, also of an invalid file", async () => {
    const { exit, stdout, stderr } = await run(["check", "--json", "site.yaml"], { files: { "site.yaml": narrow } });
    const { problems, wildcards, meetings, summary } = parse(stdout);
    expect([exit, stderr]).toEqual([0, ""]);
    expect(problems).toEqual([
      {
        file: "site.yaml",
        line: 5,
        column: 5,
        severity: "warning",
        kind: "takes_away",
        rule: "site/narrow",
        offending: "narrow",
        message: expect.stringContaining("no longer decides"),
      },
      {
        file: "site.yaml",
        line: 5,
        column: 27,
        severity: "rewriting",
        offending: "https://*.prod.do.dsp.vendor.example/",
        message: "is read as *.prod.do.dsp.vendor.example",
        instead: '"*.prod.do.dsp.vendor.example"',
      },
    ]);
    expect(wildcards).toHaveLength(2);
    expect(meetings).toEqual([
      {
        rule: "site/narrow",
        kind: "overrides",
        other: "site/wide",
        patterns: ["*.prod.do.dsp.vendor.example"],
        about: ["https:443"],
      },
    ]);
    expect(summary).toMatchObject({ valid: true, errors: 0, warnings: 1, rewritings: 1, site_rules: 2, tests: 0 });

    const invalid = await run(["check", "--json", "site.yaml"], { files: { "site.yaml": broken } });
    expect(invalid.exit).toBe(3);
    expect(parse(invalid.stdout).summary).toMatchObject({ valid: false, errors: 2 });
  });

  test("takes site policies together, and each pack alone", async () => {
    const files = {
      "a.yaml": "version: 1\nname: a\nrules: [{ id: a, hosts: [x.y.example], expect: https }]\n",
      "b.yaml": "version: 1\nname: b\nrules: [{ id: b, hosts: [x.y.example], expect: https }]\n",
      "own.yaml": pack,
      "own.cases.yaml": packCases,
    };
    const { exit, stdout } = await run(["check", "a.yaml", "b.yaml", "own.yaml", "own.cases.yaml"], { files });
    expect(exit).toBe(0);
    expect(stdout).toContain("b.yaml:3:9: warning: `b` is shadowed and never decides: a/a comes first");
    expect(stdout).toContain("2 rules in 2 site policies, 1 rule in 1 pack, 2 cases of packs passed");
  });

  describe("of a sallyport.yaml", () => {
    const config =
      "version: 1\nlisten: [{ kind: proxy, address: 127.0.0.1:0, clients: [asked] }]\npolicy: [site.yaml]\n";
    const site = `${clean}clients: { asked: [10.0.0.0/16], idle: [10.1.0.0/16] }\n`;

    test("checks the policies that it names, and knows which groups its listeners name", async () => {
      const files = { "sallyport.yaml": config, "site.yaml": site };
      for (const args of [["check"], ["check", "sallyport.yaml"], ["check", "--config", "sallyport.yaml"]]) {
        const { exit, stdout } = await run(args, { files });
        expect(exit).toBe(0);
        expect(stdout.match(/: warning: .*/g)).toEqual([expect.stringContaining("`idle` is an unused group")]);
      }
    });

    test("says a group that no policy has", async () => {
      const { exit, stderr } = await run(["check"], { files: { "sallyport.yaml": config, "site.yaml": clean } });
      expect(exit).toBe(3);
      expect(stderr).toContain("sallyport.yaml:2:");
    });

    test("takes --policy in place of its policies", async () => {
      const { exit, stdout } = await run(["check", "--policy", "other.yaml"], {
        files: { "sallyport.yaml": config, "other.yaml": site },
      });
      expect(exit).toBe(0);
      expect(stdout).toContain("1 rule in 1 site policy");
    });
  });

  test("without any configuration looks at the policy that ships", async () => {
    const { exit, stdout } = await run(["check", "--strict"]);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/valid: \d+ rules in \d+ packs, \d+ tests passed, \d+ cases of packs passed\n$/);
  });

  test("of a pack runs its cases", async () => {
    const { exit, stdout } = await run(["check", `${policiesDir}/packs/trend-micro-workload-security.yaml`]);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/valid: \d+ rules in 1 pack, 57 cases of packs passed\n$/);
  });
});

describe("cases of a pack", () => {
  const wrong: Readonly<Record<string, readonly [cases: string, said: readonly string[]]>> = {
    "that fail": [
      'pack: own\ncases:\n  - { request: "CONNECT a.example:443", expect: deny }\n',
      ["own.cases.yaml:3:16: error: `CONNECT a.example:443` is expected to be denied, but it is allowed by own/a"],
    ],
    "that are misspelt": [
      'pack: own\ncases:\n  - { request: "CONNECT a.example:443", expect: deny, reasn: no_rule }\n  - { request: "a.example", expect: deny, rule: own/b }\n',
      [
        "own.cases.yaml:3:55: error: `reasn`",
        "own.cases.yaml:4:16: error: `a.example` is no request",
        "own.cases.yaml:4:49: error: `own/b` is no rule",
      ],
    ],
    "of another pack": [
      'pack: other\ncases: [{ request: "CONNECT a.example:443", expect: allow }]\n',
      ["own.cases.yaml:1:7: error: `other` is not the pack"],
    ],
    "with parameters that the pack has not": [
      'pack: own\nwith: { region: x }\ncases: [{ request: "CONNECT a.example:443", expect: allow }]\n',
      ["own.cases.yaml:2:1: error: `region` is no parameter of own"],
    ],
    "that are empty": ["pack: own\ncases: []\n", ["own.cases.yaml:2:8: error: "]],
  };
  test.each(Object.entries(wrong))("%s are told at their places", async (_, [cases, said]) => {
    const { exit, stderr } = await run(["check", "own.yaml"], { files: { "own.yaml": pack, "own.cases.yaml": cases } });
    expect(exit).toBe(3);
    for (const line of said) expect(stderr).toContain(line);
  });

  test("are run for packs that a site uses", async () => {
    const files = {
      "site.yaml": "version: 1\nname: site\nuse: [./own.yaml]\n",
      "own.yaml": pack,
      "own.cases.yaml": packCases.replace("allow", "deny"),
    };
    const { exit, stderr } = await run(["check", "site.yaml"], { files });
    expect(exit).toBe(3);
    expect(stderr).toContain("own.cases.yaml:3:16: error: `CONNECT a.example:443` is expected to be denied");
  });
});
