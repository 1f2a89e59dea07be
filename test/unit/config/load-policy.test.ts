import { describe, expect, test } from "vitest";
import { type Loaded, loadPolicySet } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { filesInMemory } from "../../support/memory-files.ts";

const packs = {
  "packs/windows-update.yaml": `version: 1
name: windows-update
defaults: { tls_min: "1.2", idle_timeout: 5m }
rules:
  - { id: payload, hosts: ["*.dl.delivery.mp.microsoft.com"], expect: http, range: allow }
  - { id: metadata, hosts: ["*.update.microsoft.com"], expect: https }
`,
  "packs/windows-update.cases.yaml": "cases: []\n",
  "packs/trend.yaml": `version: 1
name: trend
params: { region: { description: "where", values: [us-1, de-1, gb-1] } }
rules:
  - { id: agents, hosts: ["*.workload.\${region}.example.com"], expect: https }
  - { id: shared, hosts: [files.example.com], expect: https }
`,
  "packs/automation.yaml": `version: 1
name: automation
params:
  tenant: { description: "label", kind: label, optional: true }
  host: { kind: host, optional: true }
rules:
  - { id: cloud, hosts: ["\${tenant}.my.example.com"], expect: https }
  - { id: own, hosts: ["\${host}"], expect: [http, https] }
`,
};

/** Loads one site policy, `head` and the text behind it, beside the packs. */
function load(site: string, more: Readonly<Record<string, string>> = {}): Loaded {
  return loadPolicySet({
    files: ["site.yaml"],
    packsDir: "packs",
    ...filesInMemory({ "site.yaml": site, ...packs, ...more }),
  });
}

function loaded(result: Loaded): Extract<Loaded, { kind: "loaded" }> {
  if (result.kind === "loaded") return result;
  throw new Error(result.problems.map(formatProblem).join("\n"));
}

function problemsOf(result: Loaded): string[] {
  return (result.kind === "loaded" ? result.notices : result.problems).map(formatProblem);
}

const head = "version: 1\nname: site\n";

test("a file with ten different mistakes reports all ten, each with its place and its remedy", () => {
  const site = `version: 1
name: site
use: [windows-updat]
clients: { servers: [10.20.0.1/16] }
defaults: { tls_min: 1.2 }
rules:
  - id: one
    hosts: [*.x.com, "*"]
    expect: [https, tcp:443]
  - id: one
    hosts: [a.example.com]
    expect: http
    rnage: allow
    clients: [server]
    methods: [GET, TRACE]
    expires: 2027-02-30
  - id: three
    action: deny
    hosts: [b.example.com]
    expect: https
tests:
  - { request: "CONNECT a.example.com:443", client: 10.0.0, expect: allow }
`;
  expect(problemsOf(load(site))).toEqual([
    "site.yaml:3:7: error: `windows-updat` is no pack: the packs are automation, trend, windows-update\n  hint: write windows-update",
    "site.yaml:4:22: error: `10.20.0.1/16` has bits set beyond its prefix: write 10.20.0.0/16\n  hint: write 10.20.0.0/16",
    'site.yaml:5:22: error: `1.2` is read by YAML as a number: quote it\n  hint: write "1.2"',
    'site.yaml:8:13: error: `*.x.com` is a YAML alias; quote it: "*.x.com"\n  hint: write "*.x.com"',
    expect.stringMatching(/^site\.yaml:8:22: error: `\*` /),
    "site.yaml:9:21: error: `tcp:443` stands beside https:443: tcp lets any bytes pass that https would judge, so keep one of them",
    "site.yaml:10:9: error: `one` is the id of the rule on line 7 already: ids are unique in a file\n  hint: write one-2",
    "site.yaml:13:5: error: `rnage` is no key here: did you mean range?\n  hint: write range",
    "site.yaml:14:15: error: `server` is no group: the groups are servers\n  hint: write servers",
    "site.yaml:15:20: error: `TRACE` is never allowed: it echoes what the client sent, credentials among it",
    "site.yaml:16:14: error: `2027-02-30` is no day of the calendar",
    "site.yaml:20:5: error: `expect` has no place on a deny rule, which refuses its hosts in every way: leave it out",
    "site.yaml:22:53: error: `10.0.0` is no IP address",
  ]);
});

