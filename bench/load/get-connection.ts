/** A client's connection to a proxy for GETs, one after the other: cheap, since it shares the machine with what it measures. */
import { type Socket, connect } from "node:net";
import type { Get } from "./job.ts";

/** Called once for each exchange; with a problem where the answer was not what it has to be. */
export type Done = (problem?: string) => void;

export type Exchanger = { readonly run: (done: Done) => void; readonly close: () => void };

const bufferBytes = 256 * 1024;
const maxHeadBytes = 8 * 1024;

/**
 * Opens a connection when one is needed, and a new one where the proxy closed the last, or said that it will. A
 * request that gets no byte on a kept connection is sent once more on a new one (RFC 9112 section 9.3.1).
 */
export function createGetExchanger(get: Get): Exchanger {
  const { host } = new URL(get.url);
  const range = get.range === undefined ? "" : `Range: ${get.range}\r\n`;
  const request = Buffer.from(
    `GET ${get.url} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: bench\r\n${range}\r\n`,
    "latin1",
  );
  const buffer = Buffer.allocUnsafeSlow(bufferBytes);
  let socket: Socket | undefined;
  let done: Done | undefined;
  /** What is here of a head that is not complete. */
  let head = "";
  /** Bytes of the body that are missing; -1 before the head is complete. */
  let left = -1;
  let isKept = false;

  const finish = (problem?: string): void => {
    const call = done;
    done = undefined;
    if (problem !== undefined) drop();
    call?.(problem);
  };
  const drop = (): void => {
    const old = socket;
    socket = undefined;
    old?.destroy();
  };
  const take = (count: number): void => {
    if (done === undefined) return drop();
    if (left >= 0) left -= count;
    else {
      const known = head.length;
      head += buffer.toString("latin1", 0, Math.min(count, maxHeadBytes));
      const end = head.indexOf("\r\n\r\n") + 4;
      if (end < 4) {
        if (head.length > maxHeadBytes) finish("a head without end");
        return;
      }
      const problem = judgeHead(head.slice(0, end), get);
      if (problem !== undefined) return finish(problem);
      left = get.bytes - (count - (end - known));
    }
    if (left > 0) return;
    if (left < 0) return finish(`${-left} bytes too many`);
    if (/\r\nconnection: close\r\n/i.test(head)) drop();
    isKept = true;
    finish();
  };
  const open = (): void => {
    isKept = false;
    const opened = connect({
      port: get.proxyPort,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer,
        callback: (count) => {
          if (socket === opened) take(count);
          return true;
        },
      },
    });
    socket = opened;
    opened.on("error", () => opened.destroy());
    opened.on("close", () => {
      if (socket !== opened) return;
      socket = undefined;
      if (done === undefined) return;
      if (isKept && left < 0 && head === "") send();
      else finish(left < 0 ? "closed without an answer" : `closed with ${left} bytes missing`);
    });
  };
  const send = (): void => {
    head = "";
    left = -1;
    if (socket === undefined) open();
    socket?.write(request);
  };
  return {
    run: (call) => {
      done = call;
      send();
    },
    close: drop,
  };
}

function judgeHead(head: string, get: Get): string | undefined {
  const status = Number(head.slice(9, 12));
  if (status !== get.status) return `status ${status} instead of ${get.status}`;
  const length = Number(/\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1] ?? Number.NaN);
  return length === get.bytes ? undefined : `content-length ${length} instead of ${get.bytes}`;
}
