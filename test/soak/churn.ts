/** A hundred thousand tunnels opened, used and ended in three ways: nothing of them stays. */
import { randomBytes } from "node:crypto";
import { metricAlone } from "../support/open-resources.ts";
import { startEchoOrigins } from "./echo-origin.ts";
import {
  type Scenario,
  clientAddress,
  closed,
  expectEcho,
  restOf,
  inParallel,
  openTunnel,
  reportRest,
  residentMebibytes,
  startProxy,
} from "./scenario.ts";

export const churn: Scenario = {
  name: "churn",
  title: "tunnels opened, 1 KiB there and back, ended by the client, by the origin or by a reset in turn",
  run: async (report, quick) => {
    const count = quick ? 5_000 : 100_000;
    const origins = await startEchoOrigins();
    const proxy = await startProxy(origins.connectTo);
    const rest = await restOf(proxy, origins.host(0));
    const payload = randomBytes(1024);
    const samples: number[] = [];
    let lost = 0;
    const startedAt = performance.now();
    await inParallel(count, 64, async (i) => {
      if (i % (count / 10) === 0) samples.push(residentMebibytes(proxy));
      try {
        const socket = await openTunnel(proxy.port, origins.host(i), clientAddress(i));
        await expectEcho(socket, payload);
        socket.resume();
        if (i % 3 === 0) socket.end();
        else if (i % 3 === 1) socket.write("Q");
        else socket.resetAndDestroy();
        await closed(socket);
      } catch {
        lost += 1;
      }
    });
    const seconds = (performance.now() - startedAt) / 1000;
    samples.push(residentMebibytes(proxy));
    report("tunnels opened and closed", count, "");
    report("tunnels a second, all on one machine", count / seconds, "1/s");
    report("tunnels that failed or echoed other bytes", lost, "", { exactly: 0 });
    report("memory after 20 %", samples[2]!, "MiB");
    report("memory at the end", samples.at(-1)!, "MiB");
    report("highest after 20 % above that", Math.max(...samples.slice(2)) - samples[2]!, "MiB", 128);
    await reportRest(report, proxy, origins.host(0), rest);
    let total = 0;
    for (const result of ["ok", "client_aborted", "connection_terminated"]) {
      total += (await metricAlone(proxy, `sallyport_tunnels_total{result="${result}"}`)) ?? 0;
    }
    // The first one, and the one that showed that it serves.
    report("tunnels missing in the metrics", count + 1 - Math.min(total, count + 1), "", { exactly: 0 });
    await proxy.stop();
    await origins.close();
  },
};
