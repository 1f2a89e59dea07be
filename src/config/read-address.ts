/** Addresses with ports, as listeners, resolvers and `connect_to` write them. */
import { parseAddress } from "../names/address.ts";
import { formatAuthority, parseAuthority } from "../names/authority.ts";
import { parseHost } from "../names/hostname.ts";
import type { ConnectTo, ListenAddress } from "./settings.ts";

/** A value, or a clause that completes "TEXT …" with what to write instead. */
export type AddressReading<T> =
  | { readonly kind: "value"; readonly value: T }
  | { readonly kind: "problem"; readonly message: string; readonly instead: string | undefined };

/** `127.0.0.1:3128`, `[::1]:3128`: an address to listen on. Port 0 takes a free one. Host is without brackets. */
export function parseListenAddress(text: string): AddressReading<ListenAddress> {
  const split = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(text);
  if (split === null) return problem("is no address with a port, as 127.0.0.1:3128", insteadOfListen(text));
  const [, host = "", digits = ""] = split;
  const port = parsePort(digits, 0);
  if (port === undefined) return problem("has no port from 0 to 65535", undefined);
  if (host === "" || host === "*")
    return problem(
      "does not say which address: 0.0.0.0 is every IPv4 address of this machine, 127.0.0.1 only itself",
      `0.0.0.0:${port}`,
    );
  const address = parseAddress(host.startsWith("[") ? host.slice(1, -1) : host);
  if (address === undefined || host.startsWith("[") !== host.includes(":")) {
    return problem(
      "is no IP address with a port: names are not looked up here",
      host === "localhost" ? `127.0.0.1:${port}` : undefined,
    );
  }
  return { kind: "value", value: { host: address.text, port } };
}

/** `10.0.0.53`, `10.0.0.53:5353`, `2001:db8::1`, `[2001:db8::1]:53`: what `dns.Resolver.setServers` takes. */
export function parseServer(text: string): AddressReading<string> {
  const bare = parseAddress(text);
  if (bare !== undefined) return { kind: "value", value: bare.text };
  const reading = parseListenAddress(text);
  if (reading.kind === "problem" || reading.value.port === 0)
    return problem("is no IP address of a resolver, with or without a port", undefined);
  const { host, port } = reading.value;
  return { kind: "value", value: host.includes(":") ? `[${host}]:${port}` : `${host}:${port}` };
}

/** `HOST:PORT:ADDRESS:PORT` as in curl's --connect-to: empty parts on the left are "any", an empty port on the right is the one asked for. */
export function parseConnectTo(text: string): AddressReading<ConnectTo> {
  const parts = /^(\[[^\]]*\]|[^:[\]]*):([^:]*):(\[[^\]]*\]|[^:[\]]*):([^:]*)$/.exec(text);
  if (parts === null) return problem("is not HOST:PORT:ADDRESS:PORT, with IPv6 addresses in brackets", undefined);
  const [, from = "", fromPort = "", to = "", toPort = ""] = parts;
  const host = from === "" || from === "*" ? undefined : readHost(from);
  if (host === null) return problem("begins with no host name: a name, *.name, an IP address, or * for any", undefined);
  const port = fromPort === "" ? undefined : parsePort(fromPort, 1);
  const newPort = toPort === "" ? undefined : parsePort(toPort, 1);
  if ((fromPort !== "" && port === undefined) || (toPort !== "" && newPort === undefined))
    return problem("has no port from 1 to 65535", undefined);
  const address = parseAddress(to.startsWith("[") ? to.slice(1, -1) : to);
  if (address === undefined || to.startsWith("[") !== to.includes(":"))
    return problem("has no IP address in its third part: names are not looked up here", undefined);
  return { kind: "value", value: { host, port, address, toPort: newPort } };
}

/** `proxy`, `DIRECT`, or `PROXY host:port`, of which the host becomes canonical: what a PAC answers for other hosts. */
export function parseOtherwise(text: string): AddressReading<string> {
  const [word = "", target, ...rest] = text.trim().split(/\s+/);
  if (/^(proxy|direct)$/i.test(word) && target === undefined) {
    const meant = word.toLowerCase() === "direct" ? "DIRECT" : "proxy";
    return text === meant ? { kind: "value", value: meant } : problem("is no word for it", meant);
  }
  const authority = target === undefined ? undefined : parseAuthority(target);
  if (!/^proxy$/i.test(word) || authority === undefined || rest.length > 0)
    return problem('is none of proxy, DIRECT and "PROXY host:port"', undefined);
  const meant = `PROXY ${formatAuthority(authority)}`;
  return word === "PROXY" ? { kind: "value", value: meant } : problem("is no word for it", `"${meant}"`);
}

/** Null for what is no host; the name of an address is its canonical text without brackets. */
function readHost(text: string): NonNullable<ConnectTo["host"]> | null {
  const wildcard = text.startsWith("*.");
  const host = parseHost(wildcard ? text.slice(2) : text);
  if (host === undefined || (wildcard && host.kind === "address")) return null;
  return { name: host.kind === "name" ? host.name : host.address.text, wildcard };
}

function parsePort(digits: string, lowest: number): number | undefined {
  if (!/^(0|[1-9]\d{0,4})$/.test(digits)) return undefined;
  const port = Number(digits);
  return port >= lowest && port <= 65535 ? port : undefined;
}

function insteadOfListen(text: string): string | undefined {
  if (/^\d{1,5}$/.test(text)) return `127.0.0.1:${text}`;
  const [, url] = /^https?:\/\/([^/]+)\/?$/.exec(text) ?? [];
  if (url !== undefined) return url;
  const [, host, port] = /^([0-9a-fA-F:]*:[0-9a-fA-F:]*):(\d{1,5})$/.exec(text) ?? [];
  return host !== undefined && parseAddress(host)?.family === 6 ? `"[${host}]:${port}"` : undefined;
}

function problem(
  message: string,
  instead: string | undefined,
): { readonly kind: "problem"; readonly message: string; readonly instead: string | undefined } {
  return { kind: "problem", message, instead };
}
