/**
 * What a client sends against what the origin gets, through a real process: bytes that are nearly requests go in on one
 * connection, and each connection at the origin must hold one whole request that the client sent and the policy allows.
 */
import { type Socket, connect } from "node:net";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type Recording, type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { type Forwarded, expectedOf, policy } from "./forwarding-model.ts";
import { type FuzzPart, hold } from "./part.ts";
import { type Random, hashOf, randomFrom } from "./random.ts";
import { generateRequests, requestSeeds, smuggled } from "./request-grammar.ts";
import { type Field, type Head, membersOf, readRequest, valuesOf } from "./strict-http.ts";
import { requestWords } from "./words.ts";

export type Differential = { readonly part: FuzzPart; readonly stop: () => Promise<void> };

/** Starts the process and the origin. Inputs are checked one after the other. */
export async function startDifferential(): Promise<Differential> {
  const origin = await startTcpOrigin(answer);
  const sallyport = await startSallyport({
    policy,
    settings: {
      connect_to: [`*:80:127.0.0.1:${origin.port}`],
      log: { allowed: false },
      limits: { head_timeout: "2s", body_idle_timeout: "2s", response_head_timeout: "2s" },
    },
  });
  return {
    part: {
      name: "differential",
      seeds: requestSeeds.map((text) => Buffer.from(text, "latin1")),
      words: [...requestWords, smuggled],
      generate: (random) => Buffer.from(generateRequests(random), "latin1"),
      check: (input) => check(sallyport, origin, Buffer.from(input)),
    },
    stop: async () => {
      await sallyport.stop();
      await origin.close();
    },
  };
}

/**
 * What an origin got must be requests of the client, in their order, each whole unless the client's was not, or the
 * client gave up before it had all answers.
 */
export function judge(sent: Buffer, received: readonly Buffer[], gaveUp = false): void {
  const expected = expectedOf(sent);
  const isPlain = expected.isPlain && !gaveUp;
  const forwarded = gaveUp
    ? expected.forwarded.map((one): Forwarded => (one.ending === "whole" ? { ...one, ending: "either" } : one))
    : expected.forwarded;
  let next = 0;
  for (const bytes of received) {
    if (bytes.length === 0) continue;
    const match = matchOf(bytes, forwarded.slice(next));
    hold(match.kind === "at", `${match.kind === "at" ? "" : match.why}\nat the origin: ${quote(bytes)}`);
    next += match.index + 1;
  }
  hold(
    !isPlain || received.length === expected.found,
    `${expected.found} plain requests were sent, and ${received.length} arrived`,
  );
}

async function check(sallyport: Sallyport, origin: TcpOrigin, input: Buffer): Promise<string> {
  const first = origin.connections();
  const expected = expectedOf(input);
  const { statuses, gaveUp } = await sendAll(sallyport.port, input, expected);
  await fence(sallyport);
  // The fence is the last of them.
  const received = origin.recordings.slice(first, -1);
  hold(origin.recordings.length > first, "the fence did not arrive");
  await Promise.all(received.map((recording) => closedSoon(recording)));
  const bytes = received.map((recording) => recording.bytes());
  judge(input, bytes, gaveUp);
  const answered = statuses.filter((status) => status === "200").length;
  hold(answered <= received.length, `${answered} answers of the origin to ${received.length} requests`);
  return `${received.length} of ${expected.found} arrive, ${statuses.join(" ")}, then ${expected.rest}`;
}

type Match = { readonly kind: "at"; readonly index: number } | { readonly kind: "none"; readonly why: string };

function matchOf(bytes: Buffer, candidates: readonly Forwarded[]): Match {
  let why = "a request that nobody sent, or nobody may send";
  for (const [index, candidate] of candidates.entries()) {
    const difference = differenceOf(bytes, candidate);
    if (difference === undefined) return { kind: "at", index };
    why = difference;
  }
  return { kind: "none", why };
}

