/**
 * Bytes of an upstream socket as they come out of the kernel, in a buffer that is used again: `net.connect({ onread })`,
 * which costs a fraction of a stream's `data` events (docs/benchmarks.md).
 */
import { type OnReadOpts, type Socket, connect as netConnect } from "node:net";
import { heedErrors } from "./socket-owner.ts";

/**
 * What became of bytes. `used`: they may be overwritten. `kept`: they may not, but more may come. `full`: they may not,
 * and no more is read before `resume`.
 */
export type Taken = "used" | "kept" | "full";

/** Takes bytes that are valid during the call, and longer as it says. */
export type Sink = (bytes: Buffer) => Taken;

export type Inflow = {
  /** Names who takes the bytes from now on. Until somebody does, none must be read. */
  readonly give: (sink: Sink) => void;
  /** The bytes of the last call stay as they are for ever: what is read next goes somewhere else. */
  readonly leave: () => void;
  /** Reads no more until `resume`; as a sink does that answers `full`. */
  readonly pause: () => void;
  /** Reads, or reads on. Does nothing where it is being read. */
  readonly resume: () => void;
};

/** A connected upstream socket whose bytes come through an inflow: it never says `data`. */
export type Upstream = { readonly socket: Socket; readonly inflow: Inflow };

/**
 * The first is one for all sockets, so that an idle tunnel has none, and what is read there is copied before anybody gets
 * it. One that carries a download has a buffer of its own: reads that come full make it grow. Two of the largest hold a
 * piece of Delivery Optimization, 1 MiB, with its head; they cost a fifth less than twice as many reads.
 */
const sizes = [8, 64, 256, 520].map((kib) => kib * 1024);
const shared = Buffer.allocUnsafeSlow(sizes[0] ?? 0);
const largest = sizes.length - 1;
/** So many sockets may have one of the largest, and only as long as the client takes what comes. */
const maxLargest = 64;
let largestInUse = 0;
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
  const socket = netConnect({ host, port, allowHalfOpen: true, noDelay: true, autoSelectFamily: false });
  heedErrors(socket);
  return { socket };
}

/** The same with an inflow. */
export function connectUpstream({ host, port }: DialTarget): Upstream {
  const inflow = new ReusedBuffer();
  const onread: OnReadOpts = { buffer: () => inflow.buffer(), callback: (length) => inflow.onRead(length) };
  const socket = netConnect({ host, port, allowHalfOpen: true, noDelay: true, autoSelectFamily: false, onread });
  heedErrors(socket);
  inflow.follow(socket);
  return { socket, inflow };
}

class ReusedBuffer implements Inflow {
  #socket: Socket | undefined;
  #level = 0;
  #buffer: Buffer = shared;
  #sink: Sink = refuse;
  #isReading = false;
  /** Somebody else still reads in the buffer. */
  #isLent = false;
  #partial = 0;
  /** What was handed out last is not used yet. */
  #isBehind = false;
  /** One of the largest, which somebody reads in until `resume`, while this goes on with a smaller one. */
  #lent: Buffer | undefined;

  follow(socket: Socket): void {
    this.#socket = socket;
    // Its buffer is for others then.
    socket.on("close", () => this.#release());
  }

  /** Where the next read goes. Asked after each: nothing else may be moved in between. */
  buffer(): Buffer {
    return this.#buffer;
  }

  /** Told after a read; false reads no more. */
  onRead(length: number): boolean {
    const from = this.#buffer;
    const bytes = from.subarray(0, length);
    // A peer that sends crumbs for one that does not read must not hold a whole buffer with each.
    const isCopy = from === shared || (this.#isBehind && length < from.length / crumbsOfBuffer);
    const taken = this.#sink(isCopy ? Buffer.from(bytes) : bytes);
    this.#isBehind = taken !== "used";
    if (taken === "full") this.#isReading = false;
    if (from !== this.#buffer) return taken !== "full";
    this.#isLent = this.#isBehind && !isCopy;
    this.#resize(length);
    if (this.#isLent && taken === "kept") this.leave();
    else if (this.#isLent && this.#level === largest) this.#fallBack();
    return taken !== "full";
  }

  give(sink: Sink): void {
    this.#sink = sink;
  }

  leave(): void {
    if (this.#buffer !== shared) this.#buffer = take(this.#level);
    this.#isLent = false;
  }

  pause(): void {
    this.#isReading = false;
    this.#socket?.pause();
  }

  resume(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    this.#isLent = false;
    if (this.#lent !== undefined) {
      largestInUse -= 1;
      keep(this.#lent, largest);
      this.#lent = undefined;
    }
    this.#socket?.resume();
  }

  #release(): void {
    if (this.#level === largest || this.#lent !== undefined) largestInUse -= 1;
    this.#lent = undefined;
    if (!this.#isLent) keep(this.#buffer, this.#level);
    this.#isLent = true;
  }

  /** Whoever does not keep up waits with less. */
  #fallBack(): void {
    this.#lent = this.#buffer;
    this.#isLent = false;
    this.#level = largest - 1;
    this.#buffer = take(this.#level);
  }

  #resize(length: number): void {
    const isFull = length === this.#buffer.length;
    this.#partial = isFull ? 0 : this.#partial + 1;
    if (isFull) this.#move(this.#level + 1);
    else if (this.#partial > 1 && length <= (sizes[this.#level - 1] ?? 0)) this.#move(this.#level - 1);
  }

  #move(to: number): void {
    if (to > largest || this.#isLent) return;
    if (to === largest && largestInUse === maxLargest) return;
    if (to === largest) largestInUse += 1;
    else if (this.#level === largest) largestInUse -= 1;
    keep(this.#buffer, this.#level);
    this.#level = to;
    this.#partial = 0;
    this.#buffer = take(to);
  }
}

function refuse(): Taken {
  return "full";
}

function take(level: number): Buffer {
  if (level === 0) return shared;
  return kept[level]?.pop() ?? Buffer.allocUnsafeSlow(sizes[level] ?? 0);
}

function keep(buffer: Buffer, level: number): void {
  const shelf = kept[level];
  if (buffer !== shared && shelf !== undefined && (shelf.length + 1) * buffer.length <= keptBytes) shelf.push(buffer);
}
