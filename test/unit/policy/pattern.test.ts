/** `hosts` entries: what each spelling becomes, what is refused and what is proposed, what each pattern covers. */
import { describe, expect, test } from "vitest";
import { parseHostname } from "../../../src/names/hostname.ts";
import { type GlobPattern, type Pattern, parsePattern } from "../../../src/policy/pattern.ts";

const letters63 = "a".repeat(63);
const longName = [letters63, letters63, letters63, "b".repeat(57), "com"].join(".");

function patternsOf(text: string, sharedSuffix = false): readonly Pattern[] {
  const reading = parsePattern(text, sharedSuffix);
  if (reading.kind === "problem") throw new Error(`${text} ${reading.message}`);
  return reading.patterns;
}

function globOf(text: string, sharedSuffix = false): GlobPattern {
  const [pattern, ...others] = patternsOf(text, sharedSuffix);
  if (pattern?.kind !== "glob" || others.length > 0) throw new Error(`${text} is not one glob`);
  return pattern;
}

function problemOf(text: string, sharedSuffix = false): { message: string; instead: string | undefined } {
  const reading = parsePattern(text, sharedSuffix);
  if (reading.kind === "patterns")
    throw new Error(`${text} was read as ${reading.patterns.map((p) => p.text).join(" ")}`);
  return reading;
}

describe("a spelling of the policy language stays as it is", () => {
  test.each([
    ["a name is an exact pattern", "a.example.com", { kind: "exact", text: "a.example.com" }],
    ["a single label is a name", "intranet", { kind: "exact", text: "intranet" }],
    ["an underscore is a letter", "_dmarc.example.com", { kind: "exact", text: "_dmarc.example.com" }],
    ["a public suffix itself is a name", "s3.amazonaws.com", { kind: "exact", text: "s3.amazonaws.com" }],
    ["an A-label is a name", "xn--bcher-kva.de", { kind: "exact", text: "xn--bcher-kva.de" }],
    ["253 characters are a name", longName, { kind: "exact", text: longName }],
    [
      "a star and an apex are a suffix",
      "*.example.com",
      { kind: "suffix", text: "*.example.com", apex: "example.com" },
    ],
    ["an unknown top level is an apex", "*.corp", { kind: "suffix", text: "*.corp", apex: "corp" }],
    [
      "a suffix below a private public suffix is its customer's",
      "*.officecdn.microsoft.com.edgesuite.net",
      {
        kind: "suffix",
        text: "*.officecdn.microsoft.com.edgesuite.net",
        apex: "officecdn.microsoft.com.edgesuite.net",
      },
    ],
  ])("%s", (_sentence, text, pattern) => {
    expect(parsePattern(text, false)).toEqual({ kind: "patterns", patterns: [pattern], rewritten: undefined });
  });
});

describe("a vendor's spelling is rewritten, and the rewriting is reported", () => {
  test.each([
    ["blanks around it", "  logincdn.msauth.net\t", "logincdn.msauth.net"],
    ["a no-break space behind it", "a.example.com\u00a0", "a.example.com"],
    ["upper case", "Example.COM", "example.com"],
    ["one trailing dot", "example.com.", "example.com"],
    ["https and a slash", "https://*.x.com/", "*.x.com"],
    ["http", "http://x.com", "x.com"],
    ["an upper case scheme", "HTTPS://x.com", "x.com"],
    ["a slash behind it", "x.com/", "x.com"],
    ["a leading dot", ".x.com", "*.x.com"],
    ["two stars", "**.x.com", "*.x.com"],
    ["a suffix with a trailing dot", "*.x.com.", "*.x.com"],
    ["U-labels", "bücher.de", "xn--bcher-kva.de"],
    ["U-labels below a star", "*.Bücher.de", "*.xn--bcher-kva.de"],
    ["an ideographic full stop", "bücher。de", "xn--bcher-kva.de"],
    ["fullwidth letters", "ｅxample.com", "example.com"],
    ["upper case in a glob", "GLOB:*CC.centrastage.net", "glob:*cc.centrastage.net"],
    ["a blank behind glob:", "glob: *cc.centrastage.net", "glob:*cc.centrastage.net"],
    ["a trailing dot of a glob", "glob:*cc.centrastage.net.", "glob:*cc.centrastage.net"],
    ["a glob without anything to expand", "glob:example.com", "example.com"],
  ])("%s", (_sentence, text, spelling) => {
    const reading = parsePattern(text, false);
    expect(reading).toMatchObject({ kind: "patterns", rewritten: spelling });
    expect(patternsOf(text).map((pattern) => pattern.text)).toEqual([spelling]);
  });
});

