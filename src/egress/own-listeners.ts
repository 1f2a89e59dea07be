/** Whether an address and port would lead back into this proxy, and what addresses this machine has. */
import { networkInterfaces } from "node:os";
import { type Address, parseAddress } from "../names/address.ts";
import { classOfAddress } from "../names/address-class.ts";

/** A listening socket of this process (or of its fellow workers), as bound: `port` is never 0. */
export type OwnListener = { readonly kind: ListenerKind; readonly address: Address; readonly port: number };
export type ListenerKind = "proxy" | "admin";

/** Which of the own listeners a connection to this address and port would reach; undefined is none. */
export type FindOwnListener = (address: Address, port: number) => ListenerKind | undefined;

/** What is known of this machine's addresses; read again when older than a few seconds. */
export type LocalAddresses = {
  /** True for an address of one of the interfaces, loopback among them. */
  readonly has: (address: Address) => boolean;
  /** True where some interface has a global IPv6 address: without one IPv6 destinations are not worth the first try. */
  readonly hasGlobalIPv6: () => boolean;
};

const refreshAfterMs = 5_000;

/**
 * Answers for `listeners()`, asked at every call because ports are known only once bound. A listener on every address
 * (0.0.0.0, ::) is met at any local one. An unspecified target reaches this machine too, on Linux, and counts as every
 * listener's address. When an admin listener is met, it is named first: it is never to be reached.
 */
export function findOwnListenerIn(listeners: () => readonly OwnListener[], local: LocalAddresses): FindOwnListener {
  return (address, port) => {
    let found: ListenerKind | undefined;
    for (const listener of listeners()) {
      if (listener.port !== port || found === "admin" || !reaches(address, listener.address, local)) continue;
      found = listener.kind;
    }
    return found;
  };
}

/** `readInterfaces` is `os.networkInterfaces`; `now` is in milliseconds. */
export function createLocalAddresses(now: () => number, readInterfaces = networkInterfaces): LocalAddresses {
  let known = new Set<string>();
  let globalIPv6 = false;
  let readAt = -Infinity;
  const refresh = (): void => {
    if (now() - readAt < refreshAfterMs) return;
    readAt = now();
    const addresses = Object.values(readInterfaces()).flatMap((entries) =>
      (entries ?? []).flatMap((entry) => parseAddress(entry.address.replace(/%.*/, "")) ?? []),
    );
    known = new Set(addresses.map((address) => address.text));
    globalIPv6 = addresses.some((address) => address.family === 6 && ((address.bytes[0] ?? 0) & 0xe0) === 0x20);
  };
  return {
    has(address) {
      refresh();
      return known.has(address.text) || classOfAddress(address) === "loopback";
    },
    hasGlobalIPv6() {
      refresh();
      return globalIPv6;
    },
  };
}

function reaches(target: Address, bound: Address, local: LocalAddresses): boolean {
  if (target.text === bound.text || classOfAddress(target) === "unspecified") return true;
  return classOfAddress(bound) === "unspecified" && local.has(target);
}
