/** Bytes in buffers that are used again: none may be written over while somebody still has to read it. */
import { once } from "node:events";
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { type Sink, type Taken, pass } from "../../../src/egress/inflow.ts";
import { createUpstreams } from "../../support/upstream.ts";

const upstreams = createUpstreams();
const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((closed) => server.close(closed))));
  await upstreams.close();
});

/** Our end of a client's connection, and the client. */
async function openClient(): Promise<readonly [ours: Socket, client: Socket]> {
  const server = createServer({ noDelay: true });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
  const [ours] = await accepted;
  for (const socket of [ours, client]) {
    socket.on("error", () => {});
    sockets.push(socket);
  }
  client.pause();
  return [ours, client];
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((turn) => setImmediate(turn));
}

/** Every byte tells its place. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = seed | 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

describe("what a client gets is what the origin sent, however slowly it reads", () => {
  /** Whenever the client has read `burst` bytes, it stops until bytes have to wait for it, or all have left. */
  async function relayed(sent: Buffer, pieces: readonly number[], burst: number): Promise<Buffer> {
    const { upstream, peer } = await upstreams.open();
    const [ours, client] = await openClient();
    upstream.inflow.give((bytes) => pass(ours, bytes));
    ours.on("drain", () => upstream.inflow.resume());
    upstream.socket.on("end", () => ours.end());
    upstream.inflow.resume();
    let isSent = false;
    const origin = async (): Promise<void> => {
      for (let from = 0, i = 0; from < sent.length; i++) {
        const size = pieces[i % pieces.length] ?? sent.length;
        const hasRoom = peer.write(sent.subarray(from, from + size));
        from += size;
        if (!hasRoom) await once(peer, "drain");
        else if (i % 8 === 0) await new Promise((turn) => setImmediate(turn));
      }
      isSent = true;
      peer.end();
    };
    const reader = async (): Promise<Buffer> => {
      const got: Buffer[] = [];
      let ended = false;
      let left = 0;
      client.on("end", () => (ended = true));
      client.on("data", (chunk: Buffer) => {
        got.push(chunk);
        left -= chunk.length;
        if (left <= 0) client.pause();
      });
      await until(() => {
        if (client.isPaused() && (ours.writableLength > 0 || isSent)) {
          left = burst;
          client.resume();
        }
        return ended;
      });
      return Buffer.concat(got);
    };
    const [got] = await Promise.all([reader(), origin()]);
    return got;
  }

  const sizes = [16, 64, 256].flatMap((kib) => [kib * 1024 - 1, kib * 1024, kib * 1024 + 1]);
  test.each(sizes)("%d bytes at once", async (size) => {
    const sent = pattern(size, size);
    expect((await relayed(sent, [size], 32 * 1024)).equals(sent)).toBe(true);
  });

  test("pieces of any size, megabytes of them", { timeout: 60_000 }, async () => {
    const property = fc.asyncProperty(
      fc.array(fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 300_000 })), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.integer({ min: 6_000_000, max: 12_000_000 }),
      fc.constantFrom(16 * 1024, 300_000, 2_000_000),
      async (pieces, total, burst) => {
        // No more than so many writes in one run.
        const length = Math.min(total, (pieces.reduce((sum, one) => sum + one, 0) / pieces.length) * 4000);
        // Two at a time: buffers that one gives back are the other's next.
        const both = [pattern(Math.ceil(length), total), pattern(Math.ceil(length / 2), total + 2)];
        const got = await Promise.all(both.map((sent) => relayed(sent, pieces, burst)));
        expect(got.map((one, i) => both[i]?.equals(one))).toEqual([true, true]);
      },
    );
    await fc.assert(property, { numRuns: 12 });
  });
});

