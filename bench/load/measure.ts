/** One measurement of one contender: the work is done, and its figures are taken. */
import { setTimeout as pause } from "node:timers/promises";
import { urlOf } from "./check.ts";
import type { Client } from "./client.ts";
import type { Contender, Running } from "./contender.ts";
import type { Deed, Get, Tunnel } from "./job.ts";
import type { Origins } from "./origins.ts";
import {
  type BusyWork,
  type PacedWork,
  bulkBytes,
  busy,
  echoBytes,
  mebibyte,
  paced,
  payloadBytes,
  rangeBytes,
  smallBytes,
} from "./plan.ts";
import { cpuMsOf, memoryKbOf } from "./process-tree.ts";
import { payloadPath, smallPath } from "./web-origin.ts";

/** Values by the metric's id. */
export type Figures = Readonly<Record<string, number>>;

export type Bench = { readonly client: Client; readonly origins: Origins };

/** Sockets are closed and the log is written when so long has passed; it counts, too. */
const settleMs = 100;
/** CPU in a sample, over its time: the system tells CPU in steps of 10 ms, and a sample needs a hundred of them. */
const leastCpu = 0.4;
const mostTimes = 4;
const idleSettleMs = 1_500;
/** Tunnels before the first that count: code and buffers that every process needs once. */
const firstTunnels = 100;

/**
 * CPU for a unit of the work and units a second, by doing it for so long; for longer where the machine was busy with
 * something else and CPU was spent too little of to be told. `exchanges` is how many lines a log has to have.
 */
export async function measureBusy(
  bench: Bench,
  contender: Contender,
  running: Running,
  work: BusyWork,
  forMs: number,
): Promise<{ readonly figures: Figures; readonly exchanges: number }> {
  const { width, bytes } = busy[work];
  const exchange = exchangeOf(bench, contender, running, work);
  const before = cpuMsOf(running.pid);
  let units = 0;
  let seconds = 0;
  let cpuMs = 0;
  for (let times = 0; times < mostTimes && cpuMs < leastCpu * forMs; times++) {
    const done = await bench.client.run(exchange, { kind: "closed", width, forMs });
    await pause(settleMs);
    units += done.units;
    seconds += done.seconds;
    cpuMs = cpuMsOf(running.pid) - before;
  }
  const figures = {
    [`${work}.cpu`]: bytes === undefined ? (cpuMs * 1000) / units : cpuMs / ((units * bytes) / 1e9),
    [`${work}.rate`]: bytes === undefined ? units / seconds : (units * bytes) / 1e6 / seconds,
  };
  return { figures, exchanges: units };
}

/** How long the client waits at a modest rate, in ms. */
export async function measurePaced(
  bench: Bench,
  contender: Contender,
  running: Running,
  work: PacedWork,
  forMs: number,
): Promise<{ readonly figures: Figures; readonly exchanges: number }> {
  const exchange = exchangeOf(bench, contender, running, work === "latency-get" ? "small-get" : "connect");
  const { perSecond } = paced[work];
  const { units, p50Ms, p99Ms } = await bench.client.run(exchange, { kind: "open", perSecond, forMs });
  return { figures: { [`${work}.p50`]: p50Ms, [`${work}.p99`]: p99Ms }, exchanges: units };
}

/** Memory of a tunnel that is open and silent, in kB, in a process that has done nothing else. */
export async function measureIdle(bench: Bench, contender: Contender, count: number): Promise<Figures> {
  const running = await contender.start();
  try {
    const exchange = tunnelOf(bench, contender, running, { kind: "none" });
    await bench.client.run(exchange, { kind: "hold", count: firstTunnels });
    await bench.client.release();
    await pause(idleSettleMs);
    const before = memoryKbOf(running.pid);
    await bench.client.run(exchange, { kind: "hold", count });
    await pause(idleSettleMs);
    const after = memoryKbOf(running.pid);
    return { "idle-memory.tunnel": (after - before) / count };
  } finally {
    await bench.client.release();
    await running.stop();
  }
}

function exchangeOf(bench: Bench, contender: Contender, running: Running, work: BusyWork): Get | Tunnel {
  const web = (path: string, status: number, bytes: number): Get => ({
    kind: "get",
    proxyPort: running.port,
    url: urlOf(contender.hosts.web, bench.origins, path),
    status,
    bytes,
  });
  switch (work) {
    case "small-get":
      return web(smallPath, 200, smallBytes);
    case "payload-get":
      return web(payloadPath, 200, payloadBytes);
    case "range-get":
      return { ...web(payloadPath, 206, rangeBytes), range: `bytes=${mebibyte}-${mebibyte + rangeBytes - 1}` };
    case "connect":
      return tunnelOf(bench, contender, running, { kind: "echo", bytes: echoBytes });
    case "tunnel-download":
      return tunnelOf(bench, contender, running, { kind: "download", bytes: bulkBytes });
    case "tunnel-upload":
      return tunnelOf(bench, contender, running, { kind: "upload", bytes: bulkBytes });
  }
}

function tunnelOf({ origins }: Bench, contender: Contender, running: Running, deed: Deed): Tunnel {
  return {
    kind: "tunnel",
    proxyPort: running.port,
    authority: `${contender.hosts.tunnel}:${origins.tunnel.port}`,
    hello: origins.handshake.hello,
    answerBytes: origins.handshake.answer.length,
    deed,
  };
}
