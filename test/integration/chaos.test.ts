/**
 * Each state of `connect.ts`, `request.ts` and `websocket.ts`, and in each of them either end resets, ends or stalls, or the origin
 * refuses. Every cell says what the client sees and what is on record; afterwards the process holds no file, socket,
 * timer or server more than at rest, counts no tunnel, and serves.
 *
 * A cell without a deadline in it is put to a proxy whose deadlines are far away, one after the other. Where a deadline
 * has to end the exchange, nobody helps it: both ends stay as they are until the proxy has let go of them.
 */
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type DnsServer, startDnsServer } from "../support/dns-server.ts";
import { helloFor, serverHello } from "../support/hello.ts";
import {
  type OpenResources,
  liveBytes,
  metricAlone,
  openResources,
  tellsLiveMemory,
  tellsResources,
} from "../support/open-resources.ts";
import { ok } from "../support/plain-http.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type Recording, type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { expectServing, startHelloOrigin } from "../support/tunnel.ts";

type Fault =
  | "client reset"
  | "client FIN"
  | "client stall"
  | "origin reset"
  | "origin FIN"
  | "origin stall"
  | "origin refuses";

type Ends = { readonly client: RawClient; readonly server: Recording | undefined };

type WithOrigin = Ends & { readonly server: Recording };

type Expected = {
  /** What the client gets: the status of an answer, or how its connection ends. Left out where it is gone itself. */
  readonly client?: number | "fin" | "reset";
  /** What the origin gets. Left out where it is gone itself, or was never there. */
  readonly origin?: "fin" | "reset";
  /** Part of the log line; undefined where nothing was asked for. `outcome: undefined` is a good end, or a denial. */
  readonly line?: Readonly<Record<string, unknown>>;
  /** What is done behind the fault: it shows only then. */
  readonly next?: (ends: Ends, host: string) => unknown;
  /** A deadline has to end it. */
  readonly deadline?: true;
};

type State = {
  /** The rule that the host is for. */
  readonly zone: "tls" | "web" | "socket" | "silent" | "denied";
  /** It counts in `tunnels_active`: from the 200, or the 101, to the end. */
  readonly isTunnel?: true;
  readonly enter: (proxy: Sallyport, host: string, origin: TcpOrigin) => Promise<Ends>;
  /** A string says why a fault cannot happen here. */
  readonly faults: Readonly<Record<Fault, Expected | string>>;
};

const clientLeft = { outcome: "client_aborted", closed_by: "client" };
const originLeft = { outcome: "connection_terminated", closed_by: "upstream" };
const idle = { outcome: "idle_timeout", closed_by: "idle" };
const answer = Buffer.from(serverHello());
/** The example of RFC 6455 section 1.3. */
const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ==";
const switched = [
  "HTTP/1.1 101 Switching Protocols",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
  "",
  "",
].join("\r\n");

const sayHello = ({ client }: Ends, host: string): void => client.send(helloFor(host));
const noOrigin = "no origin is known yet";
const isItsTurn = "it is the other side's turn";
const hasAccepted = "it has accepted";

/** Nobody answers the question for the address, and then it is an origin that refuses. */
const reachingForTunnel: State["faults"] = {
  // The lookup goes on without it, for whoever asks next.
  "client reset": { line: clientLeft, deadline: true },
  "client FIN": { client: 504, line: { outcome: "dns_timeout", status: 504 }, deadline: true },
  "client stall": isItsTurn,
  "origin reset": noOrigin,
  "origin FIN": noOrigin,
  "origin stall": { client: 504, line: { outcome: "dns_timeout", status: 504 }, deadline: true },
  "origin refuses": { client: 502, line: { outcome: "connection_refused", status: 502 }, deadline: true },
};
/** The head of the answer does not come, and deadlines end that. */
const noAnswer: Expected = {
  client: 504,
  origin: "fin",
  line: { outcome: "http_response_timeout", status: 504 },
  deadline: true,
};
/** The origin goes away before it has answered, and halfway through its answer. */
const goneEarly = { outcome: "connection_terminated", status: 502 };
const goneHalfway = { outcome: "http_response_incomplete", closed_by: "upstream", bytes_down: 4 };