describe("pieces that wait behind a client which has stopped", () => {
  const cases: Readonly<Record<string, readonly number[]>> = {
    crumbs: Array.from({ length: 300 }, (_, i) => (i % 7) + 1),
    "a kilobyte each": [1000, 1001, 1002, 1003, 1004],
    "one that fills its buffer": [8192, 100],
    "crumbs, and then all there is": [3, 2, 1, 200_000],
  };
  test.each(Object.entries(cases))("arrive as they were sent, whatever else is read: %s", async (_, sizes) => {
    const { upstream, peer } = await upstreams.open();
    const [ours, client] = await openClient();
    // Until the kernel takes no more, by so little that there is room for some.
    let filled = 0;
    while (ours.writableLength === 0) {
      ours.write(Buffer.alloc(1024));
      filled += 1024;
      await new Promise((turn) => setImmediate(turn));
    }
    let arrived = 0;
    upstream.inflow.give((bytes) => {
      arrived += bytes.length;
      return pass(ours, bytes);
    });
    ours.on("drain", () => upstream.inflow.resume());
    upstream.inflow.resume();
    const total = sizes.reduce((sum, one) => sum + one);
    const sent = pattern(total, total);
    let from = 0;
    for (const size of sizes) {
      peer.write(sent.subarray(from, from + size));
      from += size;
      const goal = from;
      await until(() => arrived >= goal || ours.writableNeedDrain);
    }
    expect(ours.writableLength).toBeGreaterThan(0);
    // Others read meanwhile, in whatever buffers there are.
    for (let i = 0; i < 3; i++) {
      const other = await upstreams.open();
      let got = 0;
      other.upstream.inflow.give((bytes) => {
        got += bytes.length;
        return "used";
      });
      other.upstream.inflow.resume();
      other.peer.write(Buffer.alloc(100_000, 0xee));
      await until(() => got >= 100_000);
    }
    const read: Buffer[] = [];
    let length = 0;
    client.on("data", (chunk: Buffer) => {
      read.push(chunk);
      length += chunk.length;
    });
    client.resume();
    await until(() => length >= filled + total);
    expect(Buffer.concat(read).subarray(filled).equals(sent)).toBe(true);
  });
});

describe("the largest buffers", () => {
  const largestBytes = 520 * 1024;

  /** Sends so much that a buffer grows as far as it may; answers its size. The sink answers `last` to the first of these. */
  async function grow(last: Taken, isClosed = true): Promise<number> {
    const { upstream, peer } = await upstreams.open();
    let size = 0;
    let got = 0;
    const total = 4 * 1024 * 1024;
    let isHeld = false;
    upstream.inflow.give((bytes) => {
      got += bytes.length;
      size = Math.max(size, bytes.buffer.byteLength);
      isHeld = bytes.buffer.byteLength === largestBytes;
      return isHeld ? last : "used";
    });
    upstream.inflow.resume();
    peer.write(Buffer.alloc(total));
    await until(() => got === total || (isHeld && last === "full"));
    if (!isClosed) return size;
    const closed = once(upstream.socket, "close");
    upstream.socket.destroy();
    await closed;
    // As the `drain` of a client does that reads on when its origin is gone.
    upstream.inflow.resume();
    return size;
  }

  test("come back, however their socket is closed", async () => {
    for (let i = 0; i < 50; i++) {
      expect(await grow("used")).toBe(largestBytes);
      expect(await grow("full")).toBe(largestBytes);
    }
  });

  test("are for so many sockets, and others do with less", async () => {
    const sizes: number[] = [];
    for (let i = 0; i < 65; i++) sizes.push(await grow("full", false));
    expect(sizes).toEqual([...Array<number>(64).fill(largestBytes), 256 * 1024]);
    await upstreams.close();
    expect(await grow("used")).toBe(largestBytes);
  });

  test("are not for who does not keep up: it goes on with a smaller one", async () => {
    const { upstream, peer } = await upstreams.open();
    const seen: number[] = [];
    let isSlow = false;
    upstream.inflow.give((bytes) => {
      seen.push(bytes.buffer.byteLength);
      isSlow ||= bytes.buffer.byteLength === largestBytes;
      return isSlow ? "full" : "used";
    });
    upstream.inflow.resume();
    peer.write(Buffer.alloc(8 * 1024 * 1024));
    await until(() => isSlow);
    const before = seen.length;
    for (let i = 1; i <= 4; i++) {
      upstream.inflow.resume();
      await until(() => seen.length === before + i);
    }
    expect(Math.max(...seen.slice(before))).toBeLessThanOrEqual(256 * 1024);
  });
});

