/** Groups of clients, and names for them and for rules, as an import needs them. */
import {
  type AddressRanges,
  allAddresses,
  blocksOfRanges,
  isNoAddress,
  noAddresses,
  rangesKey,
  subtractRanges,
  uniteRanges,
} from "../names/address-ranges.ts";
import type { Imported } from "./import-report.ts";

export type Groups = {
  /** Undefined is everyone. */
  readonly namesOf: (clients: AddressRanges) => readonly string[] | undefined;
  readonly list: () => Imported["groups"];
};

/** Sets of clients by the names that Squid's ACLs have for them, else by new ones. */
export function createGroups(sources: ReadonlyMap<string, AddressRanges>): Groups {
  const used = new Map<string, { readonly name: string; readonly addresses: readonly string[] }>();
  const taken = new Set<string>();
  const everyone = rangesKey(allAddresses);
  const nameOf = (ranges: AddressRanges, wanted: string): string => {
    const key = rangesKey(ranges);
    const group = used.get(key) ?? { name: unique(slug(wanted, "clients"), taken), addresses: blocksOfRanges(ranges) };
    used.set(key, group);
    return group.name;
  };
  const namesOf = (clients: AddressRanges): readonly string[] | undefined => {
    const key = rangesKey(clients);
    if (key === everyone) return undefined;
    const inside = [...sources].filter(
      ([, ranges]) => !isNoAddress(ranges) && isNoAddress(subtractRanges(ranges, clients)),
    );
    const equal = inside.find(([, ranges]) => rangesKey(ranges) === key);
    if (equal !== undefined) return [nameOf(clients, equal[0])];
    const together = uniteRanges(inside.map(([, ranges]) => ranges));
    if (rangesKey(together) !== key) return [nameOf(clients, `clients-${used.size + 1}`)];
    let rest: AddressRanges = noAddresses;
    return inside.flatMap(([name, ranges]) => {
      if (isNoAddress(subtractRanges(ranges, rest))) return [];
      rest = uniteRanges([rest, ranges]);
      return [nameOf(ranges, name)];
    });
  };
  return { namesOf, list: () => [...used.values()] };
}

/** Kebab-case, as ids and names of groups are. */
export function slug(text: string, fallback: string): string {
  const words = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return (words === "" ? fallback : words).slice(0, 50).replace(/-$/, "");
}

export function unique(base: string, taken: Set<string>): string {
  let name = base;
  for (let i = 2; taken.has(name); i++) name = `${base}-${i}`;
  taken.add(name);
  return name;
}
