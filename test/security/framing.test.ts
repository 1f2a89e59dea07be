/**
 * Attack: requests that two recipients would delimit differently (request smuggling), and heads and bodies that are
 * none. Each is refused, or forwarded re-serialised as exactly one request.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PlainHttp,
  exchange,
  expectRefused,
  expectServing,
  lineOf,
  readBody,
  requestFor,
  startPlainHttp,
} from "../support/plain-http.ts";

let plain: PlainHttp;
beforeAll(async () => {
  plain = await startPlainHttp();
  for (const path of ["/broken", "/upload"]) plain.scripts.set(path, () => {});
});
afterAll(() => plain.stop());

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: plain.example.com\r\n\r\n";
const chunk = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`;

describe("a body that looks like a request is one body of one request", () => {
  const cases: Readonly<Record<string, { readonly request: string; readonly wire: string }>> = {
    "chunked DELETE": { request: requestFor("/delete", ["Transfer-Encoding: chunked"], "DELETE") + chunk, wire: chunk },
    "chunked OPTIONS": {
      request: requestFor("/options", ["Transfer-Encoding: Chunked"], "OPTIONS") + chunk,
      wire: chunk,
    },
    "chunked GET": { request: requestFor("/get", ["transfer-encoding: chunked"]) + chunk, wire: chunk },
    "chunked POST": { request: requestFor("/post", ["Transfer-Encoding: chunked"], "POST") + chunk, wire: chunk },
    "DELETE with a length": {
      request: requestFor("/delete", [`Content-Length: ${smuggled.length}`], "DELETE") + smuggled,
      wire: smuggled,
    },
    "GET with a length": {
      request: requestFor("/get", [`Content-Length: ${smuggled.length}`]) + smuggled,
      wire: smuggled,
    },
    "chunk extensions are dropped": {
      request: `${requestFor("/post", ["Transfer-Encoding: chunked"], "POST")}3;a=b;c="d"\r\nabc\r\n0;x\r\n\r\n`,
      wire: "3\r\nabc\r\n0\r\n\r\n",
    },
    "Trailer on a GET crashes nobody": { request: requestFor("/get", ["Trailer: X"]), wire: "" },
    "trailers are dropped": {
      request: `${requestFor("/post", ["Transfer-Encoding: chunked", "Trailer: Host"], "POST")}3\r\nabc\r\n0\r\nX-Checksum: 9\r\nHost: evil\r\n\r\n`,
      wire: "3\r\nabc\r\n0\r\n\r\n",
    },
  };
  test.each(Object.entries(cases))("%s", async (_, { request, wire }) => {
    const index = plain.origin.connections();
    const { head } = await exchange(plain, request);
    expect(head.status).toBe(200);
    const recording = await plain.origin.recording(index);
    await recording.closed;
    const text = recording.bytes().toString("latin1");
    expect(text.slice(text.indexOf("\r\n\r\n") + 4)).toBe(wire);
    expect(plain.origin.connections()).toBe(index + 1);
    expect(text).not.toMatch(/trailer/i);
    await expectServing(plain);
  });
});

describe("framing that two recipients could read in two ways is refused", () => {
  const body = "abcde";
  const withFields = (...fields: string[]): string => requestFor("/post", fields, "POST") + body;
  const codings = ["gzip", "xchunked", "gzip, chunked", "chunked;q=1", "identity", '"chunked"'];
  const cases: Readonly<Record<string, string>> = {
    "Content-Length, then Transfer-Encoding": withFields("Content-Length: 5", "Transfer-Encoding: chunked"),
    "Transfer-Encoding, then Content-Length": withFields("Transfer-Encoding: chunked", "Content-Length: 5"),
    "two equal lengths": withFields("Content-Length: 5", "Content-Length: 5"),
    "two different lengths": withFields("Content-Length: 5", "Content-Length: 6"),
    "a list of lengths": withFields("Content-Length: 5, 5"),
    "an empty length": withFields("Content-Length:"),
    "a signed length": withFields("Content-Length: +5"),
    "a negative length": withFields("Content-Length: -5"),
    "a hexadecimal length": withFields("Content-Length: 0x5"),
    "a length with an underscore": withFields("Content-Length: 1_0"),
    "a length with something behind it": withFields("Content-Length: 5 x"),
    "a length with a leading zero": withFields("Content-Length: 05"),
    "a length beyond 64 bits": withFields("Content-Length: 18446744073709551621"),
    "a length beyond what a double counts": withFields("Content-Length: 9007199254740993"),
    "an empty coding": withFields("Transfer-Encoding:"),
    "chunked twice": withFields("Transfer-Encoding: chunked, chunked"),
    "chunked, and then another": withFields("Transfer-Encoding: chunked, identity"),
    "two fields chunked": withFields("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "Transfer-Encoding in HTTP/1.0": withFields("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0"),
  };
  test.each(Object.entries(cases))("%s", async (_, request) => {
    await expectRefused(plain, request, { status: 400, reason: "bad_request" });
  });

  test.each(codings)("the coding %s", async (coding) => {
    const request = withFields(`Transfer-Encoding: ${coding}`);
    await expectRefused(plain, request, { status: 501, reason: "bad_request" });
  });
});

describe("a body that is none is never forwarded as a whole one", () => {
  const broken: Readonly<Record<string, string>> = {
    "a chunk size that is no number": "zz\r\nabc\r\n0\r\n\r\n",
    "a negative chunk size": "-3\r\nabc\r\n0\r\n\r\n",
    "a chunk size with 0x": "0x3\r\nabc\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "an empty chunk size": "\r\nabc\r\n0\r\n\r\n",
    "a chunk without its CRLF": "3\r\nabc0\r\n\r\n",
    "a chunk size that ends in LF": "3\nabc\r\n0\r\n\r\n",
    "a chunk size that ends in CR": "3\rabc\r\n0\r\n\r\n",
    "a chunk that is longer than its size": "2\r\nabc\r\n0\r\n\r\n",
    "NUL in a chunk extension": "3;a=\0\r\nabc\r\n0\r\n\r\n",
    "an endless chunk extension": `3;${"a".repeat(20_000)}\r\nabc\r\n0\r\n\r\n`,
    "a length as a trailer": "3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n",
    "a space before the chunk size": " 3\r\nabc\r\n0\r\n\r\n",
    "a space behind the chunk size": "3 \r\nabc\r\n0\r\n\r\n",
    "a bare CR in a chunk extension": "3;a\rb\r\nabc\r\n0\r\n\r\n",
    "a last chunk that ends in LF": "3\r\nabc\r\n0\n\n",
    "a coding as a trailer": "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a trailer without a colon": "3\r\nabc\r\n0\r\nX\r\n\r\n",
    "a trailer with NUL": "3\r\nabc\r\n0\r\nX: a\0\r\n\r\n",
    "trailers of a megabyte": `3\r\nabc\r\n0\r\nX: ${"a".repeat(1_048_576)}\r\n\r\n`,
    "a trailer that is folded": "3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n",
  };
  const unbounded: Readonly<Record<string, string>> = {
    "chunk extensions without end, a little in each chunk": `${`1;${"a".repeat(1000)}\r\nx\r\n`.repeat(200)}0\r\n\r\n`,
    "a chunk size of 10,000 zeros": `${"0".repeat(10_000)}3\r\nabc\r\n0\r\n\r\n`,
    "10,000 trailers": `3\r\nabc\r\n0\r\n${"X: a\r\n".repeat(10_000)}\r\n`,
  };
  const chunked = ["Transfer-Encoding: chunked"];
  const head = requestFor("/broken", chunked, "POST");

  test.each(Object.entries(broken))("%s, with the head", async (_, body) => {
    await expectRefused(plain, head + body, { status: 400, reason: "bad_request", mayDial: true });
  });

  test.each(Object.entries(unbounded))("%s", async (_, body) => {
    await expectRefused(plain, head + body, { status: 400, reason: "bad_request", mayDial: true });
  });

  test.each(Object.entries(broken))("%s, when the head has gone up", async (_, body) => {
    const index = plain.origin.connections();
    const path = `/broken?${index}`;
    const client = await plain.connect();
    client.send(`${requestFor(path, chunked, "POST")}3\r\nabc\r\n`);
    const recording = await plain.origin.recording(index);
    await recording.waitForBytes(1);
    client.send(body);
    const answer = await client.readHead();
    expect([answer.status, answer.headers.get("connection")]).toEqual([400, "close"]);
    expect(answer.headers.get("proxy-status")).toBe("sallyport; error=http_request_error");
    await recording.ended;
    expect(recording.bytes().toString("latin1")).not.toContain("\r\n0\r\n");
    expect(await lineOf(plain, path)).toMatchObject({ verdict: "allow", status: 400, outcome: "client_aborted" });
    await expectServing(plain);
  });

  test("a broken body behind another request", async () => {
    const index = plain.origin.connections();
    const client = await plain.connect();
    client.send(`${requestFor("/first")}${head}zz\r\n`);
    const first = await client.readHead();
    expect([first.status, await readBody(client, first)]).toEqual([200, "ok"]);
    expect((await client.readHead()).status).toBe(400);
    await client.readAll();
    expect(plain.origin.connections()).toBe(index + 1);
    await expectServing(plain);
  });

  test("an upload that the client gives up is given up at the origin", async () => {
    const index = plain.origin.connections();
    const path = "/upload";
    const client = await plain.connect();
    client.send(`${requestFor(path, ["Content-Length: 1000"], "POST")}abc`);
    const recording = await plain.origin.recording(index);
    await recording.waitForBytes(1);
    client.close();
    await recording.ended;
    expect(await lineOf(plain, path)).toMatchObject({ outcome: "client_aborted", closed_by: "client" });
    await expectServing(plain);
  });

  test("an upload that ends with a FIN in the middle is given up at the origin", async () => {
    const index = plain.origin.connections();
    const client = await plain.connect();
    client.send(`${head}3\r\nabc\r\n`);
    const recording = await plain.origin.recording(index);
    await recording.waitForBytes(1);
    client.end();
    await recording.ended;
    expect(recording.bytes().toString("latin1")).not.toContain("\r\n0\r\n");
    await expectServing(plain);
  });
});
