/** The names a certificate may carry, and the constraints an authority may put on them (RFC 5280 section 4.2.1.10). */
import { type Address, type Cidr, cidrContains, parseAddress } from "../names/address.ts";
import { type Hostname, parseHostname } from "../names/hostname.ts";

/** One subjectAltName: a DNS name, `*.` and a DNS name (one label only, RFC 9525 section 6.3), or an address. */
export type CertificateName =
  | { readonly kind: "name"; readonly name: Hostname }
  | { readonly kind: "wildcard"; readonly base: Hostname }
  | { readonly kind: "address"; readonly address: Address };

/**
 * What an authority may certify. An empty permitted list of a kind leaves that kind open; a name that is
 * excluded stays excluded. DNS entries are as X.509 writes them: `example.com` covers itself and all below,
 * `.example.com` only what is below, the empty string everything.
 */
export type NameConstraints = {
  readonly permittedDns: readonly string[];
  readonly excludedDns: readonly string[];
  readonly permittedAddresses: readonly Cidr[];
  readonly excludedAddresses: readonly Cidr[];
};

/** Parses `host.example`, `*.host.example`, `192.0.2.1` or `2001:db8::1`; undefined for anything else. */
export function parseCertificateName(text: string): CertificateName | undefined {
  const address = parseAddress(text);
  if (address !== undefined) return { kind: "address", address };
  const wildcard = text.startsWith("*.");
  const name = parseHostname(wildcard ? text.slice(2) : text);
  if (name === undefined) return undefined;
  return wildcard ? { kind: "wildcard", base: name } : { kind: "name", name };
}

/** Writes a name as it stands in a certificate. */
export function formatCertificateName(name: CertificateName): string {
  switch (name.kind) {
    case "name":
      return name.name;
    case "wildcard":
      return `*.${name.base}`;
    case "address":
      return name.address.text;
  }
}

/** True when an authority with these constraints may certify the name. */
export function mayCertify(constraints: NameConstraints, name: CertificateName): boolean {
  if (name.kind === "address") {
    const holds = (block: Cidr) => cidrContains(block, name.address);
    if (constraints.excludedAddresses.some(holds)) return false;
    return constraints.permittedAddresses.length === 0 || constraints.permittedAddresses.some(holds);
  }
  const text = formatCertificateName(name);
  const covers = (base: string) => dnsCovers(base, text);
  if (constraints.excludedDns.some(covers)) return false;
  return constraints.permittedDns.length === 0 || constraints.permittedDns.some(covers);
}

function dnsCovers(base: string, name: string): boolean {
  const folded = base.toLowerCase();
  if (folded === "" || folded === name) return true;
  return name.endsWith(folded.startsWith(".") ? folded : `.${folded}`);
}
