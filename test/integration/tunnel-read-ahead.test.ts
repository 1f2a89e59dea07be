import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type ReadAhead, readAhead } from "../../src/ingress/read-ahead.ts";

const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
const sockets: Socket[] = [];

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});
afterAll(() => server.close());

async function pair(): Promise<readonly [ours: Socket, peer: Socket]> {
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const peer = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", noDelay: true });
  const [ours] = await accepted;
  for (const socket of [ours, peer]) {
    socket.on("error", () => {});
    sockets.push(socket);
  }
  return [ours, peer];
}

const trusting = (step: () => void): void => step();
const none = Buffer.alloc(0);

/** Fulfilled when the reader shows what is waited for. */
function until(reader: ReadAhead, shows: () => boolean): Promise<void> {
  return new Promise((fulfil) => {
    reader.watch(() => {
      if (!shows()) return;
      reader.unwatch();
      fulfil();
    });
  });
}

describe("what a peer sends is held until it is taken", () => {
  test("the head first, then every chunk, in one piece", async () => {
    const [ours, peer] = await pair();
    const reader = readAhead(ours, Buffer.from("head "), 1000, trusting);
    expect(reader.held().toString()).toBe("head ");
    peer.write("and more");
    await until(reader, () => reader.held().length === 13);
    expect(reader.held().toString()).toBe("head and more");
    expect(reader.take(5).toString()).toBe("head ");
    expect(reader.held().toString()).toBe("and more");
    expect(reader.take(100).toString()).toBe("and more");
    expect(reader.held()).toHaveLength(0);
  });

  test("what was taken stays as it was, whatever comes after it", async () => {
    const [ours, peer] = await pair();
    const reader = readAhead(ours, Buffer.from("first"), 1000, trusting);
    peer.write("second");
    await until(reader, () => reader.held().length === 11);
    const taken = reader.take(8);
    peer.write("third".repeat(50));
    await until(reader, () => reader.held().length === 253);
    expect(taken.toString()).toBe("firstsec");
    expect(reader.held().toString()).toBe(`ond${"third".repeat(50)}`);
  });

  test("any chunks, taken in any pieces, come out as they went in", async () => {
    const [ours] = await pair();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.uint8Array({ maxLength: 200 }), fc.nat(250)), { maxLength: 30 }),
        async (steps) => {
          const reader = readAhead(ours, none, 1_000_000, trusting);
          const sent: number[] = [];
          const taken: Buffer[] = [];
          for (const [chunk, length] of steps) {
            sent.push(...chunk);
            ours.emit("data", Buffer.from(chunk));
            taken.push(reader.take(length));
          }
          taken.push(reader.held());
          reader.stop();
          expect(Buffer.concat(taken).equals(Buffer.from(sent))).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("64 KiB in single bytes cost no more than growing some sixteen times", async () => {
    const [ours] = await pair();
    const reader = readAhead(ours, none, 1_000_000, trusting);
    const allocated = new Set<ArrayBufferLike>();
    for (let i = 0; i < 65_536; i++) {
      ours.emit("data", Buffer.of(i & 0xff));
      allocated.add(reader.held().buffer);
    }
    expect(reader.held()).toHaveLength(65_536);
    expect(allocated.size).toBeLessThan(24);
    reader.stop();
  });
});

describe("a reader", () => {
  test("pauses the socket at its cap", async () => {
    const [ours, peer] = await pair();
    const reader = readAhead(ours, none, 10_000, trusting);
    peer.end(Buffer.alloc(4_000_000));
    await until(reader, () => reader.held().length >= 10_000);
    expect(ours.isPaused()).toBe(true);
    expect(reader.held().length).toBeLessThanOrEqual(10_000 + 65_536);
    expect(reader.ended()).toBe(false);
  });

  test("calls its watcher soon, though nothing comes, and never before watch has returned", async () => {
    const [ours] = await pair();
    const reader = readAhead(ours, Buffer.from("x"), 100, trusting);
    let called = 0;
    reader.watch(() => (called += 1));
    expect(called).toBe(0);
    await Promise.resolve();
    expect(called).toBe(1);
    reader.unwatch();
    ours.emit("data", Buffer.from("y"));
    expect(called).toBe(1);
    expect(reader.held().toString()).toBe("xy");
  });

  test("says that its peer has ended, now or before", async () => {
    const [ours, peer] = await pair();
    const reader = readAhead(ours, none, 100, trusting);
    peer.end("last");
    await until(reader, () => reader.ended());
    expect(reader.held().toString()).toBe("last");
    reader.stop();
    expect(readAhead(ours, none, 100, trusting).ended()).toBe(true);
  });

  test("that is stopped leaves the socket paused, and no byte is lost to the next owner", async () => {
    const [ours, peer] = await pair();
    const reader = readAhead(ours, none, 100, trusting);
    peer.write("one");
    await until(reader, () => reader.held().length === 3);
    reader.stop();
    expect(ours.isPaused()).toBe(true);
    expect([ours.listenerCount("data"), ours.listenerCount("end")]).toEqual([0, 1]);
    peer.write("two");
    ours.resume();
    const [next] = (await once(ours, "data")) as [Buffer];
    expect(next.toString()).toBe("two");
    expect(reader.held().toString()).toBe("one");
  });

  test("hands what a watcher throws to its guard", async () => {
    const [ours, peer] = await pair();
    const thrown: unknown[] = [];
    const reader = readAhead(ours, none, 100, (step) => {
      try {
        step();
      } catch (error) {
        thrown.push(error);
      }
    });
    const fault = new Error("a bug");
    reader.watch(() => {
      throw fault;
    });
    peer.write("x");
    await once(ours, "data");
    expect(thrown.at(-1)).toBe(fault);
  });
});