const states: Readonly<Record<string, State>> = {
  "half a head": {
    zone: "tls",
    enter: async (proxy, host) => {
      const client = await connectRaw(proxy.port, { deadlineMs: 15_000 });
      client.send(`CONNECT ${host}:443 HTTP/1.1\r\nHo`);
      return { client, server: undefined };
    },
    faults: {
      "client reset": {},
      "client FIN": { client: "fin" },
      "client stall": { client: 408, deadline: true },
      "origin reset": noOrigin,
      "origin FIN": noOrigin,
      "origin stall": noOrigin,
      "origin refuses": noOrigin,
    },
  },
  "CONNECT, reaching": {
    zone: "silent",
    enter: (proxy, host) => askForName(proxy, host, connectHead(host)),
    faults: reachingForTunnel,
  },
  "CONNECT, peeking": {
    zone: "tls",
    isTunnel: true,
    enter: async (proxy, host, origin) => {
      const client = await ask(proxy, connectHead(host));
      expect((await client.readHead()).status).toBe(200);
      return { client, server: await origin.recording(0) };
    },
    faults: {
      "client reset": { origin: "fin", line: clientLeft },
      "client FIN": { client: "fin", origin: "fin", line: clientLeft },
      "client stall": { client: "fin", origin: "fin", line: { reason: "hello_timeout" }, deadline: true },
      "origin reset": { client: "reset", line: originLeft, next: sayHello },
      "origin FIN": { client: "fin", origin: "fin", line: originLeft, next: sayHello, deadline: true },
      "origin stall": isItsTurn,
      "origin refuses": hasAccepted,
    },
  },
  "CONNECT, vetting": {
    zone: "tls",
    isTunnel: true,
    enter: sayHelloToOrigin,
    faults: {
      "client reset": { origin: "reset", line: clientLeft },
      "client FIN": { client: "fin", origin: "fin", line: clientLeft, deadline: true },
      "client stall": isItsTurn,
      "origin reset": { client: "reset", line: originLeft },
      "origin FIN": { client: "fin", origin: "fin", line: originLeft, deadline: true },
      "origin stall": {
        client: "fin",
        origin: "fin",
        line: { outcome: "connection_timeout", closed_by: "proxy" },
        deadline: true,
      },
      "origin refuses": hasAccepted,
    },
  },
  "CONNECT, spliced": {
    zone: "tls",
    isTunnel: true,
    enter: async (proxy, host, origin) => {
      const { client, server } = await sayHelloToOrigin(proxy, host, origin);
      server.socket.write(answer);
      await client.readBytes(answer.length);
      return { client, server };
    },
    faults: {
      "client reset": { origin: "reset", line: clientLeft },
      "client FIN": { client: "fin", origin: "fin", line: idle, deadline: true },
      "client stall": { client: "fin", origin: "fin", line: idle, deadline: true },
      "origin reset": { client: "reset", line: originLeft },
      "origin FIN": { client: "fin", origin: "fin", line: idle, deadline: true },
      "origin stall": { client: "fin", origin: "fin", line: idle, deadline: true },
      "origin refuses": hasAccepted,
    },
  },
  "CONNECT, refused": {
    zone: "denied",
    enter: async (proxy, host) => {
      const client = await ask(proxy, connectHead(host));
      expect((await client.readHead()).status).toBe(403);
      return { client, server: undefined };
    },
    faults: {
      "client reset": { line: { reason: "no_rule" } },
      "client FIN": { client: "fin", line: { reason: "no_rule" } },
      "client stall": { client: "fin", line: { reason: "no_rule" }, deadline: true },
      "origin reset": noOrigin,
      "origin FIN": noOrigin,
      "origin stall": noOrigin,
      "origin refuses": noOrigin,
    },
  },
  "request, reaching": {
    zone: "silent",
    enter: (proxy, host) => askForName(proxy, host, requestHead(host)),
    // Who asks for a page and ends does not want it; a tunnel may still carry the other direction.
    faults: { ...reachingForTunnel, "client FIN": { client: "fin", line: clientLeft, deadline: true } },
  },
  "request, sending": {
    zone: "web",
    enter: async (proxy, host, origin) => {
      const client = await ask(proxy, requestHead(host, "POST", "Content-Length: 10"), Buffer.from("abc"));
      const server = await origin.recording(0);
      await until(server, "abc");
      return { client, server };
    },
    faults: {
      "client reset": { origin: "fin", line: clientLeft },
      "client FIN": { client: "fin", origin: "fin", line: clientLeft },
      "client stall": { client: "fin", origin: "fin", line: idle, deadline: true },
      "origin reset": { client: 502, line: goneEarly, deadline: true },
      "origin FIN": {
        client: 502,
        origin: "fin",
        line: goneEarly,
        deadline: true,
      },
      "origin stall": isItsTurn,
      "origin refuses": hasAccepted,
    },
  },
  "request, waiting for the answer": {
    zone: "web",
    enter: (proxy, host, origin) => askOrigin(proxy, origin, requestHead(host)),
    faults: {
      "client reset": { origin: "fin", line: clientLeft },
      "client FIN": { client: "fin", origin: "fin", line: clientLeft },
      "client stall": isItsTurn,
      "origin reset": { client: 502, line: goneEarly },
      "origin FIN": { client: 502, origin: "fin", line: goneEarly },
      "origin stall": noAnswer,
      "origin refuses": hasAccepted,
    },
  },
  "request, answering": {
    zone: "web",
    enter: async (proxy, host, origin) => {
      const { client, server } = await askOrigin(proxy, origin, requestHead(host));
      server.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
      await client.readHead();
      await client.readBytes(4);
      return { client, server };
    },
    faults: {
      "client reset": { origin: "fin", line: clientLeft },
      "client FIN": { client: "fin", origin: "fin", line: clientLeft },
      "client stall": isItsTurn,
      "origin reset": {
        client: "fin",
        line: goneHalfway,
      },
      "origin FIN": {
        client: "fin",
        origin: "fin",
        line: goneHalfway,
      },
      "origin stall": { client: "fin", origin: "fin", line: idle, deadline: true },
      "origin refuses": hasAccepted,
    },
  },
  "request, answering a client that reads nothing": {
    zone: "web",
    enter: async (proxy, host, origin) => {
      const { client, server } = await askOrigin(proxy, origin, requestHead(host));
      // More than all buffers on the way take, so that both directions stand still.
      server.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${2 ** 27}\r\n\r\n`);
      let taken = 0;
      const chunk = Buffer.alloc(2 ** 16);
      const pour = (): void =>
        void server.socket.write(chunk, (error) => {
          taken += 1;
          if (error === null || error === undefined) pour();
        });
      pour();
      await client.readHead();
      client.detach();
      for (let seen = -1; seen !== taken; await pause(100)) seen = taken;
      return { client, server };
    },
    faults: {
      "client reset": { origin: "reset", line: clientLeft },
      "client FIN": isItsTurn,
      "client stall": { origin: "reset", line: idle, deadline: true },
      "origin reset": "what it has sent is read first, as if it stalled",
      "origin FIN": "what it has sent is read first, as if it stalled",
      "origin stall": isItsTurn,
      "origin refuses": hasAccepted,
    },
  },
  "WebSocket, reaching": {
    zone: "silent",
    enter: (proxy, host) => askForName(proxy, host, handshakeHead(host)),
    faults: reachingForTunnel,
  },
  "WebSocket, asking": {
    zone: "socket",
    enter: async (proxy, host, origin) => {
      // What is sent early is held, and never reaches an origin that does not switch.
      const { client, server } = await askOrigin(proxy, origin, handshakeHead(host), Buffer.from("early"));
      expect(server.bytes().toString("latin1")).toMatch(/\r\n\r\n$/);
      return { client, server };
    },
    faults: {
      "client reset": { origin: "fin", line: clientLeft },
      "client FIN": noAnswer,
      "client stall": isItsTurn,
      "origin reset": { client: 502, line: goneEarly },
      "origin FIN": { client: 502, origin: "fin", line: goneEarly },
      "origin stall": noAnswer,
      "origin refuses": hasAccepted,
    },
  },
  "WebSocket, answering without a switch": {
    zone: "socket",
    enter: async (proxy, host, origin) => {
      const { client, server } = await askOrigin(proxy, origin, handshakeHead(host));
      server.socket.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\nhalf");
      expect((await client.readHead()).status).toBe(403);
      await client.readBytes(4);
      return { client, server };
    },
    faults: {
      "client reset": { origin: "fin", line: clientLeft },
      "client FIN": { client: "reset", origin: "fin", line: idle, deadline: true },
      "client stall": isItsTurn,
      "origin reset": {
        client: "reset",
        line: goneHalfway,
      },
      "origin FIN": {
        client: "reset",
        origin: "fin",
        line: goneHalfway,
      },
      "origin stall": { client: "reset", origin: "fin", line: idle, deadline: true },
      "origin refuses": hasAccepted,
    },
  },
  "WebSocket, spliced": {
    zone: "socket",
    isTunnel: true,
    enter: async (proxy, host, origin) => {
      const { client, server } = await askOrigin(proxy, origin, handshakeHead(host), Buffer.from("early"));
      server.socket.write(switched);
      expect((await client.readHead()).status).toBe(101);
      await until(server, "early");
      return { client, server };
    },
    faults: {
      "client reset": { origin: "reset", line: { ...clientLeft, status: 101 } },
      "client FIN": { client: "fin", origin: "fin", line: { ...idle, status: 101 }, deadline: true },
      "client stall": { client: "fin", origin: "fin", line: { ...idle, status: 101 }, deadline: true },
      "origin reset": { client: "reset", line: { ...originLeft, status: 101 } },
      "origin FIN": { client: "fin", origin: "fin", line: { ...idle, status: 101 }, deadline: true },
      "origin stall": { client: "fin", origin: "fin", line: { ...idle, status: 101 }, deadline: true },
      "origin refuses": hasAccepted,
    },
  },
  "WebSocket, spliced, and the other side ends too": {
    zone: "socket",
    isTunnel: true,
    enter: async (proxy, host, origin) => {
      const { client, server } = await askOrigin(proxy, origin, handshakeHead(host));
      server.socket.write(switched);
      expect((await client.readHead()).status).toBe(101);
      return { client, server };
    },
    faults: {
      "client reset": "as above",
      "client FIN": {
        client: "fin",
        origin: "fin",
        line: { outcome: undefined, closed_by: "client", status: 101 },
        next: ({ server }) => server?.socket.once("end", () => server.socket.end()),
      },
      "client stall": "as above",
      "origin reset": "as above",
      "origin FIN": {
        client: "fin",
        origin: "fin",
        line: { outcome: undefined, closed_by: "upstream", status: 101 },
        next: ({ client }) => void client.waitClose().then(() => client.end()),
      },
      "origin stall": "as above",
      "origin refuses": hasAccepted,
    },
  },
  "a connection kept for the next request": {
    zone: "web",
    enter: async (proxy, host, origin) => {
      const { client, server } = await askOrigin(proxy, origin, requestHead(host));
      server.socket.end(ok);
      const head = await client.readHead();
      expect(head.headers.get("connection")).toBe("keep-alive");
      await client.readBytes(2);
      return { client, server: undefined };
    },
    faults: {
      "client reset": { line: { status: 200 } },
      "client FIN": { client: "fin", line: { status: 200 } },
      "client stall": { client: "fin", line: { status: 200 }, deadline: true },
      "origin reset": "it is gone",
      "origin FIN": "it is gone",
      "origin stall": "it is gone",
      "origin refuses": "it is gone",
    },
  },
};

type Cell = {
  readonly sentence: string;
  readonly state: State;
  readonly fault: Fault;
  readonly expected: Expected;
  readonly host: string;
};

const cells: readonly Cell[] = Object.entries(states).flatMap(([name, state], row) =>
  Object.entries(state.faults).flatMap(([fault, expected], column): Cell[] => {
    if (typeof expected === "string") return [];
    // Who refuses is known by address: nothing is to be looked up.
    const zone = fault !== "origin refuses" ? state.zone : name.startsWith("WebSocket") ? "socket" : "web";
    const sentence = `${name}: ${fault}`;
    return [{ sentence, state, fault: fault as Fault, expected, host: `c${row}-${column}.${zone}.example.com` }];
  }),
);

let dns: DnsServer;
let serving: TcpOrigin;
const origins = new Map<Cell, TcpOrigin>();

beforeAll(async () => {
  dns = await startDnsServer();
  serving = await startHelloOrigin();
  for (const cell of cells) {
    origins.set(cell, await startTcpOrigin());
    for (const type of ["A", "AAAA"] as const) dns.answer(type, cell.host, { kind: "silence" });
  }
});
afterAll(async () => {
  await Promise.all([...origins.values()].map((origin) => origin.close()));
  await serving.close();
  await dns.close();
});

describe("what ends at once", () => {
  const here = cells.filter(({ expected }) => expected.deadline === undefined);
  let proxy: Sallyport;
  let atRest: OpenResources;
  beforeAll(async () => {
    proxy = await start(here, "60s");
    atRest = await rest(proxy);
  });
  afterAll(async () => expect(await proxy.stop()).toBe(0));

  test.each(here)("$sentence", async (cell) => {
    const { isTunnel = false } = cell.state;
    const ends = await play(proxy, cell, async () => {
      expect(await metricAlone(proxy, "sallyport_tunnels_active")).toBe(isTunnel ? 1 : 0);
    });
    await expectAtRest(proxy, atRest);
    ends.client.close();
    await expectServing(proxy);
  });
});

describe("what a deadline has to end", () => {
  const here = cells.filter(({ expected }) => expected.deadline === true);
  let proxy: Sallyport;
  let atRest: OpenResources;
  let played: ReadonlyMap<Cell, Promise<Ends>>;
  beforeAll(async () => {
    proxy = await start(here, "2s");
    atRest = await rest(proxy);
    // All at once: it is the same time that they wait for.
    played = new Map(here.map((cell) => [cell, play(proxy, cell)]));
    await Promise.allSettled(played.values());
  });
  afterAll(async () => expect(await proxy.stop()).toBe(0));

  test.each(here)("$sentence", async (cell) => {
    await expect(played.get(cell)).resolves.toBeDefined();
  });

  test("nothing is left of all of them, though no client and no origin has closed its end", async () => {
    await expectAtRest(proxy, atRest);
    await expectServing(proxy);
    for (const ends of played.values()) (await ends).client.close();
  });
});

describe.skipIf(process.platform === "win32")("a client that is gone before it is accepted", () => {
  test("has no address to be judged by: nothing is dialled for it, and nothing of it is kept", async () => {
    const gone = await startTcpOrigin();
    const proxy = await startSallyport({
      policy: { rules: [{ id: "raw", hosts: ["gone.example.com", "good.example.com"], expect: ["tcp:22", "https"] }] },
      nodeArguments: tellsResources,
      settings: {
        connect_to: [`gone.example.com::127.0.0.1:${gone.port}`, `good.example.com::127.0.0.1:${serving.port}`],
      },
    });
    try {
      const atRest = await rest(proxy);
      // While it stands still the kernel shakes hands for it.
      proxy.process.kill("SIGSTOP");
      for (let i = 0; i < 10; i++) {
        const client = await connectRaw(proxy.port);
        client.send("CONNECT gone.example.com:22 HTTP/1.1\r\nHost: gone.example.com:22\r\n\r\nsecret");
        const socket = client.detach();
        socket.resetAndDestroy();
        await once(socket, "close");
      }
      proxy.process.kill("SIGCONT");
      await expectAtRest(proxy, atRest);
      await expectServing(proxy);
      expect(proxy.log.filter((line) => line["host"] === "gone.example.com")).toEqual([]);
      expect([gone.connections(), gone.bytesReceived()]).toEqual([0, 0]);
    } finally {
      await proxy.stop();
      await gone.close();
    }
  });
});

describe("an origin that sends a second answer behind the one it was asked for", () => {
  const size = 2 ** 16;
  const rounds = 500;

  test("leaves nothing of it in memory, request after request", { timeout: 60_000 }, async () => {
    const whole = Buffer.concat([
      Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`),
      Buffer.alloc(size),
    ]);
    const lying = await startTcpOrigin(({ socket }) => {
      socket.once("data", () => socket.end(Buffer.concat([whole, whole])));
    });
    const proxy = await startSallyport({
      policy: { rules: [{ id: "web", hosts: ["lies.example.com"], expect: "http" }] },
      nodeArguments: tellsLiveMemory,
      settings: { connect_to: [`*::127.0.0.1:${lying.port}`] },
    });
    try {
      const fetchSome = async (count: number): Promise<void> => {
        for (let i = 0; i < count; i++) {
          const client = await ask(proxy, requestHead("lies.example.com"));
          expect((await client.readHead()).status).toBe(200);
          await client.readBytes(size);
          client.close();
        }
      };
      await fetchSome(50);
      const before = await liveBytes(proxy);
      await fetchSome(rounds);
      // A tenth of what the second answers were.
      await vi.waitFor(async () => expect((await liveBytes(proxy)) - before).toBeLessThan((rounds * size) / 10));
    } finally {
      await proxy.stop();
      await lying.close();
    }
  });
});

