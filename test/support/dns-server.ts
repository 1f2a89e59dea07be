/** A small authoritative DNS server on a loopback UDP port, which does as it is told and remembers what it was asked. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { parseAddress } from "../../src/names/address.ts";

export type DnsReply =
  | { readonly kind: "addresses"; readonly addresses: readonly string[]; readonly ttl?: number }
  | { readonly kind: "nodata" | "nxdomain" | "servfail" | "refused" }
  /** Says nothing until `release`, and then `later`; without it never. */
  | { readonly kind: "silence"; readonly later?: DnsReply };

export type QueryType = "A" | "AAAA";

export type DnsServer = {
  /** `127.0.0.1:port`, as `dns.servers` takes it. */
  readonly address: string;
  /** `A www.example.com`, in order of arrival, retries included. */
  readonly queries: readonly string[];
  /** Sets the answer from now on; what was never set is `nodata`. */
  readonly answer: (type: QueryType, name: string, reply: DnsReply) => void;
  /** Fulfilled when this many queries have arrived in all. */
  readonly asked: (count: number) => Promise<void>;
  /** Answers what was met with silence and has a `later`. */
  readonly release: () => void;
  readonly close: () => Promise<void>;
};

const typeCodes: Readonly<Record<QueryType, number>> = { A: 1, AAAA: 28 };
const responseCodes = { addresses: 0, nodata: 0, servfail: 2, nxdomain: 3, refused: 5 } as const;

export async function startDnsServer(): Promise<DnsServer> {
  const socket = createSocket("udp4");
  const replies = new Map<string, DnsReply>();
  const queries: string[] = [];
  const held: (() => void)[] = [];
  const waiting: { readonly count: number; readonly done: () => void }[] = [];

  socket.on("message", (message, peer) => {
    const { type, name, end } = readQuestion(message);
    queries.push(`${type} ${name}`);
    for (const { count, done } of waiting) if (queries.length >= count) done();
    const respond = (reply: DnsReply): void => {
      if (reply.kind !== "silence") socket.send(encode(message, end, type, reply), peer.port, peer.address);
      else if (reply.later !== undefined) held.push(() => respond(reply.later ?? reply));
    };
    respond(replies.get(`${type} ${name}`) ?? { kind: "nodata" });
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");

  return {
    address: `127.0.0.1:${socket.address().port}`,
    queries,
    answer: (type, name, reply) => void replies.set(`${type} ${name}`, reply),
    asked: (count) =>
      new Promise((done) => {
        if (queries.length >= count) done();
        else waiting.push({ count, done });
      }),
    release: () => held.splice(0).forEach((send) => send()),
    close: () => new Promise((done) => socket.close(() => done())),
  };
}

/** RFC 1035 section 4.1.2; `end` is where the question ends. */
function readQuestion(message: Buffer): { type: QueryType; name: string; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = message[at]!; length > 0; length = message[at]!) {
    labels.push(message.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  const type = message.readUInt16BE(at + 1) === typeCodes.AAAA ? "AAAA" : "A";
  return { type, name: labels.join("."), end: at + 5 };
}

function encode(query: Buffer, end: number, type: QueryType, reply: Exclude<DnsReply, { kind: "silence" }>): Buffer {
  const records = reply.kind === "addresses" ? reply.addresses.map((text) => record(type, text, reply.ttl ?? 60)) : [];
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8180 | responseCodes[reply.kind], 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  return Buffer.concat([header, query.subarray(12, end), ...records]);
}

/** One resource record whose name points at the question. */
function record(type: QueryType, text: string, ttl: number): Buffer {
  const data = type === "AAAA" ? bytesOf6(text) : parseAddress(text)!.bytes;
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(typeCodes[type], 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(ttl, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

/** An AAAA record may well hold an IPv4-mapped address, which `parseAddress` folds. */
function bytesOf6(text: string): Uint8Array {
  const { bytes } = parseAddress(text)!;
  return bytes.length === 16 ? bytes : Uint8Array.from([...Array(10).fill(0), 0xff, 0xff, ...bytes]);
}
