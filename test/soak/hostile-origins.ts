/** Origins that stall, reset and lie, among honest ones: the honest are served whole, and no lie passes for an answer. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { serverHello } from "../support/hello.ts";
import {
  type Scenario,
  clientAddress,
  restOf,
  inParallel,
  mebibyte,
  reportRest,
  residentMebibytes,
  startProxy,
} from "./scenario.ts";

const body = randomBytes(64 * 1024);
const digest = createHash("sha256").update(body).digest("hex");
const whole = Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`), body]);

/** What an origin does with a request; true where the client has to get the whole answer nevertheless. */
const deeds: Readonly<Record<string, { readonly isServed: boolean; readonly act: (socket: Socket) => void }>> = {
  honest: { isServed: true, act: (socket) => socket.end(whole) },
  "says nothing": { isServed: false, act: () => {} },
  "stops half way": { isServed: false, act: (socket) => socket.write(whole.subarray(0, 30_000)) },
  "resets at once": { isServed: false, act: (socket) => socket.resetAndDestroy() },
  "resets half way": {
    isServed: false,
    act: (socket) => socket.write(whole.subarray(0, 30_000), () => socket.resetAndDestroy()),
  },
  "ends at once": { isServed: false, act: (socket) => socket.end() },
  "claims more than it sends": { isServed: false, act: (socket) => socket.end(whole.subarray(0, -1)) },
  "sends more than it claims": { isServed: true, act: (socket) => socket.end(Buffer.concat([whole, whole])) },
  "sends no HTTP": { isServed: false, act: (socket) => socket.end(body) },
  "sends two lengths": {
    isServed: false,
    act: (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
  },
  "sends chunks that are none": {
    isServed: false,
    act: (socket) => socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"),
  },
  "sends a head of a megabyte": {
    isServed: false,
    act: (socket) => socket.end(`HTTP/1.1 200 OK\r\nX: ${"a".repeat(mebibyte)}\r\n\r\n`),
  },
};
const names = Object.keys(deeds);

export const hostileOrigins: Scenario = {
  name: "hostile-origins",
  title: `requests to origins of ${names.length} kinds in turn: ${names.join("; ")}`,
  run: async (report, quick) => {
    const count = names.length * (quick ? 100 : 1_000);
    const origin = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", (first: Buffer) => {
        if (first[0] === 22) {
          socket.write(serverHello());
          socket.on("data", (chunk: Buffer) => socket.write(chunk));
          return;
        }
        deeds[names[Number(/^GET \/(\d+)/.exec(first.toString("latin1"))?.[1])]!]!.act(socket);
      });
    });
    origin.listen(0, "127.0.0.1");
    await once(origin, "listening");
    const connectTo = [`*::127.0.0.1:${(origin.address() as AddressInfo).port}`];
    const proxy = await startProxy(connectTo, { response_head_timeout: "1s", body_idle_timeout: "1s" });
    const host = "h.tls.example.com";
    const rest = await restOf(proxy, host);
    let warm = 0;
    let highest = 0;
    let unserved = 0;
    let deceived = 0;
    await inParallel(count, 96, async (i) => {
      const { isServed } = deeds[names[i % names.length]!]!;
      const isWhole = await ask(proxy.port, i % names.length, clientAddress(i));
      if (isServed && !isWhole) unserved += 1;
      if (!isServed && isWhole) deceived += 1;
      if (i % 200 !== 0) return;
      const resident = residentMebibytes(proxy);
      if (i >= count / 5 && warm === 0) warm = resident;
      if (warm > 0) highest = Math.max(highest, resident);
    });
    report("requests", count, "");
    report("honest answers that did not arrive whole", unserved, "", { exactly: 0 });
    report("lies that passed for a whole answer", deceived, "", { exactly: 0 });
    report("memory after 20 %", warm, "MiB");
    report("highest above that", highest - warm, "MiB", 48);
    await reportRest(report, proxy, host, rest);
    await proxy.stop();
    origin.close();
  },
};

/** True where the client has a whole 200, as HTTP says when that is. Of these answers only the honest ones can be. */
async function ask(port: number, deed: number, localAddress: string): Promise<boolean> {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  socket.on("error", () => {});
  socket.write(`GET http://h.web.example.com/${deed} HTTP/1.1\r\nHost: h.web.example.com\r\n\r\n`);
  let received = Buffer.alloc(0);
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf("\r\n\r\n") + 4;
      if (end < 4) continue;
      const head = received.toString("latin1", 0, end);
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
      const isAll = Number.isNaN(length)
        ? received.subarray(end).toString("latin1").endsWith("0\r\n\r\n")
        : received.length >= end + length;
      if (!isAll) continue;
      if (!head.startsWith("HTTP/1.1 200 ")) return false;
      const isHonest = createHash("sha256").update(received.subarray(end)).digest("hex") === digest;
      return isHonest || deed !== 0;
    }
  } catch {
    // A reset: no whole answer.
  } finally {
    socket.destroy();
  }
  return false;
}
