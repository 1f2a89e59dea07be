/** Certificate, key and client CA of a listener, from their files: checked at load, so that no handshake fails later. */
import { X509Certificate, createPrivateKey } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { ListenerTls } from "./settings.ts";

/** What is wrong: `key` is the one of `tls` whose file is at fault; `message` completes "FILE …" and holds no key. */
export type TlsProblem = {
  readonly key: "cert" | "key" | "client_ca";
  readonly message: string;
  readonly severity: "error" | "warning";
};

/** Texts of the files, in PEM. */
export type TlsTexts = { readonly cert: string; readonly key: string; readonly clientCa: string | undefined };

export function readTls(
  { cert, key, clientCa }: TlsTexts,
  nowMs: number,
): { readonly tls: ListenerTls | undefined; readonly problems: readonly TlsProblem[] } {
  const problems: TlsProblem[] = [];
  const error = (at: TlsProblem["key"], message: string): void => {
    problems.push({ key: at, message, severity: "error" });
  };
  const chain = certificatesIn(cert);
  const authorities = clientCa === undefined ? undefined : certificatesIn(clientCa);
  const privateKey = attempt(() => createPrivateKey(key));
  const [leaf] = chain;
  if (leaf === undefined)
    error("cert", "holds no certificate that can be read: PEM is needed, the listener's own first");
  if (privateKey === undefined)
    error("key", /ENCRYPTED/.test(key) ? "holds an encrypted key: take the passphrase off" : "holds no key in PEM");
  if (leaf !== undefined && privateKey !== undefined && !leaf.checkPrivateKey(privateKey))
    error("key", "does not belong to the certificate of cert");
  if (authorities?.length === 0) error("client_ca", "holds no certificate that can be read: PEM is needed");
  if (authorities?.some((authority) => !authority.ca) === true)
    error("client_ca", "holds a certificate that is no authority's: what it has signed would be refused");
  if (problems.length === 0) {
    const unusable = reasonOf(() => createSecureContext({ cert, key, ca: clientCa, minVersion: "TLSv1.2" }));
    if (unusable !== undefined) error("cert", `cannot be used (${unusable})`);
  }
  for (const [at, certificates] of [
    ["cert", chain],
    ["client_ca", authorities ?? []],
  ] as const) {
    for (const certificate of certificates) {
      const message = ageOf(certificate, nowMs);
      if (message !== undefined) problems.push({ key: at, message, severity: "warning" });
    }
  }
  const isUsable = !problems.some(({ severity }) => severity === "error");
  const expiresAtMs = Math.min(...chain.map(({ validTo }) => Date.parse(validTo)));
  return { tls: isUsable ? { cert, key, clientCa, expiresAtMs } : undefined, problems };
}

const dayMs = 86_400_000;
/** Time enough for whoever has to renew it by hand. */
const warnedDays = 30;

function certificatesIn(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  const read = blocks.map((block) => attempt(() => new X509Certificate(block)));
  const certificates = read.filter((certificate) => certificate !== undefined);
  return certificates.length === read.length ? certificates : [];
}

function ageOf({ validFrom, validTo }: X509Certificate, nowMs: number): string | undefined {
  if (Date.parse(validTo) <= nowMs) return `has expired: it was valid until ${validTo}`;
  if (Date.parse(validFrom) > nowMs) return `is not valid before ${validFrom}`;
  const daysLeft = Math.floor((Date.parse(validTo) - nowMs) / dayMs);
  if (daysLeft < warnedDays) return `expires in ${daysLeft} days: it is valid until ${validTo}`;
  return undefined;
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** OpenSSL's words, of which the reason alone is for people. */
function reasonOf(step: () => unknown): string | undefined {
  try {
    step();
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) return "OpenSSL refuses it";
    return "reason" in error && typeof error.reason === "string" ? error.reason : error.message.slice(0, 200);
  }
}
