import { describe, expect, test } from "vitest";
import { type SettingsLoaded, loadSettings } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import type { Flags } from "../../../src/config/overrides.ts";
import { checkGroupReferences } from "../../../src/config/read-groups.ts";
import { defaultSettings } from "../../../src/config/read-settings.ts";
import type { Settings } from "../../../src/config/settings.ts";
import { filesInMemory } from "../../support/memory-files.ts";

const token = "0123456789abcdef0123456789abcdef";

function load(text: string | undefined, flags: Flags = {}, env: Readonly<Record<string, string>> = {}): SettingsLoaded {
  const disk = filesInMemory({
    "etc/sallyport.yaml": `version: 1\n${text ?? ""}`,
    "etc/admin.token": `${token}\n`,
    "etc/short.token": "abc\n",
    "etc/users.htpasswd": `# people\n\nkiosk:${bcryptHash()}\r\nadmin:${bcryptHash("2b")}\n`,
    "etc/weak.htpasswd": [
      "# all kinds",
      "sha:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
      "md5:$apr1$abcdefgh$0123456789012345678901",
      "plain:secret",
      "nobody",
      `twice:${bcryptHash()}`,
      `twice:${bcryptHash()}`,
      `slow:${bcryptHash("2y", 20)}`,
      "cut:$2y$10$abc",
    ].join("\n"),
    "etc/empty.htpasswd": "# nobody yet\n",
  });
  return loadSettings({ path: text === undefined ? undefined : "etc/sallyport.yaml", flags, env, ...disk });
}

function bcryptHash(version = "2y", cost = 10): string {
  return `$${version}$${cost}$${"k".repeat(53)}`;
}

function settingsOf(result: SettingsLoaded): Settings {
  if (result.kind === "loaded") return result.settings;
  throw new Error(result.problems.map(formatProblem).join("\n"));
}

function problemsOf(result: SettingsLoaded): string[] {
  return result.kind === "loaded" ? [] : result.problems.map(formatProblem);
}

test("without a file, and with an empty one, every default holds", () => {
  expect(settingsOf(load(undefined))).toEqual(defaultSettings);
  expect(settingsOf(load(""))).toEqual(defaultSettings);
});

test("the defaults written out are the defaults", () => {
  const written = `listen: [{ kind: proxy, address: 127.0.0.1:3128 }]
admin: { address: 127.0.0.1:9180, names: [] }
workers: 1
via: auto
dns: { servers: [], hosts: {}, timeout: 5s, negative_ttl: 5s }
connect_to: []
parents: []
limits: { connections: 20000, per_client: 1000, head: 32KiB, fields: 128, head_timeout: 10s, hello: 64KiB, hello_timeout: 10s, dial_timeout: 10s,
          response_head_timeout: 60s, body_idle_timeout: 120s, keepalive_timeout: 65s, drain_timeout: 30s }
reload: { watch: true, on_revoke: keep }
log: { level: info, allowed: true, paths: false, file: "-" }
denials: { explain: full, top: 20 }
pac: { otherwise: proxy }
`;
  expect(settingsOf(load(written))).toEqual(defaultSettings);
});

test("every key of a listener is read, with the files that it names", () => {
  const { listen } = settingsOf(
    load(`listen:
  - { kind: proxy, address: 0.0.0.0:1, auth: { basic: users.htpasswd }, proxy_protocol: { from: [10.0.0.5, "2001:db8::/32"] } }
  - { kind: sni, address: 0.0.0.0:2 }
  - { kind: sni, address: 0.0.0.0:3, port: 8443 }
  - { kind: http, address: 0.0.0.0:4, proxy_protocol: { from: [0.0.0.0/0] } }
  - { kind: http, address: 0.0.0.0:5, port: 8530 }
`),
  );
  expect(listen.map(({ kind, port, proxyProtocol, auth, tls }) => ({ kind, port, proxyProtocol, auth, tls }))).toEqual([
    {
      kind: "proxy",
      port: 443,
      proxyProtocol: [
        expect.objectContaining({ text: "10.0.0.5/32" }),
        expect.objectContaining({ text: "2001:db8::/32" }),
      ],
      auth: new Map([
        ["kiosk", bcryptHash()],
        ["admin", bcryptHash("2b")],
      ]),
    },
    { kind: "sni", port: 443, proxyProtocol: null },
    { kind: "sni", port: 8443, proxyProtocol: null },
    { kind: "http", port: 80, proxyProtocol: [expect.objectContaining({ text: "0.0.0.0/0" })] },
    { kind: "http", port: 8530, proxyProtocol: null },
  ]);
});

