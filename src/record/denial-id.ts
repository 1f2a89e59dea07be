/** The name of a cause of denial: the same for the same cause, on every machine and for ever. */
import { createHash } from "node:crypto";

/** What makes two denials the same. All in canonical form. */
export type DenialCause = {
  /** Empty where none could be read. */
  readonly host: string;
  /** 0 where none could be read. */
  readonly port: number;
  /** How it was asked for, `connect` or `http`. */
  readonly protocol: string;
  /** The SNI where one was read, else undefined. */
  readonly sni: string | undefined;
  readonly reason: string;
  /** The client's first group, else `_none`. */
  readonly group: string;
};

/** Crockford's base 32: no I, L, O or U, so that an id can be read out over a telephone. */
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/**
 * Ten characters, written `7F3KQ-2MX9A`: the first 50 bits of a SHA-256 over the parts as a JSON array, which no choice
 * of parts can make ambiguous (interface.md, "Refusals").
 */
export function denialId({ host, port, protocol, sni, reason, group }: DenialCause): string {
  const parts = JSON.stringify([host, port, protocol, sni ?? null, reason, group]);
  const digest = createHash("sha256").update(parts).digest();
  return `${fiveCharacters(digest, 0)}-${fiveCharacters(digest, 25)}`;
}

/** 25 bits from bit `start` on, which together with them fit into one 32-bit read. */
function fiveCharacters(digest: Buffer, start: number): string {
  const window = digest.readUInt32BE(start >> 3) << (start & 7);
  return [27, 22, 17, 12, 7].map((shift) => alphabet.charAt((window >>> shift) & 31)).join("");
}
