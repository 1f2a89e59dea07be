/**
 * One connection to an HTTP/1.1 origin, for bodiless requests one after the other:
 *
 *   resting ──► heading ──► answering ──► resting, or closed
 *
 * - resting: nothing is asked. Whatever the origin says now is an answer to nobody, and ends the connection.
 * - heading: the request has gone out; interim heads are passed on, the final one is judged by its framing.
 * - answering: the body is passed on as it comes, with backpressure, and not a byte beyond its end.
 * It owns the socket, has no deadline of its own (the receiver has), and holds no more than a head.
 */
import { type ChunkScan, createChunkScan, scanChunks } from "../wire/chunked.ts";
import {
  type ResponseFraming,
  type ResponseHeadParse,
  judgeResponseFraming,
  parseResponseHead,
} from "../wire/parse-response-head.ts";
import { fieldTokens } from "../wire/fields.ts";
import type { Failure } from "../wire/refusal.ts";
import type { Destination } from "./admit.ts";
import type { Taken, Upstream } from "./inflow.ts";
import { isReset } from "./reset.ts";

export type AnswerHead = Extract<ResponseHeadParse, { readonly kind: "head" }>;
export type AnswerFraming = Exclude<ResponseFraming, { readonly kind: "malformed" }>;

/** Who has asked. One of `onEnd` and `onFailure` is called once, the last of all, and neither after `destroy`. */
export type Receiver = {
  /** A 1xx other than 101. */
  readonly onInterim: (head: AnswerHead) => void;
  readonly onAnswer: (head: AnswerHead, framing: AnswerFraming) => void;
  /** A part of the body, as for a `Sink`. */
  readonly onBody: (bytes: Buffer) => Taken;
  /** All that came in one piece has been told. */
  readonly onPause: () => void;
  /** The answer is whole. */
  readonly onEnd: () => void;
  /** `unheard`: not a byte of an answer has come. */
  readonly onFailure: (failure: Failure | "http_response_incomplete", detail: string, unheard: boolean) => void;
};

export type Origin = {
  readonly destination: Destination;
  /** Sends a head without a body; the connection must be resting. */
  readonly ask: (method: string, head: string, receiver: Receiver) => void;
  /** The same for a request that the caller sends, by `send`. */
  readonly expect: (method: string, receiver: Receiver) => void;
  /** `sent` is told when the bytes have left, or will not. */
  readonly send: (bytes: Buffer, sent: (error?: Error | null) => void) => void;
  /** Reads on, after `onBody` has answered `full`. */
  readonly resume: () => void;
  /** True while another request may be sent. */
  readonly isResting: () => boolean;
  /** Told once, when a resting connection has closed. */
  readonly onGone: (listener: () => void) => void;
  readonly destroy: () => void;
};

/** Bytes of one head of an answer; as many as Node's own client takes. */
const maxHeadBytes = 16 * 1024;

/**
 * Takes over a connected, paused upstream. `onProblem` is told what a
 * receiver throws, which is then told of a `proxy_internal_error`.
 */
