/**
 * A connection to an origin, lent to Node's HTTP client for one exchange, so that it may serve another one afterwards.
 * What goes up passes through; what comes down has been read by `origin`, and is written anew: not a byte more than the
 * answer, in the framing that was announced.
 */
import { Duplex } from "node:stream";
import type { AnswerFraming, AnswerHead, Origin, Receiver } from "./origin.ts";

export type LentOrigin = {
  /** For Node's HTTP client. The connection is destroyed with it, unless it was taken back before. */
  readonly stream: Duplex;
  /** The connection, where the answer was whole and another request may be sent. */
  readonly takeBack: () => Origin | undefined;
};

/** Lends a resting connection. `method` is that of the request which will be sent. */
export function lendOrigin(origin: Origin, method: string): LentOrigin {
  let framing: AnswerFraming["kind"] = "none";
  let isFull = false;
  let isWhole = false;
  let isBack = false;

  const stream = new Duplex({
    read: () => {
      if (!isFull) return;
      isFull = false;
      origin.resume();
    },
    write: (bytes: Buffer, _encoding, sent) => origin.send(bytes, sent),
    destroy: (error, done) => {
      if (!isBack) origin.destroy();
      done(error);
    },
  });
  stream.on("error", () => {});
  const receiver: Receiver = {
    onInterim: (head) => void stream.push(headText(head), "latin1"),
    onAnswer: (head, { kind }) => {
      framing = kind;
      stream.push(headText(head), "latin1");
    },
    onBody: (bytes) => {
      const isChunked = framing === "chunked";
      if (isChunked) stream.push(`${bytes.length.toString(16)}\r\n`, "latin1");
      isFull = !stream.push(Buffer.from(bytes));
      if (isChunked) isFull = !stream.push("\r\n", "latin1");
      return isFull ? "full" : "used";
    },
    onPause: () => {},
    onEnd: () => {
      isWhole = true;
      if (framing === "chunked") stream.push("0\r\n\r\n", "latin1");
      if (framing === "until_close") stream.push(null);
    },
    onFailure: (failure, detail) => {
      stream.destroy(Object.assign(new Error(detail), { code: codes[failure] ?? "ERR_ORIGIN" }));
    },
  };
  origin.expect(method, receiver);

  return {
    stream,
    takeBack: () => {
      if (isBack || !isWhole || stream.destroyed || !origin.isResting()) return undefined;
      isBack = true;
      return origin;
    },
  };
}

/** What Node says where it reads the answer itself. */
const codes: Readonly<Record<string, string>> = {
  connection_terminated: "ECONNRESET",
  http_response_incomplete: "ECONNRESET",
  http_response_header_section_size: "HPE_HEADER_OVERFLOW",
  http_protocol_error: "HPE_INVALID",
};

function headText({ httpVersion, status, phrase, rawFields }: AnswerHead): string {
  let text = `HTTP/${httpVersion} ${status} ${phrase}\r\n`;
  for (let i = 0; i + 1 < rawFields.length; i += 2) text += `${rawFields[i]}: ${rawFields[i + 1]}\r\n`;
  return `${text}\r\n`;
}
