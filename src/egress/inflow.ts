/**
 * Bytes of an upstream socket as they come out of the kernel, in a buffer that is used again: `net.connect({ onread })`,
 * which costs a fraction of a stream's `data` events (docs/benchmarks.md).
 */
import { type OnReadOpts, type Socket, connect as netConnect } from "node:net";

/**
 * What became of bytes. `used`: they may be overwritten. `kept`: they may not, but more may come. `full`: they may not,
 * and no more is read before `resume`.
 */
export type Taken = "used" | "kept" | "full";

/** Takes bytes that are valid during the call, and longer as it says. */
export type Sink = (bytes: Buffer) => Taken;

export type Inflow = {
  /** For `net.connect`. */
  readonly onread: OnReadOpts;
  /** Names who takes the bytes from now on. Until somebody does, none must be read: the socket is paused. */
  readonly give: (sink: Sink) => void;
  /** The bytes of the last call stay as they are for ever: what is read next goes somewhere else. */
  readonly leave: () => void;
  /** Goes on with the smallest buffer: a tunnel that is open may be idle for hours. */
  readonly shrink: () => void;
  /** Reads on. */
  readonly resume: () => void;
  /** The socket is closed: its buffer is for others. */
  readonly release: () => void;
};

/** A connected upstream socket whose bytes come through an inflow: it never says `data`. */
export type Upstream = { readonly socket: Socket; readonly inflow: Inflow };

/** An idle tunnel has the smallest, one that carries a download the largest: reads that come full make it grow. */
const sizes = [1, 8, 64, 256].map((kib) => kib * 1024);
const firstLevel = 1;
/** A read that fills less of its buffer than one part in so many is copied where it has to wait. */
const crumbsOfBuffer = 4;
/** Bytes of each size that are kept for the next socket. */
const keptBytes = 4 * 1024 * 1024;
const kept: Buffer[][] = sizes.map(() => []);

/** Writes bytes of an inflow to a client: what is `full` goes on with the client's `drain`. */
export function pass(client: Socket, bytes: Buffer): Taken {
  const hasRoom = client.write(bytes);
  // What the kernel has taken whole is nobody's any more.
  if (client.writableLength === 0) return "used";
  return hasRoom ? "kept" : "full";
}

/** Where to; `host` is an address, so that there is no lookup, and `autoSelectFamily` would only cost. */
export type DialTarget = { readonly host: string; readonly port: number };

/** `net.connect` for an upstream: half-open is allowed, and nothing waits for more to send. */
export function connectPlain({ host, port }: DialTarget): { readonly socket: Socket } {
  return { socket: netConnect({ host, port, allowHalfOpen: true, noDelay: true, autoSelectFamily: false }) };
}

/** The same with an inflow. */
export function connectUpstream({ host, port }: DialTarget): Upstream {
  const inflow = createInflow(() => socket);
  const { onread } = inflow;
  const socket = netConnect({ host, port, allowHalfOpen: true, noDelay: true, autoSelectFamily: false, onread });
  socket.once("close", inflow.release);
  return { socket, inflow };
}

function createInflow(socket: () => Socket): Inflow {
  let level = firstLevel;
  let buffer = take(level);
  let sink: Sink = refuse;
  /** Somebody else still reads in `buffer`. */
  let lent = false;
  let partial = 0;
  /** To be done behind a read: between two of them the kernel's next bytes already have their place. */
  let wantsLess = false;
  /** What was handed out last is not used yet. */
  let isBehind = false;

  return {
    onread: {
      buffer: () => buffer,
      callback: (length) => {
        const from = buffer;
        const bytes = length === from.length ? from : from.subarray(0, length);
        // A peer that sends crumbs for one that does not read must not hold a whole buffer with each.
        const isCopy = isBehind && length < from.length / crumbsOfBuffer;
        const taken = sink(isCopy ? Buffer.from(bytes) : bytes);
        isBehind = taken !== "used";
        if (from !== buffer) return taken !== "full";
        lent = isBehind && !isCopy;
        resize(length);
        if (lent && taken === "kept") leave();
        return taken !== "full";
      },
    },
    give: (next) => {
      sink = next;
    },
    leave,
    shrink: () => {
      wantsLess = true;
    },
    resume: () => {
      lent = false;
      socket().resume();
    },
    release: () => {
      if (!lent) keep(buffer, level);
      lent = true;
    },
  };

  function leave(): void {
    buffer = take(level);
    lent = false;
  }

  function resize(length: number): void {
    if (wantsLess && !lent) {
      wantsLess = false;
      return move(0);
    }
    const isFull = length === buffer.length;
    partial = isFull ? 0 : partial + 1;
    if (isFull) return move(level + 1);
    if (partial > 1 || level <= firstLevel) move(length > (sizes[level - 1] ?? 0) ? level : level - 1);
  }

  function move(to: number): void {
    if (to < 0 || to >= sizes.length || to === level || lent) return;
    keep(buffer, level);
    level = to;
    partial = 0;
    buffer = take(level);
  }
}

function refuse(): Taken {
  return "full";
}

function take(level: number): Buffer {
  return kept[level]?.pop() ?? Buffer.allocUnsafeSlow(sizes[level] ?? 0);
}

function keep(buffer: Buffer, level: number): void {
  const shelf = kept[level];
  if (shelf !== undefined && (shelf.length + 1) * buffer.length <= keptBytes) shelf.push(buffer);
}