export function createOrigin(
  { socket, inflow }: Upstream,
  destination: Destination,
  onProblem: (error: unknown) => void,
): Origin {
  let receiver: Receiver | undefined;
  let method = "";
  let reading: "rest" | "head" | "length" | "chunked" | "until_close" = "rest";
  /** The beginning of a head that is not whole. */
  let held: Buffer | undefined;
  let scanned = 0;
  let remaining = 0;
  let chunks: ChunkScan = createChunkScan();
  let unheard = true;
  let persistent = false;
  let gone = (): void => {};

  inflow.give((bytes) => {
    try {
      return onBytes(bytes);
    } catch (error) {
      onBug(error);
      return "used";
    }
  });
  socket.on("end", () => guard(onSocketEnd));
  socket.on("error", () => guard(onSocketError));
  socket.on("close", () => {
    guard(onSocketError);
    gone();
  });

  return {
    destination,
    ask: (asked, head, asker) => {
      expect(asked, asker);
      socket.write(head, "latin1");
    },
    expect,
    send: (bytes, sent) => void socket.write(bytes, sent),
    resume: () => inflow.resume(),
    isResting: () => reading === "rest" && !socket.destroyed,
    onGone: (listener) => {
      gone = listener;
    },
    destroy: () => {
      receiver = undefined;
      reading = "rest";
      socket.destroy();
    },
  };

  function expect(asked: string, asker: Receiver): void {
    method = asked;
    receiver = asker;
    reading = "head";
    unheard = true;
    scanned = 0;
    inflow.resume();
  }

  function onBytes(bytes: Buffer): Taken {
    unheard = false;
    let rest = bytes;
    while (reading === "head") {
      const whole: Buffer = held === undefined ? rest : Buffer.concat([held, rest]);
      const parsed = parseResponseHead(whole, scanned, maxHeadBytes);
      if (parsed.kind === "malformed") {
        fail(parsed.problem, parsed.detail);
        return "used";
      }
      if (parsed.kind === "incomplete") {
        held = held === undefined ? Buffer.from(rest) : whole;
        scanned = parsed.scanned;
        return "used";
      }
      held = undefined;
      scanned = 0;
      rest = whole.subarray(parsed.length);
      onHead(parsed);
      if (rest.length === 0 && reading === "head") return "used";
    }
    const taken = onBody(rest);
    receiver?.onPause();
    return taken;
  }

  function onHead(head: AnswerHead): void {
    const { status, httpVersion, rawFields } = head;
    if (status === 101) return fail("http_protocol_error", "the origin switched protocols unasked");
    if (status < 200) {
      receiver?.onInterim(head);
      return;
    }
    const framing = judgeResponseFraming(method, status, httpVersion, rawFields);
    if (framing.kind === "malformed") return fail("http_protocol_error", framing.detail);
    const isLast = framing.kind === "until_close" || fieldTokens(rawFields, "connection").includes("close");
    persistent = httpVersion === "1.1" && !isLast;
    remaining = framing.kind === "length" ? framing.bytes : 0;
    if (framing.kind === "chunked") chunks = createChunkScan();
    reading = framing.kind === "none" ? "length" : framing.kind;
    receiver?.onAnswer(head, framing);
  }

  function onBody(bytes: Buffer): Taken {
    switch (reading) {
      case "length":
        return onLength(bytes);
      case "chunked":
        return onChunked(bytes);
      case "until_close":
        return pass(bytes);
      default:
        // An answer to nobody.
        socket.destroy();
        return "used";
    }
  }

  function onLength(bytes: Buffer): Taken {
    const own = bytes.length > remaining ? bytes.subarray(0, remaining) : bytes;
    const taken = pass(own);
    remaining -= own.length;
    return remaining === 0 ? finish(bytes.length > own.length, taken) : taken;
  }

  /** The data of all chunks is moved together: a write for each would make an origin of tiny chunks a costly one. */
  function onChunked(bytes: Buffer): Taken {
    let from = 0;
    let to = 0;
    const end = scanChunks(chunks, bytes, 0, (start, stop) => {
      if (to === 0) from = to = start;
      if (to !== start) bytes.copyWithin(to, start, stop);
      to += stop - start;
    });
    const taken = pass(bytes.subarray(from, to));
    if (chunks.state === "malformed") fail("http_protocol_error", "the origin's chunks are malformed");
    return chunks.state === "done" ? finish(end < bytes.length, taken) : taken;
  }

  function pass(bytes: Buffer): Taken {
    return bytes.length === 0 || receiver === undefined ? "used" : receiver.onBody(bytes);
  }

  /** What comes behind a whole answer is nobody's: the answer stands, the connection does not. */
  function finish(isOverlong: boolean, taken: Taken): Taken {
    if (taken === "full") inflow.leave();
    const asker = receiver;
    receiver = undefined;
    reading = "rest";
    if (!persistent || isOverlong) socket.destroy();
    asker?.onEnd();
    return taken === "full" ? "used" : taken;
  }

  function onSocketEnd(): void {
    if (isReset(socket)) return;
    if (reading === "until_close") finish(false, "used");
    else fail("connection_terminated", "the origin broke off");
    socket.destroy();
  }

  function onSocketError(): void {
    fail("connection_terminated", "the origin broke off");
  }

  function guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      onBug(error);
    }
  }

  function onBug(error: unknown): void {
    onProblem(error);
    try {
      fail("proxy_internal_error", "this is a fault of the proxy");
    } catch {
      socket.destroy();
    }
  }

  function fail(failure: Failure, detail: string): void {
    const asker = receiver;
    if (asker === undefined) return;
    const isAnswering = reading !== "head";
    receiver = undefined;
    reading = "rest";
    socket.destroy();
    if (isAnswering && failure === "connection_terminated") asker.onFailure("http_response_incomplete", detail, false);
    else asker.onFailure(failure, detail, unheard);
  }
}
