/**
 * Connections to origins that have authenticated a client, or are about to (NTLM, Negotiate: RFC 4559 section 6). They
 * stay with the client's connection, serve nobody else, and are closed with it (docs/decisions/0009).
 */
import type { Destination } from "../egress/admit.ts";
import type { Origin } from "../egress/origin.ts";
import type { PoolKey } from "../egress/pool.ts";
import { type RawFields, fieldValues } from "../wire/fields.ts";

export type BoundOrigin = { readonly key: PoolKey; readonly origin: Origin };

/** A client's connection, as far as it is of interest here. The latest comes last. */
export type Binding = { readonly socket: { readonly destroyed: boolean }; bound: readonly BoundOrigin[] };

/** Origins that one client connection may be known to; the oldest goes. */
const maxBound = 8;

/** Whether these credentials, or a challenge for them, hold for a connection and not for one request. */
export function authenticatesConnection(fields: RawFields, name: "authorization" | "www-authenticate"): boolean {
  return fieldValues(fields, name).some((value) => /(^|,)[ \t]*(ntlm|negotiate)([ \t,]|$)/i.test(value));
}

/** True where a request for this key may expect to be known. */
export function hasBound({ bound }: Binding, key: PoolKey): boolean {
  return bound.some((one) => serves(one, key));
}

/** The connection that is known to the origin, where it leads to one of these destinations. It is the caller's. */
export function takeBound(binding: Binding, key: PoolKey, admitted: readonly Destination[]): Origin | undefined {
  const found = binding.bound.find((one) => serves(one, key) && leadsTo(one.origin.destination, admitted));
  if (found === undefined) return undefined;
  binding.bound = binding.bound.filter((one) => one !== found);
  return found.origin;
}

/** Keeps a resting connection, in place of one for the same key, and closes what is of no more use. */
export function keepBound(binding: Binding, key: PoolKey, origin: Origin): void {
  const isUseful = (one: BoundOrigin): boolean =>
    one.key.policy === key.policy && one.origin.isResting() && !serves(one, key);
  const kept = binding.bound.filter(isUseful).slice(1 - maxBound);
  for (const one of binding.bound) if (!kept.includes(one)) one.origin.destroy();
  const isWanted = origin.isResting() && !binding.socket.destroyed;
  binding.bound = isWanted ? [...kept, { key, origin }] : kept;
  if (!isWanted) origin.destroy();
}

export function closeBound(binding: Binding): void {
  for (const { origin } of binding.bound) origin.destroy();
  binding.bound = [];
}

function serves({ key, origin }: BoundOrigin, { host, port, policy }: PoolKey): boolean {
  return key.host === host && key.port === port && key.policy === policy && origin.isResting();
}

function leadsTo({ address, port }: Destination, admitted: readonly Destination[]): boolean {
  return admitted.some((one) => one.address.text === address.text && one.port === port);
}
