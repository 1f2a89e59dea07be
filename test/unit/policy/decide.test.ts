/** policy.md sentence by sentence: what is asked, what is told, and which rule says so. */
import { describe, expect, test } from "vitest";
import { decideTarget } from "../../../src/policy/decide.ts";
import type { RequestFacts } from "../../../src/policy/decide.ts";
import type { PolicyFile, Rule } from "../../../src/policy/rule.ts";
import {
  type GroupWords,
  type Told,
  clientAt,
  connect,
  deny,
  get,
  packFile,
  rule,
  rulesetOf,
  siteFile,
  tell,
} from "../../support/policy.ts";

const day = Date.UTC(2027, 2, 1);
const groups: readonly GroupWords[] = [
  { name: "servers", addresses: ["10.20.0.0/16"] },
  { name: "kiosks", addresses: ["10.30.0.0/16"] },
];
const server = "10.20.1.4";
const kiosk = "10.30.0.9";
const stranger = "192.0.2.7";

type Asked = { readonly client?: string; readonly nowMs?: number; readonly groups?: readonly GroupWords[] };

function ask(content: readonly PolicyFile[] | readonly Rule[], facts: RequestFacts, asked: Asked = {}): Told {
  const ruleset = rulesetOf(content, asked.groups ?? groups);
  return tell(decideTarget(ruleset, clientAt(ruleset, asked.client ?? stranger), facts, asked.nowMs ?? day));
}

/** `allowed site/a`, `scheme_mismatch site/a`, `no_rule`; in report mode `would scheme_mismatch site/a`. */
function said({ reason, mode, rule: by }: Told): string {
  return [mode === "report" ? "would" : undefined, reason, by].filter((word) => word !== undefined).join(" ");
}

describe("the most specific pattern decides alone", () => {
  const delivery = [
    rule({ id: "https", hosts: ["*.delivery.mp.microsoft.com"], expect: ["https"] }),
    rule({ id: "payload", hosts: ["*.dl.delivery.mp.microsoft.com"], expect: ["http"] }),
  ];

  test.each<[string, readonly Rule[], RequestFacts, string]>([
    [
      "the narrower rule allows what it expects",
      delivery,
      get("http://tlu.dl.delivery.mp.microsoft.com/f"),
      "allowed site/payload",
    ],
    [
      "https is refused inside the narrower http rule: nothing falls through to the broader one",
      delivery,
      connect("tlu.dl.delivery.mp.microsoft.com:443"),
      "scheme_mismatch site/payload",
    ],
    [
      "the apex of the narrower suffix is the narrower rule's",
      delivery,
      connect("dl.delivery.mp.microsoft.com:443"),
      "scheme_mismatch site/payload",
    ],
    [
      "beside it the broader rule decides",
      delivery,
      connect("geo.prod.do.delivery.mp.microsoft.com:443"),
      "allowed site/https",
    ],
    [
      "an exact name beats the suffix with that apex",
      [
        rule({ id: "suffix", hosts: ["*.a.x.com"], expect: ["http"] }),
        rule({ id: "exact", hosts: ["a.x.com"], expect: ["https"] }),
      ],
      connect("a.x.com:443"),
      "allowed site/exact",
    ],
    [
      "an exact name beats a glob with more literal labels",
      [
        rule({ id: "glob", hosts: ["glob:**.a.x.com"], expect: ["http"] }),
        rule({ id: "exact", hosts: ["a.x.com"], expect: ["https"] }),
      ],
      connect("a.x.com:443"),
      "allowed site/exact",
    ],
    [
      "more literal labels on the right beat a glob with more characters",
      [
        rule({ id: "glob", hosts: ["glob:averylonglabel*.b.x.com"], expect: ["http"] }),
        rule({ id: "suffix", hosts: ["*.b.x.com"], expect: ["http"] }),
        rule({ id: "longer", hosts: ["*.averylonglabel1.b.x.com"], expect: ["https"] }),
      ],
      connect("averylonglabel1.b.x.com:443"),
      "allowed site/longer",
    ],
    [
      "a glob beats the suffix of the same length",
      [
        rule({ id: "suffix", hosts: ["*.x.com"], expect: ["http"] }),
        rule({ id: "glob", hosts: ["glob:?.x.com"], expect: ["https"] }),
      ],
      connect("a.x.com:443"),
      "allowed site/glob",
    ],
    [
      "a suffix of one label more beats a glob",
      [
        rule({ id: "glob", hosts: ["glob:**.x.com"], expect: ["http"] }),
        rule({ id: "suffix", hosts: ["*.a.x.com"], expect: ["https"] }),
      ],
      connect("b.a.x.com:443"),
      "allowed site/suffix",
    ],
    [
      "of two globs the one with more literal characters decides, wherever it stands",
      [
        rule({ id: "less", hosts: ["glob:a*.x.com"], expect: ["http"] }),
        rule({ id: "more", hosts: ["glob:ab*.x.com"], expect: ["https"] }),
      ],
      connect("abc.x.com:443"),
      "allowed site/more",
    ],
    [
      "of two globs alike the first in the file decides",
      [
        rule({ id: "first", hosts: ["glob:a*.x.com"], expect: ["https"] }),
        rule({ id: "second", hosts: ["glob:*c.x.com"], expect: ["http"] }),
      ],
      connect("abc.x.com:443"),
      "allowed site/first",
    ],
    [
      "a narrower deny decides inside a broader allow",
      [rule({ id: "all", hosts: ["*.x.com"], expect: ["https"] }), deny({ id: "not", hosts: ["*.t.x.com"] })],
      connect("a.t.x.com:443"),
      "rule_denied site/not",
    ],
    [
      "a narrower allow decides inside a broader deny of the same file",
      [deny({ id: "not", hosts: ["*.x.com"] }), rule({ id: "but", hosts: ["a.x.com"], expect: ["https"] })],
      connect("a.x.com:443"),
      "allowed site/but",
    ],
  ])("%s", (_sentence, rules, facts, expected) => {
    expect(said(ask(rules, facts))).toBe(expected);
  });
});

