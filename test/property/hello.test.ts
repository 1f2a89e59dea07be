/** Properties of the two hello parsers: total, final, blind to how the bytes were cut, and never reading past the message. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseClientHello } from "../../src/wire/client-hello.ts";
import { parseServerHello } from "../../src/wire/server-hello.ts";
import {
  type Extension,
  alpn,
  bytes,
  clientHelloMessage,
  encryptedClientHello,
  extension,
  grease,
  padding,
  preSharedKey,
  record,
  records,
  selectedVersion,
  serverHelloMessage,
  serverName,
  supportedVersions,
} from "../support/hello.ts";

const cap = 8192;
const bytesUpTo = (maxLength: number) => fc.uint8Array({ maxLength });

const host = fc
  .array(fc.stringMatching(/^[a-zA-Z]([a-zA-Z0-9-]{0,10}[a-zA-Z0-9])?$/), { minLength: 1, maxLength: 4 })
  .map((labels) => labels.join("."));
const versions = fc.uniqueArray(fc.constantFrom(0x0301, 0x0302, 0x0303, 0x0304, 0x2a2a, 0x7f1c), { minLength: 1 });
const protocols = fc.array(fc.constantFrom("h2", "http/1.1", "\x0a\x0a", "\u00ff"), { minLength: 1, maxLength: 5 });

/** Well-formed but for what mutations do later; the facts that go in are known. */
const client = fc
  .record({
    name: fc.option(host),
    versions,
    protocols: fc.option(protocols),
    ech: fc.boolean(),
    psk: fc.boolean(),
    noise: fc.uniqueArray(fc.constantFrom(1, 4, 9), { maxLength: 3 }),
    size: fc.integer({ min: 0, max: 1500 }),
  })
  .map((facts) => {
    const extensions: Extension[] = facts.noise.map((n) => grease(n));
    if (facts.name !== null) extensions.push(serverName(facts.name));
    extensions.push(supportedVersions(0x0303, ...facts.versions), padding(facts.size));
    if (facts.protocols !== null) extensions.push(alpn(...facts.protocols));
    if (facts.ech) extensions.push(encryptedClientHello());
    if (facts.psk) extensions.push(preSharedKey());
    return { facts, message: clientHelloMessage({ extensions }) };
  });

const server = fc.record({ tls13: fc.boolean(), size: fc.integer({ min: 0, max: 300 }) }).map(({ tls13, size }) =>
  serverHelloMessage({
    extensions: tls13 ? [padding(size), selectedVersion(0x0304)] : [extension(23, new Uint8Array(size))],
  }),
);

const sizes = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 20 });

/** A stream near a valid one: some bytes changed, perhaps cut off, perhaps with more behind it. */
function mutated(message: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 });
  return fc
    .tuple(message, sizes, edits, fc.double({ min: 0, max: 1, noNaN: true }), bytesUpTo(30))
    .map(([whole, cuts, changes, kept, more]) => {
      const sent = records(whole, [...cuts, 2 ** 14]);
      for (const [at, value] of changes) sent[at % Math.min(sent.length, 150)] = value;
      return bytes(kept < 0.3 ? sent.subarray(0, Math.floor(sent.length * kept * 3)) : sent, more);
    });
}

/** The whole prefix and its parts: incomplete up to some byte, and from there on one answer. */
function expectFinal(read: (prefix: Uint8Array) => { readonly kind: string }, sent: Uint8Array): void {
  let answer: { readonly kind: string } | undefined;
  for (let n = 0; n <= sent.length; n++) {
    const reading = read(sent.subarray(0, n));
    if (answer !== undefined) expect(reading).toEqual(answer);
    else if (reading.kind !== "incomplete") answer = reading;
  }
}

