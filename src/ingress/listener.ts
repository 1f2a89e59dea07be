/** One listening socket: accepts, counts, hands each exchange to its handler, and drains. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { Socket } from "node:net";
import type { ListenerSettings } from "../config/settings.ts";
import type { Forwarder } from "../egress/forward.ts";
import type { ClosedBy } from "../record/event.ts";
import type { Malformation } from "../wire/refusal.ts";
import { type RequestHead, readHead } from "../wire/request-head.ts";
import { handleConnect } from "./connect.ts";
import { type Connection, clientOf, createConnection, takeTurn } from "./connection.ts";
import type { ConnectionCounts } from "./connection-counts.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright, openExchange } from "./exchange.ts";
import { refusalOfDenial, refusalOfMalformed, refuseSocket } from "./refuse.ts";
import { handleRequest } from "./request.ts";
import { handleWebSocket } from "./websocket.ts";

export type Listener = {
  /** Binds; answers the port. Rejects with Node's own error (EADDRINUSE, EACCES …). */
  readonly listen: () => Promise<number>;
  /** Stops accepting, lets running exchanges finish, and is fulfilled when all are closed. */
  readonly drain: () => Promise<void>;
  /** Closes everything at once. */
  readonly destroy: (closedBy: ClosedBy) => void;
};

/** How often Node looks for heads that are late. */
const lateHeadCheckMs = 500;
/** Finds peers that vanished without a word, so that their tunnels end before the idle deadline. */
const tcpKeepAliveMs = 60_000;
/** Refused connections of one client that may linger at a time, so that it can be told why. */
const maxRefusedOfClient = 64;
/** Requests that may wait behind the one that is served; package managers send up to ten. */
const maxPipelined = 100;

