/** Node's own HTTP parser as a second opinion: bytes go in at once and in memory, and what it makes of them comes out. */
import { type IncomingMessage, createServer, request as startRequest } from "node:http";
import { Duplex } from "node:stream";

/** What Node read first. `body` is what it has decoded, `isWhole` says whether the message has ended. */
export type NodeReading<Head> =
  | { readonly kind: "head"; readonly head: Head; readonly body: Buffer; readonly isWhole: boolean }
  | { readonly kind: "incomplete" }
  | { readonly kind: "refused"; readonly code: string };

export type NodeRequestHead = {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly rawFields: readonly string[];
};

export type NodeResponseHead = {
  readonly status: number;
  readonly phrase: string;
  readonly httpVersion: string;
  readonly rawFields: readonly string[];
};

/** Enough turns of the loop for a parser that gets everything at once to say all that it has to say. */
const turns = 4;

/** Reads the first request in `bytes`, as Node's server does with strict parsing and 64 KiB for a head. */
export async function readWithNodeServer(bytes: Uint8Array): Promise<NodeReading<NodeRequestHead>> {
  const server = createServer({ requireHostHeader: false, maxHeaderSize: 64 * 1024 });
  server.maxHeadersCount = 0;
  const reading = createReading<NodeRequestHead>();
  const onRequest = (message: IncomingMessage): void => {
    const { method = "", url = "", httpVersion, rawHeaders } = message;
    reading.onHead({ method, url, httpVersion, rawFields: rawHeaders }, message);
  };
  for (const event of ["request", "checkContinue", "checkExpectation", "connect", "upgrade"])
    server.on(event, onRequest);
  server.on("clientError", (error: Error & { readonly code?: string }) => reading.onError(error));
  const socket = pipeEnd();
  server.emit("connection", socket);
  socket.push(bytes);
  const result = await reading.settle();
  socket.destroy();
  return result;
}

/** Reads the answer in `bytes` to a request with this method, as Node's client does. */
export async function readWithNodeClient(bytes: Uint8Array, method: string): Promise<NodeReading<NodeResponseHead>> {
  const reading = createReading<NodeResponseHead>();
  const socket = pipeEnd();
  const request = startRequest({ method, createConnection: () => socket, maxHeaderSize: 64 * 1024 });
  request.maxHeadersCount = 0;
  const onResponse = (message: IncomingMessage): void => {
    const { statusCode: status = 0, statusMessage: phrase = "", httpVersion, rawHeaders } = message;
    reading.onHead({ status, phrase, httpVersion, rawFields: rawHeaders }, message);
  };
  request.on("response", onResponse);
  request.on("upgrade", onResponse);
  request.on("connect", onResponse);
  request.on("information", ({ statusCode: status, statusMessage: phrase, httpVersion, rawHeaders }) => {
    reading.onHead({ status, phrase, httpVersion, rawFields: rawHeaders }, undefined);
  });
  request.on("error", (error: Error & { readonly code?: string }) => reading.onError(error));
  request.end();
  // The client listens once its request is written.
  await new Promise((fulfil) => setImmediate(fulfil));
  socket.push(bytes);
  const result = await reading.settle();
  request.destroy();
  socket.destroy();
  return result;
}

function createReading<Head>() {
  const pieces: Buffer[] = [];
  let head: Head | undefined;
  let isWhole = false;
  let code: string | undefined;
  return {
    onHead(read: Head, message: IncomingMessage | undefined): void {
      if (head !== undefined) return;
      head = read;
      message?.on("data", (piece: Buffer) => pieces.push(piece));
      message?.on("end", () => (isWhole = true));
      message?.on("error", () => {});
    },
    onError(error: Error & { readonly code?: string }): void {
      code ??= error.code ?? error.message;
    },
    async settle(): Promise<NodeReading<Head>> {
      for (let i = 0; i < turns; i++) await new Promise((fulfil) => setImmediate(fulfil));
      if (head !== undefined) return { kind: "head", head, body: Buffer.concat(pieces), isWhole };
      return code === undefined ? { kind: "incomplete" } : { kind: "refused", code };
    },
  };
}

function pipeEnd(): Duplex {
  const socket = new Duplex({
    read: () => {},
    write: (_chunk, _encoding, written) => written(),
  });
  socket.on("error", () => {});
  return socket;
}