describe("parseClientHello", () => {
  test("reads back what was put in, however it is cut over records", () => {
    fc.assert(
      fc.property(client, sizes, bytesUpTo(20), ({ facts, message }, cuts, more) => {
        const sent = records(message, [...cuts, 2 ** 14]);
        expect(parseClientHello(bytes(sent, more), cap)).toEqual({
          kind: "hello",
          serverName: facts.name,
          maxVersion: Math.max(0x0303, ...facts.versions.filter((version) => version <= 0x0304)),
          alpn: (facts.protocols ?? []).filter((protocol) => protocol !== "\x0a\x0a"),
          ech: facts.ech,
          length: sent.length,
        });
      }),
      { numRuns: 300 },
    );
  });

  test("gives one answer for ever, for valid and for damaged hellos and any cap", () => {
    fc.assert(
      fc.property(mutated(client.map(({ message }) => message)), fc.integer({ min: 16, max: 1500 }), (sent, capBytes) =>
        expectFinal((prefix) => parseClientHello(prefix, capBytes), sent.subarray(0, 700)),
      ),
      { numRuns: 150 },
    );
  });

  test("gives the same answer with the walk of any shorter prefix", () => {
    fc.assert(
      fc.property(
        mutated(client.map(({ message }) => message)),
        fc.array(fc.integer({ min: 1, max: 90 })),
        (sent, steps) => {
          let n = 0;
          let reading = parseClientHello(sent.subarray(0, n), cap);
          for (const step of [...steps, sent.length]) {
            if (reading.kind !== "incomplete") break;
            n = Math.min(n + step, sent.length);
            reading = parseClientHello(sent.subarray(0, n), cap, reading.walk);
            expect(reading).toEqual(parseClientHello(sent.subarray(0, n), cap));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("never throws, on damaged hellos and on noise behind a record header", () => {
    const noise = bytesUpTo(200).map((body) => record(22, bytes([1, 0, 0, body.length], body)));
    fc.assert(
      fc.property(fc.oneof(mutated(client.map(({ message }) => message)), noise, bytesUpTo(60)), (sent) => {
        const reading = parseClientHello(sent, cap);
        if (reading.kind === "hello") expect(reading.length).toBeLessThanOrEqual(sent.length);
      }),
      { numRuns: 2000 },
    );
  });

  test("reads nothing behind the hello, not even for a length that lies", () => {
    fc.assert(
      fc.property(mutated(client.map(({ message }) => message)), bytesUpTo(40), bytesUpTo(40), (sent, one, other) => {
        const reading = parseClientHello(sent, cap);
        if (reading.kind === "incomplete") return;
        expect(parseClientHello(bytes(sent, one), cap)).toEqual(reading);
        expect(parseClientHello(bytes(sent, other, new Uint8Array(cap)), cap)).toEqual(reading);
      }),
      { numRuns: 500 },
    );
  });
});

describe("parseServerHello", () => {
  const alerts = fc
    .array(fc.nat(255), { maxLength: 3 })
    .map((all) => bytes(...all.map((code) => record(21, Uint8Array.of(1, code)))));

  test("gives one answer for ever, for valid and for damaged flights and any cap", () => {
    fc.assert(
      fc.property(alerts, mutated(server), fc.integer({ min: 16, max: 600 }), (first, sent, capBytes) =>
        expectFinal((prefix) => parseServerHello(prefix, capBytes), bytes(first, sent)),
      ),
      { numRuns: 150 },
    );
  });

  test("reads the same version however the flight is cut over records", () => {
    fc.assert(
      fc.property(alerts, server, sizes, bytesUpTo(40), (first, message, cuts, more) => {
        const expected = parseServerHello(record(22, message), cap);
        expect(expected.kind).toBe("hello");
        expect(parseServerHello(bytes(first, records(message, [...cuts, 2 ** 14]), more), cap)).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  test("never throws, and lets only whole alerts pass", () => {
    fc.assert(
      fc.property(alerts, fc.oneof(mutated(server), bytesUpTo(60)), (first, rest) => {
        const sent = bytes(first, rest);
        const reading = parseServerHello(sent, cap);
        if (reading.kind !== "incomplete") return;
        expect(reading.pass % 7).toBe(0);
        expect(reading.pass).toBeGreaterThanOrEqual(first.length);
        for (let at = 0; at < reading.pass; at += 7)
          expect([sent[at], sent[at + 1], sent[at + 3], sent[at + 4]]).toEqual([21, 3, 0, 2]);
      }),
      { numRuns: 1000 },
    );
  });
});