/** Creates a listener of kind `proxy`. `counts`, of those that are served, and `refused` are shared by all listeners. */
export function createListener(
  context: IngressContext,
  settings: ListenerSettings,
  counts: ConnectionCounts,
  refused: ConnectionCounts,
  forward: Forwarder,
): Listener {
  const { limits } = context.settings;
  const { host, port } = settings.address;
  const admits = settings.clients === null ? null : new Set(settings.clients);
  const connections = new WeakMap<Socket, Connection>();
  const sockets = new Set<Socket>();
  const tunnels = new Set<{ readonly close: (closedBy: ClosedBy) => void }>();
  let name = `${host}:${port}`;
  let allClosed: (() => void) | undefined;
  let drained: Promise<void> | undefined;

  const server = createServer({
    maxHeaderSize: limits.headBytes,
    requireHostHeader: false,
    connectionsCheckingInterval: Math.min(lateHeadCheckMs, limits.headTimeoutMs),
    headersTimeout: limits.headTimeoutMs,
    requestTimeout: 0,
    keepAliveTimeout: limits.keepaliveTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelay: tcpKeepAliveMs,
  });
  // All are seen, and counted by `readHead`: beyond a limit of its own Node 20 drops fields without a word, and Node 24
  // calls the head too large. `maxHeaderSize` is the bound on both.
  server.maxHeadersCount = 0;
  server.prependListener("connection", onConnection);
  server.on("request", onRequest);
  server.on("checkContinue", onRequest);
  server.on("checkExpectation", onRequest);
  server.on("connect", (request: IncomingMessage, socket: Socket, head: Buffer) => onTunnel(request, socket, head));
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => onUpgrade(request, socket, head));
  server.on("clientError", onClientError);

  function onConnection(socket: Socket): void {
    socket.on("error", () => {});
    // Reset before it was accepted: what it asks for would be judged for nobody, and nobody gets the answer.
    if (socket.remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    const connection = createConnection(socket, name, admits);
    connections.set(socket, connection);
    sockets.add(socket);
    const { text } = connection.address;
    const refusedBy = counts.enter(text, perClientLimit(connection));
    const isTold = refusedBy !== undefined && refused.enter(text, maxRefusedOfClient) === undefined;
    socket.once("close", () => {
      sockets.delete(socket);
      if (refusedBy === undefined) counts.leave(text);
      else if (isTold) refused.leave(text);
      if (sockets.size === 0) allClosed?.();
    });
    if (refusedBy === undefined) return;
    context.metrics.limitRejected(refusedBy);
    connection.refused = true;
    if (isTold) guard(connection, () => refuseConnection(connection));
    else socket.resetAndDestroy();
  }

  /** The first of the client's groups that has a limit of its own decides. */
  function perClientLimit(connection: Connection): number {
    const { groups } = context.ruleset();
    for (const number of clientOf(connection, context.ruleset()).groups) {
      const limit = groups[number]?.perClient;
      if (limit !== undefined) return limit;
    }
    return limits.perClient;
  }

  function onRequest(request: IncomingMessage, response: ServerResponse): void {
    request.on("error", () => {});
    response.on("error", () => {});
    const connection = connections.get(request.socket);
    if (connection === undefined || connection.refused) {
      request.resume();
      return;
    }
    if (connection.waiting.length >= maxPipelined) {
      connection.refused = true;
      takeTurn(connection, () => guard(connection, () => refuseConnection(connection)));
      return;
    }
    takeTurn(connection, (done) => {
      guard(connection, () => {
        handleRequest(context, forward, connection, request, response, () => {
          done();
          if (!connection.busy && context.isDraining()) server.closeIdleConnections();
        });
      });
    });
  }

  function onTunnel(request: IncomingMessage, socket: Socket, head: Buffer): void {
    begin(socket, (connection) => track((closed) => handleConnect(context, connection, headOf(request), head, closed)));
  }

  /** An upgrade listener makes Node hand over every request with Upgrade, whatever it asks for. */
  function onUpgrade(request: IncomingMessage, socket: Socket, early: Buffer): void {
    const head = headOf(request);
    const reading = readHead(head, limits.fields);
    // HTTP/1.0 has no Upgrade, and whoever sends the field means nothing by it (RFC 9110 section 7.8).
    const asks = request.method === "GET" && request.httpVersion === "1.1";
    const isPlain = reading.kind === "head" && !(asks && reading.upgrade === "websocket");
    begin(socket, (connection, done) => {
      if (!isPlain) return track((closed) => handleWebSocket(context, connection, head, early, closed));
      done();
      readAgain(connection, request, early);
    });
  }

  /** A bodiless request with another Upgrade goes on without it: back to the parser, with the field taken out. */
  function readAgain({ socket }: Connection, request: IncomingMessage, early: Buffer): void {
    const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
    for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
      if (request.rawHeaders[i]?.toLowerCase() === "upgrade") continue;
      lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    }
    socket.unshift(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), early]));
    server.removeListener("connection", onConnection);
    server.emit("connection", socket);
    server.prependListener("connection", onConnection);
  }

  /** Tunnels begin when the exchanges before them on the connection are over: answers keep their order. */
  function begin(socket: Socket, start: (connection: Connection, done: () => void) => void): void {
    const connection = connections.get(socket);
    if (connection === undefined || connection.refused) {
      // Whoever has refused the connection closes it, after the answers that are still to come.
      socket.resume();
      return;
    }
    takeTurn(connection, (done) => guard(connection, () => start(connection, done)));
  }

  function track(start: (closed: () => void) => { readonly close: (closedBy: ClosedBy) => void }): void {
    let over = false;
    const tunnel = start(() => {
      over = true;
      if (tunnel !== undefined) tunnels.delete(tunnel);
    });
    if (!over) tunnels.add(tunnel);
  }

  /** The one boundary for bugs: the connection dies, the process lives. */
  function guard(connection: Connection, run: () => void): void {
    try {
      run();
    } catch (error) {
      context.log.problem({ message: "an exchange failed", error });
      connection.socket.destroy();
    }
  }

  function onClientError(error: ParserError, socket: Socket): void {
    const connection = connections.get(socket);
    const how = malformationOf(error);
    if (connection === undefined || how === undefined || !socket.writable) {
      socket.destroy();
      return;
    }
    if (connection.onBrokenBody?.() === true) {
      connection.refused = true;
      return;
    }
    if (connection.refused) return;
    connection.refused = true;
    takeTurn(connection, () => guard(connection, () => refuseHead(connection, how)));
  }

  function refuseHead(connection: Connection, how: Malformation): void {
    const exchange = openExchange(context, connection, "http", "");
    exchange.note(denyOutright("bad_request"));
    const refusal = refusalOfMalformed(how, headProblems[how], exchange.event);
    exchange.event.status = refusal.status;
    if (how === "head_timeout") context.metrics.limitRejected("head_timeout");
    if (how === "head_too_large") context.metrics.limitRejected("head");
    refuseSocket(context, connection.socket, refusal, undefined, () => {});
    exchange.end(undefined, "proxy");
  }

  /** Over a limit: of connections, or of requests on one of them. */
  function refuseConnection(connection: Connection): void {
    const exchange = openExchange(context, connection, "http", "");
    const denial = denyOutright("limit_exceeded");
    exchange.note(denial);
    exchange.event.status = 503;
    refuseSocket(context, connection.socket, refusalOfDenial(denial, exchange.event), undefined, () => {});
    exchange.end(undefined, "proxy");
  }

  return {
    listen: () =>
      listenOn(server, host, port).then((bound) => {
        name = `${host}:${bound}`;
        return bound;
      }),
    drain: () =>
      (drained ??= new Promise((fulfil) => {
        allClosed = fulfil;
        server.close();
        server.closeIdleConnections();
        if (sockets.size === 0) fulfil();
      })),
    destroy: (closedBy) => {
      server.close();
      for (const tunnel of tunnels) tunnel.close(closedBy);
      for (const socket of sockets) socket.destroy();
    },
  };
}

function listenOn(server: Server, host: string, port: number): Promise<number> {
  return new Promise((fulfil, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.removeListener("error", reject);
      const address = server.address();
      fulfil(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

function headOf({ method = "", url = "", httpVersion, rawHeaders }: IncomingMessage): RequestHead {
  return { method, url, httpVersion, rawFields: rawHeaders };
}

type ParserError = Error & { readonly code?: string; readonly reason?: string };

/** What Node's parser found wrong; undefined where nobody is left to be told. */
function malformationOf({ code = "", reason }: ParserError): Malformation | undefined {
  if (code === "HPE_HEADER_OVERFLOW") return "head_too_large";
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return "head_timeout";
  if (code === "HPE_INVALID_VERSION" && reason === "Invalid HTTP version") return "version_unsupported";
  if (code === "HPE_INVALID_EOF_STATE") return undefined;
  return code.startsWith("HPE_") ? "bad_request" : undefined;
}

/** What the body of a refusal says where Node's parser gave up. */
const headProblems: Readonly<Record<Malformation, string>> = {
  bad_request: "the request head is malformed",
  head_timeout: "the request head did not arrive in time",
  head_too_large: "the request head, or the target in it, is too large",
  too_many_fields: "the request head has too many fields",
  coding_unknown: "the transfer coding is unknown",
  version_unsupported: "HTTP/1.0 and HTTP/1.1 are spoken here",
  expectation_failed: "the expectation cannot be met",
};
