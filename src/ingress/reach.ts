/** From a permit to a connected socket: where the address comes from, which of them are admitted, which answers. */
import type { Socket } from "node:net";
import type { ConnectTo } from "../config/settings.ts";
import { type Admission, type Destination, admit, admitLiteral, admitRouted, isLoop } from "../egress/admit.ts";
import { type DialFailure, type DialResult, connectionAttemptDelayMs, dial } from "../egress/dial.ts";
import { type DialTarget, connectPlain } from "../egress/inflow.ts";
import type { Resolution } from "../egress/resolver.ts";
import type { Authority } from "../names/authority.ts";
import type { Permit } from "../policy/verdict.ts";
import type { Failure } from "../wire/refusal.ts";
import type { IngressContext } from "./context.ts";
import { type BehindParent, type Passage, openThroughParent } from "./through-parent.ts";

/** What was opened is the receiver's from now on: its socket is paused, with an error listener that ignores. */
export type Reached<Opened = Plain> =
  | { readonly kind: "connected"; readonly opened: Opened; readonly destination: Destination; readonly dialMs: number }
  /** No address was admitted: `address_denied`. */
  | { readonly kind: "denied" }
  | { readonly kind: "failed"; readonly failure: Failure; readonly detail: string };

/** A socket like any other, for Node's own HTTP client. */
export type Plain = { readonly socket: Socket };

export type Way<Opened> = {
  readonly connect: (target: DialTarget) => Opened;
  /** Asked before anything is dialled: true where the caller has gone on with a connection that it had. */
  readonly reuse: (admitted: readonly Destination[]) => boolean;
  /** How it goes on behind a parent proxy. */
  readonly behind: BehindParent<Opened>;
};

/** Dials a socket of its own for whoever asks. */
export const plainWay: Way<Plain> = {
  connect: connectPlain,
  reuse: () => false,
  behind: { over: (socket) => ({ socket }), tunnel: undefined },
};

/**
 * Resolves, admits and dials. An address comes from the parent proxy of a `passage`, from `connect_to`, from the target
 * itself where that is an address, or from the resolver (interface.md, "Where an address comes from"). With a passage
 * the target's address is the parent's business. `done` is called once, and not after `cancel`.
 */
export function reach<Opened extends { readonly socket: Socket }>(
  context: IngressContext,
  permit: Permit,
  target: Authority,
  way: Way<Opened>,
  done: (reached: Reached<Opened>) => void,
  passage?: Passage,
): { readonly cancel: () => void } {
  let cancelled = false;
  let cancelDial = (): void => {};
  const peer = passage === undefined ? "target" : "parent proxy";
  const named = passage === undefined ? "the name" : "the parent proxy's name";

  const open = (admission: Admission): void => {
    for (const blocked of admission.blocked) context.metrics.blockedAddress(blocked.class);
    if (isLoop(admission)) return finish(failed("proxy_loop_detected", `the ${peer} is this proxy itself`));
    if (admission.admitted.length === 0) return finish({ kind: "denied" });
    if (way.reuse(admission.admitted)) return;
    if (passage !== undefined) {
      cancelDial = openThroughParent(context, passage, target, admission.admitted, way, guard, finish).cancel;
      return;
    }
    const { dialTimeoutMs } = context.settings.limits;
    const options = { timeoutMs: dialTimeoutMs, attemptDelayMs: connectionAttemptDelayMs, connect: way.connect };
    const onDone = (result: DialResult<Opened>): void => {
      const socket = result.kind === "connected" ? result.opened.socket : undefined;
      guard(() => onDialled(result), socket);
    };
    cancelDial = dial(admission.admitted, options, onDone).cancel;
  };
  const onDialled = (result: DialResult<Opened>): void => {
    context.metrics.dial(result.kind === "connected" ? "ok" : result.outcome, result.dialMs / 1000);
    if (result.kind === "connected") return finish(result);
    if (result.outcome === "connection_timeout") context.metrics.limitRejected("dial_timeout");
    finish(failed(result.outcome, dialSentences[result.outcome]));
  };
  const onResolution = (resolution: Resolution): void => {
    if (cancelled) return;
    if (resolution.kind === "dns_error")
      finish(failed("dns_error", `${named} could not be resolved (${resolution.detail})`));
    else if (resolution.kind === "dns_timeout") finish(failed("dns_timeout", `${named} was not resolved in time`));
    else if (passage === undefined) open(admit(permit, resolution.addresses, target.port, context.findOwnListener));
    else open(admitRouted(permit, resolution.addresses, passage.parent.port, context.findOwnListener));
  };
  const finish = (reached: Reached<Opened>): void => {
    if (cancelled) {
      if (reached.kind === "connected") reached.opened.socket.destroy();
      return;
    }
    if (reached.kind === "connected") context.ownDials?.add(reached.opened.socket);
    done(reached);
  };
  const start = (): void => {
    const { host, port } = passage?.parent ?? target;
    if (passage !== undefined) {
      // A parent on this machine would dial it for us.
      const own = target.host.kind === "address" && context.findOwnListener(target.host.address, target.port);
      if (own) {
        context.metrics.blockedAddress("own_listener");
        return finish(failed("proxy_loop_detected", "the target is this proxy itself"));
      }
      if (host.kind === "address") return open(admitRouted(permit, [host.address], port, context.findOwnListener));
    } else {
      const route = routeFor(context.settings.connectTo, target);
      if (route !== undefined)
        return open(admitRouted(permit, [route.address], route.toPort ?? port, context.findOwnListener));
      if (host.kind === "address") return open(admitLiteral(permit, host.address, port, context.findOwnListener));
    }
    const cached = context.resolver.cached(host.name);
    if (cached !== undefined) return onResolution(cached);
    void context.resolver.resolve(host.name).then((resolution) => guard(() => onResolution(resolution)));
  };
  /** What is called back here has no caller who could answer for a bug. `socket` would have nobody left who owns it. */
  const guard = (step: () => void, socket?: Socket): void => {
    try {
      step();
    } catch (error) {
      context.log.problem({ message: "an origin could not be reached", error });
      socket?.destroy();
      finish(failed("proxy_internal_error", "this is a fault of the proxy"));
    }
  };

  // Never before `reach` has returned: the caller holds the handle when it is called back.
  queueMicrotask(() => {
    if (!cancelled) guard(start);
  });
  return {
    cancel: () => {
      cancelled = true;
      cancelDial();
    },
  };
}

const dialSentences: Readonly<Record<DialFailure, string>> = {
  connection_refused: "the origin refused the connection",
  connection_terminated: "the origin broke the connection off",
  connection_timeout: "the origin did not answer in time",
  connection_limit_reached: "the proxy has no socket left",
  destination_ip_unroutable: "no route leads to the origin",
  proxy_internal_error: "the connection to the origin failed",
};

function failed(failure: Failure, detail: string): Extract<Reached, { readonly kind: "failed" }> {
  return { kind: "failed", failure, detail };
}

/** The first entry that names the target. */
export function routeFor(connectTo: readonly ConnectTo[], target: Authority): ConnectTo | undefined {
  return connectTo.find((entry) => routes(entry, target));
}

function routes({ host, port }: ConnectTo, target: Authority): boolean {
  if (port !== undefined && port !== target.port) return false;
  if (host === undefined) return true;
  const name = target.host.kind === "name" ? target.host.name : target.host.address.text;
  return name === host.name || (host.wildcard && name.endsWith(`.${host.name}`));
}
