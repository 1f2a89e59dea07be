/**
 * Requests that `fetch` does not carry: with a body, an expectation, another method, HTTP/1.0. Each is handed to Node's
 * own HTTP server, and so to http-proxy, over a stream of its own: the head as we have read it, written anew, then its
 * body as it comes, and not a byte more. The connection itself stays with its lane.
 */
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { Duplex } from "node:stream";
import type { Forwarder } from "../egress/forward.ts";
import { type ChunkScan, createChunkScan, scanChunks } from "../wire/chunked.ts";
import type { Framing, HeadReading, RequestHead } from "../wire/request-head.ts";
import type { Connection } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { handleRequest } from "./request.ts";
import type { LaneExchange, Turn } from "./turn.ts";

export type NodeLane = {
  readonly begin: (
    connection: Connection,
    turn: Turn,
    head: RequestHead,
    reading: HeadReading,
  ) => LaneExchange & { readonly onBody: (bytes: Buffer) => number };
};

/** A head that was written anew may be longer than it came: by a blank for each field. */
const rewrittenBytes = 4096;

export function createNodeLane(context: IngressContext, forward: Forwarder): NodeLane {
  const { limits } = context.settings;
  const running = new WeakMap<object, Running>();
  // It never listens, so it has no deadlines: they are the lane's and the exchange's.
  const server = createServer({ maxHeaderSize: limits.headBytes + rewrittenBytes, requireHostHeader: false });
  server.maxHeadersCount = 0;
  server.keepAliveTimeout = 0;
  server.on("request", onRequest);
  server.on("checkContinue", onRequest);
  server.on("checkExpectation", onRequest);
  server.on("clientError", (_error, stream) => {
    const exchange = running.get(stream);
    if (exchange === undefined || exchange.connection.onBrokenBody?.() !== true) stream.destroy();
  });

  function onRequest(request: IncomingMessage, response: ServerResponse): void {
    request.on("error", () => {});
    response.on("error", () => {});
    const exchange = running.get(request.socket);
    if (exchange === undefined) {
      request.destroy();
      return;
    }
    const { connection, head, reading } = exchange;
    handleRequest(context, forward, connection, request, response, head, reading, exchange.release);
  }

  return {
    begin: (connection, turn, head, reading) => {
      const { socket } = connection;
      const framing: Framing = reading.kind === "head" ? reading.framing : { kind: "none" };
      let remaining = framing.kind === "length" ? framing.bytes : 0;
      const chunks: ChunkScan | undefined = framing.kind === "chunked" ? createChunkScan() : undefined;
      let onFlushed: (() => void) | undefined;
      let released = false;

      const stream = new ExchangeStream({
        read: () => {
          if (remaining > 0 || chunks?.state === "open") turn.resumeReading();
        },
        write: (chunk, encoding, flushed) => {
          if (socket.write(chunk, encoding)) flushed();
          else onFlushed = flushed;
        },
        // What Node calls after the last response of a connection.
        endSoon: () => {
          if (released) return;
          released = true;
          turn.endLast();
        },
        destroyed: () => {
          if (!released) socket.destroy();
        },
      });
      stream.on("error", () => {});
      const release = (): void => {
        if (released) return;
        released = true;
        stream.destroy();
        turn.next();
      };
      running.set(stream, { connection, head, reading, release });
      stream.push(headText(head), "latin1");
      server.emit("connection", stream);

      return {
        onBody: (bytes) => {
          const end = bodyEnd(bytes);
          if (end > 0 && !stream.push(bytes.subarray(0, end))) turn.pauseReading();
          if (chunks?.state !== "malformed") return end;
          if (connection.onBrokenBody === undefined) connection.isBodyBroken = true;
          else if (!connection.onBrokenBody()) socket.destroy();
          return bytes.length;
        },
        onDrain: () => {
          const flushed = onFlushed;
          onFlushed = undefined;
          flushed?.();
        },
        onGone: () => {
          released = true;
          stream.destroy();
          socket.destroy();
        },
      };

      function bodyEnd(bytes: Buffer): number {
        if (chunks !== undefined) return chunks.state === "open" ? scanChunks(chunks, bytes, 0, () => {}) : 0;
        const end = Math.min(remaining, bytes.length);
        remaining -= end;
        return end;
      }
    },
  };
}

type Running = {
  readonly connection: Connection;
  readonly head: RequestHead;
  readonly reading: HeadReading;
  readonly release: () => void;
};

type StreamHandlers = {
  readonly read: () => void;
  readonly write: (chunk: Buffer | string, encoding: BufferEncoding, flushed: () => void) => void;
  readonly endSoon: () => void;
  readonly destroyed: () => void;
};

/** What Node's HTTP server takes for the socket of one exchange. */
class ExchangeStream extends Duplex {
  readonly #handlers: StreamHandlers;

  constructor(handlers: StreamHandlers) {
    super({ decodeStrings: false, allowHalfOpen: true });
    this.#handlers = handlers;
  }

  override _read(): void {
    this.#handlers.read();
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: () => void): void {
    this.#handlers.write(chunk, encoding, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#handlers.destroyed();
    done(error);
  }

  destroySoon(): void {
    this.#handlers.endSoon();
  }
}

function headText({ method, url, httpVersion, rawFields }: RequestHead): string {
  let text = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let i = 0; i + 1 < rawFields.length; i += 2) text += `${rawFields[i]}: ${rawFields[i + 1]}\r\n`;
  return `${text}\r\n`;
}
