/** The second gate: which of a name's addresses a permit may be dialled at. Destinations are made here and nowhere else. */
import type { Address } from "../names/address.ts";
import { type AddressClass, classOfAddress, isAdmittedAddress } from "../names/address-class.ts";
import type { ResolvesTo } from "../policy/rule.ts";
import type { Permit } from "../policy/verdict.ts";
import type { FindOwnListener } from "./own-listeners.ts";

/** An address and port that were admitted: the only thing that `dial` accepts, so what was checked is what is dialled. */
export type Destination = { readonly __brand: "Destination"; readonly address: Address; readonly port: number };

/** An address that was dropped; `class` is the label of `blocked_addresses_total`. */
export type Blocked = { readonly address: Address; readonly class: AddressClass };

/**
 * Both lists keep the order that was given. With nothing admitted the exchange is over: `proxy_loop_detected` where
 * `isLoop` says so, else `address_denied`.
 */
export type Admission = { readonly admitted: readonly Destination[]; readonly blocked: readonly Blocked[] };

/**
 * Judges what a name resolved to (policy.md, "Other fields", `resolves_to`). In this order:
 * 1. an own listener, proxy or admin, is never admitted: it would be a loop, or the admin endpoints for everyone;
 * 2. a block of the rule that holds the address admits it, in whatever class;
 * 3. `public` and `private` admit their class. Everything else is refused.
 * A permit without a rule (report mode) may go to public addresses only.
 */
export function admit(
  permit: Permit,
  addresses: readonly Address[],
  port: number,
  findOwnListener: FindOwnListener,
): Admission {
  const resolvesTo = permit.rule?.rule.resolvesTo ?? publicOnly;
  return divide(addresses, port, (address) => blockedClass(resolvesTo, address, findOwnListener(address, port)));
}

/**
 * Judges a target that was an address itself. That `decide` gave a permit with a rule says that `addresses` lists it,
 * which admits it in whatever class it is, but never an own listener. Where no allow rule does (report mode), it is
 * judged as a name's address would be.
 */
export function admitLiteral(
  permit: Permit,
  address: Address,
  port: number,
  findOwnListener: FindOwnListener,
): Admission {
  if (permit.rule === undefined || permit.rule.deny) return admit(permit, [address], port, findOwnListener);
  return divide([address], port, () => ownListenerClass(address, port, findOwnListener));
}

/**
 * Judges where `connect_to` leads, and a parent proxy's addresses: the administrator's own routing, exempt from `resolves_to` and from the address
 * floor, never from the own-listener check (interface.md). The permit is asked for so that nothing is dialled without one.
 */
export function admitRouted(
  _permit: Permit,
  addresses: readonly Address[],
  port: number,
  findOwnListener: FindOwnListener,
): Admission {
  return divide(addresses, port, (address) => ownListenerClass(address, port, findOwnListener));
}

/** True when nothing was admitted and the proxy itself was among what was asked for. */
export function isLoop(admission: Admission): boolean {
  return admission.admitted.length === 0 && admission.blocked.some((blocked) => blocked.class === "own_listener");
}

const publicOnly: ResolvesTo = { public: true, private: false, cidrs: [] };

function divide(
  addresses: readonly Address[],
  port: number,
  classIfBlocked: (address: Address) => AddressClass | undefined,
): Admission {
  const admitted: Destination[] = [];
  const blocked: Blocked[] = [];
  for (const address of addresses) {
    const addressClass = classIfBlocked(address);
    if (addressClass === undefined) admitted.push({ address, port } as Destination);
    else blocked.push({ address, class: addressClass });
  }
  return { admitted, blocked };
}

function blockedClass(
  resolvesTo: ResolvesTo,
  address: Address,
  own: ReturnType<FindOwnListener>,
): AddressClass | undefined {
  if (own !== undefined) return "own_listener";
  return isAdmittedAddress(resolvesTo, address) ? undefined : classOfAddress(address);
}

function ownListenerClass(address: Address, port: number, findOwnListener: FindOwnListener): AddressClass | undefined {
  return findOwnListener(address, port) === undefined ? undefined : "own_listener";
}
