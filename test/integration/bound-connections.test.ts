/**
 * Authentication that holds for a connection (NTLM, Negotiate): the connection to the origin is its client's alone, in
 * both lanes, and ends with it.
 */
import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readBody, requestFor } from "../support/plain-http.ts";
import { type RawClient, connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type Asked, type TalkingOrigin, okWith, startTalkingOrigin } from "../support/talking-origin.ts";

let proxy: Sallyport;
let origin: TalkingOrigin;
const clients: RawClient[] = [];
let hosts = 0;
/** Who a connection is known as, and whom it has challenged, by its number. */
const known = new Map<number, string>();
const challenged = new Map<number, string>();

/** Authenticates connections as IIS does: negotiate, challenge, authenticate, and no field at all from then on. */
function authenticate({ connection, head, body, method }: Asked): string {
  const [, scheme = "NTLM", token] = /^authorization: (NTLM|Negotiate) (\S+)\r$/im.exec(head) ?? [];
  const denied = (challenge: string): string =>
    `HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: ${challenge}\r\nContent-Length: 2\r\n\r\n${method === "HEAD" ? "" : "no"}`;
  if (token?.startsWith("type1-") === true) {
    challenged.set(connection, token.slice(6));
    return denied(`${scheme} type2-${token.slice(6)}`);
  }
  if (token?.startsWith("type3-") === true) {
    const user = token.slice(6);
    // The answer to a challenge counts where that was given, and nowhere else.
    if (challenged.get(connection) !== user) return denied("NTLM");
    known.set(connection, user);
  }
  const user = known.get(connection);
  if (user === undefined) return denied("Negotiate, NTLM");
  return okWith(method === "HEAD" ? "" : `${user}${body}`);
}

beforeAll(async () => {
  origin = await startTalkingOrigin((asked) =>
    asked.path === "/close" ? okWith("", ["Connection: close"]) : authenticate(asked),
  );
  proxy = await startSallyport({
    policy: { rules: [{ id: "plain", hosts: ["*.example.com"], expect: "http", methods: ["GET", "HEAD", "POST"] }] },
    settings: { connect_to: [`*:80:127.0.0.1:${origin.port}`], log: { paths: true } },
  });
});
afterAll(async () => {
  for (const client of clients) client.close();
  await proxy.stop();
  await origin.close();
});

type Person = {
  readonly raw: RawClient;
  /** Status, challenge and body of the answer. */
  readonly ask: (method: string, authorization?: string, body?: string, path?: string) => Promise<string>;
};

const newHost = (): string => `h${hosts++}.example.com`;

async function person(host: string): Promise<Person> {
  const raw = await connectRaw(proxy.port);
  clients.push(raw);
  return {
    raw,
    ask: async (method, authorization, body, path = "/") => {
      const fields = [
        ...(authorization === undefined ? [] : [`Authorization: ${authorization}`]),
        ...(body === undefined ? [] : [`Content-Length: ${body.length}`]),
      ];
      raw.send(requestFor(path, fields, method, host) + (body ?? ""));
      const head = await raw.readHead();
      const text = method === "HEAD" ? "" : await readBody(raw, head);
      return [head.status, head.headers.get("www-authenticate"), text].filter((part) => part !== undefined).join(" ");
    },
  };
}

/** Numbers of the connections by which requests for the host came. */
function usedFor(host: string): number[] {
  return origin.asked.filter(({ head }) => head.includes(`Host: ${host}\r\n`)).map(({ connection }) => connection);
}

describe.each(["NTLM", "Negotiate"])("%s", (scheme) => {
  test.each(["GET", "HEAD", "POST"])("by %s: the whole handshake is on one connection", async (method) => {
    const host = newHost();
    const { ask } = await person(host);
    const body = method === "POST" ? "" : undefined;
    const no = method === "HEAD" ? "" : "no";
    expect(await ask(method, `${scheme} type1-ann`, body)).toBe(`401 ${scheme} type2-ann ${no}`);
    const sent = method === "POST" ? "&a=b" : undefined;
    expect(await ask(method, `${scheme} type3-ann`, sent)).toBe(method === "HEAD" ? "200 " : `200 ann${sent ?? ""}`);
    // It stays known, without another word about it.
    expect(await ask(method, undefined, sent)).toBe(method === "HEAD" ? "200 " : `200 ann${sent ?? ""}`);
    expect(new Set(usedFor(host)).size).toBe(1);
  });

  test.each([
    ["GET", "POST"],
    ["POST", "GET"],
  ])("begun by %s, ended by %s", async (first, second) => {
    const host = newHost();
    const { ask } = await person(host);
    const bodyOf = (method: string, body: string): string | undefined => (method === "POST" ? body : undefined);
    expect(await ask(first, `${scheme} type1-ann`, bodyOf(first, ""))).toBe(`401 ${scheme} type2-ann no`);
    expect(await ask(second, `${scheme} type3-ann`, bodyOf(second, "!"))).toBe(`200 ann${bodyOf(second, "!") ?? ""}`);
    for (const method of ["GET", "POST", "POST", "GET"]) {
      expect(await ask(method, undefined, bodyOf(method, "?"))).toBe(`200 ann${bodyOf(method, "?") ?? ""}`);
    }
    expect(new Set(usedFor(host)).size).toBe(1);
  });
});

