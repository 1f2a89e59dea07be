/** The `clients` of site policies, and the places that name them. */
import { parseSubject } from "../identity/subject.ts";
import { parseAddress } from "../names/address.ts";
import type { ClientGroup, Place } from "../policy/rule.ts";
import type { Diagnostics } from "./diagnostics.ts";
import type { PolicyDocument } from "./policy-document.ts";
import type { Problem } from "./problem.ts";
import { readCidr } from "./read-rule.ts";
import { placeAt } from "./source-text.ts";
import { suggest } from "./suggest.ts";
import { type YamlNode, entryOf, nodeAt } from "./yaml-tree.ts";

/** A name of a group that stands outside the policy, in a listener's `clients`. */
export type GroupReference = { readonly name: string; readonly place: Place };

/** Groups of all site files, in their order; a name that two files give is reported at the second. */
export function readGroups(sites: readonly PolicyDocument[]): ClientGroup[] {
  const groups = new Map<string, ClientGroup>();
  for (const site of sites) {
    for (const group of readGroupsOf(site)) {
      const first = groups.get(group.name);
      if (first === undefined) groups.set(group.name, group);
      else
        site.diagnostics.key(
          site.root,
          ["clients", group.name],
          `is a group already, in ${first.place.file}:${first.place.line}: group names are unique over all files`,
        );
    }
  }
  return [...groups.values()];
}

/** Reports each name of a list that is no group. */
export function checkGroupNames(
  diagnostics: Diagnostics,
  node: YamlNode,
  path: readonly PropertyKey[],
  names: readonly string[] | undefined,
  known: ReadonlySet<string>,
): void {
  for (const [i, name] of (names ?? []).entries()) {
    if (known.has(name)) continue;
    const { message, instead } = unknownGroup(name, known);
    diagnostics.value(node, [...path, i], message, instead);
  }
}

/** The same for names that were read from the settings. */
export function checkGroupReferences(references: readonly GroupReference[], groups: readonly ClientGroup[]): Problem[] {
  const known = new Set(groups.map((group) => group.name));
  return references
    .filter(({ name }) => !known.has(name))
    .map(({ name, place }) => ({ severity: "error", place, offending: name, ...unknownGroup(name, known) }));
}

/** Completes "NAME …". */
export function unknownGroup(
  name: string,
  known: ReadonlySet<string>,
): { readonly message: string; readonly instead: string | undefined } {
  const instead = suggest(name, known);
  if (known.size === 0) return { message: "is no group: no site policy has clients", instead };
  if (parseAddress(name) !== undefined || name.includes("/"))
    return { message: `is no group: give the block a name under clients, and write that (${list(known)})`, instead };
  return { message: `is no group: the groups are ${list(known)}`, instead };
}

function list(known: ReadonlySet<string>): string {
  const shown = [...known].slice(0, 20).join(", ");
  return known.size > 20 ? `${shown}, …` : shown;
}

function readGroupsOf({ raw, root, diagnostics }: PolicyDocument): ClientGroup[] {
  return Object.entries(raw.clients ?? {}).map(([name, given]) => {
    const path = ["clients", name];
    const direct = Array.isArray(given);
    const group = direct ? { addresses: given } : given;
    const addressPath = direct ? path : [...path, "addresses"];
    const addresses = (group.addresses ?? []).flatMap((text, i) =>
      readCidr(diagnostics, root, [...addressPath, i], text),
    );
    for (const [i, subject] of (direct ? [] : (given.subjects ?? [])).entries()) {
      if (parseSubject(subject) === undefined)
        diagnostics.value(
          root,
          [...path, "subjects", i],
          'is no subject: write TYPE=value, as "CN=kiosk*" or "O=Corp,OU=shops"',
        );
    }
    const node = nodeAt(root, path);
    if (
      !direct &&
      node?.kind === "map" &&
      !["addresses", "users", "subjects"].some((key) => entryOf(node, key) !== undefined || node.cut?.includes(key))
    ) {
      diagnostics.key(root, path, "has no addresses, users or subjects: nobody is in it");
    }
    return {
      name,
      place: placeAt(diagnostics.source, entryOf(nodeAt(root, ["clients"]), name)?.keyStart ?? 0),
      addresses,
      users: direct ? [] : (given.users ?? []),
      subjects: direct ? [] : (given.subjects ?? []),
      mode: direct ? undefined : given.mode,
      perClient: direct ? undefined : given.per_client,
    };
  });
}
