/** A firewall's allow-list becomes rules, and what cannot is named with its line. */
import { describe, expect, test } from "vitest";
import { importList } from "../../../src/review/import-list.ts";

/** `hosts or addresses -> expect` of each rule. */
function rulesOf(text: string): readonly string[] {
  return importList("list.txt", text).rules.map(
    ({ hosts, addresses, expect: endpoints }) => `${[...hosts, ...addresses].join(" ")} -> ${endpoints.join(" ")}`,
  );
}

function lostOf(text: string): readonly string[] {
  return importList("list.txt", text)
    .findings.filter(({ effect }) => effect !== "note")
    .map(({ at, effect, message }) => `${at?.line} ${effect}: ${message}`);
}

describe("an entry", () => {
  test.each([
    ["api.automox.com", "api.automox.com -> http https"],
    ["  API.Automox.com.   # the agent", "api.automox.com -> http https"],
    ["*.windowsupdate.com:80", "*.windowsupdate.com -> http"],
    [".delivery.mp.microsoft.com 443,80", "*.delivery.mp.microsoft.com -> http https"],
    ["https://server.action1.com/", "server.action1.com -> https"],
    ["https://server.action1.com:22543", "server.action1.com -> https:22543"],
    ["server.action1.com tcp/22543", "server.action1.com -> tcp:22543"],
    ["allow tcp a.example 443", "a.example -> https"],
    ["a.example http https", "a.example -> http https"],
    ["54.210.188.13 22543", "54.210.188.13 -> tcp:22543"],
    ["10.20.0.0/16", "10.20.0.0/16 -> http https"],
    ["10.20.0.0/16:8530", "10.20.0.0/16 -> tcp:8530"],
    ["2001:db8::/32", "2001:db8::/32 -> http https"],
    ["[2001:db8::1]:443", "2001:db8::1 -> https"],
    ["glob:{us,eu}-cdn.action1.com:443", "eu-cdn.action1.com us-cdn.action1.com -> https"],
    ["glob:kv*.prod.do.dsp.mp.microsoft.com", "glob:kv*.prod.do.dsp.mp.microsoft.com -> http https"],
  ])("%s becomes %s", (line, expected) => {
    expect(rulesOf(line)).toEqual([expected]);
    expect(lostOf(line)).toEqual([]);
  });

  test.each([
    ["*.com", /^1 narrower: \*\.com covers everybody's names/],
    ["0.0.0.0/0", /is every address/],
    ["10.0.0.1/8", /write 10\.0\.0\.0\/8/],
    ["a.example 3478/udp", /UDP does not go through/],
    ["a.example 8000-9000", /8000-9000 is no port of its own/],
    ["a.example:99999", /99999 is no port/],
    ["kv*.example.com", /glob:kv\*\.example\.com/],
    ["<region>.example.com", /placeholder/],
  ])("%s is not carried over, and becomes nothing", (line, lost) => {
    expect(rulesOf(line)).toEqual([]);
    expect(lostOf(line)).toEqual([expect.stringMatching(lost)]);
  });

  test("with a path lets more pass, which is said", () => {
    expect(rulesOf("http://a.example/only/this")).toEqual(["a.example -> http"]);
    expect(lostOf("\n\nhttp://a.example/only/this")).toEqual([
      expect.stringMatching(/^3 wider: the path \/only\/this/),
    ]);
  });

  test("on a suffix that anyone can rent names below says so in the rule", () => {
    expect(importList("l", "*.s3.amazonaws.com").rules[0]).toMatchObject({ sharedSuffix: true });
  });
});

test("entries of one host are one rule, and https on a port wins over any bytes there", () => {
  expect(rulesOf("a.example 22543\nhttps://a.example:22543/\na.example:80\nb.example:80")).toEqual([
    "a.example -> http https:22543",
    "b.example -> http",
  ]);
});

test("comments and empty lines are nothing", () => {
  expect(importList("l", "# a\n\n   \n; b\n// c\n").rules).toEqual([]);
});
