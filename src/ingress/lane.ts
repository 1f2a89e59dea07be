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
import type { Socket } from "node:net";
import type { Deadline } from "../egress/deadlines.ts";
import type { Pool } from "../egress/pool.ts";
import { type SocketOwner, disown, own } from "../egress/socket-owner.ts";
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

/** Serves a connection. Its socket heeds errors. */
export function serveConnection(services: LaneServices, connection: Connection): Lane {
  const lane = new ConnectionLane(services, connection);
  lane.start();
  return lane;
}

/** One object for each connection: thousands a second come for one CONNECT. */
class ConnectionLane implements Lane, Turn, SocketOwner {
  readonly #services: LaneServices;
  readonly #connection: Connection;
  readonly #socket: Socket;
  readonly #held = createHeldBytes(none);
  #deadline: Deadline | undefined;
  #state: "heading" | "exchange" | "flushing" | "gone" = "heading";
  #exchange: LaneExchange | undefined;
  #scanned = 0;
  /** A head has begun, or nothing has come yet on this connection. */
  #headBegun = true;
  #expired = ignore;

  constructor(services: LaneServices, connection: Connection) {
    this.#services = services;
    this.#connection = connection;
    this.#socket = connection.socket;
  }

  start(): void {
    this.wait(this.#services.context.settings.limits.headTimeoutMs, () => this.#onHeadLate());
    own(this.#socket, this);
  }

  endIfIdle(): void {
    if (this.#state === "heading" && !this.#headBegun) this.endLast();
  }

  wait(ms: number, expired: () => void): void {
    this.#expired = expired;
    if (this.#deadline === undefined)
      this.#deadline = this.#services.context.deadlines.after(ms, () => this.#onDeadline());
    else this.#deadline.move(ms);
  }

  /** The exchange is over, and the connection may serve another. */
  next(): void {
    const { context } = this.#services;
    const { limits } = context.settings;
    this.#exchange = undefined;
    if (this.#connection.isLast) return this.endLast();
    if (this.#socket.writableNeedDrain) return this.#flush();
    this.#state = "heading";
    if (this.#held.length() === 0) {
      if (context.isDraining()) return this.endLast();
      this.wait(limits.keepaliveTimeoutMs, () => this.endLast());
    } else {
      this.#headBegun = true;
      this.wait(limits.headTimeoutMs, () => this.#onHeadLate());
    }
    this.#readHeads();
    if (this.#state === "heading") this.#socket.resume();
  }

  endLast(): void {
    if (this.#socket.writableLength === 0) return this.#linger();
    // It has as long for the rest of the answer as for any other part of it.
    this.#flush();
    this.#socket.end(() => {
      if (this.#state === "flushing") this.#linger();
    });
  }

  refuse(refusal: Refusal, request: RequestHead | undefined): void {
    this.#leave();
    refuseSocket(this.#services.context, this.#socket, refusal, request, () => {});
  }

  pauseReading(): void {
    this.#socket.pause();
  }

  resumeReading(): void {
    this.#socket.resume();
  }

  onData(_socket: Socket, chunk: Buffer): void {
    this.#guard(() => this.#take(chunk));
  }

  onDrain(): void {
    this.#guard(() => {
      if (this.#state === "flushing" && !this.#socket.writableEnded) this.next();
      else this.#exchange?.onDrain();
    });
  }

  /** A client that ends its side is not waited for, nor served; what it was answered it may still read. */
  onEnd(): void {
    this.#guard(() => {
      if (this.#exchange !== undefined && !this.#socket.writableEnded) return this.#exchange.onGone();
      this.#flush();
      this.#socket.destroySoon();
    });
  }

  onError(): void {}

  onClose(): void {
    this.#leave();
    const left = this.#exchange;
    this.#exchange = undefined;
    this.#guard(() => left?.onGone());
  }

  #take(chunk: Buffer): void {
    if (this.#state === "exchange" && this.#exchange?.onBody !== undefined) {
      const used = this.#exchange.onBody(chunk);
      if (used < chunk.length) this.#hold(chunk.subarray(used));
      return;
    }
    this.#hold(chunk);
    if (this.#state === "heading") this.#readHeads();
  }

  #hold(chunk: Buffer): void {
    this.#held.hold(chunk);
    if (this.#state !== "heading" && this.#held.length() >= this.#services.context.settings.limits.headBytes)
      this.#socket.pause();
  }

  #readHeads(): void {
    const { limits } = this.#services.context.settings;
    while (this.#state === "heading" && this.#held.length() > 0) {
      const parsed = parseRequestHead(this.#held.view(), this.#scanned, limits.headBytes);
      if (parsed.kind === "malformed") return this.#refuseHead(parsed.problem, parsed.detail);
      if (parsed.kind === "incomplete") {
        this.#scanned = parsed.scanned;
        if (!this.#headBegun) this.wait(limits.headTimeoutMs, () => this.#onHeadLate());
        this.#headBegun = true;
        return;
      }
      this.#held.drop(parsed.length);
      this.#scanned = 0;
      this.#headBegun = false;
      this.#begin(parsed.head, readHead(parsed.head, limits.fields));
    }
  }

  #begin(head: RequestHead, reading: HeadReading): void {
    this.#state = "exchange";
    const connection = this.#connection;
    const { authenticate } = connection;
    if (authenticate === undefined) return this.#handle(head, reading);
    connection.credentials = undefined;
    const credentials = authenticate(head.rawFields, connection.address);
    if (!(credentials instanceof Promise)) {
      connection.credentials = credentials;
      return this.#handle(head, reading);
    }
    // The queue of those who wait for it is bounded, and so is this.
    this.wait(maxComparisonMs, () => this.#socket.destroy());
    void credentials.then((found) =>
      this.#guard(() => {
        if (this.#state !== "exchange" || this.#socket.destroyed) return;
        connection.credentials = found;
        this.#handle(head, reading);
      }),
    );
  }

  #handle(head: RequestHead, reading: HeadReading): void {
    const { context, pool, nodeLane, track } = this.#services;
    const connection = this.#connection;
    // The head is no longer waited for, and what the exchange waits for it says itself.
    this.#expired = ignore;
    const { method, httpVersion } = head;
    const isGet = method === "GET" && httpVersion === "1.1";
    if (method === "CONNECT") {
      // The tunnel owns the socket next, and nothing of the lane stays behind.
      this.#rest();
      const entry = { kind: "head", request: head, reading, early: this.#held.view() } as const;
      track((closed) => handleConnect(context, connection, entry, closed));
    } else if (isGet && reading.kind === "head" && reading.upgrade === "websocket") {
      this.#leave();
      track((closed) => handleWebSocket(context, connection, head, reading, this.#held.view(), closed));
    } else if (isFetch(head, reading)) {
      const fetch = handleFetch(context, pool, connection, this, head, reading);
      this.#exchange = fetch;
      fetch.start();
    } else {
      const forwarding = nodeLane.begin(connection, this, head, reading);
      this.#exchange = forwarding;
      if (this.#held.length() > 0) this.#held.drop(forwarding.onBody(this.#held.view()));
    }
  }

  /** What was written is waited for, as long as for any part of an answer. */
  #flush(): void {
    this.#state = "flushing";
    this.wait(this.#services.context.settings.limits.bodyIdleTimeoutMs, () => this.#socket.destroy());
  }

  #linger(): void {
    this.#leave();
    endAndLinger(this.#socket, undefined, ignore);
  }

  /** The socket is somebody else's from now on, or nobody's. */
  #leave(): void {
    this.#rest();
    disown(this.#socket);
  }

  #rest(): void {
    this.#state = "gone";
    this.#deadline?.cancel();
    this.#deadline = undefined;
    closeBound(this.#connection);
  }

  #onDeadline(): void {
    this.#deadline = undefined;
    this.#guard(this.#expired);
  }

  #onHeadLate(): void {
    this.#refuseHead("head_timeout", "the request head did not arrive in time");
  }

  #refuseHead(how: Malformation, detail: string): void {
    const { context } = this.#services;
    const refused = openExchange(context, this.#connection, "http", "");
    refused.note(denyOutright("bad_request"));
    const refusal: Refusal = refusalOfMalformed(how, detail, refused.event);
    refused.event.status = refusal.status;
    if (how === "head_timeout") context.metrics.limitRejected("head_timeout");
    if (how === "head_too_large") context.metrics.limitRejected("head");
    this.refuse(refusal, undefined);
    refused.end(undefined, "proxy");
  }

  /** The one boundary for bugs: the connection dies, the process lives. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#services.context.log.problem({ message: "an exchange failed", error });
      this.#socket.destroy();
    }
  }
}

const none = Buffer.alloc(0);

function ignore(): void {}

/** GET and HEAD without a body, in HTTP/1.1; and whatever is refused by its head alone. */
function isFetch({ method, httpVersion, rawFields }: RequestHead, reading: HeadReading): boolean {
  if (reading.kind === "malformed") return true;
  if ((method !== "GET" && method !== "HEAD") || httpVersion !== "1.1") return false;
  return reading.framing.kind === "none" && !hasField(rawFields, "expect");
}
