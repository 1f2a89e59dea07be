/** Follows /api/denials/stream for as long as the page is seen, and opens it anew whenever it ends. */
import { type Answer, type Api, problemText } from "./api.ts";
import { type Denial, parseDenial, readDenial } from "./denial.ts";
import type { Fields } from "./read.ts";
import { createEventReader } from "./sse.ts";

export type LiveState =
  | { readonly kind: "connecting" | "live" | "asleep" }
  | { readonly kind: "lost"; readonly why: string };

export type Listing = {
  readonly denials: readonly Denial[];
  readonly total: number;
  readonly capacity: number;
  readonly since: string;
};

export type LiveOptions = {
  readonly api: Api;
  readonly onState: (state: LiveState) => void;
  /** All there is; whenever the stream was opened. */
  readonly onListing: (listing: Listing) => void;
  /** Seen since. */
  readonly onDenial: (denial: Denial) => void;
};

export type Live = { readonly wake: () => void; readonly sleep: () => void };

const firstPauseMs = 500;
const longestPauseMs = 5_000;
/** The server breaks its silence every 5 s. */
const silenceMs = 20_000;

/** Nothing is asked before `wake`; `wake` again starts anew, with another token for example. */
export function followDenials({ api, onState, onListing, onDenial }: LiveOptions): Live {
  let running = new AbortController();

  const readStream = async (body: ReadableStream<Uint8Array>, abort: () => void): Promise<void> => {
    const events = createEventReader();
    const decoder = new TextDecoder();
    let early: Denial[] | undefined = [];
    void list(api).then((answer) => {
      if (answer.kind !== "ok") {
        // A list that cannot be had leaves a gap that nobody would see.
        abort();
        return;
      }
      onListing(answer.value);
      for (const denial of early ?? []) onDenial(denial);
      early = undefined;
    });
    const reader = body.getReader();
    let deadline = setTimeout(abort, silenceMs);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(deadline);
        deadline = setTimeout(abort, silenceMs);
        for (const { name, data } of events(decoder.decode(value, { stream: true }))) {
          if (name === "dropped") return;
          const denial = name === "denial" ? parseDenial(data) : undefined;
          if (denial === undefined) continue;
          if (early === undefined) onDenial(denial);
          else early.push(denial);
        }
      }
    } finally {
      clearTimeout(deadline);
      await reader.cancel().catch(() => {});
    }
  };

  const run = async (stopped: AbortSignal): Promise<void> => {
    let pauseMs = firstPauseMs;
    while (!stopped.aborted) {
      const once = new AbortController();
      const stop = (): void => once.abort();
      stopped.addEventListener("abort", stop);
      const answer = await api.stream("api/denials/stream", once.signal);
      if (stopped.aborted) return;
      if (answer.kind === "ok") {
        onState({ kind: "live" });
        pauseMs = firstPauseMs;
        await readStream(answer.value, stop).catch(() => {});
        if (stopped.aborted) return;
        onState({ kind: "connecting" });
      } else onState({ kind: "lost", why: problemText(answer) });
      stopped.removeEventListener("abort", stop);
      // Asking again and again without the token leads nowhere: `wake` says when there is one.
      if (answer.kind === "refused" && answer.status < 500) return;
      await pause(pauseMs, stopped);
      pauseMs = Math.min(longestPauseMs, pauseMs * 2);
    }
  };

  return {
    wake() {
      running.abort();
      running = new AbortController();
      onState({ kind: "connecting" });
      void run(running.signal);
    },
    sleep() {
      running.abort();
      onState({ kind: "asleep" });
    },
  };
}

async function list(api: Api): Promise<Answer<Listing>> {
  // The API answers as many as it keeps.
  const answer = await api.json("api/denials?limit=999999");
  return answer.kind === "ok" ? { kind: "ok", value: readListing(answer.value) } : answer;
}

function readListing(fields: Fields): Listing {
  return {
    denials: fields.children("denials").map(readDenial),
    total: fields.number("total"),
    capacity: fields.number("capacity"),
    since: fields.text("since"),
  };
}

function pause(ms: number, stopped: AbortSignal): Promise<void> {
  return new Promise((fulfil) => {
    const timer = setTimeout(fulfil, ms);
    stopped.addEventListener("abort", () => {
      clearTimeout(timer);
      fulfil();
    });
  });
}
