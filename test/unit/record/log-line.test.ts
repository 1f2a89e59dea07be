import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../../src/names/address.ts";
import type { Exchange } from "../../../src/record/event.ts";
import { escapeControls, formatExchange, isNoteworthy } from "../../../src/record/log-line.ts";
import { exchangeWith, tunnelWith } from "../../support/exchange.ts";

const time = "2026-11-21T12:00:00.000Z";
const format = (exchange: Exchange, withPath = false) => formatExchange(exchange, "info", time, withPath);
const parse = (exchange: Exchange, withPath = false) => JSON.parse(format(exchange, withPath));

/** Every field has a value. */
const everything = tunnelWith({
  would: true,
  denial: "7F3KQ-2MX9A",
  tls: "1.3",
  alpn: "h2",
  range: "bytes=0-1",
  upstream: parseAddress("2001:db8::1")!,
  upstreamPort: 443,
  closedBy: "client",
  outcome: "connection_terminated",
  nearest: "site/other",
  path: "/x",
});

describe("a line", () => {
  test("has the fields of interface.md in their order, then what it does not name", () => {
    expect(Object.keys(parse(everything, true)).join(" ")).toBe(
      "time level event verdict would reason denial rule mode stage listener client group method scheme host port sni tls alpn range " +
        "status bytes_up bytes_down dial_ms duration_ms upstream closed_by policy id outcome nearest path",
    );
  });

  test("of an allowed request leaves out what is absent", () => {
    expect(
      parse(exchangeWith({ status: 206, range: "bytes=0-1", upstream: parseAddress("192.0.2.7")!, upstreamPort: 80 })),
    ).toEqual({
      time,
      level: "info",
      event: "request",
      verdict: "allow",
      reason: "allowed",
      rule: "windows-update/payload",
      mode: "enforce",
      stage: "request",
      listener: "127.0.0.1:3128",
      client: "10.20.1.4",
      group: "servers",
      method: "GET",
      scheme: "http",
      host: "au.download.windowsupdate.com",
      port: 80,
      range: "bytes=0-1",
      status: 206,
      bytes_up: 0,
      bytes_down: 1000,
      dial_ms: 1.5,
      duration_ms: 12,
      upstream: "192.0.2.7:80",
      policy: "0123456789abcdef",
      id: "w0-1",
    });
  });

  test("of a malformed request has no host, port, status or bytes", () => {
    const malformed = exchangeWith({
      verdict: "deny",
      reason: "bad_request",
      host: "",
      port: 0,
      method: "",
      status: 0,
      bytesDown: 0,
    });
    for (const key of ["host", "port", "method", "status", "bytes_up", "bytes_down"])
      expect(parse(malformed)).not.toHaveProperty(key);
  });

  test("names the event after the kind of exchange", () => {
    expect(parse(tunnelWith()).event).toBe("connect");
    expect(parse(exchangeWith()).event).toBe("request");
  });

  test("says would: deny only where report mode let a denial pass", () => {
    expect(parse(exchangeWith({ would: true, reason: "no_rule", mode: "report" })).would).toBe("deny");
    expect(parse(exchangeWith())).not.toHaveProperty("would");
  });

  test("writes an IPv6 upstream in brackets", () => {
    expect(parse(everything).upstream).toBe("[2001:db8::1]:443");
  });

  test("has the path only when asked for", () => {
    expect(parse(exchangeWith())).not.toHaveProperty("path");
    expect(parse(exchangeWith(), true).path).toBe("/x.cab");
  });

  test("cuts durations to microseconds", () => {
    expect(parse(exchangeWith({ durationMs: 1.23456789 })).duration_ms).toBe(1.235);
  });
});

describe("hostile text", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.string({ unit: "binary", minLength: 200, maxLength: 400 }),
    fc.constantFrom('"}\n{"x":"', "\u001b[2J", "\u0085\u2028\u2029\u202e", "\ud800"),
  );

  test("is one line of printable ASCII that parses, whatever the client sent", () => {
    fc.assert(
      fc.property(
        fc.record({ method: text, host: text, sni: text, alpn: text, range: text, path: text, group: text }),
        (sent) => {
          const line = format(exchangeWith(sent), true);
          expect(line).toMatch(/^[\x20-\x7e]+\n$/);
          const parsed = JSON.parse(line);
          expect(Object.keys(parsed).filter((key) => key === "x")).toEqual([]);
          expect(sent.host.startsWith(parsed.host ?? "")).toBe(true);
        },
      ),
    );
  });

  test("is cut to the length of its field", () => {
    const long = "x".repeat(5000);
    const parsed = parse(exchangeWith({ method: long, host: long, sni: long, range: long, path: long }), true);
    expect([parsed.method, parsed.host, parsed.sni, parsed.range, parsed.path].map((value) => value.length)).toEqual([
      32, 255, 255, 256, 2048,
    ]);
  });

  test("is cut before it is escaped, so that no escape is torn", () => {
    expect(parse(exchangeWith({ method: "\u0000".repeat(40) })).method).toBe("\u0000".repeat(32));
  });

  test.each([
    ["line feed", "\n", "\\n"],
    ["escape", "\u001b", "\\u001b"],
    ["DEL", "\u007f", "\\u007f"],
    ["C1 next line", "\u0085", "\\u0085"],
    ["line separator", "\u2028", "\\u2028"],
    ["paragraph separator", "\u2029", "\\u2029"],
    ["right-to-left override", "\u202e", "\\u202e"],
  ])("%s is escaped", (_, character, escaped) => {
    expect(format(exchangeWith({ method: `A${character}B` }))).toContain(`"method":"A${escaped}B"`);
  });

  test("escapeControls leaves the value of a JSON text as it was", () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        const compact = JSON.stringify(JSON.parse(json));
        expect(JSON.parse(escapeControls(compact))).toEqual(JSON.parse(json));
      }),
    );
  });
});

describe("noteworthy", () => {
  test.each<[string, Partial<Exchange>, boolean]>([
    ["an allowed exchange is not", {}, false],
    ["a denial is", { verdict: "deny", reason: "no_rule", outcome: undefined }, true],
    ["what report mode let pass is", { would: true }, true],
    ["a failure is", { outcome: "dns_error" }, true],
    ["a client that hung up is not", { outcome: "client_aborted" }, false],
    ["a tunnel that fell silent is not", { outcome: "idle_timeout" }, false],
  ])("%s", (_, changes, expected) => {
    expect(isNoteworthy(exchangeWith(changes))).toBe(expected);
  });
});
