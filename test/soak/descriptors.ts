/**
 * A process whose limit on open files falls to 128 while it runs, so that nothing was adapted to it, and that gets more
 * clients than that: what runs goes on, and all is well afterwards. `open-files.test.ts` has the limit known at start.
 */
import { execFileSync } from "node:child_process";
import { requireTool } from "../support/tools.ts";
import { startEchoOrigins } from "./echo-origin.ts";
import {
  type Scenario,
  clientAddress,
  expectEcho,
  restOf,
  inParallel,
  openTunnel,
  reportRest,
  startProxy,
} from "./scenario.ts";

const limit = 128;
const running = 20;
const crowd = 300;

export const descriptors: Scenario = {
  name: "descriptors",
  title: `with ulimit -n ${limit}: ${running} tunnels echo while ${crowd} more are wanted, again and again`,
  run: async (report, quick) => {
    const rounds = quick ? 2 : 20;
    const origins = await startEchoOrigins();
    const proxy = await startProxy(origins.connectTo);
    const rest = await restOf(proxy, origins.host(0));
    execFileSync(requireTool("prlimit") ?? "prlimit", [
      "--pid",
      String(proxy.process.pid),
      `--nofile=${limit}:${limit}`,
    ]);
    let opened = 0;
    let refused = 0;
    let lost = 0;
    for (let round = 0; round < rounds; round++) {
      // Slots of the crowd before may take a moment.
      const tunnels = await Promise.all(
        Array.from({ length: running }, (_, i) =>
          retry(() => openTunnel(proxy.port, origins.host(i), clientAddress(i))),
        ),
      );
      const some: (() => void)[] = [];
      await inParallel(crowd, crowd, async (i) => {
        try {
          const socket = await openTunnel(proxy.port, origins.host(i), clientAddress(i));
          some.push(() => socket.destroy());
          opened += 1;
        } catch {
          refused += 1;
        }
      });
      for (const socket of tunnels) await expectEcho(socket, Buffer.from("still here")).catch(() => (lost += 1));
      for (const close of some) close();
      for (const socket of tunnels) socket.destroy();
    }
    report("tunnels wanted beyond those that run", rounds * crowd, "");
    report("of them opened", opened, "");
    report("of them refused", refused, "");
    report("running tunnels that were lost", lost, "", { exactly: 0 });
    await reportRest(report, proxy, origins.host(0), rest);
    await proxy.stop();
    await origins.close();
  },
};

async function retry<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 100; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((fulfil) => setTimeout(fulfil, 50));
    }
  }
}
