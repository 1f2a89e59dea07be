/** Connections to origins that serve more than one request: by whom they are used again, when not, and what then. */
import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Socket } from "node:net";
import { lingerMs } from "../../src/ingress/linger.ts";
import { canSeeFiles, metricAlone, openFiles } from "../support/open-resources.ts";
import { readBody, requestFor } from "../support/plain-http.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type Asked, type TalkingOrigin, okWith, startTalkingOrigin } from "../support/talking-origin.ts";

const policy = {
  rules: [{ id: "plain", hosts: ["*.example.com"], expect: "http", methods: ["GET", "HEAD", "POST"] }],
};

let proxy: Sallyport;
let origin: TalkingOrigin;
let answer: (asked: Asked) => string | undefined;
const clients: RawClient[] = [];
/** Any will do: to ask the proxy is to give it a turn. */
const series = "sallyport_tunnels_active";
let hosts = 0;
/** Of its own for each test, so that none finds a connection of another. */
let host: string;

beforeAll(async () => {
  origin = await startTalkingOrigin((asked) => answer(asked));
  proxy = await startSallyport({
    policy,
    settings: {
      connect_to: [`*:80:127.0.0.1:${origin.port}`],
      log: { paths: true },
      limits: { keepalive_timeout: "1s" },
    },
  });
});
afterAll(async () => {
  for (const client of clients) client.close();
  await proxy.stop();
  await origin.close();
});
beforeEach(() => {
  host = `h${hosts++}.example.com`;
  answer = ({ path }) => okWith(path);
});

async function connectTo({ port }: Sallyport = proxy): Promise<RawClient> {
  const client = await connectRaw(port);
  clients.push(client);
  return client;
}

const get = (path: string, fields: readonly string[] = [], method = "GET"): string =>
  requestFor(path, fields, method, host);

async function fetchOn(client: RawClient, path: string, fields: readonly string[] = []): Promise<string> {
  client.send(get(path, fields));
  const head = await client.readHead();
  return `${head.status} ${await readBody(client, head)}`;
}

/** Numbers of the connections that the requests of this test came by. */
function connectionsUsed(): number[] {
  return origin.asked.filter(({ head }) => head.includes(`Host: ${host}\r\n`)).map(({ connection }) => connection);
}

describe("a connection to an origin is used again", () => {
  test("for the next request of the same client", async () => {
    const client = await connectTo();
    expect(await fetchOn(client, "/1")).toBe("200 /1");
    expect(await fetchOn(client, "/2")).toBe("200 /2");
    expect(new Set(connectionsUsed()).size).toBe(1);
    expect(connectionsUsed().length).toBe(2);
  });

  test("for other clients, one at a time", async () => {
    for (const path of ["/1", "/2", "/3"]) {
      const client = await connectTo();
      expect(await fetchOn(client, path, ["Connection: close"])).toBe(`200 ${path}`);
      expect(await client.waitClose()).toBe("fin");
    }
    expect(new Set(connectionsUsed()).size).toBe(1);
  });

  test("not for two requests at a time", async () => {
    const release: (() => void)[] = [];
    answer = ({ path, socket }) => {
      release.push(() => void socket.write(okWith(path)));
      if (release.length === 2) for (const one of release) one();
      return undefined;
    };
    const [one, two] = [await connectTo(), await connectTo()];
    expect(await Promise.all([fetchOn(one, "/1"), fetchOn(two, "/2")])).toEqual(["200 /1", "200 /2"]);
    expect(new Set(connectionsUsed()).size).toBe(2);
  });

  test("not for another name at the same address", async () => {
    const client = await connectTo();
    await fetchOn(client, "/1");
    const first = connectionsUsed();
    host = `h${hosts++}.example.com`;
    await fetchOn(client, "/2");
    expect(connectionsUsed()).not.toEqual(first);
  });

  test("for a hundred requests that were sent at once, which are answered in their order", async () => {
    const client = await connectTo();
    const paths = Array.from({ length: 100 }, (_, i) => `/${i}`);
    client.send(paths.map((path) => get(path)).join(""));
    for (const path of paths) {
      const head = await client.readHead();
      expect(await readBody(client, head)).toBe(path);
    }
    expect(new Set(connectionsUsed()).size).toBe(1);
  });

  test("after answers without a body, whatever length they tell of", async () => {
    answer = ({ method, path }) => {
      if (path === "/204") return "HTTP/1.1 204 No\r\nContent-Length: 7\r\n\r\n";
      if (path === "/304") return "HTTP/1.1 304 Same\r\nContent-Length: 7\r\n\r\n";
      return method === "HEAD" ? "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" : okWith(path);
    };
    const client = await connectTo();
    client.send([get("/head", [], "HEAD"), get("/204"), get("/304"), get("/last")].join(""));
    const heads = [await client.readHead(), await client.readHead(), await client.readHead(), await client.readHead()];
    expect(heads.map(({ status }) => status)).toEqual([200, 204, 304, 200]);
    expect(await readBody(client, heads[3]!)).toBe("/last");
    expect(new Set(connectionsUsed()).size).toBe(1);
  });

  test("after chunks, which are made anew", async () => {
    answer = () => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n1\r\n!\r\n0\r\nT: v\r\n\r\n";
    const client = await connectTo();
    expect(await fetchOn(client, "/1")).toBe("200 ok!");
    expect(await fetchOn(client, "/2")).toBe("200 ok!");
    expect(new Set(connectionsUsed()).size).toBe(1);
  });
});

