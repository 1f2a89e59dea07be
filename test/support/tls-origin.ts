/** Origins for tests: real TLS servers, recording TCP servers, and a server that negotiates a TLS version down. */
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type SecureVersion, type TLSSocket } from "node:tls";
import { type Authority, createAuthority } from "../../src/pki/authority.ts";
import { createKey } from "../../src/pki/issuance.ts";
import { issueLeaf } from "../../src/pki/leaf.ts";

/** What every origin has: where it is, what reached it, and an end. All numbers are of TCP, below any TLS. */
export type Origin = {
  readonly port: number;
  /** Connections accepted so far. */
  readonly connections: () => number;
  /** Bytes received so far on all connections: a denied exchange leaves it at 0. */
  readonly bytesReceived: () => number;
  /** Destroys every socket and stops listening. */
  readonly close: () => Promise<void>;
};

export type TlsOriginOptions = {
  readonly authority: Authority;
  /** Names of the leaf: DNS names, wildcards, addresses. */
  readonly names: readonly string[];
  /** TLSv1 and TLSv1.1 need `ciphers: "DEFAULT@SECLEVEL=0"` on both sides. */
  readonly minVersion?: SecureVersion;
  readonly maxVersion?: SecureVersion;
  readonly ciphers?: string;
  readonly alpn?: readonly string[];
  /** Asks for a client certificate of this authority, and refuses the handshake without one. */
  readonly clientAuthority?: Authority;
  /** HTTP/1.1 inside TLS; without it, every byte is echoed. */
  readonly onRequest?: RequestListener;
  /** Called once for each completed handshake. */
  readonly onSecure?: (socket: TLSSocket) => void;
};

/** One accepted connection of a recording origin. */
export type Recording = {
  readonly socket: Socket;
  /** Every byte received so far. */
  readonly bytes: () => Buffer;
  /** Resolves when that many bytes are here; rejects when the connection or the patience ends before. */
  readonly waitForBytes: (count: number) => Promise<Buffer>;
  /** Resolves at the peer's FIN, or when the socket is closed without one. The own half stays open. */
  readonly ended: Promise<void>;
  /** Resolves when the socket is closed, whoever closed it. */
  readonly closed: Promise<void>;
};

export type TcpOrigin = Origin & {
  readonly recordings: readonly Recording[];
  /** The connection with this number, from 0, as soon as it is there. */
  readonly recording: (index: number) => Promise<Recording>;
};

const host = "127.0.0.1";
const patienceMs = 5000;

let sharedAuthority: Promise<Authority> | undefined;
let sharedLeafKey: Promise<string> | undefined;

/** One authority for all tests of a file: RSA keys take time to make. */
export function testAuthority(): Promise<Authority> {
  sharedAuthority ??= createAuthority({ name: "Test authority", now: Date.now(), keyBits: 2048 }).then((made) => {
    if (made.kind === "problem") throw new Error(made.problem);
    return made.authority;
  });
  return sharedAuthority;
}

/** A leaf over the test file's shared key. Throws what `issueLeaf` has to object. */
export async function testLeaf(
  authority: Authority,
  names: readonly string[],
  usage: "server" | "client" = "server",
): Promise<{ readonly cert: string; readonly key: string }> {
  sharedLeafKey ??= createKey(2048);
  const made = await issueLeaf(authority, { names, usage, now: Date.now(), keyPem: await sharedLeafKey });
  if (made.kind === "problem") throw new Error(made.problem);
  return { cert: made.leaf.chainPem, key: made.leaf.keyPem };
}

/** A real TLS server on loopback. */
export async function startTlsOrigin(options: TlsOriginOptions): Promise<Origin> {
  const { authority, names, minVersion, maxVersion, ciphers, alpn, clientAuthority, onRequest, onSecure } = options;
  const http = createHttpServer(onRequest);
  const tls = createTlsServer({
    ...(await testLeaf(authority, names)),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(ciphers === undefined ? {} : { ciphers }),
    ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
    ...(clientAuthority === undefined
      ? {}
      : { ca: clientAuthority.certPem, requestCert: true, rejectUnauthorized: true }),
  });
  tls.on("tlsClientError", (_, socket) => socket.destroy());
  tls.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    onSecure?.(socket);
    if (onRequest !== undefined) http.emit("connection", socket);
    else if (onSecure === undefined) socket.pipe(socket);
  });
  return startCounting({ allowHalfOpen: false }, (socket) => tls.emit("connection", socket));
}