/** A proxy for these cells, in which every deadline is this long. */
function start(here: readonly Cell[], deadline: string): Promise<Sallyport> {
  const rules = [
    { id: "tls", hosts: ["*.tls.example.com", "good.example.com"], expect: "https", idle_timeout: deadline },
    { id: "web", hosts: ["*.web.example.com"], expect: ["http", "https"], methods: ["GET", "POST"] },
    {
      id: "socket",
      hosts: ["*.socket.example.com"],
      expect: "http",
      websocket: "allow",
      idle_timeout: deadline,
    },
    { id: "silent", hosts: ["*.silent.example.com"], expect: ["http", "https"], websocket: "allow" },
  ];
  return startSallyport({
    policy: { rules },
    nodeArguments: tellsResources,
    settings: {
      dns: { servers: [dns.address], timeout: deadline },
      limits: {
        head_timeout: deadline,
        hello_timeout: deadline,
        dial_timeout: deadline,
        response_head_timeout: deadline,
        body_idle_timeout: deadline,
        keepalive_timeout: deadline,
      },
      connect_to: [
        `good.example.com::127.0.0.1:${serving.port}`,
        ...here.flatMap((cell) =>
          cell.host.includes(".silent.") ? [] : [`${cell.host}::127.0.0.1:${origins.get(cell)!.port}`],
        ),
      ],
    },
  });
}

