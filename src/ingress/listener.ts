/**
 * One listening socket: accepts, counts, finds out who came, gives each connection a lane, and drains.
 *
 *   accepted ──► PROXY header ──► counted ──► TLS handshake ──► served: a lane, or a redirected tunnel
 *                (where the listener has one)  (likewise)   └──► over a limit: told so, and closed
 *
 * Until it is served a connection is this file's, with `head_timeout` for each step, and it counts in `connections`.
 */
import { type Server, type Socket, createServer } from "node:net";
import { LRUCache } from "lru-cache";
import type { ListenerSettings } from "../config/settings.ts";
import { type Chain, type Link, createChain } from "../egress/chain.ts";
import type { Deadline } from "../egress/deadlines.ts";
import type { Pool } from "../egress/pool.ts";
import { heedErrors } from "../egress/socket-owner.ts";
import { type Address, cidrContains, parseAddress } from "../names/address.ts";
import type { ClosedBy } from "../record/event.ts";
import { alertBytes, alertOfReason } from "../wire/tls-alert.ts";
import { createAuthenticate } from "./authenticate.ts";
import { handleConnect } from "./connect.ts";
import { type Arrival, type Connection, clientOf, createConnection } from "./connection.ts";
import type { ConnectionCounts } from "./connection-counts.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright, openExchange } from "./exchange.ts";
import { type Lane, type LaneServices, serveConnection } from "./lane.ts";
import { endAndLinger } from "./linger.ts";
import type { NodeLane } from "./node-lane.ts";
import type { ComparePassword } from "./passwords.ts";
import { type ProxyHeaderFinding, readProxyHeader } from "./proxy-header.ts";
import { refusalOfDenial, refuseSocket } from "./refuse.ts";
import { type Secured, createTlsTerminator } from "./terminate-tls.ts";
import type { Tunnel } from "./tunnel-review.ts";

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
/** Who stays so long is probed from then on: most are gone before, and it takes four system calls. */
const staysAfterMs = 30_000;
/** Refused connections of one client that may linger at a time, so that it can be told why. */
const maxRefusedOfClient = 64;
/** Of peers that speak no PROXY protocol, or must not, one line in so many milliseconds is enough. */
const strangerEveryMs = 60_000;

/** What all listeners of a proxy share. */
export type ListenerServices = {
  readonly context: IngressContext;
  /** Connections that are served. */
  readonly counts: ConnectionCounts;
  /** Those that are refused and linger. */
  readonly refused: ConnectionCounts;
  readonly pool: Pool;
  readonly nodeLane: NodeLane;
  /** Tunnels of all listeners, those that are being opened among them. */
  readonly tunnels: Chain<Tunnel>;
  readonly comparePassword: ComparePassword;
};

type Client = {
  readonly socket: Socket;
  lane: Lane | undefined;
  /** By TCP's keep-alive. */
  isProbed: boolean;
  /** Where it is counted, and under which name. */
  countedIn: ConnectionCounts | undefined;
  countedAs: string;
};

