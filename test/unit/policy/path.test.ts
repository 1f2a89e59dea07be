/** `paths`: globs over request paths, and every way in which a path has more than one reading. */
import { describe, expect, test } from "vitest";
import { type PathMatcher, compilePaths } from "../../../src/policy/path.ts";

function matcherOf(...globs: string[]): PathMatcher {
  const matcher = compilePaths(globs);
  if ("problem" in matcher) throw new Error(`${globs[matcher.index]} ${matcher.problem}`);
  return matcher;
}

describe("a glob covers paths", () => {
  test.each<[string, string, string[], string[]]>([
    [
      "a path is itself alone, in this case",
      "/a/B.cab",
      ["/a/B.cab"],
      ["/a/b.cab", "/a/B.cab/", "/a", "/a/B.cab/c", "/x/a/B.cab"],
    ],
    ["the root is a path", "/", ["/", "/?q"], ["//", "/a"]],
    ["a slash at the end counts", "/a/", ["/a/"], ["/a", "/a//"]],
    ["the query does not count", "/a", ["/a?b", "/a?/../c", "/a??%2e%zz\\"], ["/?/a"]],
    [
      "a star stays inside a segment and is never an empty one",
      "/a/*",
      ["/a/b", "/a/.b", "/a/b.cab"],
      ["/a", "/a/", "/a/b/", "/a/b/c", "/a//b"],
    ],
    ["a star glued to letters may be nothing", "/a*.cab", ["/a.cab", "/a1.cab"], ["/a/1.cab", "/b.cab"]],
    ["a question mark is one character of a segment", "/a?c", ["/abc", "/a%20c", "/a%C3%A9c"], ["/ac", "/a/c", "/a?c"]],
    [
      "two stars are any number of segments, none included",
      "/a/**",
      ["/a", "/a/", "/a/b", "/a/b/c/", "/a//b"],
      ["/", "/ab", "/b/a"],
    ],
    ["two stars in the middle", "/a/**/z", ["/a/z", "/a/b/z", "/a/b/c/z"], ["/a/zz", "/a/z/", "/z"]],
    ["two stars alone are every path", "/**", ["/", "/a", "/a/b/", "//a"], []],
    [
      "what looks like a group, a negation or a comment is literal",
      "/!(a)+(b)@(c)",
      ["/!(a)+(b)@(c)"],
      ["/bc", "/+b@c", "/x+(b)@(c)"],
    ],
    ["and it is so beside a star", "/+(a)!(b)*", ["/+(a)!(b)", "/+(a)!(b)c"], ["/a", "/aac"]],
    ["a dollar sign is literal", "/a/$", ["/a/$"], ["/a", "/a/"]],
    ["a path is judged decoded", "/a b/é", ["/a%20b/%C3%A9", "/%61%20b/%c3%a9"], ["/a+b/%C3%A9"]],
  ])("%s", (_sentence, glob, covered, others) => {
    const { judge } = matcherOf(glob);
    expect(Object.fromEntries(covered.map((path) => [path, judge(path)]))).toEqual(
      Object.fromEntries(covered.map((path) => [path, "match"])),
    );
    expect(Object.fromEntries(others.map((path) => [path, judge(path)]))).toEqual(
      Object.fromEntries(others.map((path) => [path, "no_match"])),
    );
  });

  test("any glob of a rule suffices, and no glob covers nothing", () => {
    const several = matcherOf("/a", "/b/*", "/c/**");
    expect(["/a", "/b/x", "/c/x/y", "/b"].map(several.judge)).toEqual(["match", "match", "match", "no_match"]);
    expect(several.patterns).toEqual(["/a", "/b/*", "/c/**"]);
    expect(matcherOf().judge("/")).toBe("no_match");
  });
});