describe("what could surprise is refused, with the line to write where one is evident", () => {
  test.each<[string, string, RegExp, string | undefined]>([
    ["nothing", "", /is empty/, undefined],
    ["blanks only", "  ", /is empty/, undefined],
    ["a scheme only", "https://", /is empty/, undefined],
    ["a star", "*", /covers every host/, undefined],
    ["a star and a dot", "*.", /covers every host/, undefined],
    ["two stars", "**", /covers every host/, undefined],
    ["two starred labels", "*.*", /covers every host/, undefined],
    ["a dot", ".", /has an empty label/, undefined],
    ["an empty label", "a..com", /has an empty label/, undefined],
    ["two leading dots", "..example.com", /has an empty label/, undefined],
    ["two trailing dots", "example.com..", /has an empty label/, undefined],
    ["a glued star", "*foo.com", /would also cover evilfoo\.com/, "*.foo.com"],
    [
      "a glued star below a registrable name",
      "*workload.us-1.cloudone.trendmicro.com",
      /glued/,
      "*.workload.us-1.cloudone.trendmicro.com",
    ],
    ["a star before a hyphen", "*-cdn.example.com", /only a glob/, "glob:*-cdn.example.com"],
    [
      "a star behind a prefix",
      "kv*.prod.do.dsp.mp.microsoft.com",
      /only a glob/,
      "glob:kv*.prod.do.dsp.mp.microsoft.com",
    ],
    ["a star in the middle", "watson.*.microsoft.com", /only a glob/, "glob:watson.*.microsoft.com"],
    ["two starred labels on a name", "*.*.x.com", /only a glob/, "glob:*.*.x.com"],
    ["a question mark", "foo?.example.com", /only a glob/, "glob:foo?.example.com"],
    ["a star that only a bad glob could say", "*.s3.*.amazonaws.com", /only a glob.*anyone can rent/, undefined],
    ["a trailing star", "login.live.com*", /ends in a star/, "login.live.com"],
    ["stars at both ends", "*.centrastage.net*", /ends in a star/, "*.centrastage.net"],
    ["stars glued at both ends", "*foo.example.com*", /ends in a star/, "*.foo.example.com"],
    ["a star for the top level", "www.example.*", /ends in a star/, undefined],
    ["a port", "x.com:80", /expect: \[http:80\]/, "x.com"],
    ["a port below a star", "*.windowsupdate.com:80", /expect: \[http:80\]/, "*.windowsupdate.com"],
    ["a port and a scheme", "http://x.com:8530/", /expect: \[http:8530\]/, "x.com"],
    ["another port", "Server.action1.com:22543", /expect: \[https:22543\]/, "server.action1.com"],
    ["a port that is none", "x.com:65536", /no port follows/, undefined],
    ["a service for a port", "x.com:http", /no port follows/, undefined],
    ["a colon", "x.com:", /no port follows/, "x.com"],
    ["two ports", "x.com:80:80", /no port follows/, undefined],
    ["a path", "datto.com/au/products/rmm/", /CONNECT.*`paths`/, "datto.com"],
    [
      "a path of an address",
      "https://fe3cr.delivery.mp.microsoft.com/ClientWebService/client.asmx",
      /CONNECT/,
      "fe3cr.delivery.mp.microsoft.com",
    ],
    ["any path", "*.microsoft.com/pkiops/*", /CONNECT/, "*.microsoft.com"],
    ["a path and a port", "https://x.com:8443/a", /CONNECT/, "x.com"],
    ["a path alone", "/iau_server.dll", /CONNECT/, undefined],
    ["another scheme", "ftp://x.com/", /scheme ftp/, "x.com"],
    ["a placeholder", "c1ws-notification.<region>.cloudone.trendmicro.com", /placeholder <region>/, undefined],
    ["a placeholder and a star", "*workload.<region>.cloudone.trendmicro.com", /placeholder <region>/, undefined],
    ["a placeholder of a range", "<agents-001 through agents-010>.workload.example.com", /placeholder/, undefined],
    ["a placeholder of a template", "a.${region}.example.com", /placeholder \$\{region\}/, undefined],
    ["a placeholder in braces", "a.{region}.example.com", /placeholder \{region\}/, undefined],
    ["braces", "{us,eu}-cdn.action1.com", /braces/, "glob:{us,eu}-cdn.action1.com"],
    ["an IPv4 address", "10.1.2.3", /`addresses`/, undefined],
    ["an IPv4 address with a port", "10.1.2.3:443", /`addresses`/, undefined],
    ["an IPv4 address in a URL", "http://10.1.2.3/", /`addresses`/, undefined],
    ["an IPv4 block", "10.0.0.0/8", /`addresses`/, undefined],
    ["an IPv4 block that is none", "10.0.0.1/8", /`addresses`/, undefined],
    ["stars for octets", "10.0.0.*", /`addresses`/, undefined],
    ["an IPv6 address", "2001:db8::1", /`addresses`/, undefined],
    ["an IPv6 block", "2001:db8::/32", /`addresses`/, undefined],
    ["an IPv6 address in brackets", "[::1]", /`addresses`/, undefined],
    ["an IPv6 address with a port", "[::1]:443", /`addresses`/, undefined],
    ["an IPv6 address with a zone", "fe80::1%eth0", /`addresses`/, undefined],
    ["a number", "2130706433", /ends in a number/, undefined],
    ["a hexadecimal number", "0x7f000001", /ends in a number/, undefined],
    ["a short address", "0x7f.1", /ends in a number/, undefined],
    ["a number for a top level", "*.example.0x", /ends in a number/, undefined],
    ["an address in fullwidth digits", "１２７.0.0.1", /ends in a number/, undefined],
    ["a top level", "*.com", /public suffix com/, undefined],
    ["a second level that a registry sells under", "*.co.uk", /public suffix co\.uk/, undefined],
    ["a top level that sells no names itself", "*.ck", /public suffix/, undefined],
    ["a public suffix behind a dot", ".co.uk", /public suffix co\.uk/, undefined],
    ["buckets of anyone", "*.s3.amazonaws.com", /s3\.amazonaws\.com.*shared_suffix: true/, undefined],
    ["distributions of anyone", "*.cloudfront.net", /cloudfront\.net.*shared_suffix: true/, undefined],
    ["a name above buckets of anyone", "*.amazonaws.com", /s3\.amazonaws\.com.*shared_suffix: true/, undefined],
    ["a name above storage of anyone", "*.windows.net", /blob\.core\.windows\.net/, undefined],
    ["a negation", "!x.com", /action: deny/, undefined],
    ["a comment", "#x.com", /no comment/, undefined],
    ["a list mark", "- x.com", /pasted list/, "x.com"],
    ["a glued list mark", "-*.x.com", /pasted list/, "*.x.com"],
    ["two hosts", "a.com, b.com", /one host an entry/, undefined],
    ["a blank", "a .com", /one host an entry/, undefined],
    ["a rest of a sentence", "*workload.us-1.cloudone.trendmicro.com )", /one host an entry/, undefined],
    ["user information", "user@x.com", /character "@"/, undefined],
    ["a backslash", "x.com\\a", /character "\\\\"/, undefined],
    ["a NUL", "x.com\0.evil.test", /character "\\u0000"/, undefined],
    ["a percent sign", "%6cocalhost", /character "%"/, undefined],
    ["a percent sign that hides beside a U-label", "é%2f.com", /IDNA/, undefined],
    ["a star beside a U-label", "*é.com", /not ASCII/, undefined],
    ["a long label", `${letters63}a.com`, /63 characters/, undefined],
    ["a long name", `a.${longName}`, /253 characters/, undefined],
  ])("%s", (_sentence, text, message, instead) => {
    const problem = problemOf(text);
    expect(problem.message).toMatch(message);
    expect(problem.instead).toBe(instead);
  });

  test("a proposed line is itself accepted as it stands", () => {
    for (const text of [
      "*foo.com",
      "x.com:80",
      "login.live.com*",
      "HTTPS://*.X.com:8443/a/b",
      "-*.x.com",
      "watson.*.x.com",
    ]) {
      const { instead } = problemOf(text);
      expect(parsePattern(instead ?? "", false)).toMatchObject({ kind: "patterns", rewritten: undefined });
    }
  });
});

