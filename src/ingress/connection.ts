/** One accepted client connection: who it is, and what is going on on it. */
import type { Socket } from "node:net";
import { type Client, identify } from "../identity/groups.ts";
import { type Address, parseAddress } from "../names/address.ts";
import type { Ruleset } from "../policy/ruleset.ts";

/** One exchange of a connection; `done` is called once, when the next one may begin. A tunnel never calls it. */
export type Turn = (done: () => void) => void;

export type Connection = {
  readonly socket: Socket;
  readonly address: Address;
  /** `127.0.0.1:3128`: the listener it came in by. */
  readonly listener: string;
  /** Groups the listener admits; null admits everybody. */
  readonly admits: ReadonlySet<string> | null;
  /** True while an exchange is under way; those that were pipelined behind it wait. */
  busy: boolean;
  readonly waiting: Turn[];
  /** True once nothing more that comes in on it will be answered. What waits still is. */
  refused: boolean;
  /** Told when Node's parser gives up in the middle of a body; true where the exchange has taken care of it. */
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
    busy: false,
    waiting: [],
    refused: false,
    onBrokenBody: undefined,
    identified: undefined,
  };
}

/**
 * Runs an exchange when those before it on the connection are over: answers keep their order, and pipelining gives one
 * client connection no more than one connection to an origin at a time.
 */
export function takeTurn(connection: Connection, turn: Turn): void {
  connection.waiting.push(turn);
  if (!connection.busy) nextTurn(connection);
}

/** The answer under way is the last on this connection: what waits behind it is dropped, undecided. */
export function closeAfterThis(connection: Connection): void {
  connection.refused = true;
  connection.waiting.length = 0;
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

function nextTurn(connection: Connection): void {
  if (connection.socket.destroyed) connection.waiting.length = 0;
  const turn = connection.waiting.shift();
  connection.busy = turn !== undefined;
  turn?.(() => nextTurn(connection));
}
