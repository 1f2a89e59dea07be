/** What a certificate says, for people: read with node:crypto (OpenSSL), never with forge, and never from the network. */
import { X509Certificate } from "node:crypto";
import { parseAddress } from "../names/address.ts";

export type CertificateDescription = {
  readonly kind: "certificate";
  /** Distinguished names on one line: `CN=proxy.example`. */
  readonly subject: string;
  readonly issuer: string;
  /** DNS names and addresses of subjectAltName, addresses canonical. */
  readonly names: readonly string[];
  /** Epoch milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Of the whole certificate: upper-case hexadecimal pairs with colons. */
  readonly sha256: string;
  readonly isCa: boolean;
};

/** Describes the first certificate of a PEM text; `unreadable` for anything else. */
export function describeCertificate(pem: string): CertificateDescription | { readonly kind: "unreadable" } {
  const certificate = readCertificate(pem);
  if (certificate === undefined) return { kind: "unreadable" };
  return {
    kind: "certificate",
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    names: altNames(certificate.subjectAltName ?? ""),
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
    sha256: certificate.fingerprint256,
    isCa: certificate.ca,
  };
}

/** True when the first certificate of `pem` bears a signature of the authority of `authorityPem`. False when unreadable. */
export function isIssuedBy(pem: string, authorityPem: string): boolean {
  const certificate = readCertificate(pem);
  const authority = readCertificate(authorityPem);
  if (certificate === undefined || authority === undefined) return false;
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

function readCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

/** Node writes one attribute a line; an empty subject is undefined in spite of its type. */
function oneLine(name: string | undefined): string {
  return (name ?? "").split("\n").join(", ");
}

/** `DNS:a, IP Address:10.0.0.1`; a value with odd characters stands in JSON quotes. */
function altNames(text: string): string[] {
  const entries = text.matchAll(/(DNS|IP Address):("(?:[^"\\]|\\.)*"|[^,]*)/g);
  return Array.from(entries, ([, , value = ""]) => parseAddress(value)?.text ?? value);
}
