/** The end of a program that a test started: asked for, and after a while forced. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

const stopTimeoutMs = 5_000;

/** Fulfilled when it has ended, also where it never began or had ended before. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  const deadline = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
  child.kill("SIGTERM");
  await closed;
  clearTimeout(deadline);
}
