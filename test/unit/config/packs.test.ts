/** The packs that ship, and the policies beside them. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { disk } from "../../../src/config/disk.ts";
import { loadPolicySet } from "../../../src/config/load.ts";
import { listPacks } from "../../../src/config/packs.ts";
import { formatProblem } from "../../../src/config/problem.ts";

const policies = fileURLToPath(new URL("../../../policies/", import.meta.url));
const packsDir = `${policies}packs`;
const { packs, problems } = listPacks(disk, packsDir);

test("every pack is listed with its title, its sources and the days on which they were read", () => {
  expect(problems).toEqual([]);
  expect(packs.map((pack) => pack.name)).toContain("windows-update");
  for (const pack of packs) {
    expect(pack.title).toBeTruthy();
    expect(pack.rules).toBeGreaterThan(0);
    expect(pack.sources.length).toBeGreaterThan(0);
    expect(pack.checked?.first).toMatch(/^\d{4}-\d\d-\d\d$/);
  }
});

test("parameters are listed with their values", () => {
  expect(packs.find((pack) => pack.name === "trend-micro-workload-security")?.params).toMatchObject([
    { name: "region", values: expect.arrayContaining(["us-1", "de-1"]), optional: false },
  ]);
});

describe("policies that ship load without a problem", () => {
  const sites = readdirSync(policies).filter((file) => file.endsWith(".yaml"));
  test.each([...sites, ...packs.map((pack) => `packs/${pack.name}.yaml`)])("%s", (file) => {
    const result = loadPolicySet({ files: [policies + file], packsDir, ...disk });
    expect(result.kind === "problems" ? result.problems.map(formatProblem) : []).toEqual([]);
  });
});
