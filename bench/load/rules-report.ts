/** The growth with the number of rules, as Markdown tables to print. */
import { formatTable } from "../support/markdown-table.ts";
import { formatNumber } from "./report.ts";
import type { RulesResult } from "./rules.ts";

export function describeRules({ counts, load }: RulesResult): readonly string[] {
  const names = [...new Set(counts.flatMap(({ contenders }) => contenders.map(({ name }) => name)))];
  const table = (
    title: string,
    cell: (one: (typeof counts)[number]["contenders"][number]) => string,
  ): readonly string[] => [
    "",
    ...formatTable([
      [title, ...counts.map(({ rules }) => rules.toLocaleString("en"))],
      ...names
        .map((name) => [
          name,
          ...counts.map(({ contenders }) => {
            const found = contenders.find((one) => one.name === name);
            return found === undefined ? "–" : cell(found);
          }),
        ])
        .filter((row) => row.slice(1).some((text) => text !== "")),
    ]),
  ];
  return [
    ...table(
      "ns for a host that a rule covers (÷ lru-cache hit)",
      ({ ns, ratio }) => `${formatNumber(ns)} (${ratio.toFixed(2)})`,
    ),
    ...table("memory, MB", ({ megabytes }) => (megabytes === undefined ? "" : formatNumber(megabytes))),
    ...table("building it, ms", ({ buildMs }) => (buildMs === undefined ? "" : formatNumber(buildMs))),
    "",
    `${load.rules.toLocaleString("en")} rules from a YAML file of ${formatNumber(load.fileMegabytes)} MB: ` +
      `read and validated in ${formatNumber(load.readMs / 1000)} s, compiled in ${formatNumber(load.compileMs / 1000)} s, ` +
      `at most ${formatNumber(load.peakMegabytes)} MB resident`,
  ];
}
