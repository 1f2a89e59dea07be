/** docs/packs.md says what the packs do: the generated part is current, and what is written by hand holds. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { disk } from "../../src/config/disk.ts";
import { decideWith, loadPack, packNames, packsDir, unsaid } from "../support/pack-probes.ts";
import { codeIn, generate, readPage, tableUnder } from "../support/packs-document.ts";
import { run } from "../unit/cli/run-program.ts";

const page = readPage();
const packs = packNames.map(loadPack);
const rules = packs.flatMap((pack) => pack.rules.map(({ id }) => `${pack.name}/${id}`));

/** Tables of vendors' rows, with the number of rows that their documents have. */
const ticked: readonly (readonly [heading: string, rows: number])[] = [
  ["Windows Update: the seven rows", 7],
  ["Windows Update: the Range list", 3],
  ["Action1: North America", 25],
  ["Action1: Europe", 15],
  ["Automox", 20],
  ["Datto RMM", 12],
  ["Trend: required URLs", 17],
  ["Trend: required ports", 16],
  ["Automation Anywhere", 14],
];

describe("the generated part", () => {
  test("is current", () => {
    expect(page.generated, "docs/packs.md is behind the packs: run `npm run docs:packs`").toBe(generate());
  });

  test("is what `sallyport packs --markdown` prints", async () => {
    const { exit, stdout, stderr } = await run(["packs", "--markdown"]);
    expect([exit, stderr, `\n${stdout}\n`]).toEqual([0, "", generate()]);
  });

  test("is not printed where a pack is broken", async () => {
    const readFile = (path: string): string =>
      disk.readFile(path).replace(path.endsWith("/wsus.yaml") ? "expect: https" : "(nothing)", "expect: gopher");
    const { exit, stdout, stderr } = await run(["packs", "--markdown"], { io: { disk: { ...disk, readFile } } });
    expect([exit, stdout]).toEqual([3, ""]);
    expect(stderr).toContain("gopher");
  });

  test("has every rule of every pack, with a source", () => {
    for (const { name, rules: own } of packs) {
      const section = page.generated.split(/^### /m).find((part) => part.startsWith(`${name}\n`)) ?? "";
      const rows = section.split("\n").filter((line) => line.startsWith("| `"));
      expect(rows.map((line) => codeIn(line.split(" | ").at(-2) ?? "")[0])).toEqual(own.map(({ id }) => id));
      expect(rows.filter((line) => !/ \d+, (document|verbatim|3p-verbatim) \|$/.test(line))).toEqual([]);
    }
  });

  test("shows a parameter in the host, not one of its values", () => {
    expect(page.generated).toContain("`*.workload.<region>.cloudone.trendmicro.com`");
    expect(page.generated).toContain("`<tenant>.my.automationanywhere.digital`");
    expect(page.generated).toContain("`<control_room>`");
    expect(page.generated).not.toContain("sample-of");
  });
});

describe("what is written by hand", () => {
  test("names only rules that exist", () => {
    const isRule = new RegExp(`^(${packNames.join("|")})/[a-z0-9-]+$`);
    const named = codeIn(page.byHand).filter((code) => isRule.test(code));
    expect(named.length).toBeGreaterThan(100);
    expect([...new Set(named)].filter((id) => !rules.includes(id))).toEqual([]);
  });

  test("names every rule of the packs that come from vendors' tables", () => {
    const tables = ["windows-update", "action1-", "automox", "datto-rmm", "trend-", "automation-anywhere"];
    const named = new Set(codeIn(page.byHand));
    const missing = rules.filter((id) => tables.some((start) => id.startsWith(start)) && !named.has(id));
    expect(missing).toEqual([]);
  });

  test("links to headings that exist", () => {
    const anchors = Array.from(page.byHand.matchAll(/^#+ (.+)$/gm), ([, heading = ""]) =>
      heading
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, "")
        .replaceAll(" ", "-"),
    );
    const links = Array.from(page.byHand.matchAll(/\]\(#([^)]+)\)/g), ([, anchor = ""]) => anchor);
    expect(links.filter((link) => !anchors.includes(link))).toEqual([]);
  });
});

describe("the contradictions", () => {
  const rows = tableUnder(page.byHand, "Where documents contradict each other");

  test("are numbered, and every number that is mentioned is there", () => {
    expect(rows.length).toBeGreaterThanOrEqual(7);
    expect(rows.map(([number]) => number)).toEqual(rows.map((_, i) => `${i + 1}`));
    const mentioned = page.byHand.matchAll(/\(contradictions? ([\d and]+)\)/g);
    const numbers = Array.from(mentioned, ([, text = ""]) => text.split(" and ")).flat();
    expect(numbers.filter((number) => !rows.some(([known]) => known === number))).toEqual([]);
  });

  test("are commented in just the packs that the table names", () => {
    const named = rows.flatMap(([number, ...cells]) => codeIn(cells.at(-1) ?? "").map((pack) => `${pack} ${number}`));
    const commented = packNames.flatMap((pack) => {
      const comments = readFileSync(join(packsDir, `${pack}.yaml`), "utf8").replaceAll(/\n *# */g, " ");
      return Array.from(new Set(Array.from(comments.matchAll(/contradiction (\d+)/g), ([, n = ""]) => n))).map(
        (number) => `${pack} ${number}`,
      );
    });
    expect(commented.sort()).toEqual(named.sort());
  });
});

describe.each(ticked)("the table %s", (heading, count) => {
  const rows = tableUnder(page.byHand, heading);

  test("has every row of the document, in order", () => {
    expect(rows.map(([number]) => number)).toEqual(Array.from({ length: count }, (_, i) => `${i + 1}`));
  });

  test("says of every row which rule it became, or why it became none", () => {
    for (const [number, , , became = ""] of rows) {
      const isTicked = codeIn(became).some((code) => rules.includes(code));
      const saysWhy = /^(not carried|not a rule|not a row of its own|not in this pack): \S/.test(became);
      expect(isTicked || saysWhy, `row ${number}: ${became}`).toBe(true);
    }
  });

  test("names for every host the rule that decides it in that pack alone", () => {
    for (const [number, host = "", , became = ""] of rows) {
      const ids = codeIn(became).filter((code) => rules.includes(code));
      const deciding = codeIn(host).map((name) => decidingRules(name, ids));
      expect(
        deciding.map((found) => found.length > 0),
        `row ${number}: ${host}`,
      ).not.toContain(false);
      if (ids.length > 0) expect(codeIn(host).length, `row ${number} has no host`).toBeGreaterThan(0);
      const [firstPack] = ids[0]?.split("/") ?? [];
      const own = ids.filter((id) => id.startsWith(`${firstPack}/`));
      expect(
        own.filter((id) => !deciding.flat().includes(id)),
        `row ${number}: ticked by no host`,
      ).toEqual([]);
    }
  });
});

/** Which of some rules allow a host, each alone in its pack, in any way. */
function decidingRules(host: string, ids: readonly string[]): readonly string[] {
  const filled = { "<region>": "us-1", "<tenant>": "acme", "<control_room>": "controlroom.corp.example" };
  let name = host.replace(/^\*\./, "a.");
  for (const [parameter, value] of Object.entries(filled)) name = name.replace(parameter, value);
  return packs.flatMap((pack) => {
    if (!ids.some((id) => id.startsWith(`${pack.name}/`))) return [];
    const decide = decideWith([pack]);
    const ways = [
      { ...unsaid, method: "GET", target: `http://${name}/` },
      ...[80, 443, 22543].map((port) => ({ ...unsaid, method: "CONNECT", target: `${name}:${port}` })),
    ];
    return ways.flatMap((request) => {
      const { verdict, decided } = decide(request);
      const id = verdict === "allow" ? decided.rule?.fullId : undefined;
      return id !== undefined && ids.includes(id) ? [id] : [];
    });
  });
}
