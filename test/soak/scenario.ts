/** What every soak has: figures with their bounds, a proxy to put it to, and clients that are cheap enough by the thousand. */
import { type Socket, connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { helloFor, serverHello } from "../support/hello.ts";
import { liveBytes, metricAlone, openFiles, residentBytes, tellsLiveMemory } from "../support/open-resources.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";

/** Notes a figure. With a bound it has to be at most that; `exactly` where it has to be that and no other. */
export type Report = (
  figure: string,
  value: number,
  unit: string,
  bound?: number | { readonly exactly: number },
) => void;

export type Scenario = {
  readonly name: string;
  readonly title: string;
  readonly run: (report: Report, quick: boolean) => Promise<void>;
};

export const mebibyte = 2 ** 20;
/** How long the last sockets and descriptors may take to go; nobody waits for it who does not have to. */
const patienceMs = 30_000;

/** A proxy that logs refusals only, so that the driver does not spend its time on reading lines. */
export async function startProxy(
  connectTo: readonly string[],
  limits: Readonly<Record<string, string | number>> = {},
  more: Readonly<Record<string, unknown>> = {},
): Promise<Sallyport> {
  const proxy = await startSallyport({
    nodeArguments: tellsLiveMemory,
    policy: {
      rules: [
        { id: "tls", hosts: ["*.tls.example.com"], expect: "https" },
        { id: "web", hosts: ["*.web.example.com"], expect: "http" },
      ],
    },
    settings: { connect_to: connectTo, limits, log: { allowed: false }, ...more },
  });
  // A soak that fails leaves no process behind.
  process.once("exit", () => proxy.process.kill("SIGKILL"));
  return proxy;
}

/** A client's address, as if there were many: 127.0.2.1 and so on. */
export function clientAddress(number: number): string {
  return `127.0.2.${1 + (number % 40)}`;
}

/** An https tunnel through both hellos; what comes next is its bytes. Rejects where there is none. */
export async function openTunnel(port: number, host: string, localAddress: string): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress, noDelay: true });
  socket.on("error", () => {});
  const hello = helloFor(host);
  socket.write(Buffer.concat([Buffer.from(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`), hello]));
  const head = "HTTP/1.1 200 Connection Established\r\n\r\n".length;
  const opened = await readBytes(socket, head + serverHello().length);
  if (!opened.toString("latin1").startsWith("HTTP/1.1 200 ")) {
    socket.destroy();
    throw new Error(`no tunnel: ${opened.toString("latin1").split("\r\n", 1)[0]}`);
  }
  return socket;
}

/** The next bytes; rejects when the socket ends before. Leaves the socket paused. */
export function readBytes(socket: Socket, count: number): Promise<Buffer> {
  return new Promise((fulfil, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const stop = (): void => {
      socket.off("data", onData).off("close", onEnd).off("end", onEnd);
      socket.pause();
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      length += chunk.length;
      if (length < count) return;
      stop();
      const all = Buffer.concat(chunks);
      if (length > count) socket.unshift(all.subarray(count));
      fulfil(all.subarray(0, count));
    };
    const onEnd = (): void => {
      stop();
      reject(new Error(`ended after ${length} of ${count} bytes: ${Buffer.concat(chunks).toString("latin1", 0, 60)}`));
    };
    socket.on("data", onData).on("close", onEnd).on("end", onEnd);
    socket.resume();
  });
}

/** Sends bytes and has them back. */
export async function expectEcho(socket: Socket, bytes: Buffer): Promise<void> {
  socket.write(bytes);
  const back = await readBytes(socket, bytes.length);
  if (!back.equals(bytes)) throw new Error("other bytes came back");
}

/** `count` pieces of work, `width` at a time. */
export async function inParallel(count: number, width: number, work: (number: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** A process in which nothing is under way. */
export type Rest = { readonly files: number; readonly aliveMebibytes: number };

/** How it rests, after a first tunnel has opened what stays open. */
export async function restOf(proxy: Sallyport, host: string): Promise<Rest> {
  const first = await openTunnel(proxy.port, host, clientAddress(0));
  first.destroy();
  await settle(() => metricAlone(proxy, "sallyport_tunnels_active"), 0);
  await pause(500);
  return { files: openFiles(proxy), aliveMebibytes: await liveMebibytes(proxy) };
}

/** The end of every soak: no tunnel counted, no descriptor more than at rest, and it serves. */
export async function reportRest(report: Report, proxy: Sallyport, host: string, rest: Rest): Promise<void> {
  const active = await settle(() => metricAlone(proxy, "sallyport_tunnels_active"), 0);
  report("tunnels_active afterwards", active ?? Number.NaN, "", { exactly: 0 });
  report("descriptors above rest afterwards", (await settle(() => openFiles(proxy), rest.files))! - rest.files, "", {
    exactly: 0,
  });
  report("memory alive at rest before", rest.aliveMebibytes, "MiB");
  report("memory alive afterwards above that", (await liveMebibytes(proxy)) - rest.aliveMebibytes, "MiB", 16);
  const again = await openTunnel(proxy.port, host, clientAddress(1));
  await expectEcho(again, Buffer.from("ping"));
  again.destroy();
  report("crashes", proxy.process.exitCode === null ? 0 : 1, "", { exactly: 0 });
}

/** What is alive in the process, in MiB: resident memory less what the next collection frees. */
async function liveMebibytes(proxy: Sallyport): Promise<number> {
  return (await liveBytes(proxy)) / mebibyte;
}

/** Resident memory in MiB. */
export function residentMebibytes(proxy: Sallyport): number {
  return residentBytes(proxy) / mebibyte;
}

export function closed(socket: Socket): Promise<void> {
  return new Promise((fulfil) => {
    if (socket.closed) fulfil();
    else socket.once("close", () => fulfil());
  });
}

/** Asks until it is so, or patience is at its end; the last answer. */
async function settle(ask: () => number | Promise<number | undefined>, wanted: number): Promise<number | undefined> {
  const until = performance.now() + patienceMs;
  let answer = await ask();
  while (answer !== wanted && performance.now() < until) {
    await pause(100);
    answer = await ask();
  }
  return answer;
}
