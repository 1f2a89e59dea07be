/** Node's HTTP server within limits, for the two listeners of this room: everything ends in time, and nothing is tunnelled. */
import { type IncomingMessage, type Server, createServer } from "node:http";
import type { Duplex } from "node:stream";

export type ServerLimits = {
  /** Connections at a time; more are closed at once. */
  readonly connections: number;
  readonly headBytes: number;
  readonly headTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Between requests, and between two writes to a client that reads slowly. */
  readonly idleTimeoutMs: number;
};

const refusalTimeoutMs = 1_000;

/** Refuses CONNECT; answers nothing else by itself. */
export function createLimitedServer(limits: ServerLimits): Server {
  const server = createServer({
    maxHeaderSize: limits.headBytes,
    headersTimeout: limits.headTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.idleTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, limits.headTimeoutMs),
  });
  server.maxConnections = limits.connections;
  // Node drops fields beyond the count in silence, a second Host among them; headBytes bounds them instead.
  server.maxHeadersCount = 0;
  server.setTimeout(limits.idleTimeoutMs);
  server.on("connect", refuseUpgrade);
  return server;
}

/** Node hands the socket of a CONNECT or an upgrade over without listener, deadline or owner: it ends here. */
export function refuseUpgrade(_incoming: IncomingMessage, socket: Duplex): void {
  socket.on("error", () => socket.destroy());
  const deadline = setTimeout(() => socket.destroy(), refusalTimeoutMs);
  socket.once("close", () => clearTimeout(deadline));
  socket.resume();
  socket.end("HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}
