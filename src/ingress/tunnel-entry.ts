/** How a tunnel is asked for: by a CONNECT, or by a connection that was redirected here. */
import { type Authority, parseAuthority } from "../names/authority.ts";
import { sameHost } from "../names/hostname.ts";
import type { Malformation } from "../wire/refusal.ts";
import type { HeadReading, RequestHead } from "../wire/request-head.ts";

export type TunnelEntry =
  /** `early` is what the client sent behind the head. */
  | { readonly kind: "head"; readonly request: RequestHead; readonly reading: HeadReading; readonly early: Buffer }
  /** The SNI of its ClientHello is the host, this the port. */
  | { readonly kind: "sni"; readonly port: number };

export type Asked =
  | { readonly kind: "asked"; readonly target: Authority; readonly hostAgrees: boolean }
  /** `target` is undefined where not even that could be read. */
  | {
      readonly kind: "malformed";
      readonly how: Malformation;
      readonly detail: string;
      readonly target: Authority | undefined;
    };

/** What stands for the head of a connection that has none. */
export const noHead: Extract<TunnelEntry, { readonly kind: "head" }> = {
  kind: "head",
  request: { method: "CONNECT", url: "", httpVersion: "1.1", rawFields: [] },
  reading: { kind: "malformed", problem: "bad_request", detail: "there is no head" },
  early: Buffer.alloc(0),
};

/** Reads the target of a CONNECT. `isRedirected`: the client did not mean to speak to a proxy. */
export function readConnect({ url }: RequestHead, reading: HeadReading, isRedirected: boolean): Asked {
  if (reading.kind === "malformed") return malformed(reading.problem, reading.detail);
  if (isRedirected)
    return malformed("bad_request", "CONNECT is for proxies that a client knows of, not for redirected connections");
  const target = parseAuthority(url);
  if (target === undefined) return malformed("bad_request", "CONNECT needs host:port, spelled canonically");
  const named = reading.host === undefined ? target : parseAuthority(reading.host, target.port);
  if (named === undefined) return malformed("bad_request", "the Host field is malformed", target);
  return { kind: "asked", target, hostAgrees: sameHost(named.host, target.host) };
}

function malformed(how: Malformation, detail: string, target?: Authority): Asked {
  return { kind: "malformed", how, detail, target };
}
