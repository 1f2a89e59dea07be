/**
 * `npm run soak [-- --quick] [-- --only NAME]`: minutes of load, outside `npm test`. Prints every figure with its bound as
 * a Markdown table, and exits with 1 where one is beyond it. Linux: it reads /proc.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { churn } from "./churn.ts";
import { descriptors } from "./descriptors.ts";
import { hostileOrigins } from "./hostile-origins.ts";
import { idleTunnels } from "./idle-tunnels.ts";
import { refusals } from "./refusals.ts";
import { reloads } from "./reloads.ts";
import type { Report, Scenario } from "./scenario.ts";
import { slowReaders } from "./slow-readers.ts";

const scenarios: readonly Scenario[] = [
  idleTunnels,
  churn,
  slowReaders,
  hostileOrigins,
  refusals,
  reloads,
  descriptors,
];

const { values } = parseArgs({ options: { only: { type: "string" }, quick: { type: "boolean", default: false } } });
const chosen = scenarios.filter(({ name }) => values.only === undefined || name === values.only);
if (chosen.length === 0) {
  console.error(`no soak is called ${values.only}; there are ${scenarios.map(({ name }) => name).join(", ")}`);
  process.exitCode = 2;
}
if (chosen.length > 0) {
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}`;
  console.log(
    `${new Date().toISOString().slice(0, 10)}, ${machine}, Node ${process.version}${values.quick ? ", --quick" : ""}`,
  );
}
for (const { name, title, run } of chosen) {
  console.log(`\n### ${name}: ${title}\n\n| figure | seen | bound |\n|---|---|---|`);
  const startedAt = performance.now();
  const report: Report = (figure, value, unit, bound) => {
    const isWithin = bound === undefined || (typeof bound === "number" ? value <= bound : value === bound.exactly);
    if (!isWithin) process.exitCode = 1;
    const said = bound === undefined ? "" : typeof bound === "number" ? `at most ${bound} ${unit}` : `${bound.exactly}`;
    console.log(`| ${figure} | ${rounded(value)} ${unit} | ${said.trim()}${isWithin ? "" : " **BROKEN**"} |`);
  };
  try {
    await run(report, values.quick);
  } catch (error) {
    // What it has started goes with this process.
    console.log(`\n**BROKEN**: ${error instanceof Error ? error.stack : String(error)}`);
    process.exit(1);
  }
  console.log(`\n${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
}

function rounded(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}
