/** Opens a connection to the first admitted destination that answers (Happy Eyeballs version 2, RFC 8305 section 5). */
import type { Socket } from "node:net";
import type { Destination } from "./admit.ts";
import type { DialTarget } from "./inflow.ts";

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
  const startedAt = performance.now();
  const attempts = new Set<Socket>();
  let next = 0;
  let failed: DialFailure = "proxy_internal_error";
  let delay: NodeJS.Timeout | undefined;
  const deadline = setTimeout(() => {
    failed = moreTelling(failed, "connection_timeout");
    finish(undefined, undefined);
  }, options.timeoutMs);
  start();
  return { cancel: stop };

  function start(): void {
    clearTimeout(delay);
    const destination = destinations[next];
    if (destination === undefined || attempts.size >= maxConcurrentAttempts) return;
    next += 1;
    attempt(destination);
    if (next < destinations.length) delay = setTimeout(start, options.attemptDelayMs);
  }

  function attempt(destination: Destination): void {
    const opened = options.connect({ host: destination.address.text, port: destination.port });
    const { socket } = opened;
    socket.on("error", onError);
    socket.on("connect", onConnect);
    socket.pause();
    attempts.add(socket);

    function onConnect(): void {
      socket.on("error", ignore);
      socket.off("error", onError);
      socket.off("connect", onConnect);
      attempts.delete(socket);
      finish(opened, destination);
    }
    function onError(error: NodeJS.ErrnoException): void {
      attempts.delete(socket);
      failed = moreTelling(failed, failureOf(error.code));
      if (next < destinations.length) start();
      else if (attempts.size === 0) finish(undefined, undefined);
    }
  }

  function finish(opened: Opened | undefined, destination: Destination | undefined): void {
    stop();
    const dialMs = performance.now() - startedAt;
    if (opened === undefined || destination === undefined) done({ kind: "failed", outcome: failed, dialMs });
    else done({ kind: "connected", opened, destination, dialMs });
  }

  /** After it nothing calls back: a socket destroyed before its `connect` or `error` event has none. */
  function stop(): void {
    clearTimeout(deadline);
    clearTimeout(delay);
    next = destinations.length;
    for (const socket of attempts) abandon(socket);
    attempts.clear();
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
