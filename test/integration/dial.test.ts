import { once } from "node:events";
import { type AddressInfo, type Server, Socket, connect as netConnect, createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { connectPlain } from "../../src/egress/inflow.ts";
import { type Destination, admitRouted } from "../../src/egress/admit.ts";
import { type DialFailure, type DialOptions, type DialResult, dial } from "../../src/egress/dial.ts";
import { parseAddress } from "../../src/names/address.ts";
import type { Permit } from "../../src/policy/verdict.ts";

const servers: Server[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((closed) => server.close(closed))));
});

/** Listens on a free port; every accepted socket is closed after the test. */
async function listen(host: string, onConnection: (socket: Socket) => void = () => {}): Promise<Destination> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    sockets.push(socket);
    onConnection(socket);
  });
  servers.push(server);
  server.listen(0, host);
  await once(server, "listening");
  return destination(host, (server.address() as AddressInfo).port);
}

function destination(host: string, port: number): Destination {
  return admitRouted({} as Permit, [parseAddress(host)!], port, () => undefined).admitted[0]!;
}

/** A port of this host where nobody listens: it was ours a moment ago. */
async function refusing(host: string): Promise<Destination> {
  const free = await listen(host);
  const server = servers.pop()!;
  await new Promise((closed) => server.close(closed));
  return free;
}

/** Addresses that stand for what `scripted` does with them; nothing is sent to them. */
function scriptedAddress(number: number): Destination {
  return destination(`198.18.0.${number}`, 443);
}

type Plain = { readonly socket: Socket };
type PlainOptions = DialOptions<Plain>;
type PlainResult = DialResult<Plain>;

/** `silent`, or the error code to fail with. */
type Script = string;

/**
 * A `connect` that is real, but for addresses in the script: those never answer, or fail with a code in a later turn.
 * `opened` holds every socket in order.
 */
function scripted(script: Readonly<Record<string, Script>>): {
  opened: Socket[];
  connect: PlainOptions["connect"];
} {
  const opened: Socket[] = [];
  return {
    opened,
    connect: (options) => {
      const action = script[options.host ?? ""];
      const socket = action === undefined ? connectPlain(options).socket : new Socket();
      if (action !== undefined && action !== "silent") {
        setImmediate(() => socket.destroy(Object.assign(new Error(action), { code: action })));
      }
      opened.push(socket);
      sockets.push(socket);
      return { socket };
    },
  };
}

const patient: PlainOptions = {
  timeoutMs: 30_000,
  attemptDelayMs: 30_000,
  connect: connectPlain,
};

function dialled(destinations: readonly Destination[], options: Partial<PlainOptions> = {}): Promise<PlainResult> {
  return new Promise((done) => {
    dial(destinations, { ...patient, ...options }, (result) => {
      if (result.kind === "connected") sockets.push(result.opened.socket);
      done(result);
    });
  });
}

async function connected(
  destinations: readonly Destination[],
  options: Partial<PlainOptions> = {},
): Promise<PlainResult & { kind: "connected"; socket: Socket }> {
  const result = await dialled(destinations, options);
  if (result.kind === "failed") throw new Error(result.outcome);
  return { ...result, socket: result.opened.socket };
}

/** A byte there and back on another connection: what had arrived before has been read by then, had anyone read. */
async function roundTrip(): Promise<void> {
  const { socket } = await connected([await listen("127.0.0.1", (peer) => peer.pipe(peer))]);
  socket.write("x");
  socket.resume();
  await once(socket, "data");
}

