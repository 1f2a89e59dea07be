/**
 * Two connected sockets become one: bytes both ways with backpressure, half-close each way, one idle deadline over both.
 * The splice owns both sockets from the call on and destroys them on every way out.
 */
import type { Socket } from "node:net";
import { resetSocket } from "./reset.ts";

export type SpliceOptions = {
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

/**
 * Splices two sockets of which none has said `close` yet. Whatever either has buffered flows first. `close` destroys
 * both ends (drain, revocation).
 */
export function splice(client: Socket, upstream: Socket, options: SpliceOptions): { readonly close: () => void } {
  let closedBy: SpliceEnd["closedBy"] | undefined;
  let outcome: SpliceEnd["outcome"] = "ok";
  let open = 2;
  let lastMoved = performance.now();
  let idle = setTimeout(checkIdle, options.idleTimeoutMs);

  join(client, upstream, options.onBytesUp, () => breakOff("client", "client_aborted", upstream));
  join(upstream, client, options.onBytesDown, () => {
    breakOff("upstream", upstream.readableEnded ? "ok" : "connection_terminated", client);
  });
  if (client.destroyed || upstream.destroyed) destroyBoth();

  return {
    close: () => {
      closedBy ??= "proxy";
      destroyBoth();
    },
  };

  /** One direction, and the life of its source. */
  function join(from: Socket, to: Socket, count: (bytes: number) => void, broken: () => void): void {
    from.on("data", (chunk: Buffer) => {
      lastMoved = performance.now();
      count(chunk.length);
      if (!to.write(chunk)) from.pause();
    });
    to.on("drain", () => {
      lastMoved = performance.now();
      from.resume();
    });
    from.on("end", onEnd);
    from.on("error", broken);
    from.on("close", () => {
      const finished = from.readableEnded && from.writableFinished;
      if (!finished && !to.destroyed) broken();
      onClosed();
    });
    if (from.readableEnded) onEnd();
    else from.resume();

    function onEnd(): void {
      closedBy ??= from === client ? "client" : "upstream";
      to.end();
    }
  }

  function breakOff(side: "client" | "upstream", how: SpliceEnd["outcome"], other: Socket): void {
    if (outcome === "ok") outcome = how;
    closedBy ??= side;
    resetSocket(other);
  }

  function checkIdle(): void {
    const waited = performance.now() - lastMoved;
    if (waited < options.idleTimeoutMs) {
      idle = setTimeout(checkIdle, options.idleTimeoutMs - waited);
      return;
    }
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
    clearTimeout(idle);
    options.done({ outcome, closedBy: closedBy ?? "proxy" });
  }
}
