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

/** Where to, under which permit, by which way; `done` is called once. */
export type Errand<Opened> = {
  readonly permit: Permit;
  readonly target: Authority;
  readonly way: Way<Opened>;
  readonly passage: Passage | undefined;
  readonly done: (reached: Reached<Opened>) => void;
};

/**
 * Resolves, admits and dials. An address comes from the parent proxy of a `passage`, from `connect_to`, from the target
 * itself where that is an address, or from the resolver (interface.md, "Where an address comes from"). With a passage
 * the target's address is the parent's business. `done` is called never before this has returned, and not after `cancel`.
 */
export function reach<Opened extends { readonly socket: Socket }>(
  context: IngressContext,
  errand: Errand<Opened>,
): { readonly cancel: () => void } {
  const reaching = new Reaching(context, errand);
  queueMicrotask(() => reaching.start());
  return { cancel: () => reaching.cancel() };
}

/** The same, except that `done` may be called before this has returned, though never with a connection. */
export function reachAtOnce<Opened extends { readonly socket: Socket }>(
  context: IngressContext,
  errand: Errand<Opened>,
): { readonly cancel: () => void } {
  const reaching = new Reaching(context, errand);
  reaching.start();
  return reaching;
}

class Reaching<Opened extends { readonly socket: Socket }> {
  readonly #context: IngressContext;
  readonly #errand: Errand<Opened>;
  #dial: { readonly cancel: () => void } | undefined;
  #isCancelled = false;

  constructor(context: IngressContext, errand: Errand<Opened>) {
    this.#context = context;
    this.#errand = errand;
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#dial?.cancel();
  }

  start(): void {
    if (!this.#isCancelled) this.#guard(() => this.#findAddress());
  }

  #findAddress(): void {
    const { findOwnListener, metrics, settings, resolver } = this.#context;
    const { permit, target, passage } = this.#errand;
    const { host, port } = passage?.parent ?? target;
    if (passage !== undefined) {
      // A parent on this machine would dial it for us.
      const own = target.host.kind === "address" && findOwnListener(target.host.address, target.port);
      if (own) {
        metrics.blockedAddress("own_listener");
        return this.#fail("proxy_loop_detected", "the target is this proxy itself");
      }
      if (host.kind === "address") return this.#open(admitRouted(permit, [host.address], port, findOwnListener));
    } else {
      const route = routeFor(settings.connectTo, target);
      if (route !== undefined)
        return this.#open(admitRouted(permit, [route.address], route.toPort ?? port, findOwnListener));
      if (host.kind === "address") return this.#open(admitLiteral(permit, host.address, port, findOwnListener));
    }
    const cached = resolver.cached(host.name);
    if (cached !== undefined) return this.#onResolution(cached);
    void resolver.resolve(host.name).then((resolution) => this.#guard(() => this.#onResolution(resolution)));
  }

  #onResolution(resolution: Resolution): void {
    if (this.#isCancelled) return;
    const { permit, target, passage } = this.#errand;
    const named = passage === undefined ? "the name" : "the parent proxy's name";
    const { findOwnListener } = this.#context;
    if (resolution.kind === "dns_error")
      this.#fail("dns_error", `${named} could not be resolved (${resolution.detail})`);
    else if (resolution.kind === "dns_timeout") this.#fail("dns_timeout", `${named} was not resolved in time`);
    else if (passage === undefined) this.#open(admit(permit, resolution.addresses, target.port, findOwnListener));
    else this.#open(admitRouted(permit, resolution.addresses, passage.parent.port, findOwnListener));
  }

  #open(admission: Admission): void {
    const { metrics, settings } = this.#context;
    const { way, passage, target } = this.#errand;
    for (const blocked of admission.blocked) metrics.blockedAddress(blocked.class);
    if (isLoop(admission)) {
      const peer = passage === undefined ? "target" : "parent proxy";
      return this.#fail("proxy_loop_detected", `the ${peer} is this proxy itself`);
    }
    if (admission.admitted.length === 0) return this.#finish({ kind: "denied" });
    if (way.reuse(admission.admitted)) return;
    if (passage !== undefined) {
      const guard = (step: () => void, socket?: Socket): void => this.#guard(step, socket);
      const finish = (reached: Reached<Opened>): void => this.#finish(reached);
      this.#dial = openThroughParent(this.#context, passage, target, admission.admitted, way, guard, finish);
      return;
    }
    const { dialTimeoutMs } = settings.limits;
    const options = { timeoutMs: dialTimeoutMs, attemptDelayMs: connectionAttemptDelayMs, connect: way.connect };
    this.#dial = dial(admission.admitted, options, (result) => {
      const socket = result.kind === "connected" ? result.opened.socket : undefined;
      this.#guard(() => this.#onDialled(result), socket);
    });
  }

  #onDialled(result: DialResult<Opened>): void {
    const { metrics } = this.#context;
    metrics.dial(result.kind === "connected" ? "ok" : result.outcome, result.dialMs / 1000);
    if (result.kind === "connected") return this.#finish(result);
    if (result.outcome === "connection_timeout") metrics.limitRejected("dial_timeout");
    this.#fail(result.outcome, dialSentences[result.outcome]);
  }

  #fail(failure: Failure, detail: string): void {
    this.#finish({ kind: "failed", failure, detail });
  }

  #finish(reached: Reached<Opened>): void {
    if (this.#isCancelled) {
      if (reached.kind === "connected") reached.opened.socket.destroy();
      return;
    }
    if (reached.kind === "connected") this.#context.ownDials?.add(reached.opened.socket);
    this.#errand.done(reached);
  }

  /** What is called back here has no caller who could answer for a bug. `socket` would have nobody left who owns it. */
  #guard(step: () => void, socket?: Socket): void {
    try {
      step();
    } catch (error) {
      this.#context.log.problem({ message: "an origin could not be reached", error });
      socket?.destroy();
      this.#fail("proxy_internal_error", "this is a fault of the proxy");
    }
  }
}

const dialSentences: Readonly<Record<DialFailure, string>> = {
  connection_refused: "the origin refused the connection",
  connection_terminated: "the origin broke the connection off",
  connection_timeout: "the origin did not answer in time",
  connection_limit_reached: "the proxy has no socket left",
  destination_ip_unroutable: "no route leads to the origin",
  proxy_internal_error: "the connection to the origin failed",
};

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
