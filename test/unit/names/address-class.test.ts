import fc from "fast-check";
import { BlockList } from "node:net";
import { describe, expect, test } from "vitest";
import { type Address, addressOfBytes, parseAddress } from "../../../src/names/address.ts";
import { addressClasses, classOfAddress } from "../../../src/names/address-class.ts";

function classOf(text: string): string {
  return classOfAddress(parseAddress(text)!);
}

/** The registries, as first and last address of each block, written apart from the table of the code. */
const blocks: readonly (readonly [title: string, first: string, last: string, expected: string])[] = [
  ["this network (RFC 791)", "0.0.0.0", "0.255.255.255", "unspecified"],
  ["RFC 1918, 10/8", "10.0.0.0", "10.255.255.255", "private"],
  ["shared address space (RFC 6598)", "100.64.0.0", "100.127.255.255", "cgnat"],
  ["loopback (RFC 1122)", "127.0.0.0", "127.255.255.255", "loopback"],
  ["link-local (RFC 3927)", "169.254.0.0", "169.254.255.255", "link_local"],
  ["RFC 1918, 172.16/12", "172.16.0.0", "172.31.255.255", "private"],
  ["IETF protocol assignments (RFC 6890)", "192.0.0.0", "192.0.0.191", "reserved"],
  ["documentation, TEST-NET-1", "192.0.2.0", "192.0.2.255", "reserved"],
  ["6to4 relay anycast (RFC 7526)", "192.88.99.0", "192.88.99.255", "reserved"],
  ["RFC 1918, 192.168/16", "192.168.0.0", "192.168.255.255", "private"],
  ["benchmarking (RFC 2544)", "198.18.0.0", "198.19.255.255", "reserved"],
  ["documentation, TEST-NET-2", "198.51.100.0", "198.51.100.255", "reserved"],
  ["documentation, TEST-NET-3", "203.0.113.0", "203.0.113.255", "reserved"],
  ["multicast (RFC 5771)", "224.0.0.0", "239.255.255.255", "multicast"],
  ["class E and broadcast", "240.0.0.0", "255.255.255.255", "reserved"],
  ["local NAT64 (RFC 8215)", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "reserved"],
  ["discard (RFC 6666)", "100::", "100::ffff:ffff:ffff:ffff", "reserved"],
  ["dummy prefix (RFC 9780)", "100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "reserved"],
  ["benchmarking (RFC 5180)", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "reserved"],
  ["IETF protocol assignments, to the end", "2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"],
  ["documentation (RFC 3849)", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"],
  ["documentation (RFC 9637)", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"],
  ["SRv6 identifiers (RFC 9602)", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"],
  ["beyond global unicast", "4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"],
  ["unique local (RFC 4193)", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"],
  ["link-local (RFC 4291)", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link_local"],
  ["site-local (RFC 3879)", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"],
  ["multicast", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"],
];

describe("blocks of the registries", () => {
  test.each(blocks)("%s: %s to %s is %s", (_title, first, last, expected) => {
    expect([classOf(first), classOf(last)]).toEqual([expected, expected]);
  });

  test.each([
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "168.63.129.15",
    "192.31.196.1",
    "192.52.193.1",
    "192.175.48.1",
    "2000::",
    "2001:200::",
    "2001:db7:ffff::1",
    "2001:db9::",
    "2001:4860:4860::8888",
    "2003::1",
    "2620:4f:8000::1",
    "3ffe:ffff::",
    "3fff:1000::",
  ])("%s, at or beyond a border, is public", (text) => {
    expect(classOf(text)).toBe("public");
  });
});

describe("single addresses", () => {
  test.each([
    ["the instance metadata service of nearly every cloud", "169.254.169.254", "link_local"],
    ["Alibaba's, inside the shared address space", "100.100.100.200", "metadata"],
    ["its neighbour", "100.100.100.201", "cgnat"],
    ["Azure's WireServer, inside public space", "168.63.129.16", "metadata"],
    ["Oracle Classic's", "192.0.0.192", "metadata"],
    ["AWS' over IPv6, inside unique local space", "fd00:ec2::254", "metadata"],
    ["EKS pod identity", "fd00:ec2::23", "metadata"],
    ["Google's over IPv6", "fd20:ce::254", "metadata"],
    ["its neighbour", "fd20:ce::255", "private"],
    ["Oracle's over IPv6", "fd00:c1::a9fe:a9fe", "metadata"],
    ["Scaleway's over IPv6", "fd00:42::42", "metadata"],
    ["Linode's over IPv6", "fd00:a9fe:a9fe::1", "metadata"],
    ["Alibaba's over IPv6", "fd00:100::100:200", "metadata"],
    ["the IPv6 loopback", "::1", "loopback"],
    ["the unspecified IPv6 address", "::", "unspecified"],
  ])("%s: %s is %s", (_title, text, expected) => {
    expect(classOf(text)).toBe(expected);
  });
});

describe("IPv6 that carries IPv4", () => {
  test.each([
    ["mapped loopback", "::ffff:127.0.0.1", "loopback"],
    ["mapped loopback in hex", "::ffff:7f00:1", "loopback"],
    ["IPv4-compatible loopback", "::127.0.0.1", "loopback"],
    ["IPv4-compatible metadata", "::169.254.169.254", "link_local"],
    ["IPv4-compatible public address", "::8.8.8.8", "public"],
    ["IPv4-translated (RFC 2765), which no one routes", "::ffff:0:127.0.0.1", "reserved"],
    ["NAT64 of a public address", "64:ff9b::8.8.8.8", "public"],
    ["NAT64 of a private address", "64:ff9b::10.0.0.1", "private"],
    ["NAT64 of the metadata service", "64:ff9b::a9fe:a9fe", "link_local"],
    ["NAT64 of WireServer", "64:ff9b::168.63.129.16", "metadata"],
    ["beside the NAT64 prefix", "64:ff9b:0:0:0:1:808:808", "reserved"],
    ["6to4 of a public address", "2002:808:808::1", "public"],
    ["6to4 of loopback", "2002:7f00:1::1", "loopback"],
    ["6to4 of a private address, whatever follows", "2002:c0a8:101:ffff::8.8.8.8", "private"],
    ["Teredo, public server and client", "2001:0:4136:e378:8000:63bf:f7f7:f7f7", "public"],
    ["Teredo, private client (turned bits)", "2001:0:4136:e378:8000:63bf:3f57:fefe", "private"],
    ["Teredo, loopback client", "2001:0:4136:e378:8000:63bf:80ff:fffe", "loopback"],
    ["Teredo, loopback server", "2001:0:7f00:1:8000:63bf:f7f7:f7f7", "loopback"],
    ["Teredo, private server and loopback client", "2001:0:a00:1:8000:63bf:80ff:fffe", "loopback"],
    ["ISATAP of loopback under a public prefix", "2a00:1450::5efe:127.0.0.1", "loopback"],
    ["ISATAP with the universal bit", "2a00:1450::200:5efe:10.1.2.3", "private"],
    ["ISATAP of a public address under a public prefix", "2a00:1450::200:5efe:8.8.8.8", "public"],
    ["ISATAP of a public address under a unique local prefix", "fd12::5efe:8.8.8.8", "private"],
    ["ISATAP of a public address on the link", "fe80::5efe:8.8.8.8", "link_local"],
    ["not quite an ISATAP identifier", "2a00:1450::100:5efe:127.0.0.1", "public"],
  ])("%s: %s is %s", (_title, text, expected) => {
    expect(classOf(text)).toBe(expected);
  });

  const bytes4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
  const carriers: Readonly<Record<string, (v4: Uint8Array) => number[]>> = {
    mapped: (v4) => [...zeros(10), 0xff, 0xff, ...v4],
    NAT64: (v4) => [0, 0x64, 0xff, 0x9b, ...zeros(8), ...v4],
    "6to4": (v4) => [0x20, 0x02, ...v4, ...zeros(10)],
    "Teredo client of a public server": (v4) => [0x20, 1, 0, 0, 8, 8, 8, 8, 0, 0, 0, 0, ...v4.map((b) => b ^ 0xff)],
    "ISATAP under a public prefix": (v4) => [0x2a, 0, ...zeros(6), 0, 0, 0x5e, 0xfe, ...v4],
  };
  test.each(Object.entries(carriers))("%s: any IPv4 address keeps its class", (_title, carry) => {
    fc.assert(
      fc.property(bytes4, (v4) => {
        expect(classOfAddress(addressOfBytes(Uint8Array.from(carry(v4))))).toBe(classOfAddress(addressOfBytes(v4)));
      }),
    );
  });
});

describe("properties", () => {
  const special = new BlockList();
  for (const [, first, last] of blocks) special.addRange(first, last, first.includes(":") ? "ipv6" : "ipv4");
  for (const text of ["100.100.100.200", "168.63.129.16", "192.0.0.192"]) special.addAddress(text, "ipv4");

  test("public IPv4 is what the registries leave over", () => {
    const nearBlocks = fc
      .tuple(
        fc.constantFrom(...blocks.flatMap(([, a, b]) => [a, b]).filter((t) => !t.includes(":"))),
        fc.integer({ min: -2, max: 2 }),
      )
      .map(([text, step]) => moved(parseAddress(text)!, step));
    const anywhere = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(addressOfBytes);
    fc.assert(
      fc.property(fc.oneof(nearBlocks, anywhere), (address) => {
        const isIn192 = address.text.startsWith("192.0.0.");
        expect(classOfAddress(address) === "public").toBe(!isIn192 && !special.check(address.text, "ipv4"));
      }),
      { numRuns: 500 },
    );
  });

  test("every address has one class of the list, never own_listener, and public IPv6 lies in 2000::/3 or carries IPv4", () => {
    const anywhere = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(addressOfBytes);
    fc.assert(
      fc.property(anywhere, (address) => {
        const found = classOfAddress(address);
        expect(addressClasses).toContain(found);
        expect(found).not.toBe("own_listener");
        if (found === "public" && !/^(::|64:ff9b::)/.test(address.text)) expect(address.bytes[0]! >> 5).toBe(1);
      }),
      { numRuns: 500 },
    );
  });
});

function zeros(count: number): number[] {
  return Array.from({ length: count }, () => 0);
}

/** The address some steps further, round the end of the space. */
function moved(address: Address, step: number): Address {
  const value = (Buffer.from(address.bytes).readUInt32BE() + step + 2 ** 32) % 2 ** 32;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return addressOfBytes(Uint8Array.from(bytes));
}
