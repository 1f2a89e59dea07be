import { describe, expect, test } from "vitest";
import { type Admission, admit, admitLiteral, admitRouted, isLoop } from "../../../src/egress/admit.ts";
import type { FindOwnListener } from "../../../src/egress/own-listeners.ts";
import { type Cidr, parseAddress, parseCidr } from "../../../src/names/address.ts";
import type { Permit } from "../../../src/policy/verdict.ts";

const proxyPort = 3128;
const adminPort = 9180;
/** The proxy listens on 10.0.0.5 and, as admin, on 10.0.0.5 too. */
const findOwnListener: FindOwnListener = (address, port) => {
  if (address.text !== "10.0.0.5" && address.text !== "8.8.8.8") return undefined;
  if (port === adminPort) return "admin";
  return port === proxyPort ? "proxy" : undefined;
};

function permitFor(words: readonly string[] | undefined, { deny = false } = {}): Permit {
  const cidrs = (words ?? []).filter((word) => word.includes("/")).map((word) => parseCidr(word) as Cidr);
  const resolvesTo = { public: words?.includes("public"), private: words?.includes("private"), cidrs };
  return { rule: words === undefined ? undefined : { deny, rule: { resolvesTo } } } as unknown as Permit;
}

/** `admitted | blocked=class`, for reading. */
function told({ admitted, blocked }: Admission): string {
  const dropped = blocked.map((each) => `${each.address.text}=${each.class}`);
  return `${admitted.map((each) => each.address.text).join(" ")} | ${dropped.join(" ")}`.trim();
}

describe("what a name resolved to", () => {
  const cases: readonly (readonly [
    title: string,
    words: string[] | undefined,
    addresses: string,
    port: number,
    expected: string,
  ])[] = [
    ["public admits public", ["public"], "1.1.1.1 2a00::1", 443, "1.1.1.1 2a00::1 |"],
    [
      "of a mixed answer only the admitted are left, in their order",
      ["public"],
      "10.0.0.1 1.1.1.1 ::1 9.9.9.9",
      443,
      "1.1.1.1 9.9.9.9 | 10.0.0.1=private ::1=loopback",
    ],
    [
      "nothing is left of a rebinding answer",
      ["public"],
      "127.0.0.1 169.254.169.254 0.0.0.0",
      80,
      "| 127.0.0.1=loopback 169.254.169.254=link_local 0.0.0.0=unspecified",
    ],
    [
      "private alone does not admit public",
      ["private"],
      "10.0.0.1 fd12::1 1.1.1.1",
      443,
      "10.0.0.1 fd12::1 | 1.1.1.1=public",
    ],
    ["both words", ["public", "private"], "10.0.0.1 1.1.1.1", 443, "10.0.0.1 1.1.1.1 |"],
    [
      "no word admits anything else",
      ["public", "private"],
      "127.0.0.1 fe80::1 100.64.0.1 224.0.0.1 :: 192.0.2.1 100.100.100.200 fd00:ec2::254",
      443,
      "| 127.0.0.1=loopback fe80::1=link_local 100.64.0.1=cgnat 224.0.0.1=multicast ::=unspecified 192.0.2.1=reserved 100.100.100.200=metadata fd00:ec2::254=metadata",
    ],
    [
      "embedded IPv4 counts",
      ["public"],
      "64:ff9b::10.0.0.1 2002:7f00:1::",
      443,
      "| 64:ff9b::a00:1=private 2002:7f00:1::=loopback",
    ],
    [
      "a block admits whatever class",
      ["127.0.0.0/8", "169.254.169.254/32"],
      "127.0.0.1 169.254.169.254 169.254.169.253",
      443,
      "127.0.0.1 169.254.169.254 | 169.254.169.253=link_local",
    ],
    ["a block alone does not admit public", ["10.0.0.0/8"], "10.1.1.1 1.1.1.1", 443, "10.1.1.1 | 1.1.1.1=public"],
    ["an IPv4 block says nothing of NAT64", ["10.0.0.0/8"], "64:ff9b::10.0.0.1", 443, "| 64:ff9b::a00:1=private"],
    [
      "no word admits the own proxy listener",
      ["public", "private"],
      "10.0.0.5 8.8.8.8",
      proxyPort,
      "| 10.0.0.5=own_listener 8.8.8.8=own_listener",
    ],
    ["another port of the same machine is fine", ["private"], "10.0.0.5", 8530, "10.0.0.5 |"],
    ["no block admits the own proxy listener", ["10.0.0.5/32"], "10.0.0.5", proxyPort, "| 10.0.0.5=own_listener"],
    ["no block admits the admin listener", ["10.0.0.5/32"], "10.0.0.5", adminPort, "| 10.0.0.5=own_listener"],
    [
      "without a rule only public is admitted",
      undefined,
      "1.1.1.1 10.0.0.1 127.0.0.1 8.8.8.8",
      proxyPort,
      "1.1.1.1 | 10.0.0.1=private 127.0.0.1=loopback 8.8.8.8=own_listener",
    ],
    ["no addresses, nothing admitted", ["public"], "", 443, "|"],
  ];
  test.each(cases)("%s", (_title, words, addresses, port, expected) => {
    const parsed = addresses.split(" ").flatMap((text) => parseAddress(text) ?? []);
    expect(told(admit(permitFor(words), parsed, port, findOwnListener))).toBe(expected);
  });

  test("a destination carries the address and port that were judged", () => {
    const address = parseAddress("1.1.1.1")!;
    expect(admit(permitFor(["public"]), [address], 8443, findOwnListener).admitted).toEqual([{ address, port: 8443 }]);
  });
});

