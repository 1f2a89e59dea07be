/** One accepted client connection: who it is, and what is going on on it. */
import type { Socket } from "node:net";
import { type Client, identify } from "../identity/groups.ts";
import { type Address, parseAddress } from "../names/address.ts";
import type { Ruleset } from "../policy/ruleset.ts";

export type Connection = {
  readonly socket: Socket;
  readonly address: Address;
  /** `127.0.0.1:3128`: the listener it came in by. */
  readonly listener: string;
  /** Groups the listener admits; null admits everybody. */
  readonly admits: ReadonlySet<string> | null;
  /** Plain HTTP exchanges under way; a CONNECT or an upgrade may only begin when there is none. */
  exchanges: number;
  /** Set once the connection has been refused as a whole: nothing more is read from it. */
  refused: boolean;
  /** Told when Node's parser gives up in the middle of a body; true where the exchange has taken care of it. */
  onBrokenBody: (() => boolean) | undefined;
  /** Called when `exchanges` has come back to 0. */
  whenIdle: (() => void) | undefined;
  identified: { readonly ruleset: Ruleset; readonly client: Client } | undefined;
};

const unspecified: Address = { family: 4, bytes: new Uint8Array(4), text: "0.0.0.0" };

/** A socket that was reset before it was looked at has no address any more; it belongs to no group. */
export function createConnection(socket: Socket, listener: string, admits: ReadonlySet<string> | null): Connection {
  const address = parseAddress(socket.remoteAddress?.split("%", 1)[0] ?? "") ?? unspecified;
  return {
    socket,
    address,
    listener,
    admits,
    exchanges: 0,
    refused: false,
    onBrokenBody: undefined,
    whenIdle: undefined,
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
