/** ServerHellos: total, final, and read as a second reader reads them that was written apart, in the plainest way. */
import { isDeepStrictEqual } from "node:util";
import type { ServerHelloReading } from "../../src/wire/hello.ts";
import { parseServerHello } from "../../src/wire/server-hello.ts";
import { captureServerFlight } from "../support/captured-hello.ts";
import {
  bytes,
  extension,
  helloRetryRandom,
  padding,
  record,
  records,
  selectedVersion,
  serverHello,
  serverHelloMessage,
} from "../support/hello.ts";
import { testAuthority, testLeaf } from "../support/tls-origin.ts";
import { type FuzzPart, hold } from "./part.ts";

const capBytes = 4096;

export function serverHelloPart(
  captured: readonly Uint8Array[] = [],
  parse: typeof parseServerHello = parseServerHello,
): FuzzPart {
  return {
    name: "server-hello",
    seeds: [...captured.map((flight) => flight.subarray(0, 600)), ...built()],
    maxCpuMs: 400,
    check: (input) => {
      const reading = parse(input, capBytes);
      checkFinality(parse, input, reading);
      const version = readPlainly(Buffer.from(input.subarray(0, capBytes)));
      const read = reading.kind === "hello" ? reading.version : undefined;
      hold(version === read, `read as ${JSON.stringify(reading)}, plainly as ${version ?? "no hello"}`);
      return reading.kind === "malformed" ? reading.detail : `${reading.kind} ${version ?? ""}`;
    },
  };
}

/** What Node's own server sends, in TLS 1.3 and 1.2. */
export async function captureServerFlights(): Promise<readonly Uint8Array[]> {
  const leaf = await testLeaf(await testAuthority(), ["a.example.com"]);
  const trusting = { rejectUnauthorized: false };
  return Promise.all([
    captureServerFlight(trusting, leaf),
    captureServerFlight({ ...trusting, maxVersion: "TLSv1.2" }, leaf),
  ]);
}

function built(): Uint8Array[] {
  const alert = record(21, Uint8Array.of(1, 112));
  const old = { extensions: [extension(23, new Uint8Array(0))] };
  return [
    serverHello(),
    serverHello({ ...old, legacyVersion: 0x0302 }),
    serverHello({ extensions: null, legacyVersion: 0x0301, sessionId: new Uint8Array(0) }),
    serverHello({ random: helloRetryRandom, extensions: [padding(9), selectedVersion(0x0304)] }),
    serverHello({ extensions: [selectedVersion(0x0303)] }),
    bytes(alert, serverHello(old), record(22, Uint8Array.of(14, 0, 0, 0))),
    bytes(alert, alert, records(serverHelloMessage(), [3, 1, 40])),
    records(bytes(serverHelloMessage(old), Uint8Array.of(14, 0, 0, 0)), [30]),
  ];
}

function checkFinality(parse: typeof parseServerHello, input: Uint8Array, whole: ServerHelloReading): void {
  let last: ServerHelloReading = { kind: "incomplete", pass: 0 };
  for (let n = 0; n <= input.length; n++) {
    const reading = parse(input.subarray(0, n), capBytes);
    if (last.kind !== "incomplete") {
      hold(isDeepStrictEqual(reading, last), `${JSON.stringify(last)} becomes ${JSON.stringify(reading)} at byte ${n}`);
    } else if (reading.kind === "incomplete") {
      hold(
        reading.pass >= last.pass && reading.pass <= n,
        `${reading.pass} of ${n} bytes may pass, after ${last.pass}`,
      );
    }
    last = reading;
  }
  hold(isDeepStrictEqual(last, whole), "the whole input is read in two ways");
  if (whole.kind === "incomplete") return;
  const longer = parse(bytes(input, input, new Uint8Array(capBytes)), capBytes);
  hold(isDeepStrictEqual(longer, whole), `more bytes turn ${JSON.stringify(whole)} into ${JSON.stringify(longer)}`);
}

/** The version of a ServerHello; undefined for anything else. A Buffer throws where one reads beyond it. */
function readPlainly(input: Buffer): number | undefined {
  try {
    return versionOf(messageOf(input));
  } catch {
    return undefined;
  }
}

function messageOf(input: Buffer): Buffer {
  let at = 0;
  while (input.readUInt8(at) === 21) {
    if (input.readUInt8(at + 1) !== 3 || input.readUInt16BE(at + 3) !== 2) throw new Error("alert");
    at += 7;
  }
  let content = Buffer.alloc(0);
  for (;;) {
    const length = input.readUInt16BE(at + 3);
    if (input.readUInt8(at) !== 22 || input.readUInt8(at + 1) !== 3) throw new Error("record");
    if (length === 0 || length > 2 ** 14) throw new Error("length");
    content = Buffer.concat([content, input.subarray(at + 5, at + 5 + length)]);
    if (content[0] !== 2) throw new Error("type");
    if (content.length >= 4 && content.length >= 4 + content.readUIntBE(1, 3)) {
      return content.subarray(4, 4 + content.readUIntBE(1, 3));
    }
    at += 5 + length;
  }
}

function versionOf(body: Buffer): number | undefined {
  const legacy = body.readUInt16BE(0);
  const sessionBytes = body.readUInt8(34);
  if (sessionBytes > 32) return undefined;
  let at = 35 + sessionBytes + 3;
  if (at > body.length) return undefined;
  let selected: Buffer | undefined;
  const types: number[] = [];
  if (at < body.length) {
    if (body.readUInt16BE(at) !== body.length - at - 2) return undefined;
    at += 2;
  }
  while (at < body.length) {
    const type = body.readUInt16BE(at);
    const length = body.readUInt16BE(at + 2);
    if (at + 4 + length > body.length || types.includes(type)) return undefined;
    types.push(type);
    if (type === 43) selected = body.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
  if (selected === undefined) return legacy >= 0x0300 && legacy <= 0x0303 ? legacy : undefined;
  return selected.equals(Buffer.of(3, 4)) && legacy === 0x0303 ? 0x0304 : undefined;
}