describe("one destination", () => {
  test.each(["127.0.0.1", "::1"])("connects to %s", async (host) => {
    const target = await listen(host, (socket) => socket.pipe(socket));
    const result = await connected([target]);
    expect(result.destination).toBe(target);
    expect(result.dialMs).toBeGreaterThan(0);
    expect(result.dialMs).toBeLessThan(30_000);
    result.socket.write("ping");
    result.socket.resume();
    const [chunk] = await once(result.socket, "data");
    expect(String(chunk)).toBe("ping");
  });

  test("what the server says first is there when the receiver comes later", async () => {
    let greeted: () => void = () => {};
    const greeting = new Promise<void>((done) => (greeted = done));
    const target = await listen("127.0.0.1", (socket) => socket.write("220 hello", () => greeted()));
    const { socket } = await connected([target]);
    await greeting;
    await roundTrip();
    expect(socket.isPaused()).toBe(true);
    expect(socket.readableLength).toBe(0);
    const data = once(socket, "data");
    socket.resume();
    expect(String((await data)[0])).toBe("220 hello");
  });

  test("with onread the first bytes go to its callback, and not before the receiver resumes", async () => {
    const received: string[] = [];
    let greeted: () => void = () => {};
    let seen: () => void = () => {};
    const greeting = new Promise<void>((done) => (greeted = done));
    const arrived = new Promise<void>((done) => (seen = done));
    const target = await listen("127.0.0.1", (socket) => socket.write("220 hello", () => greeted()));
    const { socket } = await connected([target], {
      connect: (options) => {
        const callback = (length: number, buffer: Uint8Array): boolean => {
          received.push(Buffer.from(buffer.buffer, buffer.byteOffset, length).toString());
          seen();
          return true;
        };
        return { socket: netConnect({ ...options, onread: { buffer: Buffer.alloc(64), callback } }) };
      },
    });
    await greeting;
    await roundTrip();
    expect(received).toEqual([]);
    socket.resume();
    await arrived;
    expect(received).toEqual(["220 hello"]);
  });

  test("the socket may be half closed by the server, and still written to", async () => {
    const heard: string[] = [];
    let finished: () => void = () => {};
    const end = new Promise<void>((done) => (finished = done));
    const target = await listen("127.0.0.1", (socket) => {
      socket.on("data", (chunk) => heard.push(String(chunk)));
      socket.on("end", () => finished());
      socket.end("bye");
    });
    const { socket } = await connected([target]);
    socket.resume();
    await once(socket, "end");
    expect(socket.writable).toBe(true);
    socket.end("still here");
    await end;
    expect(heard.join("")).toBe("still here");
  });

  test("is handed over with one error listener and none of the dial's", async () => {
    const { socket } = await connected([await listen("127.0.0.1")]);
    expect(socket.listenerCount("error")).toBe(1);
    expect(socket.listenerCount("connect")).toBe(0);
    const closed = new Promise((done) => socket.on("close", done));
    socket.destroy(new Error("nobody else listens, and the process lives"));
    await closed;
  });

  test("is refused", async () => {
    expect(await dialled([await refusing("127.0.0.1")])).toMatchObject({
      kind: "failed",
      outcome: "connection_refused",
    });
  });

  test("cannot be routed: TCP to a multicast address", async () => {
    expect(await dialled([destination("224.0.0.1", 443)])).toMatchObject({ outcome: "destination_ip_unroutable" });
  });

  test("says nothing until the deadline, and is destroyed then", async () => {
    const { connect, opened } = scripted({ "198.18.0.1": "silent" });
    const result = await dialled([scriptedAddress(1)], { connect, timeoutMs: 30 });
    expect(result).toMatchObject({ kind: "failed", outcome: "connection_timeout" });
    expect(result.dialMs).toBeGreaterThanOrEqual(29);
    expect(opened.map((socket) => socket.destroyed)).toEqual([true]);
  });

  test("done is not called before dial has returned", async () => {
    const target = await refusing("127.0.0.1");
    let returned = false;
    const order = new Promise((done) => {
      dial([target], patient, () => done(returned));
      returned = true;
    });
    expect(await order).toBe(true);
  });
});