describe("names are covered label by label", () => {
  const rules = [rule({ id: "a", hosts: ["*.example.com"], expect: ["https"] })];
  test.each([
    ["the apex is covered", "example.com", "allowed site/a"],
    ["a name below it is", "a.example.com", "allowed site/a"],
    ["a name at any depth is", "d.c.b.a.example.com", "allowed site/a"],
    ["case makes no difference", "A.EXAMPLE.com", "allowed site/a"],
    ["one trailing dot makes no difference", "a.example.com.", "allowed site/a"],
    ["a longer label is another name", "evilexample.com", "no_rule"],
    ["a name that goes on is another name", "example.com.evil.net", "no_rule"],
    ["half the apex is another name", "com", "no_rule"],
  ])("%s", (_sentence, host, expected) => {
    expect(said(ask(rules, connect(`${host}:443`)))).toBe(expected);
  });
});

describe("rules with the same pattern stay whole", () => {
  const https = rule({ id: "https", hosts: ["*.x.com"], expect: ["https"] });
  const http = rule({ id: "http", hosts: ["*.x.com"], expect: ["http:8530"], range: "allow" });
  const plain = rule({ id: "plain", hosts: ["*.x.com"], expect: ["http"], methods: ["GET"] });
  const posting = rule({ id: "posting", hosts: ["*.x.com"], expect: ["http"], methods: ["POST"], range: "allow" });

  test.each<[string, readonly Rule[], RequestFacts, string]>([
    ["the first that has an endpoint decides", [https, http], get("http://a.x.com:8530/"), "allowed site/http"],
    ["with its own fields", [https, http], get("http://a.x.com:8530/", { range: "valid" }), "allowed site/http"],
    [
      "and not with those of the next",
      [plain, posting],
      get("http://a.x.com/", { method: "POST" }),
      "method_denied site/plain",
    ],
    [
      "a Range allowed by the next is not allowed",
      [plain, posting],
      get("http://a.x.com/", { range: "valid" }),
      "range_denied site/plain",
    ],
    ["if none has the port, the first is named", [https, http], get("http://a.x.com:81/"), "port_mismatch site/https"],
    [
      "if none has the protocol, the first is named",
      [http, plain],
      connect("a.x.com:443"),
      "scheme_mismatch site/http",
    ],
    [
      "a deny among them wins from the last place",
      [https, http, deny({ id: "no", hosts: ["*.x.com"] })],
      connect("a.x.com:443"),
      "rule_denied site/no",
    ],
    [
      "a rule is asked once, though it has the pattern twice",
      [rule({ id: "twice", hosts: ["*.x.com", "*.x.com"], expect: ["https"] })],
      connect("a.x.com:443"),
      "allowed site/twice",
    ],
  ])("%s", (_sentence, rules, facts, expected) => {
    expect(said(ask(rules, facts))).toBe(expected);
  });

  test("order: all site files in their order, then packs, then position", () => {
    const named = (id: string) => rule({ id, hosts: ["*.x.com"], expect: ["https"] });
    const files = [
      packFile([named("p")], { name: "p1" }),
      siteFile([named("b"), named("c")], { name: "s1" }),
      siteFile([named("a")], { name: "s2" }),
    ];
    const orders = [
      files,
      files.slice(0, 1),
      [files[0]!, files[2]!],
      [packFile([named("q")], { name: "p0" }), files[0]!],
    ];
    expect(orders.map((list) => ask(list, connect("a.x.com:443")).rule)).toEqual(["s1/b", "p1/p", "s2/a", "p0/q"]);
  });
});

