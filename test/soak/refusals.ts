/** One client far over its limit, and another that goes on being served: what a refusal costs, and that none is kept. */
import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { openFiles } from "../support/open-resources.ts";
import { startEchoOrigins } from "./echo-origin.ts";
import {
  type Scenario,
  closed,
  expectEcho,
  restOf,
  inParallel,
  openTunnel,
  reportRest,
  residentMebibytes,
  startProxy,
} from "./scenario.ts";

const perClient = 100;
const greedy = "127.0.3.1";
const modest = "127.0.3.2";

export const refusals: Scenario = {
  name: "refusals",
  title: `one client holds its ${perClient} connections and tries more, 500 at a time, while another opens tunnels`,
  run: async (report, quick) => {
    const count = quick ? 2_000 : 30_000;
    const origins = await startEchoOrigins();
    const proxy = await startProxy(origins.connectTo, { per_client: perClient, head_timeout: "10m" });
    const rest = await restOf(proxy, origins.host(0));
    const held = await Promise.all(Array.from({ length: perClient }, () => dial(proxy.port)));
    let refused = 0;
    let warm = 0;
    let highest = 0;
    let mostFiles = 0;
    const over = new AbortController();
    const latencies: number[] = [];
    const served = (async () => {
      while (!over.signal.aborted) {
        const startedAt = performance.now();
        const tunnel = await openTunnel(proxy.port, origins.host(latencies.length), modest);
        await expectEcho(tunnel, Buffer.from("ping"));
        tunnel.destroy();
        latencies.push(performance.now() - startedAt);
      }
    })();
    const startedAt = performance.now();
    await inParallel(count, 500, async (i) => {
      const socket = await dial(proxy.port);
      socket.resume();
      await closed(socket);
      refused += 1;
      if (i % 500 !== 0) return;
      const resident = residentMebibytes(proxy);
      if (i >= count / 5 && warm === 0) warm = resident;
      if (warm > 0) highest = Math.max(highest, resident);
      mostFiles = Math.max(mostFiles, openFiles(proxy));
    });
    const seconds = (performance.now() - startedAt) / 1000;
    over.abort();
    await served;
    latencies.sort((a, b) => a - b);
    report("connections refused", refused, "", { exactly: count });
    report("refused a second", refused / seconds, "1/s");
    report("memory after 20 %", warm, "MiB");
    report("highest above that", highest - warm, "MiB", 128);
    report("most descriptors above rest and the held", mostFiles - rest.files - perClient, "", 100);
    report("tunnels of the other client meanwhile", latencies.length, "");
    report("its median, open and echo", latencies[Math.floor(latencies.length / 2)]!, "ms");
    for (const socket of held) socket.destroy();
    await reportRest(report, proxy, origins.host(0), rest);
    await proxy.stop();
    await origins.close();
  },
};

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress: greedy });
  socket.on("error", () => {});
  await Promise.race([once(socket, "connect").catch(() => {}), closed(socket)]);
  return socket;
}
