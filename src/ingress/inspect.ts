/**
 * The two looks into an https tunnel before its bytes may flow. Both only find out, within a deadline and a cap: what
 * follows from it, and closing sockets, is `connect`'s.
 */
import type { Deadlines } from "../egress/deadlines.ts";
import type { Upstream } from "../egress/inflow.ts";
import type { Limits } from "../config/settings.ts";
import type { FinalHello, FinalServerHello } from "../policy/decide-hello.ts";
import type { Verdict } from "../policy/verdict.ts";
import { type SniResult, sniResults } from "../record/metrics-labels.ts";
import { parseClientHello } from "../wire/client-hello.ts";
import { type RecordWalk, holdsHandshake } from "../wire/handshake.ts";
import { parseServerHello } from "../wire/server-hello.ts";
import { type Guard, type ReadAhead, readUpstreamAhead } from "./read-ahead.ts";

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
  client: ReadAhead,
  limits: Limits,
  done: (finding: ClientFinding) => void,
): Look {
  let walk: RecordWalk | undefined;
  const { settle, cancel } = withDeadline<ClientFinding>(deadlines, client, limits.helloTimeoutMs, done);
  client.watch(() => {
    const reading = parseClientHello(client.held(), limits.helloBytes, walk);
    if (reading.kind === "hello" && holdsHandshake(client.held().subarray(reading.length))) {
      return settle({ kind: "malformed", detail: "a second handshake record" });
    }
    if (reading.kind !== "incomplete") return settle(reading);
    walk = reading.walk;
    if (!client.ended()) return;
    settle(client.held().length === 0 ? { kind: "nothing" } : { kind: "malformed", detail: "truncated" });
  });
  return { cancel };
}

/**
 * Vets the server's answer. Of its bytes only whole plaintext alerts are for `pass`: a server that does not want to
 * shake hands says so in one. `done` is told once, never before this has returned.
 */
export function vetServerHello(
  deadlines: Deadlines,
  upstream: Upstream,
  limits: Limits,
  guard: Guard,
  pass: (alerts: Buffer) => void,
  done: (finding: ServerFinding) => void,
): Look {
  const server = readUpstreamAhead(upstream, serverHelloBytes, guard);
  let passed = 0;
  const { settle, cancel } = withDeadline<ServerFinding["said"]>(deadlines, server, limits.helloTimeoutMs, (said) => {
    server.stop();
    done({ said, held: server.held() });
  });
  server.watch(() => {
    const reading = parseServerHello(server.held(), serverHelloBytes - passed);
    if (reading.kind !== "incomplete") return settle(reading);
    if (reading.pass > 0) {
      passed += reading.pass;
      pass(server.take(reading.pass));
    }
    if (!server.ended()) return;
    const brokeOff = server.held().length > 0;
    settle(brokeOff ? { kind: "malformed", detail: "truncated" } : { kind: "ended", alerted: passed > 0 });
  });
  return { cancel };
}

/** The label of `sni_inspections_total`: what was found, whether or not report mode let it pass. */
export function inspectionResult(verdict: Verdict, hello: FinalHello): SniResult {
  const denial = verdict.kind === "deny" ? verdict : verdict.would;
  const found = sniResults.find((result) => result === denial?.reason);
  if (found !== undefined) return found;
  if (hello.kind !== "hello" || hello.serverName === null) return "ok_no_sni";
  return hello.ech ? "ok_ech" : "ok";
}

function withDeadline<Finding>(
  deadlines: Deadlines,
  peer: ReadAhead,
  timeoutMs: number,
  done: (finding: Finding | { readonly kind: "timeout" }) => void,
): { readonly settle: (finding: Finding) => void; readonly cancel: () => void } {
  const deadline = deadlines.after(timeoutMs, () => {
    peer.unwatch();
    done({ kind: "timeout" });
  });
  const cancel = (): void => {
    deadline.cancel();
    peer.unwatch();
  };
  const settle = (finding: Finding): void => {
    cancel();
    done(finding);
  };
  return { settle, cancel };
}