test("two clients at once have a connection each, and neither is taken for the other", async () => {
  const host = newHost();
  const [ann, bob] = [await person(host), await person(host)];
  expect(await ann.ask("GET")).toBe("401 Negotiate, NTLM no");
  expect(await bob.ask("GET")).toBe("401 Negotiate, NTLM no");
  expect(await ann.ask("GET", "NTLM type1-ann")).toContain("type2-ann");
  expect(await bob.ask("POST", "NTLM type1-bob", "")).toContain("type2-bob");
  expect(await ann.ask("POST", "NTLM type3-ann", "1")).toBe("200 ann1");
  expect(await bob.ask("GET", "NTLM type3-bob")).toBe("200 bob");
  for (const method of ["GET", "POST", "GET"]) {
    const body = method === "POST" ? "2" : undefined;
    expect(await ann.ask(method, undefined, body)).toBe(`200 ann${body ?? ""}`);
    expect(await bob.ask(method, undefined, body)).toBe(`200 bob${body ?? ""}`);
  }
});

test("who is not known does not become so by another's connection, at rest or closed", async () => {
  const host = newHost();
  const ann = await person(host);
  await ann.ask("GET", "NTLM type1-ann");
  expect(await ann.ask("GET", "NTLM type3-ann")).toBe("200 ann");
  const mallory = await person(host);
  for (const method of ["GET", "POST"]) {
    const body = method === "POST" ? "" : undefined;
    expect(await mallory.ask(method, undefined, body)).toBe("401 Negotiate, NTLM no");
  }
  const { socket } = origin.asked.find(
    ({ connection }) => known.get(connection) === "ann" && usedFor(host).includes(connection),
  )!;
  const closed = once(socket, "close");
  ann.raw.close();
  await closed;
  expect(await mallory.ask("GET")).toBe("401 Negotiate, NTLM no");
  expect(await mallory.ask("POST", undefined, "")).toBe("401 Negotiate, NTLM no");
});

test("a connection that was challenged is not given to others either", async () => {
  const host = newHost();
  const ann = await person(host);
  expect(await ann.ask("GET")).toBe("401 Negotiate, NTLM no");
  const bob = await person(host);
  expect(await bob.ask("GET")).toBe("401 Negotiate, NTLM no");
  expect(new Set(usedFor(host)).size).toBe(2);
});

test("a client that is known to two origins stays known to both", async () => {
  const [one, two] = [newHost(), newHost()];
  const { raw } = await person(one);
  const ask = async (host: string, authorization?: string): Promise<string> => {
    raw.send(requestFor("/", authorization === undefined ? [] : [`Authorization: ${authorization}`], "GET", host));
    const head = await raw.readHead();
    return `${head.status} ${await readBody(raw, head)}`;
  };
  await ask(one, "NTLM type1-ann");
  await ask(two, "NTLM type1-bob");
  expect(await ask(one, "NTLM type3-ann")).toBe("200 ann");
  expect(await ask(two, "NTLM type3-bob")).toBe("200 bob");
  expect([await ask(one), await ask(two), await ask(one)]).toEqual(["200 ann", "200 bob", "200 ann"]);
});

test("a connection that the origin closes is not missed: the next request dials another", async () => {
  const host = newHost();
  const { ask } = await person(host);
  await ask("POST", "NTLM type1-ann", "");
  expect(await ask("POST", "NTLM type3-ann", "1")).toBe("200 ann1");
  const { socket } = origin.asked.at(-1)!;
  const closed = once(socket, "close");
  socket.end();
  await closed;
  expect(await ask("POST", undefined, "2")).toBe("401 Negotiate, NTLM no");
  expect(new Set(usedFor(host)).size).toBe(2);
});

