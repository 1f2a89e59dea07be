/**
 * The near ends of connections that this process has dialled. A rule of the firewall that redirects clients to a
 * listener may catch the proxy's own connections as well, and then the one that arrives is the one that was dialled: a
 * loop, which nothing in a ClientHello tells.
 */
import type { Socket } from "node:net";
import { parseAddress } from "../names/address.ts";

export type OwnDials = {
  /** Remembers a connected socket until it is closed. */
  readonly add: (socket: Socket) => void;
  /** Whether this accepted socket's far end is one of them. */
  readonly made: (accepted: Socket) => boolean;
};

export function createOwnDials(): OwnDials {
  const ends = new Set<string>();
  return {
    add: (socket) => {
      const end = endOf(socket.localAddress, socket.localPort);
      ends.add(end);
      socket.once("close", () => ends.delete(end));
    },
    made: ({ remoteAddress, remotePort }) => ends.has(endOf(remoteAddress, remotePort)),
  };
}

/** A socket that is bound to `::` has addresses of IPv4 in another spelling. */
function endOf(address: string | undefined, port: number | undefined): string {
  return `${parseAddress(address?.split("%", 1)[0] ?? "")?.text ?? ""} ${port ?? 0}`;
}
