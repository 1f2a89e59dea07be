/**
 * The one user of node-forge: writes X.509 certificates (RFC 5280), and reads an authority's own certificate back.
 * What it reads comes from the administrator's directory, never from the network (threats.md section 0).
 */
import forge from "node-forge";
import { addressOfBytes, type Cidr, parseCidr } from "../names/address.ts";
import type { CertificateName, NameConstraints } from "./certificate-name.ts";

/** What a certificate is to say. */
export type CertificateTemplate = {
  /** Common name of the subject; undefined leaves the subject empty, which makes subjectAltName critical. */
  readonly commonName: string | undefined;
  /** 32 hexadecimal digits, positive. */
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SubjectPublicKeyInfo of an RSA key, PEM. */
  readonly publicKeyPem: string;
  readonly role:
    | { readonly kind: "authority"; readonly constraints: NameConstraints | undefined }
    | { readonly kind: "leaf"; readonly usage: "server" | "client"; readonly names: readonly CertificateName[] };
};

/** Who signs: an RSA key, and the certificate it belongs to, or undefined for a self-signed one. */
export type CertificateSigner = { readonly keyPem: string; readonly certPem: string | undefined };

type Extension = { readonly [field: string]: unknown };

const { asn1, pki, util } = forge;
/** Tags of GeneralName (RFC 5280 section 4.2.1.6). */
const dnsNameTag = 2;
const ipAddressTag = 7;
const nameConstraintsId = "2.5.29.30";

/** Builds and signs a certificate with SHA-256; answers PEM. Throws when a key or the signer's certificate is not RSA. */
export function buildCertificate(template: CertificateTemplate, signer: CertificateSigner): string {
  const certificate = pki.createCertificate();
  certificate.publicKey = pki.publicKeyFromPem(template.publicKeyPem);
  certificate.serialNumber = template.serial;
  certificate.validity.notBefore = template.notBefore;
  certificate.validity.notAfter = template.notAfter;
  const subject = template.commonName === undefined ? [] : [commonNameField(template.commonName)];
  certificate.setSubject(subject);
  const issuer = signer.certPem === undefined ? undefined : pki.certificateFromPem(signer.certPem);
  certificate.setIssuer(issuer === undefined ? subject : issuer.subject.attributes.map(decodeField));
  certificate.setExtensions([
    ...roleExtensions(template),
    { name: "subjectKeyIdentifier" },
    { name: "authorityKeyIdentifier", keyIdentifier: keyIdentifierOf(issuer ?? certificate) },
  ]);
  certificate.sign(pki.privateKeyFromPem(signer.keyPem), forge.md.sha256.create());
  return pki.certificateToPem(certificate).replaceAll("\r\n", "\n");
}

/**
 * Reads the name constraints of an authority's certificate; undefined when it has none.
 * Throws when forge cannot read the certificate: other keys than RSA among it.
 */
export function readNameConstraints(certPem: string): NameConstraints | undefined {
  const extensions: readonly unknown[] = pki.certificateFromPem(certPem).extensions;
  const extension = extensions.find((one) => fieldOf(one, "id") === nameConstraintsId);
  if (extension === undefined) return undefined;
  const permitted = listOf(fieldOf(extension, "permittedSubtrees"));
  const excluded = listOf(fieldOf(extension, "excludedSubtrees"));
  return {
    permittedDns: dnsSubtrees(permitted),
    excludedDns: dnsSubtrees(excluded),
    permittedAddresses: addressSubtrees(permitted),
    excludedAddresses: addressSubtrees(excluded),
  };
}

function roleExtensions({ role, commonName }: CertificateTemplate): Extension[] {
  if (role.kind === "authority") {
    const constraints = role.constraints === undefined ? [] : [nameConstraintsExtension(role.constraints)];
    return [
      { name: "basicConstraints", critical: true, cA: true, pathLenConstraint: 0 },
      { name: "keyUsage", critical: true, keyCertSign: true, cRLSign: true },
      ...constraints,
    ];
  }
  const altNames = role.names.map(altNameOf);
  return [
    { name: "basicConstraints", critical: true, cA: false },
    // keyEncipherment serves the RSA key exchange of TLS 1.2 and before; a client only ever signs.
    { name: "keyUsage", critical: true, digitalSignature: true, keyEncipherment: role.usage === "server" },
    { name: "extKeyUsage", [role.usage === "server" ? "serverAuth" : "clientAuth"]: true },
    { name: "subjectAltName", critical: commonName === undefined, altNames },
  ];
}

