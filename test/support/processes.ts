/** The workers of a real Sallyport, as the system knows them. Linux only: `canSeeFiles` says whether it can be asked. */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import type { Sallyport } from "./sallyport.ts";

/** Process numbers of its children. */
export function workersOf(proxy: Sallyport): readonly number[] {
  const { pid } = proxy.process;
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}

/** Sockets that a process holds. */
export function socketsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:");
    } catch {
      // Closed in the meantime: the directory's own among others.
      return false;
    }
  }).length;
}

/** False for one that has ended, also where nobody has asked for its exit code yet. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
