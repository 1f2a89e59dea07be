/**
 * One accepted connection, from its first byte on:
 *
 *   heading ──► fetching    (GET and HEAD without a body: `fetch`)         ──► heading …
 *      │    ──► forwarding  (other requests: `node-lane`, and `request`)   ──► heading …
 *      │    ──► a tunnel    (CONNECT, WebSocket): the socket is theirs
 *      └──► refused: 4xx, then closed
 *
 * It reads heads, strictly, and one after the other: what is pipelined behind an exchange is held until that is over, no
 * more of it than one head may be long. It owns the socket until a tunnel or `endAndLinger` does, and its deadline:
 * `head_timeout` for a head, `keepalive_timeout` between two, `body_idle_timeout` for a client that does not read.
 */
import type { Deadline } from "../egress/deadlines.ts";
import type { Pool } from "../egress/pool.ts";
import { hasField } from "../wire/fields.ts";
import { parseRequestHead } from "../wire/parse-request-head.ts";
import type { Malformation, Refusal } from "../wire/refusal.ts";
import { type HeadReading, type RequestHead, readHead } from "../wire/request-head.ts";
import { handleConnect } from "./connect.ts";
import { closeBound } from "./bound-origins.ts";
import type { Connection } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { denyOutright, openExchange } from "./exchange.ts";
import { handleFetch } from "./fetch.ts";
import { createHeldBytes } from "./held-bytes.ts";
import { endAndLinger } from "./linger.ts";
import type { NodeLane } from "./node-lane.ts";
import { refusalOfMalformed, refuseSocket } from "./refuse.ts";
import type { Tunnel } from "./tunnel-review.ts";
import type { LaneExchange, Turn } from "./turn.ts";
import { handleWebSocket } from "./websocket.ts";

export type LaneServices = {
  readonly context: IngressContext;
  readonly pool: Pool;
  readonly nodeLane: NodeLane;
  /** Follows a tunnel until it is closed. */
  readonly track: (start: (closed: () => void) => Tunnel) => void;
};

export type Lane = {
  /** Closes the connection where it only waits for another request. */
  readonly endIfIdle: () => void;
};

/** Until the credentials of a request have been compared; then something is wrong with us. */
const maxComparisonMs = 30_000;

