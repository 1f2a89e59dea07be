/** CPU and memory of a process with all its descendants, as Linux tells it in /proc. */
import { existsSync, readFileSync, readdirSync } from "node:fs";

/** Linux tells these times in hundredths of a second on every machine that Node runs on. */
const tickMs = 10;

/** False where the system does not tell. */
export const canMeasure = existsSync("/proc/self/stat") && existsSync("/proc/self/smaps_rollup");

/** User and system time so far in ms, that of children that are gone and were waited for included. */
export function cpuMsOf(root: number): number {
  let ticks = 0;
  for (const { times } of treeOf(root)) ticks += times;
  return ticks * tickMs;
}

/** Memory in kB: pages that several processes share are parted among them. Kernel memory is not in it. */
export function memoryKbOf(root: number): number {
  let sum = 0;
  for (const { pid } of treeOf(root)) {
    sum += Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]);
  }
  return sum;
}

type Process = { readonly pid: number; readonly parent: number; readonly times: number };

function treeOf(root: number): readonly Process[] {
  const all = readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? (readStat(name) ?? []) : []));
  const tree = all.filter(({ pid }) => pid === root);
  if (tree.length === 0) throw new Error(`process ${root} is gone`);
  for (const { pid } of tree) tree.push(...all.filter(({ parent }) => parent === pid));
  return tree;
}

/** Undefined for a process that has ended meanwhile. */
function readStat(pid: string): Process | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name of the program stands in brackets and may hold anything; proc(5) counts the fields from 1.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const field = (number: number): number => Number(fields[number - 3]);
    return { pid: Number(pid), parent: field(4), times: field(14) + field(15) + field(16) + field(17) };
  } catch {
    return undefined;
  }
}