/** What is open when nothing goes on: the first exchanges open what stays open. */
async function rest(proxy: Sallyport): Promise<OpenResources> {
  await expectServing(proxy);
  await vi.waitFor(async () => expect(await metricAlone(proxy, "sallyport_tunnels_active")).toBe(0));
  let last = await openResources(proxy);
  await vi.waitFor(async () => {
    const before = last;
    last = await openResources(proxy);
    expect(last.loop).not.toHaveProperty("TCPSocketWrap");
    expect(last).toEqual(before);
  });
  return last;
}

async function expectAtRest(proxy: Sallyport, atRest: OpenResources): Promise<void> {
  const patience = { timeout: 15_000, interval: 20 };
  await vi.waitFor(async () => expect(await metricAlone(proxy, "sallyport_tunnels_active")).toBe(0), patience);
  await vi.waitFor(async () => expect(await openResources(proxy)).toEqual(atRest), patience);
  expect(proxy.stderr()).not.toContain("Warning");
}

/** Brings an exchange into the state, lets the fault happen, and expects what follows. No end is closed here but by the fault. */
async function play(proxy: Sallyport, cell: Cell, before = (): Promise<void> => Promise.resolve()): Promise<Ends> {
  const { state, fault, expected, host } = cell;
  const origin = origins.get(cell)!;
  if (fault === "origin refuses") await origin.close();
  const ends = await state.enter(proxy, host, origin);
  await before();
  const { client, server } = ends;
  const atOrigin = server === undefined ? undefined : endOf(server);
  switch (fault) {
    case "client reset":
      client.detach().resetAndDestroy();
      break;
    case "client FIN":
      client.end();
      break;
    case "origin reset":
      server?.socket.resetAndDestroy();
      break;
    case "origin FIN":
      server?.socket.end();
      break;
    case "client stall":
    case "origin stall":
    case "origin refuses":
      break;
  }
  expected.next?.(ends, host);
  if (typeof expected.client === "number") expect((await client.readHead()).status).toBe(expected.client);
  else if (expected.client !== undefined) expect(await client.waitClose()).toBe(expected.client);
  if (expected.origin !== undefined) expect(await atOrigin).toBe(expected.origin);
  if (expected.line !== undefined) {
    const line = await proxy.logged((one) => one["host"] === host, 15_000);
    expect({ outcome: undefined, ...line }).toMatchObject({ outcome: undefined, ...expected.line });
  }
  return ends;
}

