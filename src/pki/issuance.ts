/** What an authority and a leaf have in common when they are made: keys, serial numbers, lifetimes. */
import { createPublicKey, generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";

/** Why something was not made. */
export type PkiProblem = {
  readonly kind: "problem";
  /** Who has to change something: the one who asked, or the authority's files. */
  readonly fault: "request" | "authority";
  /** A clause without capital and full stop. */
  readonly problem: string;
};

/** Room for clocks that are behind. */
const backdateMs = 5 * 60_000;
const dayMs = 86_400_000;
/** ub-common-name of RFC 5280, appendix A. */
export const maxCommonName = 64;

/** `days` whole days from a little before now; notAfter is inclusive (RFC 5280 section 4.1.2.5), so a second less. */
export function validity(now: number, days: number): { notBefore: number; notAfter: number } {
  const notBefore = Math.floor((now - backdateMs) / 1000) * 1000;
  return { notBefore, notAfter: notBefore + days * dayMs - 1000 };
}

/** 128 random bits but for the first two: the sign, and one that keeps the number from being short or zero. */
export function createSerial(random: (bytes: number) => Uint8Array): string {
  const bytes = Buffer.from(random(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}

/** node:crypto makes keys natively; forge would take seconds in JavaScript. */
export async function createKey(bits: number): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)("rsa", { modulusLength: bits });
  return pkcs8Of(privateKey);
}

/** Unencrypted PKCS #8, PEM: the one spelling of a private key here. */
export function pkcs8Of(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** SubjectPublicKeyInfo of a private key, PEM. */
export function publicPem(keyPem: string): string {
  return createPublicKey(keyPem).export({ type: "spki", format: "pem" }).toString();
}

/** True for a whole number of days from 1 to `max`. */
export function isDays(days: number, max: number): boolean {
  return Number.isInteger(days) && days >= 1 && days <= max;
}

/** Shorthand for a `PkiProblem`. */
export function problem(fault: PkiProblem["fault"], text: string): PkiProblem {
  return { kind: "problem", fault, problem: text };
}