/** A TCP server that records every byte; `handle` may answer. Without it, it only listens. */
export async function startTcpOrigin(handle: (recording: Recording) => void = () => {}): Promise<TcpOrigin> {
  const recordings: Recording[] = [];
  const waiting: (() => void)[] = [];
  const origin = await startCounting({ allowHalfOpen: true }, (socket) => {
    const recording = record(socket);
    recordings.push(recording);
    handle(recording);
    for (const wake of waiting.splice(0)) wake();
  });
  const recording = async (index: number): Promise<Recording> => {
    for (;;) {
      const found = recordings[index];
      if (found !== undefined) return found;
      const arrival = new Promise<void>((resolve) => waiting.push(resolve));
      await within(arrival, () => `connection ${index} did not come; ${recordings.length} did`);
    }
  };
  return { ...origin, recordings, recording };
}

/**
 * Answers any ClientHello with a hand-made ServerHello of the given version (0x0302 is TLS 1.1), whatever the client
 * offered, and then only listens: the downgrade a proxy with a TLS floor must notice.
 */
export function startDowngradingOrigin(hello: ServerHelloFields): Promise<TcpOrigin> {
  return startTcpOrigin(({ socket, waitForBytes }) => {
    const answer = async (): Promise<void> => {
      const header = await waitForBytes(5);
      await waitForBytes(5 + header.readUInt16BE(3));
      socket.write(serverHelloRecord(hello));
    };
    answer().catch(() => socket.destroy());
  });
}

export type ServerHelloFields = {
  /** legacy_version of the ServerHello. */
  readonly version: number;
  /** Of supported_versions; no such extension when left out, as a server before TLS 1.3 answers. */
  readonly selectedVersion?: number;
};

/** A ServerHello in one plaintext record (RFC 8446 section 4.1.3; RFC 5246 section 7.4.1.3 without extensions). */
export function serverHelloRecord({ version, selectedVersion }: ServerHelloFields): Buffer {
  const extensions =
    selectedVersion === undefined
      ? Buffer.alloc(0)
      : Buffer.concat([uint16(6), uint16(0x002b), uint16(2), uint16(selectedVersion)]);
  const cipherSuite = selectedVersion === undefined ? 0xc013 : 0x1301;
  const random = Buffer.alloc(32, 0x5a);
  const sessionId = Buffer.from([0]);
  const compression = Buffer.from([0]);
  const body = Buffer.concat([uint16(version), random, sessionId, uint16(cipherSuite), compression, extensions]);
  const handshake = Buffer.concat([Buffer.from([2, 0]), uint16(body.length), body]);
  return Buffer.concat([Buffer.from([22]), uint16(Math.min(version, 0x0303)), uint16(handshake.length), handshake]);
}

/** Owns every accepted socket until `close`. */
async function startCounting(
  options: { readonly allowHalfOpen: boolean },
  accept: (socket: Socket) => void,
): Promise<Origin> {
  const sockets = new Set<Socket>();
  let connections = 0;
  let bytesOfClosed = 0;
  const server = createServer(options, (socket) => {
    socket.on("error", () => socket.destroy());
    sockets.add(socket);
    connections += 1;
    socket.on("close", () => {
      sockets.delete(socket);
      bytesOfClosed += socket.bytesRead;
    });
    accept(socket);
  });
  server.listen(0, host);
  await once(server, "listening");
  return {
    port: portOf(server),
    connections: () => connections,
    bytesReceived: () => [...sockets].reduce((sum, socket) => sum + socket.bytesRead, bytesOfClosed),
    close: async () => {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function record(socket: Socket): Recording {
  const chunks: Buffer[] = [];
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const one of waiting) one();
  };
  socket.on("data", (chunk) => {
    chunks.push(chunk);
    wake();
  });
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      resolve();
      wake();
    });
  });
  const ended = new Promise<void>((resolve) => {
    socket.on("end", resolve);
    socket.on("close", () => resolve());
  });
  const bytes = (): Buffer => Buffer.concat(chunks);
  const waitForBytes = async (count: number): Promise<Buffer> => {
    while (bytes().length < count) {
      if (socket.destroyed) throw new Error(`closed after ${bytes().length} of ${count} bytes`);
      let arrived = (): void => {};
      const arrival = new Promise<void>((resolve) => {
        arrived = resolve;
        waiting.add(arrived);
      });
      try {
        await within(arrival, () => `${bytes().length} of ${count} bytes: ${bytes().toString("latin1")}`);
      } finally {
        waiting.delete(arrived);
      }
    }
    return bytes();
  };
  return { socket, bytes, waitForBytes, ended, closed };
}

async function within(wait: Promise<void>, describe: () => string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing for ${patienceMs} ms: ${describe()}`)), patienceMs);
  });
  try {
    await Promise.race([wait, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