/** What the origin gets first: the client's end, or a reset. */
function endOf({ socket }: Recording): Promise<"fin" | "reset"> {
  return new Promise((fulfil) => {
    socket.once("end", () => fulfil("fin"));
    socket.once("close", (failed) => fulfil(failed ? "reset" : "fin"));
  });
}

/** Up to an origin that has the client's hello, and has not answered it. */
async function sayHelloToOrigin(proxy: Sallyport, host: string, origin: TcpOrigin): Promise<WithOrigin> {
  const client = await ask(proxy, connectHead(host), helloFor(host));
  expect((await client.readHead()).status).toBe(200);
  const server = await origin.recording(0);
  await server.waitForBytes(helloFor(host).length);
  return { client, server };
}

/** Up to an origin that has the whole head. */
async function askOrigin(proxy: Sallyport, origin: TcpOrigin, head: string, behind?: Uint8Array): Promise<WithOrigin> {
  const client = await ask(proxy, head, behind);
  const server = await origin.recording(0);
  await until(server, "\r\n\r\n");
  return { client, server };
}

/** Up to the question for the address, which nobody answers. */
async function askForName(proxy: Sallyport, host: string, head: string): Promise<Ends> {
  const client = await ask(proxy, head);
  if (host.includes(".silent.")) await vi.waitFor(() => expect(dns.queries).toContain(`A ${host}`), { timeout: 5000 });
  return { client, server: undefined };
}

async function until(server: Recording, text: string): Promise<void> {
  for (let count = 1; !server.bytes().includes(text); count++) {
    const { length } = await server.waitForBytes(count);
    count = Math.max(count, length);
  }
}

async function ask(proxy: Sallyport, head: string, behind: Uint8Array = new Uint8Array()): Promise<RawClient> {
  const client = await connectRaw(proxy.port, { deadlineMs: 15_000 });
  client.send(Buffer.concat([Buffer.from(head, "latin1"), behind]));
  return client;
}

function connectHead(host: string): string {
  return `CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`;
}

function requestHead(host: string, method = "GET", ...fields: readonly string[]): string {
  return [`${method} http://${host}/ HTTP/1.1`, `Host: ${host}`, ...fields, "", ""].join("\r\n");
}

function handshakeHead(host: string): string {
  return requestHead(
    host,
    "GET",
    "Connection: Upgrade",
    "Upgrade: websocket",
    `Sec-WebSocket-Key: ${handshakeKey}`,
    "Sec-WebSocket-Version: 13",
  );
}
