/**
 * What the RFCs ask of an intermediary, by the numbers of the list in the specification (intermediary.md). Two ask
 * nothing of a proxy that keeps nothing: 50 (ranges of a cache) and 51 (invalidation). The attacks that make them matter
 * are in test/security/.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  alpn,
  bytes,
  clientHello,
  clientHelloMessage,
  extension,
  grease,
  greaseValue,
  helloFor,
  record as tlsRecord,
  records,
  serverHello,
  serverName,
  serverNames,
  supportedVersions,
} from "../support/hello.ts";
import {
  type PlainHttp,
  type Script,
  exchange,
  expectRefused,
  headsAt,
  lineOf,
  ok,
  readBody,
  requestFor,
  startPlainHttp,
} from "../support/plain-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { openTunnel, record, sendConnect, startHelloOrigin } from "../support/tunnel.ts";

let plain: PlainHttp;
beforeAll(async () => {
  plain = await startPlainHttp({
    settings: { via: "duty", limits: { response_head_timeout: "300ms", keepalive_timeout: "1s" } },
  });
});
afterAll(() => plain.stop());

const bad = { status: 400, reason: "bad_request" } as const;
const host = "plain.example.com";

let number = 0;
function script(what: Script): string {
  number += 1;
  const path = `/duty-${number}`;
  plain.scripts.set(path, what);
  return path;
}

/** Sends a request that is forwarded; the head that the origin got. */
async function sentFor(request: string): Promise<string> {
  const index = plain.origin.connections();
  expect((await exchange(plain, request)).head.status).toBe(200);
  return headsAt(plain.origin)[index] ?? "";
}

