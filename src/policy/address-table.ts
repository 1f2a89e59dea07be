/** Address literals to the blocks that hold them: the longest prefix decides. */
import { type Address, type Cidr, blockText } from "../names/address.ts";

export type AddressTable = {
  /** Numbers of the blocks that hold the address, the shortest prefix first. */
  readonly lookup: (address: Address) => readonly number[];
};

/** Builds the table. The position of a block in the list is its number; no two blocks are the same. */
export function createAddressTable(cidrs: readonly Cidr[]): AddressTable {
  const numbers = new Map(cidrs.map((cidr, number) => [cidr.text, number]));
  const prefixesOf = (family: 4 | 6): readonly number[] =>
    [...new Set(cidrs.filter((cidr) => cidr.family === family).map((cidr) => cidr.prefix))].sort((a, b) => a - b);
  const prefixes = { 4: prefixesOf(4), 6: prefixesOf(6) };
  const lookup = (address: Address): readonly number[] =>
    prefixes[address.family].flatMap((prefix) => numbers.get(blockText(address, prefix)) ?? []);
  return { lookup };
}