test("an address that is overridden keeps what else its listener asks for", () => {
  const file =
    "listen: [{ kind: proxy, address: 127.0.0.1:1, auth: { basic: users.htpasswd } }, { kind: sni, address: 127.0.0.1:2 }]\n";
  const { listen } = settingsOf(load(file, { listen: ["127.0.0.1:21", "127.0.0.1:22"] }));
  expect(listen.map(({ kind, address, auth }) => [kind, address.port, auth?.size])).toEqual([
    ["proxy", 21, 2],
    ["proxy", 22, 2],
    ["sni", 2, undefined],
  ]);
});

test("every key is read, in base units, and paths are relative to the file", () => {
  const settings = settingsOf(
    load(`listen: [{ kind: proxy, address: "[::1]:3128", clients: [servers] }, { kind: proxy, address: 0.0.0.0:0 }]
admin: { address: 10.0.0.1:9180, names: [Sallyport.corp.example], token_file: admin.token }
policy: [policies/site.yaml, /abs/site.yaml]
via: gate-1
dns: { servers: [10.0.0.53, "[2001:db8::53]:5353"], hosts: { a.example.com: 10.0.0.1, "*.b.example.com": [10.0.0.2, "2001:db8::2"] }, timeout: 2s, negative_ttl: 0s }
connect_to: ["a.example.com:443:10.1.1.1:8443", "*:80:[2001:db8::1]:", "*.x::10.1.1.2:", "[2001:db8::9]:443:10.1.1.3:443"]
limits: { connections: 10, per_client: 5, head: 8KiB, fields: 64, head_timeout: 1s, hello: 16KiB, hello_timeout: 500ms, dial_timeout: 3s,
          response_head_timeout: 4s, body_idle_timeout: 1m, keepalive_timeout: 2m, drain_timeout: 0s }
reload: { watch: false, on_revoke: drain }
log: { level: debug, allowed: false, paths: true, file: logs/access.log }
denials: { explain: id, top: 0 }
`),
  );
  expect(settings).toMatchObject({
    listen: [
      { kind: "proxy", address: { host: "::1", port: 3128 }, clients: ["servers"] },
      { kind: "proxy", address: { host: "0.0.0.0", port: 0 }, clients: null },
    ],
    admin: { address: { host: "10.0.0.1", port: 9180 }, names: ["sallyport.corp.example"], token },
    policy: ["etc/policies/site.yaml", "/abs/site.yaml"],
    via: "gate-1",
    dns: {
      servers: ["10.0.0.53", "[2001:db8::53]:5353"],
      hosts: [
        { name: "a.example.com", wildcard: false, addresses: [{ text: "10.0.0.1" }] },
        { name: "b.example.com", wildcard: true, addresses: [{ text: "10.0.0.2" }, { text: "2001:db8::2" }] },
      ],
      timeoutMs: 2000,
      negativeTtlMs: 0,
    },
    connectTo: [
      { host: { name: "a.example.com", wildcard: false }, port: 443, address: { text: "10.1.1.1" }, toPort: 8443 },
      { host: undefined, port: 80, address: { text: "2001:db8::1" }, toPort: undefined },
      { host: { name: "x", wildcard: true }, port: undefined, address: { text: "10.1.1.2" }, toPort: undefined },
      { host: { name: "2001:db8::9", wildcard: false }, port: 443, address: { text: "10.1.1.3" }, toPort: 443 },
    ],
    limits: {
      connections: 10,
      perClient: 5,
      headBytes: 8192,
      fields: 64,
      headTimeoutMs: 1000,
      helloBytes: 16_384,
      helloTimeoutMs: 500,
      dialTimeoutMs: 3000,
      responseHeadTimeoutMs: 4000,
      bodyIdleTimeoutMs: 60_000,
      keepaliveTimeoutMs: 120_000,
      drainTimeoutMs: 0,
    },
    reload: { watch: false, onRevoke: "drain" },
    log: { level: "debug", allowed: false, paths: true, file: "etc/logs/access.log" },
    denials: { explain: "id", top: 0 },
  });
});

