/**
 * Attack: an origin that is broken or hostile. Whatever it sends, the client gets a whole answer, a 502, or a
 * connection that visibly breaks; never a clean end of half an answer, and never two answers for one request.
 */
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PlainHttp,
  type Script,
  exchange,
  expectServing,
  lineOf,
  ok,
  readBody,
  requestFor,
  startPlainHttp,
} from "../support/plain-http.ts";

let plain: PlainHttp;
beforeAll(async () => {
  plain = await startPlainHttp({
    settings: { limits: { response_head_timeout: "300ms", body_idle_timeout: "400ms" } },
  });
});
afterAll(() => plain.stop());

let number = 0;
/** A path of its own for each test, so that no two share a log line. */
function script(what: Script): string {
  number += 1;
  const path = `/response-${number}`;
  plain.scripts.set(path, what);
  return path;
}

describe("an answer that is none becomes a 502 with a cause", () => {
  const head = (...lines: string[]): string => ["HTTP/1.1 200 OK", ...lines, "", ""].join("\r\n");
  const cases: Readonly<Record<string, readonly [answer: string, outcome: string]>> = {
    "status 000": ["HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"],
    "status 099": ["HTTP/1.1 099 Nothing\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"],
    "status 99": ["HTTP/1.1 99 Nothing\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"],
    "status 600": ["HTTP/1.1 600 Beyond\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"],
    "status 1000": ["HTTP/1.1 1000 Beyond\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"],
    "a control byte in the reason phrase": [
      "HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok",
      "http_protocol_error",
    ],
    "an escape in the reason phrase": ["HTTP/1.1 200 \x1b[31mOK\r\nContent-Length: 2\r\n\r\nok", "http_protocol_error"],
    "a control byte in a field": [`${head("X: a\x01b", "Content-Length: 2")}ok`, "http_protocol_error"],
    "NUL in a field": [`${head("X: a\x00b", "Content-Length: 2")}ok`, "http_protocol_error"],
    "a bare CR in a field": [`${head("X: a\rSet-Cookie: b=c", "Content-Length: 2")}ok`, "http_protocol_error"],
    "a bare LF between fields": ["HTTP/1.1 200 OK\r\nX: a\nY: b\r\nContent-Length: 2\r\n\r\nok", "http_protocol_error"],
    "lines that end in LF": ["HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "http_protocol_error"],
    "a folded field": [`${head("X: a", " b", "Content-Length: 2")}ok`, "http_protocol_error"],
    "a space before the colon": [`${head("X : a", "Content-Length: 2")}ok`, "http_protocol_error"],
    "a name with a space": [`${head("X Y: a", "Content-Length: 2")}ok`, "http_protocol_error"],
    "a name in brackets": [`${head("X(Y): a", "Content-Length: 2")}ok`, "http_protocol_error"],
    "an empty name": [`${head(": a", "Content-Length: 2")}ok`, "http_protocol_error"],
    "two lengths": [`${head("Content-Length: 2", "Content-Length: 2")}ok`, "http_protocol_error"],
    "two different lengths": [`${head("Content-Length: 2", "Content-Length: 3")}ok`, "http_protocol_error"],
    "a list of lengths": [`${head("Content-Length: 2, 2")}ok`, "http_protocol_error"],
    "a length that is no number": [`${head("Content-Length: +2")}ok`, "http_protocol_error"],
    "a length and chunks": [
      `${head("Content-Length: 2", "Transfer-Encoding: chunked")}2\r\nok\r\n0\r\n\r\n`,
      "http_protocol_error",
    ],
    "chunks and a length": [
      `${head("Transfer-Encoding: chunked", "Content-Length: 2")}2\r\nok\r\n0\r\n\r\n`,
      "http_protocol_error",
    ],
    "chunked twice": [`${head("Transfer-Encoding: chunked, chunked")}2\r\nok\r\n0\r\n\r\n`, "http_protocol_error"],
    "another coding": [`${head("Transfer-Encoding: gzip")}ok`, "http_protocol_error"],
    "no status line": ["ok, this is no HTTP\r\n\r\n", "http_protocol_error"],
    "HTTP/0.9": ["<html>ok</html>", "http_protocol_error"],
    "another major version": ["HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "http_protocol_error"],
    "the banner of another protocol": ["SSH-2.0-OpenSSH_9.6\r\n", "http_protocol_error"],
    "credentials for a proxy": [
      `HTTP/1.1 407 P\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n`,
      "http_protocol_error",
    ],
    "an unsolicited switch": [
      "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n",
      "http_protocol_error",
    ],
    "an unsolicited switch to nothing": [`HTTP/1.1 101 S\r\n\r\n${ok}`, "http_protocol_error"],
    "a head larger than 16 KiB": [
      `${head(`X: ${"a".repeat(20_000)}`, "Content-Length: 2")}ok`,
      "http_response_header_section_size",
    ],
    "more fields than can be kept": [
      `${head(...Array.from({ length: 2100 }, () => "a:b"), "Content-Length: 2")}ok`,
      "http_response_header_section_size",
    ],
    "a chunk that is none, in one segment with the head": [
      `${head("Transfer-Encoding: chunked")}zz\r\n`,
      "http_protocol_error",
    ],
    "nothing at all": ["", "connection_terminated"],
    "half a head": ["HTTP/1.1 200 OK\r\nContent-Le", "connection_terminated"],
    "a thousand interim answers": [`${"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)}${ok}`, "http_protocol_error"],
    "no end of interim answers": ["HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20_000), "http_protocol_error"],
    "interim answers of 16 KiB each": [
      `HTTP/1.1 103 E\r\nX: ${"a".repeat(15_000)}\r\n\r\n`.repeat(30),
      "http_protocol_error",
    ],
    "an interim answer with a broken field": [`HTTP/1.1 103 E\r\nX: a\x00b\r\n\r\n${ok}`, "http_protocol_error"],
    "a head of a megabyte": [
      `${head(`X: ${"a".repeat(1_048_576)}`, "Content-Length: 2")}ok`,
      "http_response_header_section_size",
    ],
    "a coding and HTTP/1.0": [
      `${head("Transfer-Encoding: chunked, identity").replace("1.1", "1.0")}2\r\nok\r\n0\r\n\r\n`,
      "http_protocol_error",
    ],
    "seventeen interim answers": [`${"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17)}${ok}`, "http_protocol_error"],
  };
  test.each(Object.entries(cases))("%s", async (_, [answer, outcome]) => {
    const path = script(answer);
    const client = await plain.connect();
    client.send(requestFor(path));
    let last = await client.readHead();
    while (last.status < 200) last = await client.readHead();
    expect(last.status).toBe(502);
    expect(last.headers.get("proxy-status")).toBe(`sallyport; error=${outcome}`);
    expect(last.headers.get("connection")).toBe("close");
    expect(last.headers.has("x-sallyport-reason")).toBe(false);
    expect(await lineOf(plain, path)).toMatchObject({
      verdict: "allow",
      reason: "allowed",
      status: 502,
      outcome,
      rule: "site/plain",
    });
    expect(await client.waitClose()).toBe("fin");
    await (
      await plain.origin.recording(plain.origin.connections() - 1)
    ).ended;
    await expectServing(plain);
  });

  test("a reset before the head", async () => {
    const path = script(({ socket }) => void socket.resetAndDestroy());
    const { head: answer } = await exchange(plain, requestFor(path));
    expect([answer.status, answer.headers.get("proxy-status")]).toEqual([
      502,
      "sallyport; error=connection_terminated",
    ]);
  });

  test("a head does not wait for a body that takes its time, and obs-text in it is exact", async () => {
    let sendBody: () => void = () => {};
    const path = script(({ socket }) => {
      socket.write(Buffer.from(head("Content-Length: 2", "X: caf\xe9"), "latin1"));
      sendBody = () => void socket.write("ok");
    });
    const client = await plain.connect();
    client.send(requestFor(path));
    const answer = await client.readHead();
    expect([answer.status, answer.headers.get("x")]).toEqual([200, "caf\xe9"]);
    sendBody();
    expect(await readBody(client, answer)).toBe("ok");
  });

  test("a head that comes a byte at a time is a 504 all the same", async () => {
    let timer: NodeJS.Timeout | undefined;
    const path = script(({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\nX: ");
      timer = setInterval(() => socket.write("a"), 20);
      socket.once("close", () => clearInterval(timer));
    });
    const { head: answer } = await exchange(plain, requestFor(path)).finally(() => clearInterval(timer));
    expect([answer.status, answer.headers.get("proxy-status")]).toEqual([
      504,
      "sallyport; error=http_response_timeout",
    ]);
    await (
      await plain.origin.recording(plain.origin.connections() - 1)
    ).ended;
    await expectServing(plain);
  });

  test("interim answers that come one by one do not put the deadline off", async () => {
    let timer: NodeJS.Timeout | undefined;
    const path = script(({ socket }) => {
      timer = setInterval(() => socket.write("HTTP/1.1 102 Processing\r\n\r\n"), 25);
      socket.once("close", () => clearInterval(timer));
    });
    const client = await plain.connect();
    client.send(requestFor(path));
    let last = await client.readHead();
    while (last.status < 200) last = await client.readHead().finally(() => {});
    clearInterval(timer);
    expect([502, 504]).toContain(last.status);
    await expectServing(plain);
  });

  test("a head that takes too long is a 504", async () => {
    const limit = `sallyport_limit_rejections_total{limit="response_head_timeout"}`;
    const before = await plain.sallyport.metric(limit);
    const path = script(({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nX: "));
    const { head: answer } = await exchange(plain, requestFor(path));
    expect([answer.status, answer.headers.get("proxy-status")]).toEqual([
      504,
      "sallyport; error=http_response_timeout",
    ]);
    expect(await lineOf(plain, path)).toMatchObject({ status: 504, outcome: "http_response_timeout" });
    expect(await plain.sallyport.metric(limit)).toBe((before ?? 0) + 1);
    await (
      await plain.origin.recording(plain.origin.connections() - 1)
    ).ended;
    await expectServing(plain);
  });
});

describe("an answer that breaks off breaks off at the client", () => {
  const cases: Readonly<
    Record<string, { readonly answer: string; readonly end: "fin" | "reset" | "zz\r\n"; readonly version?: string }>
  > = {
    "a length that is not reached, then FIN": {
      answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
      end: "fin",
    },
    "a length that is not reached, then a reset": {
      answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
      end: "reset",
    },
    "chunks without the last, then FIN": {
      answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
      end: "fin",
    },
    "chunks without the last, then a reset": {
      answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
      end: "reset",
    },
    "half a chunk, then FIN": { answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf", end: "fin" },
    "a chunk size that is none": {
      answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
      end: "zz\r\n",
    },
    "a last chunk without its end": {
      answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
      end: "fin",
    },
    "no length, then a reset": { answer: "HTTP/1.1 200 OK\r\n\r\nhalf", end: "reset" },
    "a length that is not reached, to HTTP/1.0": {
      answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
      end: "fin",
      version: "1.0",
    },
    "chunks without the last, to HTTP/1.0": {
      answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
      end: "fin",
      version: "1.0",
    },
    "no length, then a reset, to HTTP/1.0": { answer: "HTTP/1.0 200 OK\r\n\r\nhalf", end: "reset", version: "1.0" },
  };
  test.each(Object.entries(cases))("%s", async (_, { answer, end, version = "1.1" }) => {
    let cut = (): void => {};
    const path = script(({ socket }) => {
      socket.write(answer);
      cut = () => (end === "fin" ? socket.end() : end === "reset" ? socket.resetAndDestroy() : socket.write(end));
    });
    const client = await plain.connect();
    client.send(requestFor(path).replace("HTTP/1.1", `HTTP/${version}`));
    const head = await client.readHead();
    expect(head.status).toBe(200);
    // A reset that comes in one poll with data is read as an end, so the data goes first.
    let body = "";
    while (!body.includes("half")) body += (await client.readBytes(1)).toString("latin1");
    cut();
    const how = await client.waitClose();
    body += client.pending().toString("latin1");
    // Whole would be: as many bytes as promised, a last chunk, or a FIN where nothing else marks the end.
    if (head.headers.has("content-length")) expect(body.length).toBeLessThan(10);
    else if (head.headers.has("transfer-encoding")) expect(body).not.toContain("\r\n0\r\n");
    else expect(how).toBe("reset");
    const line = await lineOf(plain, path);
    expect(line).toMatchObject({ verdict: "allow", status: 200, closed_by: "upstream" });
    expect(["http_response_incomplete", "http_protocol_error"]).toContain(line["outcome"]);
    await expectServing(plain);
  });

  test("an answer that stops in the middle ends at the deadline", async () => {
    const path = script(({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
    const client = await plain.connect();
    client.send(requestFor(path));
    await client.readHead();
    await client.waitClose();
    expect(client.pending().toString()).toBe("half");
    expect(await lineOf(plain, path)).toMatchObject({ status: 200, closed_by: "idle", bytes_down: 4 });
    await (
      await plain.origin.recording(plain.origin.connections() - 1)
    ).ended;
  });
});

describe("what an answer may not bring is not passed on", () => {
  const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Poison: 1\r\n\r\nPOISON";
  const cases: Readonly<
    Record<
      string,
      { readonly method?: string; readonly answer: string; readonly status: number; readonly body: string }
    >
  > = {
    "a second response": { answer: `${ok}${poison}`, status: 200, body: "ok" },
    "a second response after chunks": {
      answer: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${poison}`,
      status: 200,
      body: "ok",
    },
    "a body longer than its length": {
      answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokPOISON",
      status: 200,
      body: "ok",
    },
    "a body on 204": { answer: "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nPOISON", status: 204, body: "" },
    "chunks on 204": {
      answer: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nPOISON\r\n0\r\n\r\n",
      status: 204,
      body: "",
    },
    "a body on 304": {
      answer: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\nETag: "a"\r\n\r\nPOISON',
      status: 304,
      body: "",
    },
    "a body on HEAD": {
      method: "HEAD",
      answer: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
      status: 200,
      body: "",
    },
    "chunks on HEAD": {
      method: "HEAD",
      answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nPOISON\r\n0\r\n\r\n",
      status: 200,
      body: "",
    },
    "a response on HEAD, and another": {
      method: "HEAD",
      answer: `HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n${poison}`,
      status: 200,
      body: "",
    },
  };
  test.each(Object.entries(cases))("%s", async (_, { method = "GET", answer, status, body }) => {
    const path = script(answer);
    const client = await plain.connect();
    client.send(requestFor(path, [], method));
    const head = await client.readHead();
    expect(head.status).toBe(status);
    expect(head.headers.get("transfer-encoding")).not.toBe(body === "" ? "chunked" : "");
    const received = body === "" ? "" : await readBody(client, head);
    expect(received).toBe(body);
    // The connection is still in order: the next answer is the next request's.
    client.send(requestFor("/ok"));
    const next = await client.readHead();
    expect([next.status, next.headers.has("x-poison"), await readBody(client, next)]).toEqual([200, false, "ok"]);
    const line = await lineOf(plain, path);
    expect(line).toMatchObject({ status });
    expect(line["outcome"]).toBeUndefined();
  });

  test("a redirect to a denied host is passed on, never followed", async () => {
    const connections = plain.origin.connections();
    const path = script("HTTP/1.1 302 Found\r\nLocation: http://denied.example.com/\r\nContent-Length: 0\r\n\r\n");
    const { head } = await exchange(plain, requestFor(path));
    expect([head.status, head.headers.get("location")]).toEqual([302, "http://denied.example.com/"]);
    expect(plain.origin.connections()).toBe(connections + 1);
  });
});

test.skipIf(!existsSync("/proc/self/fd"))("no broken exchange leaves a socket behind", async () => {
  const sockets = async (): Promise<number | undefined> => plain.sallyport.metric("process_open_fds");
  const endless = script(({ socket }) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\nhalf");
  });
  const silent = script(() => {});
  const before = (await sockets()) ?? 0;
  const index = plain.origin.connections();
  const requests = [
    requestFor(endless),
    requestFor(endless).replace("HTTP/1.1", "HTTP/1.0"),
    requestFor(silent),
    `${requestFor(silent, ["Content-Length: 10"], "POST")}abc`,
    `${requestFor(silent, ["Transfer-Encoding: chunked"], "POST")}3\r\nabc\r\n`,
  ];
  const clients = [];
  for (const request of [...requests, ...requests]) {
    const client = await plain.connect();
    client.send(request);
    clients.push(client);
  }
  for (let i = 0; i < clients.length; i++) await (await plain.origin.recording(index + i)).waitForBytes(1);
  for (const [i, client] of clients.entries()) {
    if (i < requests.length) client.close();
    else client.detach().resetAndDestroy();
  }
  for (let i = 0; i < clients.length; i++) await (await plain.origin.recording(index + i)).ended;
  // The answer to each look is a round trip to the process, in which it closes what is to be closed.
  let now = await sockets();
  for (let look = 0; look < 100 && (now ?? 0) > before; look++) now = await sockets();
  expect(now).toBeLessThanOrEqual(before);
});

describe("interim answers", () => {
  test("a 103 is passed on, with Via and without what frames a body", async () => {
    const early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 5\r\n\r\n";
    const { head, client } = await exchange103(requestFor(script(`${early}${ok}`)));
    expect(head.status).toBe(103);
    expect(head.headers.get("link")).toBe("</a.css>; rel=preload");
    expect(head.headers.get("via")).toMatch(/^1\.1 sallyport-[0-9a-f]{8}$/);
    expect(head.headers.has("content-length") || head.headers.has("transfer-encoding")).toBe(false);
    const final = await client.readHead();
    expect([final.status, await readBody(client, final)]).toEqual([200, "ok"]);
  });

  test("sixteen are passed on", async () => {
    const { client } = await exchange103(requestFor(script(`${"HTTP/1.1 102 Processing\r\n\r\n".repeat(16)}${ok}`)));
    for (let i = 1; i < 16; i++) expect((await client.readHead()).status).toBe(102);
    expect((await client.readHead()).status).toBe(200);
  });

  test("none to an HTTP/1.0 client", async () => {
    const path = script(`HTTP/1.1 103 Early Hints\r\n\r\n${ok}`);
    const { head, body } = await exchange(plain, requestFor(path).replace("HTTP/1.1", "HTTP/1.0"));
    expect([head.status, body]).toEqual([200, "ok"]);
  });

  async function exchange103(request: string) {
    const client = await plain.connect();
    client.send(request);
    return { head: await client.readHead(), client };
  }
});
