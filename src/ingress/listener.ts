/** One listening socket: accepts, counts, gives each connection a lane, and drains. */
import { type Server, type Socket, createServer } from "node:net";
import type { ListenerSettings } from "../config/settings.ts";
import { type Link, createChain } from "../egress/chain.ts";
import type { Pool } from "../egress/pool.ts";
import type { ClosedBy } from "../record/event.ts";
import { type Connection, clientOf, createConnection } from "./connection.ts";
import type { ConnectionCounts } from "./connection-counts.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright, openExchange } from "./exchange.ts";
import { type Lane, type LaneServices, serveConnection } from "./lane.ts";
import type { NodeLane } from "./node-lane.ts";
import { refusalOfDenial, refuseSocket } from "./refuse.ts";

export type Listener = {
  /** Binds; answers the port. Rejects with Node's own error (EADDRINUSE, EACCES …). */
  readonly listen: () => Promise<number>;
  /** Stops accepting, lets running exchanges finish, and is fulfilled when all are closed. */
  readonly drain: () => Promise<void>;
  /** Closes everything at once. */
  readonly destroy: (closedBy: ClosedBy) => void;
};

/** Finds peers that vanished without a word, so that their tunnels end before the idle deadline. */
const tcpKeepAliveMs = 60_000;
/** Refused connections of one client that may linger at a time, so that it can be told why. */
const maxRefusedOfClient = 64;

/** What all listeners of a proxy share. */
export type ListenerServices = {
  readonly context: IngressContext;
  /** Connections that are served. */
  readonly counts: ConnectionCounts;
  /** Those that are refused and linger. */
  readonly refused: ConnectionCounts;
  readonly pool: Pool;
  readonly nodeLane: NodeLane;
};

type Tunnel = { readonly close: (closedBy: ClosedBy) => void };

type Client = { readonly socket: Socket; lane: Lane | undefined };

/** Creates a listener of kind `proxy`. */
export function createListener(
  { context, counts, refused, pool, nodeLane }: ListenerServices,
  settings: ListenerSettings,
): Listener {
  const { limits } = context.settings;
  const { host, port } = settings.address;
  const admits = settings.clients === null ? null : new Set(settings.clients);
  const clients = createChain<Client>();
  const tunnels = createChain<Tunnel>();
  const services: LaneServices = { context, pool, nodeLane, track };
  let name = `${host}:${port}`;
  let allClosed: (() => void) | undefined;
  let drained: Promise<void> | undefined;

  const server = createServer({
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: tcpKeepAliveMs,
  });
  server.on("connection", onConnection);

  function onConnection(socket: Socket): void {
    socket.on("error", () => {});
    // Reset before it was accepted: what it asks for would be judged for nobody, and nobody gets the answer.
    if (socket.remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    const connection = createConnection(socket, name, admits);
    const { text } = connection.address;
    const refusedBy = counts.enter(text, perClientLimit(connection));
    const isTold = refusedBy !== undefined && refused.enter(text, maxRefusedOfClient) === undefined;
    const client: Client = { socket, lane: undefined };
    const link = clients.add(client);
    socket.once("close", () => {
      clients.remove(link);
      if (refusedBy === undefined) counts.leave(text);
      else if (isTold) refused.leave(text);
      if (clients.size() === 0) allClosed?.();
    });
    guard(socket, () => {
      if (refusedBy === undefined) {
        client.lane = serveConnection(services, connection);
        return;
      }
      context.metrics.limitRejected(refusedBy);
      if (isTold) refuseConnection(connection);
      else socket.resetAndDestroy();
    });
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

  function track(start: (closed: () => void) => Tunnel): void {
    let over = false;
    let link: Link<Tunnel> | undefined;
    const tunnel = start(() => {
      over = true;
      if (link !== undefined) tunnels.remove(link);
    });
    if (!over) link = tunnels.add(tunnel);
  }

  /** Over a limit of connections. */
  function refuseConnection(connection: Connection): void {
    const exchange = openExchange(context, connection, "http", "");
    const denial = denyOutright("limit_exceeded");
    exchange.note(denial);
    exchange.event.status = 503;
    refuseSocket(context, connection.socket, refusalOfDenial(denial, exchange.event), undefined, () => {});
    exchange.end(undefined, "proxy");
  }

  /** The boundary for bugs: the connection dies, the process lives. */
  function guard(socket: Socket, run: () => void): void {
    try {
      run();
    } catch (error) {
      context.log.problem({ message: "a connection failed", error });
      socket.destroy();
    }
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
        clients.each(({ lane }) => lane?.endIfIdle());
        if (clients.size() === 0) fulfil();
      })),
    destroy: (closedBy) => {
      server.close();
      tunnels.each((tunnel) => tunnel.close(closedBy));
      clients.each(({ socket }) => socket.destroy());
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
