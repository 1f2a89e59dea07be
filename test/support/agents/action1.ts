/**
 * The Action1 agent: "22543 TCP, TLS 1.2 over TCP" to server.action1.com or to one of the addresses that are listed for
 * it, and to Remote Desktop relays, which have addresses alone (Firewall Configuration). What it says inside is not
 * public and not HTTP. Packages come by https. Whether the agent itself uses a proxy: no public text was found.
 */
import {
  type Question,
  type Step,
  type Surroundings,
  askSecurely,
  converse,
  hangUp,
  openTunnel,
  secure,
} from "./proxied.ts";

const question: Question = {
  method: "GET",
  fields: [
    ["User-Agent", "Action1"],
    ["Accept", "*/*"],
  ],
};
const said = "\u0000\u0000\u0000\u0010 what is to be done?";

export async function runAction1(around: Surroundings): Promise<readonly Step[]> {
  return [
    await talk(around, "server.action1.com", "server.action1.com"),
    // To an address there is no name to send (RFC 6066 section 3).
    await talk(around, "54.210.188.13", ""),
    await talk(around, "34.203.184.16", ""),
    await askSecurely(around, "https://us-cdn.action1.com/lab/package", question),
    await askSecurely(around, "https://a1-backend-packages.s3.amazonaws.com/lab/package", question),
  ];
}

async function talk(around: Surroundings, host: string, servername: string): Promise<Step> {
  const tunnel = await openTunnel(around, `${host}:22543`);
  const socket = await secure(around, tunnel, servername, {
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.2",
    // Without a name to send, Node would check the certificate against none.
    ...(servername === "" ? { host } : {}),
  });
  const version = socket.getProtocol() ?? "no TLS";
  const heard = await converse(socket, said);
  await hangUp(socket);
  return {
    asked: `CONNECT ${host}:22543, then bytes in ${version}`,
    answered: `${heard.length} bytes, as they were sent`,
    heard,
  };
}
