import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { maxLineBytes } from "../../../src/cli/explain-ndjson.ts";
import { type Run, policiesDir, run } from "./run-program.ts";

const site = `version: 1
name: site
use:
  - windows-update
  - { pack: automox, clients: [servers] }
clients:
  servers: [10.20.0.0/16]
  kiosks: { addresses: [10.30.0.0/16], mode: report }
rules:
  - id: wsus
    hosts: ["*.corp.example"]
    expect: [http:8530, https:8531]
    resolves_to: [10.0.0.0/8]
    clients: [servers]
    purpose: internal WSUS
  - id: portal
    hosts: [portal.vendor.example]
    expect: https
    tls_min: "1.3"
    ech: deny
  - id: covered
    hosts: ["*.covered.example"]
    expect: https
    sni: covered
  - id: listing
    hosts: [files.vendor.example]
    expect: http
    methods: [GET]
    paths: [/pub/**]
  - id: old
    hosts: [old.vendor.example]
    expect: https
    expires: 2026-01-31
  - id: no-telemetry
    action: deny
    hosts: ["*.update.microsoft.com"]
    clients: [kiosks]
  - id: licence
    addresses: [192.0.2.0/24]
    expect: https:8443
`;
const pack = `${policiesDir}/packs/windows-update.yaml`;

const explain = (args: readonly string[], policy = site): Promise<Run> =>
  run(["explain", ...args, "--policy", "site.yaml"], { files: { "site.yaml": policy } });

type Told = Readonly<Record<string, unknown>> & {
  readonly covering: readonly {
    readonly pattern: string;
    readonly rules: readonly { rule: string; fate: string; message: string }[];
  }[];
  readonly remedies: readonly { readonly text: string; readonly rule?: string }[];
};
const told = async (args: readonly string[], policy = site): Promise<Told> =>
  JSON.parse((await explain([...args, "--json"], policy)).stdout) as Told;