describe("one mistake, and its problem", () => {
  test.each<[text: string, ...problems: RegExp[]]>([
    ["listne: []\n", /^etc\/sallyport.yaml:2:1: error: `listne` is no key here: did you mean listen\?/],
    [
      "listen: [{ kind: socks, address: 0.0.0.0:1080 }]\n",
      /2:18: error: `socks` is unknown: one of proxy, sni, http, pac/,
    ],
    [
      "listen: [{ kind: proxy, address: 0.0.0.0:1, tls: {}, auth: {}, proxy_protocol: {} }]\n",
      /`tls` has no cert/,
      /`tls` has no key/,
      /`auth` has no basic/,
      /`proxy_protocol` has no from/,
    ],
    ["listen: [{ kind: proxy, address: 0.0.0.0:1, port: 443 }]\n", /`port` is for kinds sni and http/],
    [
      "listen: [{ kind: sni, address: 0.0.0.0:1, port: 0, auth: { basic: users.htpasswd } }]\n",
      /`0` is too small: at least 1/,
      /`auth` is for kind proxy: a client that was redirected/,
    ],
    [
      "listen: [{ kind: proxy, address: 0.0.0.0:1 }, { kind: pac, address: 0.0.0.0:2, proxy_protocol: { from: [10.0.0.5] } }]\n",
      /`proxy_protocol` is not for kind pac/,
    ],
    [
      "listen: [{ kind: proxy, address: 0.0.0.0:1, proxy_protocol: { from: [10.0.0.5/8, lb.example.com] } }]\n",
      /`10.0.0.5\/8` has bits set beyond its prefix/,
      /`lb.example.com` is no address and no CIDR block/,
    ],
    [
      "listen: [{ kind: proxy, address: 0.0.0.0:1, tls: { cert: none.pem, key: admin.token } }]\n",
      /`none.pem` does not exist \(as etc\/none.pem\)/,
    ],
    [
      "listen: [{ kind: proxy, address: 0.0.0.0:1, tls: { cert: admin.token, key: admin.token } }]\n",
      /^(?!.*0123456789).*`admin.token` holds no certificate that can be read/,
      /^(?!.*0123456789).*`admin.token` holds no key in PEM/,
    ],
    [
      "listen: [{ kind: proxy, address: 0.0.0.0:1, auth: { basic: weak.htpasswd } }]\n",
      /^etc\/weak.htpasswd:2:1: error: `sha` has an unsalted SHA-1 hash: htpasswd -B FILE sha writes a bcrypt hash$/,
      /^etc\/weak.htpasswd:3:1: error: `md5` has an MD5 hash/,
      /^etc\/weak.htpasswd:4:1: error: `plain` has no bcrypt hash(?!.*secret)/,
      /^etc\/weak.htpasswd:5:1: error: is no user/,
      /^etc\/weak.htpasswd:7:1: error: `twice` has a line above already/,
      /^etc\/weak.htpasswd:8:1: error: `slow` has a bcrypt hash of cost 20/,
      /^etc\/weak.htpasswd:9:1: error: `cut` has a bcrypt hash that is not whole/,
    ],
    [
      "listen: [{ kind: proxy, address: 0.0.0.0:1, auth: { basic: empty.htpasswd } }]\n",
      /`empty.htpasswd` has no user: htpasswd -B adds one/,
    ],
    ["listen: [{ kind: proxy, address: 3128 }]\n", /`3128` is read by YAML as a number/],
    [
      'listen: [{ kind: proxy, address: "3128" }]\n',
      /`3128` is no address with a port.*\n {2}hint: write 127.0.0.1:3128$/,
    ],
    [
      'listen: [{ kind: proxy, address: ":3128" }]\n',
      /`:3128` does not say which address.*\n {2}hint: write 0.0.0.0:3128$/,
    ],
    [
      "listen: [{ kind: proxy, address: localhost:3128 }]\n",
      /names are not looked up here\n {2}hint: write 127.0.0.1:3128$/,
    ],
    [
      'listen: [{ kind: proxy, address: "::1:3128" }]\n',
      /is no address with a port.*\n {2}hint: write "\[::1\]:3128"$/,
    ],
    ["listen: [{ kind: proxy, address: 127.0.0.1:70000 }]\n", /`127.0.0.1:70000` has no port from 0 to 65535/],
    [
      "listen: [{ kind: proxy, address: 127.0.0.1:1 }, { kind: proxy, address: 127.0.0.1:1 }]\n",
      /`127.0.0.1:1` is the address of a listener above already/,
    ],
    ["listen: []\n", /`\[\]` is empty/],
    ["workers: 0\n", /`0` is too small: at least 1\n {2}hint: write 1$/],
    ["workers: x\n", /`x` is a single value: a number or auto is needed$/],
    ["workers: 1.5\n", /`1.5` is a single value: a whole number or auto is needed$/],
    ["workers: 100000\n", /`100000` is too large: at most 256\n {2}hint: write 256$/],
    ['workers: "2"\n', /`2` is a single value: a number or auto is needed$/],
    ["parents: [{ hosts: [a], via: b }]\n", /`b` is no parent proxy/],
    ["reload: { watch: maybe, on_revoke: drop }\n", /`maybe` is no boolean|`maybe`/, /`drop`.*keep/],
    [
      "denials: { top: 101, explain: ful }\n",
      /`101` is too large: at most 100\n {2}hint: write 100/,
      /`ful` is unknown.*\n {2}hint: write full/,
    ],
    ["pac: { otherwise: direct }\n", /`direct` is no word for it\n {2}hint: write DIRECT$/],
    ['pac: { otherwise: "proxy A.example:1" }\n', /is no word for it\n {2}hint: write "PROXY a.example:1"$/],
    ['pac: { otherwise: "PROXY a.example" }\n', /is none of proxy, DIRECT and "PROXY host:port"$/],
    ['pac: { otherwise: "PROXY a.example:1; DIRECT" }\n', /is none of proxy, DIRECT and "PROXY host:port"$/],
    ["listen: [{ kind: pac, address: 127.0.0.1:8000 }]\n", /`pac` has no listener of kind proxy that it could name$/],
    ["via: two words\n", /`two words` is no pseudonym for Via.*\n {2}hint: write two-words/],
    ["admin: { token_file: none.token }\n", /`none.token` does not exist \(as etc\/none.token\)/],
    ["admin: { token_file: short.token }\n", /^(?!.*abc).*`short.token` holds a token of fewer than 16 characters$/],
    [
      "admin: { names: [bücher.example] }\n",
      /`bücher.example` is no host name\n {2}hint: write xn--bcher-kva.example$/,
    ],
    ["dns: { servers: [dns.example.com] }\n", /`dns.example.com` is no IP address of a resolver/],
    ["dns: { hosts: { a..b: 10.0.0.1, c: d } }\n", /`a..b` is no host name and no \*.name/, /`d` is no IP address/],
    ["dns: { hosts: { a.b: 10.0.0.1, A.b: 10.0.0.1 } }\n", /`A.b` is the same name as a.b/],
    ["dns:\n  hosts:\n    *.b: 10.0.0.1\n", /4:5: error: `\*.b` is a YAML alias; quote it: "\*.b"/],
    ["dns: { timeout: 5 }\n", /`5` is no duration.*\n {2}hint: write 5s/],
    [
      'connect_to: ["a:1:b.example.com:2", "a:b", "a:0:10.0.0.1:2", "a b:1:10.0.0.1:2"]\n',
      /has no IP address in its third part/,
      /is not HOST:PORT:ADDRESS:PORT/,
      /has no port from 1 to 65535/,
      /begins with no host name/,
    ],
    [
      "limits: { head: 32KB, hello: 1KiB, fields: 1, head_timeout: 1ms, dial_timeout: 100h, connections: many }\n",
      /`32KB` is no size.*\n {2}hint: write 32KiB/,
      /`1KiB` is too small: at least 4KiB/,
      /`1` is too small: at least 16/,
      /`1ms` is too small: at least 100ms/,
      /`100h` is too large: at least|`100h` is too large: at most 10m/,
      /`many` is a single value: a whole number is needed|`many` is a single value: a number is needed/,
    ],
    ["rules: []\n", /`rules` belongs to a site policy/],
    [
      "log: { level: verbose, file: 1 }\n",
      /`verbose` is unknown: one of debug, info, warn, error is needed/,
      /`1` is read by YAML as a number/,
    ],
  ])("%s", (text, ...problems) => {
    expect(problemsOf(load(text))).toEqual(problems.map((problem) => expect.stringMatching(problem)));
  });

  test("a file that does not exist", () => {
    const result = loadSettings({ path: "none.yaml", flags: {}, env: {}, ...filesInMemory({}) });
    expect(problemsOf(result)).toEqual(["none.yaml:1:1: error: `none.yaml` does not exist"]);
  });

  test("the policy is known although something else is wrong", () => {
    expect(load("policy: [site.yaml]\nworkers: 0\n")).toMatchObject({ kind: "problems", policy: ["etc/site.yaml"] });
  });
});

