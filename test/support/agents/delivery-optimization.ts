/**
 * Delivery Optimization fetching a feature update, as captured of Windows 11 25H2: 216 GETs, all answered 206, each with
 * User-Agent `Microsoft-Delivery-Optimization/10.1`, `Connection: Keep-Alive`, `Content-Length: 0` on a GET and exactly one
 * `Range: bytes=a-b`; no conditions, no HEAD; aligned pieces of 1 MiB in shuffled order, the last one ends with the file.
 * The answers must be 206 with Content-Range, Accept-Ranges and a strong ETag that stays the same: a 200 with the whole
 * file is DO_E_HTTP_BLOCKSIZE_MISMATCH (0x80d05001). The query of a signed URL holds escapes that must arrive as they are.
 */
import { Agent } from "node:http";
import { featureUpdate } from "../lab/file-server.ts";
import { firstWrongByte } from "../lab/payload.ts";
import { type Step, type Surroundings, askProxy, inWords } from "./proxied.ts";

const pieceBytes = 2 ** 20;

const url = `http://tlu.dl.delivery.mp.microsoft.com${featureUpdate.path}?P1=1705528528&P2=404&P3=2&P4=jAZ%2bQ0%2fKk1s%3d`;
/** Downloads at a time; not from the capture, which was one at a time or a few. */
const connections = 4;

/**
 * The steps are in the order of the file, whatever the order of the requests; `count` is for those who have less time.
 * Bytes are checked and not kept: wrong ones throw, as the agent would discard a piece whose hash is wrong.
 */
export async function runDeliveryOptimization(around: Surroundings, count = 216): Promise<readonly Step[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const steps: Step[] = [];
  const waiting = shuffled(count);
  const work = async (): Promise<void> => {
    for (let piece = waiting.pop(); piece !== undefined; piece = waiting.pop()) {
      const answer = await askProxy(around, url, { method: "GET", fields: fieldsOf(piece) }, agent);
      const wrong = firstWrongByte(answer.body, rangeOf(piece).first);
      if (wrong !== undefined) throw new Error(`piece ${piece}: the byte at ${wrong} is wrong`);
      const asked = `GET ${url.split("?")[0]} with a range of 1 MiB`;
      steps[piece] = { asked, answered: inWords(answer), answer: { ...answer, body: Buffer.alloc(0) } };
    }
  };
  try {
    await Promise.all(Array.from({ length: connections }, work));
  } finally {
    agent.destroy();
  }
  return steps;
}

/** The range of a piece: its first byte and its last. */
export function rangeOf(piece: number): { readonly first: number; readonly last: number } {
  const first = piece * pieceBytes;
  return { first, last: Math.min(first + pieceBytes, featureUpdate.size) - 1 };
}

function fieldsOf(piece: number): readonly (readonly [string, string])[] {
  const { first, last } = rangeOf(piece);
  return [
    ["Connection", "Keep-Alive"],
    ["Accept", "*/*"],
    ["Range", `bytes=${first}-${last}`],
    ["User-Agent", "Microsoft-Delivery-Optimization/10.1"],
    ["MS-CV", `lab.1.1.${piece}`],
    ["Content-Length", "0"],
  ];
}

/** The same disorder each time. 89 is a prime: for a `count` that is no multiple of it, every piece comes once. */
function shuffled(count: number): number[] {
  return Array.from({ length: count }, (_, i) => (i * 89 + 41) % count);
}