describe("what a sink says of bytes", () => {
  /** Notes each piece and a copy, and answers by turns. */
  function noting(answers: readonly Taken[]): {
    readonly sink: Sink;
    readonly seen: (readonly [bytes: Buffer, copy: Buffer])[];
  } {
    const seen: (readonly [Buffer, Buffer])[] = [];
    return {
      seen,
      sink: (bytes) => {
        seen.push([bytes, Buffer.from(bytes)]);
        return answers[seen.length - 1] ?? "used";
      },
    };
  }
  const asOne = async (seen: readonly unknown[], count: number): Promise<void> => {
    await until(() => seen.length >= count);
  };

  test("kept: they stay as they are, and more come", async () => {
    const { upstream, peer } = await upstreams.open();
    const { sink, seen } = noting(["kept", "kept", "kept", "used", "used"]);
    upstream.inflow.give(sink);
    upstream.inflow.resume();
    for (let i = 0; i < 5; i++) {
      peer.write(Buffer.alloc(5000, i + 1));
      await asOne(seen, i + 1);
    }
    for (const [bytes, copy] of seen.slice(0, 3)) expect(bytes.equals(copy)).toBe(true);
  });

  test("full: nothing comes until somebody reads on", async () => {
    const { upstream, peer } = await upstreams.open();
    const { sink, seen } = noting(["full"]);
    upstream.inflow.give(sink);
    upstream.inflow.resume();
    peer.write("first");
    await asOne(seen, 1);
    peer.write("second");
    for (let i = 0; i < 20; i++) await new Promise((turn) => setImmediate(turn));
    expect(seen.map(([bytes]) => bytes.toString())).toEqual(["first"]);
    upstream.inflow.resume();
    await asOne(seen, 2);
    expect(seen.at(-1)?.[1].toString()).toBe("second");
  });

  test.each([
    ["that all sockets share", 100],
    ["of its own", 100_000],
  ])("left behind: they stay as they are though it reads on, in a buffer %s", async (_, first) => {
    const { upstream, peer } = await upstreams.open();
    let read = 0;
    upstream.inflow.give((bytes) => {
      read += bytes.length;
      return "used";
    });
    upstream.inflow.resume();
    peer.write(Buffer.alloc(first, 0));
    await until(() => read === first);
    const seen: Buffer[] = [];
    upstream.inflow.give((bytes) => {
      seen.push(bytes);
      if (seen.length === 1) upstream.inflow.leave();
      return "used";
    });
    peer.write(Buffer.alloc(4000, 1));
    await asOne(seen, 1);
    peer.write(Buffer.alloc(4000, 2));
    await asOne(seen, 2);
    expect(seen[0]?.equals(Buffer.alloc(4000, 1))).toBe(true);
  });

  test("used: small ones are in no buffer that another socket reads into", async () => {
    const both = [await upstreams.open(), await upstreams.open()];
    const seen: Buffer[] = [];
    for (const { upstream } of both) {
      upstream.inflow.give((bytes) => {
        seen.push(bytes);
        return "used";
      });
      upstream.inflow.resume();
    }
    for (const [i, { peer }] of both.entries()) {
      peer.write(`from ${i}`);
      await asOne(seen, i + 1);
    }
    expect(seen.map(String)).toEqual(["from 0", "from 1"]);
  });

  test("crumbs that wait hold one whole buffer, and then what Node's pool has for small ones", async () => {
    const { upstream, peer } = await upstreams.open();
    const held = new Set<ArrayBufferLike>();
    let heldBytes = 0;
    const crumbs: Buffer[] = [];
    upstream.inflow.give((bytes) => {
      crumbs.push(bytes);
      if (!held.has(bytes.buffer)) heldBytes += bytes.buffer.byteLength;
      held.add(bytes.buffer);
      return "kept";
    });
    upstream.inflow.resume();
    for (let i = 0; i < 200; i++) {
      peer.write(Buffer.from([i]));
      await asOne(crumbs, i + 1);
    }
    expect(Buffer.concat(crumbs)).toEqual(Buffer.from(Array.from({ length: 200 }, (_, i) => i)));
    // 200 crumbs of 8 bytes, as the pool aligns them, fit into one slab: that in use, and the next.
    expect(heldBytes).toBeLessThanOrEqual(8 * 1024 + 2 * Buffer.poolSize);
  });
});

test("a buffer that is still lent when its socket closes is given to nobody else", async () => {
  const { upstream, peer } = await upstreams.open();
  const seen: Buffer[] = [];
  upstream.inflow.give((bytes) => {
    seen.push(bytes);
    return "full";
  });
  upstream.inflow.resume();
  peer.write(Buffer.alloc(6000, 7));
  await until(() => seen.length > 0);
  const closed = once(upstream.socket, "close");
  upstream.socket.destroy();
  await closed;
  for (let i = 0; i < 3; i++) {
    const next = await upstreams.open();
    const got: number[] = [];
    next.upstream.inflow.give((bytes) => {
      got.push(bytes.length);
      return "used";
    });
    next.upstream.inflow.resume();
    next.peer.write(Buffer.alloc(6000, 9));
    await until(() => got.length > 0);
  }
  expect(seen[0]?.every((byte) => byte === 7)).toBe(true);
});
