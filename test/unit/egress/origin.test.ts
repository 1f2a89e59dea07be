/** One upstream connection and its answers: where each ends, and what becomes of the connection. */
import { once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import { createUpstreams } from "../../support/upstream.ts";

const upstreams = createUpstreams();
afterEach(() => upstreams.close());

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

type Answer = {
  readonly method?: string;
  readonly answer: string;
  /** What the peer does behind it. */
  readonly ending?: "fin" | "reset";
  readonly events: readonly string[];
  readonly body?: string;
  /** Whether another request may follow. */
  readonly rests: boolean;
};

const answers: Readonly<Record<string, Answer>> = {
  "a length": { answer: ok, events: ["head 200 length", "end"], body: "ok", rests: true },
  "a length of nothing": {
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    events: ["head 200 length", "end"],
    rests: true,
  },
  chunks: {
    answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n2;a=b\r\nk!\r\n0\r\nX: y\r\n\r\n",
    events: ["head 200 chunked", "end"],
    body: "ok!",
    rests: true,
  },
  "no body to HEAD, whatever its length": {
    method: "HEAD",
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    events: ["head 200 none", "end"],
    rests: true,
  },
  "no body to HEAD, in chunks": {
    method: "HEAD",
    answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    events: ["head 200 none", "end"],
    rests: true,
  },
  "204": {
    answer: "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n",
    events: ["head 204 none", "end"],
    rests: true,
  },
  "304 with a length": {
    answer: "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
    events: ["head 304 none", "end"],
    rests: true,
  },
  "a body where there is none": {
    method: "HEAD",
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    events: ["head 200 none", "end"],
    rests: false,
  },
  "interim heads before it": {
    answer: `HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 102 \r\n\r\n${ok}`,
    events: ["interim 103", "interim 102", "head 200 length", "end"],
    body: "ok",
    rests: true,
  },
  "more than its length": {
    answer: `${ok}!`,
    events: ["head 200 length", "end"],
    body: "ok",
    rests: false,
  },
  "a second answer behind it": { answer: ok + ok, events: ["head 200 length", "end"], body: "ok", rests: false },
  "a second answer behind chunks": {
    answer: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${ok}`,
    events: ["head 200 chunked", "end"],
    body: "ok",
    rests: false,
  },
  "Connection: close": {
    answer: "HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 2\r\n\r\nok",
    events: ["head 200 length", "end"],
    body: "ok",
    rests: false,
  },
  "HTTP/1.0 with a length, whatever it says of the connection": {
    answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    events: ["head 200 length", "end"],
    body: "ok",
    rests: false,
  },
  "up to the end of the connection": {
    answer: "HTTP/1.1 200 OK\r\n\r\nok",
    ending: "fin",
    events: ["head 200 until_close", "end"],
    body: "ok",
    rests: false,
  },
  "up to the end of the connection, in HTTP/1.0": {
    answer: "HTTP/1.0 200 OK\r\n\r\nok",
    ending: "fin",
    events: ["head 200 until_close", "end"],
    body: "ok",
    rests: false,
  },
  "up to a reset, which is no end": {
    answer: "HTTP/1.0 200 OK\r\n\r\nok",
    ending: "reset",
    events: ["head 200 until_close", "http_response_incomplete"],
    body: "ok",
    rests: false,
  },
  "less than its length": {
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
    ending: "fin",
    events: ["head 200 length", "http_response_incomplete"],
    body: "ok",
    rests: false,
  },
  "chunks without the last": {
    answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ending: "fin",
    events: ["head 200 chunked", "http_response_incomplete"],
    body: "ok",
    rests: false,
  },
  "chunks that are none": {
    answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx",
    events: ["head 200 chunked", "http_protocol_error"],
    body: "ok",
    rests: false,
  },
  "nothing, and FIN": { answer: "", ending: "fin", events: ["connection_terminated, unheard"], rests: false },
  "nothing, and a reset": { answer: "", ending: "reset", events: ["connection_terminated, unheard"], rests: false },
  "a byte, and FIN": { answer: "H", ending: "fin", events: ["connection_terminated"], rests: false },
  "an interim head, and FIN": {
    answer: "HTTP/1.1 103 \r\n\r\n",
    ending: "fin",
    events: ["interim 103", "connection_terminated"],
    rests: false,
  },
  "no head": { answer: "SSH-2.0-x\r\n", events: ["http_protocol_error"], rests: false },
  "a head beyond all measure": {
    answer: `HTTP/1.1 200 OK\r\nX: ${"x".repeat(17_000)}`,
    events: ["http_response_header_section_size"],
    rests: false,
  },
  "two lengths": {
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    events: ["http_protocol_error"],
    rests: false,
  },
  "another protocol": {
    answer: "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    events: ["http_protocol_error"],
    rests: false,
  },
};

describe("an answer that has", () => {
  test.each(Object.entries(answers))("%s", async (_, { method, answer, ending, events, body = "", rests }) => {
    const { origin, peer, ask, closed, problems } = await upstreams.openOrigin();
    const told = ask(method);
    await once(peer, "data");
    // A reset must not overtake what was sent before it.
    if (answer !== "") {
      peer.write(Buffer.from(answer, "latin1"));
      if (ending === "reset") await until(() => told.body.length === body.length && told.events.length > 0);
    }
    if (ending === "fin") peer.end();
    if (ending === "reset") peer.resetAndDestroy();
    await told.over;
    expect(told.events).toEqual(events);
    expect(told.body.toString("latin1")).toBe(body);
    expect(origin.isResting()).toBe(rests);
    if (!rests) await closed;
    expect(problems).toEqual([]);
  });
});

test.each(["a length", "chunks", "interim heads before it", "304 with a length"])(
  "cut at every byte, it is the same answer: %s",
  async (name) => {
    const { method, answer, events, body = "" } = answers[name] ?? { events: [], answer: "" };
    const { peer, ask } = await upstreams.openOrigin();
    peer.on("data", () => {});
    // One connection takes them all, so each has to end where it ends.
    for (let cut = 1; cut < answer.length; cut++) {
      const told = ask(method);
      peer.write(answer.slice(0, cut), "latin1");
      await delivered(peer);
      peer.write(answer.slice(cut), "latin1");
      await told.over;
      expect([cut, told.events, told.body.toString()]).toEqual([cut, events, body]);
    }
  },
);

test("byte by byte, it is the same answer", async () => {
  const { answer = "", events, body } = answers["interim heads before it"] ?? { events: [] };
  const { peer, ask } = await upstreams.openOrigin();
  const told = ask();
  for (const byte of answer) {
    peer.write(byte, "latin1");
    await delivered(peer);
  }
  await told.over;
  expect([told.events, told.body.toString()]).toEqual([events, body]);
});

test("many requests leave nothing on the socket", async () => {
  const { socket, peer, ask } = await upstreams.openOrigin();
  peer.on("data", () => void peer.write(ok));
  const before = socket.eventNames().map((name) => socket.listenerCount(name));
  for (let i = 0; i < 50; i++) {
    const told = ask();
    await told.over;
    expect(told.events).toEqual(["head 200 length", "end"]);
  }
  expect(socket.eventNames().map((name) => socket.listenerCount(name))).toEqual(before);
});

describe("a connection that rests", () => {
  const faults = {
    "is closed by a byte that nobody asked for": (peer) => void peer.write("H"),
    "is closed by an answer that nobody asked for": (peer) => void peer.write(ok),
    "is closed by FIN": (peer) => void peer.end(),
    "is closed by a reset": (peer) => void peer.resetAndDestroy(),
  } satisfies Record<string, (peer: Awaited<ReturnType<typeof upstreams.openOrigin>>["peer"]) => void>;
  test.each(Object.entries(faults))("%s, and says so once", async (_, fault) => {
    const { origin, peer, ask, closed } = await upstreams.openOrigin();
    const told = ask();
    await once(peer, "data");
    peer.write(ok);
    await told.over;
    let gone = 0;
    origin.onGone(() => (gone += 1));
    fault(peer);
    await closed;
    expect([gone, origin.isResting(), told.events]).toEqual([1, false, ["head 200 length", "end"]]);
  });
});

test("a receiver that throws is told of a fault of the proxy, and the connection is closed", async () => {
  const { origin, peer, closed, problems } = await upstreams.openOrigin();
  const bug = new Error("a bug");
  const failures: string[] = [];
  origin.ask("GET", "GET / HTTP/1.1\r\n\r\n", {
    onInterim: () => {},
    onAnswer: () => {
      throw bug;
    },
    onBody: () => "used",
    onPause: () => {},
    onEnd: () => void failures.push("end"),
    onFailure: (failure) => void failures.push(failure),
  });
  peer.write(ok);
  await closed;
  expect([failures, problems]).toEqual([["proxy_internal_error"], [bug]]);
});

test("nothing is told after destroy, in whatever state", async () => {
  for (const said of ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"]) {
    const { origin, socket, peer, ask, closed } = await upstreams.openOrigin();
    const told = ask();
    if (said !== "") {
      peer.write(said);
      await until(() => socket.bytesRead === said.length);
    }
    const before = told.events.length;
    origin.destroy();
    expect(origin.isResting()).toBe(false);
    await closed;
    expect(told.events.length).toBe(before);
  }
});

test("a thousand tiny chunks in one piece are one part of the body", async () => {
  const { origin, peer } = await upstreams.openOrigin();
  const parts: number[] = [];
  const ended = new Promise<void>((fulfil, reject) => {
    origin.ask("GET", "GET / HTTP/1.1\r\n\r\n", {
      onInterim: () => {},
      onAnswer: () => {},
      onBody: (bytes) => {
        parts.push(bytes.length);
        return "used";
      },
      onPause: () => {},
      onEnd: fulfil,
      onFailure: (failure) => reject(new Error(failure)),
    });
  });
  peer.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${"1\r\nx\r\n".repeat(1000)}0\r\n\r\n`);
  await ended;
  expect(parts.reduce((sum, one) => sum + one)).toBe(1000);
  // One for each read of the socket, not for each chunk.
  expect(parts.length).toBeLessThan(5);
});

