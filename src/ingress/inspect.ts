/**
 * The two looks into an https tunnel before its bytes may flow. Both only find out, within a deadline and a cap: what
 * follows from it, and closing sockets, is `connect`'s.
 */
import type { Deadline, Deadlines } from "../egress/deadlines.ts";
import type { Upstream } from "../egress/inflow.ts";
import type { Limits } from "../config/settings.ts";
import type { FinalHello, FinalServerHello } from "../policy/decide-hello.ts";
import type { Verdict } from "../policy/verdict.ts";
import { type SniResult, sniResults } from "../record/metrics-labels.ts";
import { parseClientHello } from "../wire/client-hello.ts";
import { type RecordWalk, holdsHandshake } from "../wire/handshake.ts";
import { parseServerHello } from "../wire/server-hello.ts";
import { type Ahead, type FedAhead, type Guard, feedAhead, takeAll } from "./read-ahead.ts";

/** What a client says first. `nothing`: it left without a word, as a port check does. */
export type ClientFinding = FinalHello | { readonly kind: "nothing" };

/** What a server answers to a ClientHello, and the bytes in which it did. */
export type ServerFinding = {
  readonly said:
    | FinalServerHello
    /** It ended its side in place of an answer; `alerted` says that it has told the client why. */
    | { readonly kind: "ended"; readonly alerted: boolean }
    | { readonly kind: "timeout" };
  /** All that has come of the server and was not passed; its socket is left paused. */
  readonly held: Buffer;
};

/** A look under way; after `cancel` it does not call back. */
export type Look = { readonly cancel: () => void };

/** Policy.md, "Expectations": what is held of a server's first flight. */
const serverHelloBytes = 20 * 1024;

/** Peeks at the client's first bytes, and takes none: `done` is told once, never before this has returned. */
export function peekClientHello(
  deadlines: Deadlines,
  client: Ahead,
  limits: Limits,
  done: (finding: ClientFinding) => void,
): Look {
  const peek = new ClientPeek(deadlines, client, limits, done);
  client.watch(() => peek.look());
  return peek;
}

/** What a server says ahead of its being vetted: held, up to a cap. It is read from the beginning on. */
export function hearServer({ socket, inflow }: Upstream, guard: Guard): FedAhead {
  const server = feedAhead(none, socket.readableEnded, guard);
  inflow.give((chunk) => {
    if (server.held().length + chunk.length >= serverHelloBytes) inflow.pause();
    inflow.leave();
    server.feed(chunk);
    return "used";
  });
  inflow.resume();
  return server;
}

/**
 * Vets the server's answer. Of its bytes only whole plaintext alerts are for `pass`: a server that does not want to
 * shake hands says so in one. `done` is told once, never before this has returned; by then the inflow may still be read,
 * and wants to be given to somebody at once.
 */
export function vetServerHello(
  deadlines: Deadlines,
  server: Ahead,
  limits: Limits,
  pass: (alerts: Buffer) => void,
  done: (finding: ServerFinding) => void,
): Look {
  const vet = new ServerVet(deadlines, server, limits, pass, done);
  server.watch(() => vet.look());
  return vet;
}

/** The label of `sni_inspections_total`: what was found, whether or not report mode let it pass. */
export function inspectionResult(verdict: Verdict, hello: FinalHello): SniResult {
  const denial = verdict.kind === "deny" ? verdict : verdict.would;
  const found = sniResults.find((result) => result === denial?.reason);
  if (found !== undefined) return found;
  if (hello.kind !== "hello" || hello.serverName === null) return "ok_no_sni";
  return hello.ech ? "ok_ech" : "ok";
}

/** One look at a peer, with a deadline. */
class Peek<Finding> implements Look {
  protected readonly peer: Ahead;
  readonly #deadline: Deadline;
  readonly #done: (finding: Finding) => void;

  constructor(deadlines: Deadlines, peer: Ahead, timeoutMs: number, late: Finding, done: (finding: Finding) => void) {
    this.peer = peer;
    this.#done = done;
    this.#deadline = deadlines.after(timeoutMs, () => this.settle(late));
  }

  cancel(): void {
    this.#deadline.cancel();
    this.peer.unwatch();
  }

  protected settle(finding: Finding): void {
    this.cancel();
    this.#done(finding);
  }
}

class ClientPeek extends Peek<ClientFinding> {
  readonly #maxBytes: number;
  #walk: RecordWalk | undefined;

  constructor(deadlines: Deadlines, client: Ahead, limits: Limits, done: (finding: ClientFinding) => void) {
    super(deadlines, client, limits.helloTimeoutMs, { kind: "timeout" }, done);
    this.#maxBytes = limits.helloBytes;
  }

  look(): void {
    const held = this.peer.held();
    const reading = parseClientHello(held, this.#maxBytes, this.#walk);
    const isMore = reading.kind === "hello" && reading.length < held.length;
    if (isMore && holdsHandshake(held.subarray(reading.length)))
      return this.settle({ kind: "malformed", detail: "a second handshake record" });
    if (reading.kind !== "incomplete") return this.settle(reading);
    this.#walk = reading.walk;
    if (!this.peer.ended()) return;
    this.settle(held.length === 0 ? { kind: "nothing" } : { kind: "malformed", detail: "truncated" });
  }
}

class ServerVet extends Peek<ServerFinding["said"]> {
  readonly #pass: (alerts: Buffer) => void;
  #passed = 0;

  constructor(
    deadlines: Deadlines,
    server: Ahead,
    limits: Limits,
    pass: (alerts: Buffer) => void,
    done: (finding: ServerFinding) => void,
  ) {
    super(deadlines, server, limits.helloTimeoutMs, { kind: "timeout" }, (said) =>
      done({ said, held: takeAll(server) }),
    );
    this.#pass = pass;
  }

  look(): void {
    const reading = parseServerHello(this.peer.held(), serverHelloBytes - this.#passed);
    if (reading.kind !== "incomplete") return this.settle(reading);
    if (reading.pass > 0) {
      this.#passed += reading.pass;
      this.#pass(this.peer.take(reading.pass));
    }
    if (!this.peer.ended()) return;
    const brokeOff = this.peer.held().length > 0;
    this.settle(brokeOff ? { kind: "malformed", detail: "truncated" } : { kind: "ended", alerted: this.#passed > 0 });
  }
}

const none = Buffer.alloc(0);
