import { describe, expect, test } from "vitest";
import { formatProblem, sortProblems } from "../../../src/config/problem.ts";
import { parseYaml } from "../../../src/config/yaml.ts";
import { valueOf } from "../../../src/config/yaml-tree.ts";

function read(text: string): { readonly value: unknown; readonly problems: readonly string[] } {
  const { file, problems } = parseYaml("f", text);
  return {
    value: file === undefined ? undefined : valueOf(file.root),
    problems: sortProblems(problems).map(formatProblem),
  };
}

describe("what is refused, where, and what is read on with", () => {
  const alias = (text: string) => `error: \`${text}\` is a YAML alias; quote it: "${text}"\n  hint: write "${text}"`;
  test.each<[sentence: string, text: string, problems: readonly string[], value: unknown]>([
    [
      "an unquoted wildcard in a list",
      "h:\n  - *.x.com\n  - b\n",
      [`f:2:5: ${alias("*.x.com")}`],
      { h: ["*.x.com", "b"] },
    ],
    [
      "two in a flow list",
      "h: [*.x.com, *.y.com]\n",
      [`f:1:5: ${alias("*.x.com")}`, `f:1:14: ${alias("*.y.com")}`],
      { h: ["*.x.com", "*.y.com"] },
    ],
    ["one as a value", "h: *.x.com\nb: 2\n", [`f:1:4: ${alias("*.x.com")}`], { h: "*.x.com", b: 2 }],
    ["one as a key", "*.x.com: 1\n", [`f:1:1: ${alias("*.x.com")}`], { "*.x.com": 1 }],
    [
      "one as a key among others",
      "h:\n  a: 1\n  *.x.com: 2\n  '*.y.com': 3\nb: 4\n",
      [`f:3:3: ${alias("*.x.com")}`],
      { h: { a: 1, "*.x.com": 2, "*.y.com": 3 }, b: 4 },
    ],
    [
      "one as a key in a flow",
      "h: { a: 1, *.x.com: 2 }\n",
      [`f:1:12: ${alias("*.x.com")}`],
      { h: { a: 1, "*.x.com": 2 } },
    ],
    ["two stars", "h: **.x.com\n", [`f:1:4: ${alias("**.x.com")}`], { h: "**.x.com" }],
    ["a bare star", "h: [*]\nb: 2\n", [`f:1:5: ${alias("*")}`], { h: ["*"], b: 2 }],
    ["a wildcard with a port", "h:\n  - *.x.com:80\n", [`f:2:5: ${alias("*.x.com:80")}`], { h: ["*.x.com:80"] }],
    [
      "an anchor",
      "a: &x 1\n",
      ['f:1:4: error: `&x` is a YAML anchor: leave it out, or quote it if it is text\n  hint: write "&x"'],
      { a: 1 },
    ],
    [
      "a tag that YAML knows",
      "a: !!str 2\n",
      ['f:1:4: error: `!!str` is a YAML tag: leave it out, or quote it if it is text\n  hint: write "!!str"'],
      { a: "2" },
    ],
    [
      "a tag that it does not know",
      "a: !foo.com\n",
      ['f:1:4: error: `!foo.com` is a YAML tag: leave it out, or quote it if it is text\n  hint: write "!foo.com"'],
      { a: "!foo.com" },
    ],
    [
      "a merge key",
      "a: { <<: { b: 1 }, c: 2 }\n",
      ["f:1:6: error: `<<` is a YAML merge key: write the fields out"],
      { a: { c: 2 } },
    ],
    [
      "a key twice",
      "a: 1\nb: 2\na: 3\n",
      ["f:3:1: error: `a` stands twice in one mapping, first on line 1"],
      { a: 1, b: 2 },
    ],
    [
      "a key twice in a flow",
      "a: {b: 1, b: 2}\n",
      ["f:1:11: error: `b` stands twice in one mapping, first on line 1"],
      { a: { b: 1 } },
    ],
    ["a mapping as a key", "{a: 1}: 2\nb: 3\n", ["f:1:1: error: `{a: 1}` is no key: a key is one word"], { b: 3 }],
    [
      "a second document",
      "a: 1\n---\nb: 2\n",
      ["f:2:1: error: `---` begins a second document: one file is one document"],
      { a: 1 },
    ],
    [
      "a directive",
      "%YAML 1.1\n---\na: yes\n",
      ["f:1:1: error: `%YAML 1.1` is a YAML directive: leave it out"],
      { a: "yes" },
    ],
    [
      "a tab as indentation, and the rest is read",
      "a: 1\nb:\n\t- x\nc: 3\n",
      ["f:3:1: error: `- x` is indented with a tab: use spaces"],
      { a: 1, b: ["x"], c: 3 },
    ],
    [
      "a value in a value",
      "a: b: c\nd: 1\n",
      ["f:1:4: error: `a: b: c` is not indented as the lines around it ask for, or has a second `: ` and needs quotes"],
      { a: { b: "c", d: 1 } },
    ],
    [
      "a reserved character",
      "a: @foo\nb: `x`\n",
      [
        "f:1:4: error: `a: @foo` has a value that begins with a reserved character: quote the value",
        "f:2:4: error: `b: `x`` has a value that begins with a reserved character: quote the value",
      ],
      { a: "@foo", b: "`x`" },
    ],
    [
      "a quote that is never closed, at the quote",
      'a: 1\nb: "abc\nc: 3\n',
      ['f:2:4: error: `b: "abc` has a quote that is never closed'],
      { a: 1, b: "abc c: 3" },
    ],
    [
      "a key without its colon",
      "a: 1\nb 2\nc: 3\n",
      ["f:2:1: error: `b 2` is no key with a value: write `key: value`"],
      { a: 1, "b 2": null, c: 3 },
    ],
    [
      "a bracket that is not closed",
      "a: [1, 2\nb: 3\n",
      ["f:2:1: error: `b: 3` stands behind a bracket that is not closed, or is not indented far enough"],
      { a: [1, 2], b: 3 },
    ],
    [
      "text behind a quoted value",
      "a: 'it's'\nb: 1\n",
      ["f:1:8: error: `a: 'it's'` goes on behind the end of a value: quote the value as a whole"],
      { a: "it", b: 1 },
    ],
    ["nothing", "", ["f:1:1: error: `f` is empty"], undefined],
    ["nothing but a comment", "# later\n", ["f:1:1: error: `f` is empty"], undefined],
    [
      "bytes that are no UTF-8",
      "a: \ufffd\n",
      ["f:1:4: error: `\ufffd` is not text in UTF-8: save the file in that encoding"],
      undefined,
    ],
    ["brackets without end", "[".repeat(100_000), ["f:1:1: error: `f` is nested too deeply"], undefined],
    [
      "brackets that are only too many",
      `${"[".repeat(100)}${"]".repeat(100)}`,
      ["f:1:1: error: `f` is nested too deeply"],
      undefined,
    ],
  ])("%s", (_, text, problems, value) => {
    expect(read(text)).toEqual({ value, problems });
  });
});