describe("explain", () => {
  test("says who decided, where that stands, who lost and why, and what would have to change", async () => {
    const { exit, stdout, stderr } = await explain([
      "CONNECT tlu.dl.delivery.mp.microsoft.com:443",
      "--client",
      "10.20.1.4",
    ]);
    expect(exit).toBe(1);
    expect(stderr).toBe("");
    expect(stdout.replace(/(windows-update\.yaml):\d+/g, "$1:LINE")).toBe(`denied: scheme_mismatch
Rule windows-update/payload covers this host, but expects http on port 80.

request  CONNECT tlu.dl.delivery.mp.microsoft.com:443
client   10.20.1.4, in servers
rule     windows-update/payload, ${pack}:LINE
         *.dl.delivery.mp.microsoft.com: http on port 80
         update payload
judged   the request
told     status 403, Proxy-Status: sallyport; error=http_request_denied

What covers it, the most specific first (it decides alone):
  *.dl.delivery.mp.microsoft.com  windows-update/payload   decides              ${pack}:LINE
  *.delivery.mp.microsoft.com     windows-update/metadata  lost: less specific  ${pack}:LINE

To be allowed, one of these has to change:
  - use http on port 80: GET http://tlu.dl.delivery.mp.microsoft.com/
  - add a rule to a site policy, beside windows-update/payload:
      - { id: dl-delivery-mp-microsoft-com, hosts: ["*.dl.delivery.mp.microsoft.com"], expect: https }
`);
  });

  test("of an allowed request says how far it was judged, and names files as the user sees them", async () => {
    const { exit, stdout } = await explain(["CONNECT a.corp.example:8531", "--client", "10.20.1.4"]);
    expect(exit).toBe(0);
    expect(stdout).toBe(`allowed

request  CONNECT a.corp.example:8531
client   10.20.1.4, in servers
rule     site/wsus, site.yaml:10
         *.corp.example: http on port 8530 or https (CONNECT) on port 8531
         internal WSUS
judged   the request; the tunnel must then begin with TLS 1.2 or later: --tls and --sni judge that too
`);
  });

  test("of a tunnel says which alert the client reads", async () => {
    const { stdout } = await explain(["CONNECT portal.vendor.example:443", "--tls", "1.2"]);
    expect(stdout).toContain("\ntold     TLS alert protocol_version (70), after the 200 of the CONNECT\n");
    const notTls = await explain(["CONNECT portal.vendor.example:443", "--no-tls"]);
    expect(notTls.stdout).toContain("\ntold     nothing: the connection is closed\n");
  });

  test("shows no control characters of what it was asked", async () => {
    const { stdout } = await explain(["CONNECT \u001b]0;owned\u0007:443"]);
    expect(stdout).toContain("request  CONNECT \ufffd]0;owned\ufffd:443");
  });

  const verdicts: Readonly<Record<string, readonly [args: readonly string[], exit: number, fields: object]>> = {
    "an allowed request": [
      ["GET http://a.corp.example:8530/x", "--client", "10.20.0.1"],
      0,
      { verdict: "allow", reason: "allowed", rule: "site/wsus", stage: "request" },
    ],
    "a range": [
      ["GET http://au.download.windowsupdate.com/x.cab", "--range", "bytes=0-1"],
      0,
      { reason: "allowed", rule: "windows-update/download" },
    ],
    "a broken range": [
      ["GET http://au.download.windowsupdate.com/x.cab", "--range", "bytes=1-0"],
      1,
      { reason: "range_invalid", status: 403 },
    ],
    "another Host field": [
      ["GET http://emdl.ws.microsoft.com/", "--host", "x.example"],
      1,
      { reason: "host_mismatch", nearest: "windows-update/do-metadata" },
    ],
    "a hello without a server name": [
      ["CONNECT portal.vendor.example:443", "--no-sni", "--tls", "1.3"],
      1,
      { reason: "sni_missing", alert: 112, stage: "tunnel" },
    ],
    "another server name": [
      ["CONNECT portal.vendor.example:443", "--sni", "x.example"],
      1,
      { reason: "sni_mismatch", alert: 112 },
    ],
    "encrypted hellos": [["CONNECT portal.vendor.example:443", "--ech"], 1, { reason: "ech_denied", alert: 49 }],
    "a server that negotiates less": [
      ["CONNECT portal.vendor.example:443", "--server-tls", "1.2"],
      1,
      { reason: "tls_downgrade", alert: 70 },
    ],
    "no TLS at all": [["CONNECT portal.vendor.example:443", "--no-tls"], 1, { reason: "not_tls", alert: null }],
    "an address that is not admitted": [
      ["CONNECT a.corp.example:8531", "--client", "10.20.0.1", "--resolved", "192.168.0.1"],
      1,
      { reason: "address_denied", stage: "dial", status: 403 },
    ],
    "several addresses, one admitted": [
      ["CONNECT a.corp.example:8531", "--client", "10.20.0.1", "--resolved", "192.168.0.1,10.1.1.1"],
      0,
      { stage: "dial" },
    ],
    "a moment after the last day": [["CONNECT old.vendor.example:443"], 1, { reason: "no_rule" }],
    "a moment before it": [
      ["CONNECT old.vendor.example:443", "--time", "2026-01-31T23:59:59Z"],
      0,
      { rule: "site/old" },
    ],
    "a group in place of an address": [
      ["CONNECT a.corp.example:8531", "--group", "servers"],
      0,
      { client: { address: "127.0.0.1", groups: ["servers"] } },
    ],
    "report mode": [
      ["CONNECT tlu.dl.delivery.mp.microsoft.com:443", "--client", "10.30.0.1"],
      0,
      { verdict: "allow", would: "deny", reason: "scheme_mismatch", mode: "report", rule: "windows-update/payload" },
    ],
    "a target that is malformed": [["CONNECT 0x7f.1:443"], 1, { reason: "bad_request", status: 400 }],
  };
  test.each(Object.entries(verdicts))("decides %s", async (_, [args, exit, fields]) => {
    const result = await explain([...args, "--json"]);
    expect(JSON.parse(result.stdout)).toMatchObject(fields);
    expect(result.exit).toBe(exit);
    const text = await explain(args);
    expect(text.exit).toBe(exit);
  });

  const fates: Readonly<Record<string, readonly [args: readonly string[], fates: readonly string[]]>> = {
    "a narrower pattern before a broader one": [
      ["GET http://a.download.windowsupdate.com/"],
      ["windows-update/download decides", "windows-update/windowsupdate lost: less specific"],
    ],
    "a rule that has expired": [
      ["CONNECT old.vendor.example:443"],
      ["site/old lost: expired, its last day was 2026-01-31"],
    ],
    "a rule for other clients": [["CONNECT a.corp.example:8531"], ["site/wsus lost: only for servers"]],
    "a pack that is used for other clients": [
      ["CONNECT api.automox.com:443"],
      ["automox/agent lost: only for servers"],
    ],
    "a deny of the same pattern": [
      ["CONNECT fe2.update.microsoft.com:443", "--client", "10.30.0.1"],
      ["site/no-telemetry decides", "windows-update/update-services lost: of the same pattern, a deny wins"],
    ],
  };
  test.each(Object.entries(fates))("lists %s", async (_, [args, expected]) => {
    const { covering } = await told(args);
    expect(covering.flatMap(({ rules }) => rules.map(({ rule, message }) => `${rule} ${message}`))).toEqual(expected);
  });

  test("lists the narrower rules of packs that a site's broader deny beats, and a deny that only reports", async () => {
    const policy = (mode: string): string =>
      `version: 1\nname: site\nuse: [windows-update]\nrules:\n  - { id: none, action: deny, hosts: ["*.microsoft.com"]${mode} }\n`;
    const enforced = await told(["CONNECT fe2.update.microsoft.com:443"], policy(""));
    expect(enforced.covering.map(({ pattern, rules }) => [pattern, ...rules.map(({ fate }) => fate)])).toEqual([
      ["*.update.microsoft.com", "site_deny"],
      ["*.microsoft.com", "decides"],
    ]);
    const reported = await told(["CONNECT fe2.update.microsoft.com:443"], policy(", mode: report"));
    expect(reported).toMatchObject({ verdict: "allow", would: "deny", reason: "rule_denied" });
    expect(reported.covering.map(({ rules }) => rules.map(({ fate }) => fate))).toEqual([["carries"], ["decides"]]);
  });

  const usage: Readonly<Record<string, readonly [args: readonly string[], error: string, hint?: string]>> = {
    "no request": [
      [],
      "the request is missing",
      'sallyport explain "CONNECT host:port" or "GET http://host/path"; --ndjson reads many',
    ],
    "a request that --resolved has swallowed": [
      ["--resolved", "10.0.0.1", "CONNECT a.example:443"],
      "the request is missing",
      "put it first: --resolved takes all words behind it",
    ],
    "a bare URL": [["http://a.example/x"], '"http://a.example/x" is no request', 'write "GET http://a.example/x"'],
    "a bare https URL": [
      ["https://a.example/x"],
      '"https://a.example/x" is no request',
      'write "CONNECT a.example:443"',
    ],
    "a bare authority": [["a.example:22"], '"a.example:22" is no request', 'write "CONNECT a.example:22"'],
    "a line with its version": [
      ["GET http://a.example/ HTTP/1.1"],
      '"GET http://a.example/ HTTP/1.1" is no request',
      'write "GET http://a.example/"',
    ],
    "a client that is no address": [["CONNECT a.example:443", "--client", "kiosk"], "--client kiosk is no IP address"],
    "a group that does not exist": [
      ["CONNECT a.example:443", "--group", "server"],
      "--group server is no group: one of servers, kiosks",
      "write --group servers",
    ],
    "another spelling of a version": [
      ["CONNECT a.example:443", "--tls", "TLSv1.2"],
      "--tls TLSv1.2 is no TLS version: one of 1.0, 1.1, 1.2, 1.3",
      "write --tls 1.2",
    ],
    "a moment that is none": [
      ["CONNECT a.example:443", "--time", "2026-02-31"],
      "--time 2026-02-31 is no moment: 2027-03-01 or 2027-03-01T12:00:00Z, in UTC",
    ],
    "a hello on plain HTTP": [
      ["GET http://a.example/", "--tls", "1.2"],
      "--tls has no place here: only a CONNECT carries a ClientHello",
    ],
    "a range in a tunnel": [
      ["CONNECT a.example:443", "--range", "bytes=0-1"],
      "--range has no place here: what goes through a tunnel is not the proxy's to see",
    ],
    "a request beside --ndjson": [
      ["CONNECT a.example:443", "--ndjson"],
      "--ndjson reads its requests from standard input",
      "leave the request out",
    ],
    "an option of one request beside --ndjson": [
      ["--ndjson", "--client", "10.0.0.1"],
      "option '--ndjson' cannot be used with option '--client <address>'",
      "sallyport --help lists the commands",
    ],
  };
  test.each(Object.entries(usage))("refuses %s", async (_, [args, error, hint]) => {
    const { exit, stdout, stderr } = await explain(args);
    expect(stderr).toBe(`sallyport: error: ${error}\n${hint === undefined ? "" : `sallyport: hint: ${hint}\n`}`);
    expect([exit, stdout]).toEqual([2, ""]);
  });

  test("exits 3 on an invalid file, in either form", async () => {
    const policy = "version: 1\nname: site\nrules: [{ id: x }]\n";
    for (const form of [["CONNECT a.example:443"], ["--ndjson"]]) {
      const { exit, stdout, stderr } = await explain(form, policy);
      expect([exit, stdout]).toEqual([3, ""]);
      expect(stderr).toContain("site.yaml:3:");
    }
  });

  test("says so where it explains the default policy", async () => {
    const { exit, stderr } = await run(["explain", "CONNECT api.automox.com:443"]);
    expect(exit).toBe(0);
    expect(stderr).toBe(
      "sallyport: hint: no configuration was found: this is the default policy, the packs of every vendor\n",
    );
  });
});