describe("a path with more than one reading is ambiguous, even where every path is covered", () => {
  test.each([
    ["nothing", ""],
    ["a query alone", "?a"],
    ["the asterisk form", "*"],
    ["an absolute form", "http://a/b"],
    ["a dot segment", "/a/../b"],
    ["a dot segment that stays", "/a/./b"],
    ["a dot segment at the end", "/a/.."],
    ["an encoded dot segment", "/a/%2e%2e/b"],
    ["a half encoded dot segment", "/a/.%2E/b"],
    ["a dot segment with a path parameter", "/a/..;x=1/b"],
    ["a dot segment with an encoded path parameter", "/a/..%3bx/b"],
    ["a dot segment with a blank behind it", "/a/..%20/b"],
    ["three dots", "/a/.../b"],
    ["an encoded slash", "/a%2fb"],
    ["an encoded slash in upper case", "/a%2Fb"],
    ["a backslash", "/a\\b"],
    ["an encoded backslash", "/a%5c..%5cb"],
    ["an encoded question mark", "/a%3fb"],
    ["an encoded number sign", "/a%23b"],
    ["a number sign", "/a#b"],
    ["an escape twice encoded", "/a/%252e%252e/b"],
    ["an encoded percent sign", "/100%25"],
    ["half an escape", "/a%2"],
    ["an escape that is none", "/a%zz"],
    ["an IIS escape", "/a%u002e"],
    ["a NUL", "/a%00.cab"],
    ["a line feed", "/a%0ab"],
    ["a control character", "/a%7f"],
    ["a C1 control character", "/a%C2%85"],
    ["a zero-width character", "/a%E2%80%8Bb"],
    ["no UTF-8", "/a%ff"],
    ["an overlong slash", "/a%c0%afb"],
    ["an overlong dot", "/%c0%ae%c0%ae/b"],
    ["a surrogate", "/%ed%a0%80"],
    ["fullwidth dots", "/%EF%BC%8E%EF%BC%8E/b"],
    ["a fullwidth solidus", "/a%EF%BC%8Fb"],
    ["a decomposed letter", "/e%CC%81"],
    ["raw bytes beyond ASCII", "/a\u00e9"],
    ["a raw blank", "/a b"],
    ["a raw control character", "/a\0b"],
    ["a raw line feed at the end", "/a\n"],
  ])("%s", (_sentence, path) => {
    expect(matcherOf("/**", path.startsWith("/") ? "/a" : "/").judge(path)).toBe("ambiguous");
  });
});

describe("a glob is refused", () => {
  test.each([
    ["without a slash in front", "a", /begin with \//],
    ["when it is empty", "", /begin with \//],
    ["when it is written encoded", "/a%20b", /percent sign/],
    ["with a class", "/[ab]", /character "\["/],
    ["with braces", "/{a,b}", /character "\{"/],
    ["with a backslash", "/a\\*", /character "\\\\"/],
    ["with a number sign", "/a#b", /character "#"/],
    ["with a control character", "/a\nb", /character "\\n"/],
    ["with a decomposed letter", "/e\u0301", /Unicode/],
    ["with a dot segment", "/a/../b", /dot segment/],
    ["with a dot segment that stays", "/./a", /dot segment/],
    ["with an empty segment", "/a//b", /empty segment/],
    ["with three stars in a segment", "/*a*b*", /more than 2 stars in a segment/],
    ["with five wildcards", "/*/*/*/*/*", /more than 4 wildcards/],
    ["with two stars twice", "/**/a/**", /more than one \*\*/],
    ["with two stars glued", "/a**", /not a segment of its own/],
  ])("%s", (_sentence, glob, problem) => {
    expect(compilePaths(["/fine", glob])).toEqual({ problem: expect.stringMatching(problem), index: 1 });
  });
});

test("the worst globs that the caps permit are fast on long paths", () => {
  const globs = ["/**/*a*b", "/*a*/**/*b", "/**/*a*a/*c", "/*a*b", "/*/*/*/*b", "/*a*/*a*b"];
  const paths = [
    `/${"a/".repeat(8000)}b`,
    `/${"a".repeat(16000)}`,
    `/${`${"a".repeat(99)}/`.repeat(160)}c`,
    `/${"%61".repeat(5000)}`,
  ];
  const matchers = globs.map((glob) => matcherOf(glob));
  const started = performance.now();
  for (const { judge } of matchers) for (const path of paths) expect(judge(path)).toMatch(/match/);
  // About a millisecond each, most of it for reading the path; a matcher that backtracks would need minutes.
  expect((performance.now() - started) / (globs.length * paths.length)).toBeLessThan(50);
});