describe("a connection is not used again", () => {
  const leavers: Readonly<Record<string, (path: string) => string>> = {
    "after Connection: close": (path) => okWith(path, ["Connection: close"]),
    "after an answer of HTTP/1.0": (path) => okWith(path, ["Connection: keep-alive"]).replace("1.1", "1.0"),
    "after an answer with something behind it": (path) => `${okWith(path)}x`,
    "after two answers to one request": (path) => okWith(path) + okWith("POISON"),
    "after chunks with something behind them": (path) =>
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${path.length}\r\n${path}\r\n0\r\n\r\n${okWith("POISON")}`,
    "after a body where there is none": () => "HTTP/1.1 204 No\r\n\r\nPOISON",
  };
  test.each(Object.entries(leavers))("%s, and the client's goes on", async (name, leave) => {
    answer = ({ path }) => leave(path);
    const [client, other] = [await connectTo(), await connectTo()];
    const expected = (path: string): string => (name.endsWith("there is none") ? "204 " : `200 ${path}`);
    for (const path of ["/1", "/2"]) expect(await fetchOn(client, path)).toBe(expected(path));
    expect(await fetchOn(other, "/3")).toBe(expected("/3"));
    expect(new Set(connectionsUsed()).size).toBe(3);
  });

  test("after an answer that came while nobody had asked", async () => {
    const [client, other] = [await connectTo(), await connectTo()];
    expect(await fetchOn(client, "/1")).toBe("200 /1");
    const { socket } = origin.asked.at(-1)!;
    const closed = once(socket, "close");
    socket.write(okWith("POISON"));
    await closed;
    expect(await fetchOn(other, "/2")).toBe("200 /2");
    expect(new Set(connectionsUsed()).size).toBe(2);
  });

  test("after a client that left in the middle of an answer", async () => {
    answer = ({ path, socket }) => {
      if (path === "/2") return okWith(path);
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
      return undefined;
    };
    const client = await connectTo();
    client.send(get("/1"));
    await client.readHead();
    const { socket } = origin.asked.at(-1)!;
    const closed = once(socket, "close");
    client.close();
    await closed;
    expect(await fetchOn(await connectTo(), "/2")).toBe("200 /2");
    expect(new Set(connectionsUsed()).size).toBe(2);
  });
});

describe("a connection that was used before and breaks", () => {
  /** The first request of each connection is answered; the second meets `fault`. */
  const breaking =
    (fault: (asked: Asked) => void, isFresh = false) =>
    (asked: Asked): string | undefined => {
      if (isFresh ? asked.path !== "/1" : asked.turn === 1) {
        fault(asked);
        return undefined;
      }
      return okWith(asked.path);
    };
  const faults: Readonly<Record<string, (asked: Asked) => void>> = {
    FIN: ({ socket }) => void socket.end(),
    "a reset": ({ socket }) => void socket.resetAndDestroy(),
  };

  test.each(Object.entries(faults))(
    "before a byte of the answer, by %s: one more try on a new one",
    async (_, fault) => {
      for (const method of ["GET", "HEAD"]) {
        host = `h${hosts++}.example.com`;
        answer = breaking(fault);
        const client = await connectTo();
        await fetchOn(client, "/1");
        client.send(get("/2", [], method));
        const head = await client.readHead();
        expect([head.status, method === "HEAD" || (await readBody(client, head))]).toEqual([
          200,
          method === "HEAD" || "/2",
        ]);
        const used = connectionsUsed();
        expect([used.length, new Set(used).size, used[0] === used[1]]).toEqual([3, 2, true]);
      }
    },
  );

  test.each(Object.entries(faults))("on the second try as well, by %s: no third", async (_, fault) => {
    answer = breaking(fault, true);
    const client = await connectTo();
    await fetchOn(client, "/1");
    client.send(get("/2"));
    const head = await client.readHead();
    expect([head.status, head.headers.get("proxy-status")]).toEqual([
      502,
      expect.stringContaining("error=connection_terminated"),
    ]);
    expect(connectionsUsed().length).toBe(3);
  });

  test.each(Object.entries(faults))("on a new one, by %s: no second try", async (_, fault) => {
    answer = (asked) => {
      fault(asked);
      return undefined;
    };
    const client = await connectTo();
    client.send(get("/1"));
    expect((await client.readHead()).status).toBe(502);
    expect(connectionsUsed().length).toBe(1);
  });

  const beginnings: Readonly<Record<string, readonly [text: string, status: number]>> = {
    "a byte": ["H", 502],
    "an interim head": ["HTTP/1.1 103 Early\r\n\r\n", 103],
    "a head": ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200],
  };
  test.each(Object.entries(beginnings))("behind %s: no second try", async (_, [text, status]) => {
    answer = breaking(({ socket }) => void socket.end(text));
    const client = await connectTo();
    await fetchOn(client, "/1");
    client.send(get("/2"));
    expect((await client.readHead()).status).toBe(status);
    if (status === 103) expect((await client.readHead()).status).toBe(502);
    await client.waitClose();
    expect(connectionsUsed().length).toBe(2);
  });

  test("never repeats a request with a body", async () => {
    answer = breaking(({ socket }) => void socket.end());
    const client = await connectTo();
    await fetchOn(client, "/1");
    client.send(`${get("/2", ["Content-Length: 2"], "POST")}hi`);
    const head = await client.readHead();
    // It does not use the connection in the first place.
    expect([head.status, await readBody(client, head)]).toEqual([200, "/2"]);
    expect(new Set(connectionsUsed()).size).toBe(2);
  });
});

describe("a client's connection", () => {
  test("is closed behind an answer that says so", async () => {
    const client = await connectTo();
    client.send(get("/1", ["Connection: close"]) + get("/2"));
    const head = await client.readHead();
    expect([head.headers.get("connection"), head.headers.has("keep-alive")]).toEqual(["close", false]);
    expect((await client.readAll()).toString()).toBe("/1");
    expect(connectionsUsed().length).toBe(1);
  });

  test("is closed when nothing came on it for keepalive_timeout", async () => {
    const client = await connectTo();
    client.send(get("/1"));
    const head = await client.readHead();
    expect(head.headers.get("keep-alive")).toBe("timeout=1");
    expect(await readBody(client, head)).toBe("/1");
    expect(await client.waitClose()).toBe("fin");
  });

  test("takes turns between both lanes", async () => {
    const client = await connectTo();
    const body = "x".repeat(200_000);
    // More than is read ahead: reading stops, and goes on for the body.
    client.send(get("/1") + get("/2") + get("/3", [`Content-Length: ${body.length}`], "POST") + body + get("/4"));
    for (const path of ["/1", "/2", "/3", "/4"]) {
      const head = await client.readHead();
      expect(await readBody(client, head)).toBe(path);
    }
    expect(origin.asked.find(({ path, body: sent }) => path === "/3" && sent === body)).toBeDefined();
  });
});

describe("a connection whose client does not read", () => {
  const huge = 20_000_000;
  const methods = ["GET", "POST"] as const;
  type Method = (typeof methods)[number];
  let bulky: TalkingOrigin;
  let short: Sallyport;
  let patient: Sallyport;
  let lengths: Readonly<Record<Method, number>>;

  beforeAll(async () => {
    // `/huge`, or as many bytes as the path says; then none rests afterwards, so that open files are open clients.
    bulky = await startTalkingOrigin(({ path }) =>
      path === "/huge" ? okWith("y".repeat(huge)) : okWith("y".repeat(Number(path.slice(1))), ["Connection: close"]),
    );
    [short, patient] = await Promise.all([start("1s"), start("60s")]);
    const [ofGet, ofPost] = await Promise.all([untaken("GET"), untaken("POST")]);
    lengths = { GET: ofGet, POST: ofPost };
  });
  afterAll(async () => {
    await Promise.all([short.stop(), patient.stop()]);
    await bulky.close();
  });

  const start = (bodyIdle: string): Promise<Sallyport> =>
    startSallyport({
      policy,
      settings: {
        connect_to: [`*:80:127.0.0.1:${bulky.port}`],
        limits: { body_idle_timeout: bodyIdle, keepalive_timeout: "1s" },
      },
    });
  const fieldsOf = (method: Method): readonly string[] => (method === "POST" ? ["Content-Length: 0"] : []);

  /** As much as the proxy gives away for a client that reads nothing: the last part of it has to wait. */
  async function untaken(method: Method): Promise<number> {
    const own = `h${hosts++}.example.com`;
    const raw = (await connectTo(short)).detach();
    raw.write(requestFor("/huge", fieldsOf(method), method, own));
    const { bytes_down: bytes, outcome } = await short.logged((line) => line["host"] === own);
    raw.destroy();
    expect([outcome, Number(bytes) < huge]).toEqual(["idle_timeout", true]);
    return Number(bytes);
  }

  const lengthOf = (i: number, method: Method): number => lengths[method] + 150_000 - i * 25_000;

  /** Asks for answers round that length, so that some are whole and wait in the proxy for their last part to be taken. */
  async function askForMany(
    of: Sallyport,
    method: Method,
    fields: readonly string[],
    own: string,
  ): Promise<readonly Socket[]> {
    const sockets: Socket[] = [];
    for (let i = 0; i < 20; i++) {
      const raw = (await connectTo(of)).detach();
      raw.write(requestFor(`/${lengthOf(i, method)}`, [...fieldsOf(method), ...fields], method, own));
      sockets.push(raw);
    }
    return sockets;
  }

  test.skipIf(!canSeeFiles).each(methods)("is closed when the end of an answer to %s is never read", async (method) => {
    const before = openFiles(short);
    const sockets = await askForMany(short, method, [], host);
    await short.logged((line) => line["host"] === host);
    while (openFiles(short) > before) await metricAlone(short, series);
    expect(await metricAlone(short, series)).toBe(0);
    for (const socket of sockets) socket.destroy();
  });

  test.concurrent.each(methods)("gets the whole of a last answer to %s, however late it reads", async (method) => {
    const sockets = await askForMany(patient, method, ["Connection: close"], `h${hosts++}.example.com`);
    // Longer than a connection lingers that has been told all.
    await new Promise((later) => setTimeout(later, 2 * lingerMs));
    const received = sockets.map(async (socket) => {
      let bytes = 0;
      socket.on("data", (chunk: Buffer) => (bytes += chunk.length));
      socket.resume();
      await once(socket, "end");
      socket.destroy();
      return bytes;
    });
    for (const [i, bytes] of (await Promise.all(received)).entries())
      expect(bytes).toBeGreaterThan(lengthOf(i, method));
  });
});

describe("at the end", () => {
  test("thousands of requests have left no warning", async () => {
    const client = await connectTo();
    for (let round = 0; round < 20; round++) {
      const paths = Array.from({ length: 100 }, (_, i) => `/${round}-${i}`);
      client.send(paths.map((path) => get(path)).join(""));
      for (const path of paths) {
        const head = await client.readHead();
        expect(await readBody(client, head)).toBe(path);
      }
    }
    expect(new Set(connectionsUsed()).size).toBe(1);
    expect(proxy.stderr()).not.toMatch(/warning: .*listener|MaxListeners/i);
  });

  test("it exits at once, though connections to origins rest", async () => {
    const other = await startSallyport({
      policy,
      settings: { connect_to: [`*:80:127.0.0.1:${origin.port}`] },
    });
    const client = await connectTo(other);
    await fetchOn(client, "/1");
    client.close();
    const { socket } = origin.asked.at(-1)!;
    const closed = once(socket, "close");
    const startedAt = performance.now();
    expect(await other.stop()).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(5000);
    await closed;
  });
});
