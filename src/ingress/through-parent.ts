/**
 * Parent proxies: which one a target goes through, and from its admitted addresses to a connection.
 *
 *   dialling ──► securing (https:) ──► asking (CONNECT) ──► connected
 *
 * A plain request is not asked for: it goes to the parent itself, in absolute form, over what was dialled. Deadlines:
 * `dial_timeout` for dialling and again for TLS, `response_head_timeout` for the answer to CONNECT.
 */
import type { Socket } from "node:net";
import type { ParentProxy, ParentSettings } from "../config/settings.ts";
import type { Destination } from "../egress/admit.ts";
import { connectionAttemptDelayMs, dial } from "../egress/dial.ts";
import { type DialTarget, connectPlain } from "../egress/inflow.ts";
import type { TunnelRequest, TunnelResult } from "../egress/parent-tunnel.ts";
import { secureSocket } from "../egress/secure-upstream.ts";
import { type Authority, formatAuthority } from "../names/authority.ts";
import { fieldValues } from "../wire/fields.ts";
import type { Failure } from "../wire/refusal.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { IngressContext } from "./context.ts";

/** A parent to go through; `received` is what the client sent, where that was HTTP: its Via goes on. */
export type Passage = { readonly parent: ParentProxy; readonly received: RequestHead | undefined };

/** What a way makes of a connection to a parent. */
export type BehindParent<Opened> = {
  /** Of a socket with TLS in it, paused. */
  readonly over: (socket: Socket) => Opened;
  /** Undefined where no tunnel is wanted, since the request itself goes to the parent. */
  readonly tunnel:
    | ((
        opened: Opened,
        request: TunnelRequest,
        done: (result: TunnelResult<Opened>) => void,
      ) => { readonly cancel: () => void })
    | undefined;
};

export type ThroughParent<Opened> =
  | { readonly kind: "connected"; readonly opened: Opened; readonly destination: Destination; readonly dialMs: number }
  | { readonly kind: "failed"; readonly failure: Failure; readonly detail: string };

/** The parent for a target: that of the first entry which names its host. Undefined goes there directly. */
export function passageFor(
  parents: readonly ParentSettings[],
  target: Authority,
  received: RequestHead | undefined,
): Passage | undefined {
  if (parents.length === 0) return undefined;
  const parent = parents.find((entry) => covers(entry, target))?.parent;
  return parent === undefined ? undefined : { parent, received };
}

/** The request target for a parent (RFC 9112 section 3.2.2); OPTIONS for the whole server has no path there. */
export function absoluteForm(target: Authority, path: string): string {
  return `http://${formatAuthority(target, httpPort)}${path === "*" ? "" : path}`;
}

/** Fields for the parent, and for nobody else. */
export function parentFields({ parent }: Passage): readonly string[] {
  return parent.authorization === undefined ? [] : ["Proxy-Authorization", parent.authorization];
}

/** Tells connections through a parent from direct ones, in a spelling that no host has. */
export function shelfOf(host: string, passage: Passage | undefined): string {
  return passage === undefined ? host : `${host} through ${passage.parent.url}`;
}

/**
 * Opens a connection to the target through a parent. `done` is told once, and not after `cancel`. `guard` answers for
 * what a step throws, and destroys the socket that nobody would own then.
 */
export function openThroughParent<Opened extends { readonly socket: Socket }>(
  context: IngressContext,
  { parent, received }: Passage,
  target: Authority,
  admitted: readonly Destination[],
  way: { readonly connect: (target: DialTarget) => Opened; readonly behind: BehindParent<Opened> },
  guard: (step: () => void, socket?: Socket) => void,
  done: (reached: ThroughParent<Opened>) => void,
): { readonly cancel: () => void } {
  const { dialTimeoutMs, responseHeadTimeoutMs } = context.settings.limits;
  const { behind } = way;
  let cancel = (): void => {};
  if (parent.isSecure) open(connectPlain, secure);
  else open(way.connect, ask);
  return { cancel: () => cancel() };

  function open<Dialled extends { readonly socket: Socket }>(
    connect: (target: DialTarget) => Dialled,
    next: (dialled: Dialled, destination: Destination, dialMs: number) => void,
  ): void {
    const options = { timeoutMs: dialTimeoutMs, attemptDelayMs: connectionAttemptDelayMs, connect };
    cancel = dial(admitted, options, (result) => {
      context.metrics.dial(result.kind === "connected" ? "ok" : result.outcome, result.dialMs / 1000);
      if (result.kind === "connected") {
        const { opened, destination, dialMs } = result;
        context.ownDials?.add(opened.socket);
        return guard(() => next(opened, destination, dialMs), opened.socket);
      }
      if (result.outcome === "connection_timeout") context.metrics.limitRejected("dial_timeout");
      fail(result.outcome, `the parent proxy could not be reached (${result.outcome})`);
    }).cancel;
  }

  function secure({ socket }: { readonly socket: Socket }, destination: Destination, dialMs: number): void {
    const startedAt = performance.now();
    cancel = secureSocket(socket, parent.host, dialTimeoutMs, (result) => {
      if (result.kind === "secured") {
        const { socket: secured } = result;
        const connectMs = dialMs + performance.now() - startedAt;
        return guard(() => ask(behind.over(secured), destination, connectMs), secured);
      }
      const isLate = result.code === "ETIMEDOUT";
      if (isLate) context.metrics.limitRejected("dial_timeout");
      fail(isLate ? "connection_timeout" : "connection_terminated", `no TLS with the parent proxy (${result.code})`);
    }).cancel;
  }

  function ask(opened: Opened, destination: Destination, dialMs: number): void {
    if (behind.tunnel === undefined) return pass(opened, destination, dialMs);
    const before = received === undefined ? [] : fieldValues(received.rawFields, "via");
    const request: TunnelRequest = {
      authority: formatAuthority(target),
      via: [...before, `${received?.httpVersion ?? "1.1"} ${context.via}`].join(", "),
      authorization: parent.authorization,
      timeoutMs: responseHeadTimeoutMs,
    };
    cancel = behind.tunnel(opened, request, (result) => {
      if (result.kind === "open") return pass(result.opened, destination, dialMs);
      if (result.failure === "http_response_timeout") context.metrics.limitRejected("response_head_timeout");
      fail(result.failure, result.detail);
    }).cancel;
  }

  function pass(opened: Opened, destination: Destination, dialMs: number): void {
    guard(() => done({ kind: "connected", opened, destination, dialMs }), opened.socket);
  }

  function fail(failure: Failure, detail: string): void {
    guard(() => done({ kind: "failed", failure, detail }));
  }
}

const httpPort = 80;

function covers({ hosts }: ParentSettings, { host }: Authority): boolean {
  return hosts.some((one) => {
    if (one.kind === "any") return true;
    if (host.kind === "address") return one.kind === "address" && one.text === host.address.text;
    switch (one.kind) {
      case "exact":
        return host.name === one.text;
      case "suffix":
        return host.name === one.apex || host.name.endsWith(`.${one.apex}`);
      case "glob":
        return one.matches(host.name);
      default:
        return false;
    }
  });
}
