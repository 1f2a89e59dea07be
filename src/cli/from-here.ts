/** How this machine itself reaches what the proxy listens on. */
import type { ListenAddress } from "../config/settings.ts";

/** A listener on every address is reached by loopback. */
export function hostFromHere(host: string): string {
  return host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
}

/** `host:port`, IPv6 in brackets. */
export function authorityFromHere({ host, port }: ListenAddress): string {
  const reached = hostFromHere(host);
  return `${reached.includes(":") ? `[${reached}]` : reached}:${port}`;
}