describe("several destinations", () => {
  test("the first that answers is taken and no other is tried", async () => {
    const { connect, opened } = scripted({});
    const first = await listen("127.0.0.1");
    const result = await connected([first, await listen("::1")], { connect });
    expect(result.destination).toBe(first);
    expect(opened.length).toBe(1);
  });

  test.each([
    ["refused", "ECONNREFUSED"],
    ["without a route", "ENETUNREACH"],
  ])("one that is %s is followed by the next at once, not after the delay", async (_title, code) => {
    const { connect } = scripted({ "198.18.0.1": code, "198.18.0.2": code });
    const target = await listen("::1");
    const result = await connected([scriptedAddress(1), scriptedAddress(2), target], { connect });
    expect(result.destination).toBe(target);
    expect(result.dialMs).toBeLessThan(10_000);
  });

  test("one that says nothing is passed after the delay, and destroyed when another connects", async () => {
    const { connect, opened } = scripted({ "198.18.0.1": "silent" });
    const target = await listen("127.0.0.1");
    const result = await connected([scriptedAddress(1), target], { connect, attemptDelayMs: 20 });
    expect(result.destination).toBe(target);
    expect(result.dialMs).toBeGreaterThanOrEqual(19);
    expect(opened.map((socket) => socket.destroyed)).toEqual([true, false]);
  });

  test("the first attempt still counts while the second is under way", async () => {
    const { connect, opened } = scripted({ "198.18.0.2": "silent" });
    const first = await listen("127.0.0.1");
    let proceed: () => void = () => {};
    const late: typeof connect = (options) => {
      if (opened.length > 0) {
        proceed();
        return connect(options);
      }
      const socket = new Socket({ allowHalfOpen: true });
      opened.push(socket);
      proceed = () => socket.connect(first.port, first.address.text);
      return { socket };
    };
    const result = await connected([first, scriptedAddress(2)], { connect: late, attemptDelayMs: 5 });
    expect(result.destination).toBe(first);
    expect(result.socket).toBe(opened[0]);
    expect(opened.map((socket) => socket.destroyed)).toEqual([false, true]);
  });

  test("when two connect, one is handed over and the other closed", async () => {
    const { connect, opened } = scripted({});
    let accepted = 0;
    let gone: () => void = () => {};
    const closed = new Promise<void>((done) => (gone = done));
    const count = (socket: Socket): void => {
      accepted += 1;
      socket.on("close", () => gone());
      socket.resume();
      socket.on("end", () => socket.end());
    };
    const targets = [await listen("127.0.0.1", count), await listen("::1", count)];
    const held = targets.map(() => new Socket());
    let opening = 0;
    const together: typeof connect = () => {
      const socket = held[opening]!;
      opening += 1;
      if (opening === 2) held.forEach((each, i) => each.connect(targets[i]!.port, targets[i]!.address.text));
      opened.push(socket);
      return { socket };
    };
    let calls = 0;
    const {
      opened: { socket },
    } = await new Promise<PlainResult & { kind: "connected" }>((done) => {
      dial(targets, { ...patient, connect: together, attemptDelayMs: 1 }, (result) => {
        calls += 1;
        if (result.kind === "connected") done(result);
      });
    });
    sockets.push(...held);
    expect(held.filter((each) => each.destroyed).length).toBe(1);
    expect(socket.destroyed).toBe(false);
    if (accepted === 2) await closed;
    expect(calls).toBe(1);
  });

  test("the deadline ends them all", async () => {
    const { connect, opened } = scripted({ "198.18.0.1": "silent", "198.18.0.2": "silent" });
    const result = await dialled([scriptedAddress(1), scriptedAddress(2)], {
      connect,
      timeoutMs: 60,
      attemptDelayMs: 5,
    });
    expect(result).toMatchObject({ kind: "failed", outcome: "connection_timeout" });
    expect(opened.map((socket) => socket.destroyed)).toEqual([true, true]);
  });

  test("no more than six attempts are in the air, and one that fails makes room", async () => {
    const script: Record<string, Script> = {};
    for (let i = 0; i < 32; i++) script[`198.18.0.${i}`] = i === 3 ? "ECONNREFUSED" : "silent";
    const { connect, opened } = scripted(script);
    const targets = Array.from({ length: 32 }, (_, i) => scriptedAddress(i));
    await dialled(targets, { connect, timeoutMs: 200, attemptDelayMs: 1 });
    expect(opened.length).toBe(7);
    expect(opened.every((socket) => socket.destroyed)).toBe(true);
  });

  test("none is a bug of the caller's", () => {
    expect(() => dial([], patient, () => {})).toThrow("without a destination");
  });
});

