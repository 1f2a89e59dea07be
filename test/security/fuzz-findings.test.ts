/**
 * What fuzzing has found stays found: every kept finding is checked again, each part runs for a moment from a fixed seed,
 * and each part notices a fault that is planted for it. `npm run fuzz` is the long run.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAuthority } from "../../src/names/authority.ts";
import { parseClientHello } from "../../src/wire/client-hello.ts";
import { parseRequestHead } from "../../src/wire/parse-request-head.ts";
import { parseResponseHead } from "../../src/wire/parse-response-head.ts";
import { parseRange } from "../../src/wire/range.ts";
import { parseServerHello } from "../../src/wire/server-hello.ts";
import { authorityPart } from "../fuzz/authority-part.ts";
import { captureClientHellos, clientHelloPart } from "../fuzz/client-hello-part.ts";
import { judge } from "../fuzz/differential-part.ts";
import { findingFile, keptFindings } from "../fuzz/findings.ts";
import { requestHeadPart, responseHeadPart } from "../fuzz/http-part.ts";
import { type FuzzPart, runPart } from "../fuzz/part.ts";
import { type ReadyPart, parts, tolerantServer } from "../fuzz/parts.ts";
import { rangePart } from "../fuzz/range-part.ts";
import { serverHelloPart } from "../fuzz/server-hello-part.ts";
import { latin1 } from "../support/in-pieces.ts";

const ready = new Map<string, ReadyPart>();
beforeAll(async () => {
  for (const [name, start] of parts) ready.set(name, await start());
});
afterAll(async () => {
  for (const { stop } of ready.values()) await stop();
});

function partNamed(name: string): FuzzPart {
  const found = ready.get(name);
  if (found === undefined) throw new Error(`no part ${name}`);
  return found.part;
}

test.each(keptFindings())("$file: $note", async ({ file, part, input }) => {
  expect(`test/fuzz/findings/${file}`).toBe(findingFile(part, input).path);
  await partNamed(part).check(input);
});

test.each([...parts.keys()])("%s finds nothing in a moment", async (name) => {
  const { finding, inputs, outcomes } = await runPart(partNamed(name), 4, { inputs: 200 });
  expect(finding).toBeUndefined();
  expect([inputs, outcomes.size > 4]).toEqual([200, true]);
});

describe("a planted fault is found", () => {
  const faults: Readonly<Record<string, () => FuzzPart | Promise<FuzzPart>>> = {
    "a Range whose order is not looked at": () =>
      rangePart((values) => ({
        kind: /^bytes=[\d, \t-]+$/i.test(values.join("\n")) ? "valid" : parseRange(values).kind,
      })),
    "an authority without its userinfo": () =>
      authorityPart((text, port) => parseAuthority(text.replace(/^[^@]*@/, ""), port)),
    "an authority with repaired white space": () => authorityPart((text, port) => parseAuthority(text.trim(), port)),
    "a hello that is another one when more follows": () =>
      clientHelloPart(undefined, [], (prefix, cap, walk) =>
        prefix.length > 600 ? { kind: "too_large" } : parseClientHello(prefix, cap, walk),
      ),
    "a server name that is not the one that is served": async () =>
      clientHelloPart(await tolerantServer(), [], (prefix, cap, walk) => {
        const reading = parseClientHello(prefix, cap, walk);
        return reading.kind === "hello" ? { ...reading, serverName: "a.example.com" } : reading;
      }),
    "a version above which the server may go": async () =>
      clientHelloPart(await tolerantServer(), await captureClientHellos(), (prefix, cap, walk) => {
        const reading = parseClientHello(prefix, cap, walk);
        return reading.kind === "hello" ? { ...reading, maxVersion: 0x0302 } : reading;
      }),
    "a ServerHello read by its legacy version": () =>
      serverHelloPart([], (prefix, cap) => {
        const reading = parseServerHello(prefix, cap);
        return reading.kind === "hello" ? { ...reading, version: 0x0303 } : reading;
      }),
    "a request head with an LF for CR LF": () =>
      requestHeadPart((bytes, _, maxBytes) =>
        parseRequestHead(latin1(bytes.toString("latin1").replaceAll(/(?<!\r)\n/g, "\r\n")), 0, maxBytes),
      ),
    "a request head that is another one byte by byte": () =>
      requestHeadPart((bytes, scanned, maxBytes) =>
        scanned > 150 ? { kind: "incomplete", scanned } : parseRequestHead(bytes, scanned, maxBytes),
      ),
    "a response head without white space in the phrase": () =>
      responseHeadPart((bytes, scanned, maxBytes) => {
        const reading = parseResponseHead(bytes, scanned, maxBytes);
        return reading.kind === "head" ? { ...reading, phrase: reading.phrase.trim() } : reading;
      }),
    "a response head that is longer than it is": () =>
      responseHeadPart((bytes, scanned, maxBytes) => {
        const reading = parseResponseHead(bytes, scanned, maxBytes);
        return reading.kind === "head" ? { ...reading, length: reading.length + 1 } : reading;
      }),
    "work that grows out of bounds": () => ({
      name: "slow",
      seeds: [Buffer.from("a")],
      maxCpuMs: 5,
      check: (input) => {
        const { user } = process.cpuUsage();
        while (input.length > 20 && process.cpuUsage().user - user < 15_000);
        return "";
      },
    }),
  };
  test.each(Object.entries(faults))("%s", async (_, plant) => {
    const { finding } = await runPart(await plant(), 4, { inputs: 3000 });
    expect(finding?.problem).toEqual(expect.any(String));
  });
});

describe("what an origin must not get is noticed", () => {
  const head = "Host: plain.example.com\r\n";
  const own = "Via: 1.1 x\r\n";
  const get = `GET http://plain.example.com/a HTTP/1.1\r\n${head}TE: trailers\r\nX: 1\r\n\r\n`;
  const post = `POST http://plain.example.com/b HTTP/1.1\r\n${head}Content-Length: 2\r\n\r\nok`;
  const denied = `GET http://denied.example.com/ HTTP/1.1\r\nHost: denied.example.com\r\n\r\n`;
  const getThere = `GET /a HTTP/1.1\r\n${head}X: 1\r\n${own}\r\n`;
  const postThere = `POST /b HTTP/1.1\r\n${head}Via: 1.1 x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok`;

  const right: Readonly<Record<string, readonly [sent: string, received: readonly string[]]>> = {
    "two requests": [get + post, [getThere, postThere]],
    "one, and one that is denied": [get + denied, [getThere]],
    "a denied one": [denied, []],
    "a part of a body of which a part was sent": [post.slice(0, -1), [postThere.slice(0, -1)]],
  };
  test.each(Object.entries(right))("what it should get is not: %s", (_, [sent, received]) => {
    expect(() =>
      judge(
        Buffer.from(sent),
        received.map((text) => Buffer.from(text)),
      ),
    ).not.toThrow();
  });

  const faults: Readonly<Record<string, readonly [sent: string, received: readonly string[]]>> = {
    "a denied request": [denied, [`GET / HTTP/1.1\r\nHost: denied.example.com\r\n${own}\r\n`]],
    "a request twice": [get, [getThere, getThere]],
    "two requests on one connection": [get + post, [getThere + postThere]],
    "requests in another order": [get + post, [postThere, getThere]],
    "one of two": [get + post, [getThere]],
    "another path": [get, [getThere.replace("/a", "/A")]],
    "absolute form": [get, [getThere.replace("/a", "http://plain.example.com/a")]],
    "two Hosts": [get, [getThere.replace(head, head + head)]],
    "another Host": [get, [getThere.replace("plain", "second")]],
    "a field that belongs to one hop": [get, [getThere.replace("X: 1", "TE: trailers\r\nX: 1")]],
    "a field less": [get, [getThere.replace("X: 1\r\n", "")]],
    "another value": [get, [getThere.replace("X: 1", "X: 2")]],
    "no Via": [get, [getThere.replace("Via: 1.1 x\r\n", "")]],
    "a line that ends in LF": [get, [getThere.replace("X: 1\r\n", "X: 1\n")]],
    "a head that is only repeated": [get, [getThere.replace("X: 1", "X:1")]],
    "another version": [get, [getThere.replace("HTTP/1.1", "HTTP/1.0")]],
    "a body that nobody sent": [get, [`${getThere}ok`]],
    "another body": [post, [postThere.replace(/ok$/, "no")]],
    "a part of a body": [post, [postThere.slice(0, -1)]],
    "the whole of a broken body": [post.slice(0, -1), [postThere]],
    "two framings": [post, [postThere.replace("Content-Length: 2", "Content-Length: 2\r\nTransfer-Encoding: chunked")]],
  };
  test.each(Object.entries(faults))("%s", (_, [sent, received]) => {
    expect(() =>
      judge(
        Buffer.from(sent),
        received.map((text) => Buffer.from(text)),
      ),
    ).toThrow();
  });
});
