/** What a real Sallyport holds open, asked from outside: files, and whatever keeps its event loop alive. */
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { get } from "node:http";
import { text } from "node:stream/consumers";
import type { Sallyport } from "./sallyport.ts";

/** False where the system does not tell what a process holds: everything but Linux. */
export const canSeeFiles = existsSync("/proc/self/fd");

/** For `nodeArguments`: on SIGUSR2 the process names its sockets, servers and timers, in one line on its stderr. */
export const tellsResources: readonly string[] = [
  "--import",
  `data:text/javascript,process.on("SIGUSR2",()=>console.error(JSON.stringify(process.getActiveResourcesInfo())))`,
];

/** For `nodeArguments`, in place of it: on SIGUSR2 the process collects its garbage and says how many bytes are left. */
export const tellsLiveMemory: readonly string[] = [
  "--expose-gc",
  "--import",
  `data:text/javascript,process.on("SIGUSR2",()=>{gc();const m=process.memoryUsage();console.error(m.heapUsed%2bm.external)})`,
];

export type OpenResources = {
  /** Descriptors; 0 where the system does not tell. */
  readonly files: number;
  /** Sockets, servers, timers … by Node's name of their kind. */
  readonly loop: Readonly<Record<string, number>>;
};

/** What is open now, for a process that was started with `tellsResources`. One question at a time. */
export async function openResources(proxy: Sallyport): Promise<OpenResources> {
  const line = await answerToSignal(proxy);
  const loop: Record<string, number> = {};
  for (const kind of JSON.parse(line) as readonly string[]) {
    // A look at a file, as the watch for a changed policy takes now and then, is over in a moment.
    if (!kind.startsWith("FSReq")) loop[kind] = (loop[kind] ?? 0) + 1;
  }
  return { files: openFiles(proxy), loop };
}

/** Heap and buffers that are alive, in bytes, in a process that was started with `tellsLiveMemory`. */
export async function liveBytes(proxy: Sallyport): Promise<number> {
  return Number(await answerToSignal(proxy));
}

/** Descriptors of the process; 0 where the system does not tell. */
export function openFiles(proxy: Sallyport): number {
  return canSeeFiles ? readdirSync(`/proc/${proxy.process.pid}/fd`).length : 0;
}

/** Resident memory of the process in bytes; NaN where the system does not tell. */
export function residentBytes(proxy: Sallyport): number {
  if (!canSeeFiles) return Number.NaN;
  const status = readFileSync(`/proc/${proxy.process.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** The value of a series of /metrics, over a connection that is closed afterwards: it counts among what is open. */
export async function metricAlone(proxy: Sallyport, series: string): Promise<number | undefined> {
  const request = get({ host: "127.0.0.1", port: proxy.adminPort, path: "/metrics", agent: false });
  const [response] = (await once(request, "response")) as [Parameters<typeof text>[0]];
  const line = (await text(response)).split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

async function answerToSignal(proxy: Sallyport): Promise<string> {
  const before = proxy.stderr().length;
  proxy.process.kill("SIGUSR2");
  while (!proxy.stderr().endsWith("\n") || proxy.stderr().length === before) {
    await once(proxy.process.stderr!, "data");
  }
  return proxy.stderr().trimEnd().split("\n").at(-1) ?? "";
}
