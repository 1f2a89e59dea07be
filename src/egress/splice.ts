/**
 * Two connected sockets become one: bytes both ways with backpressure, half-close each way, one idle deadline over both.
 * The splice owns both sockets from the call on and destroys them on every way out.
 */
import type { Socket } from "node:net";

export type SpliceOptions = {
  /** Neither side moves a byte for this long: both are destroyed. */
  readonly idleTimeoutMs: number;
  /** Called for every chunk relayed. */
  readonly onBytesUp: (bytes: number) => void;
  readonly onBytesDown: (bytes: number) => void;
  /** Called once, when both sockets are closed. */
  readonly done: (end: SpliceEnd) => void;
};

export type SpliceEnd = {
  /** `ok`: both sides finished. Otherwise one broke off, or nothing moved for too long. */
  readonly outcome: "ok" | "client_aborted" | "connection_terminated" | "idle_timeout";
  /** The side that finished first. */
  readonly closedBy: "client" | "upstream" | "idle" | "proxy";
};

/** Splices. Whatever either socket has buffered flows first. `close` destroys both ends (drain, revocation). */
export function splice(client: Socket, upstream: Socket, options: SpliceOptions): { readonly close: () => void } {
  let closedBy: SpliceEnd["closedBy"] | undefined;
  let outcome: SpliceEnd["outcome"] = "ok";
  let open = 2;
  let lastMoved = performance.now();
  let idle = setTimeout(checkIdle, options.idleTimeoutMs);

  const destroyBoth = (): void => {
    client.destroy();
    upstream.destroy();
  };
  const sides = [
    { from: client, to: upstream, name: "client", broken: "client_aborted", count: options.onBytesUp },
    { from: upstream, to: client, name: "upstream", broken: "connection_terminated", count: options.onBytesDown },
  ] as const;
  for (const { from, to, name, broken, count } of sides) {
    const breakOff = (): void => {
      if (closedBy === undefined || outcome === "ok") outcome = broken;
      closedBy ??= name;
      // The other end must not take what it got for the whole: a reset says so, a FIN would not.
      if (!to.destroyed) to.resetAndDestroy();
    };
    from.on("error", breakOff);
    from.on("data", (chunk: Buffer) => {
      lastMoved = performance.now();
      count(chunk.length);
      if (!to.write(chunk)) from.pause();
    });
    to.on("drain", () => {
      lastMoved = performance.now();
      from.resume();
    });
    from.on("end", () => {
      closedBy ??= name;
      to.end();
    });
    from.on("close", () => {
      if (!from.readableEnded && closedBy === undefined) breakOff();
      else if (!from.readableEnded || to.destroyed) to.destroy();
      open -= 1;
      if (open === 0) finish();
    });
    if (from.readableEnded) to.end();
    else from.resume();
  }
  if (client.destroyed || upstream.destroyed) destroyBoth();

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

  function finish(): void {
    clearTimeout(idle);
    options.done({ outcome, closedBy: closedBy ?? "proxy" });
  }

  return {
    close: () => {
      closedBy ??= "proxy";
      destroyBoth();
    },
  };
}
