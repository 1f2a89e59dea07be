/** What kind of place an address is, so that policy can say where a name may lead. */
import { type Address, type Cidr, addressOfBytes, cidrContains, parseCidr } from "./address.ts";

/**
 * The closed list, also the values of the metric label `class`. `own_listener` is no class of an address alone: it takes
 * a port too, so `classOfAddress` never gives it.
 */
export const addressClasses = [
  "public",
  "private",
  "loopback",
  "link_local",
  "cgnat",
  "multicast",
  "unspecified",
  "metadata",
  "reserved",
  "own_listener",
] as const;
export type AddressClass = (typeof addressClasses)[number];
export type IntrinsicClass = Exclude<AddressClass, "own_listener">;

/**
 * The class of an address. Pure and total. An IPv6 address that carries an IPv4 one takes the carried one's class, or
 * the stricter of both where it could be used as itself (ISATAP) or carries two (Teredo): otherwise `64:ff9b::7f00:1`
 * would be a public way to 127.0.0.1. IPv4-mapped addresses are IPv4 since `parseAddress`.
 *
 * IPv6 outside 2000::/3 is `reserved` unless the table says otherwise: nothing else is global unicast yet (RFC 4291
 * section 2.4, IANA IPv6 address space).
 */
export function classOfAddress(address: Address): IntrinsicClass {
  const { bytes } = address;
  const row = (address.family === 4 ? rows4 : rows6)[bytes[0] ?? 0]?.find(({ cidr }) => cidrContains(cidr, address));
  const own = row === undefined ? classOutsideTable(address) : classOfRow(row, bytes);
  return isIsatap(address) ? stricter(own, classOfEmbedded(bytes, 12)) : own;
}

/** What a name may resolve to, as `resolves_to` says it: words for classes, and blocks that admit whatever they hold. */
export type AdmittedAddresses = {
  readonly public: boolean;
  readonly private: boolean;
  readonly cidrs: readonly Cidr[];
};

/** True where a block holds the address, or its class is one that a word admits. */
export function isAdmittedAddress(admitted: AdmittedAddresses, address: Address): boolean {
  if (admitted.cidrs.some((cidr) => cidrContains(cidr, address))) return true;
  const addressClass = classOfAddress(address);
  return (addressClass === "public" && admitted.public) || (addressClass === "private" && admitted.private);
}

type EmbeddingClass = "nat64" | "6to4" | "teredo" | "ipv4_compatible";
type Row = { readonly cidr: Cidr; readonly class: IntrinsicClass | EmbeddingClass };

/**
 * First match wins. Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190), IANA IPv4 and
 * IPv6 address space and multicast registries; the metadata addresses from the clouds' own documents. The globally
 * reachable islands inside 192.0.0.0/24 and 2001::/23 (anycast helpers, AMT, AS112, ORCHIDv2, DRIP) stay reserved: no
 * vendor serves downloads from there, and a CIDR in `resolves_to` admits them.
 */