describe("one mistake, and its problem", () => {
  const rule = (fields: string) => `${head}rules:\n  - { id: r, ${fields} }\n`;
  const target = "hosts: [a.example.com]";
  test.each<[sentence: string, site: string, problems: readonly (string | RegExp)[]]>([
    ["no version", "name: site\nrules: []\n", [/^site.yaml:1:1: error: `site.yaml` has no version$/, /warning/]],
    [
      "another version",
      "version: 2\nname: site\nrules: []\n",
      [/^site.yaml:1:10: error: `2` does not fit: only 1 is known here$/, /warning/],
    ],
    [
      "a name with capitals",
      "version: 1\nname: My Site\n",
      [/^site.yaml:2:7: error: `My Site` is no kebab-case name.*\n {2}hint: write my-site$/],
    ],
    ["a list at the top", "- a\n", [/^site.yaml:1:1: error: `- a` is a list: a mapping is needed$/]],
    ["no id", `${head}rules:\n  - { ${target}, expect: https }\n`, [/^site.yaml:4:5: error: `{ hosts.* has no id$/]],
    ["no expect", rule(target), [/^site.yaml:4:11: error: `r` has no expect/]],
    ["no hosts", rule("expect: https"), [/`r` has neither hosts nor addresses/]],
    [
      "misspelt hosts are not missing as well",
      rule("host: [a.example.com], expect: https"),
      [/`host` is no key here: did you mean hosts\?/],
    ],
    [
      "hosts of a wrong type are not missing as well",
      rule("hosts: a.example.com, expect: https"),
      [/`a.example.com` is one value where a list is needed\n {2}hint: write \[a.example.com\]$/],
    ],
    ["an empty list", rule("hosts: [], expect: https"), [/`\[\]` is empty/]],
    [
      "no value",
      `${head}rules:\n  - id: r\n    hosts:\n    expect: https\n`,
      [/^site.yaml:5:5: error: `hosts` has no value/],
    ],
    [
      "a number for text",
      rule(`${target}, expect: https, ticket: 88`),
      [/`88` is read by YAML as a number: quote it\n {2}hint: write "88"/],
    ],
    [
      "a version of TLS for a number",
      rule(`${target}, expect: https, tls_min: 1.3`),
      [/`1.3` is read by YAML as a number: quote it\n {2}hint: write "1.3"/],
    ],
    [
      "an unknown word",
      rule(`${target}, expect: http, range: alow`),
      [/`alow` is unknown: one of allow, strip, deny is needed\n {2}hint: write allow/],
    ],
    ["tcp without a port", rule(`${target}, expect: tcp`), [/`tcp` is no endpoint/]],
    ["a port alone", rule(`${target}, expect: [443]`), [/`443` is no endpoint.*\n {2}hint: write https$/]],
    [
      "a URL's way to write it",
      rule(`${target}, expect: [https/8443]`),
      [/`https\/8443` is no endpoint.*\n {2}hint: write https:8443$/],
    ],
    ["a port too large", rule(`${target}, expect: https:70000`), [/has a port beyond 65535/]],
    ["an endpoint twice", rule(`${target}, expect: [https, https:443]`), [/`https:443` stands twice/]],
    ["https beside tcp", rule(`${target}, expect: [tcp:8443, https:8443]`), [/`https:8443` stands beside tcp:8443/]],
    [
      "HTTP conditions without http",
      rule(`${target}, expect: https, range: allow, methods: [GET], paths: [/a], websocket: allow`),
      [/`range` is a condition on plain HTTP/, /`methods` is a/, /`paths` is a/, /`websocket` is a/],
    ],
    [
      "TLS conditions without https",
      rule(`${target}, expect: http, tls_min: "1.3"`),
      [/warning: `tls_min` does nothing here/],
    ],
    [
      "conditions on a deny rule",
      rule(`action: deny, ${target}, expect: https, sni: any, websocket: deny, resolves_to: [public]`),
      [
        /`expect` has no place/,
        /`sni` has no place/,
        /`websocket` has no place/,
        /warning: `resolves_to` does nothing/,
      ],
    ],
    [
      "a misspelt action says nothing of the rest",
      rule(`action: dney, ${target}`),
      [/`dney` is unknown: one of allow, deny is needed\n {2}hint: write deny/],
    ],
    ["CONNECT as a method", rule(`${target}, expect: http, methods: [CONNECT]`), [/`CONNECT` is no method here/]],
    [
      "a method in lower case",
      rule(`${target}, expect: http, methods: [get]`),
      [/`get` is not in upper case.*\n {2}hint: write GET/],
    ],
    [
      "a method that nobody knows",
      rule(`${target}, expect: http, methods: [GRAB]`),
      [/`GRAB` is no method that the HTTP parser knows/],
    ],
    ["a path without a slash", rule(`${target}, expect: http, paths: [/a, b]`), [/`b` does not begin with \//]],
    [
      "an address that is none",
      rule("addresses: [10.0.0], expect: https"),
      [/`10.0.0` is no address and no CIDR block/],
    ],
    [
      "a class that is none",
      rule(`${target}, expect: https, resolves_to: [privat]`),
      [/`privat` is neither public, private.*\n {2}hint: write private/],
    ],
    [
      "a duration without a unit",
      rule(`${target}, expect: https, idle_timeout: 90`),
      [/`90` is no duration.*\n {2}hint: write 90s/],
    ],
    [
      "a duration in days",
      rule(`${target}, expect: https, idle_timeout: 2d`),
      [/`2d` is no duration.*\n {2}hint: write 48h/],
    ],
    [
      "a duration too short",
      rule(`${target}, expect: https, idle_timeout: 10ms`),
      [/`10ms` is too short: at least 1s/],
    ],
    [
      "a day in another order",
      rule(`${target}, expect: https, expires: 01.03.2027`),
      [/`01.03.2027` is no day: YYYY-MM-DD is needed$/],
    ],
    ["a day with single digits", rule(`${target}, expect: https, expires: 2027-3-1`), [/hint: write 2027-03-01$/]],
    ["a public suffix", rule(`hosts: ["*.co.uk"], expect: https`), [/^site.yaml:4:22: error: `\*.co.uk` /]],
    [
      "a vendor's spelling is rewritten",
      rule(`hosts: ["https://*.x.com/"], expect: https`),
      [/rewriting: `https:\/\/\*.x.com\/` is read as \*.x.com\n {2}hint: write "\*.x.com"/],
    ],
    [
      "a parameter in a site",
      rule(`hosts: ["\${region}.x.com"], expect: https`),
      [/has the parameter region, and this file declares no params/],
    ],
    ["a group that nobody is in", `${head}clients: { a: { mode: report } }\n`, [/warning/, /`a` has no addresses/]],
    [
      "a subject that is none",
      `${head}clients: { a: { users: [x], subjects: ["CN=kiosk*", kiosk] } }\n`,
      [/warning/, /`kiosk` is no subject: write TYPE=value/],
    ],
    [
      "an address for a group",
      `${head}clients: { a: [10.0.0.0/8] }\nrules:\n  - { id: r, ${target}, expect: https, clients: [10.0.0.0/8] }\n`,
      [/`10.0.0.0\/8` is no group: give the block a name/],
    ],
    [
      "a key twice",
      `${head}rules:\n  - id: r\n    id: s\n    ${target}\n    expect: https\n`,
      [/^site.yaml:5:5: error: `id` stands twice/],
    ],
    ["nothing at all", head, [/warning: `site` has neither rules nor packs/]],
    [
      "params in a pack that nobody uses",
      `${head}params: { a: { values: [x] } }\nuse: [trend]\nrules:\n  - { id: r, hosts: ["\${a}.example.com"], expect: https, clients: [b] }\n`,
      [/`use` belongs to site policies/, /`clients` belongs to site policies/],
    ],
  ])("%s", (_, site, problems) => {
    expect(problemsOf(load(site))).toEqual(problems.map((problem) => expect.stringMatching(problem)));
  });
});

describe("tests of a policy", () => {
  const withTest = (fields: string) =>
    `${head}clients: { servers: [10.0.0.0/8] }\nrules:\n  - { id: r, hosts: [a.example.com], expect: https }\ntests:\n  - { ${fields} }\n`;
  test.each<[fields: string, problems: readonly RegExp[]]>([
    [
      'request: "CONNECT a.example.com:443", expect: allow, reason: rule_denied',
      [/`rule_denied` contradicts expect: allow/],
    ],
    [
      'request: "CONNECT a.example.com:443", expect: deny, reason: no_rul',
      [/`no_rul` is no reason.*\n {2}hint: write no_rule$/],
    ],
    [
      'request: "CONNECT a.example.com:443", expect: allow, rule: site/s',
      [/`site\/s` is no rule of this policy.*\n {2}hint: write site\/r$/],
    ],
    ['request: "a.example.com:443", expect: allow', [/hint: write "CONNECT a.example.com:443"/]],
    ['request: "GET http://a.example.com/", tls: "1.2", expect: deny', [/`tls` has no place here/]],
    ['request: "CONNECT a.example.com:443", tls: 1.2, expect: deny', [/`1.2` is read by YAML as a number/]],
    [
      'request: "CONNECT a.example.com:443", group: server, expect: deny',
      [/`server` is no group.*\n {2}hint: write servers/],
    ],
    ['request: "CONNECT a.example.com:443", time: tomorrow, expect: deny', [/`tomorrow` is no moment/]],
    ['request: "CONNECT a.example.com:443"', [/`CONNECT a.example.com:443` has no expect|has no expect/]],
  ])("%s", (fields, problems) => {
    expect(problemsOf(load(withTest(fields)))).toEqual(problems.map((problem) => expect.stringMatching(problem)));
  });

  test("are read with everything that explain takes", () => {
    const fields = `request: "CONNECT a.example.com:443", client: 10.0.0.1, group: servers, host: b, range: bytes=0-1, sni: null, tls: null, ech: true, server_tls: "1.3", resolved: [1.2.3.4], time: 2027-03-01, expect: deny, reason: not_tls, rule: site/r`;
    const { tests } = loaded(load(withTest(fields)));
    expect(tests).toMatchObject([
      {
        place: { file: "site.yaml", line: 7 },
        method: "CONNECT",
        target: "a.example.com:443",
        client: { text: "10.0.0.1" },
        group: "servers",
        sni: null,
        tls: null,
        ech: true,
        serverTls: 0x0304,
        resolved: [{ text: "1.2.3.4" }],
        time: Date.UTC(2027, 2, 1),
        expect: "deny",
        reason: "not_tls",
        rule: "site/r",
      },
    ]);
  });
});

describe("what a rule becomes", () => {
  const ruleOf = (text: string) => loaded(load(`${head}${text}`)).set.files[0]!.rules[0]!;

  test("defaults of the language where nothing is said", () => {
    expect(ruleOf("rules:\n  - id: r\n    hosts: [a.example.com]\n    expect: [http, https, tcp:25]\n")).toMatchObject({
      id: "r",
      place: { file: "site.yaml", line: 4, column: 5 },
      action: "allow",
      endpoints: [
        { scheme: "http", port: 80 },
        { scheme: "https", port: 443 },
        { scheme: "tcp", port: 25 },
      ],
      tlsMin: 0x0303,
      sni: undefined,
      ech: "allow",
      range: "deny",
      methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
      paths: null,
      websocket: "deny",
      clients: null,
      resolvesTo: { public: true, private: false, cidrs: [] },
      idleTimeoutMs: undefined,
      mode: undefined,
      expiresAt: Infinity,
    });
  });

  test("the file's defaults, and the rule's own word before them", () => {
    const defaults =
      'defaults: { range: strip, tls_min: "1.3", sni: any, ech: deny, idle_timeout: 1m, mode: report }\n';
    const rules = "rules:\n  - { id: r, hosts: [a.example.com], expect: [http, https], sni: covered }\n";
    expect(ruleOf(defaults + rules)).toMatchObject({
      range: "strip",
      tlsMin: 0x0304,
      sni: "covered",
      ech: "deny",
      idleTimeoutMs: 60_000,
      mode: undefined,
    });
    expect(loaded(load(head + defaults + rules)).set.files[0]).toMatchObject({
      defaultMode: "report",
      defaultIdleTimeoutMs: 60_000,
    });
  });

  test("the day in expires is still in; the instant after it is not", () => {
    expect(
      ruleOf("rules:\n  - { id: r, hosts: [a.example.com], expect: https, expires: 2028-02-29 }\n").expiresAt,
    ).toBe(Date.UTC(2028, 2, 1));
  });

  test("a source is a line, or a document with its day", () => {
    const base = "rules:\n  - { id: r, hosts: [a.example.com], expect: https, source: ";
    expect(ruleOf(`${base}a page }\n`).source).toEqual({ title: "a page" });
    expect(ruleOf(`${base}{ title: a page, checked: 2026-11-21 } }\n`).source).toMatchObject({
      title: "a page",
      checked: "2026-11-21",
    });
  });
});

describe("packs", () => {
  const files = (text: string, more = {}) =>
    loaded(load(head + text, more)).set.files.map((file) => [
      file.name,
      file.rules.flatMap((rule) => rule.patterns.map((pattern) => pattern.text)),
    ]);

  test("come behind the sites in order of first use, with the site's mode and their own defaults", () => {
    const { set } = loaded(load(`${head}defaults: { mode: report, idle_timeout: 2m }\nuse: [windows-update]\n`));
    expect(set.files.map((file) => [file.kind, file.name, file.defaultMode, file.defaultIdleTimeoutMs])).toEqual([
      ["site", "site", "report", 120_000],
      ["pack", "windows-update", "report", 120_000],
    ]);
    expect(set.files[1]!.rules.map((rule) => rule.idleTimeoutMs)).toEqual([300_000, 300_000]);
    expect(set.files[1]!.uses).toEqual([{ clients: null, without: new Set() }]);
  });

  test("used twice in the same way are one instance with both uses", () => {
    const { set } = loaded(
      load(
        `${head}clients: { a: [10.0.0.0/8], b: [10.0.0.0/9] }\nuse:\n  - { pack: trend, with: { region: all }, clients: [a] }\n  - { pack: trend, with: { region: [gb-1, us-1, de-1] }, clients: [b], without: [shared] }\n`,
      ),
    );
    expect(set.files.slice(1).map((file) => [file.name, file.uses])).toEqual([
      [
        "trend",
        [
          { clients: ["a"], without: new Set() },
          { clients: ["b"], without: new Set(["shared"]) },
        ],
      ],
    ]);
  });

  test("with other values are a second instance, called after them", () => {
    const use =
      "use:\n  - { pack: trend, with: { region: us-1 } }\n  - { pack: trend, with: { region: [gb-1, de-1] } }\n  - { pack: trend, with: { region: all } }\n";
    expect(files(use).map(([name]) => name)).toEqual(["site", "trend", "trend@de-1+gb-1", "trend@all"]);
    expect(files(use)[2]).toEqual([
      "trend@de-1+gb-1",
      ["*.workload.de-1.example.com", "*.workload.gb-1.example.com", "files.example.com"],
    ]);
  });

  test("have no rules for an optional parameter that is not given", () => {
    expect(files("use: [{ pack: automation, with: { tenant: acme } }]\n")[1]).toEqual([
      "automation",
      ["acme.my.example.com"],
    ]);
    expect(files("use: [{ pack: automation, with: { host: cr.corp.example } }]\n")[1]).toEqual([
      "automation",
      ["cr.corp.example"],
    ]);
  });

  test("may be files beside the site, and parameters combine", () => {
    const own =
      'version: 1\nname: own\nparams: { a: { values: [x, y] }, b: { values: ["1", "2"] } }\nrules:\n  - { id: r, hosts: ["${a}.${b}.example.com"], expect: https }\n';
    expect(files("use: [{ pack: ./sub/own.yaml, with: { a: all, b: all } }]\n", { "sub/own.yaml": own })[1]).toEqual([
      "own",
      ["x.1.example.com", "x.2.example.com", "y.1.example.com", "y.2.example.com"],
    ]);
  });

  test.each<[sentence: string, use: string, more: Readonly<Record<string, string>>, problems: readonly RegExp[]]>([
    [
      "an unknown pack",
      "[trends]",
      {},
      [
        /^site.yaml:3:7: error: `trends` is no pack: the packs are automation, trend, windows-update\n {2}hint: write trend$/,
      ],
    ],
    ["a file that is not there", "[./own.yaml]", {}, [/`.\/own.yaml` cannot be read: there is no file own.yaml/]],
    ["the file itself", "[./site.yaml]", {}, [/`.\/site.yaml` is this very file/]],
    [
      "a parameter left out",
      "[trend]",
      {},
      [
        /`trend` needs the parameter region: one of us-1, de-1, gb-1, a list of them, or all\n {2}hint: write { pack: trend, with: { region: us-1 } }$/,
      ],
    ],
    [
      "a parameter misspelt",
      "[{ pack: trend, with: { regoin: us-1 } }]",
      {},
      [/^site.yaml:3:30: error: `regoin` is no parameter of trend, which has region: did you mean region\?$/],
    ],
    [
      "a value that there is not",
      "[{ pack: trend, with: { region: [us-1, us1] } }]",
      {},
      [/^site.yaml:3:45: error: `us1` is no value of this parameter: one of us-1, de-1, gb-1.*\n {2}hint: write us-1$/],
    ],
    [
      "a parameter of a pack without any",
      "[{ pack: windows-update, with: { region: x } }]",
      {},
      [/`region` is no parameter of windows-update, which has no parameters/],
    ],
    [
      "none of several optional ones",
      "[automation]",
      {},
      [/`automation` needs at least one of its parameters: tenant, host/],
    ],
    ["all, where any value will do", "[{ pack: automation, with: { tenant: a.b } }]", {}, [/`a.b` is no DNS label/]],
    [
      "a host that is none",
      "[{ pack: automation, with: { host: '*.x.com' } }]",
      {},
      [/`\*.x.com` is no host name in lower case/],
    ],
    [
      "without a rule that there is not",
      "[{ pack: windows-update, without: [windows-update/payloads] }]",
      {},
      [/`windows-update\/payloads` is no rule of windows-update: its rules are payload, metadata/],
    ],
    [
      "the same again",
      "[windows-update, windows-update]",
      {},
      [/warning: `windows-update` is used already in this way/],
    ],
    [
      "for a group that there is not",
      "[{ pack: windows-update, clients: [a] }]",
      {},
      [/`a` is no group: no site policy has clients/],
    ],
    [
      "a pack with what belongs to sites",
      "[./own.yaml]",
      {
        "own.yaml":
          "version: 1\nname: own\nuse: [trend]\nclients: { a: [10.0.0.1] }\ndefaults: { mode: report }\nrules:\n  - { id: r, hosts: [a.example.com], expect: https, clients: [a] }\ntests: []\n",
      },
      [
        /^own.yaml:3:1: error: `use` belongs/,
        /`clients` belongs/,
        /`mode` belongs/,
        /`clients` belongs/,
        /`tests` belongs/,
      ],
    ],
    [
      "a pack with its site's name",
      "[./own.yaml]",
      { "own.yaml": "version: 1\nname: site\nrules:\n  - { id: r, hosts: [a.example.com], expect: https }\n" },
      [/^own.yaml:2:7: error: `site` is the name of site.yaml already/],
    ],
    [
      "a shipped pack under another name",
      "[odd]",
      { "packs/odd.yaml": "version: 1\nname: even\nrules:\n  - { id: r, hosts: [a.example.com], expect: https }\n" },
      [/^packs\/odd.yaml:2:7: error: `even` differs from the name of its file.*\n {2}hint: write odd/],
    ],
    [
      "mistakes of a pack, once for all its instances",
      "[{ pack: odd, with: { a: x } }, { pack: odd, with: { a: y } }]",
      {
        "packs/odd.yaml":
          'version: 1\nname: odd\nparams: { a: { values: [x, y] }, c: { values: [z] , optional: true } }\nrules:\n  - { id: r, hosts: ["${a}.${b}.com"], expect: https }\n',
      },
      [
        /`c` is used by no host/,
        /^packs\/odd.yaml:5:22: error: `\$\{a\}.\$\{b\}.com` has the unknown parameter b: params has a, c/,
      ],
    ],
  ])("%s", (_, use, more, problems) => {
    expect(problemsOf(load(`${head}use: ${use}\n`, more))).toEqual(
      problems.map((problem) => expect.stringMatching(problem)),
    );
  });
});

describe("several files", () => {
  const disk = filesInMemory({
    "a.yaml":
      "version: 1\nname: a\nclients: { one: [10.0.0.0/8] }\nrules:\n  - { id: r, hosts: [a.example.com], expect: https, clients: [two] }\n",
    "b.yaml": "version: 1\nname: b\nclients: { two: [10.0.0.0/9] }\nrules: []\nuse: []\n",
    "c.yaml":
      "version: 1\nname: a\nclients: { one: [10.0.0.0/8] }\nrules:\n  - { id: r, hosts: [c.example.com], expect: https }\n",
    ...packs,
  });
  const loadAll = (...files: string[]) => loadPolicySet({ files, packsDir: "packs", ...disk });

  test("share their groups, in the order of the files", () => {
    expect(loaded(loadAll("a.yaml", "b.yaml")).set.groups.map((group) => [group.name, group.place.file])).toEqual([
      ["one", "a.yaml"],
      ["two", "b.yaml"],
    ]);
  });

  test("have names and groups of their own", () => {
    expect(problemsOf(loadAll("a.yaml", "b.yaml", "c.yaml"))).toEqual([
      expect.stringMatching(/^b.yaml:2:7: warning/),
      "c.yaml:2:7: error: `a` is the name of a.yaml already: names are unique over all files",
      "c.yaml:3:12: error: `one` is a group already, in a.yaml:3: group names are unique over all files",
    ]);
  });

  test("are read once each, and one that is missing does not hide the others", () => {
    expect(problemsOf(loadAll("c.yaml", "./c.yaml", "d.yaml"))).toEqual(["d.yaml:1:1: error: `d.yaml` does not exist"]);
  });

  test("a pack given as a policy is checked as one, with every value that it has", () => {
    const { set, notices } = loaded(loadAll("packs/trend.yaml", "packs/automation.yaml"));
    expect(set.files.map((file) => [file.kind, file.name, file.rules.flatMap((rule) => rule.patterns.length)])).toEqual(
      [
        ["pack", "trend", [3, 1]],
        ["pack", "automation", []],
      ],
    );
    expect(notices.map(formatProblem)).toEqual([
      expect.stringMatching(/`tenant` has no value here/),
      expect.stringMatching(/`host` has no value here/),
    ]);
  });
});

test("10,000 rules load", () => {
  const rules = Array.from(
    { length: 10_000 },
    (_, i) => `  - id: r${i}\n    hosts: ["*.h${i}.example.com"]\n    expect: https\n`,
  );
  expect(loaded(load(`${head}rules:\n${rules.join("")}`)).set.files[0]!.rules).toHaveLength(10_000);
});