describe("scheme_mismatch and port_mismatch, as in the table of reasons", () => {
  const one = (...expected: string[]) => [rule({ id: "r", hosts: ["a.x.com"], expect: expected })];
  test.each<[string, readonly Rule[], RequestFacts, string]>([
    ["plain HTTP where no http endpoint exists", one("https"), get("http://a.x.com/"), "scheme_mismatch"],
    ["plain HTTP on a tunnel's port", one("tcp:80"), get("http://a.x.com/"), "scheme_mismatch"],
    ["plain HTTP on another port", one("http"), get("http://a.x.com:8080/"), "port_mismatch"],
    [
      "plain HTTP on the https port, where http is elsewhere",
      one("http", "https"),
      get("http://a.x.com:443/"),
      "port_mismatch",
    ],
    ["CONNECT to a port where the rule has http", one("http"), connect("a.x.com:80"), "scheme_mismatch"],
    [
      "CONNECT to the port of http, though a tunnel is elsewhere",
      one("http", "https"),
      connect("a.x.com:80"),
      "scheme_mismatch",
    ],
    ["CONNECT where the rule has no tunnel endpoint at all", one("http"), connect("a.x.com:443"), "scheme_mismatch"],
    ["CONNECT on another port", one("https"), connect("a.x.com:8443"), "port_mismatch"],
    ["CONNECT on another port than tcp", one("tcp:22543"), connect("a.x.com:443"), "port_mismatch"],
    ["CONNECT to tcp", one("tcp:80"), connect("a.x.com:80"), "allowed"],
    ["CONNECT to https", one("http", "https"), connect("a.x.com:443"), "allowed"],
    ["http with a port", one("http:8530"), get("http://a.x.com:8530/"), "allowed"],
    [
      "https on 80 beside http on 80: a tunnel is expected there",
      one("http", "https:80"),
      connect("a.x.com:80"),
      "allowed",
    ],
    [
      "a WebSocket where the rule does not allow one",
      one("http"),
      get("http://a.x.com/", { websocket: true }),
      "scheme_mismatch",
    ],
  ])("%s", (_sentence, rules, facts, reason) => {
    const told = ask(rules, facts);
    expect(told.reason).toBe(reason);
    expect(told.rule).toBe("site/r");
    expect(told.nearest).toBe(reason === "allowed" ? undefined : "site/r");
  });

  test("a WebSocket passes where the rule allows one", () => {
    const rules = [rule({ id: "ws", hosts: ["a.x.com"], expect: ["http"], websocket: "allow" })];
    expect(said(ask(rules, get("http://a.x.com/", { websocket: true })))).toBe("allowed site/ws");
  });
});

describe("a site file's deny beats every pack rule below it", () => {
  const broadDeny = deny({ id: "no", hosts: ["*.x.com"] });
  const packAllow = packFile([rule({ id: "p", hosts: ["a.b.x.com"], expect: ["https"] })]);
  const connectTo = connect("a.b.x.com:443");
  test.each<[string, readonly PolicyFile[], Asked, string]>([
    ["an exact name in a pack is no exception", [siteFile([broadDeny]), packAllow], {}, "rule_denied site/no"],
    [
      "nor is the pack's own deny named instead",
      [siteFile([broadDeny]), packFile([deny({ id: "p", hosts: ["a.b.x.com"] })])],
      {},
      "rule_denied site/no",
    ],
    [
      "a narrower allow of the site is",
      [siteFile([broadDeny, rule({ id: "but", hosts: ["*.b.x.com"], expect: ["https"] })]), packAllow],
      {},
      "allowed site/but",
    ],
    [
      "the site's narrower rule does not fall through to the pack's",
      [siteFile([broadDeny, rule({ id: "but", hosts: ["a.b.x.com"], expect: ["http"] })]), packAllow],
      {},
      "scheme_mismatch site/but",
    ],
    [
      "of two denies in the site the most specific is named",
      [siteFile([broadDeny, deny({ id: "narrow", hosts: ["*.b.x.com"] })]), packAllow],
      {},
      "rule_denied site/narrow",
    ],
    [
      "a pack's broad deny does not beat the site's narrower allow",
      [
        siteFile([rule({ id: "s", hosts: ["a.b.x.com"], expect: ["https"] })]),
        packFile([deny({ id: "no", hosts: ["*.x.com"] })]),
      ],
      {},
      "allowed site/s",
    ],
    [
      "a pack's broad deny does not beat another pack's narrower allow",
      [
        packFile([deny({ id: "no", hosts: ["*.x.com"] })], { name: "p1" }),
        packFile([rule({ id: "p", hosts: ["a.b.x.com"], expect: ["https"] })], { name: "p2" }),
      ],
      {},
      "allowed p2/p",
    ],
    [
      "a site's allow above does not beat a pack's narrower rule",
      [siteFile([rule({ id: "s", hosts: ["*.x.com"], expect: ["http"] })]), packAllow],
      {},
      "allowed pack/p",
    ],
    [
      "a deny for another group does not exist",
      [siteFile([deny({ id: "no", hosts: ["*.x.com"], clients: ["kiosks"] })]), packAllow],
      { client: server },
      "allowed pack/p",
    ],
    [
      "and does for that group",
      [siteFile([deny({ id: "no", hosts: ["*.x.com"], clients: ["kiosks"] })]), packAllow],
      { client: kiosk },
      "rule_denied site/no",
    ],
    [
      "an expired deny does not exist",
      [siteFile([deny({ id: "no", hosts: ["*.x.com"], expiresAt: day })]), packAllow],
      {},
      "allowed pack/p",
    ],
  ])("%s", (_sentence, files, asked, expected) => {
    expect(said(ask(files, connectTo, asked))).toBe(expected);
  });

  test("a pack's deny of the same pattern does not take over from a site's that has expired", () => {
    const files = [
      siteFile([deny({ id: "old", hosts: ["*.x.com"], expiresAt: day })]),
      packFile([deny({ id: "no", hosts: ["*.x.com"] }), rule({ id: "p", hosts: ["a.b.x.com"], expect: ["https"] })]),
    ];
    expect(said(ask(files, connectTo))).toBe("allowed pack/p");
    expect(said(ask(files, connectTo, { nowMs: day - 1 }))).toBe("rule_denied site/old");
  });

  test("the deny of one site file does not beat another site file's narrower rule", () => {
    const files = [
      siteFile([broadDeny], { name: "s1" }),
      siteFile([rule({ id: "a", hosts: ["a.b.x.com"], expect: ["https"] })], { name: "s2" }),
    ];
    expect(said(ask(files, connectTo))).toBe("allowed s2/a");
  });

  test("it also beats a pack's narrower block of addresses", () => {
    const files = [
      siteFile([deny({ id: "no", addresses: ["10.0.0.0/8"] })]),
      packFile([rule({ id: "p", addresses: ["10.1.2.3"], expect: ["https"] })]),
    ];
    expect(said(ask(files, connect("10.1.2.3:443")))).toBe("rule_denied site/no");
  });
});