describe("shared_suffix admits wildcards where anyone can rent a name, but not where anyone can register one", () => {
  test.each([
    "*.s3.amazonaws.com",
    "*.cloudfront.net",
    "*.amazonaws.com",
    "glob:a1-*.s3.amazonaws.com",
    "glob:*.s3.*.amazonaws.com",
  ])("%s is admitted", (text) => {
    expect(patternsOf(text, true).map((pattern) => pattern.text)).toEqual([text]);
  });
  test.each(["*.com", "*.co.uk", "glob:*.com", "glob:a*.co.uk"])("%s is not", (text) => {
    expect(problemOf(text, true).message).toMatch(/public suffix/);
  });
  test("it changes nothing where there is no need", () => {
    expect(parsePattern("*.example.com", true)).toEqual(parsePattern("*.example.com", false));
  });
});

describe("a glob knows how specific it is", () => {
  test.each([
    ["glob:*cc.centrastage.net", "centrastage.net", 16],
    ["glob:kv*.prod.do.dsp.mp.microsoft.com", "prod.do.dsp.mp.microsoft.com", 25],
    ["glob:watson.*.microsoft.com", "microsoft.com", 18],
    ["glob:**.a-?.corp", "corp", 6],
    ["glob:*.bucket.s3.amazonaws.com", "bucket.s3.amazonaws.com", 20],
  ])("%s", (text, suffix, literalCharacters) => {
    expect(globOf(text)).toMatchObject({ text, suffix, literalCharacters });
  });
});

