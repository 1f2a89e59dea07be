/** `listen`: each listener with the files that it names. What does not go together is said at its place. */
import type { Cidr } from "../names/address.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { type Disk, readFailure } from "./disk.ts";
import type { Problem } from "./problem.ts";
import { parseListenAddress } from "./read-address.ts";
import { type HtpasswdUsers, readHtpasswd } from "./read-htpasswd.ts";
import { readCidr } from "./read-rule.ts";
import { readTls } from "./read-tls.ts";
import type { RawSettings } from "./settings-schema.ts";
import type { ListenerKind, ListenerSettings, ListenerTls } from "./settings.ts";
import type { YamlNode, YamlPath } from "./yaml-tree.ts";

export type ListenersContext = {
  readonly disk: Disk;
  readonly root: YamlNode;
  readonly diagnostics: Diagnostics;
  /** For what stands in other files. */
  readonly problems: Problem[];
  /** Where a path that stands in the file leads. */
  readonly resolve: (path: string) => string;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
};

type RawListener = NonNullable<RawSettings["listen"]>[number];

/** Reads them in their order. What has a problem is left out, or keeps its default. */
export function readListeners(context: ListenersContext, raw: RawSettings): ListenerSettings[] {
  const { root, diagnostics } = context;
  const taken = new Set<string>();
  return (raw.listen ?? []).flatMap((listener, i) => {
    const path = ["listen", i];
    const kind = listener.kind ?? "proxy";
    for (const key of ["tls", "auth", "proxy_protocol", "port"] as const) {
      const why = listener[key] === undefined ? undefined : unfit(kind, key);
      if (why !== undefined) diagnostics.key(root, [...path, key], why);
    }
    const rest = {
      kind,
      clients: listener.clients ?? null,
      port: listener.port ?? (kind === "http" ? 80 : 443),
      tls: readListenerTls(context, path, listener),
      proxyProtocol: readPeers(context, path, listener),
      auth: readAuth(context, path, listener),
    };
    if (listener.address === undefined) return [];
    const address = parseListenAddress(listener.address);
    if (address.kind === "problem") {
      diagnostics.value(root, [...path, "address"], address.message, address.instead);
      return [];
    }
    const key = JSON.stringify(address.value);
    if (address.value.port !== 0 && taken.has(key))
      diagnostics.value(root, [...path, "address"], "is the address of a listener above already");
    taken.add(key);
    return { ...rest, address: address.value };
  });
}

/** Why a key has no place on a listener of this kind; undefined where it has. */
function unfit(kind: ListenerKind, key: "tls" | "auth" | "proxy_protocol" | "port"): string | undefined {
  const isRedirected = kind === "sni" || kind === "http";
  if (key === "port") return isRedirected ? undefined : "is for kinds sni and http: others are told the port";
  if (kind === "pac") return "is not for kind pac: leave it out";
  if (!isRedirected || key === "proxy_protocol") return undefined;
  if (key === "auth") return "is for kind proxy: a client that was redirected does not know that it could be asked";
  return "is for kind proxy: a client that was redirected speaks to the origin, and knows of no TLS to a proxy";
}

function readListenerTls(context: ListenersContext, path: YamlPath, { tls }: RawListener): ListenerTls | undefined {
  if (tls === undefined) return undefined;
  const { root, diagnostics, nowMs } = context;
  const at = [...path, "tls"];
  const cert = readText(context, [...at, "cert"], tls.cert);
  const key = readText(context, [...at, "key"], tls.key);
  const clientCa = readText(context, [...at, "client_ca"], tls.client_ca);
  if (cert === undefined || key === undefined || (tls.client_ca !== undefined && clientCa === undefined))
    return undefined;
  const reading = readTls({ cert, key, clientCa }, nowMs);
  for (const problem of reading.problems)
    diagnostics.value(root, [...at, problem.key], problem.message, undefined, problem.severity);
  return reading.tls;
}

function readPeers(context: ListenersContext, path: YamlPath, listener: RawListener): readonly Cidr[] | null {
  const from = listener.proxy_protocol?.from;
  if (from === undefined) return null;
  return from.flatMap((text, i) =>
    readCidr(context.diagnostics, context.root, [...path, "proxy_protocol", "from", i], text),
  );
}

function readAuth(context: ListenersContext, path: YamlPath, { auth }: RawListener): HtpasswdUsers | undefined {
  if (auth?.basic === undefined) return undefined;
  const at = [...path, "auth", "basic"];
  const text = readText(context, at, auth.basic);
  if (text === undefined) return undefined;
  const before = context.problems.length;
  const users = readHtpasswd(context.resolve(auth.basic), text, context.problems);
  if (users.size === 0 && context.problems.length === before)
    context.diagnostics.value(context.root, at, "has no user: htpasswd -B adds one");
  return users;
}

/** What a file holds is never shown, also not where it is at fault. */
function readText(context: ListenersContext, at: YamlPath, file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const full = context.resolve(file);
  try {
    return context.disk.readFile(full);
  } catch (error) {
    context.diagnostics.value(context.root, at, `${readFailure(error)} (as ${full})`);
    return undefined;
  }
}
