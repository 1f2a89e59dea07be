/**
 * Splashtop, which is Automox's remote control: https to its API, and a relay on port 443 "including ssl and non-ssl
 * traffic" (support article 115001811966), so the first bytes are no ClientHello. What they are is not public.
 */
import { type Step, type Surroundings, askSecurely, converse, hangUp, openTunnel } from "./proxied.ts";

const relay = "relay-xx.relay.splashtop.com";

export async function runSplashtop(around: Surroundings): Promise<readonly Step[]> {
  const session = await askSecurely(around, "https://st.api.splashtop.com/lab/session", {
    method: "GET",
    fields: [["Accept", "*/*"]],
  });
  const socket = await openTunnel(around, `${relay}:443`);
  const heard = await converse(socket, "SRS\u0002\u0000\u00ff a picture of the screen");
  await hangUp(socket);
  return [
    session,
    {
      asked: `CONNECT ${relay}:443, then bytes that are no TLS`,
      answered: `${heard.length} bytes, as they were sent`,
      heard,
    },
  ];
}