/** How these bytes are not the one request; undefined where they are. */
function differenceOf(bytes: Buffer, one: Forwarded): string | undefined {
  const reading = readRequest(bytes, 0);
  const { head } = reading;
  if (head === undefined) return `no head: ${reading.kind === "malformed" ? reading.why : reading.kind}`;
  if (reading.kind === "malformed") return `a broken body: ${reading.why}`;
  if (reading.kind === "request" && reading.end !== bytes.length) return "bytes behind the request";
  if (reading.kind === "request" && one.ending === "broken" && one.framing !== "none")
    return "a whole request out of a broken one";
  if (reading.kind === "incomplete" && one.ending === "whole") return "a part of a whole request";
  if (head.method !== one.method) return `method ${head.method}, not ${one.method}`;
  if (head.target !== one.path) return `path ${head.target}, not ${one.path}`;
  if (head.version !== "1.1") return `version ${head.version}`;
  const hosts = valuesOf(head.fields, "host");
  if (hosts.length !== 1 || hosts[0] !== one.host) return `Host ${hosts.join(" and ")}, not ${one.host}`;
  if (!isCanonical(bytes, head)) return "a head that is not written canonically";
  if (head.framing !== one.framing && !(one.framing === "none" && isEmptyLength(head.fields)))
    return `framing ${head.framing}, not ${one.framing}`;
  if (head.framing === "chunked" && /[;:]/.test(sizeLines(bytes))) return "a chunk extension or a trailer";
  const isBody = reading.kind === "request" ? reading.body.equals(one.body) : one.body.indexOf(reading.body) === 0;
  if (!isBody) return `body ${quote(reading.body)}, not ${quote(one.body)}`;
  return differenceOfFields(head.fields, one);
}

const own = ["host", "content-length", "transfer-encoding", "connection", "expect", "via"];

function differenceOfFields(fields: readonly Field[], one: Forwarded): string | undefined {
  // Requests that share connections say nothing of them.
  const connection = valuesOf(fields, "connection");
  if (connection.length > 1 || (connection[0] ?? "close") !== "close") return "a Connection that is not the proxy's";
  if (membersOf(fields, "expect").some((value) => value !== "100-continue")) return "an expectation";
  const via = valuesOf(fields, "via");
  if (via.length !== one.via.length + 1 || !one.via.every((value, i) => via[i] === value)) return "another Via";
  const names = new Set(fields.map(([name]) => name.toLowerCase()).filter((name) => !own.includes(name)));
  for (const name of new Set([...names, ...one.fields.keys()])) {
    const here = listed(name, valuesOf(fields, name));
    const there = listed(name, one.fields.get(name) ?? []);
    if (here.length !== there.length || here.some((value, i) => value !== there[i]))
      return `${name}: ${JSON.stringify(here)}, not ${JSON.stringify(there)}`;
  }
  return undefined;
}

function isEmptyLength(fields: readonly Field[]): boolean {
  return valuesOf(fields, "content-length").join() === "0";
}

/** RFC 6265 section 5.4 has one Cookie field: Node's client makes one of several, and `fetch` leaves them. */
function listed(name: string, values: readonly string[]): readonly string[] {
  return name === "cookie" && values.length > 0 ? [values.join("; ").trim()] : values;
}

