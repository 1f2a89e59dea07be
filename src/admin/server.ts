/** The admin server: metrics, health and the policy in force, on a listener of its own and with limits of its own. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { parseAddress } from "../names/address.ts";
import { classOfAddress } from "../names/address-class.ts";
import { type AdminRefusal, type Gate, createGate } from "./gate.ts";
import { type ServerLimits, createLimitedServer } from "./limited-server.ts";
import { type AdminSources, createRoutes } from "./routes.ts";

export type AdminOptions = AdminSources & {
  readonly address: { readonly host: string; readonly port: number };
  /** Host names, besides localhost and IP literals, that the endpoints answer to. */
  readonly names: readonly string[];
  /** Asked for beyond loopback; without one only /metrics, /healthz and /readyz answer there. */
  readonly token: string | undefined;
  readonly limits?: ServerLimits;
};

export type Admin = {
  /** Resolves with the port once bound; rejects when the address cannot be had. */
  readonly listen: () => Promise<number>;
  /** Stops listening; answers under way have a second to end. */
  readonly close: () => Promise<void>;
};

const defaultLimits: ServerLimits = {
  connections: 64,
  headBytes: 8 * 1024,
  headTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  idleTimeoutMs: 10_000,
};
const closeTimeoutMs = 1_000;

const securityHeaders: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** Never sends CORS fields: no page of another origin is to read anything here. */
export function createAdmin(options: AdminOptions): Admin {
  const { address, names, token, onProblem, limits = defaultLimits } = options;
  const answer = getRequestListener(createRoutes(options, limits.idleTimeoutMs / 2).fetch, {
    overrideGlobalObjects: false,
    errorHandler: () =>
      Response.json({ error: "bad_request", hint: "the request target is malformed" }, { status: 400 }),
  });
  const server = createLimitedServer(limits);
  return {
    async listen() {
      const bound = await bind(server, address);
      server.on("error", (error) => onProblem?.(error));
      const gate = createGate({ names, loopback: isLoopback(bound.address), token });
      server.on("request", (incoming, outgoing) => {
        handle(gate, answer, incoming, outgoing).catch((error: unknown) => {
          onProblem?.(error);
          outgoing.destroy();
        });
      });
      return bound.port;
    },
    close() {
      return new Promise((resolve) => {
        const deadline = setTimeout(() => server.closeAllConnections(), closeTimeoutMs);
        // The one error of close() is that the server was not listening.
        server.close(() => {
          clearTimeout(deadline);
          resolve();
        });
      });
    },
  };
}

/** A loopback address on which the kernel bound us; a name never is, so what counts is what it resolved to. */
function isLoopback(text: string): boolean {
  const address = parseAddress(text);
  return address !== undefined && classOfAddress(address) === "loopback";
}

function bind(server: Server, address: { readonly host: string; readonly port: number }): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.host, () => {
      server.off("error", reject);
      const bound = server.address();
      if (bound === null || typeof bound === "string") reject(new Error("the admin server is bound to no port"));
      else resolve(bound);
    });
  });
}

async function handle(
  gate: Gate,
  answer: (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  for (const [name, value] of Object.entries(securityHeaders)) outgoing.setHeader(name, value);
  const refusal = gate({ method: incoming.method ?? "", target: incoming.url ?? "", rawHeaders: incoming.rawHeaders });
  if (refusal !== undefined) {
    refuse(outgoing, refusal, incoming.method === "HEAD");
    return;
  }
  // Routing must not depend on what the client calls us; and the open endpoints answer to any Host, even a malformed one.
  incoming.headers.host = "admin";
  await answer(incoming, outgoing);
}

/** Closes the connection: the rest of a refused request is not worth reading. */
function refuse(outgoing: ServerResponse, { status, error, hint }: AdminRefusal, isHead: boolean): void {
  const body = Buffer.from(JSON.stringify({ error, hint }));
  if (status === 401) outgoing.setHeader("www-authenticate", 'Bearer realm="sallyport admin"');
  outgoing.writeHead(status, {
    "content-type": "application/json",
    "content-length": body.length,
    connection: "close",
  });
  outgoing.end(isHead ? undefined : body);
}