describe("what is fine", () => {
  test.each<[sentence: string, text: string, value: unknown]>([
    ["a byte order mark and CRLF", '\ufeffa: 1\r\nb: "x"\r\n', { a: 1, b: "x" }],
    ["text in blocks", "a: |\n  x\n  y\nb: >-\n  z\n", { a: "x\ny\n", b: "z" }],
    [
      "numbers that no person writes stay text",
      "a: 0x10\nb: 1e3\nc: .inf\nd: 0o7\n",
      { a: "0x10", b: "1e3", c: ".inf", d: "0o7" },
    ],
    [
      "what YAML 1.1 took for something else",
      "a: yes\nb: 12:30:00\nc: 2027-03-01\n",
      { a: "yes", b: "12:30:00", c: "2027-03-01" },
    ],
    ["nothing as a value", "a:\nb: ~\n", { a: null, b: null }],
    ["keys that look like values", "1: a\ntrue: b\nnull: c\n", { "1": "a", true: "b", null: "c" }],
    [
      "a key named like a prototype",
      '{"__proto__": {"a": 1}}\n',
      Object.defineProperty({}, "__proto__", { value: { a: 1 }, enumerable: true }),
    ],
  ])("%s", (_, text, value) => {
    expect(read(text)).toEqual({ value, problems: [] });
  });

  test("columns count from the first character behind a byte order mark", () => {
    expect(read("\ufeffa: *.x.com\r\n").problems[0]).toMatch(/^f:1:4: /);
  });
});
