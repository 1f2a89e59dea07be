/** The small parts: units, suggestions, places, and how a problem is told. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Problem, formatProblem, sortProblems } from "../../../src/config/problem.ts";
import { createSourceText, placeAt } from "../../../src/config/source-text.ts";
import { suggest } from "../../../src/config/suggest.ts";
import { suggestForm, textForms } from "../../../src/config/text-forms.ts";
import { formatDuration, formatSize, parseDuration, parseSize } from "../../../src/config/units.ts";

describe("units", () => {
  test.each([
    ["500ms", 500],
    ["5s", 5000],
    ["15m", 900_000],
    ["2h", 7_200_000],
    ["0s", 0],
    ["5", undefined],
    ["5 s", undefined],
    ["1.5h", undefined],
    ["05s", undefined],
    ["-1s", undefined],
    ["1d", undefined],
    ["", undefined],
  ])("the duration %j is %j ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    ["512B", 512],
    ["32KiB", 32_768],
    ["1MiB", 1_048_576],
    ["32KB", undefined],
    ["32", undefined],
    ["32kib", undefined],
  ])("the size %j is %j bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test("what is written is read back", () => {
    fc.assert(
      fc.property(fc.nat(100_000_000), (value) => {
        expect(parseDuration(formatDuration(value))).toBe(value);
        expect(parseSize(formatSize(value))).toBe(value);
      }),
    );
  });
});

test("whatever a form suggests has the form", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.values(textForms)),
      fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9 .:/_-]{1,12}$/)),
      (form, text) => {
        const suggestion = suggestForm(form, text);
        if (suggestion !== undefined) expect([text, suggestion]).toEqual([text, expect.stringMatching(form.pattern)]);
      },
    ),
    { numRuns: 2000 },
  );
});

describe("did you mean", () => {
  const known = ["range", "resolves_to", "idle_timeout", "sni", "hosts"];
  test.each([
    ["rnage", "range"],
    ["idleTimeout", "idle_timeout"],
    ["idle-timeout", "idle_timeout"],
    ["host", "hosts"],
    ["resolve_to", "resolves_to"],
    ["SNI", "sni"],
    ["purpose", undefined],
    ["x", undefined],
    ["", undefined],
  ])("%j: %j", (word, meant) => {
    expect(suggest(word, known)).toBe(meant);
  });
});

test("line and column are those that counting gives", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("a", "\n", "\r\n", "é") }), fc.nat(40), (text, at) => {
      const before = text.slice(0, at).split("\n");
      const place = placeAt(createSourceText("f", text), Math.min(at, text.length));
      expect(place).toEqual({ file: "f", line: before.length, column: before.at(-1)!.length + 1 });
    }),
  );
});

describe("how a problem is told", () => {
  const problem: Problem = {
    severity: "error",
    place: { file: "f", line: 2, column: 3 },
    offending: "x",
    message: "is wrong",
    instead: undefined,
  };

  test("with its place, the text, and what to write", () => {
    expect(formatProblem(problem)).toBe("f:2:3: error: `x` is wrong");
    expect(formatProblem({ ...problem, severity: "warning", instead: "y" })).toBe(
      "f:2:3: warning: `x` is wrong\n  hint: write y",
    );
    expect(formatProblem({ ...problem, place: { file: "--listen", line: 0, column: 0 } })).toBe(
      "--listen: error: `x` is wrong",
    );
  });

  test("on one line, cut, and without what would steer a terminal", () => {
    expect(formatProblem({ ...problem, offending: "a\nb" })).toBe("f:2:3: error: `a…` is wrong");
    expect(formatProblem({ ...problem, offending: "\u001b[2J\u202e" })).toBe(
      "f:2:3: error: `\\u001b[2J\\u202e` is wrong",
    );
    expect(formatProblem({ ...problem, offending: "a".repeat(500) }).length).toBeLessThan(150);
  });

  test("in the order of files, lines and columns, each once", () => {
    const at = (file: string, line: number, column: number): Problem => ({ ...problem, place: { file, line, column } });
    expect(
      sortProblems([at("b", 1, 1), at("a", 10, 1), at("a", 9, 2), at("a", 9, 1), at("a", 9, 2)]).map((p) =>
        formatProblem(p).slice(0, 6),
      ),
    ).toEqual(["a:9:1:", "a:9:2:", "a:10:1", "b:1:1:"]);
  });
});
