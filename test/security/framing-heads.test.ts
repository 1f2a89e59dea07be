/**
 * Attack: heads that are malformed, that name another target than they seem to, or that belong to another protocol.
 * None is repaired and sent on.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PlainHttp,
  exchange,
  expectRefused,
  expectServing,
  headsAt,
  lineOf,
  readBody,
  requestFor,
  startPlainHttp,
} from "../support/plain-http.ts";

let plain: PlainHttp;
beforeAll(async () => {
  plain = await startPlainHttp();
});
afterAll(() => plain.stop());

const bad = { status: 400, reason: "bad_request" } as const;

describe("a head that is malformed", () => {
  const start = "GET http://plain.example.com/ HTTP/1.1\r\n";
  const host = "Host: plain.example.com\r\n";
  const cases: Readonly<Record<string, string>> = {
    "a folded field": `${start}${host}X: a\r\n b\r\n\r\n`,
    "a first field that begins with a space": `${start} ${host}\r\n`,
    "a space before the colon": `${start}Host : plain.example.com\r\n\r\n`,
    "a tab before the colon": `${start}Host\t: plain.example.com\r\n\r\n`,
    "lines that end in LF": `GET http://plain.example.com/ HTTP/1.1\nHost: plain.example.com\n\n`,
    "one line that ends in LF": `${start}${host}X: a\nY: b\r\n\r\n`,
    "a head that ends in LF": `${start}${host}\n`,
    "a bare CR in a value": `${start}${host}X: a\rY: b\r\n\r\n`,
    "two CRs": `${start}${host}X: a\r\r\n\r\n`,
    "NUL in a value": `${start}${host}X: a\0b\r\n\r\n`,
    "NUL in a name": `${start}${host}X\0: a\r\n\r\n`,
    "DEL in a value": `${start}${host}X: a\x7fb\r\n\r\n`,
    "an escape in a value": `${start}${host}X: a\x1b[31m\r\n\r\n`,
    "an empty name": `${start}${host}: a\r\n\r\n`,
    "a name that is no token": `${start}${host}X(Y): a\r\n\r\n`,
    "a name with a space": `${start}${host}X Y: a\r\n\r\n`,
    "a line without a colon": `${start}${host}X\r\n\r\n`,
    "a name with obs-text": `${start}${host}X\xe9: a\r\n\r\n`,
    "no Host": `${start}X: a\r\n\r\n`,
    "two Hosts": `${start}${host}${host}\r\n`,
    "an empty Host": `${start}Host:\r\n\r\n`,
    "a Host with userinfo": `${start}Host: a@plain.example.com\r\n\r\n`,
    "a Host with a path": `${start}Host: plain.example.com/\r\n\r\n`,
    "a Host with two ports": `${start}Host: plain.example.com:80:80\r\n\r\n`,
    "an Upgrade with a body": `${start}${host}Transfer-Encoding: chunked\r\nUpgrade: x\r\n\r\n`,
    "a method that nobody knows": `BREW http://plain.example.com/ HTTP/1.1\r\n${host}\r\n`,
    "a method in lower case": `get http://plain.example.com/ HTTP/1.1\r\n${host}\r\n`,
    "two targets": `GET http://plain.example.com/ http://b/ HTTP/1.1\r\n${host}\r\n`,
    "a tab in the request line": `GET\thttp://plain.example.com/\tHTTP/1.1\r\n${host}\r\n`,
    "no version": `GET http://plain.example.com/\r\n${host}\r\n`,
    "another protocol name": `GET http://plain.example.com/ HTTQ/1.1\r\n${host}\r\n`,
  };
  test.each(Object.entries(cases))("%s", async (name, request) => {
    const status = name === "no version" ? 505 : 400;
    await expectRefused(plain, request, { status, reason: "bad_request" });
  });

  test("an expectation other than 100-continue is a 417", async () => {
    await expectRefused(plain, requestFor("/", ["Expect: 200-ok"]), { status: 417, reason: "bad_request" });
  });

  test.each(["2.0", "1.2", "0.9", "3.0"])("version %s is a 505", async (version) => {
    await expectRefused(plain, requestFor("/").replace("1.1", version), { status: 505, reason: "bad_request" });
  });
});

describe("a target that is none", () => {
  const withTarget = (target: string, host = "plain.example.com", method = "GET"): string =>
    `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const cases: Readonly<Record<string, string>> = {
    "origin form": withTarget("/"),
    "origin form with an allowed Host": withTarget("/files/a"),
    "a target that begins with two slashes": withTarget("//plain.example.com/"),
    "an asterisk": withTarget("*", undefined, "OPTIONS"),
    "authority form without CONNECT": withTarget("plain.example.com:80"),
    "https:": withTarget("https://plain.example.com/"),
    "ftp:": withTarget("ftp://plain.example.com/"),
    "file:": withTarget("file:///etc/passwd"),
    "ws:": withTarget("ws://plain.example.com/"),
    "urn:": withTarget("urn:isbn:1"),
    "cache_object:": withTarget("cache_object://plain.example.com/info"),
    "http: with one slash": withTarget("http:/plain.example.com/"),
    "http: with three slashes": withTarget("http:///plain.example.com/"),
    "no host": withTarget("http:///"),
    userinfo: withTarget("http://user@plain.example.com/"),
    "userinfo that looks like a host": withTarget("http://plain.example.com@evil.example/"),
    "a backslash": withTarget("http://plain.example.com\\@evil.example/"),
    "a fragment that hides a host": withTarget("http://evil.example#@plain.example.com/"),
    "a fragment": withTarget("http://plain.example.com/#a"),
    "a percent sign in the host": withTarget("http://%70lain.example.com/"),
    "an empty port": withTarget("http://plain.example.com:/"),
    "port 0": withTarget("http://plain.example.com:0/"),
    "port 65536": withTarget("http://plain.example.com:65536/"),
    "a port beyond 32 bits": withTarget("http://plain.example.com:4294967376/"),
    "a signed port": withTarget("http://plain.example.com:+80/"),
    "a port with a leading zero": withTarget("http://plain.example.com:080/"),
    "two ports": withTarget("http://plain.example.com:80:80/"),
    "two trailing dots": withTarget("http://plain.example.com../"),
    "an empty label": withTarget("http://plain..example.com/"),
    "brackets round a name": withTarget("http://[plain.example.com]/"),
    "an address in hexadecimal": withTarget("http://0x7f000001/", "0x7f000001"),
    "an address as one number": withTarget("http://2130706433/", "2130706433"),
    "an address in octal": withTarget("http://0177.0.0.1/", "0177.0.0.1"),
    "a short address": withTarget("http://127.1/", "127.1"),
    "a zone": withTarget("http://[fe80::1%25lo]/", "[fe80::1%25lo]"),
    "a zero for an address": withTarget("http://0/", "0"),
    "a hexadecimal last label": withTarget("http://127.0.0.0x1/", "127.0.0.0x1"),
    "five numbers": withTarget("http://1.127.0.0.1/", "1.127.0.0.1"),
    "a number too large": withTarget("http://127.0.0.256/", "127.0.0.256"),
    "an IPv6 address without brackets": withTarget("http://::1/", "::1"),
    "double brackets": withTarget("http://[[::1]]/"),
    "brackets round an IPv4 address": withTarget("http://[127.0.0.1]/"),
    "a NUL in the host": withTarget("http://plain.example.com\0.evil.example/"),
    "a tab in the host": withTarget("http://plain\t.example.com/"),
    "raw UTF-8 in the host": withTarget("http://pl\xc3\xa4in.example.com/"),
    "a fullwidth letter in the host": withTarget("http://\xef\xbd\x90lain.example.com/"),
    "an ideographic full stop in the host": withTarget("http://plain\xe3\x80\x82example.com/"),
    "a comma in the host": withTarget("http://plain.example.com,evil.example/"),
    "a semicolon in the host": withTarget("http://evil.example;@plain.example.com/"),
    "a caret in the host": withTarget("http://plain^.example.com/"),
    "braces in the host": withTarget("http://{plain,evil}.example.com/"),
    "a star in the host": withTarget("http://*.example.com/"),
    "a quote in the host": withTarget('http://plain".example.com/'),
    "a pipe in the host": withTarget("http://plain|.example.com/"),
    "a query that hides a host": withTarget("http://evil.example?@plain.example.com/#"),
    "a leading dot": withTarget("http://.plain.example.com/"),
    "a port by name": withTarget("http://plain.example.com:http/"),
    "a hexadecimal port": withTarget("http://plain.example.com:0x50/"),
    "a port beyond 64 bits": withTarget("http://plain.example.com:18446744073709551696/"),
    "a label of 64 letters": withTarget(`http://${"a".repeat(64)}.example.com/`),
    "a name of 254 letters": withTarget(`http://${"abcdefg.".repeat(31)}abcdef/`),
    "two targets with a comma": withTarget("http://plain.example.com/, http://evil.example/ "),
    "a scheme in front of another": withTarget("http:http://plain.example.com/"),
    "jar:": withTarget("jar:http://plain.example.com/!/a"),
    "javascript:": withTarget("javascript:alert(1)"),
    "no scheme": withTarget("://plain.example.com/"),
  };
  test.each(Object.entries(cases))("%s", async (_, request) => {
    await expectRefused(plain, request, bad);
  });
});

describe("a target that no rule allows is decided by itself, whatever Host says", () => {
  const withHost = (target: string, host: string): string => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const cases: Readonly<Record<string, readonly [request: string, reason: string]>> = {
    "an allowed Host beside a denied target": [
      withHost("http://denied.example.com/", "plain.example.com"),
      "host_mismatch",
    ],
    "a denied Host beside an allowed target": [
      withHost("http://plain.example.com/", "denied.example.com"),
      "host_mismatch",
    ],
    "an allowed Host on another port": [
      withHost("http://plain.example.com/", "plain.example.com:8080"),
      "host_mismatch",
    ],
    "a denied host with a trailing dot": [
      withHost("http://denied.example.com./", "denied.example.com."),
      "rule_denied",
    ],
    "a denied host in upper case": [withHost("http://DENIED.example.COM/", "denied.example.com"), "rule_denied"],
    "the scheme in upper case": [withHost("HTTP://denied.example.com/", "denied.example.com"), "rule_denied"],
    "a name that ends like an allowed one": [
      withHost("http://evilplain.example.com/", "evilplain.example.com"),
      "no_rule",
    ],
    "a name that begins like an allowed one": [
      withHost("http://plain.example.com.evil.test/", "plain.example.com.evil.test"),
      "no_rule",
    ],
    "the parent of an allowed name": [withHost("http://example.com/", "example.com"), "no_rule"],
    "an allowed host on a port that its rule does not name": [
      withHost("http://plain.example.com:8080/", "plain.example.com:8080"),
      "port_mismatch",
    ],
    "an allowed host in the path of a denied one": [
      withHost("http://denied.example.com/http://plain.example.com/", "denied.example.com"),
      "rule_denied",
    ],
    ...Object.fromEntries(
      [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::1]",
        "[::127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "0.0.0.0",
      ].map((address): [string, readonly [string, string]] => [
        `the address ${address}`,
        [withHost(`http://${address}/`, address), "ip_literal"],
      ]),
    ),
  };
  test.each(Object.entries(cases))("%s", async (_, [request, reason]) => {
    await expectRefused(plain, request, { status: 403, reason });
  });
});

describe("what belongs to another protocol", () => {
  const clientHello = Buffer.from("16030100ca010000c60303", "hex");
  const cases: Readonly<Record<string, string | Buffer>> = {
    "a TLS ClientHello": Buffer.concat([clientHello, Buffer.alloc(200, 1)]),
    "an SSLv2 hello": Buffer.from("802e0103010015000000100100800300800700c0", "hex"),
    "an SSH banner": "SSH-2.0-OpenSSH_9.6\r\n",
    "the HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    "a PROXY line": `PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\n${requestFor("/")}`,
    "a PROXY header in binary": Buffer.from("0d0a0d0a000d0a515549540a21110000", "hex"),
    "SOCKS 5": Buffer.from("0502000201", "hex"),
    "SOCKS 4": Buffer.from("04010050c0000201757365720000", "hex"),
    SMTP: "EHLO example.com\r\n",
    RTSP: "DESCRIBE rtsp://plain.example.com/ RTSP/1.0\r\nHost: plain.example.com\r\n\r\n",
    noise: Buffer.from(Array.from({ length: 512 }, (_, i) => (i * 197 + 91) % 256)),
  };
  test.each(Object.entries(cases))("%s is refused, logged, and closed", async (_, bytes) => {
    const position = plain.sallyport.log.length;
    const origin = plain.origin.connections();
    const client = await plain.connect();
    client.send(bytes);
    const head = await client.readHead();
    expect([400, 505]).toContain(head.status);
    expect(await client.waitClose()).toBe("fin");
    const denied = { verdict: "deny", reason: "bad_request", status: head.status };
    const line = await plain.sallyport.logged(
      (one) => plain.sallyport.log.indexOf(one) >= position && one["verdict"] === "deny",
    );
    expect(line).toMatchObject(denied);
    expect(plain.origin.connections()).toBe(origin);
    await expectServing(plain);
  });

  test("HTTP/0.9 gets no answer of another host", async () => {
    const client = await plain.connect();
    client.send("GET http://plain.example.com/\r\n\r\n");
    expect((await client.readHead()).status).toBe(505);
    await expectServing(plain);
  });
});

describe("requests behind one another on one connection", () => {
  test("are decided one by one and answered in order", async () => {
    plain.scripts.set("/slow", ({ socket }) => {
      setImmediate(() => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"));
    });
    const client = await plain.connect();
    client.send(requestFor("/slow") + requestFor("/quick") + requestFor("/slow", [], "GET", "second.example.com"));
    const bodies: string[] = [];
    for (let i = 0; i < 3; i++) bodies.push(await readBody(client, await client.readHead()));
    expect(bodies).toEqual(["slow", "ok", "slow"]);
  });

  test("a denied one is refused and ends the connection: what is behind it is not sent", async () => {
    const before = plain.origin.connections();
    const client = await plain.connect();
    client.send(requestFor("/first") + requestFor("/second", [], "GET", "denied.example.com") + requestFor("/third"));
    const first = await client.readHead();
    expect([first.status, await readBody(client, first)]).toEqual([200, "ok"]);
    const second = await client.readHead();
    expect([second.status, second.headers.get("x-sallyport-reason")]).toEqual([403, "rule_denied"]);
    await readBody(client, second);
    expect((await client.readAll()).length).toBe(0);
    expect(plain.origin.connections()).toBe(before + 1);
    await expectServing(plain);
    await lineOf(plain, "/second");
    const paths = plain.sallyport.log.map((line) => line["path"]);
    expect(paths.filter((path) => ["/first", "/second", "/third"].includes(String(path)))).toEqual([
      "/first",
      "/second",
    ]);
  });

  test("a GET, then a CONNECT: each is judged, in order", async () => {
    const client = await plain.connect();
    client.send(`${requestFor("/one")}CONNECT plain.example.com:80 HTTP/1.1\r\nHost: plain.example.com:80\r\n\r\n`);
    const first = await client.readHead();
    expect([first.status, await readBody(client, first)]).toEqual([200, "ok"]);
    const second = await client.readHead();
    expect([second.status, second.headers.get("x-sallyport-reason")]).toEqual([403, "scheme_mismatch"]);
    await expectServing(plain);
  });

  test.each([
    "CONNECT plain.example.com:80 HTTP/1.1\r\nHost: plain.example.com",
    "GET http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\nConnection: Upgrade\r\nUpgrade: h2c",
  ])("a denied GET, then %j: the refusal is read, and nothing more is done", async (behind) => {
    const before = plain.origin.connections();
    const client = await plain.connect();
    client.send(`${requestFor("/", [], "GET", "denied.example.com")}${behind}\r\n\r\n`);
    const head = await client.readHead();
    expect([head.status, head.headers.get("x-sallyport-reason")]).toEqual([403, "rule_denied"]);
    await readBody(client, head);
    expect((await client.readAll()).length).toBe(0);
    expect(plain.origin.connections()).toBe(before);
    await expectServing(plain);
  });

  test("a GET, then nonsense", async () => {
    const client = await plain.connect();
    client.send(`${requestFor("/one")}nonsense\r\n\r\n`);
    const first = await client.readHead();
    expect([first.status, await readBody(client, first)]).toEqual([200, "ok"]);
    expect((await client.readHead()).status).toBe(400);
    await expectServing(plain);
  });

  test("what follows a request with Connection: close is not answered", async () => {
    const before = plain.origin.connections();
    const client = await plain.connect();
    client.send(requestFor("/one", ["Connection: close"]) + requestFor("/two"));
    const first = await client.readHead();
    expect([first.status, first.headers.get("connection"), await readBody(client, first)]).toEqual([
      200,
      "close",
      "ok",
    ]);
    expect((await client.readAll()).length).toBe(0);
    expect(plain.origin.connections()).toBe(before + 1);
  });

  test("each goes to the origin on a connection of its own", async () => {
    const { client } = await exchange(plain, requestFor("/a"));
    client.send(requestFor("/b", [], "GET", "second.example.com"));
    expect((await client.readHead()).status).toBe(200);
    const last = headsAt(plain.origin).slice(-2);
    expect(last.map((head) => head.split("\r\n", 2))).toEqual([
      ["GET /a HTTP/1.1", "Host: plain.example.com"],
      ["GET /b HTTP/1.1", "Host: second.example.com"],
    ]);
  });
});
