/** What a connection gives to the exchange that it serves, and what it asks of it. */
import type { Refusal } from "../wire/refusal.ts";
import type { RequestHead } from "../wire/request-head.ts";

/** One exchange's turn on a connection. It ends with one of `next`, `endLast` and `refuse`, or with the socket. */
export type Turn = {
  /** Calls `expired` in `ms`, unless something else is waited for by then. */
  readonly wait: (ms: number, expired: () => void) => void;
  /** The exchange is over; the connection may serve another. */
  readonly next: () => void;
  /** All has been written: the connection is ended, and lingers. */
  readonly endLast: () => void;
  /** Tells the client no, and ends the connection. */
  readonly refuse: (refusal: Refusal, request: RequestHead | undefined) => void;
  readonly pauseReading: () => void;
  readonly resumeReading: () => void;
};

/** An exchange under way. */
export type LaneExchange = {
  /** Takes bytes of the request's body; answers how many were its. Undefined where the request has none. */
  readonly onBody: ((bytes: Buffer) => number) | undefined;
  /** The client has read what was written. */
  readonly onDrain: () => void;
  /** The client has left. */
  readonly onGone: () => void;
};
