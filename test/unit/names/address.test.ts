/** Addresses and blocks: one reading for each text, RFC 5952 on the way out. */
import { describe, expect, test } from "vitest";
import {
  type Address,
  type Cidr,
  addressOfBytes,
  cidrContains,
  parseAddress,
  parseCidr,
} from "../../../src/names/address.ts";

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

function cidrOf(text: string): Cidr {
  const cidr = parseCidr(text);
  if ("problem" in cidr) throw new Error(`${text} ${cidr.problem}`);
  return cidr;
}

describe("an address is written canonically", () => {
  test.each<[string, string, 4 | 6, string]>([
    ["a dotted quad", "192.0.2.255", 4, "192.0.2.255"],
    ["the lowest", "0.0.0.0", 4, "0.0.0.0"],
    ["the loopback of IPv6", "::1", 6, "::1"],
    ["the unspecified address", "::", 6, "::"],
    ["the unspecified address in full", "0:0:0:0:0:0:0:0", 6, "::"],
    ["without leading zeros", "2001:0db8:0000:0000:0000:0000:0000:0001", 6, "2001:db8::1"],
    ["in lower case", "2001:DB8::ABCD", 6, "2001:db8::abcd"],
    ["the first of two runs of zeros is left out", "2001:db8:0:0:1:0:0:1", 6, "2001:db8::1:0:0:1"],
    ["the longest run of zeros is left out", "2001:0:0:1:0:0:0:1", 6, "2001:0:0:1::1"],
    ["a single zero is written", "2001:db8:0:1:1:1:1:1", 6, "2001:db8:0:1:1:1:1:1"],
    ["a single zero that was left out", "2001:db8::1:1:1:1:1", 6, "2001:db8:0:1:1:1:1:1"],
    ["zeros at the end", "fe80:0:0:0:0:0:0:0", 6, "fe80::"],
    ["a full one", "1:2:3:4:5:6:7:8", 6, "1:2:3:4:5:6:7:8"],
    ["seven groups and an empty one", "1:2:3:4:5:6:7::", 6, "1:2:3:4:5:6:7:0"],
    ["NAT64 with a dotted quad", "64:ff9b::192.0.2.33", 6, "64:ff9b::c000:221"],
    ["an IPv4-compatible one is IPv6", "::127.0.0.1", 6, "::7f00:1"],
    ["an IPv4-mapped one is IPv4", "::ffff:127.0.0.1", 4, "127.0.0.1"],
    ["an IPv4-mapped one in hexadecimal", "0:0:0:0:0:ffff:7f00:1", 4, "127.0.0.1"],
    ["a translated one is not mapped", "::ffff:0:127.0.0.1", 6, "::ffff:0:7f00:1"],
  ])("%s", (_sentence, text, family, canonical) => {
    const address = addressOf(text);
    expect(address).toMatchObject({ family, text: canonical });
    expect(address.bytes).toHaveLength(family === 4 ? 4 : 16);
    expect(addressOf(canonical)).toEqual(address);
    expect(addressOfBytes(address.bytes)).toEqual(address);
  });

  test("the bytes are in network order", () => {
    expect([...addressOf("192.0.2.1").bytes]).toEqual([192, 0, 2, 1]);
    expect([...addressOf("2001:db8::c0a8:1").bytes]).toEqual([
      0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xa8, 0, 1,
    ]);
  });

  test("sixteen bytes of a mapped address are its IPv4 address", () => {
    const bytes = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]);
    expect(addressOfBytes(bytes)).toEqual(addressOf("10.1.2.3"));
  });
});

describe("no address", () => {
  test.each([
    "",
    "1",
    "127.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "2130706433",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    " 1.2.3.4",
    "1.2.3.4 ",
    "1.2.3.4\n",
    "1.2.3.4.",
    "1.2.3.4:80",
    "[::1]",
    "fe80::1%lo",
    "::ffff:1.2.3.4%1",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "::12345",
    "::1.2.3",
    "::1.2.3.04",
    "::g",
    "::1/128",
  ])("%j", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});

describe("a block", () => {
  test.each<[string, string, string, string[], string[]]>([
    [
      "of whole bytes",
      "10.0.0.0/8",
      "10.0.0.0/8",
      ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
      ["9.255.255.255", "11.0.0.0", "::a00:1"],
    ],
    [
      "that ends inside a byte",
      "172.16.0.0/12",
      "172.16.0.0/12",
      ["172.16.0.1", "172.31.255.255"],
      ["172.15.255.255", "172.32.0.0"],
    ],
    ["of one address", "192.0.2.1", "192.0.2.1/32", ["192.0.2.1"], ["192.0.2.0", "192.0.2.3"]],
    ["of all IPv4", "0.0.0.0/0", "0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::1"]],
    [
      "of IPv6",
      "2001:DB8:20::/48",
      "2001:db8:20::/48",
      ["2001:db8:20::", "2001:db8:20:ffff::1"],
      ["2001:db8:21::", "2001:db8::"],
    ],
    ["that ends inside a group", "fc00::/7", "fc00::/7", ["fc00::1", "fdff::1"], ["fb00::", "fe00::"]],
    ["of one IPv6 address", "::1", "::1/128", ["::1"], ["::", "::2"]],
    ["of all IPv6, without the mapped ones", "::/0", "::/0", ["::", "ffff::"], ["1.2.3.4", "::ffff:1.2.3.4"]],
    ["of mapped addresses is IPv4", "::ffff:10.0.0.0/104", "10.0.0.0/8", ["10.1.2.3"], ["11.0.0.0"]],
  ])("%s", (_sentence, text, canonical, inside, outside) => {
    const cidr = cidrOf(text);
    expect(cidr.text).toBe(canonical);
    expect(cidrOf(cidr.text)).toEqual(cidr);
    expect(inside.filter((address) => !cidrContains(cidr, addressOf(address)))).toEqual([]);
    expect(outside.filter((address) => cidrContains(cidr, addressOf(address)))).toEqual([]);
  });

  test.each([
    ["bits beyond the prefix are answered with the block", "10.0.0.1/8", /write 10\.0\.0\.0\/8/],
    ["the same in IPv6", "2001:db8::1/32", /write 2001:db8::\/32/],
    ["a prefix that is too long", "10.0.0.0/33", /beyond 32 bits/],
    ["a prefix that is too long for IPv6", "::/129", /beyond 128 bits/],
    ["a prefix that is less than that of the mapped addresses", "::ffff:0:0/95", /under 96 bits/],
    ["a prefix that is too long for mapped addresses", "::ffff:0:0/129", /beyond 128 bits/],
    ["no prefix", "10.0.0.0/", /no number/],
    ["a leading zero", "10.0.0.0/08", /no number/],
    ["a sign", "10.0.0.0/+8", /no number/],
    ["a mask", "10.0.0.0/255.0.0.0", /no number/],
    ["two prefixes", "10.0.0.0/8/8", /no number/],
    ["a name", "example.com", /no address/],
    ["a short address", "10/8", /no address/],
    ["a zone id", "fe80::1%lo/64", /no address/],
    ["blanks", "10.0.0.0 /8", /no address/],
  ])("%s", (_sentence, text, problem) => {
    expect(parseCidr(text)).toEqual({ problem: expect.stringMatching(problem) });
  });
});
