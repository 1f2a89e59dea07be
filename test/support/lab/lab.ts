/**
 * Stands in for the vendors: every port that the packs name leads to loopback by `connect_to`, so that the packs stay as
 * they are, `public` and all, and nothing leaves the machine. What goes anywhere else ends in a trap, which counts.
 */
import { once } from "node:events";
import { type Server, createServer as createHttpServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createAuthority } from "../../../src/pki/authority.ts";
import { type Origin as AnyOrigin, startTcpOrigin, startTlsOrigin } from "../tls-origin.ts";
import { type LabRequest, requestOf, serveFiles } from "./file-server.ts";
import { acceptOf, readFrame, textFrame } from "./websocket.ts";

export type Lab = {
  /** For `connect_to` of sallyport.yaml. */
  readonly connectTo: readonly string[];
  /** The certificate, PEM, that issued every other one here: what agents trust, and Windows Update pins. */
  readonly ca: string;
  /** What reached the web servers, in order. */
  readonly requests: readonly LabRequest[];
  /** Connections accepted so far, by all servers. */
  readonly connections: () => number;
  /** Connections to what no agent asks for. */
  readonly trapped: () => number;
  readonly close: () => Promise<void>;
};

type Origin = Pick<AnyOrigin, "port" | "connections" | "close">;

/** Hosts that speak HTTP inside TLS on port 443. */
const webHosts = [
  "fe3cr.delivery.mp.microsoft.com",
  "slscr.update.microsoft.com",
  "api.automox.com",
  "storage-cdn.prod.automox.com",
  "automox-policy-files.s3.us-west-2.amazonaws.com",
  "us-cdn.action1.com",
  "a1-backend-packages.s3.amazonaws.com",
  "concord-agent.centrastage.net",
  "concord.centrastage.net",
  "update-concord.centrastage.net",
  "cpt-concord.centrastage.net.s3.amazonaws.com",
  "st.api.splashtop.com",
  "acme.my.automationanywhere.digital",
  "agents.workload.us-1.cloudone.trendmicro.com",
  "relay.workload.us-1.cloudone.trendmicro.com",
];
const action1Hosts = ["server.action1.com", "54.210.188.13", "34.203.184.16"];
/** Of Datto's platform Concord. */
export const controlChannel = "01concordcc.centrastage.net";
/** Of these, an agent must have one: Datto's own diagnostic looks for ECDHE_RSA with AES. */
const dattoCiphers = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256";

export async function startLab(): Promise<Lab> {
  const made = await createAuthority({ name: "Sallyport lab", now: Date.now(), keyBits: 2048 });
  if (made.kind === "problem") throw new Error(made.problem);
  const { authority } = made;
  const requests: LabRequest[] = [];
  const site = createSite((request) => requests.push(request));

  const plain = await listen(site);
  const web = await startTlsOrigin({
    authority,
    names: webHosts,
    onSecure: (socket) => site.emit("connection", socket),
  });
  // What Action1 and Datto say inside their TLS is not public: bytes, which are sent back.
  const action1 = await startTlsOrigin({
    authority,
    names: action1Hosts,
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.2",
  });
  const channel = await startTlsOrigin({
    authority,
    names: [controlChannel],
    ciphers: dattoCiphers,
    maxVersion: "TLSv1.2",
  });
  const relay = await startTcpOrigin(({ socket }) => {
    socket.on("data", (chunk) => socket.write(chunk));
    socket.on("end", () => socket.end());
  });
  const trap = await startTcpOrigin();
  const origins: readonly Origin[] = [plain, web, action1, channel, relay, trap];

  return {
    // The first that fits counts.
    connectTo: [
      `${controlChannel}:443:127.0.0.1:${channel.port}`,
      `ts.centrastage.net:443:127.0.0.1:${relay.port}`,
      `*.relay.splashtop.com:443:127.0.0.1:${relay.port}`,
      `*:443:127.0.0.1:${web.port}`,
      `*:80:127.0.0.1:${plain.port}`,
      ...action1Hosts.map((host) => `${host}:22543:127.0.0.1:${action1.port}`),
      `::127.0.0.1:${trap.port}`,
    ],
    ca: authority.certPem,
    requests,
    connections: () => origins.reduce((sum, origin) => sum + origin.connections(), 0),
    trapped: () => trap.connections(),
    close: async () => {
      await Promise.all(origins.map((origin) => origin.close()));
    },
  };
}

/** One HTTP server for all hosts, with TLS or without. */
function createSite(remember: (request: LabRequest) => void): Server {
  const site = createHttpServer({ keepAliveTimeout: 30_000 }, serveFiles(remember));
  site.on("upgrade", (request, socket, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    remember(requestOf(request, head));
    greetByWebSocket(request.headers["sec-websocket-key"] ?? "", socket, head);
  });
  return site;
}

/** A Control Room, as far as a connection goes: it tells every text frame back. */
function greetByWebSocket(key: string, socket: Duplex, head: Buffer): void {
  const accept = acceptOf(key);
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let waiting = head;
  const answer = (chunk: Buffer): void => {
    waiting = Buffer.concat([waiting, chunk]);
    for (let frame = readFrame(waiting); frame !== undefined; frame = readFrame(waiting)) {
      waiting = waiting.subarray(frame.length);
      socket.write(textFrame(`Control Room heard: ${frame.text}`));
    }
  };
  answer(Buffer.alloc(0));
  socket.on("data", answer);
  socket.on("end", () => socket.end());
}

/** The same server, listening for plain HTTP. */
async function listen(site: Server): Promise<Origin> {
  const sockets = new Set<Socket>();
  let connections = 0;
  site.on("connection", (socket: Socket) => {
    // Those with TLS are handed over by the server that has them.
    if ("encrypted" in socket) return;
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    sockets.add(socket);
    connections += 1;
  });
  site.listen(0, "127.0.0.1");
  await once(site, "listening");
  return {
    port: (site.address() as AddressInfo).port,
    connections: () => connections,
    close: async () => {
      const closed = once(site, "close");
      site.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