describe("flags before environment before file", () => {
  const file =
    "listen: [{ kind: proxy, address: 127.0.0.1:1, clients: [servers] }]\nadmin: { address: 127.0.0.1:2 }\npolicy: [file.yaml]\nlog: { level: warn, file: a.log }\n";
  const env = {
    SALLYPORT_LISTEN: "127.0.0.1:11, [::1]:12",
    SALLYPORT_ADMIN: "127.0.0.1:13",
    SALLYPORT_POLICY: "x.yaml,y.yaml",
    SALLYPORT_LOG_LEVEL: "error",
    SALLYPORT_LOG_FILE: "b.log",
    SALLYPORT_VIA: "ignored",
  };
  const portsOf = (settings: Settings) => settings.listen.map((listener) => listener.address.port);

  test("the environment", () => {
    const settings = settingsOf(load(file, {}, env));
    expect(settings).toMatchObject({
      admin: { address: { port: 13 } },
      policy: ["x.yaml", "y.yaml"],
      log: { level: "error", file: "b.log" },
      via: "auto",
    });
    expect(portsOf(settings)).toEqual([11, 12]);
  });

  test("the flags", () => {
    const settings = settingsOf(
      load(file, { listen: ["127.0.0.1:21"], admin: "127.0.0.1:22", policy: ["z.yaml"] }, env),
    );
    expect(settings).toMatchObject({ admin: { address: { port: 22 } }, policy: ["z.yaml"] });
    expect(portsOf(settings)).toEqual([21]);
  });

  test("an address that is overridden admits whom the file admits", () => {
    expect(settingsOf(load(file, {}, env)).listen.map((listener) => listener.clients)).toEqual([
      ["servers"],
      ["servers"],
    ]);
  });

  test("an empty variable is not set", () => {
    expect(settingsOf(load(file, {}, { SALLYPORT_LISTEN: "", SALLYPORT_ADMIN: " ", SALLYPORT_POLICY: "," }))).toEqual(
      settingsOf(load(file)),
    );
  });

  test("what is wrong with them is said under their name", () => {
    expect(problemsOf(load(file, { listen: [":21"] }, { SALLYPORT_ADMIN: "x", SALLYPORT_LOG_LEVEL: "inf" }))).toEqual([
      expect.stringMatching(/^--listen: error: `:21` does not say which address.*\n {2}hint: write 0.0.0.0:21$/),
      expect.stringMatching(/^SALLYPORT_ADMIN: error: `x` is no address with a port/),
      expect.stringMatching(/^SALLYPORT_LOG_LEVEL: error: `inf` is no level.*\n {2}hint: write info$/),
    ]);
  });
});

test("groups that listeners name are checked against the policy, at their place", () => {
  const result = load("listen:\n  - { kind: proxy, address: 127.0.0.1:0, clients: [servers, kiosk] }\n");
  const references = result.kind === "loaded" ? result.groupReferences : [];
  const group = {
    name: "servers",
    place: { file: "p", line: 1, column: 1 },
    addresses: [],
    users: [],
    subjects: [],
    mode: undefined,
    perClient: undefined,
  };
  expect(checkGroupReferences(references, [group, { ...group, name: "kiosks" }]).map(formatProblem)).toEqual([
    "etc/sallyport.yaml:3:61: error: `kiosk` is no group: the groups are servers, kiosks\n  hint: write kiosks",
  ]);
});

test.each([
  ["workers: 4\n", 4],
  ["workers: auto\n", "auto"],
  ["workers: 256\n", 256],
])("%s", (text, workers) => {
  expect(settingsOf(load(text)).workers).toBe(workers);
});
