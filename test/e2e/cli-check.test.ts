/** `check`, `diff` and `packs` as a program: real files, exit codes and streams. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const policies = fileURLToPath(new URL("../../policies", import.meta.url));

const site = `version: 1
name: site
use: [windows-update, ../packs/own.yaml]
rules:
  - { id: cdn, hosts: [au.download.windowsupdate.com], expect: https }
`;
const own = "version: 1\nname: own\nrules:\n  - { id: a, hosts: [a.example], expect: https }\n";
const ownCases = 'pack: own\ncases:\n  - { request: "CONNECT a.example:443", expect: allow, rule: own/a }\n';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-check-"));
  for (const name of ["policies", "packs"]) mkdirSync(join(directory, name));
  const files = {
    "sallyport.yaml": "version: 1\npolicy: [policies/site.yaml]\n",
    "policies/site.yaml": site,
    "policies/broken.yaml": "version: 1\nname: broken\nrules:\n  - { id: x, hosts: [*.x.com], expect: https }\n",
    "packs/own.yaml": own,
    "packs/own.cases.yaml": ownCases,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function run(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    cwd: directory,
    encoding: "utf8",
  });
  return { exit: status, stdout, stderr };
}

describe("check", () => {
  test("of ./sallyport.yaml says what it warns of, with paths as they stand in it, and runs the cases of its packs", () => {
    const { exit, stdout, stderr } = run("check");
    expect(stdout).toContain(
      "policies/site.yaml:5:5: warning: `cdn` takes decisions away: *.download.windowsupdate.com of windows-update/download no longer decides au.download.windowsupdate.com; lost there: http:80",
    );
    expect(stdout).toMatch(
      /^valid, with 1 warning: 1 rule in 1 site policy, 9 rules in 2 packs, 65 cases of packs passed$/m,
    );
    expect([exit, stderr]).toEqual([0, ""]);
  });

  test("exits 1 with --strict, and 3 on an invalid file with its place and the line to write", () => {
    expect(run("check", "--strict").exit).toBe(1);
    const { exit, stdout, stderr } = run("check", "policies/broken.yaml");
    expect([exit, stdout]).toEqual([3, ""]);
    expect(stderr).toContain("policies/broken.yaml:4:22: error: ");
    expect(stderr).toContain('"*.x.com"');
  });

  test("takes every file of a packs directory", () => {
    const { exit, stdout } = run("check", "packs/own.cases.yaml", "packs/own.yaml");
    expect([exit, stdout]).toEqual([0, "valid: 1 rule in 1 pack, 1 case of packs passed\n"]);
  });

  test("accepts what ships, strictly", () => {
    const { exit, stdout } = run("check", "--strict", "--json", join(policies, "default.yaml"));
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ problems: [], summary: { valid: true, warnings: 0 } });
    expect(run("check", "--strict", join(policies, "site.example.yaml")).exit).toBe(0);
  });
});

describe("diff", () => {
  test("exits 0 where nothing changes, 1 where something does, 3 where a file is invalid", () => {
    expect(run("diff", "sallyport.yaml", "policies/site.yaml").stdout).toBe("nothing changes\n");
    const { exit, stdout } = run("diff", "policies/site.yaml", "packs/own.yaml");
    expect(exit).toBe(1);
    expect(stdout).toMatch(
      /^newly denied\n(.*\n)* {2}http:80 .*\*\.windowsupdate\.com .*no_rule, was allowed by windows-update\/windowsupdate$/m,
    );
    expect(run("diff", "policies/site.yaml", "policies/broken.yaml").exit).toBe(3);
  });
});

describe("packs", () => {
  test("lists the packs that ship, and shows one", () => {
    expect(run("packs").stdout).toMatch(/^windows-update +8 +\d{4}-\d\d-\d\d +Windows Update$/m);
    const { exit, stdout } = run("packs", "show", "trend-micro-workload-security", "--with", "region=de-1");
    expect(exit).toBe(0);
    expect(stdout).toContain("*.workload.de-1.cloudone.trendmicro.com");
    expect(run("packs", "show", "nothing").exit).toBe(2);
  });
});
