/** Upstream connections without a proxy: ours as a dial leaves them, and the peer's end to play the origin. */
import { once } from "node:events";
import { type AddressInfo, type Server, type Socket, createServer } from "node:net";
import type { Destination } from "../../src/egress/admit.ts";
import { type Upstream, connectUpstream } from "../../src/egress/inflow.ts";
import { type Origin, createOrigin } from "../../src/egress/origin.ts";
import { parseAddress } from "../../src/names/address.ts";

/** What is told of one answer, in order. */
export type Told = {
  readonly events: string[];
  body: Buffer;
  readonly over: Promise<void>;
};

export type OpenOrigin = {
  readonly origin: Origin;
  readonly socket: Socket;
  readonly peer: Socket;
  /** Asks `GET /`, and notes what is told; `events` are `head 200 length`, `body`, `end` and so on. */
  readonly ask: (method?: string) => Told;
  /** Waits until the connection is closed on our side. */
  readonly closed: Promise<unknown>;
  readonly problems: unknown[];
};

export type Upstreams = {
  readonly open: () => Promise<{ readonly upstream: Upstream; readonly peer: Socket }>;
  readonly openOrigin: (destination?: Destination) => Promise<OpenOrigin>;
  readonly close: () => Promise<void>;
};

/** An address that is taken for admitted. */
export function destinationOf(address: string, port = 80): Destination {
  const parsed = parseAddress(address);
  if (parsed === undefined) throw new Error(`${address} is no address`);
  return { address: parsed, port } as Destination;
}

export function createUpstreams(): Upstreams {
  const servers: Server[] = [];
  const sockets: Socket[] = [];

  const open: Upstreams["open"] = async () => {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    servers.push(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const upstream = connectUpstream({ host: "127.0.0.1", port: (server.address() as AddressInfo).port });
    upstream.socket.on("error", () => {});
    upstream.socket.pause();
    const connected = once(upstream.socket, "connect");
    const [peer] = await accepted;
    peer.on("error", () => {});
    sockets.push(upstream.socket, peer);
    await connected;
    return { upstream, peer };
  };

  return {
    open,
    openOrigin: async (destination = destinationOf("127.0.0.1")) => {
      const { upstream, peer } = await open();
      const problems: unknown[] = [];
      const origin = createOrigin(upstream, destination, (error) => problems.push(error));
      return {
        origin,
        socket: upstream.socket,
        peer,
        problems,
        closed: new Promise((fulfil) => upstream.socket.once("close", fulfil)),
        ask: (method = "GET") => ask(origin, method),
      };
    },
    close: async () => {
      for (const socket of sockets.splice(0)) socket.destroy();
      await Promise.all(servers.splice(0).map((server) => new Promise((closed) => server.close(closed))));
    },
  };
}

function ask(origin: Origin, method: string): Told {
  const events: string[] = [];
  let finish = (): void => {};
  const over = new Promise<void>((fulfil) => (finish = fulfil));
  const told: Told = { events, body: Buffer.alloc(0), over };
  origin.ask(method, `${method} / HTTP/1.1\r\nHost: a\r\n\r\n`, {
    onInterim: ({ status }) => void events.push(`interim ${status}`),
    onAnswer: ({ status }, { kind }) => void events.push(`head ${status} ${kind}`),
    onBody: (bytes) => {
      told.body = Buffer.concat([told.body, bytes]);
      return "used";
    },
    onPause: () => {},
    onEnd: () => {
      events.push("end");
      finish();
    },
    onFailure: (failure, _detail, unheard) => {
      events.push(unheard ? `${failure}, unheard` : failure);
      finish();
    },
  });
  return told;
}

/** An origin at rest without a socket, as it shows itself to whoever keeps it. `leave`: it has gone by itself. */
export function restingOrigin(
  destination = destinationOf("127.0.0.1"),
): Origin & { readonly isDestroyed: () => boolean; readonly leave: () => void } {
  let alive = true;
  let gone = (): void => {};
  return {
    destination,
    ask: () => {},
    expect: () => {},
    send: () => {},
    resume: () => {},
    isResting: () => alive,
    onGone: (listener) => {
      gone = listener;
    },
    destroy: () => {
      alive = false;
    },
    isDestroyed: () => !alive,
    leave: () => {
      alive = false;
      gone();
    },
  };
}
