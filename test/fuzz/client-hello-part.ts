/**
 * ClientHellos: total, final, blind to how they are cut, and in agreement with OpenSSL. Who is let through by one
 * server name and served by another has passed the proxy.
 */
import { Duplex } from "node:stream";
import { type SecureContext, TLSSocket } from "node:tls";
import { parseClientHello } from "../../src/wire/client-hello.ts";
import type { ClientHello, HelloReading } from "../../src/wire/hello.ts";
import { parseServerHello } from "../../src/wire/server-hello.ts";
import { captureClientHello } from "../support/captured-hello.ts";
import {
  alpn,
  bytes,
  clientHello,
  clientHelloMessage,
  encryptedClientHello,
  grease,
  helloFor,
  padding,
  preSharedKey,
  record,
  records,
  serverName,
  serverNames,
  supportedVersions,
} from "../support/hello.ts";
import { isDeepStrictEqual } from "node:util";
import { type FuzzPart, hold } from "./part.ts";
import { hashOf, randomFrom } from "./random.ts";

const capBytes = 8192;
const serverCapBytes = 20 * 1024;

/** `context` is that of a TLS server that takes every version; without it OpenSSL is not asked. */
export function clientHelloPart(
  context: SecureContext | undefined,
  captured: readonly Uint8Array[] = [],
  parse: typeof parseClientHello = parseClientHello,
): FuzzPart {
  return {
    name: "client-hello",
    seeds: [...captured, ...built()],
    maxCpuMs: 400,
    check: async (input) => {
      const reading = parse(input, capBytes);
      checkFinality(parse, input, reading);
      if (reading.kind !== "hello") return reading.kind === "malformed" ? reading.detail : reading.kind;
      checkHello(parse, input, reading);
      const served = context === undefined ? "not asked" : await checkServer(context, input, reading);
      return `hello ${reading.maxVersion} ${reading.serverName === null} ${reading.alpn.length} ${reading.ech} ${served}`;
    },
  };
}

/** First flights of Node's own client. */
export function captureClientHellos(): Promise<readonly Uint8Array[]> {
  return Promise.all([
    captureClientHello({ servername: "a.example.com" }),
    captureClientHello({ servername: "a.example.com", ALPNProtocols: ["h2", "http/1.1"] }),
    captureClientHello({ servername: "a.example.com", maxVersion: "TLSv1.2" }),
    captureClientHello({ maxVersion: "TLSv1.1", minVersion: "TLSv1", ciphers: "DEFAULT@SECLEVEL=0" }),
  ]);
}

function built(): Uint8Array[] {
  const names = serverName("b.example.com");
  const full = [
    grease(3),
    names,
    supportedVersions(0x2a2a, 0x0304, 0x0303),
    alpn("h2", "http/1.1"),
    encryptedClientHello(),
    padding(40),
    preSharedKey(),
  ];
  const message = clientHelloMessage({ extensions: full });
  return [
    clientHello(),
    helloFor("c.example.com.", [0x0303, 0x0302, 0x0301]),
    helloFor(null),
    clientHello({ extensions: full }),
    clientHello({ extensions: null, legacyVersion: 0x0301, sessionId: new Uint8Array(0) }),
    clientHello({ extensions: [serverNames({ type: 0, name: "x.example.com" }, { type: 0, name: "y.example.com" })] }),
    clientHello({ extensions: [names, serverName("other.example.com")] }),
    records(message, [1]),
    records(message, [5, 100, 7]),
    bytes(clientHello(), record(22, clientHelloMessage())),
  ];
}

/** An answer stays the answer whatever follows, and comes with the same byte whether or not the walk is handed on. */
function checkFinality(parse: typeof parseClientHello, input: Uint8Array, reading: HelloReading): void {
  const random = randomFrom(hashOf(input));
  const noise = Uint8Array.from({ length: 40 }, () => random.below(256));
  if (reading.kind !== "incomplete") {
    for (const more of [noise, input, new Uint8Array(capBytes)]) {
      const longer = parse(bytes(input, more), capBytes);
      // A second message in the record is seen only with the record; the hello is whole before.
      hold(isDeepStrictEqual(longer, reading), `more bytes turn ${show(reading)} into ${show(longer)}`);
    }
  }
  let walked: HelloReading = parse(input.subarray(0, 0), capBytes);
  const step = Math.max(1, Math.floor(input.length / 400));
  for (let n = 1; n <= input.length; n += n < 200 ? 1 : step) {
    const prefix = input.subarray(0, n);
    const fresh = parse(prefix, capBytes);
    if (walked.kind !== "incomplete") {
      hold(isDeepStrictEqual(fresh, walked), `${show(walked)} becomes ${show(fresh)} with byte ${n}`);
      continue;
    }
    const continued = parse(prefix, capBytes, walked.walk);
    hold(
      isDeepStrictEqual(continued, fresh),
      `at byte ${n} the walk says ${show(continued)}, a new one ${show(fresh)}`,
    );
    walked = fresh;
  }
}

