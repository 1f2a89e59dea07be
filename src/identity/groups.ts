/** Client groups: which of them a client belongs to, by its address, its user name or the subject of its certificate. */
import { type Address, type Cidr, cidrContains } from "../names/address.ts";
import { type SubjectAttribute, matchesSubject } from "./subject.ts";

/** One group of `clients`, as far as asking who somebody is needs it. */
export type Group = {
  readonly name: string;
  readonly addresses: readonly Cidr[];
  readonly users: readonly string[];
  /** Patterns over certificate subjects. */
  readonly subjects: readonly string[];
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

/** What a client has proved beside its address. */
export type Proof = {
  readonly user: string | undefined;
  readonly subject: readonly SubjectAttribute[] | undefined;
};

/** The groups of a client; one thing that fits is enough. Pure; cost grows with their number: ask once a connection. */
export function identify(groups: Groups, address: Address, proof: Proof = nothing): Client {
  const found: number[] = [];
  for (const [number, group] of groups.entries()) {
    if (group.addresses.some((cidr) => cidrContains(cidr, address)) || isProved(group, proof)) found.push(number);
  }
  return { address, groups: found };
}

/** The name that stands for a client in metrics and denial ids: its first group, else `_none`. */
export function groupName(groups: Groups, client: Client): string {
  const [first] = client.groups;
  return (first === undefined ? undefined : groups[first]?.name) ?? "_none";
}

const nothing: Proof = { user: undefined, subject: undefined };

function isProved({ users, subjects }: Group, { user, subject }: Proof): boolean {
  if (user !== undefined && users.includes(user)) return true;
  return subject !== undefined && subjects.some((pattern) => matchesSubject(pattern, subject));
}