describe("what would have to change", () => {
  const asked: Readonly<Record<string, readonly string[]>> = {
    "a host that nothing covers": ["CONNECT www.example.com:8443", "--tls", "1.1"],
    "the same without a server name, in a private network": [
      "CONNECT www.example.com:443",
      "--no-sni",
      "--tls",
      "1.2",
      "--resolved",
      "10.0.0.1",
    ],
    "a range from a host that nothing covers": ["GET http://www.example.com:8080/x", "--range", "bytes=0-1"],
    "an address": ["CONNECT [2001:db8::1]:443", "--tls", "1.2"],
    "an address of a listed block, on another port": ["CONNECT 192.0.2.9:22", "--no-tls"],
    "https where http is expected": ["CONNECT tlu.dl.delivery.mp.microsoft.com:443"],
    "http where https is expected": ["GET http://fe2.update.microsoft.com/"],
    "another port": ["CONNECT fe2.update.microsoft.com:8443"],
    "a method, of a site's rule": ["GET http://a.corp.example:80/", "--client", "10.20.0.1"],
    "a range that a pack denies": ["GET http://emdl.ws.microsoft.com/", "--range", "bytes=0-1"],
    "an old client of a pack": ["CONNECT fe2.update.microsoft.com:443", "--tls", "1.1"],
    "a server that negotiates less, of a pack": ["CONNECT fe2.update.microsoft.com:443", "--server-tls", "1.0"],
    "a missing server name, of a pack": ["CONNECT fe2.update.microsoft.com:443", "--no-sni"],
    "no TLS, of a pack": ["CONNECT fe2.update.microsoft.com:443", "--no-tls"],
    "a private address, of a pack": ["CONNECT fe2.update.microsoft.com:443", "--resolved", "10.0.0.1"],
    "a loopback address, of a pack": ["CONNECT fe2.update.microsoft.com:443", "--resolved", "127.0.0.1"],
    "a deny rule, whose neighbour is asked for": ["CONNECT x.update.microsoft.com:443", "--client", "10.30.0.1"],
  };
  test.each(Object.entries(asked))("a rule that is proposed for %s makes it allowed", async (_, args) => {
    const { verdict, remedies } = await told(args);
    expect(verdict).toBe("deny");
    const rules = remedies.flatMap(({ rule }) => rule ?? []);
    expect(rules).toHaveLength(1);
    const amended = site.replace("rules:\n", `rules:\n  ${rules[0]}\n`);
    const after = await explain([...args, "--json"], amended);
    expect(after.stderr).toBe("");
    expect(JSON.parse(after.stdout)).toMatchObject({ verdict: "allow", reason: "allowed" });
  });

  const texts: Readonly<Record<string, readonly [args: readonly string[], texts: readonly string[]]>> = {
    "a site's own rule is changed where it stands": [
      ["CONNECT portal.vendor.example:443", "--tls", "1.2"],
      ["let the client offer TLS 1.3 or later", 'write tls_min: "1.2" into site/portal (site.yaml:16)'],
    ],
    "encrypted hellos": [
      ["CONNECT portal.vendor.example:443", "--ech"],
      ["switch Encrypted ClientHello off in the client", "write ech: allow into site/portal (site.yaml:16)"],
    ],
    "a method": [
      ["POST http://files.vendor.example/pub/x"],
      ["use GET; methods are case-sensitive", "write methods: [GET, POST] into site/listing (site.yaml:25)"],
    ],
    "a method that no rule can have": [
      ["TRACE http://files.vendor.example/pub/x"],
      ["use GET; methods are case-sensitive"],
    ],
    "a path": [
      ["GET http://files.vendor.example/etc/x?y"],
      ["ask for a path that /pub/** covers", 'write paths: ["/pub/**", "/etc/x"] into site/listing (site.yaml:25)'],
    ],
    "a path that reads in two ways": [
      ["GET http://files.vendor.example/%2e%2e/x"],
      ["ask for a path that /pub/** covers"],
    ],
    "a group": [
      ["CONNECT a.corp.example:8531"],
      [
        "ask from a client in the group servers, or put this client there",
        "name a group of this client in clients of site/wsus (site.yaml:10)",
      ],
    ],
    "a group of a pack's use": [
      ["CONNECT api.automox.com:443"],
      [
        "ask from a client in the group servers, or put this client there",
        "name a group of this client in clients where the pack automox is used",
      ],
    ],
    "a Host field": [
      ["GET http://emdl.ws.microsoft.com/", "--host", "x.example"],
      ["send the Host of the target: emdl.ws.microsoft.com"],
    ],
    "a Host field that cannot be read": [
      ["GET http://emdl.ws.microsoft.com/", "--host", "a b"],
      ["send a Host field that can be read: emdl.ws.microsoft.com"],
    ],
    "a missing port": [
      ["CONNECT fe2.update.microsoft.com"],
      ["name the port as well: CONNECT fe2.update.microsoft.com:443"],
    ],
    "an https URL": [
      ["GET https://fe2.update.microsoft.com/x"],
      ["use CONNECT fe2.update.microsoft.com:443, as clients do for https"],
    ],
    "a path alone": [["GET /x"], ["name the whole URL, as a client of a proxy does: http://HOST/PATH"]],
    "a URL without its scheme": [["GET a.example/x"], ["name the whole URL: GET http://a.example/x"]],
    "a server name that the rule does not decide": [
      ["CONNECT a.covered.example:443", "--sni", "www.example.com"],
      [
        "let the client send the server name a.covered.example",
        "ask for the tunnel by the server name: CONNECT www.example.com:443",
        "write www.example.com into hosts of site/covered (site.yaml:21)",
      ],
    ],
    "an expired rule": [
      ["CONNECT old.vendor.example:443"],
      ["write a later day into expires of site/old (site.yaml:30)", "add a rule to a site policy"],
    ],
  };
  test.each(Object.entries(texts))("%s", async (_, [args, expected]) => {
    const { remedies } = await told(args);
    expect(remedies.map(({ text }) => text)).toEqual(expected);
  });

  test("nothing has to, where a request is allowed", async () => {
    expect((await told(["GET http://emdl.ws.microsoft.com/"])).remedies).toEqual([]);
  });
});

