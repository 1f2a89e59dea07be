/** How a tunnel reaches its target: a socket of its own, or what a parent proxy makes of one. */
import { type Upstream, connectUpstream } from "../egress/inflow.ts";
import { tunnelUpstream } from "../egress/parent-tunnel.ts";
import { streamUpstream } from "../egress/secure-upstream.ts";
import type { Way } from "./reach.ts";

export const tunnelWay: Way<Upstream> = {
  connect: connectUpstream,
  reuse: () => false,
  behind: { over: streamUpstream, tunnel: tunnelUpstream },
};
