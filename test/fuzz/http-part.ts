/**
 * Heads and chunks: however bytes are cut they are read alike, and what is taken Node's parser takes too, with the same
 * method, target, fields and body. Ours may refuse more than Node's, never less.
 */
import { isDeepStrictEqual } from "node:util";
import { parseAuthority } from "../../src/names/authority.ts";
import { createChunkScan, scanChunks } from "../../src/wire/chunked.ts";
import { parseRequestHead } from "../../src/wire/parse-request-head.ts";
import { judgeResponseFraming, parseResponseHead } from "../../src/wire/parse-response-head.ts";
import { readHead } from "../../src/wire/request-head.ts";
import { parseRequestTarget } from "../../src/wire/request-target.ts";
import { latin1, parseInPieces, upTo } from "../support/in-pieces.ts";
import { type NodeReading, readWithNodeClient, readWithNodeServer } from "../support/node-http-parser.ts";
import { type FuzzPart, hold } from "./part.ts";
import { requestSeeds } from "./request-grammar.ts";
import { readRequest } from "./strict-http.ts";
import { requestWords } from "./words.ts";

const maxBytes = 32 * 1024;
const maxFields = 128;

/** Requests: the head, whether it delimits one body, and that body. */
export function requestHeadPart(parse: typeof parseRequestHead = parseRequestHead): FuzzPart {
  return {
    name: "request-head",
    seeds: [...requestSeeds, "CONNECT plain.example.com:443 HTTP/1.1\r\nHost: plain.example.com:443\r\n\r\n"].map(
      latin1,
    ),
    words: requestWords,
    maxCpuMs: 500,
    check: async (input) => {
      const bytes = Buffer.from(input);
      const reading = parse(bytes, 0, maxBytes);
      holdAlike(reading, parseInPieces(parse, bytes, upTo(bytes.length), maxBytes));
      if (reading.kind === "malformed") return `${reading.problem}: ${reading.detail}`;
      if (reading.kind === "incomplete") return "incomplete";
      const { head, length } = reading;
      const judged = readHead(head, maxFields);
      if (judged.kind === "malformed") return judged.detail;
      if (!isTarget(head.method, head.url)) return "a target that is none";
      const strict = readRequest(bytes, 0);
      hold(isDeepStrictEqual(strict.head?.fields.flat(), head.rawFields), "the strict reading has other fields");
      const node = await readWithNodeServer(bytes);
      hold(node.kind === "head", `Node does not take this head: ${JSON.stringify(node)}`);
      hold(isDeepStrictEqual(node.head, head), `Node reads ${JSON.stringify(node.head)}, not ${JSON.stringify(head)}`);
      return `${judged.framing.kind} ${holdBody(bytes, length, judged.framing, node)}`;
    },
  };
}

/** Responses to a GET: the head, how it delimits the body, and that body. */
export function responseHeadPart(parse: typeof parseResponseHead = parseResponseHead): FuzzPart {
  return {
    name: "response-head",
    seeds: responseSeeds.map(latin1),
    words: [
      ...requestWords,
      "HTTP/1.1 200 OK\r\n",
      "HTTP/1.1 103 Early Hints\r\n\r\n",
      "204",
      "304",
      "101",
      "099",
      "600",
    ],
    maxCpuMs: 500,
    check: async (input) => {
      const bytes = Buffer.from(input);
      const reading = parse(bytes, 0, maxBytes);
      holdAlike(reading, parseInPieces(parse, bytes, upTo(bytes.length), maxBytes));
      if (reading.kind === "malformed") return `${reading.problem}: ${reading.detail}`;
      if (reading.kind === "incomplete") return "incomplete";
      const { status, phrase, httpVersion, rawFields, length } = reading;
      const framing = judgeResponseFraming("GET", status, httpVersion, rawFields);
      if (framing.kind === "malformed") return framing.detail;
      const node = await readWithNodeClient(bytes, "GET");
      hold(node.kind === "head", `Node does not take this head: ${JSON.stringify(node)}`);
      const ours = { status, phrase, httpVersion, rawFields };
      hold(isDeepStrictEqual(node.head, ours), `Node reads ${JSON.stringify(node.head)}, not ${JSON.stringify(ours)}`);
      // Behind an interim response the next one begins, and behind a switch there is no HTTP.
      if (status < 200) return "interim";
      return `${framing.kind} ${holdBody(bytes, length, framing, node)}`;
    },
  };
}

type Body = { readonly kind: "none" | "chunked" | "until_close" } | { readonly kind: "length"; readonly bytes: number };

const responseSeeds = [
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: caf\xe9\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
  'HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\nETag: "a"\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n',
  "HTTP/1.0 404 Not Found \r\nConnection: close\r\n\r\nuntil the end",
  "HTTP/1.1 304\r\nContent-Length: 9\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01a",
];

function holdAlike(whole: { readonly kind: string }, dripped: { readonly kind: string }): void {
  const isAlike = whole.kind === "incomplete" ? dripped.kind === "incomplete" : isDeepStrictEqual(whole, dripped);
  hold(isAlike, `byte by byte it is ${JSON.stringify(dripped)}, and at once ${JSON.stringify(whole)}`);
}

function isTarget(method: string, target: string): boolean {
  if (method === "CONNECT") return parseAuthority(target) !== undefined;
  return parseRequestTarget(method, target).kind === "absolute";
}

/** Node delimits the body that begins at `start` as we do. */
function holdBody(bytes: Buffer, start: number, framing: Body, node: NodeReading<unknown> & { kind: "head" }): string {
  const { state, data } = readBody(bytes, start, framing);
  if (state === "malformed") return "malformed";
  hold(node.body.equals(data), `Node reads the body ${JSON.stringify(node.body.toString("latin1"))}`);
  if (framing.kind !== "until_close") hold(node.isWhole || state !== "done", "Node waits for more of the body");
  return state;
}

function readBody(bytes: Buffer, start: number, framing: Body): { readonly state: string; readonly data: Buffer } {
  if (framing.kind === "none") return { state: "done", data: Buffer.alloc(0) };
  if (framing.kind === "until_close") return { state: "open", data: bytes.subarray(start) };
  if (framing.kind === "length") {
    const data = bytes.subarray(start, start + framing.bytes);
    return { state: data.length === framing.bytes ? "done" : "open", data };
  }
  const whole = scanCut(bytes, start, []);
  const dripped = scanCut(bytes, start, Array.from(bytes.keys()).slice(start + 1));
  hold(isDeepStrictEqual(whole, dripped), "chunks that come byte by byte are read otherwise");
  return whole;
}

function scanCut(bytes: Buffer, start: number, cuts: readonly number[]) {
  const scan = createChunkScan();
  const pieces: Buffer[] = [];
  let at = start;
  for (const cut of [...cuts, bytes.length]) {
    if (scan.state !== "open") break;
    at = scanChunks(scan, bytes.subarray(0, cut), at, (from, to) => pieces.push(bytes.subarray(from, to)));
  }
  return { state: scan.state, detail: scan.detail, at, data: Buffer.concat(pieces) };
}