describe("what is said of a failure", () => {
  const single: readonly (readonly [code: string, outcome: DialFailure])[] = [
    ["ECONNREFUSED", "connection_refused"],
    ["ECONNRESET", "connection_terminated"],
    ["ETIMEDOUT", "connection_timeout"],
    ["EHOSTUNREACH", "destination_ip_unroutable"],
    ["ENETUNREACH", "destination_ip_unroutable"],
    ["EADDRNOTAVAIL", "destination_ip_unroutable"],
    ["EINVAL", "destination_ip_unroutable"],
    ["EACCES", "destination_ip_unroutable"],
    ["EMFILE", "connection_limit_reached"],
    ["ENFILE", "connection_limit_reached"],
    ["ESOMETHING", "proxy_internal_error"],
  ];
  test.each(single)("%s is %s", async (code, outcome) => {
    const { connect } = scripted({ "198.18.0.1": code });
    expect(await dialled([scriptedAddress(1)], { connect })).toMatchObject({ kind: "failed", outcome });
  });

  const mixed: readonly (readonly [codes: string, outcome: DialFailure])[] = [
    ["ENETUNREACH ECONNREFUSED", "connection_refused"],
    ["ECONNREFUSED ENETUNREACH", "connection_refused"],
    ["ETIMEDOUT ECONNREFUSED", "connection_refused"],
    ["ENETUNREACH ETIMEDOUT", "connection_timeout"],
    ["ENETUNREACH EMFILE", "connection_limit_reached"],
    ["ESOMETHING ENETUNREACH", "destination_ip_unroutable"],
    ["ECONNREFUSED silent", "connection_refused"],
    ["ENETUNREACH silent", "connection_timeout"],
  ];
  test.each(mixed)("%s is told as %s", async (codes, outcome) => {
    const script = Object.fromEntries(codes.split(" ").map((code, i) => [`198.18.0.${i}`, code]));
    const { connect } = scripted(script);
    const targets = Object.keys(script).map((_, i) => scriptedAddress(i));
    const timeoutMs = codes.includes("silent") ? 50 : 30_000;
    expect(await dialled(targets, { connect, timeoutMs })).toMatchObject({ kind: "failed", outcome });
  });
});

describe("cancelling", () => {
  test("destroys every attempt, and done is not called", async () => {
    const { connect, opened } = scripted({ "198.18.0.1": "silent" });
    const target = await listen("127.0.0.1");
    let calls = 0;
    const handle = dial([target, scriptedAddress(1)], { ...patient, connect, timeoutMs: 20 }, () => (calls += 1));
    const closed = once(opened[0]!, "close");
    handle.cancel();
    await closed;
    // A dial begun later, with a later deadline, is over: the cancelled one had its chance.
    await dialled([scriptedAddress(1)], { connect, timeoutMs: 40 });
    expect(opened[0]!.destroyed).toBe(true);
    expect(calls).toBe(0);
  });

  test("after the hand-over leaves the socket alone", async () => {
    const target = await listen("127.0.0.1");
    const socket = await new Promise<Socket>((done, fail) => {
      const handle = dial([target], patient, (result) => {
        handle.cancel();
        if (result.kind === "connected") done(result.opened.socket);
        else fail(new Error(result.outcome));
      });
    });
    sockets.push(socket);
    expect(socket.destroyed).toBe(false);
  });
});
