import { describe, expect, test } from "vitest";
import { run } from "./run-program.ts";

const trend = "trend-micro-workload-security";

describe("packs", () => {
  test("lists every pack with its rules, the day it was checked, its title and parameters", async () => {
    const { exit, stdout, stderr } = await run(["packs"]);
    expect([exit, stderr]).toEqual([0, ""]);
    const lines = stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.split(/ {2,}/));
    expect(lines[0]).toEqual(["pack", "rules", "checked", "title", "parameters"]);
    expect(lines).toContainEqual(["windows-update", "8", "2026-11-21", "Windows Update"]);
    expect(lines).toContainEqual([trend, "15", "2026-11-21", "Trend Cloud One Workload Security", "region"]);
    expect(lines).toContainEqual([
      "automation-anywhere",
      "3",
      "2026-11-21",
      "Automation Anywhere",
      "[tenant], [control_room]",
    ]);
    expect(lines.every(([name]) => !String(name).includes("cases"))).toBe(true);
  });

  test("answers in JSON, with sources", async () => {
    const { stdout } = await run(["packs", "--json"]);
    const { packs } = JSON.parse(stdout) as { packs: readonly Readonly<Record<string, unknown>>[] };
    expect(packs.find(({ name }) => name === "automox-analytics")).toMatchObject({
      rules: 1,
      checked: { first: "2026-11-21", last: "2026-11-21" },
      sources: [{ title: expect.any(String), address: expect.stringMatching(/^https:/) }],
      params: [],
    });
  });
});

describe("packs show", () => {
  test("tells rules, hosts, expectations, Range and sources", async () => {
    const { exit, stdout } = await run(["packs", "show", "windows-update"]);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^windows-update: Windows Update\n/);
    expect(stdout).toMatch(
      /^payload +\*\.dl\.delivery\.mp\.microsoft\.com +http:80 +allow +Windows Update issues.*\(verbatim\)$/m,
    );
    expect(stdout).toMatch(/^metadata +\*\.delivery\.mp\.microsoft\.com +https:443 +Windows Update issues/m);
    expect(stdout).toMatch(/\n8 rules\n$/);
  });

  test("fills parameters with one value, several, or all", async () => {
    const hostsOf = async (...args: readonly string[]): Promise<readonly string[]> => {
      const { exit, stdout } = await run(["packs", "show", trend, ...args]);
      expect(exit).toBe(0);
      return stdout.match(/\*\.workload\.\S+/g) ?? [];
    };
    const host = (region: string): string => `*.workload.${region}.cloudone.trendmicro.com`;
    expect(await hostsOf("--with", "region=de-1")).toEqual([host("de-1")]);
    expect(await hostsOf("--with", "region=de-1,us-1")).toEqual([host("us-1"), host("de-1")]);
    expect(await hostsOf("--with", "region=de-1", "--with", "region=us-1")).toEqual([host("us-1"), host("de-1")]);
    expect(await hostsOf("--with", "region=all")).toHaveLength(6);
  });

  test("answers in JSON, with fields named as in a policy", async () => {
    const { exit, stdout } = await run([
      "packs",
      "show",
      "automation-anywhere",
      "--with",
      "tenant=acme,control_room=cr.corp.example",
      "--json",
    ]);
    const shown = JSON.parse(stdout) as { with: unknown; rules: readonly unknown[] };
    expect(exit).toBe(0);
    expect(shown.with).toEqual({ tenant: "acme", control_room: "cr.corp.example" });
    expect(shown.rules).toHaveLength(3);
    expect(shown.rules[0]).toMatchObject({
      id: "automation-anywhere/cloud",
      hosts: ["acme.my.automationanywhere.digital"],
      addresses: [],
      expect: ["https:443"],
      source: { checked: "2026-11-21" },
    });
  });

  test("shows an address alone, and a block with the length of its prefix", async () => {
    const addresses = ["192.0.2.7", "192.0.2.8/32", "192.0.0.0/24", "2001:db8::/32", "2001:db8::7", "2001:db8::8/128"];
    const pack = `version: 1\nname: relays\nrules:\n  - { id: r, addresses: ${JSON.stringify(addresses)}, expect: https }\n`;
    const io = { policiesDir: "/none", disk: { readFile: () => pack, listFiles: () => ["relays.yaml"] } };
    const { stdout } = await run(["packs", "show", "relays"], { io });
    const shown = stdout.match(/[0-9a-f]+[.:]\S+/g);
    expect(shown).toEqual(["192.0.2.7", "192.0.2.8", "192.0.0.0/24", "2001:db8::/32", "2001:db8::7", "2001:db8::8"]);
    const document = await run(["packs", "--markdown"], { io });
    expect(document.stdout).toContain(`| ${shown?.map((text) => `\`${text}\``).join("<br>")} |`);
  });

  const wrong: Readonly<Record<string, readonly [args: readonly string[], said: readonly string[]]>> = {
    "a misspelt name": [
      ["windows-updat"],
      ['error: there is no pack "windows-updat"', "hint: did you mean windows-update?"],
    ],
    "a name like no other": [
      ["xyzzy"],
      ['error: there is no pack "xyzzy"', "hint: the packs are action1-eu, action1-na"],
    ],
    "a path": [["../default"], ['error: there is no pack "../default"']],
    "a parameter that is missing": [
      [trend],
      [`error: ${trend} needs the parameter region`, "us-1, de-1, gb-1, jp-1, sg-1, ae-1", `--with region=us-1`],
    ],
    "a misspelt parameter": [
      [trend, "--with", "regio=de-1"],
      ['error: "regio" is no parameter', "did you mean region?"],
    ],
    "an unknown value": [
      [trend, "--with", "region=de-2"],
      ['error: "de-2" is no value', "us-1, de-1, gb-1, jp-1, sg-1, ae-1"],
    ],
    "a value without a parameter": [
      [trend, "--with", "de-1"],
      ["error: --with de-1 has no parameter: write parameter=value", "--with region=us-1"],
    ],
    "a parameter of a pack that has none": [
      ["windows-update", "--with", "region=de-1"],
      ['error: "region" is no parameter of windows-update'],
    ],
    "neither of two parameters": [
      ["automation-anywhere"],
      ["needs at least one of its parameters: tenant, control_room", "--with tenant=acme"],
    ],
  };
  test.each(Object.entries(wrong))("exits 2 on %s and says what would be right", async (_, [args, said]) => {
    const { exit, stdout, stderr } = await run(["packs", "show", ...args]);
    expect([exit, stdout]).toEqual([2, ""]);
    for (const text of said) expect(stderr).toContain(text);
  });
});

describe("help", () => {
  test.each([["check"], ["diff"], ["packs"], ["packs", "show"]])("of %s %s has an example", async (...command) => {
    const { exit, stdout } = await run([...command, "--help"]);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/Examples?:\n {2}\$ sallyport /);
  });
});