describe("a target that was an address", () => {
  test.each([
    ["listing it admits loopback", ["public"], {}, "127.0.0.1", 443, "127.0.0.1 |"],
    ["listing it admits the metadata service", ["public"], {}, "169.254.169.254", 80, "169.254.169.254 |"],
    ["not the own proxy listener", ["10.0.0.5/32"], {}, "10.0.0.5", proxyPort, "| 10.0.0.5=own_listener"],
    ["not the admin listener", ["10.0.0.5/32"], {}, "10.0.0.5", adminPort, "| 10.0.0.5=own_listener"],
    ["without a rule it must be public", undefined, {}, "10.0.0.1", 443, "| 10.0.0.1=private"],
    ["without a rule public passes", undefined, {}, "1.1.1.1", 443, "1.1.1.1 |"],
    [
      "a deny rule in report mode lists it to deny it, not to admit it",
      ["public"],
      { deny: true },
      "127.0.0.1",
      443,
      "| 127.0.0.1=loopback",
    ],
  ])("%s", (_title, words, flags, text, port, expected) => {
    expect(told(admitLiteral(permitFor(words, flags), parseAddress(text)!, port, findOwnListener))).toBe(expected);
  });
});

describe("where connect_to leads, and a parent's addresses", () => {
  test.each([
    [
      "of several, the own listener alone is left out",
      "10.0.0.5 10.0.0.6",
      proxyPort,
      "10.0.0.6 | 10.0.0.5=own_listener",
    ],
    ["exempt from the floor", "127.0.0.1", 443, "127.0.0.1 |"],
    ["exempt from resolves_to", "10.0.0.1", 443, "10.0.0.1 |"],
    ["not from the own-listener check", "10.0.0.5", proxyPort, "| 10.0.0.5=own_listener"],
    ["nor for the admin listener", "10.0.0.5", adminPort, "| 10.0.0.5=own_listener"],
  ])("%s", (_title, text, port, expected) => {
    const addresses = text.split(" ").map((one) => parseAddress(one)!);
    expect(told(admitRouted(permitFor(["10.0.0.0/8"]), addresses, port, findOwnListener))).toBe(expected);
  });
});

describe("isLoop", () => {
  test.each([
    ["only the proxy itself was asked for", "10.0.0.5", true],
    ["the proxy itself among other refused addresses", "127.0.0.1 10.0.0.5", true],
    ["something else is left to dial", "1.1.1.1 10.0.0.5", false],
    ["refused, but not the proxy", "127.0.0.1", false],
  ])("%s", (_title, addresses, expected) => {
    const parsed = addresses.split(" ").map((text) => parseAddress(text)!);
    expect(isLoop(admit(permitFor(["public"]), parsed, proxyPort, findOwnListener))).toBe(expected);
  });
});