describe("a glob covers by labels", () => {
  test.each<[string, string, string[], string[]]>([
    [
      "a star glued to a label stays inside it, and may be nothing",
      "glob:*cc.centrastage.net",
      ["01cc.centrastage.net", "concordcc.centrastage.net", "cc.centrastage.net"],
      ["centrastage.net", "a.01cc.centrastage.net", "01cc.centrastage.net.evil.test", "01ccx.centrastage.net"],
    ],
    [
      "a star behind a prefix",
      "glob:kv*.prod.do.dsp.mp.microsoft.com",
      ["kv801.prod.do.dsp.mp.microsoft.com", "kv.prod.do.dsp.mp.microsoft.com"],
      ["kv8.01.prod.do.dsp.mp.microsoft.com", "xkv8.prod.do.dsp.mp.microsoft.com", "prod.do.dsp.mp.microsoft.com"],
    ],
    [
      "a star for a label is one label",
      "glob:watson.*.microsoft.com",
      ["watson.telemetry.microsoft.com", "watson._x-1.microsoft.com"],
      ["watson.microsoft.com", "watson.a.b.microsoft.com", "a.watson.b.microsoft.com"],
    ],
    [
      "two stars are any number of labels, none included",
      "glob:a.**.example.com",
      ["a.example.com", "a.b.example.com", "a.b.c.d.example.com"],
      ["example.com", "b.a.example.com", "aa.example.com", "a.example.com.b"],
    ],
    [
      "two stars in front cover the apex",
      "glob:**.example.com",
      ["example.com", "a.example.com", "a.b.example.com"],
      ["evilexample.com", "example.com.evil.test"],
    ],
    [
      "a question mark is one character",
      "glob:agents-0??.workload.example.com",
      ["agents-001.workload.example.com", "agents-010.workload.example.com"],
      ["agents-01.workload.example.com", "agents-0101.workload.example.com", "agents-0.1.workload.example.com"],
    ],
    [
      "a dot of the pattern is a dot",
      "glob:*.a-b.example.com",
      ["x.a-b.example.com"],
      ["x.a-bxexample.com", "xxa-b.example.com"],
    ],
  ])("%s", (_sentence, text, covered, others) => {
    const { matches } = globOf(text);
    expect(covered.filter((hostname) => !matches(hostname))).toEqual([]);
    expect(others.filter((hostname) => matches(hostname))).toEqual([]);
    for (const hostname of [...covered, ...others]) expect(parseHostname(hostname)).toBe(hostname);
  });
});

