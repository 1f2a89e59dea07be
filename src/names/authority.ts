/** `host:port` of a CONNECT request or a Host field, parsed once and never repaired. */
import { type Host, formatHost, parseHost } from "./hostname.ts";

/** What was named: a host in canonical form and a port, 1 to 65535. */
export type Authority = { readonly host: Host; readonly port: number };

/**
 * Parses `host[:port]` (RFC 9110 section 4.2, RFC 9112 section 3.2.3). No userinfo, no white space, no repair;
 * without `defaultPort` the port is required. Returns undefined for anything malformed.
 */
export function parseAuthority(text: string, defaultPort?: number): Authority | undefined {
  const bracket = text.charCodeAt(0) === 0x5b ? text.indexOf("]") : 0;
  if (bracket < 0) return undefined;
  const colon = text.indexOf(":", bracket);
  const host = parseHost(colon < 0 ? text : text.slice(0, colon));
  const port = colon < 0 ? defaultPort : parsePort(text, colon + 1);
  return host === undefined || port === undefined ? undefined : { host, port };
}

/** Writes an authority, leaving out the port that the scheme implies. */
export function formatAuthority(authority: Authority, defaultPort?: number): string {
  const host = formatHost(authority.host);
  return authority.port === defaultPort ? host : `${host}:${authority.port}`;
}

/** A number from 1 to 65535 in its one decimal spelling, from `start` to the end: `:0443` and `:+80` are malformed. */
function parsePort(text: string, start: number): number | undefined {
  const digits = text.length - start;
  if (digits < 1 || digits > 5 || text.charCodeAt(start) === 0x30) return undefined;
  let port = 0;
  for (let i = start; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x30 || c > 0x39) return undefined;
    port = port * 10 + (c - 0x30);
  }
  return port <= 65535 ? port : undefined;
}
