/**
 * The Workload Security agent: https to its region's hosts, updates and software over HTTP or https ("agents and relays
 * must be able to download software updates from files.trendmicro.com on port 80 or 443"; Required Workload Security
 * URLs), and, seen of an agent behind a proxy, revocation at Amazon's authority over port 80, without which it stops
 * with CRYPT_E_REVOCATION_OFFLINE (0x80092013). `/iau_server.dll` is in Trend's lists; the other paths are the lab's.
 */
import { checkByOcsp } from "./crypto-api.ts";
import { type Question, type Step, type Surroundings, askSecurely, stepOf } from "./proxied.ts";

const question: Question = { method: "GET", fields: [["Accept", "*/*"]] };
const heartbeat = "heartbeat";

export async function runTrend(around: Surroundings): Promise<readonly Step[]> {
  return [
    await checkByOcsp(around, "ocsp.rootca1.amazontrust.com"),
    await askSecurely(around, "https://agents.workload.us-1.cloudone.trendmicro.com/lab/heartbeat", {
      method: "POST",
      fields: [["Content-Length", String(heartbeat.length)]],
      body: heartbeat,
    }),
    await askSecurely(around, "https://relay.workload.us-1.cloudone.trendmicro.com/lab/update", question),
    await stepOf(around, "http://iaus.activeupdate.trendmicro.com/iau_server.dll", question),
    await stepOf(around, "http://files.trendmicro.com/lab/agent.zip", question),
  ];
}