describe("braces expand", () => {
  test("to exact names where no wildcard is left", () => {
    expect(patternsOf("glob:{us,eu}-cdn.action1.com")).toEqual([
      { kind: "exact", text: "us-cdn.action1.com" },
      { kind: "exact", text: "eu-cdn.action1.com" },
    ]);
  });
  test.each([
    ["to globs where one is", "glob:{a,b*}.example.com", ["a.example.com", "glob:b*.example.com"]],
    ["with empty values", "glob:{,us-}cdn.action1.com", ["cdn.action1.com", "us-cdn.action1.com"]],
    ["over labels", "glob:x.{a.b,c}.example.com", ["x.a.b.example.com", "x.c.example.com"]],
    ["nested", "glob:{a,{b,c}d}.example.com", ["a.example.com", "bd.example.com", "cd.example.com"]],
    ["without repetition", "glob:{a,b,a}.example.com", ["a.example.com", "b.example.com"]],
  ])("%s", (_sentence, text, expanded) => {
    expect(parsePattern(text, false)).toMatchObject({ kind: "patterns", rewritten: undefined });
    expect(patternsOf(text).map((pattern) => pattern.text)).toEqual(expanded);
  });
  test("to 256 patterns at most", () => {
    expect(patternsOf(`glob:${"{a,b}".repeat(8)}.example.com`)).toHaveLength(256);
    expect(problemOf(`glob:${"{a,b}".repeat(8)}{c,d}.example.com`).message).toMatch(/more than 256/);
  });
  test("no further where a thousand groups are chained or nested", () => {
    expect(problemOf(`glob:${"{a,b}".repeat(800)}.com`).message).toMatch(/more than 256/);
    expect(problemOf(`glob:${"{a,".repeat(1000)}b${"}".repeat(1000)}.com`).message).toMatch(/more than 256/);
    expect(problemOf(`glob:${"{a,b}".repeat(1000)}.com`).message).toMatch(/4096 characters/);
  });
});

