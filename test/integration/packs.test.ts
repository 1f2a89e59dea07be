/** What ships under policies/: it loads, checks clean, and decides each case as whoever wrote the case read the vendor. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { disk } from "../../src/config/disk.ts";
import { loadPolicySet } from "../../src/config/load.ts";
import { loadPackCases } from "../../src/config/pack-cases.ts";
import { formatProblem } from "../../src/config/problem.ts";
import { runPolicyTests } from "../../src/config/run-tests.ts";
import { compileRuleset } from "../../src/policy/compile.ts";
import { lintRuleset } from "../../src/review/lint.ts";
import type { PolicySet } from "../../src/policy/rule.ts";

const policiesDir = fileURLToPath(new URL("../../policies", import.meta.url));
const packsDir = join(policiesDir, "packs");
const packs = readdirSync(packsDir).filter((file) => file.endsWith(".yaml") && !file.endsWith(".cases.yaml"));
const now = Date.parse("2026-11-21T12:00:00Z");

function warningsOf(set: PolicySet): readonly string[] {
  return lintRuleset(set, compileRuleset(set), new Set(), now).findings.map(
    ({ rule, message }) => `${rule} ${message}`,
  );
}

describe("every pack", () => {
  test("has cases, and every file of cases has a pack", () => {
    const cases = readdirSync(packsDir).filter((file) => file.endsWith(".cases.yaml"));
    expect(cases.map((file) => file.replace(".cases.yaml", ".yaml")).sort()).toEqual(packs.toSorted());
  });

  test.each(packs)("%s loads and checks without a warning", (file) => {
    const cases = loadPackCases(disk, packsDir, join(packsDir, file));
    if (cases.kind !== "loaded") throw new Error(JSON.stringify(cases));
    expect(cases.notices.map(formatProblem)).toEqual([]);
    expect(warningsOf({ files: [cases.pack], groups: [] })).toEqual([]);
  });

  test.each(packs)("%s decides each of its cases as expected", (file) => {
    const cases = loadPackCases(disk, packsDir, join(packsDir, file));
    if (cases.kind !== "loaded") throw new Error(JSON.stringify(cases));
    expect(cases.cases.length).toBeGreaterThan(0);
    expect(runPolicyTests(compileRuleset(cases.set), cases.cases, now).map(formatProblem)).toEqual([]);
  });

  test.each(packs)("%s is met by its cases rule by rule", (file) => {
    const cases = loadPackCases(disk, packsDir, join(packsDir, file));
    if (cases.kind !== "loaded") throw new Error(JSON.stringify(cases));
    const met = new Set(cases.cases.flatMap(({ rule, expect: verdict }) => (verdict === "allow" ? (rule ?? []) : [])));
    expect(cases.pack.rules.map(({ id }) => `${cases.pack.name}/${id}`).filter((id) => !met.has(id))).toEqual([]);
  });
});

describe.each(["default.yaml", "site.example.yaml"])("the policy %s", (file) => {
  test("loads, passes its tests and checks without a warning", () => {
    const loaded = loadPolicySet({ ...disk, packsDir, files: [join(policiesDir, file)] });
    if (loaded.kind === "problems") throw new Error(loaded.problems.map(formatProblem).join("\n"));
    expect(loaded.notices.map(formatProblem)).toEqual([]);
    expect(loaded.tests.length).toBeGreaterThan(10);
    expect(runPolicyTests(compileRuleset(loaded.set), loaded.tests, now).map(formatProblem)).toEqual([]);
    expect(warningsOf(loaded.set)).toEqual([]);
  });
});
