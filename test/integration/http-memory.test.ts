/** A download of 1 GiB through a real process: memory does not grow with it, however slowly the client reads. */
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { existsSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type PlainHttp, requestFor, startPlainHttp } from "../support/plain-http.ts";

const gibibyte = 1024 ** 3;
/** Above what the first 64 MiB took, or an idle process takes: the heap breathes by that much. */
const allowedGrowthBytes = 64 * 1024 ** 2;

let plain: PlainHttp;
beforeAll(async () => {
  plain = await startPlainHttp();
  const zeros = Buffer.alloc(256 * 1024);
  plain.scripts.set("/zeros", ({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${gibibyte}\r\n\r\n`);
    let left = gibibyte;
    const pump = (): void => {
      while (left > 0) {
        left -= zeros.length;
        if (!socket.write(zeros)) {
          socket.once("drain", pump);
          return;
        }
      }
      socket.end();
    };
    pump();
  });
});
afterAll(() => plain.stop());

async function residentBytes(): Promise<number> {
  const status = await readFile(`/proc/${plain.sallyport.process.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

test.skipIf(!existsSync("/proc/self/status"))("1 GiB", { timeout: 60_000 }, async () => {
  let warm = 0;
  let highest = 0;
  let received = 0;
  let head = "";
  const socket = connect(plain.sallyport.port, "127.0.0.1");
  socket.write(requestFor("/zeros", ["Connection: close"]));
  let nextLook = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    if (!head.endsWith("\r\n\r\n")) {
      const end = chunk.indexOf("\r\n\r\n") + 4;
      head = chunk.subarray(0, end).toString("latin1");
      received -= end;
    }
    received += chunk.length;
    if (received < nextLook) continue;
    // Sixteen looks on the way; each stops reading for a moment, so that backpressure is put to the test.
    nextLook += gibibyte / 16;
    highest = Math.max(highest, await residentBytes());
    if (received > gibibyte / 16 && warm === 0) warm = highest;
  }
  expect(head).toContain(`Content-Length: ${gibibyte}\r\n`);
  expect(received).toBe(gibibyte);
  expect(warm).toBeGreaterThan(0);
  expect(highest - warm).toBeLessThan(allowedGrowthBytes);
});

test.skipIf(!existsSync("/proc/self/status"))("a client that does not read stops the origin", async () => {
  const before = await residentBytes();
  const index = plain.origin.connections();
  const client = connect(plain.sallyport.port, "127.0.0.1");
  client.pause();
  client.write(requestFor("/zeros"));
  const { socket } = await plain.origin.recording(index);
  // The origin is stopped when a look at it finds nothing more sent than the look before.
  let sent = -1;
  while (sent !== socket.bytesWritten - socket.writableLength) {
    sent = socket.bytesWritten - socket.writableLength;
    await plain.sallyport.metric("sallyport_tunnels_active");
    await plain.sallyport.metric("sallyport_tunnels_active");
  }
  expect(sent).toBeLessThan(gibibyte / 8);
  expect((await residentBytes()) - before).toBeLessThan(allowedGrowthBytes);
  client.destroy();
});
