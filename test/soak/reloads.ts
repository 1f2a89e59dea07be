/** A thousand reloads while tunnels open, echo and end: none is lost, and nothing of the policies before stays. */
import { randomBytes } from "node:crypto";
import { metricAlone } from "../support/open-resources.ts";
import { policyWith, postReload, replaceFile } from "../support/reload.ts";
import { startEchoOrigins } from "./echo-origin.ts";
import {
  type Scenario,
  clientAddress,
  closed,
  expectEcho,
  openTunnel,
  reportRest,
  restOf,
  startProxy,
} from "./scenario.ts";

const rules = [
  { id: "tls", hosts: ["*.tls.example.com"], expect: "https" },
  { id: "web", hosts: ["*.web.example.com"], expect: "http" },
];

export const reloads: Scenario = {
  name: "reloads",
  title: "reloads one after the other, while 32 tunnels stand and others are opened, echoed through and ended",
  run: async (report, quick) => {
    const count = quick ? 100 : 1_000;
    const origins = await startEchoOrigins();
    const proxy = await startProxy(origins.connectTo, {}, { reload: { watch: false, on_revoke: "close" } });
    const payload = randomBytes(1024);
    // What a policy costs at first is no leak.
    for (let i = 0; i < 50; i++) await reload(i);
    const rest = await restOf(proxy, origins.host(0));
    const standing = await Promise.all(
      Array.from({ length: 32 }, (_, i) => openTunnel(proxy.port, origins.host(i), clientAddress(i))),
    );
    let [failed, opened, lost] = [0, 0, 0];
    const end = new AbortController();
    const churning = Promise.all(
      Array.from({ length: 16 }, async (_, i) => {
        while (!end.signal.aborted) {
          try {
            const socket = await openTunnel(proxy.port, origins.host(i), clientAddress(i));
            await expectEcho(socket, payload);
            socket.resume();
            socket.end();
            await closed(socket);
            opened += 1;
          } catch {
            lost += 1;
          }
        }
      }),
    );
    const startedAt = performance.now();
    for (let i = 0; i < count; i++) if (!(await reload(i))) failed += 1;
    const seconds = (performance.now() - startedAt) / 1000;
    end.abort();
    await churning;
    report("reloads", count, "");
    report("reloads a second", count / seconds, "1/s");
    report("reloads that did not come into force", failed, "", { exactly: 0 });
    report("tunnels opened and ended meanwhile", opened, "");
    report("tunnels that failed or echoed other bytes", lost, "", { exactly: 0 });
    let broken = 0;
    for (const socket of standing) {
      await expectEcho(socket, payload).catch(() => (broken += 1));
      socket.destroy();
    }
    report("standing tunnels lost", broken, "", { exactly: 0 });
    const counted = await metricAlone(proxy, 'sallyport_policy_reloads_total{result="success"}');
    report("reloads missing in the metrics", count + 50 - (counted ?? 0), "", { exactly: 0 });
    await reportRest(report, proxy, origins.host(0), rest);
    await proxy.stop();
    await origins.close();

    async function reload(i: number): Promise<boolean> {
      const other = { id: "other", hosts: [`h${i}.other.example.com`], expect: "https" };
      await replaceFile(proxy, policyWith([...rules, other]));
      const { status, body } = await postReload(proxy);
      return status === 200 && body["result"] === "reloaded" && body["tunnels_revoked"] === 0;
    }
  },
};