describe("a rule that does not name a client's group does not exist for that client", () => {
  const forServers = rule({ id: "s", hosts: ["a.x.com"], expect: ["https"], clients: ["servers"] });
  const broad = rule({ id: "all", hosts: ["*.x.com"], expect: ["http"] });
  const used = (uses: Parameters<typeof packFile>[1]) => [
    packFile([rule({ id: "p", hosts: ["a.x.com"], expect: ["https"] })], uses),
  ];
  test.each<[string, readonly PolicyFile[] | readonly Rule[], string, string]>([
    ["it decides for its group", [forServers, broad], server, "allowed site/s"],
    ["for others the next broader rule decides", [forServers, broad], kiosk, "scheme_mismatch site/all"],
    ["alone it is client_denied for others", [forServers], kiosk, "client_denied"],
    ["so it is for a client in no group", [forServers], stranger, "client_denied"],
    ["a use without clients is for everyone", used({}), stranger, "allowed pack/p"],
    ["a use names its clients", used({ uses: [{ clients: ["servers"] }] }), server, "allowed pack/p"],
    ["and nobody else", used({ uses: [{ clients: ["servers"] }] }), kiosk, "client_denied"],
    ["two uses add up", used({ uses: [{ clients: ["servers"] }, { clients: ["kiosks"] }] }), kiosk, "allowed pack/p"],
    [
      "`without` leaves a rule out of one use",
      used({ uses: [{ clients: ["servers"], without: new Set(["p"]) }, { clients: ["kiosks"] }] }),
      server,
      "client_denied",
    ],
    [
      "and not out of the other",
      used({ uses: [{ clients: ["servers"], without: new Set(["p"]) }, { clients: ["kiosks"] }] }),
      kiosk,
      "allowed pack/p",
    ],
    [
      "a rule that every use leaves out exists for nobody: no rule covers the host",
      used({ uses: [{ without: new Set(["p"]) }] }),
      server,
      "no_rule",
    ],
    [
      "a pack's rule must pass its own clients and the use's",
      [
        packFile([rule({ id: "p", hosts: ["a.x.com"], expect: ["https"], clients: ["kiosks"] })], {
          uses: [{ clients: ["servers"] }],
        }),
      ],
      kiosk,
      "client_denied",
    ],
    [
      "a deny for another group is a rule that covers the host",
      [deny({ id: "no", hosts: ["a.x.com"], clients: ["kiosks"] })],
      server,
      "client_denied",
    ],
  ])("%s", (_sentence, content, client, expected) => {
    expect(said(ask(content, connect("a.x.com:443"), { client }))).toBe(expected);
  });

  test("a client in two groups has the rules of both", () => {
    const both = [...groups, { name: "console", addresses: ["10.20.1.0/24"] }];
    const rules = [forServers, rule({ id: "c", hosts: ["b.x.com"], expect: ["https"], clients: ["console"] })];
    for (const host of ["a.x.com", "b.x.com"]) {
      expect(ask(rules, connect(`${host}:443`), { client: server, groups: both }).verdict).toBe("allow");
    }
  });

  test("client_denied names the rule that the client is not in", () => {
    expect(ask([forServers], connect("a.x.com:443"), { client: kiosk }).nearest).toBe("site/s");
  });

  test("a listener that does not admit the client is client_denied, whatever the rule says", () => {
    const facts = { listenerAdmits: false };
    expect(said(ask([broad], get("http://a.x.com/", {}, facts)))).toBe("client_denied");
    expect(said(ask([deny({ id: "no", hosts: ["a.x.com"] })], connect("a.x.com:443", facts)))).toBe("client_denied");
    expect(said(ask([broad], connect("a.y.com:443", facts)))).toBe("no_rule");
    expect(said(ask([broad], connect("192.0.2.1:443", facts)))).toBe("ip_literal");
  });
});