test.each(["GET", "POST"])("Connection: close from the origin ends it: %s", async (method) => {
  const host = newHost();
  const { ask } = await person(host);
  const body = method === "POST" ? "" : undefined;
  expect(await ask(method, "NTLM type1-ann", body, "/close")).toBe("200 ");
  expect(await ask(method, "NTLM type3-ann", body)).toBe("401 NTLM no");
  expect(new Set(usedFor(host)).size).toBe(2);
});

test("other requests with a body still have a connection for one", async () => {
  const host = newHost();
  const { ask } = await person(host);
  await ask("POST", "Basic eA==", "1", "/close");
  expect(origin.asked.at(-1)?.head).toMatch(/^connection: close\r$/im);
  await ask("POST", "NTLM type1-ann", "");
  expect(origin.asked.at(-1)?.head).not.toMatch(/^connection:/im);
});

describe("guards hold on a bound connection as on any other: POST that is answered with", () => {
  let own: TalkingOrigin;
  let other: Sallyport;
  let answerAll: (asked: Asked) => string | undefined;
  let host: string;
  beforeAll(async () => {
    own = await startTalkingOrigin((asked) => answerAll(asked));
    other = await startSallyport({
      policy: { rules: [{ id: "plain", hosts: ["*.example.com"], expect: "http", methods: ["POST"] }] },
      settings: { connect_to: [`*:80:127.0.0.1:${own.port}`] },
    });
  });
  beforeEach(() => {
    host = newHost();
  });
  afterAll(async () => {
    await other.stop();
    await own.close();
  });

  const broken: Readonly<Record<string, readonly [answer: string, status: number, error: string]>> = {
    "two lengths": ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 502, "http_protocol_error"],
    "no head": ["SSH-2.0-x\r\n\r\n", 502, "http_protocol_error"],
    "another protocol": ["HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502, "http_protocol_error"],
    "407": ["HTTP/1.1 407 X\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n", 502, "http_protocol_error"],
    "a head beyond all measure": [
      `HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}\r\n\r\n`,
      502,
      "http_response_header_section_size",
    ],
    "too many interim heads": [
      `${"HTTP/1.1 103 \r\n\r\n".repeat(17)}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`,
      502,
      "http_protocol_error",
    ],
  };
  test.each(Object.entries(broken))("%s", async (_, [answer, status, error]) => {
    answerAll = () => answer;
    const raw = await connectRaw(other.port);
    clients.push(raw);
    raw.send(requestFor("/", ["Authorization: NTLM x", "Content-Length: 0"], "POST", host));
    let head = await raw.readHead();
    while (head.status === 103) head = await raw.readHead();
    expect([head.status, head.headers.get("proxy-status")]).toEqual([status, expect.stringContaining(error)]);
    raw.close();
  });

  test("a part of its body: the client's is broken off", async () => {
    answerAll = ({ socket }) => {
      socket.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
      return undefined;
    };
    const raw = await connectRaw(other.port);
    clients.push(raw);
    raw.send(requestFor("/", ["Authorization: NTLM x", "Content-Length: 0"], "POST", host));
    await raw.readHead();
    await raw.waitClose();
    expect(raw.pending().toString()).not.toContain("\r\n0\r\n");
    expect(await other.logged((line) => line["host"] === host)).toMatchObject({
      outcome: "http_response_incomplete",
      closed_by: "upstream",
    });
  });
});

test("a large answer and a large upload pass over a bound connection as they are, in chunks or by length", async () => {
  const large = Array.from({ length: 400_000 }, (_, i) => String(i % 10)).join("");
  const own = await startTalkingOrigin(({ path, body }) => {
    if (path === "/chunks") {
      const chunks = Array.from({ length: 40 }, (_, i) => `2710\r\n${large.slice(i * 10_000, (i + 1) * 10_000)}\r\n`);
      return `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks.join("")}0\r\n\r\n`;
    }
    return okWith(body);
  });
  const other = await startSallyport({
    policy: { rules: [{ id: "plain", hosts: ["*.example.com"], expect: "http", methods: ["GET", "POST"] }] },
    settings: { connect_to: [`*:80:127.0.0.1:${own.port}`] },
  });
  const raw = await connectRaw(other.port);
  clients.push(raw);
  for (const path of ["/chunks", "/echo", "/chunks", "/echo"]) {
    const fields = ["Authorization: NTLM x", `Content-Length: ${large.length}`];
    raw.send(requestFor(path, fields, "POST", "a.example.com") + large);
    const head = await raw.readHead();
    expect(await readBody(raw, head)).toBe(large);
  }
  expect(own.connections()).toBe(1);
  raw.close();
  await other.stop();
  await own.close();
});