const table: readonly (readonly [block: string, addressClass: Row["class"]])[] = [
  ["100.100.100.200/32", "metadata"], // Alibaba Cloud
  ["168.63.129.16/32", "metadata"], // Azure WireServer
  ["192.0.0.192/32", "metadata"], // Oracle Cloud Classic
  ["0.0.0.0/8", "unspecified"], // RFC 791 section 3.2: this network; Linux connects 0.0.0.0 to itself
  ["10.0.0.0/8", "private"], // RFC 1918
  ["100.64.0.0/10", "cgnat"], // RFC 6598
  ["127.0.0.0/8", "loopback"], // RFC 1122 section 3.2.1.3
  ["169.254.0.0/16", "link_local"], // RFC 3927; the metadata service of nearly every cloud is 169.254.169.254
  ["172.16.0.0/12", "private"], // RFC 1918
  ["192.0.0.0/24", "reserved"], // RFC 6890: IETF protocol assignments
  ["192.0.2.0/24", "reserved"], // RFC 5737: documentation
  ["192.88.99.0/24", "reserved"], // RFC 7526: 6to4 relay anycast, withdrawn
  ["192.168.0.0/16", "private"], // RFC 1918
  ["198.18.0.0/15", "reserved"], // RFC 2544: benchmarking
  ["198.51.100.0/24", "reserved"], // RFC 5737
  ["203.0.113.0/24", "reserved"], // RFC 5737
  ["224.0.0.0/4", "multicast"], // RFC 5771
  ["240.0.0.0/4", "reserved"], // RFC 1112 section 4; 255.255.255.255 among them (RFC 919)

  ["fd00:ec2::/32", "metadata"], // AWS: instance metadata ::254, EKS pod identity ::23
  ["fd20:ce::254/128", "metadata"], // Google Cloud
  ["fd00:c1::a9fe:a9fe/128", "metadata"], // Oracle Cloud
  ["fd00:42::42/128", "metadata"], // Scaleway
  ["fd00:a9fe:a9fe::1/128", "metadata"], // Linode
  ["fd00:100::100:200/128", "metadata"], // Alibaba Cloud
  ["::/128", "unspecified"], // RFC 4291 section 2.5.2
  ["::1/128", "loopback"], // RFC 4291 section 2.5.3
  ["::/96", "ipv4_compatible"], // RFC 4291 section 2.5.5.1
  ["64:ff9b::/96", "nat64"], // RFC 6052
  ["2001::/32", "teredo"], // RFC 4380
  ["2001::/23", "reserved"], // RFC 2928: IETF protocol assignments; benchmarking and ORCHID among them
  ["2001:db8::/32", "reserved"], // RFC 3849: documentation
  ["2002::/16", "6to4"], // RFC 3056
  ["3fff::/20", "reserved"], // RFC 9637: documentation
  ["fc00::/7", "private"], // RFC 4193
  ["fe80::/10", "link_local"], // RFC 4291 section 2.5.6
  ["ff00::/8", "multicast"], // RFC 4291 section 2.7
  // Outside 2000::/3, and so reserved without a row: 64:ff9b:1::/48 (RFC 8215, local NAT64), 100::/64 (RFC 6666,
  // discard), 100:0:0:1::/64 (RFC 9780), 5f00::/16 (RFC 9602), fec0::/10 (RFC 3879), ::ffff:0:0:0/96 (RFC 2765).
];

/** The rows of one family by first byte, so that an ordinary address meets none or few. */
const rows4 = rowsByFirstByte(4);
const rows6 = rowsByFirstByte(6);

function rowsByFirstByte(family: 4 | 6): readonly (readonly Row[])[] {
  const rows = table.map(([block, addressClass]) => ({ cidr: cidrOf(block), class: addressClass }));
  return Array.from({ length: 256 }, (_, byte) =>
    rows.filter(({ cidr }) => {
      const mask = (0xff << (8 - Math.min(8, cidr.prefix))) & 0xff;
      return cidr.family === family && (byte & mask) === cidr.bytes[0];
    }),
  );
}

function cidrOf(block: string): Cidr {
  const cidr = parseCidr(block);
  if ("problem" in cidr) throw new Error(`address table: ${block} ${cidr.problem}`);
  return cidr;
}

function classOutsideTable({ family, bytes }: Address): IntrinsicClass {
  return family === 4 || ((bytes[0] ?? 0) & 0xe0) === 0x20 ? "public" : "reserved";
}

function classOfRow(row: Row, bytes: Uint8Array): IntrinsicClass {
  switch (row.class) {
    case "nat64":
    case "ipv4_compatible":
      return classOfEmbedded(bytes, 12);
    case "6to4":
      return classOfEmbedded(bytes, 2);
    case "teredo": {
      // RFC 4380 section 4: the server as it is, the client's address with every bit turned.
      const client = bytes.slice(12).map((byte) => byte ^ 0xff);
      return stricter(classOfEmbedded(client, 0), classOfEmbedded(bytes, 4));
    }
    default:
      return row.class;
  }
}

function classOfEmbedded(bytes: Uint8Array, start: number): IntrinsicClass {
  return classOfAddress(addressOfBytes(bytes.slice(start, start + 4)));
}

/** RFC 5214 section 6.1: interface identifier 00-00-5E-FE or 02-00-5E-FE, then the IPv4 address, under any prefix. */
function isIsatap({ family, bytes }: Address): boolean {
  if (family === 4) return false;
  return ((bytes[8] ?? 0) & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe;
}

/** Public is admitted by default, private on a word, all else by a listed block only. On a tie the first. */
function stricter(a: IntrinsicClass, b: IntrinsicClass): IntrinsicClass {
  return strictness(b) > strictness(a) ? b : a;
}

function strictness(addressClass: IntrinsicClass): number {
  if (addressClass === "public") return 0;
  return addressClass === "private" ? 1 : 2;
}
