/** A client's tunnels through a proxy, a new one for each exchange: CONNECT, hellos, bytes, and the end. */
import { type Socket, connect } from "node:net";
import type { Done, Exchanger } from "./get-connection.ts";
import { type Deed, type Tunnel, commandOf } from "./job.ts";

const largeBuffer = 256 * 1024;
const smallBuffer = 8 * 1024;
const chunk = Buffer.alloc(256 * 1024, "0123456789abcdef");
/** The origin says so much when it has had all. */
const receiptBytes = 1;

/** Exchanges one after the other; `close` breaks off the one that is under way. */
export function createTunnelExchanger(tunnel: Tunnel): Exchanger {
  const parts = prepare(tunnel);
  const buffer = Buffer.allocUnsafeSlow(tunnel.deed.kind === "download" ? largeBuffer : smallBuffer);
  let socket: Socket | undefined;
  return {
    run: (done) => {
      socket = openTunnel(tunnel, parts, buffer, (problem) => {
        if (problem !== undefined) socket?.destroy();
        done(problem);
      });
    },
    close: () => socket?.destroy(),
  };
}

type Parts = { readonly request: Buffer; readonly command: Buffer; readonly expected: number };

function prepare({ authority, deed }: Tunnel): Parts {
  const request = Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`, "latin1");
  const command = commandOf(deed);
  if (deed.kind !== "echo") return { request, command, expected: expectedOf(deed) };
  return { request, command: Buffer.concat([command, chunk]).subarray(0, deed.bytes), expected: deed.bytes };
}

function expectedOf(deed: Deed): number {
  switch (deed.kind) {
    case "none":
      return 0;
    case "upload":
      return receiptBytes;
    case "echo":
    case "download":
      return deed.bytes;
  }
}

/** Calls back when the tunnel is over; with the deed `none`, when it is open. */
function openTunnel(tunnel: Tunnel, { request, command, expected }: Parts, buffer: Buffer, done: Done): Socket {
  let stage: "head" | "answer" | "deed" | "end" = "head";
  let head = "";
  let left = 0;
  let isOver = false;
  const finish = (problem?: string): void => {
    if (isOver) return;
    isOver = true;
    done(problem);
  };
  const takeHead = (count: number): void => {
    head += buffer.toString("latin1", 0, count);
    if (!head.endsWith("\r\n\r\n")) return;
    if (head.slice(9, 12) !== "200") return finish(`CONNECT was answered with ${head.slice(9, 12)}`);
    stage = "answer";
    left = tunnel.answerBytes;
    socket.write(tunnel.hello);
  };
  const takeAnswer = (count: number): void => {
    left -= count;
    if (left > 0) return;
    stage = "deed";
    left = expected;
    if (tunnel.deed.kind === "none") return finish();
    socket.write(command);
    if (tunnel.deed.kind === "upload") upload(socket, tunnel.deed.bytes);
  };
  const takeDeed = (count: number): void => {
    left -= count;
    if (left > 0) return;
    if (left < 0) return finish(`${-left} bytes too many`);
    stage = "end";
    socket.end();
  };
  const socket = connect({
    port: tunnel.proxyPort,
    host: "127.0.0.1",
    noDelay: true,
    onread: {
      buffer,
      callback: (count) => {
        if (stage === "head") takeHead(count);
        else if (stage === "answer") takeAnswer(count);
        else if (stage === "deed") takeDeed(count);
        else finish("bytes behind the last one");
        return true;
      },
    },
  });
  socket.on("error", () => socket.destroy());
  socket.on("close", () => finish(stage === "end" ? undefined : `closed with ${left} bytes missing (${stage})`));
  socket.write(request);
  return socket;
}

function upload(socket: Socket, bytes: number): void {
  let left = bytes;
  const send = (): void => {
    while (left > 0 && !socket.destroyed) {
      const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
      left -= part.length;
      if (!socket.write(part)) return;
    }
  };
  socket.on("drain", send);
  send();
}