function altNameOf(name: CertificateName): Extension {
  switch (name.kind) {
    case "name":
      return { type: dnsNameTag, value: name.name };
    case "wildcard":
      return { type: dnsNameTag, value: `*.${name.base}` };
    case "address":
      return { type: ipAddressTag, value: String.fromCharCode(...name.address.bytes) };
  }
}

/** forge reads this extension but does not write it, so its DER is put together here. */
function nameConstraintsExtension(constraints: NameConstraints): Extension {
  const permitted = subtrees(constraints.permittedDns, constraints.permittedAddresses);
  const excluded = subtrees(constraints.excludedDns, constraints.excludedAddresses);
  const lists = [permitted, excluded].flatMap((list, tag) =>
    list.length === 0 ? [] : [asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag, true, list)],
  );
  return { id: nameConstraintsId, critical: true, value: sequence(lists) };
}

function subtrees(dns: readonly string[], addresses: readonly Cidr[]): forge.asn1.Asn1[] {
  const base = (tag: number, value: string) => sequence([asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag, false, value)]);
  return [
    ...dns.map((name) => base(dnsNameTag, name)),
    ...addresses.map((block) => base(ipAddressTag, String.fromCharCode(...block.bytes, ...maskOf(block)))),
  ];
}

function sequence(values: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, values);
}

function maskOf(block: Cidr): Uint8Array {
  return block.bytes.map((_, i) => 0xff << (8 - Math.min(8, Math.max(0, block.prefix - i * 8))));
}

/** forge's default, PrintableString, cannot hold `*`, `_` or anything beyond ASCII. */
function commonNameField(value: string): forge.pki.CertificateField {
  // The types of forge want the tag under its class; at run time it is the tag number itself.
  return { shortName: "CN", value, ...utf8Tag };
}

const utf8Tag: { valueTagClass: forge.asn1.Class } = { valueTagClass: Number(asn1.Type.UTF8) };

/** forge keeps UTF-8 text as bytes when it reads and encodes it again when it writes; decode it in between. */
function decodeField(field: forge.pki.CertificateField): forge.pki.CertificateField {
  if (Number(field.valueTagClass) !== Number(asn1.Type.UTF8) || typeof field.value !== "string") return field;
  return { ...field, value: util.decodeUtf8(field.value) };
}

function keyIdentifierOf(certificate: forge.pki.Certificate): string {
  const extensions: readonly unknown[] = certificate.extensions;
  const own = extensions.find((one) => fieldOf(one, "name") === "subjectKeyIdentifier");
  const hex = fieldOf(own, "subjectKeyIdentifier");
  return typeof hex === "string" ? util.hexToBytes(hex) : certificate.generateSubjectKeyIdentifier().getBytes();
}

function dnsSubtrees(list: readonly unknown[]): string[] {
  return list.flatMap((tree) => (fieldOf(tree, "type") === dnsNameTag ? [String(fieldOf(tree, "value"))] : []));
}

/** Address and mask, 8 or 32 bytes. */
function addressSubtrees(list: readonly unknown[]): Cidr[] {
  return list.flatMap((tree) => {
    const value = fieldOf(tree, "value");
    if (fieldOf(tree, "type") !== ipAddressTag || typeof value !== "string") return [];
    const bytes = Uint8Array.from(value, (character) => character.charCodeAt(0));
    const half = bytes.length / 2;
    if (half !== 4 && half !== 16) return [];
    const prefix = bytes.subarray(half).reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
    const block = parseCidr(`${addressOfBytes(bytes.slice(0, half)).text}/${prefix}`);
    return "problem" in block ? [] : [block];
  });
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? new Map(Object.entries(value)).get(name) : undefined;
}
