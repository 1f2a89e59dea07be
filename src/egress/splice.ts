/**
 * Two connected sockets become one: bytes both ways with backpressure, half-close each way, one idle deadline over both.
 * The splice owns both sockets from the call on and destroys them on every way out.
 */
import type { Socket } from "node:net";
import type { Deadlines } from "./deadlines.ts";
import { type Upstream, pass } from "./inflow.ts";
import { resetSocket } from "./reset.ts";

export type SpliceOptions = {
  readonly deadlines: Deadlines;
  /** Neither side moves a byte for this long: both are destroyed. */
  readonly idleTimeoutMs: number;
  /** Called for every chunk relayed. */
  readonly onBytesUp: (bytes: number) => void;
  readonly onBytesDown: (bytes: number) => void;
  /** Called once, when both sockets are closed, and never before `splice` has returned. */
  readonly done: (end: SpliceEnd) => void;
};

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
  return join(client, socket, options, (moved) => {
    inflow.give((bytes) => {
      moved(bytes.length);
      return pass(client, bytes);
    });
    inflow.shrink();
    return inflow.resume;
  });
}

/**
 * Splices two sockets of which none has said `close` yet. Whatever either has buffered flows first. `close` destroys
 * both ends (drain, revocation).
 */
export function splice(client: Socket, upstream: Socket, options: SpliceOptions): Splice {
  return join(client, upstream, options, (moved) => {
    flow(upstream, client, moved);
    return () => upstream.resume();
  });
}

/** `download` begins to pass bytes down, once it is told to by what it answers, and again after each `drain`. */
function join(
  client: Socket,
  upstream: Socket,
  options: SpliceOptions,
  download: (moved: (bytes: number) => void) => () => void,
): Splice {
  const { onBytesUp, onBytesDown } = options;
  let { idleTimeoutMs } = options;
  let expire = onIdle;
  let closedBy: SpliceEnd["closedBy"] | undefined;
  let outcome: SpliceEnd["outcome"] = "ok";
  let open = 2;
  const idle = options.deadlines.after(idleTimeoutMs, () => expire());

  flow(client, upstream, (bytes) => {
    idle.move(idleTimeoutMs);
    onBytesUp(bytes);
  });
  const goOnDown = download((bytes) => {
    idle.move(idleTimeoutMs);
    onBytesDown(bytes);
  });
  upstream.on("drain", () => {
    idle.move(idleTimeoutMs);
    client.resume();
  });
  client.on("drain", () => {
    idle.move(idleTimeoutMs);
    goOnDown();
  });
  follow(client, upstream, () => breakOff("client", "client_aborted", upstream));
  follow(upstream, client, () => {
    breakOff("upstream", upstream.readableEnded ? "ok" : "connection_terminated", client);
  });
  if (client.destroyed || upstream.destroyed) destroyBoth();
  if (!client.readableEnded) client.resume();
  if (!upstream.readableEnded) goOnDown();

  return {
    close: () => {
      closedBy ??= "proxy";
      destroyBoth();
    },
    whenQuiet: (ms, then) => {
      idleTimeoutMs = Math.min(ms, idleTimeoutMs);
      expire = then;
      idle.move(idleTimeoutMs);
    },
  };

  /** The life of one end. */
  function follow(from: Socket, to: Socket, broken: () => void): void {
    const onEnd = (): void => {
      closedBy ??= from === client ? "client" : "upstream";
      to.end();
    };
    from.on("end", onEnd);
    from.on("error", broken);
    from.on("close", () => {
      const finished = from.readableEnded && from.writableFinished;
      if (!finished && !to.destroyed) broken();
      onClosed();
    });
    if (from.readableEnded) onEnd();
  }

  function breakOff(side: "client" | "upstream", how: SpliceEnd["outcome"], other: Socket): void {
    if (outcome === "ok") outcome = how;
    closedBy ??= side;
    resetSocket(other);
  }

  function onIdle(): void {
    outcome = "idle_timeout";
    closedBy = "idle";
    destroyBoth();
  }

  function destroyBoth(): void {
    client.destroy();
    upstream.destroy();
  }

  function onClosed(): void {
    open -= 1;
    if (open > 0) return;
    idle.cancel();
    options.done({ outcome, closedBy: closedBy ?? "proxy" });
  }
}

function flow(from: Socket, to: Socket, moved: (bytes: number) => void): void {
  from.on("data", (chunk: Buffer) => {
    moved(chunk.length);
    if (!to.write(chunk)) from.pause();
  });
}
