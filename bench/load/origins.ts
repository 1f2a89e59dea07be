/** What the proxies lead to: a web server, a tunnel's end, and the handshake that it knows. */
import type { Handshake } from "./handshake.ts";
import type { TunnelOrigin } from "./tunnel-origin.ts";
import type { WebOrigin } from "./web-origin.ts";

export type Origins = { readonly web: WebOrigin; readonly tunnel: TunnelOrigin; readonly handshake: Handshake };
