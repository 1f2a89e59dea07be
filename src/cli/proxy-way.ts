/** Where clients find the proxy: as the command line says, else as the configuration's first proxy listener has it. */
import { hostname } from "node:os";
import type { ListenAddress, ListenerSettings, Settings } from "../config/settings.ts";
import { parseAddress } from "../names/address.ts";
import { classOfAddress } from "../names/address-class.ts";
import { parseAuthority } from "../names/authority.ts";
import { formatHost, parseHost } from "../names/hostname.ts";
import type { ProxyWay } from "./setup-step.ts";

export type FoundWay =
  | {
      readonly kind: "way";
      readonly way: ProxyWay;
      /** What of it is a guess, or will surprise. */
      readonly notes: readonly string[];
    }
  /** `message` says what is wrong, and what to write. */
  | { readonly kind: "problem"; readonly message: string };

export type WayOptions = { readonly proxy?: string | undefined; readonly pac?: string | undefined };

/** `proxy` is a URL, or host and port; `pac` a URL. */
export function findWay({ proxy, pac }: WayOptions, settings: Settings): FoundWay {
  const pacUrl = pac === undefined ? undefined : plainUrl(pac);
  if (pac !== undefined && pacUrl === undefined)
    return { kind: "problem", message: `--pac ${pac} is no URL of a PAC: write http://HOST:PORT/proxy.pac` };
  if (proxy !== undefined) {
    const given = readProxy(proxy);
    if (given === undefined || given.tls)
      return { kind: "problem", message: `--proxy ${proxy} is no proxy: write http://HOST:PORT, or HOST:PORT` };
    return { kind: "way", way: { host: given.host, port: given.port, pac: pacUrl }, notes: [] };
  }
  const listener = plainListener(settings);
  if (listener === undefined)
    return {
      kind: "problem",
      message:
        "the configuration has no proxy listener that clients could be told (a port of its own, no TLS, no credentials, no PROXY header): say --proxy",
    };
  const own = reachable(listener.address, "--proxy");
  const server = settings.listen.find(({ kind, address }) => kind === "pac" && address.port !== 0);
  const served = server === undefined || pacUrl !== undefined ? undefined : reachable(server.address, "--pac");
  const servedUrl = served === undefined ? undefined : `http://${served.host}:${server?.address.port}/proxy.pac`;
  const way = { host: own.host, port: listener.address.port, pac: pacUrl ?? servedUrl };
  return { kind: "way", way, notes: [...own.notes, ...(served?.notes ?? [])] };
}

/** Agents and Windows' services speak no TLS to a proxy, have no credentials for it, and send no PROXY header. */
export function plainListener({ listen }: Settings): ListenerSettings | undefined {
  return listen.find(
    ({ kind, tls, auth, proxyProtocol, address }) =>
      kind === "proxy" && tls === undefined && auth === undefined && proxyProtocol === null && address.port !== 0,
  );
}

/** `http://host:port/`, `https://host:port/`, `host:port`; ports are implied by schemes alone. Undefined for anything else, credentials among it. */
export function readProxy(
  text: string,
): { readonly host: string; readonly port: number; readonly tls: boolean } | undefined {
  const [, scheme, bare = ""] = /^(?:(https?):\/\/)?([^/?#@]+)\/?$/i.exec(text) ?? [];
  const tls = scheme?.toLowerCase() === "https";
  const authority = parseAuthority(bare, scheme === undefined ? undefined : tls ? 443 : 80);
  return authority === undefined ? undefined : { host: formatHost(authority.host), port: authority.port, tls };
}

/** In characters that no shell takes for its own. */
function plainUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const { protocol, href, username } = new URL(text);
  return /^https?:$/.test(protocol) && username === "" && /^[\w:/.[\]~-]+$/.test(href) ? href : undefined;
}

function reachable(
  { host, port }: ListenAddress,
  flag: string,
): { readonly host: string; readonly notes: readonly string[] } {
  const address = parseAddress(host);
  const kind = address === undefined ? undefined : classOfAddress(address);
  if (kind === "unspecified") {
    const own = parseHost(hostname());
    const name = own?.kind === "name" ? own.name : "PROXY-HOST";
    return {
      host: name,
      notes: [
        `the listener on port ${port} is on every address, and ${name} is what this machine calls itself: ${flag} says how clients reach it`,
      ],
    };
  }
  const text = address === undefined ? host : formatHost({ kind: "address", address });
  const isLocal = kind === "loopback";
  return { host: text, notes: isLocal ? [`the listener is on ${text}:${port}, which only this machine reaches`] : [] };
}