function checkHello(parse: typeof parseClientHello, input: Uint8Array, hello: ClientHello): void {
  hold(hello.length <= Math.min(input.length, capBytes), "a hello that ends behind its bytes");
  const shorter = parse(input.subarray(0, hello.length - 1), capBytes);
  hold(shorter.kind === "incomplete", `a hello that is ${shorter.kind} without its last byte`);
  const exact = parse(input.slice(0, hello.length), capBytes);
  hold(isDeepStrictEqual(exact, hello), "a hello that is another one alone in its buffer");
  const message = contentOf(input.subarray(0, hello.length));
  for (const sizes of [[2 ** 14], [1, 3, 200]]) {
    const cut = records(message, sizes);
    const again = parse(cut, capBytes * 6);
    const expected = { ...hello, length: cut.length };
    hold(isDeepStrictEqual(again, expected), `cut into records of ${sizes.join(", ")} bytes it is ${show(again)}`);
  }
}

/** The content of records, one after the other. */
function contentOf(input: Uint8Array): Uint8Array {
  const view = Buffer.from(input);
  const parts: Buffer[] = [];
  for (let at = 0; at < view.length;) {
    const end = at + 5 + view.readUInt16BE(at + 3);
    parts.push(view.subarray(at + 5, end));
    at = end;
  }
  return Buffer.concat(parts);
}

/** OpenSSL reads the same server name, and negotiates no higher version than was read. */
async function checkServer(context: SecureContext, input: Uint8Array, hello: ClientHello): Promise<string> {
  const { name, answer } = await serve(context, input.subarray(0, hello.length));
  if (name !== undefined) {
    const read = hello.serverName ?? "";
    hold(
      sameName(name, read),
      `OpenSSL serves ${JSON.stringify(name)}, and the hello was read as ${JSON.stringify(read)}`,
    );
  }
  hold(answer.length > 0, "OpenSSL waits for more of a hello that was read as whole");
  const reply = parseServerHello(answer, serverCapBytes);
  if (reply.kind !== "hello") {
    hold(answer[0] === 21, `OpenSSL's answer is ${show(reply)}`);
    return "refused";
  }
  hold(reply.version <= hello.maxVersion, `OpenSSL negotiates ${reply.version}, above ${hello.maxVersion}`);
  return `served ${reply.version} ${name !== undefined}`;
}

function sameName(a: string, b: string): boolean {
  return a.toLowerCase().replace(/\.$/, "") === b.toLowerCase().replace(/\.$/, "");
}

/** What a TLS server makes of a first flight: the name it is asked to serve, and what it sends first. */
function serve(
  context: SecureContext,
  flight: Uint8Array,
): Promise<{ readonly name: string | undefined; readonly answer: Buffer }> {
  return new Promise((fulfil) => {
    let name: string | undefined;
    const sent: Buffer[] = [];
    const finish = (): void => {
      clearTimeout(patience);
      socket.destroy();
      wire.destroy();
      fulfil({ name, answer: Buffer.concat(sent) });
    };
    const patience = setTimeout(finish, 1000);
    const wire = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _, done) => {
        sent.push(chunk);
        done();
        setImmediate(finish);
      },
    });
    wire.on("error", () => {});
    const socket = new TLSSocket(wire, {
      isServer: true,
      secureContext: context,
      SNICallback: (asked, done) => {
        name = asked;
        done(null, context);
      },
    });
    socket.on("error", () => setImmediate(finish));
    wire.push(Buffer.from(flight));
  });
}

function show(value: unknown): string {
  return JSON.stringify(value);
}
