/**
 * Two connected sockets become one: bytes both ways with backpressure, half-close each way, one idle deadline over both.
 * The splice owns both sockets from the call on and destroys them on every way out.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Deadline, Deadlines } from "./deadlines.ts";
import { freeNow } from "./free-now.ts";
import { type Inflow, type Taken, type Upstream, pass } from "./inflow.ts";
import { cutSocket, isReset, resetSocket } from "./reset.ts";
import { type SocketOwner, own, ownInflow } from "./socket-owner.ts";

export type SpliceOptions = {
  readonly deadlines: Deadlines;
  /** Neither side moves a byte for this long: both are destroyed. */
  readonly idleTimeoutMs: number;
  /** Counts what is relayed. */
  readonly tally: Tally;
  /** Called once, when both sockets are closed, and never before `splice` has returned. */
  readonly done: (end: SpliceEnd) => void;
};

/** Bytes that were handed to the other side. */
export type Tally = { bytesUp: number; bytesDown: number };

export type SpliceEnd = {
  /**
   * `ok`: both sides finished. Otherwise one broke off, or nothing moved for too long. An upstream that has sent its
   * FIN and then resets has finished too: it says that it will not listen to what still comes.
   */
  readonly outcome: "ok" | "client_aborted" | "connection_terminated" | "idle_timeout";
  /** The side that finished first. */
  readonly closedBy: "client" | "upstream" | "idle" | "proxy";
};

export type Splice = {
  readonly close: () => void;
  /** From now on `then` is called, in place of the idle end, as soon as neither side has moved a byte for so long. */
  readonly whenQuiet: (ms: number, then: () => void) => void;
};

/** Splices a client to an upstream whose bytes come through an inflow. As `splice` in everything else. */
export function spliceUpstream(client: Socket, { socket, inflow }: Upstream, options: SpliceOptions): Splice {
  const spliced = new Splicing(client, socket, inflow, options);
  inflow.give((bytes) => spliced.take(bytes));
  own(client, spliced);
  ownInflow(socket, spliced);
  spliced.start();
  return spliced;
}

/**
 * Splices two sockets of which none has said `close` yet, and which heed errors. Whatever either has buffered flows
 * first. `close` destroys both ends (drain, revocation).
 */
export function splice(client: Socket, upstream: Socket, options: SpliceOptions): Splice {
  const spliced = new Splicing(client, upstream, undefined, options);
  own(client, spliced);
  own(upstream, spliced);
  spliced.start();
  return spliced;
}

class Splicing implements Splice, SocketOwner {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #inflow: Inflow | undefined;
  readonly #tally: Tally;
  readonly #done: SpliceOptions["done"];
  readonly #idle: Deadline;
  #idleTimeoutMs: number;
  #onQuiet: (() => void) | undefined;
  #closedBy: SpliceEnd["closedBy"] | undefined;
  #outcome: SpliceEnd["outcome"] = "ok";
  /** It said `end`, and was reset, or may have been. */
  #reset: Socket | undefined;
  /** Closed since both sides are done. */
  #finished: Socket | undefined;
  #open = 2;

  constructor(client: Socket, upstream: Socket, inflow: Inflow | undefined, options: SpliceOptions) {
    this.#client = client;
    this.#upstream = upstream;
    this.#inflow = inflow;
    const { tally, done, deadlines, idleTimeoutMs } = options;
    this.#tally = tally;
    this.#done = done;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#idle = deadlines.after(idleTimeoutMs, () => this.#onIdle());
  }

  start(): void {
    const client = this.#client;
    const upstream = this.#upstream;
    if (client.readableEnded) this.onEnd(client);
    if (upstream.readableEnded) this.onEnd(upstream);
    if (client.destroyed || upstream.destroyed) this.#cutBoth();
    if (!client.readableEnded) this.#readOn(client);
    if (!upstream.readableEnded) this.#readOn(upstream);
  }

  close(): void {
    this.#closedBy ??= "proxy";
    this.#cutBoth();
  }

  whenQuiet(ms: number, then: () => void): void {
    this.#idleTimeoutMs = Math.min(ms, this.#idleTimeoutMs);
    this.#onQuiet = then;
    this.#idle.move(this.#idleTimeoutMs);
  }

  /** Bytes of the inflow. */
  take(bytes: Buffer): Taken {
    this.#idle.move(this.#idleTimeoutMs);
    this.#tally.bytesDown += bytes.length;
    return pass(this.#client, bytes);
  }

  onData(from: Socket, chunk: Buffer): void {
    this.#idle.move(this.#idleTimeoutMs);
    if (from === this.#client) this.#tally.bytesUp += chunk.length;
    else this.#tally.bytesDown += chunk.length;
    const to = this.#otherOf(from);
    const hasRoom = to.write(chunk);
    // What the kernel has taken whole is nobody's any more, and needs no waiting for, though it was more than the mark.
    if (to.writableLength === 0) freeNow(chunk);
    else if (!hasRoom) from.pause();
  }

  onDrain(to: Socket): void {
    this.#idle.move(this.#idleTimeoutMs);
    this.#readOn(this.#otherOf(to));
  }

  onEnd(from: Socket): void {
    if (isReset(from)) this.#reset = from;
    else if (from.writableLength === 0) this.#passEnd(from);
    else {
      // If it was, what it has not taken yet is told so before the loop comes round.
      this.#reset = from;
      setImmediate(() => {
        if (from.errored !== null) return;
        this.#reset = undefined;
        this.#passEnd(from);
      });
    }
  }

  onError(from: Socket): void {
    if (from === this.#client) return this.#breakOff("client", "client_aborted", this.#upstream);
    const isFinished = from.readableEnded && from !== this.#reset;
    this.#breakOff("upstream", isFinished ? "ok" : "connection_terminated", this.#client);
  }

  onClose(from: Socket): void {
    const isFinished = from.readableEnded && (from.writableFinished || from === this.#finished);
    if (!isFinished && !this.#otherOf(from).destroyed) this.onError(from);
    this.#open -= 1;
    if (this.#open > 0) return;
    this.#idle.cancel();
    this.#done({ outcome: this.#outcome, closedBy: this.#closedBy ?? "proxy" });
  }

  #passEnd(from: Socket): void {
    this.#closedBy ??= from === this.#client ? "client" : "upstream";
    const to = this.#otherOf(from);
    // Who has said all it will say, and has been told all, is closed at once: its FIN goes out with that.
    if (to.readableEnded && to.writableLength === 0 && !to.destroyed && !(to instanceof TLSSocket)) {
      this.#finished = to;
      to.destroy();
    } else to.end();
  }

  #otherOf(socket: Socket): Socket {
    return socket === this.#client ? this.#upstream : this.#client;
  }

  #readOn(from: Socket): void {
    if (from === this.#upstream && this.#inflow !== undefined) this.#inflow.resume();
    else if (from.isPaused()) from.resume();
  }

  #breakOff(side: "client" | "upstream", how: SpliceEnd["outcome"], other: Socket): void {
    if (this.#outcome === "ok") this.#outcome = how;
    this.#closedBy ??= side;
    resetSocket(other);
  }

  #onIdle(): void {
    if (this.#onQuiet !== undefined) return this.#onQuiet();
    this.#outcome = "idle_timeout";
    this.#closedBy = "idle";
    this.#cutBoth();
  }

  #cutBoth(): void {
    cutSocket(this.#client);
    cutSocket(this.#upstream);
  }
}
