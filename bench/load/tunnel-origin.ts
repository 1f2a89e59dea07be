/**
 * The origin of the tunnels, in a process of its own: it answers a ClientHello with what a TLS server said to one, and
 * then echoes, sends or counts, as it is told (`commandOf`).
 */
import { once } from "node:events";
import { type AddressInfo, type Socket, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { askModule, forkModule, stopChild } from "./children.ts";
import { commandBytes } from "./job.ts";

export type TunnelOrigin = {
  readonly port: number;
  readonly stop: () => Promise<void>;
};

const startTimeoutMs = 20_000;
const recordHeaderBytes = 5;
const chunk = Buffer.alloc(1024 * 1024, "0123456789abcdef");
const receipt = Buffer.from("K");

/** `answer` is what it says to a hello, whatever that asks for. */
export async function startTunnelOrigin(answer: Uint8Array): Promise<TunnelOrigin> {
  const child = forkModule(fileURLToPath(import.meta.url), ["origin"]);
  const port = (await askModule(child, answer, startTimeoutMs)) as number;
  return { port, stop: () => stopChild(child) };
}

if (process.argv[2] === "origin") await serve();

async function serve(): Promise<void> {
  const [answer]: [Uint8Array] = (await once(process, "message")) as [Uint8Array];
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    takeHello(socket, answer);
  });
  server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 });
  await once(server, "listening");
  process.send?.((server.address() as AddressInfo).port);
  process.on("disconnect", () => process.exit(0));
  process.on("SIGINT", () => {});
}

function takeHello(socket: Socket, answer: Uint8Array): void {
  let received: Buffer = Buffer.alloc(0);
  const onData = (bytes: Buffer): void => {
    received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
    if (received.length < recordHeaderBytes || received.length < recordHeaderBytes + received.readUInt16BE(3)) return;
    socket.off("data", onData);
    socket.write(answer);
    socket.once("data", (first: Buffer) => obey(socket, first));
  };
  socket.on("data", onData);
}

function obey(socket: Socket, first: Buffer): void {
  if (first.length < commandBytes) {
    socket.destroy();
    return;
  }
  const letter = String.fromCharCode(first.readUInt8());
  const bytes = first.readUIntBE(1, 6);
  if (letter === "d") return send(socket, bytes);
  if (letter === "u") return count(socket, bytes, first.length - commandBytes);
  socket.write(first);
  socket.on("data", (more: Buffer) => socket.write(more));
}

function send(socket: Socket, bytes: number): void {
  let left = bytes;
  const go = (): void => {
    while (left > 0 && !socket.destroyed) {
      const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
      left -= part.length;
      if (!socket.write(part)) return;
    }
  };
  socket.on("drain", go);
  socket.resume();
  go();
}

function count(socket: Socket, bytes: number, already: number): void {
  let left = bytes - already;
  socket.on("data", (more: Buffer) => {
    left -= more.length;
    if (left === 0) socket.write(receipt);
    else if (left < 0) socket.destroy();
  });
}
