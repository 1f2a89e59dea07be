/** Who may ask the admin server for what: decided on the raw head, before anything routes the request. */
import { createHash, timingSafeEqual } from "node:crypto";
import { isConsolePath } from "./console-page.ts";
import { formatAuthority, parseAuthority } from "../names/authority.ts";
import { parseHostname } from "../names/hostname.ts";

/** What is looked at. `rawHeaders` as Node gives them, since the merged ones hide duplicates. */
export type AdminRequest = {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: readonly string[];
};

/** Why a request goes no further; `error` is a word for machines, `hint` says what to do. */
export type AdminRefusal = {
  readonly status: 400 | 401 | 403 | 413 | 421;
  readonly error: string;
  readonly hint: string;
};

/** Undefined is admitted. */
export type Gate = (request: AdminRequest) => AdminRefusal | undefined;

export type GateOptions = {
  /** Host names that are answered to besides localhost and addresses. */
  readonly names: readonly string[];
  /** True when only this machine can reach the listener: no token is asked for. */
  readonly loopback: boolean;
  readonly token: string | undefined;
};

/** They answer any Host, and nobody needs a token for them: probes and scrapers are configured by address. */
const openPaths: ReadonlySet<string> = new Set(["/metrics", "/healthz", "/readyz"]);

/**
 * In this order: form of the request, body, Host (a page of any origin can make a browser ask us under a name that it
 * points at us; it cannot make the browser say another name), Origin of a POST (a page of any origin can make a browser
 * post to us; it cannot make the browser hide where it is from), token.
 */
export function createGate({ names, loopback, token }: GateOptions): Gate {
  const admittedNames: ReadonlySet<string> = new Set(
    ["localhost", ...names].flatMap((name) => parseHostname(name) ?? []),
  );
  const tokenDigest = token === undefined || token === "" ? undefined : digestOf(token);
  return ({ method, target, rawHeaders }) => {
    if (!target.startsWith("/")) return originFormOnly;
    const hosts = fieldValues(rawHeaders, "host");
    if (hosts.length > 1) return oneHostOnly;
    if (hasBody(rawHeaders)) return noBody;
    const path = target.split("?", 1)[0] ?? "";
    if (openPaths.has(path)) return undefined;
    if (!isAdmittedHost(hosts[0], admittedNames)) return unknownHost;
    if (method === "POST" && isFromElsewhere(rawHeaders, hosts[0])) return otherOrigin;
    if (loopback || isConsolePath(path)) return undefined;
    if (tokenDigest === undefined) return noTokenConfigured;
    return bearerOf(rawHeaders)?.equals(tokenDigest) === true ? undefined : tokenNeeded;
  };
}

const originFormOnly: AdminRefusal = {
  status: 400,
  error: "bad_request",
  hint: "this is the admin server, not a proxy: ask for a path",
};
const oneHostOnly: AdminRefusal = { status: 400, error: "bad_request", hint: "send one Host field" };
const noBody: AdminRefusal = { status: 413, error: "content_too_large", hint: "no endpoint takes a body" };
const unknownHost: AdminRefusal = {
  status: 421,
  error: "host_not_admitted",
  hint: "ask by address or as localhost, or list this name in admin.names",
};
const otherOrigin: AdminRefusal = {
  status: 403,
  error: "origin_not_admitted",
  hint: "a page of another origin may not do this",
};
const noTokenConfigured: AdminRefusal = {
  status: 403,
  error: "token_not_configured",
  hint: "beyond loopback this endpoint needs a token: set admin.token_file",
};
const tokenNeeded: AdminRefusal = {
  status: 401,
  error: "token_required",
  hint: "send the token of admin.token_file as Authorization: Bearer",
};

function isAdmittedHost(field: string | undefined, names: ReadonlySet<string>): boolean {
  const defaultPort = 80;
  const host = field === undefined ? undefined : parseAuthority(field, defaultPort)?.host;
  if (host === undefined) return false;
  return host.kind === "address" || names.has(host.name);
}

/** Says where a browser's page is from; whoever is no browser says nothing. A page of ours has the Host as its origin. */
function isFromElsewhere(rawHeaders: readonly string[], host: string | undefined): boolean {
  const site = fieldValues(rawHeaders, "sec-fetch-site");
  if (site.some((word) => word !== "same-origin" && word !== "none")) return true;
  return fieldValues(rawHeaders, "origin").some((origin) => {
    const [, scheme, authority = ""] = /^(https?):\/\/([^/]+)$/.exec(origin) ?? [];
    const port = scheme === "https" ? 443 : 80;
    const [own, theirs] = [parseAuthority(host ?? "", port), parseAuthority(authority, port)];
    return own === undefined || theirs === undefined || formatAuthority(own) !== formatAuthority(theirs);
  });
}

function hasBody(rawHeaders: readonly string[]): boolean {
  if (fieldValues(rawHeaders, "transfer-encoding").length > 0) return true;
  return fieldValues(rawHeaders, "content-length").some((length) => length !== "0");
}

/** A digest that compares in constant time, of the one Authorization field, where it is a bearer token (RFC 6750). */
function bearerOf(rawHeaders: readonly string[]): Digest | undefined {
  const values = fieldValues(rawHeaders, "authorization");
  const token = values.length === 1 ? /^bearer +(\S+)$/i.exec(values[0] ?? "")?.[1] : undefined;
  return token === undefined ? undefined : digestOf(token);
}

type Digest = { readonly bytes: Buffer; readonly equals: (other: Digest) => boolean };

/** Digests are of equal length, so that not even the length of the token shows in the time taken. */
function digestOf(token: string): Digest {
  const bytes = createHash("sha256").update(token).digest();
  return { bytes, equals: (other) => timingSafeEqual(bytes, other.bytes) };
}

function fieldValues(rawHeaders: readonly string[], name: string): readonly string[] {
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name);
}