describe("RFC 9112, messages", () => {
  test("1. octets are parsed as octets: obs-text comes out byte for byte, both ways", async () => {
    const path = script(ok.replace("\r\n\r\n", "\r\nX-Text: \xe9\xff\x80\r\n\r\n"));
    const index = plain.origin.connections();
    const { head } = await exchange(plain, requestFor(path, ["X-Text: \x80\xff\xe9"]));
    expect(headsAt(plain.origin)[index]).toContain("X-Text: \x80\xff\xe9\r\n");
    expect(head.raw).toContain("X-Text: \xe9\xff\x80\r\n");
  });
  test("2. a bare CR is invalid", () => expectRefused(plain, requestFor("/", ["X: a\rb"]), bad));
  test("3. empty lines before the request line are ignored, white space before the first field is refused", async () => {
    expect(await sentFor(`\r\n\r\n${requestFor("/")}`)).toMatch(/^GET \/ HTTP\/1\.1\r\n/);
    await expectRefused(plain, `GET http://${host}/ HTTP/1.1\r\n Host: ${host}\r\n\r\n`, bad);
  });
  test("4. it speaks its own version, up and down", async () => {
    const path = script("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const index = plain.origin.connections();
    const { head } = await exchange(plain, requestFor(path).replace("HTTP/1.1", "HTTP/1.0"));
    expect(headsAt(plain.origin)[index]).toMatch(/^GET \S+ HTTP\/1\.1\r\n/);
    expect(head.raw).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });
  test("5. another major version is a 505", () =>
    expectRefused(plain, requestFor("/").replace("1.1", "2.0"), { status: 505, reason: "bad_request" }));
  test("6. a request line of 8,000 octets is served, one beyond the limit is not", async () => {
    expect((await sentFor(requestFor(`/${"a".repeat(7_960)}`))).length).toBeGreaterThan(8_000);
    await expectRefused(plain, requestFor(`/${"a".repeat(33_000)}`), { status: 431, reason: "bad_request" });
  });
  test("7. no Host, two Hosts, an invalid Host: 400", async () => {
    await expectRefused(plain, `GET http://${host}/ HTTP/1.1\r\n\r\n`, bad);
    await expectRefused(plain, requestFor("/", [`Host: ${host}`]), bad);
    await expectRefused(plain, requestFor("/").replace(`Host: ${host}`, "Host: a b"), bad);
  });
  test("8. origin form towards the origin, an empty path is a slash", async () => {
    expect(await sentFor(requestFor(""))).toMatch(/^GET \/ HTTP\/1\.1\r\n/);
    expect(await sentFor(requestFor("?q"))).toMatch(/^GET \/\?q HTTP\/1\.1\r\n/);
  });
  test("9. absolute form is accepted, Host regenerated from it, another Host refused", async () => {
    const request = `GET http://PLAIN.example.com:80/ HTTP/1.1\r\nhost: Plain.Example.COM.\r\n\r\n`;
    expect((await sentFor(request)).split("\r\n")[1]).toBe(`Host: ${host}`);
    await expectRefused(plain, requestFor("/").replace(`Host: ${host}`, "Host: second.example.com"), {
      status: 403,
      reason: "host_mismatch",
    });
  });
  test("10. authority form is for CONNECT alone", () =>
    expectRefused(plain, `GET ${host}:80 HTTP/1.1\r\nHost: ${host}\r\n\r\n`, bad));
  test("11. OPTIONS without a path asks about the server", async () => {
    expect(await sentFor(requestFor("", [], "OPTIONS"))).toMatch(
      /^OPTIONS \* HTTP\/1\.1\r\nHost: plain\.example\.com\r\n/,
    );
    expect(await sentFor(requestFor("/", [], "OPTIONS"))).toMatch(/^OPTIONS \/ HTTP\/1\.1\r\n/);
    expect(await sentFor(requestFor("?q", [], "OPTIONS"))).toMatch(/^OPTIONS \/\?q HTTP\/1\.1\r\n/);
  });
  test("12. white space before a colon: 400 and 502", async () => {
    await expectRefused(plain, requestFor("/", ["X : a"]), bad);
    expect((await exchange(plain, requestFor(script(ok.replace("Length:", "Length :"))))).head.status).toBe(502);
  });
  test("13. a folded field: 400 and 502", async () => {
    await expectRefused(plain, requestFor("/", ["X: a", " b"]), bad);
    expect(
      (await exchange(plain, requestFor(script(ok.replace("\r\n\r\n", "\r\nX: a\r\n b\r\n\r\n"))))).head.status,
    ).toBe(502);
  });
  test("14, 17. both framings at once are an error, and never sent", async () => {
    const both = ["Transfer-Encoding: chunked", "Content-Length: 5"];
    await expectRefused(plain, `${requestFor("/", both, "POST")}0\r\n\r\n`, bad);
    const chunked = await sentFor(`${requestFor("/", both.slice(0, 1), "POST")}0\r\n\r\n`);
    expect(chunked).toMatch(/transfer-encoding: chunked\r\n/i);
    expect(chunked).not.toMatch(/content-length/i);
  });
  test("15. a transfer coding from an HTTP/1.0 client is faulty", () =>
    expectRefused(
      plain,
      `${requestFor("/", ["Transfer-Encoding: chunked"], "POST").replace("1.1", "1.0")}0\r\n\r\n`,
      bad,
    ));
  test("16. no transfer coding to an HTTP/1.0 client, nor in 1xx and 204", async () => {
    const chunks = "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    const old = await exchange(plain, requestFor(script(`HTTP/1.1 200 OK\r\n${chunks}`)).replace("1.1", "1.0"));
    expect([old.head.headers.has("transfer-encoding"), old.body]).toEqual([false, "ok"]);
    const none = await exchange(plain, requestFor(script(`HTTP/1.1 204 No Content\r\n${chunks}`)));
    expect([none.head.status, none.head.headers.has("transfer-encoding")]).toEqual([204, false]);
  });
  test("18. an unknown final coding: an error, up and down", async () => {
    await expectRefused(plain, requestFor("/", ["Transfer-Encoding: gzip"], "POST"), {
      status: 501,
      reason: "bad_request",
    });
    const { head } = await exchange(plain, requestFor(script("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx")));
    expect(head.status).toBe(502);
  });
  test("19. an invalid length: 400, and 502 with the origin's connection closed", async () => {
    await expectRefused(plain, requestFor("/", ["Content-Length: 1, 2"], "POST"), bad);
    const index = plain.origin.connections();
    const path = script(({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx"));
    expect((await exchange(plain, requestFor(path))).head.status).toBe(502);
    await (
      await plain.origin.recording(index)
    ).ended;
  });
  test("20. an incomplete request is not completed", async () => {
    const index = plain.origin.connections();
    const client = await plain.connect();
    client.send(
      `${requestFor(
        script(() => {}),
        ["Transfer-Encoding: chunked"],
        "POST",
      )}3\r\nabc\r\n`,
    );
    const recording = await plain.origin.recording(index);
    await recording.waitForBytes(1);
    client.end();
    await recording.ended;
    expect(recording.bytes().toString("latin1")).not.toMatch(/\r\n0\r\n/);
  });
  test("21. an incomplete response is not completed", async () => {
    const path = script("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    const client = await plain.connect();
    client.send(requestFor(path));
    await client.waitClose();
    expect(client.pending().toString("latin1")).not.toMatch(/\r\n0\r\n/);
    expect(await lineOf(plain, path)).toMatchObject({ outcome: "http_response_incomplete" });
  });
  test("22. chunk extensions are ignored, endless ones and overlong sizes refused", async () => {
    const chunked = requestFor("/", ["Transfer-Encoding: chunked"], "POST");
    await sentFor(`${chunked}1;a=b\r\nx\r\n0\r\n\r\n`);
    await expectRefused(plain, `${chunked}1;${"a".repeat(20_000)}\r\nx\r\n0\r\n\r\n`, { ...bad, mayDial: true });
    await expectRefused(plain, `${chunked}${"f".repeat(17)}\r\nx\r\n0\r\n\r\n`, { ...bad, mayDial: true });
  });
  test("23. trailers are not merged into the head", async () => {
    const index = plain.origin.connections();
    const request = `${requestFor("/", ["Transfer-Encoding: chunked"], "POST")}0\r\nX-Late: 1\r\n\r\n`;
    await exchange(plain, request);
    expect((await plain.origin.recording(index)).bytes().toString("latin1")).not.toContain("X-Late");
  });
  test("24. TE stays on its hop", async () =>
    expect(await sentFor(requestFor("/", ["TE: trailers"]))).not.toMatch(/^TE:/m));
  test("25. an HTTP/1.0 client is not kept, whatever it asks for", async () => {
    const keep = ["Connection: keep-alive", "Proxy-Connection: keep-alive", "Keep-Alive: timeout=9"];
    const client = await plain.connect();
    client.send(requestFor("/", keep).replace("1.1", "1.0"));
    const head = await client.readHead();
    expect([head.headers.get("connection"), (await client.readAll()).toString()]).toEqual(["close", "ok"]);
    expect(headsAt(plain.origin).at(-1)).not.toMatch(/keep-alive/i);
  });
  test("26. pipelined requests are answered in order, and by nothing but their own answers", async () => {
    const first = script(`${ok}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON`);
    const second = script(ok.replace("\r\n\r\nok", "\r\n\r\n2!"));
    const client = await plain.connect();
    client.send(requestFor(first) + requestFor(second));
    const bodies = [await readBody(client, await client.readHead()), await readBody(client, await client.readHead())];
    expect(bodies).toEqual(["ok", "2!"]);
  });
  test("27. a connection may close at any time: an origin's end costs the client nothing, and an idle client's is closed", async () => {
    const client = await plain.connect();
    for (let i = 0; i < 2; i++) {
      client.send(requestFor("/"));
      expect(await readBody(client, await client.readHead())).toBe("ok");
    }
    // The origin has closed both of its connections; nobody reuses them, and nobody asks again.
    expect(await client.waitClose()).toBe("fin");
    expect(client.pending().length).toBe(0);
  });
  test("28. Connection: close is honoured and sent", async () => {
    const client = await plain.connect();
    client.send(requestFor("/", ["Connection: close"]));
    expect((await client.readHead()).headers.get("connection")).toBe("close");
    expect((await client.readAll()).toString()).toBe("ok");
  });
});

test("29. RFC 9112, 11: nothing splits a request or an answer, all is written anew", async () => {
  const split = "a\r\n\r\nGET /split HTTP/1.1\r\nHost: evil";
  await expectRefused(plain, requestFor(`/${split}`), { status: 505, reason: "bad_request" });
  const index = plain.origin.connections();
  await exchange(plain, requestFor(`/${encodeURIComponent(split)}`, ["x-odd:\t spaced \t"]));
  expect(headsAt(plain.origin)[index]).toMatch(/^GET \/a%0D%0A%0D%0AGET\S* HTTP\/1\.1\r\n/);
  expect(headsAt(plain.origin)[index]).toContain("\r\nx-odd: spaced\r\n");
  const path = script("HTTP/1.1   200 OK\r\nContent-Length: 2\r\n\r\nok");
  expect((await exchange(plain, requestFor(path))).head.raw).toMatch(/^HTTP\/1\.1 (200 OK|502 \S.*)\r\n/);
  expect(plain.origin.connections()).toBe(index + 2);
});

describe("RFC 9110, semantics", () => {
  test("30. same-name fields keep their order, Set-Cookie is not joined", async () => {
    const lines = "Set-Cookie: b=2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2";
    const { head } = await exchange(plain, requestFor(script(ok.replace("\r\n\r\n", `\r\n${lines}\r\n\r\n`))));
    expect(head.raw).toContain(`\r\n${lines}\r\n`);
  });
  test("31. CR, LF and NUL in a value are refused", async () => {
    for (const value of ["a\rb", "a\nb", "a\0b"]) await expectRefused(plain, requestFor("/", [`X: ${value}`]), bad);
  });
  test("32. an empty host and userinfo are refused", async () => {
    await expectRefused(plain, `GET http:///x HTTP/1.1\r\nHost: ${host}\r\n\r\n`, bad);
    await expectRefused(plain, `GET http://u:p@${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`, bad);
  });
  test("33. Connection is obeyed and removed, with all that belongs to the hop", async () => {
    const fields = [
      "Connection: X-A",
      "X-A: 1",
      "Proxy-Connection: a",
      "Keep-Alive: a",
      "TE: a",
      "Upgrade: a",
      "X-B: 2",
    ];
    const sent = await sentFor(requestFor("/", fields));
    expect(sent.split("\r\n").slice(1, -2)).toEqual([`Host: ${host}`, "X-B: 2", "Via: 1.1 duty"]);
  });
  test("34. Max-Forwards on OPTIONS: 0 is answered, more is counted down", async () => {
    const before = plain.origin.connections();
    expect((await exchange(plain, requestFor("/", ["Max-Forwards: 0"], "OPTIONS"))).head.status).toBe(204);
    expect(plain.origin.connections()).toBe(before);
    expect(await sentFor(requestFor("/", ["Max-Forwards: 1"], "OPTIONS"))).toContain("Max-Forwards: 0\r\n");
  });
  test("35. Via in each request, response and interim response, appended, with the version that was received", async () => {
    const path = script(`HTTP/1.1 103 E\r\n\r\nHTTP/1.0 200 OK\r\nVia: 1.1 origin\r\nContent-Length: 0\r\n\r\n`);
    const client = await plain.connect();
    client.send(requestFor(path, ["Via: 1.0 before"]));
    expect((await client.readHead()).headers.get("via")).toBe("1.1 duty");
    expect((await client.readHead()).headers.get("via")).toBe("1.1 origin, 1.0 duty");
    expect(headsAt(plain.origin).at(-1)).toContain("Via: 1.0 before\r\nVia: 1.1 duty\r\n");
  });
  test("36. nothing is transformed: body, coding, ranges and validators are the origin's", async () => {
    const body = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString("latin1");
    const fields = [
      "Content-Encoding: gzip",
      "Content-Range: bytes 0-255/999",
      'ETag: W/"x"',
      "Cache-Control: no-transform",
    ];
    const answer = ["HTTP/1.1 206 Partial Content", ...fields, "Content-Length: 256", "", body].join("\r\n");
    const result = await exchange(plain, requestFor(script(answer), ["Range: bytes=0-255", "Accept-Encoding: gzip"]));
    expect(result.body).toBe(body);
    for (const field of fields) expect(result.head.raw).toContain(`${field}\r\n`);
    expect(headsAt(plain.origin).at(-1)).toContain("Accept-Encoding: gzip\r\n");
  });
  test("37. path and query are sent as they came", async () => {
    expect(await sentFor(requestFor("//a/../%2e%2E/b;c?d=%2b&e=//"))).toMatch(
      /^GET \/\/a\/\.\.\/%2e%2E\/b;c\?d=%2b&e=\/\/ HTTP/,
    );
  });
  test("38. Upgrade is not passed on, and a switch that nobody asked for is a 502", async () => {
    expect(await sentFor(requestFor("/", ["Connection: Upgrade", "Upgrade: h2c"]))).not.toMatch(/upgrade/i);
    const path = script("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    expect((await exchange(plain, requestFor(path))).head.status).toBe(502);
  });
  test("39. no length that is wrong, none in 1xx and 204", async () => {
    const path = script(`HTTP/1.1 103 E\r\nContent-Length: 3\r\n\r\nHTTP/1.1 204 N\r\nContent-Length: 3\r\n\r\n`);
    const client = await plain.connect();
    client.send(requestFor(path));
    expect((await client.readHead()).headers.has("content-length")).toBe(false);
    expect((await client.readHead()).headers.has("content-length")).toBe(false);
  });
  test("40. HEAD, 204 and 304 have no body", async () => {
    const client = await plain.connect();
    for (const [status, method] of [
      [200, "HEAD"],
      [204, "GET"],
      [304, "GET"],
    ] as const) {
      client.send(requestFor(script(`HTTP/1.1 ${status} X\r\nContent-Length: 6\r\n\r\nPOISON`), [], method));
      expect((await client.readHead()).status).toBe(status);
    }
    client.send(requestFor("/"));
    expect(await readBody(client, await client.readHead())).toBe("ok");
  });
  test("42. Expect: 100-continue is forwarded, another expectation is a 417, no 100 to an HTTP/1.0 client", async () => {
    const continues = script(({ socket, waitForBytes }, head) => {
      socket.write("HTTP/1.1 100 Continue\r\n\r\n");
      waitForBytes(head.length + 1).then(
        () => socket.end(ok),
        () => socket.destroy(),
      );
    });
    const expecting = requestFor(continues, ["Expect: 100-continue", "Content-Length: 1"], "POST");
    const client = await plain.connect();
    client.send(expecting);
    expect((await client.readHead()).status).toBe(100);
    client.send("x");
    expect((await client.readHead()).status).toBe(200);
    await expectRefused(plain, requestFor("/", ["Expect: a"]), { status: 417, reason: "bad_request" });
    const old = await exchange(plain, `${expecting.replace("HTTP/1.1", "HTTP/1.0")}x`);
    expect(old.head.status).toBe(200);
  });
  test("43. credentials for a proxy stay on this hop, and an origin cannot ask for any", async () => {
    expect(await sentFor(requestFor("/", ["Proxy-Authorization: Basic eA=="]))).not.toMatch(/authorization/i);
    const path = script("HTTP/1.1 407 P\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n");
    expect((await exchange(plain, requestFor(path))).head.status).toBe(502);
  });
  test("44. 1xx are passed on to HTTP/1.1 clients, none to HTTP/1.0 clients", async () => {
    const path = script(`HTTP/1.1 102 P\r\n\r\nHTTP/1.1 199 X\r\n\r\n${ok}`);
    const client = await plain.connect();
    client.send(requestFor(path));
    const statuses = [await client.readHead(), await client.readHead(), await client.readHead()].map(
      ({ status }) => status,
    );
    expect(statuses).toEqual([102, 199, 200]);
    expect((await exchange(plain, requestFor(path).replace("1.1", "1.0"))).head.status).toBe(200);
  });
  test("45. Range and multipart/byteranges pass through", async () => {
    const multipart =
      "--x\r\nContent-Range: bytes 0-0/9\r\n\r\na\r\n--x\r\nContent-Range: bytes 5-5/9\r\n\r\nb\r\n--x--\r\n";
    const head = `HTTP/1.1 206 P\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: ${multipart.length}\r\n\r\n`;
    const result = await exchange(plain, requestFor(script(head + multipart), ["Range: bytes=0-0,5-5", "If-Range: x"]));
    expect([result.head.headers.get("content-type"), result.body]).toEqual([
      "multipart/byteranges; boundary=x",
      multipart,
    ]);
    expect(headsAt(plain.origin).at(-1)).toContain("Range: bytes=0-0,5-5\r\nIf-Range: x\r\n");
  });
  test("46. 502 for an invalid answer, 504 for none, 403 for policy", async () => {
    expect((await exchange(plain, requestFor(script("x\r\n\r\n")))).head.status).toBe(502);
    expect((await exchange(plain, requestFor(script(() => {})))).head.status).toBe(504);
    await expectRefused(plain, requestFor("/", [], "GET", "no.example"), { status: 403, reason: "no_rule" });
  });
  test("47. fields that are too large are refused before they are all here", async () => {
    const client = await plain.connect();
    client.send(`${requestFor("/").slice(0, -2)}X: ${"a".repeat(40_000)}`);
    expect((await client.readHead()).status).toBe(431);
  });
  test("48. what it says of itself has no version and no address inside", async () => {
    const { head, body } = await exchange(plain, requestFor("/", [], "GET", "denied.example.com"));
    expect(head.headers.has("server")).toBe(false);
    expect(head.raw + body).not.toMatch(new RegExp(`${plain.origin.port}|sallyport/|node`, "i"));
  });
});

test("49. RFC 9111: nothing is stored, and Age is not added", async () => {
  const path = script(ok.replace("\r\n\r\n", "\r\nCache-Control: max-age=1000\r\n\r\n"));
  const before = plain.origin.connections();
  await exchange(plain, requestFor(path));
  const { head } = await exchange(plain, requestFor(path));
  expect(plain.origin.connections()).toBe(before + 2);
  expect(head.headers.has("age")).toBe(false);
});

describe("RFC 6455, WebSocket", () => {
  const upgrade = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
  ];

  const switching =
    "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

  test("52. CONNECT to an http endpoint is refused", async () => {
    const client = await plain.connect();
    client.send("CONNECT socket.example.com:80 HTTP/1.1\r\nHost: socket.example.com:80\r\n\r\n");
    const head = await client.readHead();
    expect([head.status, head.headers.get("x-sallyport-reason")]).toEqual([403, "scheme_mismatch"]);
  });
  test("53. absolute form is refused where the rule does not say websocket, and tunnelled after a true 101 where it does", async () => {
    await expectRefused(plain, requestFor("/", upgrade), { status: 403, reason: "scheme_mismatch" });
    const path = script(({ socket }) => {
      socket.write(switching);
      socket.on("data", (chunk) => socket.write(chunk));
      socket.on("end", () => socket.end());
    });
    const client = await plain.connect();
    client.send(requestFor(path, upgrade, "GET", "socket.example.com"));
    expect((await client.readHead()).status).toBe(101);
    client.send("ping");
    expect((await client.readBytes(4)).toString()).toBe("ping");
    client.end();
    expect((await client.readAll()).length).toBe(0);
    await lineOf(plain, path);
  });
  test("54. both halves are closed together or by the idle deadline, and it counts as a tunnel and towards the limit", async () => {
    const limited = await startPlainHttp({
      settings: { limits: { per_client: 2 }, log: { paths: true } },
      policy: {
        rules: [{ id: "socket", hosts: ["a.test"], expect: "http", websocket: "allow", idle_timeout: "1s" }],
      },
    });
    limited.scripts.set("/socket", ({ socket }) => {
      socket.write(switching);
      socket.on("end", () => socket.end());
    });
    const open = async () => {
      const client = await limited.connect();
      client.send(requestFor("/socket", upgrade, "GET", "a.test"));
      return { client, status: (await client.readHead()).status };
    };
    try {
      const ended = await open();
      const silent = await open();
      expect([ended.status, silent.status]).toEqual([101, 101]);
      expect(await limited.sallyport.metric("sallyport_tunnels_active")).toBe(2);
      expect((await open()).status).toBe(503);
      ended.client.end();
      expect(await ended.client.waitClose()).toBe("fin");
      await limited.sallyport.logged((line) => line["path"] === "/socket" && line["closed_by"] === "client");
      expect(await silent.client.waitClose()).toBe("fin");
      silent.client.end();
      await limited.sallyport.logged((line) => line["path"] === "/socket" && line["closed_by"] === "idle");
      expect(await limited.sallyport.metric("sallyport_tunnels_active")).toBe(0);
      expect((await open()).status).toBe(101);
    } finally {
      await limited.stop();
    }
  });
});

describe("RFC 9110, CONNECT, and what a tunnel owes to TLS", () => {
  let origin: TcpOrigin;
  let proxy: Sallyport;
  beforeAll(async () => {
    origin = await startHelloOrigin();
    proxy = await startSallyport({
      policy: { rules: [{ id: "tls", hosts: ["*.example.com"], expect: ["https", "tcp:22"] }] },
      settings: { connect_to: [`*::127.0.0.1:${origin.port}`] },
    });
  });
  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });
  const name = "good.example.com";

  /** Sends it in a tunnel; why it was cut, with nothing at the origin. */
  async function cutFor(hello: Uint8Array): Promise<unknown> {
    const on = await record(proxy, origin);
    const client = await openTunnel(proxy, `${name}:443`, { behind: hello });
    await client.waitClose();
    client.close();
    expect(on.atOrigin().bytes).toBe(0);
    return (await on.line())["reason"];
  }
  /** Sends it in a tunnel; it arrives as it was sent, and the answer comes back as it was given. */
  async function expectThrough(hello: Uint8Array): Promise<void> {
    const index = origin.connections();
    const client = await openTunnel(proxy, `${name}:443`, { behind: hello });
    expect(await client.readBytes(serverHello().length)).toEqual(Buffer.from(serverHello()));
    expect((await origin.recording(index)).bytes()).toEqual(Buffer.from(hello));
    client.end();
    await client.waitClose();
    client.close();
  }

  test("41. CONNECT: 200 without framing, the tunnel right behind it, what is left delivered, known ports only", async () => {
    const client = await sendConnect(proxy, `${name}:22`, { behind: helloFor(null) });
    const head = await client.readHead();
    expect([head.status, head.headers.has("content-length"), head.headers.has("transfer-encoding")]).toEqual([
      200,
      false,
      false,
    ]);
    expect(await client.readBytes(serverHello().length)).toEqual(Buffer.from(serverHello()));
    client.send("last words");
    client.end();
    // The origin ends only when it has read our end: what it has echoed by then still comes.
    expect((await client.readAll()).toString()).toBe("last words");
    client.close();
    for (const port of [25, 80, 8443]) {
      const other = await sendConnect(proxy, `${name}:${port}`);
      expect([port, (await other.readHead()).status]).toEqual([port, 403]);
      other.close();
    }
    const framed = await sendConnect(proxy, `${name}:443`, {
      fields: [`Host: ${name}`, "Content-Length: 1"],
      behind: "x",
    });
    expect((await framed.readHead()).status).toBe(400);
    framed.close();
  });
  test("55. one host_name, and no address in it; a trailing dot is no other name", async () => {
    const two = serverNames({ type: 0, name }, { type: 0, name: "evil.example.com" });
    expect(await cutFor(clientHello({ extensions: [two, supportedVersions(0x0304)] }))).toBe("hello_malformed");
    expect(await cutFor(helloFor("127.0.0.1"))).toBe("hello_malformed");
    await expectThrough(helloFor(`${name}.`));
  });
  test("56. fragments are put together, nothing stands between them, and supported_versions decides", async () => {
    const message = clientHelloMessage({ extensions: [serverName(name), supportedVersions(0x0304)] });
    await expectThrough(records(message, [1]));
    for (const version of [0x0301, 0x0302, 0x0303]) await expectThrough(tlsRecord(22, message, version));
    await expectThrough(
      clientHello({ legacyVersion: 0x0301, extensions: [serverName(name), supportedVersions(0x0303)] }),
    );
    const parts = [message.subarray(0, 50), message.subarray(50)].map((part) => tlsRecord(22, part));
    expect(await cutFor(bytes(parts[0]!, tlsRecord(20, Uint8Array.of(1)), parts[1]!))).toBe("hello_malformed");
    expect(await cutFor(bytes(parts[0]!, tlsRecord(22, new Uint8Array(0)), parts[1]!))).toBe("hello_malformed");
    expect(await cutFor(tlsRecord(22, message, 0x0301, 0x4001))).toBe("hello_malformed");
  });
  test("57. what it does not understand passes as it came, both ways", () =>
    expectThrough(
      clientHello({
        cipherSuites: [0x1301, 0xfefe],
        extensions: [extension(0xfe12, Uint8Array.of(1, 2, 3)), serverName(name), supportedVersions(0x0304, 0x7f42)],
      }),
    ));
  test("58. TLS 1.0 and 1.1 are not used, whichever side wants them", async () => {
    expect(await cutFor(helloFor(name, [0x0302, 0x0301]))).toBe("tls_version");
    const old = await startTcpOrigin(({ socket }) => {
      socket.once("data", () => socket.write(serverHello({ legacyVersion: 0x0302, extensions: null })));
    });
    const other = await startSallyport({
      policy: { rules: [{ id: "tls", hosts: ["*.example.com"], expect: "https" }] },
      settings: { connect_to: [`*::127.0.0.1:${old.port}`] },
    });
    try {
      const client = await openTunnel(other, `${name}:443`, { behind: helloFor(name) });
      await client.waitClose();
      // An alert of ours (protocol_version), and no byte of that ServerHello.
      expect([...client.pending()]).toEqual([21, 3, expect.any(Number), 0, 2, 2, 70]);
      client.close();
    } finally {
      await other.stop();
      await old.close();
    }
  });
  test("59. no SSL 2 hello", async () => {
    expect(await cutFor(Buffer.from("802e0103010015000000100100800300800700c0", "hex"))).toBe("not_tls");
  });
  test("60. GREASE is tolerated, wherever it stands", () =>
    expectThrough(
      clientHello({
        cipherSuites: [greaseValue(0), 0x1301],
        extensions: [
          grease(1),
          serverName(name),
          supportedVersions(greaseValue(2), 0x0304),
          alpn(Uint8Array.of(0x4a, 0x4a), "h2"),
          grease(3, Uint8Array.of(0)),
        ],
      }),
    ));
});
