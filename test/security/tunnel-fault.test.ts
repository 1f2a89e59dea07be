/**
 * Attack: bytes that meet a bug. Whatever throws in the middle of a tunnel, the client gets no further, the process
 * lives, and the log has the error. The bugs are made here, by functions that throw.
 */
import { createDeadlines } from "../../src/egress/deadlines.ts";
import { readHead } from "../../src/wire/request-head.ts";
import { once } from "node:events";
import { type AddressInfo, type Server, createServer } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Settings } from "../../src/config/settings.ts";
import { handleConnect } from "../../src/ingress/connect.ts";
import { createConnection } from "../../src/ingress/connection.ts";
import type { IngressContext } from "../../src/ingress/context.ts";
import type { Problem } from "../../src/record/access-log.ts";
import type { Exchange } from "../../src/record/event.ts";
import { type Metrics, createMetrics } from "../../src/record/metrics.ts";
import { helloFor } from "../support/hello.ts";
import { addressAt, rule, rulesetOf } from "../support/policy.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import { startHelloOrigin } from "../support/tunnel.ts";

const fault = new Error("a bug");
const host = "good.example.com";
const ruleset = rulesetOf([rule({ id: "good", hosts: [host], expect: ["https"] })]);
let origin: TcpOrigin;
let server: Server | undefined;
let client: RawClient | undefined;

beforeAll(async () => {
  origin = await startHelloOrigin();
});
afterEach(() => {
  client?.close();
  server?.close();
});
afterAll(() => origin.close());

function broken(): never {
  throw fault;
}

type Run = { readonly problems: Problem[]; readonly exchanges: Exchange[]; readonly closed: Promise<number> };

type Breaks = {
  readonly context?: Partial<IngressContext>;
  readonly metrics?: Partial<Metrics>;
  /** False where the name has to be looked up. */
  readonly routed?: boolean;
};

/** Hands one client to `handleConnect`, in a context where something is broken. */
async function begin(breaks: Breaks): Promise<Run> {
  const problems: Problem[] = [];
  const exchanges: Exchange[] = [];
  const limits = { fields: 128, helloBytes: 65_536, helloTimeoutMs: 2_000, dialTimeoutMs: 2_000 };
  const routed = { host: undefined, port: undefined, address: addressAt("127.0.0.1"), toPort: origin.port };
  const settings = {
    limits,
    connectTo: breaks.routed === false ? [] : [routed],
    parents: [],
    denials: { explain: "full", top: 0 },
  } as unknown as Settings;
  const context: IngressContext = {
    settings,
    ruleset: () => ruleset,
    onRevoke: () => "keep",
    via: "test",
    instance: "",
    resolver: { cached: () => undefined, resolve: broken, close: () => {} },
    findOwnListener: () => undefined,
    ownDials: undefined,
    metrics: { ...createMetrics({ version: "0", nodeVersion: "0" }), ...breaks.metrics },
    log: {
      exchange: (exchange: Exchange) => exchanges.push({ ...exchange }),
      problem: (problem: Problem) => problems.push(problem),
    } as unknown as IngressContext["log"],
    deadlines: createDeadlines(performance.now.bind(performance), (error) => problems.push({ message: "late", error })),
    onDenial: () => {},
    now: Date.now,
    isDraining: () => false,
    ...breaks.context,
  };
  server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  let calls = 0;
  const closed = new Promise<number>((fulfil) => {
    server?.once("connection", (socket) => {
      socket.on("error", () => {});
      const head = { method: "CONNECT", url: `${host}:443`, httpVersion: "1.1", rawFields: [] };
      const reading = readHead(head, 128);
      const connection = createConnection({
        socket,
        address: addressAt("127.0.0.1"),
        listener: "test",
        admits: null,
        redirectedPort: undefined,
        subject: undefined,
        authenticate: undefined,
      });
      const entry = { kind: "head", request: head, reading, early: Buffer.alloc(0) } as const;
      handleConnect(context, connection, entry, () => (calls += 1));
      socket.once("close", () => setImmediate(() => fulfil(calls)));
    });
  });
  client = await connectRaw((server.address() as AddressInfo).port);
  return { problems, exchanges, closed };
}

async function expectRecorded({ problems, exchanges, closed }: Run): Promise<void> {
  client?.close();
  expect(await closed).toBe(1);
  expect(problems.map(({ error }) => error)).toEqual([fault]);
  expect(exchanges).toHaveLength(1);
  expect(exchanges[0]).toMatchObject({ outcome: "proxy_internal_error", closedBy: "proxy" });
}

describe("a bug before the 200 is a 500", () => {
  for (const [sentence, breaks] of Object.entries({
    "while deciding": { context: { isDraining: broken } },
    "while looking the address up": {
      context: { resolver: { cached: broken, resolve: broken, close: () => {} } },
      routed: false,
    },
    "while admitting the address": { context: { findOwnListener: broken } },
    "when the dial is over": { metrics: { dial: broken } },
    "when the tunnel opens": { metrics: { tunnelOpened: broken } },
  } satisfies Record<string, Breaks>)) {
    test(sentence, async () => {
      const before = origin.bytesReceived();
      const run = await begin(breaks);
      const head = await client!.readHead();
      expect([head.status, head.reason]).toEqual([500, "Failed: proxy_internal_error"]);
      expect((await client!.readAll()).toString()).not.toContain("a bug");
      await expectRecorded(run);
      expect(origin.bytesReceived()).toBe(before);
      // Where the dial had got through, nobody is left with the connection.
      await Promise.all(origin.recordings.map((recording) => recording.closed));
    });
  }
});

describe("a bug after it ends the tunnel", () => {
  for (const [sentence, metrics] of Object.entries({
    "when the hello is judged": { sniInspected: broken },
    "when the tunnel is counted": { recordDecision: broken },
  })) {
    test(sentence, async () => {
      const run = await begin({ metrics });
      expect((await client!.readHead()).status).toBe(200);
      client!.send(helloFor(host));
      await client!.waitClose();
      await expectRecorded(run);
      await Promise.all(origin.recordings.map((recording) => recording.closed));
    });
  }
});
