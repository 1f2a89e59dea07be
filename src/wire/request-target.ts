/** The request target of plain HTTP (RFC 9112 section 3.2), read by our own parser: `new URL` repairs what must be refused. */
import { type Authority, parseAuthority } from "../names/authority.ts";

export type RequestTarget =
  | {
      readonly kind: "absolute";
      readonly authority: Authority;
      /** Path and query for the origin, byte for byte; `/` for an empty path, `*` for OPTIONS on the whole server. */
      readonly path: string;
    }
  /** `detail` completes "the request target …". */
  | { readonly kind: "malformed"; readonly detail: string };

const scheme = "http://";
const defaultPort = 80;

/**
 * Parses the target of a request to a forward proxy: `http://host[:port][/path][?query]` and nothing else. Origin form,
 * `https:` and every other scheme are malformed here, and never decided by the Host field.
 */
export function parseRequestTarget(method: string, target: string): RequestTarget {
  if (target.slice(0, scheme.length).toLowerCase() !== scheme) return malformed(describeForeign(target));
  const end = endOfAuthority(target);
  const authority = parseAuthority(target.slice(scheme.length, end), defaultPort);
  if (authority === undefined) return malformed("has a malformed host or port");
  return withPath(method, authority, target.slice(end));
}

/**
 * The target of a request that was redirected here: in origin form, of the host that Host names and at `port`, where
 * such a request was going. Whether Host agrees with that port is for the policy. Absolute form is read as ever, since
 * every server has to take it (RFC 9112 section 3.2.2), but its port is `port` too.
 */
export function parseRedirectedTarget(
  method: string,
  target: string,
  host: string | undefined,
  port: number,
): RequestTarget {
  const isAsterisk = target === "*" && method === "OPTIONS";
  if (!target.startsWith("/") && !isAsterisk) {
    const absolute = parseRequestTarget(method, target);
    return absolute.kind === "absolute" && absolute.authority.port !== port
      ? malformed("names another port than connections are redirected from")
      : absolute;
  }
  if (host === undefined) return malformed("is in origin form, and no Host field says of which host");
  const named = parseAuthority(host, port);
  if (named === undefined) return malformed("is in origin form, and the Host field is malformed");
  return withPath(method, { host: named.host, port }, isAsterisk ? "" : target);
}

/** `rest` is what follows the authority. */
function withPath(method: string, authority: Authority, rest: string): RequestTarget {
  for (let i = 0; i < rest.length; i++) {
    const c = rest.charCodeAt(i);
    if (c <= 0x20 || c >= 0x7f) return malformed("holds a byte that no URI may hold");
    if (c === 0x23) return malformed("holds a fragment");
  }
  if (rest === "") return { kind: "absolute", authority, path: method === "OPTIONS" ? "*" : "/" };
  return { kind: "absolute", authority, path: rest.startsWith("/") ? rest : `/${rest}` };
}

function endOfAuthority(target: string): number {
  for (let i = scheme.length; i < target.length; i++) {
    const c = target.charCodeAt(i);
    if (c === 0x2f || c === 0x3f || c === 0x23) return i;
  }
  return target.length;
}

function describeForeign(target: string): string {
  if (target.startsWith("/") || target === "*")
    return "is in origin form: point the client's proxy setting here, not its URL";
  if (/^https:/i.test(target)) return "is an https: URL: a proxy is asked for those with CONNECT";
  return "is no http: URL";
}

function malformed(detail: string): RequestTarget {
  return { kind: "malformed", detail };
}
