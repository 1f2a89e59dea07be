/**
 * Denials as server-sent events (HTML standard, section 9.2): one event for each cause that was seen since the last
 * ones were sent. What a slow reader has not taken yet is coalesced by cause, and bounded.
 */
import type { DenialRecord } from "../record/denial-ring.ts";
import type { Denials } from "../record/denials.ts";
import { viewDenial } from "./denial-view.ts";

export type DenialStreams = {
  /** A stream of bytes for one reader; undefined where there are `maxStreams` already, or `isOver`. */
  readonly open: () => ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
};

export type DenialStreamOptions = {
  readonly denials: Pick<Denials, "subscribe">;
  /** True once streams have to end: the proxy drains. */
  readonly isOver: () => boolean;
  /** Silence after which a comment is sent, so that nobody in between takes the connection for dead. */
  readonly keepAliveMs: number;
  readonly intervalMs?: number;
};

const maxStreams = 16;
/** Causes that wait for one reader; more are dropped, the oldest first, and the reader is told how many. */
const maxWaiting = 256;
const defaultIntervalMs = 250;

export function createDenialStreams(options: DenialStreamOptions): DenialStreams {
  const { denials, isOver, keepAliveMs, intervalMs = Math.min(defaultIntervalMs, keepAliveMs) } = options;
  let open = 0;

  const createStream = (): ReadableStream<Uint8Array<ArrayBuffer>> => {
    const encoder = new TextEncoder();
    const waiting = new Set<DenialRecord>();
    let dropped = 0;
    let silentMs = 0;
    let end = (): void => {};
    return new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start(controller) {
          const send = (text: string): void => {
            controller.enqueue(encoder.encode(text));
            silentMs = 0;
          };
          const unsubscribe = denials.subscribe((record) => {
            // The newest last, however often it was seen.
            waiting.delete(record);
            waiting.add(record);
            const [oldest] = waiting;
            if (waiting.size <= maxWaiting || oldest === undefined) return;
            waiting.delete(oldest);
            dropped++;
          });
          const timer = setInterval(() => {
            if (isOver()) {
              end();
              controller.close();
              return;
            }
            silentMs += intervalMs;
            if ((controller.desiredSize ?? 0) <= 0) return;
            if (dropped > 0) send(`event: dropped\ndata: {"causes":${dropped}}\n\n`);
            dropped = 0;
            if (waiting.size > 0) send([...waiting].map(eventOf).join(""));
            waiting.clear();
            if (silentMs >= keepAliveMs) send(": keep-alive\n\n");
          }, intervalMs);
          end = () => {
            clearInterval(timer);
            unsubscribe();
            open--;
            end = () => {};
          };
          send("retry: 2000\n\n");
        },
        cancel: () => end(),
      },
      { highWaterMark: 4 },
    );
  };

  return {
    open() {
      if (open >= maxStreams || isOver()) return undefined;
      open++;
      return createStream();
    },
  };
}

/** JSON has no line breaks outside strings, and inside they are escaped. */
function eventOf(record: DenialRecord): string {
  return `event: denial\ndata: ${JSON.stringify(viewDenial(record))}\n\n`;
}
