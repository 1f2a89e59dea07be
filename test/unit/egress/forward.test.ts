/** The upstream leg on its own: what http-proxy and Node's client make of a head, a body and an answer. */
import { type Server, createServer } from "node:http";
import { type Socket, connect } from "node:net";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import { type UpstreamHead, causeOf, createForwarder } from "../../../src/egress/forward.ts";
import { connectRaw } from "../../support/raw-http.ts";
import { type Recording, startTcpOrigin } from "../../support/tls-origin.ts";

const closing: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

type Outcome =
  | { readonly kind: "response"; readonly response: IncomingMessage }
  | { readonly kind: "failure"; readonly failure: string };

type Leg = {
  readonly recording: Recording;
  readonly outcome: Promise<Outcome>;
  readonly failures: string[];
  readonly interims: number[];
  readonly abort: () => void;
  readonly client: Awaited<ReturnType<typeof connectRaw>>;
};

const head: UpstreamHead = {
  method: "GET",
  path: "/",
  host: "origin.example",
  fields: [],
  framing: { kind: "none" },
  expectContinue: false,
  isLast: true,
};

/** Sends `request` to a server that forwards it with `head` to a recording origin which answers `answer`. */
async function forward(upstreamHead: Partial<UpstreamHead>, request: string, answer: string | undefined): Promise<Leg> {
  const origin = await startTcpOrigin(({ socket }) => {
    if (answer !== undefined) socket.once("data", () => socket.write(Buffer.from(answer, "latin1")));
  });
  closing.push(origin.close);
  const forwarder = createForwarder();
  const failures: string[] = [];
  const interims: number[] = [];
  let server: Server;
  const begun = new Promise<{ abort: () => void; outcome: Promise<Outcome> }>((begin) => {
    server = createServer((incoming, response) => {
      const socket: Socket = connect({ port: origin.port, host: "127.0.0.1", allowHalfOpen: true });
      socket.on("error", () => {});
      socket.pause();
      socket.once("connect", () => {
        let abort = (): void => {};
        const outcome = new Promise<Outcome>((settle) => {
          ({ abort } = forwarder(
            incoming,
            response,
            socket,
            { ...head, ...upstreamHead },
            {
              onInterim: (status) => interims.push(status),
              onResponse: (answered) => settle({ kind: "response", response: answered }),
              onFailure: (failure) => {
                failures.push(failure);
                settle({ kind: "failure", failure });
              },
            },
          ));
        });
        begin({ abort, outcome });
      });
    });
    closing.push(() => {
      server.closeAllConnections();
      server.close();
    });
    server.listen(0, "127.0.0.1");
  });
  await once(server!, "listening");
  const address = server!.address();
  const client = await connectRaw(typeof address === "object" && address !== null ? address.port : 0);
  closing.push(client.close);
  client.send(request);
  const leg = await begun;
  return { recording: await origin.recording(0), failures, interims, client, ...leg };
}

async function sentHead({ recording }: Leg): Promise<string> {
  let text = "";
  while (!text.includes("\r\n\r\n")) text = (await recording.waitForBytes(text.length + 1)).toString("latin1");
  return text;
}