describe("explain --ndjson", () => {
  const answers = async (stdin: Readable | string, io: object = {}): Promise<readonly unknown[]> => {
    const { stdout, exit } = await run(["explain", "--ndjson", "--policy", "site.yaml"], {
      files: { "site.yaml": site },
      stdin,
      io,
    });
    expect(exit).toBe(0);
    expect(stdout === "" || stdout.endsWith("\n")).toBe(true);
    return stdout
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as unknown);
  };
  const unreadable = { verdict: "deny", reason: "bad_request", stage: "request", status: 400 };
  const allowed = { method: "GET", target: "http://emdl.ws.microsoft.com/" };
  const tunnel = { method: "CONNECT", target: "portal.vendor.example:443" };

  const lines: Readonly<Record<string, readonly [line: object, answer: object]>> = {
    "an allowed request": [
      allowed,
      { verdict: "allow", reason: "allowed", rule: "windows-update/do-metadata", stage: "request" },
    ],
    "a denial": [
      { method: "CONNECT", target: "tlu.dl.delivery.mp.microsoft.com:443", client: "10.20.1.4" },
      {
        verdict: "deny",
        reason: "scheme_mismatch",
        rule: "windows-update/payload",
        nearest: "windows-update/payload",
        stage: "request",
        status: 403,
      },
    ],
    "a denial in report mode": [
      { method: "CONNECT", target: "tlu.dl.delivery.mp.microsoft.com:443", client: "10.30.1.4" },
      {
        verdict: "allow",
        would: "deny",
        reason: "scheme_mismatch",
        rule: "windows-update/payload",
        nearest: "windows-update/payload",
        mode: "report",
        stage: "request",
      },
    ],
    "a host that nothing covers": [
      { method: "CONNECT", target: "www.example.com:443" },
      { verdict: "deny", reason: "no_rule", stage: "request", status: 403 },
    ],
    "a hello without a server name": [
      { ...tunnel, sni: null },
      {
        verdict: "deny",
        reason: "sni_missing",
        rule: "site/portal",
        nearest: "site/portal",
        stage: "tunnel",
        alert: 112,
      },
    ],
    "bytes that are no TLS": [
      { ...tunnel, tls: null },
      { verdict: "deny", reason: "not_tls", rule: "site/portal", nearest: "site/portal", stage: "tunnel", alert: null },
    ],
    "the target's server name, with tls alone": [
      { ...tunnel, tls: "1.3" },
      { verdict: "allow", reason: "allowed", rule: "site/portal", stage: "tunnel" },
    ],
    "the floor, with sni alone": [
      { ...tunnel, sni: "portal.vendor.example" },
      { verdict: "allow", reason: "allowed", rule: "site/portal", stage: "tunnel" },
    ],
    "one address": [
      { ...tunnel, resolved: "10.0.0.1" },
      {
        verdict: "deny",
        reason: "address_denied",
        rule: "site/portal",
        nearest: "site/portal",
        stage: "dial",
        status: 403,
      },
    ],
    "several addresses": [
      { ...tunnel, resolved: ["10.0.0.1", "93.184.215.14"] },
      { verdict: "allow", reason: "allowed", rule: "site/portal", stage: "dial" },
    ],
    "a group": [
      { method: "CONNECT", target: "a.corp.example:8531", group: "servers" },
      { verdict: "allow", reason: "allowed", rule: "site/wsus", stage: "request" },
    ],
    "a moment": [
      { method: "CONNECT", target: "old.vendor.example:443", time: "2026-01-01" },
      { verdict: "allow", reason: "allowed", rule: "site/old", stage: "request" },
    ],
    "ech and server_tls": [
      { ...tunnel, server_tls: "1.2" },
      {
        verdict: "deny",
        reason: "tls_downgrade",
        rule: "site/portal",
        nearest: "site/portal",
        stage: "tunnel",
        alert: 70,
      },
    ],
    "keys that it does not know": [
      { ...allowed, trace_id: 7 },
      { verdict: "allow", reason: "allowed", rule: "windows-update/do-metadata", stage: "request" },
    ],
  };
  test.each(Object.entries(lines))("answers %s", async (_, [line, answer]) => {
    expect(await answers(`${JSON.stringify(line)}\n`)).toEqual([answer]);
  });

  const broken: Readonly<Record<string, string>> = {
    "no JSON": "GET http://emdl.ws.microsoft.com/",
    "an empty line": "",
    "a list": "[]",
    "a text": '"x"',
    null: "null",
    "half an object": '{"method":"GET"',
    "no method": JSON.stringify({ target: allowed.target }),
    "no target": JSON.stringify({ method: "GET" }),
    "a number for a method": JSON.stringify({ ...allowed, method: 1 }),
    "a null where null means nothing": JSON.stringify({ ...allowed, range: null }),
    "a client that is no address": JSON.stringify({ ...allowed, client: "kiosk" }),
    "a client with a zone": JSON.stringify({ ...allowed, client: "fe80::1%eth0" }),
    "a TLS version that is none": JSON.stringify({ ...tunnel, tls: "1.4" }),
    "a TLS version as a number": JSON.stringify({ ...tunnel, tls: 1.2 }),
    "a name of Object's prototype as a version": JSON.stringify({ ...tunnel, tls: "constructor" }),
    "ech that is no boolean": JSON.stringify({ ...tunnel, ech: "yes" }),
    "no addresses": JSON.stringify({ ...tunnel, resolved: [] }),
    "an address among others that is none": JSON.stringify({ ...tunnel, resolved: ["10.0.0.1", null] }),
    "a group that does not exist": JSON.stringify({ ...allowed, group: "nobody" }),
    "a day that does not exist": JSON.stringify({ ...allowed, time: "2026-02-30" }),
    "a malformed target": JSON.stringify({ method: "CONNECT", target: "0x7f.1:443" }),
    "a line that is too long": `${JSON.stringify(allowed)}${" ".repeat(maxLineBytes)}`,
  };
  test.each(Object.entries(broken))("answers %s with bad_request, and goes on", async (_, line) => {
    const good = JSON.stringify(allowed);
    expect(await answers(`${good}\n${line}\n${good}\n`)).toMatchObject([
      { verdict: "allow" },
      unreadable,
      { verdict: "allow" },
    ]);
  });

  test("bytes that are no UTF-8 are unreadable", async () => {
    expect(await answers(Readable.from([Buffer.from([0x7b, 0xff, 0x7d, 0x0a])]))).toEqual([unreadable]);
  });

  test("a line of exactly the longest length is read", async () => {
    const text = JSON.stringify(allowed);
    const line = `${text}${" ".repeat(maxLineBytes - text.length)}`;
    expect(await answers(line)).toMatchObject([{ verdict: "allow" }]);
    expect(await answers(`${line} `)).toEqual([unreadable]);
  });

  test("takes lines in whatever pieces they come, with a byte order mark, CRLF, and no newline at the end", async () => {
    const bytes = Buffer.from(`\ufeff${JSON.stringify(allowed)}\r\n\n${JSON.stringify({ ...tunnel, sni: "ü" })}`);
    const whole = await answers(Readable.from([bytes]));
    expect(whole).toMatchObject([{ verdict: "allow" }, unreadable, { reason: "sni_mismatch" }]);
    expect(await answers(Readable.from(Array.from(bytes, (byte) => Buffer.of(byte))))).toEqual(whole);
  });

  test("answers nothing to nothing", async () => {
    expect(await answers("")).toEqual([]);
  });

  test("answers each piece as it comes, before the input ends", async () => {
    const input = new Readable({ read: () => {} });
    let tell: (text: string) => void = () => {};
    const written = new Promise<string>((fulfil) => (tell = fulfil));
    const ended = run(["explain", "--ndjson", "--policy", "site.yaml"], {
      files: { "site.yaml": site },
      stdin: input,
      io: { stdout: tell },
    });
    input.push(`${JSON.stringify(allowed)}\n`);
    expect(JSON.parse(await written)).toMatchObject({ verdict: "allow" });
    input.push(null);
    expect((await ended).exit).toBe(0);
  });

  test("reads no further while its own reader is slow, and stops quietly when that has gone", async () => {
    const chunk = Buffer.from(`${JSON.stringify(allowed)}\n`.repeat(100));
    let given = 0;
    const input = Readable.from(
      (function* () {
        for (; given < 1000; given++) yield chunk;
      })(),
      { highWaterMark: 1 },
    );
    let written = 0;
    let asked = 0;
    const { exit, stderr } = await run(["explain", "--ndjson", "--policy", "site.yaml"], {
      files: { "site.yaml": site },
      stdin: input,
      io: {
        stdout: () => void written++,
        // The third time the reader has gone.
        stdoutReady: () => Promise.resolve(++asked < 3),
      },
    });
    expect([exit, stderr, written]).toEqual([1, "", 3]);
    expect(given).toBeLessThan(10);
    expect(input.destroyed).toBe(true);
  });

  test("an input that breaks off is an error, after the answers so far", async () => {
    const input = Readable.from(
      (function* () {
        yield Buffer.from(`${JSON.stringify(allowed)}\n`);
        throw new Error("gone");
      })(),
    );
    const { exit, stdout, stderr } = await run(["explain", "--ndjson", "--policy", "site.yaml"], {
      files: { "site.yaml": site },
      stdin: input,
    });
    expect(exit).toBe(1);
    expect(stdout.split("\n")).toHaveLength(2);
    expect(stderr).toBe("sallyport: error: standard input cannot be read: gone\n");
  });
});
