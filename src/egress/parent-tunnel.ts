/**
 * A tunnel through a parent proxy (RFC 9110 section 9.3.6): CONNECT goes out, its answer is read as strictly as any, and
 * what stands behind a 2xx is the tunnel's. The answer itself goes no further, and a 407 least of all.
 */
import type { Socket } from "node:net";
import { parseResponseHead } from "../wire/parse-response-head.ts";
import type { Failure } from "../wire/refusal.ts";
import type { Upstream } from "./inflow.ts";

/** What the parent is asked for. */
export type TunnelRequest = {
  /** `host:port` in canonical form. */
  readonly authority: string;
  /** Value of Via, ours at its end. */
  readonly via: string;
  /** Value of Proxy-Authorization, where the parent has given us credentials. */
  readonly authorization: string | undefined;
  /** Until the answer is complete. */
  readonly timeoutMs: number;
};

/** `detail` is a sentence for a person. Where there is no tunnel the socket has been destroyed. */
export type TunnelResult<Opened> =
  | { readonly kind: "open"; readonly opened: Opened }
  | { readonly kind: "failed"; readonly failure: Failure; readonly detail: string };

/** Bytes of one head of the answer; as many as an origin's may have. */
const maxHeadBytes = 16 * 1024;
/** interface.md, "Refusals": more 1xx are an attack, not news. */
const maxInterimAnswers = 16;
/** Of the parent's reason phrase a person is told no more. */
const maxPhrase = 100;

/**
 * Asks over a connected, paused upstream, which belongs to the tunnel until `done` is told, once, and never before this
 * has returned. What is opened is paused again. After `cancel` nothing is told, and the upstream is destroyed.
 */
export function tunnelUpstream(
  upstream: Upstream,
  request: TunnelRequest,
  done: (result: TunnelResult<Upstream>) => void,
): { readonly cancel: () => void } {
  const { socket, inflow } = upstream;
  const { take, cancel } = ask(socket, request, (result) => {
    done(result.kind === "open" ? { kind: "open", opened: withEarly(upstream, result.opened) } : result);
  });
  inflow.give((bytes) => (take(bytes) ? "used" : "full"));
  inflow.resume();
  return { cancel };
}

/** The same over a socket that is read as a stream. */
export function tunnelSocket<Opened extends { readonly socket: Socket }>(
  opened: Opened,
  request: TunnelRequest,
  done: (result: TunnelResult<Opened>) => void,
): { readonly cancel: () => void } {
  const { socket } = opened;
  const { take, cancel } = ask(socket, request, (result) => {
    if (result.kind === "open" && result.opened.length > 0) socket.unshift(result.opened);
    done(result.kind === "open" ? { kind: "open", opened } : result);
  });
  const onData = (bytes: Buffer): void => {
    if (take(bytes)) return;
    socket.removeListener("data", onData);
    socket.pause();
  };
  socket.on("data", onData);
  socket.resume();
  return { cancel };
}

type Asked = {
  /** True while more of the answer is wanted. */
  readonly take: (bytes: Buffer) => boolean;
  readonly cancel: () => void;
};

/** What is opened is what came behind the answer, in a buffer of its own. */
function ask(socket: Socket, request: TunnelRequest, done: (result: TunnelResult<Buffer>) => void): Asked {
  const { authorization } = request;
  let held: Buffer | undefined;
  let scanned = 0;
  let interims = 0;
  let over = false;
  const deadline = setTimeout(() => {
    fail("http_response_timeout", "the parent proxy did not answer in time");
  }, request.timeoutMs);
  const onGone = (): void => fail("connection_terminated", "the parent proxy broke off before it had answered");
  for (const event of goneEvents) socket.on(event, onGone);
  socket.write(requestText(request), "latin1");
  return {
    take,
    cancel: () => {
      if (stop()) socket.destroy();
    },
  };

  function take(bytes: Buffer): boolean {
    if (over) return false;
    let rest: Buffer = held === undefined ? bytes : Buffer.concat([held, bytes]);
    for (;;) {
      const parsed = parseResponseHead(rest, scanned, maxHeadBytes);
      if (parsed.kind === "incomplete") {
        // Bytes of an inflow are overwritten after the call.
        held = Buffer.from(rest);
        scanned = parsed.scanned;
        return true;
      }
      if (parsed.kind === "malformed") {
        fail(parsed.problem, `the parent proxy's answer holds ${parsed.detail}`);
        return false;
      }
      rest = rest.subarray(parsed.length);
      scanned = 0;
      judge(parsed.status, parsed.phrase, rest);
      if (over) return false;
    }
  }

  /** Length and coding of a 2xx mean nothing (RFC 9110 section 9.3.6), and its fields are not for the client. */
  function judge(status: number, phrase: string, behind: Buffer): void {
    if (status === 101) return fail("http_protocol_error", "the parent proxy switched protocols unasked");
    if (status < 200) {
      interims += 1;
      if (interims > maxInterimAnswers) fail("http_protocol_error", "the parent proxy sent too many interim answers");
      return;
    }
    if (status < 300) return settle({ kind: "open", opened: Buffer.from(behind) });
    if (status !== 407) return fail("http_request_denied", `the parent proxy refused: ${status} ${printable(phrase)}`);
    const how =
      authorization === undefined ? "asks for credentials" : "does not take the credentials that it was given";
    fail("http_request_denied", `the parent proxy ${how} (407)`);
  }

  function fail(failure: Failure, detail: string): void {
    if (over) return;
    settle({ kind: "failed", failure, detail });
    socket.destroy();
  }

  /** Told a moment later: by then the caller has stopped reading, and whoever is told may begin. */
  function settle(result: TunnelResult<Buffer>): void {
    if (stop()) queueMicrotask(() => done(result));
  }

  function stop(): boolean {
    if (over) return false;
    over = true;
    clearTimeout(deadline);
    for (const event of goneEvents) socket.removeListener(event, onGone);
    return true;
  }
}

const goneEvents = ["end", "error", "close"] as const;

function requestText({ authority, via, authorization }: TunnelRequest): string {
  const credentials = authorization === undefined ? "" : `Proxy-Authorization: ${authorization}\r\n`;
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nVia: ${via}\r\n${credentials}\r\n`;
}

function printable(phrase: string): string {
  return phrase.slice(0, maxPhrase).replace(/[^\x20-\x7e]/g, "?");
}

/** The same upstream, of which `early` is read first. */
function withEarly(upstream: Upstream, early: Buffer): Upstream {
  if (early.length === 0) return upstream;
  const { socket, inflow } = upstream;
  let sink: Parameters<typeof inflow.give>[0] = () => "full";
  let isPending = true;
  const deliver = (): void => {
    if (!socket.destroyed && sink(early) === "full") inflow.pause();
  };
  return {
    socket,
    inflow: {
      leave: () => inflow.leave(),
      pause: () => inflow.pause(),
      give: (next) => {
        sink = next;
        inflow.give(next);
      },
      resume: () => {
        inflow.resume();
        if (!isPending) return;
        isPending = false;
        // Before anything can be read: microtasks come first.
        queueMicrotask(deliver);
      },
    },
  };
}
