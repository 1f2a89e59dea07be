import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { resetSocket } from "../../../src/egress/reset.ts";
import { createDeadlines } from "../../../src/egress/deadlines.ts";
import { type SpliceEnd, type Tally, splice } from "../../../src/egress/splice.ts";

const servers: Server[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((closed) => server.close(closed))));
});

/** Two connected sockets: ours, paused as a dial leaves it, and the peer's. */
async function pair(): Promise<readonly [ours: Socket, peer: Socket]> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const peer = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
  const [ours] = await accepted;
  for (const socket of [ours, peer]) {
    socket.on("error", () => {});
    sockets.push(socket);
  }
  return [ours, peer];
}

type Spliced = {
  readonly client: Socket;
  readonly upstream: Socket;
  /** The sockets that the splice owns. */
  readonly owned: readonly [client: Socket, upstream: Socket];
  readonly bytes: Tally;
  readonly ends: SpliceEnd[];
  readonly ended: Promise<SpliceEnd>;
  readonly close: () => void;
};

const deadlines = createDeadlines(
  () => performance.now(),
  (error) => {
    throw error;
  },
);

async function spliced(
  idleTimeoutMs = 60_000,
  before: (client: Socket, upstream: Socket) => void = () => {},
): Promise<Spliced> {
  const [near, client] = await pair();
  const [far, upstream] = await pair();
  before(client, upstream);
  const bytes = { bytesUp: 0, bytesDown: 0 };
  const ends: SpliceEnd[] = [];
  let close = (): void => {};
  const ended = new Promise<SpliceEnd>((fulfil) => {
    const both = splice(near, far, {
      deadlines,
      idleTimeoutMs,
      tally: bytes,
      done: (end) => {
        ends.push(end);
        fulfil(end);
      },
    });
    close = () => both.close();
  });
  return { client, upstream, owned: [near, far], bytes, ends, ended, close };
}

/** Everything up to FIN; rejects on a reset. */
async function readAll(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of socket as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString();
}

function wasReset(socket: Socket): Promise<boolean> {
  socket.resume();
  return new Promise((settle) => socket.once("close", settle));
}

describe("bytes", () => {
  test("flow both ways, what was buffered before first, and are counted", async () => {
    const { client, upstream, bytes, ended } = await spliced(60_000, (c, u) => {
      c.write("early ");
      u.write("banner ");
    });
    client.end("request");
    upstream.end("answer!");
    expect(await readAll(upstream)).toBe("early request");
    expect(await readAll(client)).toBe("banner answer!");
    const end = await ended;
    expect(end.outcome).toBe("ok");
    expect(bytes).toEqual({ bytesUp: 13, bytesDown: 14 });
  });

  test("wait for a peer that does not read, and all arrive when it does", async () => {
    const { client, upstream, owned, ended } = await spliced();
    const sent = randomBytes(32 * 1024 * 1024);
    client.pause();
    upstream.end(sent);
    await once(owned[1], "pause");
    expect(owned[0].writableLength).toBeLessThan(1024 * 1024);
    client.end();
    const received: Buffer[] = [];
    for await (const part of client as AsyncIterable<Buffer>) received.push(part);
    // What the kernel took was freed meanwhile, and read into again: each byte tells whether it was too early.
    expect(Buffer.concat(received).equals(sent)).toBe(true);
    upstream.resume();
    expect((await ended).outcome).toBe("ok");
  });
});

type Way = {
  readonly act: (ends: Spliced) => Promise<void> | void;
  readonly end: SpliceEnd;
  readonly resets?: "client" | "upstream";
};

const ways: Readonly<Record<string, Way>> = {
  "the client ends first, then the upstream": {
    act: async ({ client, upstream }) => {
      client.end();
      await readAll(upstream);
      upstream.end();
      client.resume();
    },
    end: { outcome: "ok", closedBy: "client" },
  },
  "the upstream ends first, then the client": {
    act: async ({ client, upstream }) => {
      upstream.end();
      await readAll(client);
      client.end();
      upstream.resume();
    },
    end: { outcome: "ok", closedBy: "upstream" },
  },
  "the client resets": {
    act: ({ client }) => void client.resetAndDestroy(),
    end: { outcome: "client_aborted", closedBy: "client" },
    resets: "upstream",
  },
  "the upstream resets": {
    act: ({ upstream }) => void upstream.resetAndDestroy(),
    end: { outcome: "connection_terminated", closedBy: "upstream" },
    resets: "client",
  },
  "the client's socket is destroyed by somebody else": {
    act: ({ owned }) => void owned[0].destroy(),
    end: { outcome: "client_aborted", closedBy: "client" },
    resets: "upstream",
  },
  "the upstream's socket is destroyed with an error": {
    act: ({ owned }) => void owned[1].destroy(new Error("some fault")),
    end: { outcome: "connection_terminated", closedBy: "upstream" },
    resets: "client",
  },
  "it is closed from outside": { act: ({ close }) => close(), end: { outcome: "ok", closedBy: "proxy" } },
  "it is closed twice": {
    act: ({ close }) => {
      close();
      close();
    },
    end: { outcome: "ok", closedBy: "proxy" },
  },
  "nothing moves for the idle time": { act: () => {}, end: { outcome: "idle_timeout", closedBy: "idle" } },
};

describe("every way out closes both sockets and is told once", () => {
  for (const [sentence, { act, end, resets }] of Object.entries(ways)) {
    test(sentence, async () => {
      const ends = await spliced(sentence.startsWith("nothing") ? 50 : 60_000);
      const reset = resets === undefined ? undefined : wasReset(ends[resets]);
      await act(ends);
      expect(await ends.ended).toEqual(end);
      expect(ends.owned.map((socket) => socket.destroyed)).toEqual([true, true]);
      if (reset !== undefined) expect(await reset).toBe(true);
      expect(ends.ends).toHaveLength(1);
    });
  }

  test("a socket that is destroyed already", async () => {
    const [near, client] = await pair();
    const [far, upstream] = await pair();
    near.destroy();
    const end = await new Promise<SpliceEnd>((done) => {
      splice(near, far, { deadlines, idleTimeoutMs: 60_000, tally: { bytesUp: 0, bytesDown: 0 }, done });
    });
    expect(end.outcome).not.toBe("idle_timeout");
    expect(far.destroyed).toBe(true);
    client.destroy();
    upstream.destroy();
  });

  test("an upstream that ends and resets in the same turn as the client's FIN is on its way loses no socket", async () => {
    const { upstream, owned, ended } = await spliced();
    upstream.end();
    await once(owned[1], "end");
    // Our FIN to the client has been asked for and is not out yet.
    expect([owned[0].writableEnded, owned[0].writableFinished]).toEqual([true, false]);
    owned[1].destroy(new Error("reset by peer"));
    expect(await ended).toEqual({ outcome: "ok", closedBy: "upstream" });
  });
});

describe("resetSocket", () => {
  test("resets", async () => {
    const [ours, peer] = await pair();
    const reset = wasReset(peer);
    resetSocket(ours);
    expect(await reset).toBe(true);
  });

  test("lets a FIN that is on its way go first: the peer gets all there is", async () => {
    const [ours, peer] = await pair();
    ours.end("the whole");
    resetSocket(ours);
    expect(await readAll(peer)).toBe("the whole");
    if (!ours.closed) await once(ours, "close");
  });

  test("leaves a destroyed socket alone", async () => {
    const [ours] = await pair();
    ours.destroy();
    resetSocket(ours);
    await once(ours, "close");
    expect(ours.errored).toBeNull();
  });
});
