/** One accepted client connection: who it is, and what is going on on it. */
import type { Socket } from "node:net";
import { type Client, identify } from "../identity/groups.ts";
import type { SubjectAttribute } from "../identity/subject.ts";
import type { Address } from "../names/address.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import type { Authenticate, Credentials } from "./authenticate.ts";
import type { BoundOrigin } from "./bound-origins.ts";

export type Connection = {
  /** In clear: of TLS to the proxy, what is inside. */
  readonly socket: Socket;
  /** Of the client: the peer's, or the one that a PROXY header names. */
  readonly address: Address;
  /** `127.0.0.1:3128`: the listener it came in by. */
  readonly listener: string;
  /** Groups the listener admits; null admits everybody. */
  readonly admits: ReadonlySet<string> | null;
  /** Redirected to us: the port of every target on it, which Host names. Undefined for clients that know of a proxy. */
  readonly redirectedPort: number | undefined;
  /** Of the client's certificate, which has been verified. */
  readonly subject: readonly SubjectAttribute[] | undefined;
  /** Undefined where the listener asks for no credentials. */
  readonly authenticate: Authenticate | undefined;
  /** What became of the credentials of the request under way. */
  credentials: Credentials | undefined;
  /** True once the answer under way is the last on it. */
  isLast: boolean;
  /** Connections to origins that know this client, at rest. */
  bound: readonly BoundOrigin[];
  /** A request body broke before the exchange had begun. */
  isBodyBroken: boolean;
  /** Told when a request body breaks in its middle; true where the exchange has taken care of it. */
  onBrokenBody: (() => boolean) | undefined;
  identified: { readonly ruleset: Ruleset; readonly user: string | undefined; readonly client: Client } | undefined;
};

/** What is known of a connection before its first request. */
export type Arrival = Pick<
  Connection,
  "socket" | "address" | "listener" | "admits" | "redirectedPort" | "subject" | "authenticate"
>;

export function createConnection(arrival: Arrival): Connection {
  const { socket, address, listener, admits, redirectedPort, subject, authenticate } = arrival;
  // Not spread: that is a copy by name, and it is made for each connection.
  return {
    socket,
    address,
    listener,
    admits,
    redirectedPort,
    subject,
    authenticate,
    credentials: undefined,
    isLast: false,
    bound: [],
    isBodyBroken: false,
    onBrokenBody: undefined,
    identified: undefined,
  };
}

/** The client under this ruleset: worked out once for each connection, user and ruleset. */
export function clientOf(connection: Connection, ruleset: Ruleset): Client {
  const { identified, credentials, subject } = connection;
  const user = credentials?.kind === "user" ? credentials.name : undefined;
  if (identified !== undefined && identified.ruleset === ruleset && identified.user === user) return identified.client;
  const client = identify(ruleset.groups, connection.address, { user, subject });
  connection.identified = { ruleset, user, client };
  return client;
}

/** True where the listener has no list of groups, or the client is in one of them. */
export function isAdmitted(connection: Connection, ruleset: Ruleset): boolean {
  const { admits } = connection;
  if (admits === null) return true;
  return clientOf(connection, ruleset).groups.some((number) => admits.has(ruleset.groups[number]?.name ?? ""));
}
