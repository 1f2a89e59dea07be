import { describe, expect, test } from "vitest";
import type { networkInterfaces } from "node:os";
import { type OwnListener, createLocalAddresses, findOwnListenerIn } from "../../../src/egress/own-listeners.ts";
import { parseAddress } from "../../../src/names/address.ts";

function interfacesOf(...addresses: string[]): typeof networkInterfaces {
  return () => ({ eth0: addresses.map((address) => ({ address })) }) as unknown as ReturnType<typeof networkInterfaces>;
}

function listener(kind: OwnListener["kind"], address: string, port: number): OwnListener {
  return { kind, address: parseAddress(address)!, port };
}

describe("which own listener an address and port lead to", () => {
  const local = createLocalAddresses(() => 0, interfacesOf("10.0.0.5", "fe80::5%eth0", "2a00::5"));
  test.each([
    ["the address it is bound to", "10.0.0.5:3128", "10.0.0.5", 3128, "proxy"],
    ["another port", "10.0.0.5:3128", "10.0.0.5", 3129, undefined],
    ["another address", "10.0.0.5:3128", "10.0.0.6", 3128, undefined],
    ["loopback, when bound to an interface", "10.0.0.5:3128", "127.0.0.1", 3128, undefined],
    ["bound to every address: an interface's", "0.0.0.0:3128", "10.0.0.5", 3128, "proxy"],
    ["bound to every address: any loopback", "0.0.0.0:3128", "127.9.9.9", 3128, "proxy"],
    ["bound to every address: the IPv6 loopback", "::/3128", "::1", 3128, "proxy"],
    ["bound to every IPv6 address: IPv4 as well (dual stack)", "::/3128", "10.0.0.5", 3128, "proxy"],
    ["bound to every address: link-local with its zone left off", "::/3128", "fe80::5", 3128, "proxy"],
    ["bound to every address: a stranger's", "::/3128", "10.0.0.6", 3128, undefined],
    ["0.0.0.0 connects to the machine itself", "127.0.0.1:3128", "0.0.0.0", 3128, "proxy"],
    [":: does too", "::1/3128", "::", 3128, "proxy"],
  ])("%s", (_title, bound, text, port, expected) => {
    const [address, boundPort] = bound.includes("/") ? bound.split("/") : bound.split(":");
    const find = findOwnListenerIn(() => [listener("proxy", address!, Number(boundPort))], local);
    expect(find(parseAddress(text)!, port)).toBe(expected);
  });

  test("the admin listener is named before a proxy listener that shares the port, in either order", () => {
    const both = [listener("admin", "127.0.0.1", 3128), listener("proxy", "0.0.0.0", 3128)];
    for (const listeners of [both, both.toReversed()]) {
      const find = findOwnListenerIn(() => listeners, local);
      expect(find(parseAddress("127.0.0.1")!, 3128)).toBe("admin");
      expect(find(parseAddress("10.0.0.5")!, 3128)).toBe("proxy");
    }
  });

  test("a listener that was bound later is seen", () => {
    const listeners: OwnListener[] = [];
    const find = findOwnListenerIn(() => listeners, local);
    expect(find(parseAddress("127.0.0.1")!, 3128)).toBeUndefined();
    listeners.push(listener("proxy", "127.0.0.1", 3128));
    expect(find(parseAddress("127.0.0.1")!, 3128)).toBe("proxy");
  });
});

describe("local addresses", () => {
  test("are read at first use, kept for a while and then read again", () => {
    let now = 1_000;
    let reads = 0;
    let addresses = ["10.0.0.5"];
    const local = createLocalAddresses(
      () => now,
      () => {
        reads += 1;
        return interfacesOf(...addresses)();
      },
    );
    expect(reads).toBe(0);
    expect(local.has(parseAddress("10.0.0.5")!)).toBe(true);
    addresses = ["10.0.0.6"];
    now += 4_999;
    expect(local.has(parseAddress("10.0.0.6")!)).toBe(false);
    expect(reads).toBe(1);
    now += 1;
    expect(local.has(parseAddress("10.0.0.6")!)).toBe(true);
    expect(local.has(parseAddress("10.0.0.5")!)).toBe(false);
    expect(reads).toBe(2);
  });

  test.each([
    ["a global address", ["10.0.0.5", "2a00::5"], true],
    ["unique local and link-local only", ["fd00::2", "fe80::1", "::1"], false],
    ["IPv4 only", ["10.0.0.5"], false],
  ])("global IPv6: %s", (_title, addresses, expected) => {
    expect(createLocalAddresses(() => 0, interfacesOf(...addresses)).hasGlobalIPv6()).toBe(expected);
  });

  test("this machine's own loopback is among them", () => {
    expect(createLocalAddresses(() => 0).has(parseAddress("127.0.0.1")!)).toBe(true);
  });
});