/** Serves a connection. Its socket has a listener for errors. */
export function serveConnection({ context, pool, nodeLane, track }: LaneServices, connection: Connection): Lane {
  const { socket } = connection;
  const { limits } = context.settings;
  const held = createHeldBytes(Buffer.alloc(0));
  let state: "heading" | "exchange" | "flushing" | "gone" = "heading";
  let exchange: LaneExchange | undefined;
  let scanned = 0;
  /** A head has begun, or nothing has come yet on this connection. */
  let headBegun = true;
  let deadline: Deadline | undefined;
  let expired = (): void => {};

  socket.on("data", onData);
  socket.on("end", onEnd);
  socket.on("drain", onDrain);
  socket.on("close", onClose);
  wait(limits.headTimeoutMs, onHeadLate);

  const turn: Turn = {
    wait,
    next,
    endLast: () => {
      if (socket.writableLength === 0) return linger();
      // It has as long for the rest of the answer as for any other part of it.
      state = "flushing";
      wait(limits.bodyIdleTimeoutMs, () => socket.destroy());
      socket.end(() => {
        if (state === "flushing") linger();
      });
    },
    refuse: (refusal, request) => {
      leave();
      refuseSocket(context, socket, refusal, request, () => {});
    },
    pauseReading: () => void socket.pause(),
    resumeReading: () => void socket.resume(),
  };
  return {
    endIfIdle: () => {
      if (state === "heading" && !headBegun) turn.endLast();
    },
  };

  function onData(chunk: Buffer): void {
    guard(() => {
      if (state === "exchange" && exchange?.onBody !== undefined) {
        const used = exchange.onBody(chunk);
        if (used < chunk.length) hold(chunk.subarray(used));
        return;
      }
      hold(chunk);
      if (state === "heading") readHeads();
    });
  }

  function hold(chunk: Buffer): void {
    held.hold(chunk, false);
    if (state !== "heading" && held.length() >= limits.headBytes) socket.pause();
  }

  function readHeads(): void {
    while (state === "heading" && held.length() > 0) {
      const parsed = parseRequestHead(held.view(), scanned, limits.headBytes);
      if (parsed.kind === "malformed") return refuseHead(parsed.problem, parsed.detail);
      if (parsed.kind === "incomplete") {
        scanned = parsed.scanned;
        if (!headBegun) wait(limits.headTimeoutMs, onHeadLate);
        headBegun = true;
        return;
      }
      held.take(parsed.length);
      scanned = 0;
      headBegun = false;
      begin(parsed.head, readHead(parsed.head, limits.fields));
    }
  }

  function begin(head: RequestHead, reading: HeadReading): void {
    state = "exchange";
    const { authenticate } = connection;
    if (authenticate === undefined) return handle(head, reading);
    connection.credentials = undefined;
    const credentials = authenticate(head.rawFields, connection.address);
    if (!(credentials instanceof Promise)) {
      connection.credentials = credentials;
      return handle(head, reading);
    }
    // The queue of those who wait for it is bounded, and so is this.
    wait(maxComparisonMs, () => socket.destroy());
    void credentials.then((found) =>
      guard(() => {
        if (state !== "exchange" || socket.destroyed) return;
        connection.credentials = found;
        handle(head, reading);
      }),
    );
  }

  function handle(head: RequestHead, reading: HeadReading): void {
    // The head is no longer waited for, and what the exchange waits for it says itself.
    expired = () => {};
    const { method, httpVersion } = head;
    const isGet = method === "GET" && httpVersion === "1.1";
    if (method === "CONNECT") {
      leaveForGood();
      const entry = { kind: "head", request: head, reading, early: held.view() } as const;
      track((closed) => handleConnect(context, connection, entry, closed));
    } else if (isGet && reading.kind === "head" && reading.upgrade === "websocket") {
      leaveForGood();
      track((closed) => handleWebSocket(context, connection, head, reading, held.view(), closed));
    } else if (isFetch(head, reading)) {
      const fetch = handleFetch(context, pool, connection, turn, head, reading);
      exchange = fetch;
      fetch.start();
    } else {
      const forwarding = nodeLane.begin(connection, turn, head, reading);
      exchange = forwarding;
      if (held.length() > 0) held.take(forwarding.onBody(held.view()));
    }
  }

  /** The exchange is over, and the connection may serve another. */
  function next(): void {
    exchange = undefined;
    if (connection.isLast) return turn.endLast();
    if (socket.writableNeedDrain) {
      state = "flushing";
      wait(limits.bodyIdleTimeoutMs, () => socket.destroy());
      return;
    }
    state = "heading";
    if (held.length() === 0) {
      if (context.isDraining()) return turn.endLast();
      wait(limits.keepaliveTimeoutMs, () => turn.endLast());
    } else {
      headBegun = true;
      wait(limits.headTimeoutMs, onHeadLate);
    }
    readHeads();
    if (state === "heading") socket.resume();
  }

  function linger(): void {
    leave();
    endAndLinger(socket, undefined, () => {});
  }

  function onDrain(): void {
    guard(() => {
      if (state === "flushing" && !socket.writableEnded) next();
      else exchange?.onDrain();
    });
  }

  /** A client that ends its side is not waited for, nor served; what it was answered it may still read. */
  function onEnd(): void {
    guard(() => {
      if (exchange !== undefined && !socket.writableEnded) return exchange.onGone();
      state = "flushing";
      wait(limits.bodyIdleTimeoutMs, () => socket.destroy());
      socket.destroySoon();
    });
  }

  /** To a tunnel, which outlives us by hours: nothing of the lane stays behind. */
  function leaveForGood(): void {
    leave();
    socket.removeListener("close", onClose);
  }

  function onClose(): void {
    leave();
    const left = exchange;
    exchange = undefined;
    guard(() => left?.onGone());
  }

  /** The socket is somebody else's from now on, or nobody's. */
  function leave(): void {
    state = "gone";
    rest();
    closeBound(connection);
    socket.removeListener("data", onData);
    socket.removeListener("end", onEnd);
    socket.removeListener("drain", onDrain);
  }

  function wait(ms: number, onExpired: () => void): void {
    expired = onExpired;
    if (deadline !== undefined) return deadline.move(ms);
    deadline = context.deadlines.after(ms, () => {
      deadline = undefined;
      guard(expired);
    });
  }

  function rest(): void {
    deadline?.cancel();
    deadline = undefined;
  }

  function onHeadLate(): void {
    refuseHead("head_timeout", "the request head did not arrive in time");
  }

  function refuseHead(how: Malformation, detail: string): void {
    const refused = openExchange(context, connection, "http", "");
    refused.note(denyOutright("bad_request"));
    const refusal: Refusal = refusalOfMalformed(how, detail, refused.event);
    refused.event.status = refusal.status;
    if (how === "head_timeout") context.metrics.limitRejected("head_timeout");
    if (how === "head_too_large") context.metrics.limitRejected("head");
    turn.refuse(refusal, undefined);
    refused.end(undefined, "proxy");
  }

  /** The one boundary for bugs: the connection dies, the process lives. */
  function guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      context.log.problem({ message: "an exchange failed", error });
      socket.destroy();
    }
  }
}

/** GET and HEAD without a body, in HTTP/1.1; and whatever is refused by its head alone. */
function isFetch({ method, httpVersion, rawFields }: RequestHead, reading: HeadReading): boolean {
  if (reading.kind === "malformed") return true;
  if ((method !== "GET" && method !== "HEAD") || httpVersion !== "1.1") return false;
  return reading.framing.kind === "none" && !hasField(rawFields, "expect");
}