/** There is one way to write a head. (Node joins the lines of Cookie, and leaves the space behind an empty last one.) */
function isCanonical(bytes: Buffer, { method, target, fields }: Head): boolean {
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`);
  const written = `${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`;
  const sent = bytes.toString("latin1", 0, bytes.indexOf("\r\n\r\n") + 4).replace(/^(cookie: .*?;) \r\n/im, "$1\r\n");
  return sent === written;
}

/** The lines of a chunked body that are not data. */
function sizeLines(bytes: Buffer): string {
  let text = "";
  for (let at = bytes.indexOf("\r\n\r\n") + 4; at < bytes.length;) {
    const end = bytes.indexOf("\r\n", at);
    const line = bytes.toString("latin1", at, end < 0 ? bytes.length : end);
    text += `${line}\n`;
    if (end < 0) break;
    const size = Number.parseInt(line, 16) || 0;
    at = end + 2 + (size === 0 ? 0 : size + 2);
  }
  return text;
}

/** Mutated requests may leave both sides waiting for the other. */
const maxWaitMs = 1000;
const graceMs = 5;

/**
 * Sends on one connection, in one piece or in several, and waits for the answers: those that are due, and a moment more
 * where something is left that might be taken for another request. A FIN before that would be an abort.
 */
function sendAll(
  port: number,
  input: Buffer,
  { forwarded, rest }: { readonly forwarded: readonly Forwarded[]; readonly rest: string },
  patienceMs = maxWaitMs,
): Promise<{ readonly statuses: readonly string[]; readonly gaveUp: boolean }> {
  return new Promise((fulfil, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const due = forwarded.filter((one) => one.ending !== "broken").length;
    let text = "";
    let grace: NodeJS.Timeout | undefined;
    const statuses = (): string[] => [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status = ""]) => status);
    let gaveUp = false;
    const patience = setTimeout(() => {
      gaveUp = true;
      socket.end();
    }, patienceMs);
    const stuck = setTimeout(() => {
      socket.destroy();
      reject(new Error("the connection is not closed after its client's FIN"));
    }, 15_000);
    const look = (): void => {
      const final = statuses().filter((status) => !status.startsWith("1")).length;
      if (final < due || rest === "malformed") return;
      grace ??= setTimeout(() => socket.end(), graceMs);
    };
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      look();
    });
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      for (const timer of [patience, stuck, grace]) clearTimeout(timer);
      fulfil({ statuses: statuses(), gaveUp });
    });
    socket.on("connect", () => writeInPieces(socket, input, look));
  });
}

/** Where an input is cut depends on nothing but itself. */
function writeInPieces(socket: Socket, input: Buffer, done: () => void): void {
  const random = randomFrom(hashOf(input));
  const pieces = cut(random, input);
  const next = (): void => {
    const piece = pieces.shift();
    if (piece === undefined || socket.destroyed) return done();
    socket.write(piece, () => setImmediate(next));
  };
  next();
}

function cut(random: Random, input: Buffer): Buffer[] {
  const count = random.chance(0.5) ? 0 : 1 + random.below(3);
  const cuts = Array.from({ length: count }, () => random.below(input.length + 1)).sort((a, b) => a - b);
  return [0, ...cuts].map((from, i) => input.subarray(from, cuts[i] ?? input.length));
}

/** A request that comes after everything before it has been dialled: the process lives, and serves. */
async function fence({ port, process: child }: Sallyport): Promise<void> {
  hold(child.exitCode === null && child.signalCode === null, "the process has ended");
  const request = "GET http://plain.example.com/fence HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\n\r\n";
  const { statuses } = await sendAll(port, Buffer.from(request), { forwarded: [], rest: "malformed" }, 10_000);
  hold(statuses.join() === "200", `the process does not serve any more: ${statuses.join()}`);
}

/** Answers as soon as the strict reader has a request, or sees that there will be none. */
function answer({ socket, bytes }: Recording): void {
  socket.on("data", () => {
    const reading = readRequest(bytes(), 0);
    if (reading.kind === "incomplete" || socket.writableEnded) return;
    // The line end lets the next answer on the client's connection begin a line.
    const body = reading.head?.method === "HEAD" ? "" : "ok\r\n";
    // One request for a connection: what else came on it was not asked for.
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n${body}`);
  });
  socket.on("end", () => socket.end());
}

async function closedSoon(recording: Recording): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("a connection to the origin outlives its client")), 5000);
  });
  try {
    await Promise.race([recording.closed, late]);
  } finally {
    clearTimeout(timer);
  }
}

function quote(bytes: Buffer): string {
  return JSON.stringify(bytes.toString("latin1"));
}
