/** docs/migrating.md shows what the import really makes of its example. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { run } from "./cli/run-program.ts";

const text = readFileSync(fileURLToPath(new URL("../../docs/migrating.md", import.meta.url)), "utf8");
const block = (language: string): string =>
  new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\`$`, "m").exec(text)?.[1] ?? "";

test("the example's policy is what is printed, and what it says is lost is said", async () => {
  const { exit, stdout, stderr } = await run(["import", "squid", "squid.conf"], {
    files: { "squid.conf": block("squid") },
  });
  expect(parse(stdout)).toEqual(parse(block("yaml")));
  const said = /^squid\.conf:\d+: not carried over.*$/m.exec(text)?.[0] ?? "nothing";
  expect(stderr).toContain(said);
  expect(exit).toBe(1);
});

test("what it names of a firewall's list becomes what it says", async () => {
  const rows = Array.from(text.matchAll(/^\| (`[^|]+) \| ([^|]+) \|$/gm), ([, lines = "", becomes = ""]) => ({
    lines: Array.from(lines.matchAll(/`([^`]+)`/g), ([, line = ""]) => line),
    becomes,
  })).filter(({ lines }) => lines.some((line) => /^(api\.automox|\.windows|server|10\.|relay)/.test(line)));
  expect(rows.length).toBe(5);
  for (const { lines, becomes } of rows) {
    const { exit } = await run(["import", "list", "l"], { files: { l: lines.join("\n") } });
    expect([lines, exit]).toEqual([lines, becomes.startsWith("not carried over") ? 1 : 0]);
  }
});