test("an answer that still waits for its reader is not written over by the next one", async () => {
  const { origin, peer } = await upstreams.openOrigin();
  peer.on("data", () => {});
  const bodies: Buffer[] = [];
  const fetch = (fill: string): Promise<void> => {
    const ended = new Promise<void>((fulfil, reject) => {
      origin.ask("GET", "GET / HTTP/1.1\r\n\r\n", {
        onInterim: () => {},
        onAnswer: () => {},
        onBody: (bytes) => {
          bodies.push(bytes);
          return "full";
        },
        onPause: () => {},
        onEnd: fulfil,
        onFailure: (failure) => reject(new Error(failure)),
      });
    });
    peer.write(`HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n${fill.repeat(4000)}`);
    return ended;
  };
  const fills = ["a", "b", "c", "d"];
  for (const fill of fills) await fetch(fill);
  expect(bodies.map((body) => body.toString())).toEqual(fills.map((fill) => fill.repeat(4000)));
});

/** What was written is in the other end's kernel, and its loop has had a turn to read it. */
async function delivered(peer: { readonly writableLength: number }): Promise<void> {
  await until(() => peer.writableLength === 0);
  await new Promise((turn) => setImmediate(turn));
  await new Promise((turn) => setImmediate(turn));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((turn) => setImmediate(turn));
}
