/** Ten thousand tunnels that say nothing, again and again: what each costs, and that memory does not grow round by round. */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { shareOpenFiles } from "../../src/ingress/connection-slots.ts";
import { startEchoOrigins } from "./echo-origin.ts";
import {
  type Scenario,
  clientAddress,
  expectEcho,
  restOf,
  inParallel,
  openTunnel,
  reportRest,
  residentMebibytes,
  startProxy,
} from "./scenario.ts";

/** Between two of them the garbage is collected: what grows then is a leak, and not the collector's patience. */
const rounds = 4;
/** For those that look how it is at rest, while the last round is still being closed. */
const sparedConnections = 10;

export const idleTunnels: Scenario = {
  name: "idle-tunnels",
  title: `idle tunnels, each through both hellos, held open together, then closed, and all again: ${rounds} rounds`,
  run: async (report, quick) => {
    const wanted = quick ? 1_000 : 10_000;
    // As many as the proxy serves with the limit on open files that it has from us.
    const count = shareOpenFiles(wanted, openFilesLimit()).connections - sparedConnections;
    const origins = await startEchoOrigins();
    const proxy = await startProxy(origins.connectTo);
    const rest = await restOf(proxy, origins.host(0));
    const before = residentMebibytes(proxy);
    const peaks: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const tunnels: Socket[] = [];
      await inParallel(count, 100, async (i) => {
        tunnels.push(await openTunnel(proxy.port, origins.host(i), clientAddress(i)));
      });
      const peak = residentMebibytes(proxy);
      await Promise.all(tunnels.map((socket, i) => expectEcho(socket, Buffer.from(`tunnel ${i}`))));
      for (const socket of tunnels) socket.destroy();
      if (round === 0) {
        report("tunnels open at a time", count, "");
        report("memory before", before, "MiB");
        report("memory of one tunnel", ((peak - before) * 1024) / count, "KiB", 64);
      }
      if (round === rounds - 1) await reportRest(report, proxy, origins.host(0), rest);
      else await restOf(proxy, origins.host(0));
      peaks.push(peak);
    }
    report("memory with all of them, first round", peaks[0]!, "MiB");
    report("highest of the rounds after it above that", Math.max(...peaks.slice(1)) - peaks[0]!, "MiB", 32);
    await proxy.stop();
    await origins.close();
  },
};

/** The hard limit, to which Node raises the soft one when it starts. */
function openFilesLimit(): number | undefined {
  const [, hard = ""] = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
  return hard === "unlimited" ? undefined : Number(hard);
}