describe("a glob is refused", () => {
  test.each<[string, string, RegExp]>([
    ["when it is empty", "glob:", /empty glob/],
    ["when nothing is literal", "glob:*", /last label/],
    ["when its top level is a wildcard", "glob:www.example.*", /last label/],
    ["when its last label holds one", "glob:login.live.com*", /last label/],
    ["when only a public suffix is literal", "glob:a*.com", /public suffix com/],
    ["when only a public suffix of two labels is", "glob:a*.co.uk", /public suffix co\.uk/],
    ["when anyone can rent what it covers", "glob:a1-*.s3.amazonaws.com", /anyone can rent/],
    ["when it reaches over rented zones", "glob:*.s3.*.amazonaws.com", /anyone can rent/],
    ["when one expansion is bad", "glob:{us,eu}-*.{action1.com,com}", /expands to us-\*\.com, which covers/],
    ["when an expansion ends in a number", "glob:*.1", /ends in a number/],
    ["when an expansion is nothing", "glob:{,a.example.com}", /expansion that is empty/],
    ["when all of them are nothing", "glob:{,}", /expansion that is empty/],
    ["when a label is empty", "glob:a..b*.example.com", /empty label/],
    ["when it begins with a dot", "glob:.example.com", /empty label/],
    [
      "when an expansion has an empty label",
      "glob:{,a}.example.com",
      /expands to \.example\.com, which has an empty label/,
    ],
    ["when a brace is not closed", "glob:{a,b.example.com", /not closed/],
    ["when a brace was not opened", "glob:a}.example.com", /not opened/],
    ["when braces hold no comma", "glob:{region}.example.com", /placeholder \{region\}/],
    ["when braces hold nothing", "glob:{}.example.com", /placeholder \{\}/],
    ["when braces hold only braces", "glob:{{a,b}}.example.com", /without a comma/],
    ["when braces hold a range", "glob:{1..1000000}.example.com", /ranges are not expanded/],
    ["when a range stands beside a value", "glob:{1..3,5}.example.com", /empty label/],
    ["when a comma stands outside of braces", "glob:a,b.example.com", /comma outside/],
    ["when a label has three stars", "glob:*a*b*.example.com", /more than 2 stars in a label/],
    ["when it has five wildcards", "glob:*.*.?.*.*.example.com", /more than 4 wildcards/],
    ["when two stars stand twice", "glob:**.a.**.example.com", /more than one \*\*/],
    ["when two stars are glued", "glob:a**.example.com", /not a label of its own/],
    ["when three stars stand together", "glob:***.example.com", /not a label of its own/],
    ["when it has a class", "glob:[ab].example.com", /character "\["/],
    ["when it has an extended group", "glob:+(a).example.com", /character "\+"/],
    ["when it has a negation", "glob:!a*.example.com", /character "!"/],
    ["when it has a backslash", "glob:a\\*.example.com", /character "\\\\"/],
    ["when it has a slash", "glob:*/a.example.com", /character "\/"/],
    ["when it has a port", "glob:*.example.com:80", /character ":"/],
    ["when it has a U-label", "glob:*.bücher.de", /character "ü"/],
    ["when a label is too long", `glob:*.${letters63}a.example.com`, /63 characters/],
  ])("%s", (_sentence, text, message) => {
    expect(problemOf(text).message).toMatch(message);
  });
});

test("the worst globs that the caps permit are fast on the worst names", () => {
  const globs = [
    "**.*a*b.x.corp",
    "**.*a*a.*a.x.corp",
    "*a*b.*a*b.x.corp",
    "**.*.*.*.b",
    "**.?.?.?.b",
    "**.a.a.a.*a*.b",
    "*a*a.**.*a.b.corp",
  ];
  const names = [
    `${"a.".repeat(123)}x.corp`,
    `${"a.".repeat(125)}aab`,
    `${`${letters63}.`.repeat(3)}${"a".repeat(54)}.x.corp`,
    `${`${"a".repeat(61)}b.`.repeat(3)}${"a".repeat(56)}.b`,
  ];
  for (const name of names) expect(parseHostname(name)).toBe(name);
  const matchers = globs.map((glob) => globOf(`glob:${glob}`).matches);
  const started = performance.now();
  const rounds = 50;
  for (let round = 0; round < rounds; round++) {
    for (const matches of matchers) for (const name of names) matches(name);
  }
  const perMatchMs = (performance.now() - started) / (rounds * globs.length * names.length);
  // A few hundredths of a millisecond; a matcher that backtracks would need seconds.
  expect(perMatchMs).toBeLessThan(5);
});
