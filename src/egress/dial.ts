/** Opens a connection to the first admitted destination that answers (Happy Eyeballs version 2, RFC 8305 section 5). */
import type { Socket } from "node:net";
import type { Destination } from "./admit.ts";
import type { DialTarget } from "./inflow.ts";
import { heedErrors } from "./socket-owner.ts";

export type DialOptions<Opened extends { readonly socket: Socket }> = {
  /** All attempts together take no longer than this. */
  readonly timeoutMs: number;
  /** Pause before the next address is tried beside one that has not answered; `connectionAttemptDelayMs` is the RFC's. */
  readonly attemptDelayMs: number;
  /** Begins an attempt: `connectPlain`, `connectUpstream`. */
  readonly connect: (target: DialTarget) => Opened;
};

/**
 * How a dial ended. A connected socket is the receiver's: paused (no byte of it is lost), half-open allowed, without
 * Nagle's delay, with an error listener that ignores, so that the receiver's own may come a little later.
 */
export type DialResult<Opened> =
  | { readonly kind: "connected"; readonly opened: Opened; readonly destination: Destination; readonly dialMs: number }
  | { readonly kind: "failed"; readonly outcome: DialFailure; readonly dialMs: number };

/** The most telling first: it is given when attempts failed in different ways. */
export const dialFailures = [
  "connection_refused",
  "connection_terminated",
  "connection_timeout",
  "connection_limit_reached",
  "destination_ip_unroutable",
  "proxy_internal_error",
] as const;
export type DialFailure = (typeof dialFailures)[number];

/** RFC 8305 section 8, "Connection Attempt Delay". */
export const connectionAttemptDelayMs = 250;
/** Attempts of one dial in the air at once: a name with 32 dead addresses must not cost 32 sockets. */
const maxConcurrentAttempts = 6;

/**
 * Dials in the order given, which is the resolver's. `done` is called once, never before `dial` returned, and not at all
 * after `cancel()`. Until then every socket belongs to the dial, which destroys all but the one it hands over. To dial
 * nothing is a bug of the caller's, who had a denial to give.
 */
export function dial<Opened extends { readonly socket: Socket }>(
  destinations: readonly Destination[],
  options: DialOptions<Opened>,
  done: (result: DialResult<Opened>) => void,
): { readonly cancel: () => void } {
  if (destinations.length === 0) throw new Error("dial without a destination");
  const dialling = new Dialling(destinations, options, done);
  dialling.start();
  return { cancel: () => dialling.cancel() };
}

class Dialling<Opened extends { readonly socket: Socket }> {
  readonly #destinations: readonly Destination[];
  readonly #options: DialOptions<Opened>;
  readonly #done: (result: DialResult<Opened>) => void;
  readonly #startedAt = performance.now();
  readonly #deadline: NodeJS.Timeout;
  /** In the air. */
  #attempts: Socket[] = [];
  #next = 0;
  #failed: DialFailure = "proxy_internal_error";
  #delay: NodeJS.Timeout | undefined;

  constructor(
    destinations: readonly Destination[],
    options: DialOptions<Opened>,
    done: (result: DialResult<Opened>) => void,
  ) {
    this.#destinations = destinations;
    this.#options = options;
    this.#done = done;
    this.#deadline = setTimeout(() => {
      this.#failed = moreTelling(this.#failed, "connection_timeout");
      this.#fail();
    }, options.timeoutMs);
  }

  start(): void {
    if (this.#delay !== undefined) clearTimeout(this.#delay);
    const destination = this.#destinations[this.#next];
    if (destination === undefined || this.#attempts.length >= maxConcurrentAttempts) return;
    this.#next += 1;
    this.#attempt(destination);
    if (this.#next < this.#destinations.length)
      this.#delay = setTimeout(() => this.start(), this.#options.attemptDelayMs);
  }

  /** After it nothing calls back: a socket destroyed before its `connect` or `error` event has none. */
  cancel(): void {
    clearTimeout(this.#deadline);
    if (this.#delay !== undefined) clearTimeout(this.#delay);
    this.#next = this.#destinations.length;
    const abandoned = this.#attempts;
    this.#attempts = [];
    for (const socket of abandoned) abandon(socket);
  }

  #attempt(destination: Destination): void {
    const opened = this.#options.connect({ host: destination.address.text, port: destination.port });
    const { socket } = opened;
    heedErrors(socket);
    const onConnect = (): void => {
      socket.removeListener("error", onError);
      socket.removeListener("connect", onConnect);
      this.#forget(socket);
      this.cancel();
      this.#done({ kind: "connected", opened, destination, dialMs: performance.now() - this.#startedAt });
    };
    const onError = (error: NodeJS.ErrnoException): void => {
      this.#forget(socket);
      this.#failed = moreTelling(this.#failed, failureOf(error.code));
      if (this.#next < this.#destinations.length) this.start();
      else if (this.#attempts.length === 0) this.#fail();
    };
    socket.on("error", onError);
    socket.on("connect", onConnect);
    socket.pause();
    this.#attempts.push(socket);
  }

  #forget(socket: Socket): void {
    this.#attempts.splice(this.#attempts.indexOf(socket), 1);
  }

  #fail(): void {
    this.cancel();
    this.#done({ kind: "failed", outcome: this.#failed, dialMs: performance.now() - this.#startedAt });
  }
}

function abandon(socket: Socket): void {
  socket.removeAllListeners("connect");
  socket.removeAllListeners("error");
  socket.on("error", ignore);
  socket.destroy();
}

function ignore(): void {}

function moreTelling(a: DialFailure, b: DialFailure): DialFailure {
  return dialFailures.indexOf(b) < dialFailures.indexOf(a) ? b : a;
}

/** What connect(2) says, in the words of RFC 9209 section 2.3. */
function failureOf(code: string | undefined): DialFailure {
  switch (code) {
    case "ECONNREFUSED":
      return "connection_refused";
    case "ECONNRESET":
    case "ECONNABORTED":
    case "EPIPE":
      return "connection_terminated";
    case "ETIMEDOUT":
      return "connection_timeout";
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "EADDRNOTAVAIL":
    case "ENETDOWN":
    case "EHOSTDOWN":
    case "EAFNOSUPPORT":
    case "EINVAL": // a link-local address without a zone, or 0.0.0.1
    case "EACCES": // a local firewall's reject, or a broadcast address
    case "EPERM":
      return "destination_ip_unroutable";
    case "EMFILE":
    case "ENFILE":
    case "ENOBUFS":
    case "ENOMEM":
      return "connection_limit_reached";
    default:
      return "proxy_internal_error";
  }
}
