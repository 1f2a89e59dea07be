/** Leaf certificates: what an authority signs for one server or one client. */
import { randomBytes } from "node:crypto";
import type { Authority } from "./authority.ts";
import {
  type CertificateName,
  formatCertificateName,
  mayCertify,
  type NameConstraints,
  parseCertificateName,
} from "./certificate-name.ts";
import {
  createKey,
  createSerial,
  isDays,
  maxCommonName,
  type PkiProblem,
  problem,
  publicPem,
  validity,
} from "./issuance.ts";
import { buildCertificate } from "./x509.ts";

/** A leaf and its private key. */
export type Leaf = {
  readonly certPem: string;
  /** The leaf and its issuer, as a TLS server sends them. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly names: readonly string[];
  /** Epoch milliseconds. */
  readonly notAfter: number;
};

export type LeafRequest = {
  /** DNS names, `*.` wildcards and addresses, at least one. The first is the common name too, if it can be one. */
  readonly names: readonly string[];
  readonly usage: "server" | "client";
  /** 1 to 398; 397 when left out. Cut to the authority's own end. */
  readonly validDays?: number;
  readonly now: number;
  /** RSA modulus of a new key; 2048 when left out. */
  readonly keyBits?: number;
  /** An RSA key to certify instead of a new one. */
  readonly keyPem?: string;
  readonly random?: (bytes: number) => Uint8Array;
};

/** What clients accept at most (CA/Browser Forum Baseline Requirements 6.3.2, before the shorter steps for public ones). */
export const maxLeafDays = 398;

const defaultLeafDays = 397;
const defaultLeafBits = 2048;

/** Signs a leaf for a server or a client. The key is made here and never leaves but in the answer. */
export async function issueLeaf(
  authority: Authority,
  request: LeafRequest,
): Promise<{ readonly kind: "leaf"; readonly leaf: Leaf } | PkiProblem> {
  const { usage, validDays = defaultLeafDays, now, keyBits = defaultLeafBits, random = randomBytes } = request;
  if (!isDays(validDays, maxLeafDays)) return problem("request", `a leaf lives 1 to ${maxLeafDays} days`);
  const names = parseNames(request, authority.constraints);
  if ("kind" in names) return names;
  if (now > authority.notAfter) return problem("authority", `the authority expired on ${dateText(authority.notAfter)}`);
  if (now < authority.notBefore)
    return problem("authority", `the authority is not valid before ${dateText(authority.notBefore)}`);
  const keyPem = request.keyPem ?? (await createKey(keyBits));
  const wished = validity(now, validDays);
  const notBefore = Math.max(wished.notBefore, authority.notBefore);
  const notAfter = Math.min(wished.notAfter, authority.notAfter);
  const texts = names.map(formatCertificateName);
  const certPem = buildCertificate(
    {
      commonName: commonNameOf(names),
      serial: createSerial(random),
      notBefore: new Date(notBefore),
      notAfter: new Date(notAfter),
      publicKeyPem: publicPem(keyPem),
      role: { kind: "leaf", usage, names },
    },
    authority,
  );
  return { kind: "leaf", leaf: { certPem, chainPem: certPem + authority.certPem, keyPem, names: texts, notAfter } };
}

function parseNames(
  request: LeafRequest,
  constraints: NameConstraints | undefined,
): readonly CertificateName[] | PkiProblem {
  const names = new Map<string, CertificateName>();
  for (const text of request.names) {
    const name = parseCertificateName(text);
    if (name === undefined)
      return problem("request", `${JSON.stringify(text)} is no name for a certificate: ${nameForms}`);
    if (name.kind === "wildcard" && request.usage === "client")
      return problem("request", `a client is no wildcard: ${text}`);
    if (constraints !== undefined && !mayCertify(constraints, name)) {
      return problem(
        "request",
        `this authority may not certify ${formatCertificateName(name)}: its name constraints exclude it`,
      );
    }
    names.set(formatCertificateName(name), name);
  }
  return names.size === 0 ? problem("request", "a leaf needs at least one name") : [...names.values()];
}

/**
 * The first name, when it is a DNS name that fits. Never an address: OpenSSL reads a common name as a DNS name where
 * subjectAltName has none, and an authority constrained to certain domains does not permit it.
 */
function commonNameOf([first]: readonly CertificateName[]): string | undefined {
  if (first === undefined || first.kind === "address") return undefined;
  const text = formatCertificateName(first);
  return text.length <= maxCommonName ? text : undefined;
}

const nameForms = "write a DNS name, *.example.com, or an IP address";

function dateText(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}
