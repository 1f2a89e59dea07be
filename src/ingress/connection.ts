/** One accepted client connection: who it is, and what is going on on it. */
import type { Socket } from "node:net";
import { type Client, identify } from "../identity/groups.ts";
import { type Address, parseAddress } from "../names/address.ts";
import type { Origin } from "../egress/origin.ts";
import type { PoolKey } from "../egress/pool.ts";
import type { Ruleset } from "../policy/ruleset.ts";

export type BoundOrigin = { readonly key: PoolKey; readonly origin: Origin };

export type Connection = {
  readonly socket: Socket;
  readonly address: Address;
  /** `127.0.0.1:3128`: the listener it came in by. */
  readonly listener: string;
  /** Groups the listener admits; null admits everybody. */
  readonly admits: ReadonlySet<string> | null;
  /** True once the answer under way is the last on it. */
  isLast: boolean;
  /** A connection to an origin that has authenticated this client (NTLM, Negotiate), and serves nobody else. */
  bound: BoundOrigin | undefined;
  /** A request body broke before the exchange had begun. */
  isBodyBroken: boolean;
  /** Told when a request body breaks in its middle; true where the exchange has taken care of it. */
  onBrokenBody: (() => boolean) | undefined;
  identified: { readonly ruleset: Ruleset; readonly client: Client } | undefined;
};

const unspecified: Address = { family: 4, bytes: new Uint8Array(4), text: "0.0.0.0" };

/** The listener hands in none that was reset before it was looked at: such a socket has no address any more. */
export function createConnection(socket: Socket, listener: string, admits: ReadonlySet<string> | null): Connection {
  const address = parseAddress(socket.remoteAddress?.split("%", 1)[0] ?? "") ?? unspecified;
  return {
    socket,
    address,
    listener,
    admits,
    isLast: false,
    bound: undefined,
    isBodyBroken: false,
    onBrokenBody: undefined,
    identified: undefined,
  };
}

/** The client under this ruleset: worked out once for each connection and ruleset. */
export function clientOf(connection: Connection, ruleset: Ruleset): Client {
  if (connection.identified?.ruleset !== ruleset) {
    connection.identified = { ruleset, client: identify(ruleset.groups, connection.address) };
  }
  return connection.identified.client;
}

/** True where the listener has no list of groups, or the client is in one of them. */
export function isAdmitted(connection: Connection, ruleset: Ruleset): boolean {
  const { admits } = connection;
  if (admits === null) return true;
  return clientOf(connection, ruleset).groups.some((number) => admits.has(ruleset.groups[number]?.name ?? ""));
}
