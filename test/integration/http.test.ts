/** Plain HTTP through a real process: what is forwarded, what the policy denies, and how a failure is told. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PlainHttp,
  exchange,
  expectRefused,
  expectServing,
  headsAt,
  lineOf,
  ok,
  readBody,
  requestFor,
  startPlainHttp,
} from "../support/plain-http.ts";
import { freePort } from "../support/ports.ts";

let plain: PlainHttp;
let closedPort: number;
beforeAll(async () => {
  closedPort = await freePort();
  plain = await startPlainHttp({
    policy: {
      rules: [
        { id: "plain", hosts: ["plain.example.com", "second.example.com"], expect: "http", range: "allow" },
        { id: "ports", hosts: ["ports.example.com"], expect: "http:8530" },
        { id: "secure", hosts: ["secure.example.com"], expect: "https" },
        { id: "no-range", hosts: ["no-range.example.com"], expect: "http" },
        { id: "strip", hosts: ["strip.example.com"], expect: "http", range: "strip" },
        { id: "paths", hosts: ["paths.example.com"], expect: "http", paths: ["/files/*"] },
        { id: "get-only", hosts: ["get-only.example.com"], expect: "http", methods: ["GET"] },
        { id: "denied", hosts: ["denied.example.com"], action: "deny" },
        { id: "down", hosts: ["down.example.com"], expect: "http:81" },
        { id: "private", hosts: ["private.example.com"], expect: "http:82" },
        { id: "unknown", hosts: ["unknown.invalid"], expect: "http:82" },
        { id: "literal", addresses: ["127.0.0.1"], expect: ["http:82", `http:${closedPort}`] },
        { id: "trial", hosts: ["trial.example.com"], expect: "http", methods: ["GET"], mode: "report" },
      ],
    },
    settings: {
      via: "test-proxy",
      dns: { servers: ["127.0.0.1:1"], hosts: { "private.example.com": ["10.0.0.1"] }, timeout: "1s" },
    },
  });
});
afterAll(() => plain.stop());

describe("a request that the policy denies is told why, and the origin nothing", () => {
  const get = (host: string, ...fields: string[]): string => requestFor("/denied", fields, "GET", host);
  const cases: Readonly<Record<string, readonly [request: string, reason: string, rule?: string]>> = {
    "no rule": [get("elsewhere.example.org"), "no_rule"],
    "no rule, a name that ends like one": [get("evilplain.example.com"), "no_rule"],
    "no rule, a name that begins like one": [get("plain.example.com.evil.test"), "no_rule"],
    "a deny rule": [get("denied.example.com"), "rule_denied", "site/denied"],
    "http where https is expected": [get("secure.example.com"), "scheme_mismatch", "site/secure"],
    "another port": [get("plain.example.com:8080"), "port_mismatch", "site/plain"],
    "the default port where another is expected": [get("ports.example.com"), "port_mismatch", "site/ports"],
    "an address": [get("192.0.2.1"), "ip_literal"],
    "an IPv6 address": [get("[2001:db8::1]"), "ip_literal"],
    "a method that is not listed": [
      requestFor("/", [], "DELETE", "get-only.example.com"),
      "method_denied",
      "site/get-only",
    ],
    TRACE: [requestFor("/", [], "TRACE"), "method_denied", "site/plain"],
    PROPFIND: [requestFor("/", [], "PROPFIND"), "method_denied", "site/plain"],
    "a path that is not listed": [requestFor("/other/a", [], "GET", "paths.example.com"), "path_denied", "site/paths"],
    "a path below one that is listed": [
      requestFor("/files/a/b", [], "GET", "paths.example.com"),
      "path_denied",
      "site/paths",
    ],
    "a path with a dot segment": [
      requestFor("/files/../other", [], "GET", "paths.example.com"),
      "path_denied",
      "site/paths",
    ],
    "a path that decodes twice": [
      requestFor("/files/%252e%252e", [], "GET", "paths.example.com"),
      "path_denied",
      "site/paths",
    ],
    "another Host": [requestFor("/").replace("Host: plain", "Host: second"), "host_mismatch"],
    "a Host with another port": [
      requestFor("/").replace("Host: plain.example.com", "Host: plain.example.com:81"),
      "host_mismatch",
    ],
    "a Range": [get("no-range.example.com", "Range: bytes=0-1"), "range_denied", "site/no-range"],
    "a malformed Range where none is allowed": [
      get("no-range.example.com", "Range: x"),
      "range_denied",
      "site/no-range",
    ],
    "two Range fields": [
      get("plain.example.com", "Range: bytes=0-1", "Range: bytes=2-3"),
      "range_invalid",
      "site/plain",
    ],
    "overlapping ranges": [get("plain.example.com", "Range: bytes=0-5,3-9"), "range_invalid", "site/plain"],
    "ranges that descend": [get("plain.example.com", "Range: bytes=5-9,0-1"), "range_invalid", "site/plain"],
    "an open range that is not the last": [
      get("plain.example.com", "Range: bytes=5-,0-1"),
      "range_invalid",
      "site/plain",
    ],
    "another unit": [get("plain.example.com", "Range: items=0-1"), "range_invalid", "site/plain"],
    "seventeen ranges": [
      get(
        "plain.example.com",
        `Range: bytes=${Array.from({ length: 17 }, (_, i) => `${i * 10}-${i * 10 + 1}`).join(",")}`,
      ),
      "range_invalid",
      "site/plain",
    ],
    "an invalid Range on POST": [
      requestFor("/", ["Range: x", "Content-Length: 0"], "POST"),
      "range_invalid",
      "site/plain",
    ],
  };
  test.each(Object.entries(cases))("%s", async (_, [request, reason, rule]) => {
    const { body } = await expectRefused(plain, request, {
      status: 403,
      reason,
      ...(rule === undefined ? {} : { rule }),
    });
    expect(body).toMatch(/^Denied: [A-Z]+ http:\/\/\S+ \(client 127\.0\.0\.1\)\.\n/);
  });

  test("a name that resolves to a private address", async () => {
    const series = `sallyport_blocked_addresses_total{class="private"}`;
    const before = await plain.sallyport.metric(series);
    const request = get("private.example.com:82");
    const refusal = { status: 403, reason: "address_denied", error: "destination_ip_prohibited", rule: "site/private" };
    const { line } = await expectRefused(plain, request, refusal);
    expect(line["stage"]).toBe("dial");
    expect(await plain.sallyport.metric(series)).toBe((before ?? 0) + 1);
  });

  test("as JSON where the client prefers that", async () => {
    const { head, body } = await exchange(plain, get("denied.example.com", "Accept: application/json"));
    expect(head.headers.get("content-type")).toBe("application/json");
    expect(JSON.parse(body)).toMatchObject({
      status: 403,
      reason: "rule_denied",
      denial: head.headers.get("x-sallyport-denial"),
    });
  });

  test("without a body on HEAD", async () => {
    const client = await plain.connect();
    client.send(requestFor("/", [], "HEAD", "denied.example.com"));
    expect((await client.readHead()).status).toBe(403);
    expect((await client.readAll()).length).toBe(0);
  });

  test("in report mode it passes, and the log says what it would have been", async () => {
    const { head } = await exchange(plain, requestFor("/trial", ["Content-Length: 0"], "POST", "trial.example.com"));
    expect(head.status).toBe(200);
    expect(await lineOf(plain, "/trial")).toMatchObject({
      verdict: "allow",
      would: "deny",
      reason: "method_denied",
      mode: "report",
    });
  });
});

describe("a request that is allowed but fails", () => {
  test("a refused connection", async () => {
    const request = requestFor("/", [], "GET", `127.0.0.1:${closedPort}`);
    await expectRefused(plain, request, { status: 502, error: "connection_refused" });
  });
  test("a name that nobody can resolve", async () => {
    const request = requestFor("/", [], "GET", "unknown.invalid:82");
    const { head } = await exchange(plain, request);
    expect([502, 504]).toContain(head.status);
    expect(head.headers.get("proxy-status")).toMatch(/^sallyport; error=dns_(error|timeout)$/);
    await expectServing(plain);
  });
  test("our own Via", async () => {
    const request = requestFor("/", ["Via: 1.1 other, 1.1 Test-Proxy (x)"]);
    await expectRefused(plain, request, { status: 502, error: "proxy_loop_detected" });
  });
  test("as JSON after the dial too", async () => {
    plain.scripts.set("/broken", "");
    const { head, body } = await exchange(plain, requestFor("/broken", ["Accept: application/json"]));
    expect([head.status, JSON.parse(body)]).toEqual([502, expect.objectContaining({ error: "connection_terminated" })]);
  });
});

describe("the proxy's own listeners are no target", () => {
  let own: PlainHttp;
  let ownPort: number;
  let adminPort: number;
  beforeAll(async () => {
    // Ports that are known before it starts, for the policy to name them.
    ownPort = await freePort();
    adminPort = await freePort();
    const expected = (): string[] => [`http:${ownPort}`, `http:${adminPort}`];
    own = await startPlainHttp({
      policy: {
        rules: [
          { id: "name", hosts: ["loop.example.com"], expect: expected(), resolves_to: ["127.0.0.0/8"] },
          { id: "literal", addresses: ["127.0.0.1"], expect: expected() },
          { id: "routed", hosts: ["routed.example.com", "plain.example.com"], expect: ["http", "http:81"] },
        ],
      },
      settings: {
        listen: [{ kind: "proxy", address: `127.0.0.1:${ownPort}` }],
        admin: { address: `127.0.0.1:${adminPort}` },
        dns: { hosts: { "loop.example.com": ["127.0.0.1"] } },
        connect_to: [
          `plain.example.com:80:127.0.0.1:${plain.origin.port}`,
          `routed.example.com:80:127.0.0.1:${ownPort}`,
          `routed.example.com:81:127.0.0.1:${adminPort}`,
        ],
      },
    });
  });
  afterAll(() => own.stop());

  test.each(["name", "literal", "routed"])("by %s", async (way) => {
    const targets = {
      name: [`loop.example.com:${ownPort}`, `loop.example.com:${adminPort}`],
      literal: [`127.0.0.1:${ownPort}`, `127.0.0.1:${adminPort}`],
      routed: ["routed.example.com", "routed.example.com:81"],
    }[way];
    for (const target of targets ?? []) {
      await expectRefused(own, requestFor("/metrics", [], "GET", target), {
        status: 502,
        error: "proxy_loop_detected",
      });
    }
  });
});

describe("what is forwarded", () => {
  const paths: Readonly<Record<string, readonly [sent: string, received: string]>> = {
    "an empty path": ["", "/"],
    "an empty path with a query": ["?a=b", "/?a=b"],
    "two slashes": ["//a//b", "//a//b"],
    "dot segments": ["/a/../b/./c", "/a/../b/./c"],
    "percent escapes": ["/%7Ea%2f%2F%zz%", "/%7Ea%2f%2F%zz%"],
    "odd bytes": ["/a;b=c,d'(e)!*$&@[]{}|\\^`<>\"", "/a;b=c,d'(e)!*$&@[]{}|\\^`<>\""],
    "a query with %2b and +": ["/q?a=%2b+b&c=d?e/f&&", "/q?a=%2b+b&c=d?e/f&&"],
    "a URL in the path": ["/http://evil.example/", "/http://evil.example/"],
    "a URL in the query": ["/r?u=https://a.example//b", "/r?u=https://a.example//b"],
  };
  test.each(Object.entries(paths))("%s arrives byte for byte", async (_, [sent, received]) => {
    const index = plain.origin.connections();
    expect((await exchange(plain, requestFor(sent))).head.status).toBe(200);
    expect(headsAt(plain.origin)[index]?.split("\r\n")[0]).toBe(`GET ${received} HTTP/1.1`);
  });

  const hosts: Readonly<Record<string, readonly [target: string, host: string]>> = {
    "another spelling of the host": ["PLAIN.Example.com", "plain.example.com"],
    "a trailing dot": ["plain.example.com.", "plain.example.com"],
    "the default port": ["plain.example.com:80", "plain.example.com"],
  };
  test.each(Object.entries(hosts))("%s arrives in canonical form", async (_, [target, host]) => {
    const index = plain.origin.connections();
    expect((await exchange(plain, requestFor("/", [], "GET", target))).head.status).toBe(200);
    expect(headsAt(plain.origin)[index]?.split("\r\n")[1]).toBe(`Host: ${host}`);
  });

  test("Range and what goes with it, and 206 and 416 back", async () => {
    const index = plain.origin.connections();
    plain.scripts.set(
      "/part",
      'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nETag: "e"\r\nContent-Length: 2\r\n\r\nok',
    );
    plain.scripts.set(
      "/none",
      "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */9\r\nContent-Length: 0\r\n\r\n",
    );
    const responses = (status: string): Promise<number | undefined> =>
      plain.sallyport.metric(`sallyport_range_responses_total{result="${status}"}`);
    const before = [await responses("206"), await responses("416")];
    const part = await exchange(plain, requestFor("/part", ["Range: BYTES=0-1, 4-", 'If-Range: "e"']));
    expect([part.head.status, part.head.headers.get("content-range"), part.head.headers.get("etag")]).toEqual([
      206,
      "bytes 0-1/9",
      '"e"',
    ]);
    const none = await exchange(plain, requestFor("/none", ["Range: bytes=90-"]));
    expect([none.head.status, none.head.headers.get("content-range")]).toEqual([416, "bytes */9"]);
    expect(headsAt(plain.origin)[index]).toContain('Range: BYTES=0-1, 4-\r\nIf-Range: "e"\r\n');
    expect(await lineOf(plain, "/part")).toMatchObject({ range: "BYTES=0-1, 4-", status: 206 });
    await lineOf(plain, "/none");
    expect([await responses("206"), await responses("416")]).toEqual([(before[0] ?? 0) + 1, (before[1] ?? 0) + 1]);
  });

  test("no Range where the rule strips it", async () => {
    const index = plain.origin.connections();
    const fields = ["Range: bytes=0-1", "If-Range: x", "X-Kept: 1"];
    expect((await exchange(plain, requestFor("/strip", fields, "GET", "strip.example.com"))).head.status).toBe(200);
    expect(headsAt(plain.origin)[index]).not.toMatch(/range/i);
    await lineOf(plain, "/strip");
    const series = `sallyport_http_requests_total{method="GET",code_class="2xx",range="stripped"}`;
    expect(await plain.sallyport.metric(series)).toBe(1);
  });

  test("conditions, and a 304 back", async () => {
    const index = plain.origin.connections();
    plain.scripts.set("/same", 'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\n\r\n');
    const client = await plain.connect();
    client.send(requestFor("/same", ['If-None-Match: "e"', "If-Modified-Since: x"]));
    expect((await client.readHead()).status).toBe(304);
    expect(headsAt(plain.origin)[index]).toContain('If-None-Match: "e"\r\nIf-Modified-Since: x\r\n');
    client.send(requestFor("/ok"));
    expect((await client.readHead()).status).toBe(200);
  });

  test("HEAD, with the length of what it does not bring", async () => {
    plain.scripts.set("/head", "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    const client = await plain.connect();
    client.send(requestFor("/head", [], "HEAD") + requestFor("/ok"));
    expect((await client.readHead()).headers.get("content-length")).toBe("12345");
    const next = await client.readHead();
    expect([next.status, await readBody(client, next)]).toEqual([200, "ok"]);
  });

  test("an upload with Expect, whose 100 comes from the origin", async () => {
    const index = plain.origin.connections();
    plain.scripts.set("/expect", ({ socket, waitForBytes }, head) => {
      socket.write("HTTP/1.1 100 Continue\r\n\r\n");
      waitForBytes(head.length + 5).then(
        () => socket.end(ok),
        () => socket.destroy(),
      );
    });
    const client = await plain.connect();
    client.send(requestFor("/expect", ["Expect: 100-Continue", "Content-Length: 5"], "POST"));
    expect((await client.readHead()).status).toBe(100);
    client.send("hello");
    const head = await client.readHead();
    expect([head.status, head.headers.get("connection"), await readBody(client, head)]).toEqual([
      200,
      "keep-alive",
      "ok",
    ]);
    const sent = (await plain.origin.recording(index)).bytes().toString();
    expect(sent).toContain("Expect: 100-continue\r\n");
    expect(sent.endsWith("\r\n\r\nhello")).toBe(true);
  });

  test.each([417, 413])("an upload with Expect that the origin answers with %d at once", async (status) => {
    const index = plain.origin.connections();
    const path = `/early-${status}`;
    plain.scripts.set(path, `HTTP/1.1 ${status} No\r\nContent-Length: 2\r\n\r\nno`);
    const client = await plain.connect();
    client.send(requestFor(path, ["Expect: 100-continue", "Content-Length: 5"], "POST"));
    const head = await client.readHead();
    expect([head.status, head.headers.get("connection"), await readBody(client, head)]).toEqual([
      status,
      "close",
      "no",
    ]);
    expect(await client.waitClose()).toBe("fin");
    expect((await plain.origin.recording(index)).bytes().toString()).not.toContain("hello");
    await expectServing(plain);
  });

  test("an Expect without a body is not sent on: nobody would wait", async () => {
    const index = plain.origin.connections();
    expect((await exchange(plain, requestFor("/", ["Expect: 100-continue"]))).head.status).toBe(200);
    expect(headsAt(plain.origin)[index]).not.toMatch(/expect/i);
  });

  test("an empty POST says that it is empty", async () => {
    const index = plain.origin.connections();
    expect((await exchange(plain, requestFor("/", [], "POST"))).head.status).toBe(200);
    expect((await exchange(plain, requestFor("/", ["Content-Length: 0"], "GET"))).head.status).toBe(200);
    const [post, get] = headsAt(plain.origin).slice(index);
    expect(post).toContain("Content-Length: 0\r\n");
    expect(get).not.toMatch(/content-length/i);
  });
});

