/** A private certificate authority as PEM text: for TLS listeners, client certificates and tests. */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { type Cidr, parseCidr } from "../names/address.ts";
import { parseHostname } from "../names/hostname.ts";
import type { NameConstraints } from "./certificate-name.ts";
import {
  createKey,
  createSerial,
  isDays,
  maxCommonName,
  type PkiProblem,
  pkcs8Of,
  problem,
  publicPem,
  validity,
} from "./issuance.ts";
import { buildCertificate, readNameConstraints } from "./x509.ts";

/** A certificate authority, checked: an RSA key that fits a certificate which may sign others. */
export type Authority = {
  readonly certPem: string;
  /** PKCS #8, unencrypted. */
  readonly keyPem: string;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly constraints: NameConstraints | undefined;
};

export type AuthorityRequest = {
  /** Common name, 1 to 64 characters. */
  readonly name: string;
  /** 1 to 7300; ten years when left out. */
  readonly validDays?: number;
  /** Domains and CIDR blocks that may be certified, and nothing else; without it, any name. */
  readonly nameConstraints?: {
    readonly permittedDns: readonly string[];
    readonly permittedAddresses?: readonly string[];
  };
  /** Epoch milliseconds. */
  readonly now: number;
  /** RSA modulus; 3072 when left out. */
  readonly keyBits?: number;
  /** Source of the serial number. */
  readonly random?: (bytes: number) => Uint8Array;
};

/** Twenty years: longer than any file should be trusted. */
export const maxAuthorityDays = 7300;

const defaultAuthorityDays = 3650;
const defaultAuthorityBits = 3072;

/** Makes a self-signed authority that may sign leaves only (pathLen 0). */
export async function createAuthority(
  request: AuthorityRequest,
): Promise<{ readonly kind: "authority"; readonly authority: Authority } | PkiProblem> {
  const { name, validDays = defaultAuthorityDays, now, keyBits = defaultAuthorityBits, random = randomBytes } = request;
  if (!isCommonName(name))
    return problem("request", `an authority's name has 1 to ${maxCommonName} printable characters`);
  if (!isDays(validDays, maxAuthorityDays))
    return problem("request", `an authority lives 1 to ${maxAuthorityDays} days`);
  const constraints = parseConstraints(request);
  if (constraints !== undefined && "kind" in constraints) return constraints;
  const keyPem = await createKey(keyBits);
  const { notBefore, notAfter } = validity(now, validDays);
  const certPem = buildCertificate(
    {
      commonName: name,
      serial: createSerial(random),
      notBefore: new Date(notBefore),
      notAfter: new Date(notAfter),
      publicKeyPem: publicPem(keyPem),
      role: { kind: "authority", constraints },
    },
    { keyPem, certPem: undefined },
  );
  return { kind: "authority", authority: { certPem, keyPem, notBefore, notAfter, constraints } };
}

/**
 * Takes an authority back from its PEM files. Problems: unreadable text, an encrypted key, a key that does not fit,
 * a certificate that may not sign others, anything else than RSA. An expired authority loads; it signs nothing.
 */
export function loadAuthority(
  certPem: string,
  keyPem: string,
): { readonly kind: "authority"; readonly authority: Authority } | PkiProblem {
  const certificate = attempt(() => new X509Certificate(certPem));
  if (certificate === undefined) return problem("authority", "the authority's certificate is not readable PEM");
  const key = attempt(() => createPrivateKey(keyPem));
  if (key === undefined) return problem("authority", "the authority's key is not readable, unencrypted PEM");
  if (key.asymmetricKeyType !== "rsa") return problem("authority", "the authority's key is not an RSA key");
  if (!certificate.checkPrivateKey(key))
    return problem("authority", "the authority's key does not belong to its certificate");
  if (!certificate.ca) return problem("authority", "the certificate is not an authority's: it may not sign others");
  const constraints = attempt(() => ({ found: readNameConstraints(certificate.toString()) }));
  if (constraints === undefined) return problem("authority", "the authority's certificate cannot be read in full");
  return {
    kind: "authority",
    authority: {
      certPem: certificate.toString(),
      keyPem: pkcs8Of(key),
      notBefore: Date.parse(certificate.validFrom),
      notAfter: Date.parse(certificate.validTo),
      constraints: constraints.found,
    },
  };
}

/** What the request leaves unsaid is excluded: an authority for domains must not sign addresses either, nor the reverse. */
function parseConstraints(request: AuthorityRequest): NameConstraints | undefined | PkiProblem {
  if (request.nameConstraints === undefined) return undefined;
  const { permittedDns, permittedAddresses = [] } = request.nameConstraints;
  const domains: string[] = [];
  for (const text of permittedDns) {
    const domain = parseHostname(text);
    if (domain === undefined)
      return problem("request", `${JSON.stringify(text)} is no domain: write example.com for it and all below it`);
    domains.push(domain);
  }
  const blocks: Cidr[] = [];
  for (const text of permittedAddresses) {
    const block = parseCidr(text);
    if ("problem" in block) return problem("request", `${JSON.stringify(text)} ${block.problem}`);
    blocks.push(block);
  }
  if (domains.length + blocks.length === 0)
    return problem("request", "name constraints need at least one domain or block");
  return {
    permittedDns: domains,
    excludedDns: domains.length === 0 ? [""] : [],
    permittedAddresses: blocks,
    excludedAddresses: blocks.length === 0 ? everyAddress : [],
  };
}

const everyAddress: readonly Cidr[] = [
  { family: 4, bytes: new Uint8Array(4), prefix: 0, text: "0.0.0.0/0" },
  { family: 6, bytes: new Uint8Array(16), prefix: 0, text: "::/0" },
];

function isCommonName(name: string): boolean {
  return name.trim() !== "" && name.length <= maxCommonName && !/\p{C}/u.test(name);
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
