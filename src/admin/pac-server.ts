/** A listener of kind `pac`: hands each client the proxy auto-configuration of its groups, and nothing else. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { LRUCache } from "lru-cache";
import type { ListenerSettings } from "../config/settings.ts";
import type { Client } from "../identity/groups.ts";
import { identify } from "../identity/groups.ts";
import { type Address, parseAddress } from "../names/address.ts";
import { classOfAddress } from "../names/address-class.ts";
import { parseAuthority } from "../names/authority.ts";
import { formatHost } from "../names/hostname.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { type PacCoverage, pacCoverage, pacScript } from "../review/pac.ts";
import { type ServerLimits, createLimitedServer, refuseUpgrade } from "./limited-server.ts";

/** A proxy listener that scripts may name. */
export type PacProxy = {
  /** Address that it is bound to; where that is unspecified, clients are told the name by which they asked. */
  readonly host: string;
  /** As bound. */
  readonly port: number;
  /** Clients speak TLS to it. */
  readonly tls: boolean;
  /** Groups that it admits; null is everyone. */
  readonly clients: readonly string[] | null;
};

export type PacServerOptions = {
  readonly address: { readonly host: string; readonly port: number };
  /** Groups that may have a script; null is everyone. */
  readonly clients: readonly string[] | null;
  /** `pac.otherwise`: `proxy`, or what the script answers: `DIRECT`, `PROXY host:port`. */
  readonly otherwise: string;
  readonly ruleset: () => Ruleset;
  /** Asked at every request, since ports are known once bound. The first that admits the client is named, one with TLS last. */
  readonly proxies: () => readonly PacProxy[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onProblem?: (error: unknown) => void;
  readonly limits?: ServerLimits;
};

/** As the listeners of proxies are: binds, stops, ends. */
export type PacServer = {
  /** Resolves with the port once bound; rejects with Node's own error. */
  readonly listen: () => Promise<number>;
  /** Stops accepting; fulfilled when all connections are closed. */
  readonly drain: () => Promise<void>;
  /** Closes everything at once. */
  readonly destroy: () => void;
};

const defaultLimits: ServerLimits = {
  connections: 512,
  headBytes: 8 * 1024,
  headTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  idleTimeoutMs: 10_000,
};
/** Clients ask again after it, so that a new rule reaches them soon. */
const maxAgeSeconds = 60;
/** Combinations of groups whose coverage is kept. */
const maxKept = 32;

const contentType = "application/x-ns-proxy-autoconfig";

/** Nothing listens before `listen`. */
export function createPacServer(options: PacServerOptions): PacServer {
  const { address, onProblem, limits = defaultLimits } = options;
  const coverageFor = createCoverages(options);
  const server = createLimitedServer(limits);
  // Each answer ends its connection.
  server.keepAliveTimeout = 1;
  server.on("connection", (socket) => socket.on("error", () => socket.destroy()));
  server.on("upgrade", refuseUpgrade);
  server.on("request", (request, response) => {
    request.on("error", () => {});
    response.on("error", () => {});
    try {
      answer(options, coverageFor, request, response);
    } catch (error) {
      onProblem?.(error);
      request.socket.destroy();
    }
  });
  let drained: Promise<void> | undefined;
  const drain = (): Promise<void> =>
    (drained ??= new Promise((fulfil) => {
      // The one error of close() is that the server was not listening.
      server.close(() => fulfil());
      server.closeIdleConnections();
    }));
  return {
    listen: () => bind(server, address),
    drain,
    destroy: () => {
      void drain();
      server.closeAllConnections();
    },
  };
}

/** The listeners of kind `proxy` that are bound by now; `bound` is in the order of `listen`. */
export function pacProxies(
  listen: readonly ListenerSettings[],
  bound: readonly { readonly port: number }[],
): readonly PacProxy[] {
  return listen.flatMap(({ kind, address: { host }, clients, tls }, i) => {
    const port = bound[i]?.port;
    return kind === "proxy" && port !== undefined ? [{ host, port, tls: tls !== undefined, clients }] : [];
  });
}

function answer(
  options: PacServerOptions,
  coverageFor: (client: Client) => PacCoverage,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const [path] = (request.url ?? "").split("?", 1);
  if (path !== "/proxy.pac" && path !== "/wpad.dat") {
    say(request, response, 404, "text/plain", "Here is /proxy.pac, and the same as /wpad.dat.\n");
    return;
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("Allow", "GET, HEAD");
    say(request, response, 405, "text/plain", "GET and HEAD are answered here.\n");
    return;
  }
  const peer = parseAddress(request.socket.remoteAddress?.replace(/%.*/, "") ?? "");
  // Reset before it was answered.
  if (peer === undefined) {
    request.socket.destroy();
    return;
  }
  const ruleset = options.ruleset();
  const client = identify(ruleset.groups, peer);
  const proxies = options.proxies().filter(({ clients }) => isAdmitted(ruleset, client, clients));
  // WinHTTP and most agents speak no TLS to a proxy.
  const proxy = proxies.find(({ tls }) => !tls) ?? proxies[0];
  if (proxy === undefined || !isAdmitted(ruleset, client, options.clients)) {
    say(request, response, 403, "text/plain", "No proxy is here for the groups of this client.\n");
    return;
  }
  const host = announcedHost(proxy, request);
  if (host === undefined) {
    say(request, response, 400, "text/plain", "The Host field names no host.\n");
    return;
  }
  const covered = `${proxy.tls ? "HTTPS" : "PROXY"} ${host}:${proxy.port}`;
  const otherwise = options.otherwise === "proxy" ? covered : options.otherwise;
  response.setHeader("Cache-Control", `private, max-age=${maxAgeSeconds}`);
  say(request, response, 200, contentType, pacScript(coverageFor(client), { covered, otherwise }));
}

/** Each answer ends its connection: clients ask once in a while, and connections are few. */
function say(request: IncomingMessage, response: ServerResponse, status: number, type: string, text: string): void {
  const body = Buffer.from(text, "utf8");
  if (!response.hasHeader("Cache-Control")) response.setHeader("Cache-Control", "no-store");
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": body.length,
    "X-Content-Type-Options": "nosniff",
    Connection: "close",
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

/**
 * How clients reach the proxy: at its address, and where it listens on every one, under the name by which they have
 * found the script. Undefined where that is no name. A name for TLS has to be one that the certificate has, so it is
 * the one they asked by.
 */
function announcedHost({ host, tls }: PacProxy, request: IncomingMessage): string | undefined {
  const bound = parseAddress(host);
  if (bound !== undefined && classOfAddress(bound) !== "unspecified" && !tls) return formatAddress(bound);
  const asked = request.headers.host;
  if (asked === undefined || asked === "") {
    const local = parseAddress(request.socket.localAddress?.replace(/%.*/, "") ?? "");
    return local === undefined ? undefined : formatAddress(local);
  }
  const authority = parseAuthority(asked, 80);
  return authority === undefined ? undefined : formatHost(authority.host);
}

function formatAddress(address: Address): string {
  return formatHost({ kind: "address", address });
}

function isAdmitted(ruleset: Ruleset, client: Client, names: readonly string[] | null): boolean {
  return names === null || client.groups.some((number) => names.includes(ruleset.groups[number]?.name ?? ""));
}

/** Coverage by groups, made once for a policy and until one of its rules expires. */
function createCoverages({ ruleset, now }: PacServerOptions): (client: Client) => PacCoverage {
  const kept = new LRUCache<string, { readonly coverage: PacCoverage; readonly of: Ruleset; readonly madeMs: number }>({
    max: maxKept,
  });
  return (client) => {
    const key = client.groups.join(",");
    const known = kept.get(key);
    const nowMs = now();
    const isFresh =
      known?.of === ruleset() && known !== undefined && nowMs >= known.madeMs && nowMs < known.coverage.untilMs;
    if (isFresh) return known.coverage;
    const coverage = pacCoverage(ruleset(), client, nowMs);
    kept.set(key, { coverage, of: ruleset(), madeMs: nowMs });
    return coverage;
  };
}

function bind(server: Server, { host, port }: PacServerOptions["address"]): Promise<number> {
  return new Promise((fulfil, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      server.on("error", () => {});
      const bound = server.address();
      fulfil(typeof bound === "object" && bound !== null ? bound.port : port);
    });
  });
}
