/** A raw client for hostile tests: bytes out, bytes in, no HTTP library between; every wait is an event with a deadline. */
import { connect, type Socket } from "node:net";

/** A response head as it came. */
export type RawHead = {
  readonly status: number;
  readonly reason: string;
  /** Lower-case names; values of repeated fields joined by `, `. */
  readonly headers: ReadonlyMap<string, string>;
  /** Every field line in order, names as sent. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** latin1, the empty line included. */
  readonly raw: string;
};

export type RawClient = {
  /** Queues bytes; strings are latin1. Never throws: a dead peer shows in the next wait. */
  readonly send: (bytes: string | Uint8Array) => void;
  /** Sends FIN, keeps reading. */
  readonly end: () => void;
  /** Takes the next response head; what follows it stays for the next read. Interim (1xx) heads count as heads. */
  readonly readHead: () => Promise<RawHead>;
  /** Takes exactly so many bytes. */
  readonly readBytes: (count: number) => Promise<Buffer>;
  /** Takes everything up to FIN; rejects on a reset. */
  readonly readAll: () => Promise<Buffer>;
  /** How the peer ended the connection: FIN, or a reset. Bytes before it stay readable. */
  readonly waitClose: () => Promise<"fin" | "reset">;
  /** What is here and not taken yet. */
  readonly pending: () => Buffer;
  /** Hands the socket over, paused, with what was not read put back: for TLS inside a tunnel. The client is of no use after. */
  readonly detach: () => Socket;
  /** Destroys the socket; pending waits reject. Harmless when repeated. */
  readonly close: () => void;
};

export type RawClientOptions = {
  readonly host?: string;
  /** Patience of each wait, 5 s when left out. */
  readonly deadlineMs?: number;
  /** Address to come from: 127.0.0.2 is another client than 127.0.0.1. */
  readonly localAddress?: string;
};

/** Connects; rejects when the connection is refused or late. The caller closes. */
export async function connectRaw(port: number, options: RawClientOptions | string = {}): Promise<RawClient> {
  const {
    host = "127.0.0.1",
    deadlineMs = 5000,
    localAddress,
  } = typeof options === "string" ? { host: options } : options;
  const socket = connect({
    port,
    host,
    allowHalfOpen: true,
    noDelay: true,
    ...(localAddress === undefined ? {} : { localAddress }),
  });
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const one of waiting) one();
  };
  let received = Buffer.alloc(0);
  let total = 0;
  let connected = false;
  let ending: "fin" | "reset" | "closed" | undefined;
  let failure: string | undefined;

  const onError = (error: NodeJS.ErrnoException): void => {
    failure = error.code ?? error.message;
    ending ??= connected ? "reset" : "closed";
    wake();
  };
  const onConnect = (): void => {
    connected = true;
    wake();
  };
  const onData = (chunk: Buffer): void => {
    received = Buffer.concat([received, chunk]);
    total += chunk.length;
    wake();
  };
  const onEnd = (): void => {
    // Of a reset that comes together with bytes only who writes is told (libuv says `end`).
    if (!socket.writableEnded) socket.write("");
    ending ??= socket.errored === null ? "fin" : "reset";
    wake();
  };
  const onClose = (): void => {
    ending ??= "closed";
    wake();
  };
  socket.on("error", onError);
  socket.on("connect", onConnect);
  socket.on("data", onData);
  socket.on("end", onEnd);
  socket.on("close", onClose);

  /** Asks `ready` after every event until it answers; says what was received when it never does. */
  const until = <T>(what: string, ready: () => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        waiting.delete(look);
        settle();
      };
      const fail = (why: string): void =>
        finish(() => reject(new Error(`${what}: ${why} after ${total} bytes; not yet read: ${quote(received)}`)));
      const look = (): void => {
        let value: T | undefined;
        try {
          value = ready();
        } catch (cause) {
          // Thrown in an event of the socket it would end the test run, not the test.
          finish(() => reject(cause instanceof Error ? cause : new Error(String(cause))));
          return;
        }
        if (value !== undefined) finish(() => resolve(value));
        else if (ending !== undefined) fail(failure === undefined ? ending : `${ending} (${failure})`);
      };
      const timer = setTimeout(() => fail(`nothing more for ${deadlineMs} ms`), deadlineMs);
      waiting.add(look);
      look();
    });
  const take = (count: number): Buffer => {
    const taken = received.subarray(0, count);
    received = received.subarray(count);
    return taken;
  };

  try {
    await until("connect", () => (connected ? true : undefined));
  } catch (cause) {
    socket.destroy();
    throw cause;
  }
  return {
    send: (bytes) => void socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes),
    end: () => void socket.end(),
    readHead: () =>
      until("response head", () => {
        const end = received.indexOf("\r\n\r\n");
        return end < 0 ? undefined : parseHead(take(end + 4).toString("latin1"));
      }),
    readBytes: (count) => until(`${count} bytes`, () => (received.length < count ? undefined : take(count))),
    readAll: () => until("everything up to FIN", () => (ending === "fin" ? take(received.length) : undefined)),
    waitClose: () => until("close", () => (ending === "fin" || ending === "reset" ? ending : undefined)),
    pending: () => Buffer.from(received),
    detach: () => {
      socket.off("error", onError).off("data", onData).off("end", onEnd).off("close", onClose);
      socket.on("error", () => socket.destroy());
      socket.pause();
      if (received.length > 0) socket.unshift(take(received.length));
      return socket;
    },
    close: () => {
      socket.destroy();
    },
  };
}

/** Throws on what is no HTTP/1.x status line: a test wants to see it. */
function parseHead(raw: string): RawHead {
  const [statusLine = "", ...lines] = raw.slice(0, -4).split("\r\n");
  const status = /^HTTP\/1\.[01] ([1-5]\d\d) (.*)$/.exec(statusLine);
  if (status === null) throw new Error(`no status line: ${quote(Buffer.from(raw, "latin1"))}`);
  const fields = lines.map((line): readonly [string, string] => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`no field line: ${JSON.stringify(line)}`);
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const headers = new Map<string, string>();
  for (const [name, value] of fields) {
    const before = headers.get(name.toLowerCase());
    headers.set(name.toLowerCase(), before === undefined ? value : `${before}, ${value}`);
  }
  return { status: Number(status[1]), reason: status[2] ?? "", headers, fields, raw };
}

function quote(bytes: Buffer): string {
  const shown = JSON.stringify(bytes.subarray(0, 512).toString("latin1"));
  return bytes.length > 512 ? `${shown}…` : shown;
}
