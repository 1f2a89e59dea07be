/**
 * `npm run fuzz`: every part for its share of FUZZ_SECONDS (60), from FUZZ_SEED (a new one each time) on; FUZZ_PARTS
 * chooses, by names with commas between. Ends with 1 when something was found.
 */
import { randomInt } from "node:crypto";
import { findingFile } from "./findings.ts";
import { type Finding, type PartResult, runPart } from "./part.ts";
import { parts } from "./parts.ts";

const seconds = numberOf("FUZZ_SECONDS", 60);
const seed = numberOf("FUZZ_SEED", randomInt(2 ** 32));
const chosen = (process.env["FUZZ_PARTS"] ?? [...parts.keys()].join()).split(",");
const readies = await Promise.all(chosen.map(startPart));
const shares = readies.reduce((sum, { share }) => sum + share, 0);
let found = 0;
console.log(`fuzz: FUZZ_SEED=${seed} FUZZ_SECONDS=${seconds}`);
for (const { part, share, stop } of readies) {
  const ms = (seconds * 1000 * share) / shares;
  const startedAt = performance.now();
  const result = await runPart(part, seed, { ms });
  await stop();
  console.log(summaryOf(part.name, result, performance.now() - startedAt));
  if (result.finding !== undefined) console.log(reportOf(part.name, result.finding));
  if (result.finding !== undefined) found += 1;
}
process.exitCode = found === 0 ? 0 : 1;

function numberOf(name: string, otherwise: number): number {
  const text = process.env[name];
  if (text === undefined || text === "") return otherwise;
  if (!/^\d{1,10}(\.\d+)?$/.test(text)) throw new Error(`${name}=${text} is no number`);
  return Number(text);
}

function startPart(name: string): ReturnType<NonNullable<ReturnType<typeof parts.get>>> {
  const start = parts.get(name);
  if (start === undefined) throw new Error(`there is no part ${name}: one of ${[...parts.keys()].join(", ")}`);
  return start();
}

function summaryOf(name: string, { inputs, outcomes, finding }: PartResult, ms: number): string {
  const counts = `${inputs} inputs, ${outcomes.size} outcomes, ${(ms / 1000).toFixed(1)} s`;
  return `${name}: seed ${seed}: ${counts}: ${finding === undefined ? "nothing found" : "FOUND"}`;
}

function reportOf(name: string, { input, problem }: Finding): string {
  const { path, content } = findingFile(name, input);
  return [
    `  ${problem.replaceAll("\n", "\n  ")}`,
    `  as text:   ${JSON.stringify(Buffer.from(input).toString("latin1"))}`,
    `  as hex:    ${Buffer.from(input).toString("hex")}`,
    `  as base64: ${Buffer.from(input).toString("base64")}`,
    `  again:     FUZZ_SEED=${seed} FUZZ_PARTS=${name} npm run fuzz`,
    `  to keep:   write this line to ${path}, with a note; npm test then checks it every time`,
    `  ${content}`,
  ].join("\n");
}