describe("a target that is an IP literal matches only `addresses`", () => {
  const rules = [
    rule({ id: "ten", addresses: ["10.0.0.0/8"], expect: ["http"] }),
    rule({ id: "one", addresses: ["10.1.0.0/16", "2001:db8::/32"], expect: ["https"] }),
    deny({ id: "not", addresses: ["10.1.2.3"] }),
    rule({ id: "names", hosts: ["*.x.com"], expect: ["https"] }),
  ];
  test.each([
    ["a block holds it", "10.1.9.9:443", "allowed site/one"],
    ["the longest prefix decides", "10.1.2.3:443", "rule_denied site/not"],
    ["and does not fall through to a shorter one", "10.1.9.9:80", "port_mismatch site/one"],
    ["beside it the shorter prefix decides", "10.2.0.1:443", "scheme_mismatch site/ten"],
    ["IPv6 in brackets", "[2001:db8::1]:443", "allowed site/one"],
    ["another spelling of it", "[2001:0DB8:0:0::1]:443", "allowed site/one"],
    ["IPv4-mapped is the IPv4 address", "[::ffff:10.1.9.9]:443", "allowed site/one"],
    ["without a rule it is ip_literal", "192.0.2.1:443", "ip_literal"],
    ["an IPv6 address without a rule too", "[2001:db9::1]:443", "ip_literal"],
    ["a name is no address", "a.x.com:443", "allowed site/names"],
  ])("%s", (_sentence, authority, expected) => {
    expect(said(ask(rules, connect(authority)))).toBe(expected);
  });

  test("0.0.0.0/0 holds every IPv4 address and no IPv6 address", () => {
    const all = [rule({ id: "all", addresses: ["0.0.0.0/0"], expect: ["https"] })];
    expect(said(ask(all, connect("203.0.113.5:443")))).toBe("allowed site/all");
    expect(said(ask(all, connect("[2001:db8::1]:443")))).toBe("ip_literal");
  });

  test("an address that another group may name is client_denied", () => {
    const rules2 = [rule({ id: "a", addresses: ["10.0.0.1"], expect: ["https"], clients: ["servers"] })];
    expect(said(ask(rules2, connect("10.0.0.1:443"), { client: kiosk }))).toBe("client_denied");
  });
});

describe("after `expires` the rule does not exist", () => {
  const rules = [
    rule({ id: "old", hosts: ["a.x.com"], expect: ["https"], expiresAt: day }),
    rule({ id: "all", hosts: ["*.x.com"], expect: ["http"] }),
  ];
  test.each([
    ["a millisecond before, it decides", day - 1, "allowed site/old"],
    ["at the instant, the broader rule decides", day, "scheme_mismatch site/all"],
  ])("%s", (_sentence, nowMs, expected) => {
    expect(said(ask(rules, connect("a.x.com:443"), { nowMs }))).toBe(expected);
  });

  test("a host that only an expired rule covers has no rule, not even a nearest one", () => {
    const alone = [rule({ id: "old", hosts: ["a.b.x.com"], expect: ["https"], expiresAt: day, clients: ["servers"] })];
    const told = ask(alone, connect("a.b.x.com:443"));
    expect([told.reason, told.nearest]).toEqual(["no_rule", undefined]);
  });
});

describe("HTTP conditions are those of the rule that decides", () => {
  const web = (fields: Partial<Rule>): readonly Rule[] => [
    { ...rule({ id: "w", hosts: ["a.x.com"], expect: ["http"] }), ...fields },
  ];
  test.each<[string, Partial<Rule>, Parameters<typeof get>[1], string]>([
    ["a Range is denied unless the rule says otherwise", {}, { range: "valid" }, "range_denied"],
    ["an invalid Range is denied as a Range first", {}, { range: "invalid" }, "range_denied"],
    ["allow lets a valid Range pass", { range: "allow" }, { range: "valid" }, "allowed"],
    ["allow does not let another pass", { range: "allow" }, { range: "invalid" }, "range_invalid"],
    ["strip lets every Range pass, since it is removed", { range: "strip" }, { range: "invalid" }, "allowed"],
    ["Range is judged on every method", {}, { method: "POST", range: "valid" }, "range_denied"],
    ["no Range is no Range", {}, {}, "allowed"],
    ["TRACE is never among the methods", {}, { method: "TRACE" }, "method_denied"],
    ["a method that is not listed", { methods: ["GET"] }, { method: "HEAD" }, "method_denied"],
    ["methods are case-sensitive", {}, { method: "get" }, "method_denied"],
    ["a listed method", { methods: ["PROPFIND"] }, { method: "PROPFIND" }, "allowed"],
    ["a path that is listed", { paths: ["/d/*.cab"] }, { path: "/d/x.cab?y=1" }, "allowed"],
    ["a path that is not", { paths: ["/d/*.cab"] }, { path: "/e/x.cab" }, "path_denied"],
    ["a path that decodes differently a second time", { paths: ["/d/*"] }, { path: "/d/%2561" }, "path_denied"],
    ["a path with dot segments", { paths: ["/d/*"] }, { path: "/e/../d/x" }, "path_denied"],
    ["without paths nothing is judged", {}, { path: "/e/../d/%2561" }, "allowed"],
    [
      "the method comes before the path",
      { methods: ["GET"], paths: ["/d"] },
      { method: "POST", path: "/e" },
      "method_denied",
    ],
    ["the path before the Range", { paths: ["/d"] }, { path: "/e", range: "invalid" }, "path_denied"],
  ])("%s", (_sentence, fields, http, reason) => {
    const told = ask(web(fields), get("http://a.x.com/", http));
    expect([told.reason, told.rule, told.nearest]).toEqual([
      reason,
      "site/w",
      reason === "allowed" ? undefined : "site/w",
    ]);
  });

  test("a tunnel has none", () => {
    const rules = [rule({ id: "t", hosts: ["a.x.com"], expect: ["https"], methods: [], paths: ["/never"] })];
    expect(said(ask(rules, connect("a.x.com:443")))).toBe("allowed site/t");
  });
});

