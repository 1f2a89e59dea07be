/** Large downloads by clients that read slowly, plain and through tunnels: every byte arrives, and none piles up. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { serverHello } from "../support/hello.ts";
import {
  type Scenario,
  clientAddress,
  restOf,
  mebibyte,
  openTunnel,
  readBytes,
  reportRest,
  residentMebibytes,
  startProxy,
} from "./scenario.ts";

const readers = 16;
/** A reader stops for so long after every so many bytes. */
const stopMs = 20;
const stopBytes = 2 * mebibyte;

export const slowReaders: Scenario = {
  name: "slow-readers",
  title: `${readers} downloads at a time, half of them in tunnels, by clients that stop reading again and again`,
  run: async (report, quick) => {
    const size = (quick ? 16 : 256) * mebibyte;
    // Blocks of one MiB, each with its number, so that a lost or doubled one shows.
    const block = randomBytes(mebibyte);
    const numbered = (number: number): Buffer => {
      const copy = Buffer.from(block);
      copy.writeUInt32BE(number);
      return copy;
    };
    const hash = createHash("sha256");
    for (let i = 0; i < size / mebibyte; i++) hash.update(numbered(i));
    const digest = hash.digest("hex");
    const send = async (socket: Socket): Promise<void> => {
      for (let i = 0; i < size / mebibyte && !socket.destroyed; i++) {
        if (!socket.write(numbered(i))) await drained(socket);
      }
      socket.end();
    };
    const origin = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", (first: Buffer) => {
        if (first[0] !== 22) {
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
          void send(socket);
          return;
        }
        socket.write(serverHello());
        socket.on("data", (chunk: Buffer) => {
          if (chunk.toString() === "send") void send(socket);
          else socket.write(chunk);
        });
      });
    });
    origin.listen(0, "127.0.0.1");
    await once(origin, "listening");
    const proxy = await startProxy([`*::127.0.0.1:${(origin.address() as AddressInfo).port}`]);
    const host = "h.tls.example.com";
    const rest = await restOf(proxy, host);
    const before = residentMebibytes(proxy);
    let highest = before;
    let broken = 0;
    const startedAt = performance.now();
    await Promise.all(
      Array.from({ length: readers }, async (_, i) => {
        const socket = i % 2 === 0 ? await openPlain(proxy.port) : await openTunnel(proxy.port, host, clientAddress(i));
        if (i % 2 === 1) socket.write("send");
        const received = createHash("sha256");
        let length = 0;
        let nextStop = stopBytes;
        for await (const chunk of socket as AsyncIterable<Buffer>) {
          received.update(chunk);
          length += chunk.length;
          if (length >= size) break;
          if (length < nextStop) continue;
          nextStop += stopBytes;
          highest = Math.max(highest, residentMebibytes(proxy));
          await pause(stopMs);
        }
        if (length !== size || received.digest("hex") !== digest) broken += 1;
        socket.destroy();
      }),
    );
    report("bytes downloaded", (readers * size) / mebibyte, "MiB");
    report("rate", (readers * size) / mebibyte / ((performance.now() - startedAt) / 1000), "MiB/s");
    report("downloads with another checksum", broken, "", { exactly: 0 });
    report("memory before", before, "MiB");
    report("highest above that", highest - before, "MiB", 64 + readers * 2);
    await reportRest(report, proxy, host, rest);
    await proxy.stop();
    origin.close();
  },
};

/** Or closed, whichever comes first; leaves no listener behind. */
function drained(socket: Socket): Promise<void> {
  return new Promise((fulfil) => {
    const done = (): void => {
      socket.off("drain", done).off("close", done);
      fulfil();
    };
    socket.on("drain", done).on("close", done);
  });
}

/** A plain download, with its head read. */
async function openPlain(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.on("error", () => {});
  socket.write("GET http://h.web.example.com/ HTTP/1.1\r\nHost: h.web.example.com\r\nConnection: close\r\n\r\n");
  let head = "";
  while (!head.endsWith("\r\n\r\n")) head += (await readBytes(socket, 1)).toString("latin1");
  return socket;
}
