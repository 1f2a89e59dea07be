/** Client groups: which of them an address belongs to. */
import { type Address, type Cidr, cidrContains } from "../names/address.ts";

/** One group of `clients`, as far as asking who somebody is needs it. */
export type Group = {
  readonly name: string;
  readonly addresses: readonly Cidr[];
  readonly mode: "enforce" | "report" | undefined;
  readonly perClient: number | undefined;
};

/** All groups in file order; their position is their number. */
export type Groups = readonly Group[];

/** Who asks: an address and the groups it is in, in file order. */
export type Client = {
  readonly address: Address;
  readonly groups: readonly number[];
};

/** The groups that hold this address. Pure; cost grows with the number of groups, so ask once a connection. */
export function identify(groups: Groups, address: Address): Client {
  const found: number[] = [];
  for (const [number, group] of groups.entries()) {
    if (group.addresses.some((cidr) => cidrContains(cidr, address))) found.push(number);
  }
  return { address, groups: found };
}

/** The name that stands for a client in metrics and denial ids: its first group, else `_none`. */
export function groupName(groups: Groups, client: Client): string {
  const [first] = client.groups;
  return (first === undefined ? undefined : groups[first]?.name) ?? "_none";
}