describe("of several reasons the first in the order of the table is given", () => {
  const http = rule({ id: "h", hosts: ["a.x.com"], expect: ["http"], methods: ["GET"], clients: ["servers"] });
  test.each<[string, readonly Rule[], RequestFacts, string]>([
    ["host_mismatch before no_rule", [], connect("a.x.com:443", { hostAgrees: false }), "host_mismatch"],
    ["host_mismatch before ip_literal", [], connect("192.0.2.1:443", { hostAgrees: false }), "host_mismatch"],
    [
      "host_mismatch before rule_denied",
      [deny({ id: "no", hosts: ["a.x.com"] })],
      connect("a.x.com:443", { hostAgrees: false }),
      "host_mismatch",
    ],
    ["client_denied before scheme_mismatch", [http], connect("a.x.com:443"), "client_denied"],
    [
      "rule_denied before scheme_mismatch",
      [http, deny({ id: "no", hosts: ["a.x.com"] })],
      connect("a.x.com:443"),
      "rule_denied site/no",
    ],
    [
      "port_mismatch before method_denied",
      [rule({ id: "h", hosts: ["a.x.com"], expect: ["http"] })],
      get("http://a.x.com:81/", { method: "TRACE" }),
      "port_mismatch site/h",
    ],
    [
      "scheme_mismatch of a WebSocket before method_denied",
      [rule({ id: "h", hosts: ["a.x.com"], expect: ["http"], methods: ["POST"] })],
      get("http://a.x.com/", { websocket: true }),
      "scheme_mismatch site/h",
    ],
  ])("%s", (_sentence, rules, facts, expected) => {
    expect(said(ask(rules, facts))).toBe(expected);
  });

  test("host_mismatch has no deciding rule, and names the one that came closest", () => {
    const told = ask(
      [rule({ id: "a", hosts: ["a.x.com"], expect: ["https"] })],
      connect("a.x.com:443", { hostAgrees: false }),
    );
    expect(told).toMatchObject({ verdict: "deny", rule: undefined, nearest: "site/a" });
  });
});

describe("no_rule names the rule that shares the most right-hand labels below the registrable domain", () => {
  const rules = [
    rule({ id: "one", hosts: ["a.dl.x.com"], expect: ["https"] }),
    rule({ id: "two", hosts: ["a.b.dl.x.com"], expect: ["https"] }),
    rule({ id: "same", hosts: ["c.b.dl.x.com"], expect: ["https"] }),
    rule({ id: "apex", hosts: ["x.com"], expect: ["https"] }),
    rule({ id: "glob", hosts: ["glob:*cc.z.x.com"], expect: ["https"] }),
    rule({ id: "uk", hosts: ["a.y.co.uk"], expect: ["https"] }),
    rule({ id: "corp", hosts: ["a.b.corp.internal"], expect: ["https"] }),
    rule({ id: "servers", hosts: ["a.s.x.com"], expect: ["https"], clients: ["servers"] }),
    rule({ id: "later", hosts: ["b.s.x.com"], expect: ["https"] }),
    deny({ id: "no", hosts: ["a.t.x.com"] }),
    rule({ id: "old", hosts: ["a.o.x.com"], expect: ["https"], expiresAt: day }),
  ];
  test.each([
    ["one label below is shared", "b.dl.x.com", "site/two"],
    ["the more labels the better", "q.b.dl.x.com", "site/two"],
    ["one label is enough", "q.dl.x.com", "site/one"],
    ["the registrable domain alone is not", "q.x.com", undefined],
    ["nor is the public suffix", "q.y2.co.uk", undefined],
    ["under co.uk the registrable domain has three labels", "b.y.co.uk", undefined],
    ["nothing shared is no rule", "a.org", undefined],
    ["a single label has none", "localhost", undefined],
    ["a glob counts by its literal labels", "q.z.x.com", "site/glob"],
    ["under an unknown top level too", "z.b.corp.internal", "site/corp"],
    ["a name below an exact one shares all of its labels", "q.a.dl.x.com", "site/one"],
    ["a deny rule is never the nearest", "b.t.x.com", undefined],
    ["nor is one that has expired", "b.o.x.com", undefined],
    ["nor one of another group's: the next of the same length is", "q.s.x.com", "site/later"],
  ])("%s", (_sentence, host, nearest) => {
    const told = ask(rules, connect(`${host}:443`));
    expect([told.reason, told.rule, told.nearest]).toEqual(["no_rule", undefined, nearest]);
  });

  test("for the group itself the group's rule is the nearest", () => {
    expect(ask(rules, connect("q.s.x.com:443"), { client: server }).nearest).toBe("site/servers");
  });
});