describe("connections", () => {
  test("one client connection serves several origins in turn", async () => {
    const client = await plain.connect();
    for (const host of ["plain.example.com", "second.example.com", "strip.example.com", "plain.example.com"]) {
      const index = plain.origin.connections();
      client.send(requestFor("/turn", [], "GET", host));
      const head = await client.readHead();
      expect([head.status, head.headers.get("connection"), await readBody(client, head)]).toEqual([
        200,
        "keep-alive",
        "ok",
      ]);
      expect(headsAt(plain.origin)[index]).toContain(`Host: ${host}\r\n`);
    }
  });

  test("an HTTP/1.0 client is answered in 1.1 and not kept, whatever it asks for", async () => {
    plain.scripts.set("/old", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    const index = plain.origin.connections();
    for (const fields of ["", "Connection: keep-alive\r\n", "Proxy-Connection: keep-alive\r\n"]) {
      const client = await plain.connect();
      client.send(`GET http://plain.example.com/old HTTP/1.0\r\n${fields}\r\n`);
      const head = await client.readHead();
      expect(head.raw.startsWith("HTTP/1.1 200 OK\r\n")).toBe(true);
      expect(head.headers.has("transfer-encoding")).toBe(false);
      expect([head.headers.get("connection"), (await client.readAll()).toString()]).toEqual(["close", "ok"]);
    }
    expect(headsAt(plain.origin)[index]).toContain(
      "GET /old HTTP/1.1\r\nHost: plain.example.com\r\nVia: 1.0 test-proxy\r\n",
    );
  });

  test("an HTTP/1.0 origin without a length is chunked to a 1.1 client, and says so in Via", async () => {
    plain.scripts.set("/ancient", "HTTP/1.0 200 OK\r\n\r\nto the end");
    const { head, body } = await exchange(plain, requestFor("/ancient"));
    expect([head.headers.get("transfer-encoding"), head.headers.get("via"), body]).toEqual([
      "chunked",
      "1.0 test-proxy",
      "to the end",
    ]);
  });

  test("a client that goes away in mid-download takes the origin's connection with it", async () => {
    const index = plain.origin.connections();
    plain.scripts.set("/endless", ({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
      socket.write(Buffer.alloc(50_000));
    });
    const client = await plain.connect();
    client.send(requestFor("/endless"));
    await client.readHead();
    client.close();
    await (
      await plain.origin.recording(index)
    ).ended;
    expect(await lineOf(plain, "/endless")).toMatchObject({
      outcome: "client_aborted",
      closed_by: "client",
      status: 200,
    });
    await expectServing(plain);
  });

  test("the log line of an exchange says what was moved, where and how fast", async () => {
    plain.scripts.set("/line", ok);
    await exchange(plain, `${requestFor("/line", ["Content-Length: 3"], "POST")}abc`);
    expect(await lineOf(plain, "/line")).toMatchObject({
      event: "request",
      verdict: "allow",
      reason: "allowed",
      rule: "site/plain",
      mode: "enforce",
      stage: "request",
      listener: `127.0.0.1:${plain.sallyport.port}`,
      client: "127.0.0.1",
      method: "POST",
      scheme: "http",
      host: "plain.example.com",
      port: 80,
      status: 200,
      bytes_up: 3,
      bytes_down: 2,
      upstream: `127.0.0.1:${plain.origin.port}`,
    });
  });
});

test("nothing was said on the terminal but the greeting, and how many files may be open", () => {
  const said = plain.sallyport.stderr().replace(/^sallyport: warning: this process may open.*$/m, "");
  expect(said).not.toMatch(/warning|deprecat|error/i);
});
