/**
 * A Bot Agent, which keeps a WebSocket to its Control Room ("After the HTTP/HTTPS connection is established …, the
 * communication will be sent using the WebSocket"; Ports, protocols, and firewall requirements): in the vendor's cloud
 * inside TLS on port 443, on a Control Room of one's own also on port 80, where a client that knows its proxy asks either
 * by CONNECT to port 80 or by a GET in absolute form. The paths are the lab's.
 */
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { acceptOf, readFrame, textFrame } from "../lab/websocket.ts";
import { connectRaw } from "../raw-http.ts";
import { type Step, type Surroundings, hangUp, openTunnel, receive, secure } from "./proxied.ts";

export const cloud = "acme.my.automationanywhere.digital";
export const controlRoom = "controlroom.corp.example";
const path = "/lab/websocket";

export async function runAutomationAnywhere(around: Surroundings): Promise<readonly Step[]> {
  const inTls = await secure(around, await openTunnel(around, `${cloud}:443`), cloud);
  const byConnect = await openTunnel(around, `${controlRoom}:80`);
  // In absolute form the connection to the proxy is the one that is upgraded.
  const direct = (await connectRaw(around.proxyPort)).detach();
  return [
    await greet(inTls, path, cloud, `CONNECT ${cloud}:443, then a WebSocket in TLS`),
    await greet(byConnect, path, controlRoom, `CONNECT ${controlRoom}:80, then a WebSocket`),
    await greet(
      direct,
      `http://${controlRoom}${path}`,
      controlRoom,
      `GET http://${controlRoom}${path}, Upgrade: websocket`,
    ),
  ];
}

async function greet(socket: Socket, target: string, host: string, asked: string): Promise<Step> {
  const key = randomBytes(16).toString("base64");
  socket.write(
    [
      `GET ${target} HTTP/1.1`,
      `Host: ${host}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${key}`,
      "",
      "",
    ].join("\r\n"),
  );
  const head = (await receive(socket, lengthOfHead)).toString("latin1");
  if (!head.includes(`Sec-WebSocket-Accept: ${acceptOf(key)}\r\n`)) throw new Error(`no WebSocket: ${head}`);
  socket.write(textFrame("the bot agent is here", randomBytes(4)));
  const frame = await receive(socket, (bytes) => readFrame(bytes)?.length);
  const heard = readFrame(frame)?.text ?? "";
  await hangUp(socket);
  return { asked, answered: `101 Switching Protocols, then: ${heard}`, heard };
}

function lengthOfHead(bytes: Buffer): number | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  return end < 0 ? undefined : end + 4;
}