describe("report mode lets pass and records what would have been denied", () => {
  const trying = rule({ id: "r", hosts: ["a.x.com"], expect: ["http"], mode: "report" });
  const plain = rule({ id: "p", hosts: ["a.x.com"], expect: ["http"] });
  const enforced = rule({ id: "e", hosts: ["a.x.com"], expect: ["http"], mode: "enforce" });
  const reporting = (rules: readonly Rule[]) => [siteFile(rules, { mode: "report" })];
  const kiosksReport: readonly GroupWords[] = [groups[0]!, { ...groups[1]!, mode: "report" }];
  const kiosksEnforce: readonly GroupWords[] = [groups[0]!, { ...groups[1]!, mode: "enforce" }];
  const tunnel = connect("a.x.com:443");

  test("the whole answer: allow, would deny, the denial's reason, the rule, the mode", () => {
    const ruleset = rulesetOf([trying]);
    const verdict = decideTarget(ruleset, clientAt(ruleset), tunnel, day);
    expect(verdict).toMatchObject({
      kind: "allow",
      mode: "report",
      rule: { fullId: "site/r" },
      permit: { rule: { fullId: "site/r" }, endpoint: undefined },
      would: { kind: "deny", reason: "scheme_mismatch", stage: "request", mode: "report", rule: { fullId: "site/r" } },
    });
  });

  test.each<[string, readonly PolicyFile[] | readonly Rule[], RequestFacts, Asked, string]>([
    ["a rule's own mode", [trying], tunnel, {}, "would scheme_mismatch site/r"],
    ["what the rule allows is simply allowed", [trying], get("http://a.x.com/"), {}, "allowed site/r"],
    ["a condition too", [trying], get("http://a.x.com/", { method: "PROPFIND" }), {}, "would method_denied site/r"],
    ["but never TRACE", [trying], get("http://a.x.com/", { method: "TRACE" }), {}, "method_denied site/r"],
    ["a client's group", [plain], tunnel, { client: kiosk, groups: kiosksReport }, "would scheme_mismatch site/p"],
    ["not another client's", [plain], tunnel, { client: server, groups: kiosksReport }, "scheme_mismatch site/p"],
    ["the defaults", reporting([plain]), tunnel, {}, "would scheme_mismatch site/p"],
    [
      "the rule's own mode before the group's",
      [enforced],
      tunnel,
      { client: kiosk, groups: kiosksReport },
      "scheme_mismatch site/e",
    ],
    [
      "the rule's own mode before the group's, the other way",
      [trying],
      tunnel,
      { client: kiosk, groups: kiosksEnforce },
      "would scheme_mismatch site/r",
    ],
    [
      "the group's before the defaults",
      reporting([plain]),
      tunnel,
      { client: kiosk, groups: kiosksEnforce },
      "scheme_mismatch site/p",
    ],
    ["the rule's own mode before the defaults", reporting([enforced]), tunnel, {}, "scheme_mismatch site/e"],
    [
      "of two groups the first that has a mode",
      [plain],
      tunnel,
      {
        client: server,
        groups: [
          groups[0]!,
          { name: "r", addresses: ["10.0.0.0/8"], mode: "report" },
          { name: "e", addresses: ["10.0.0.0/8"], mode: "enforce" },
        ],
      },
      "would scheme_mismatch site/p",
    ],
    [
      "defaults of one site file do not reach another's rules",
      [siteFile([], { name: "s1", mode: "report" }), siteFile([plain])],
      tunnel,
      {},
      "scheme_mismatch site/p",
    ],
    [
      "a pack has the mode of its site",
      [siteFile([]), packFile([plain], { mode: "report" })],
      tunnel,
      {},
      "would scheme_mismatch pack/p",
    ],
  ])("%s", (_sentence, content, facts, asked, expected) => {
    expect(said(ask(content, facts, asked))).toBe(expected);
  });

  describe("as a default it covers targets without a rule, where a rule could be expected", () => {
    const named = rule({ id: "n", hosts: ["n.x.com"], expect: ["tcp:22543", "http:8530"] });
    const gone = rule({ id: "g", hosts: ["g.x.com"], expect: ["tcp:9999"], expiresAt: day });
    const site = reporting([
      named,
      gone,
      rule({ id: "k", hosts: ["k.x.com"], expect: ["https"], clients: ["kiosks"] }),
    ]);
    test.each<[string, RequestFacts, Asked, string]>([
      ["http on port 80", get("http://q.net/"), {}, "would no_rule"],
      ["not http on another port", get("http://q.net:8080/"), {}, "no_rule"],
      ["not http on a port that some rule names", get("http://q.net:8530/"), {}, "no_rule"],
      ["CONNECT to 443", connect("q.net:443"), {}, "would no_rule"],
      ["CONNECT to a port that some rule names", connect("q.net:22543"), {}, "would no_rule"],
      ["not CONNECT to another port", connect("q.net:22"), {}, "no_rule"],
      ["not CONNECT to 80", connect("q.net:80"), {}, "no_rule"],
      ["not CONNECT to a port that only an expired rule names", connect("q.net:9999"), {}, "no_rule"],
      ["which it was a millisecond before", connect("q.net:9999"), { nowMs: day - 1 }, "would no_rule"],
      ["client_denied", connect("k.x.com:443"), {}, "would client_denied"],
      ["not an address without a rule", connect("192.0.2.1:443"), {}, "ip_literal"],
      [
        "not where a listener does not admit the client",
        connect("k.x.com:443", { listenerAdmits: false }),
        { client: kiosk },
        "client_denied",
      ],
      [
        "a group that enforces switches it off",
        connect("q.net:443"),
        { client: kiosk, groups: kiosksEnforce },
        "no_rule",
      ],
    ])("%s", (_sentence, facts, asked, expected) => {
      const told = ask(site, facts, asked);
      expect(said(told)).toBe(expected);
      expect(told.goesOn).toBeUndefined();
    });

    test("a group in report mode does not: only defaults do", () => {
      expect(said(ask([named], connect("q.net:443"), { client: kiosk, groups: kiosksReport }))).toBe("no_rule");
    });

    test("of two site files both must say so", () => {
      const files = [siteFile([], { name: "s1", mode: "report" }), siteFile([], { name: "s2" })];
      expect(said(ask(files, connect("q.net:443")))).toBe("no_rule");
    });

    test("packs alone never do", () => {
      expect(said(ask([packFile([named], { mode: "report" })], connect("q.net:443")))).toBe("no_rule");
    });
  });

  describe("rule_denied is enforced unless that rule itself says report", () => {
    const no = deny({ id: "no", hosts: ["*.x.com"] });
    const trial = deny({ id: "trial", hosts: ["*.x.com"], mode: "report" });
    const a = rule({ id: "a", hosts: ["a.x.com"], expect: ["https"] });
    const goesOn = (content: readonly PolicyFile[] | readonly Rule[], facts: RequestFacts, asked: Asked = {}) => {
      const told = ask(content, facts, asked);
      return `${said(told)}, on by ${told.goesOn ?? "nothing"}`;
    };
    test.each<[string, readonly PolicyFile[] | readonly Rule[], RequestFacts, string]>([
      ["the defaults do not touch it", reporting([no]), tunnel, "rule_denied site/no, on by nothing"],
      [
        "on trial it is recorded, and the pack's rule below it decides",
        [siteFile([trial]), packFile([a])],
        tunnel,
        "would rule_denied site/trial, on by pack/a https:443",
      ],
      [
        "so does the site's rule of the same pattern",
        [trial, rule({ id: "s", hosts: ["*.x.com"], expect: ["https"] })],
        tunnel,
        "would rule_denied site/trial, on by site/s https:443",
      ],
      [
        "with nothing else it passes like a target without a rule",
        [trial],
        tunnel,
        "would rule_denied site/trial, on by nothing",
      ],
      ["on ordinary ports only", [trial], connect("a.x.com:22"), "no_rule, on by nothing"],
      [
        "a second deny without the mode is enforced",
        [siteFile([deny({ id: "narrow", hosts: ["a.x.com"], mode: "report" }), no])],
        tunnel,
        "rule_denied site/no, on by nothing",
      ],
      [
        "two on trial are one",
        [siteFile([deny({ id: "narrow", hosts: ["a.x.com"], mode: "report" }), trial]), packFile([a])],
        tunnel,
        "would rule_denied site/narrow, on by pack/a https:443",
      ],
      [
        "what the rest refuses is refused",
        [siteFile([trial]), packFile([a])],
        get("http://a.x.com/"),
        "scheme_mismatch pack/a, on by nothing",
      ],
      [
        "what the rest lets pass in report mode only is still recorded as the first reason",
        [siteFile([trial]), packFile([{ ...a, mode: "report" }])],
        get("http://a.x.com/"),
        "would rule_denied site/trial, on by pack/a",
      ],
      [
        "so are its broken conditions",
        [siteFile([trial]), packFile([rule({ id: "h", hosts: ["a.x.com"], expect: ["http"], mode: "report" })])],
        get("http://a.x.com/", { method: "PROPFIND" }),
        "would rule_denied site/trial, on by pack/h http:80",
      ],
      [
        "an address on trial needs a rule all the same",
        [deny({ id: "ip", addresses: ["192.0.2.0/24"], mode: "report" })],
        connect("192.0.2.1:443"),
        "ip_literal, on by nothing",
      ],
    ])("%s", (_sentence, content, facts, expected) => {
      expect(goesOn(content, facts)).toBe(expected);
    });

    test("a group in report mode does not touch it", () => {
      expect(said(ask([no], tunnel, { client: kiosk, groups: kiosksReport }))).toBe("rule_denied site/no");
    });
  });

  describe("a differing Host passes only where the rest passes and its rule is in report mode", () => {
    const differs = { hostAgrees: false };
    test.each<[string, readonly PolicyFile[] | readonly Rule[], RequestFacts, string]>([
      [
        "an allowed request of a rule in report mode",
        [trying],
        get("http://a.x.com/", {}, differs),
        "would host_mismatch",
      ],
      ["a request that passes in report mode", [trying], connect("a.x.com:443", differs), "would host_mismatch"],
      ["not one of a rule in force", [enforced], get("http://a.x.com/", {}, differs), "host_mismatch"],
      ["not one that is refused anyway", reporting([no()]), connect("a.x.com:443", differs), "host_mismatch"],
      [
        "one without a rule where the default is report",
        reporting([]),
        connect("q.net:443", differs),
        "would host_mismatch",
      ],
      ["not on a port that is none", reporting([]), connect("q.net:22", differs), "host_mismatch"],
    ])("%s", (_sentence, content, facts, expected) => {
      expect(said(ask(content, facts))).toBe(expected);
    });
    function no(): Rule {
      return deny({ id: "no", hosts: ["a.x.com"] });
    }
  });
});

describe("deciding is a pure function", () => {
  test("the same question has the same answer, and an allowed one is not even made anew", () => {
    const ruleset = rulesetOf([rule({ id: "a", hosts: ["*.x.com"], expect: ["https"] })]);
    const client = clientAt(ruleset);
    const first = decideTarget(ruleset, client, connect("a.x.com:443"), day);
    decideTarget(ruleset, client, connect("z.y.x.com:80"), day);
    expect(decideTarget(ruleset, client, connect("a.x.com:443"), day)).toBe(first);
  });

  test("without any rule everything is denied", () => {
    expect(said(ask([], connect("a.x.com:443")))).toBe("no_rule");
    expect(said(ask([], get("http://a.x.com/")))).toBe("no_rule");
    expect(said(ask([], connect("127.0.0.1:443")))).toBe("ip_literal");
  });
});