/** Creates a listener of kind `proxy`, `sni` or `http`. */
export function createListener(
  { context, counts, refused, pool, nodeLane, tunnels: allTunnels, comparePassword }: ListenerServices,
  settings: ListenerSettings,
): Listener {
  const { limits } = context.settings;
  const { kind, proxyProtocol } = settings;
  const { host, port } = settings.address;
  const admits = settings.clients === null ? null : new Set(settings.clients);
  const onProblem = (error: unknown): void => context.log.problem({ message: "a connection failed", error });
  const terminateTls =
    settings.tls === undefined ? undefined : createTlsTerminator(settings.tls, limits.headTimeoutMs, onProblem);
  const authenticate =
    settings.auth === undefined
      ? undefined
      : createAuthenticate({ users: settings.auth, compare: comparePassword, now: () => performance.now() });
  const clients = createChain<Client>();
  const tunnels = createChain<Tunnel>();
  const services: LaneServices = { context, pool, nodeLane, track };
  let name = `${host}:${port}`;
  let allClosed: (() => void) | undefined;
  let drained: Promise<void> | undefined;
  let strangerToldAtMs = -Infinity;
  let probing: Deadline | undefined;

  const server = createServer({ allowHalfOpen: true, noDelay: true });
  server.on("connection", onConnection);

  function onConnection(socket: Socket): void {
    heedErrors(socket);
    const peer = peerOf(socket);
    // Reset before it was accepted: what it asks for would be judged for nobody, and nobody gets the answer.
    if (peer === undefined) {
      socket.destroy();
      return;
    }
    const client: Client = { socket, lane: undefined, isProbed: false, countedIn: undefined, countedAs: "" };
    const link = clients.add(client);
    probing ??= context.deadlines.after(staysAfterMs, probe);
    socket.on("close", () => {
      clients.remove(link);
      countOut(client);
      if (clients.size() > 0) return;
      probing?.cancel();
      probing = undefined;
      lookWhetherAllClosed();
    });
    guard(socket, () => {
      if (proxyProtocol === null) admit(client, peer);
      else if (proxyProtocol.some((block) => cidrContains(block, peer))) introduce(client, peer);
      else refuseStranger(socket, peer, "is not in proxy_protocol.from of");
    });
  }

  function probe(): void {
    clients.each((client) => {
      if (!client.isProbed) client.socket.setKeepAlive(true, tcpKeepAliveMs);
      client.isProbed = true;
    });
    probing = context.deadlines.after(staysAfterMs, probe);
  }

  /** Of a load balancer: it says for whom it speaks. Until then the connection is its own. */
  function introduce(client: Client, balancer: Address): void {
    const { socket } = client;
    // One address has all of them: only the limit on all connections holds.
    const full = counts.enter(balancer.text, limits.connections);
    if (full !== undefined) {
      context.metrics.limitRejected("connections");
      socket.resetAndDestroy();
      return;
    }
    client.countedIn = counts;
    client.countedAs = balancer.text;
    const onFinding = (finding: ProxyHeaderFinding): void => {
      countOut(client);
      if (finding.kind === "header") admit(client, finding.source ?? balancer);
      else if (finding.kind === "nothing") socket.destroy();
      else refuseStranger(socket, balancer, `sent no valid PROXY header (${finding.detail}) to`);
    };
    readProxyHeader(socket, context.deadlines, limits.headTimeoutMs, (finding) =>
      guard(socket, () => onFinding(finding)),
    );
  }

  /** Counts the client, whatever comes of it, and goes on. */
  function admit(client: Client, address: Address): void {
    const { socket } = client;
    const { text } = address;
    const inClear = createConnection(arrivalOf({ socket, subject: undefined }, address));
    const refusedBy = counts.enter(text, perClientLimit(inClear));
    const isTold = refusedBy !== undefined && refused.enter(text, maxRefusedOfClient) === undefined;
    client.countedAs = text;
    if (refusedBy === undefined) client.countedIn = counts;
    else if (isTold) client.countedIn = refused;
    if (refusedBy !== undefined) context.metrics.limitRejected(refusedBy);
    if (refusedBy !== undefined && !isTold) {
      socket.resetAndDestroy();
      return;
    }
    const goOn = (connection: Connection): void => {
      if (refusedBy === undefined) serve(client, connection);
      else refuseConnection(connection);
    };
    if (terminateTls === undefined) goOn(inClear);
    else terminateTls(socket, (secured) => guard(socket, () => goOn(createConnection(arrivalOf(secured, address)))));
  }

  function serve(client: Client, connection: Connection): void {
    if (kind === "sni")
      track((closed) => handleConnect(context, connection, { kind: "sni", port: settings.port }, closed));
    else client.lane = serveConnection(services, connection);
    // Whoever read a header has paused it.
    if (connection.socket.isPaused()) connection.socket.resume();
  }

  function arrivalOf({ socket, subject }: Secured, address: Address): Arrival {
    const redirectedPort = kind === "http" ? settings.port : undefined;
    return { socket, address, listener: name, admits, redirectedPort, subject, authenticate };
  }

  /** The first of the client's groups that has a limit of its own decides; of those that its address is in. */
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
    let links: readonly [Link<Tunnel>, Link<Tunnel>] | undefined;
    const tunnel = start(() => {
      over = true;
      if (links === undefined) return;
      tunnels.remove(links[0]);
      allTunnels.remove(links[1]);
      lookWhetherAllClosed();
    });
    if (!over) links = [tunnels.add(tunnel), allTunnels.add(tunnel)];
  }

  /** A tunnel is over when both its ends are closed, which the client's may be first. */
  function lookWhetherAllClosed(): void {
    if (clients.size() === 0 && tunnels.size() === 0) allClosed?.();
  }

  function refuseStranger(socket: Socket, peer: Address, why: string): void {
    socket.resetAndDestroy();
    const nowMs = context.now();
    if (nowMs - strangerToldAtMs < strangerEveryMs) return;
    strangerToldAtMs = nowMs;
    context.log.problem({ message: `a connection was refused: ${peer.text} ${why} ${name}` });
  }

  /** Over a limit of connections. */
  function refuseConnection(connection: Connection): void {
    const exchange = openExchange(context, connection, kind === "sni" ? "connect" : "http", "");
    const denial = denyOutright("limit_exceeded");
    exchange.note(denial);
    if (kind === "sni") {
      endAndLinger(connection.socket, alertBytes(alertOfReason(denial.reason) ?? 0), () => {});
    } else {
      exchange.event.status = 503;
      refuseSocket(context, connection.socket, refusalOfDenial(denial, exchange.event), undefined, () => {});
    }
    exchange.end(undefined, "proxy");
  }

  /** The boundary for bugs: the connection dies, the process lives. */
  function guard(socket: Socket, run: () => void): void {
    try {
      run();
    } catch (error) {
      onProblem(error);
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
        lookWhetherAllClosed();
      })),
    destroy: (closedBy) => {
      server.close();
      tunnels.each((tunnel) => tunnel.close(closedBy));
      clients.each(({ socket }) => socket.destroy());
    },
  };
}

/** Undefined of a socket that was reset before it was accepted. */
function peerOf({ remoteAddress }: Socket): Address | undefined {
  if (remoteAddress === undefined) return undefined;
  const known = peers.get(remoteAddress);
  if (known !== undefined) return known;
  const peer = parseAddress(remoteAddress.split("%", 1)[0] ?? "");
  if (peer !== undefined) peers.set(remoteAddress, peer);
  return peer;
}

/** The same few come again and again. */
const peers = new LRUCache<string, Address>({ max: 4_096 });

function countOut(client: Client): void {
  client.countedIn?.leave(client.countedAs);
  client.countedIn = undefined;
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