const request = "GET /unused?x HTTP/1.1\r\nHost: unused\r\nX-Unused: a\r\nTrailer: X\r\nTE: x\r\n\r\n";
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("the head is the one that was given, and nothing of the request's own", () => {
  const cases: Readonly<Record<string, readonly [head: Partial<UpstreamHead>, wire: string]>> = {
    "a GET": [{}, "GET / HTTP/1.1\r\nHost: origin.example\r\nConnection: close\r\n\r\n"],
    "a path that a URL library would repair": [
      { path: "//a//../b?c=%2b//d#\\" },
      "GET //a//../b?c=%2b//d#\\ HTTP/1.1\r\nHost: origin.example\r\nConnection: close\r\n\r\n",
    ],
    "fields in order, duplicates together, obs-text as it was": [
      { fields: ["X-A", "1", "X-B", "caf\xe9", "x-a", "2"] },
      "GET / HTTP/1.1\r\nHost: origin.example\r\nX-A: 1\r\nX-A: 2\r\nX-B: caf\xe9\r\nConnection: close\r\n\r\n",
    ],
  };
  test.each(Object.entries(cases))("%s", async (_, [upstreamHead, wire]) => {
    const leg = await forward(upstreamHead, request, ok);
    expect(await sentHead(leg)).toBe(wire);
    expect((await leg.outcome).kind).toBe("response");
  });

  test.each(["POST", "DELETE", "OPTIONS", "GET"])("a chunked %s stays chunked, obs-text as it was", async (method) => {
    const incoming = `${method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
    const leg = await forward({ method, framing: { kind: "chunked" }, fields: ["X", "\xff"] }, incoming, undefined);
    const wire = `${method} / HTTP/1.1\r\nHost: origin.example\r\nX: \xff\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
    expect((await leg.recording.waitForBytes(wire.length)).toString("latin1")).toBe(wire);
    leg.abort();
    await leg.recording.ended;
  });

  test("Expect goes out ahead of the body", async () => {
    const incoming = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    const leg = await forward(
      { method: "POST", framing: { kind: "length", bytes: 3 }, expectContinue: true },
      incoming,
      "HTTP/1.1 100 Continue\r\n\r\n",
    );
    const sent = await sentHead(leg);
    expect(sent).toContain("Content-Length: 3\r\nExpect: 100-continue\r\n");
    leg.client.send("abc");
    const whole = await leg.recording.waitForBytes(sent.length + 3);
    expect(whole.toString("latin1")).toBe(`${sent}abc`);
    leg.recording.socket.write(ok);
    await leg.outcome;
    expect(leg.interims).toEqual([100]);
  });
});

describe("the answer", () => {
  test("is the receiver's, whatever comes behind it", async () => {
    const leg = await forward({}, request, `${ok}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON`);
    const outcome = await leg.outcome;
    if (outcome.kind !== "response") throw new Error(outcome.failure);
    const chunks: Buffer[] = [];
    for await (const chunk of outcome.response as AsyncIterable<Buffer>) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe("ok");
    await leg.recording.ended;
    expect(leg.failures).toEqual([]);
  });

  const failures: Readonly<Record<string, readonly [answer: string, failure: string]>> = {
    nonsense: ["nonsense\r\n\r\n", "http_protocol_error"],
    "a switch": ["HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "http_protocol_error"],
    "a head that is too large": [
      `HTTP/1.1 200 OK\r\nX: ${"a".repeat(20_000)}\r\n\r\n`,
      "http_response_header_section_size",
    ],
  };
  test.each(Object.entries(failures))("%s fails once", async (_, [answer, failure]) => {
    const leg = await forward({}, request, answer);
    expect(await leg.outcome).toEqual({ kind: "failure", failure });
    await leg.recording.ended;
    expect(leg.failures).toEqual([failure]);
  });

  test("a reset fails once", async () => {
    const leg = await forward({}, request, undefined);
    await sentHead(leg);
    leg.recording.socket.resetAndDestroy();
    expect(await leg.outcome).toEqual({ kind: "failure", failure: "connection_terminated" });
  });

  test("abort closes the origin's connection and is silent", async () => {
    const leg = await forward({}, request, undefined);
    await sentHead(leg);
    leg.abort();
    await leg.recording.ended;
    expect(leg.failures).toEqual([]);
  });
});

test("what Node says of a broken leg is told in the words of the table", () => {
  const codes = [
    "HPE_HEADER_OVERFLOW",
    "HPE_INVALID_CONSTANT",
    "ECONNRESET",
    "EPIPE",
    "ETIMEDOUT",
    "EWHATEVER",
    undefined,
  ];
  const words = codes.map((code) => causeOf(Object.assign(new Error("x"), code === undefined ? {} : { code }))[0]);
  expect(words).toEqual([
    "http_response_header_section_size",
    "http_protocol_error",
    "connection_terminated",
    "connection_terminated",
    "connection_timeout",
    "proxy_internal_error",
    "proxy_internal_error",
  ]);
});
