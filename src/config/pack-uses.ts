/** The `use` of site policies: which packs, which instances of them, and for whom. */
import { dirname, isAbsolute, join, resolve } from "node:path";
import type { PackUse } from "../policy/rule.ts";
import type { Disk } from "./disk.ts";
import { type Bindings, bindParameters, checkParameters, formatBindings, sampleBindings } from "./pack-parameters.ts";
import { type PolicyDocument, readPolicyDocument } from "./policy-document.ts";
import type { Problem } from "./problem.ts";
import { checkGroupNames } from "./read-groups.ts";
import { suggest } from "./suggest.ts";
import { type YamlNode, nodeAt } from "./yaml-tree.ts";

/** One pack with one set of values, and everyone who uses it so. */
export type PackInstance = {
  readonly document: PolicyDocument;
  readonly name: string;
  readonly bindings: Bindings;
  readonly uses: readonly PackUse[];
  /** The site that used it first. */
  readonly site: PolicyDocument;
};

/** All packs that were read, each once, and the instances in order of first use. */
export type PackUses = { readonly documents: readonly PolicyDocument[]; readonly instances: readonly PackInstance[] };

type Surroundings = {
  readonly disk: Disk;
  readonly packsDir: string;
  readonly groups: ReadonlySet<string>;
  readonly problems: Problem[];
};

/** Resolves every `use` of every site. Relative paths are relative to the file they stand in. */
export function resolveUses(surroundings: Surroundings, sites: readonly PolicyDocument[]): PackUses {
  const { disk, packsDir } = surroundings;
  const documents = new Map<string, PolicyDocument | undefined>();
  const instances = new Map<string, PackInstance & { readonly uses: PackUse[] }>();
  const names = new Set<string>();
  const known = knownPacks(disk, packsDir);
  for (const site of sites) {
    for (const [i, raw] of (site.raw.use ?? []).entries()) {
      const node = nodeAt(site.root, ["use", i]);
      const use = typeof raw === "string" ? { pack: raw } : raw;
      if (node === undefined || use.pack === undefined) continue;
      const packNode = node.kind === "map" ? (nodeAt(node, ["pack"]) ?? node) : node;
      checkGroupNames(site.diagnostics, node, ["clients"], use.clients, surroundings.groups);
      const path = findPack(surroundings, site, packNode, use.pack, known);
      if (path === undefined) continue;
      const key = resolve(path);
      if (!documents.has(key)) {
        const read = readPolicyDocument(disk, packsDir, path, true, surroundings.problems);
        documents.set(key, read);
        if (read !== undefined) checkParameters(read.diagnostics, read.raw, read.root);
      }
      const document = documents.get(key);
      if (document?.raw.name === undefined) continue;
      const without = checkWithout(site, node, use.without ?? [], document);
      const bindings = bindParameters(
        site.diagnostics,
        node,
        document.raw.name,
        document.raw.params ?? {},
        use.with ?? {},
      );
      if (bindings === undefined) continue;
      const packUse: PackUse = { clients: use.clients ?? null, without };
      addUse(instances, names, { document, site, node, bindings, packUse, name: document.raw.name, key });
    }
  }
  return {
    documents: [...documents.values()].filter((document) => document !== undefined),
    instances: [...instances.values()],
  };
}

/**
 * A pack that nobody uses, given as a policy of its own: with every value of the parameters that have values.
 * Rules that need another one do not exist.
 */
export function standalonePack(document: PolicyDocument): PackInstance {
  checkParameters(document.diagnostics, document.raw, document.root);
  const parameters = document.raw.params ?? {};
  const bindings = new Map([...sampleBindings(parameters)].filter(([, binding]) => binding.all));
  for (const name of Object.keys(parameters)) {
    if (bindings.has(name)) continue;
    document.diagnostics.key(
      document.root,
      ["params", name],
      "has no value here: rules that need it do not exist unless a site policy uses this pack",
      "warning",
    );
  }
  return {
    document,
    name: document.raw.name ?? "",
    bindings,
    uses: [{ clients: null, without: new Set() }],
    site: document,
  };
}

/** Names of the packs in a directory, sorted; none where it cannot be read. */
export function knownPacks(disk: Disk, packsDir: string): readonly string[] {
  try {
    return disk
      .listFiles(packsDir)
      .flatMap((file) => /^([^.]+)\.yaml$/.exec(file)?.[1] ?? [])
      .sort();
  } catch {
    return [];
  }
}

function findPack(
  { disk, packsDir }: Surroundings,
  site: PolicyDocument,
  node: YamlNode,
  pack: string,
  known: readonly string[],
): string | undefined {
  const isPath = /[/\\]|\.ya?ml$/.test(pack);
  if (!isPath) {
    if (known.includes(pack)) return join(packsDir, `${pack}.yaml`);
    const list = known.length === 0 ? `there are none in ${packsDir}` : `the packs are ${known.join(", ")}`;
    site.diagnostics.value(node, [], `is no pack: ${list}`, suggest(pack, known));
    return undefined;
  }
  const path = isAbsolute(pack) ? pack : join(dirname(site.path), pack);
  if (resolve(path) === resolve(site.path)) {
    site.diagnostics.value(node, [], "is this very file");
    return undefined;
  }
  try {
    disk.readFile(path);
    return path;
  } catch {
    const name = pack.replace(/^.*[/\\]/, "").replace(/\.ya?ml$/, "");
    const message = `cannot be read: there is no file ${path}; a path is relative to the file it stands in`;
    site.diagnostics.value(node, [], message, known.includes(name) ? name : undefined);
    return undefined;
  }
}

function checkWithout(
  site: PolicyDocument,
  node: YamlNode,
  without: readonly string[],
  document: PolicyDocument,
): Set<string> {
  const ids = (document.raw.rules ?? []).flatMap((rule) => rule.id ?? []);
  for (const [i, id] of without.entries()) {
    if (ids.includes(id)) continue;
    const bare = id.slice(id.indexOf("/") + 1);
    const instead = ids.includes(bare) ? bare : suggest(id, ids);
    site.diagnostics.value(
      node,
      ["without", i],
      `is no rule of ${document.raw.name}: its rules are ${ids.join(", ")}`,
      instead,
    );
  }
  return new Set(without);
}

type Addition = {
  readonly document: PolicyDocument;
  readonly site: PolicyDocument;
  readonly node: YamlNode;
  readonly bindings: Bindings;
  readonly packUse: PackUse;
  readonly name: string;
  readonly key: string;
};

/** The first instance of a pack keeps its plain name; one with other values is called after them. */
function addUse(
  instances: Map<string, PackInstance & { readonly uses: PackUse[] }>,
  names: Set<string>,
  addition: Addition,
): void {
  const { document, site, node, bindings, packUse, name, key } = addition;
  const identity = JSON.stringify([key, [...bindings]]);
  const instance = instances.get(identity);
  if (instance === undefined) {
    let unique = names.has(name) ? `${name}@${formatBindings(bindings)}` : name;
    while (names.has(unique)) unique += "+";
    names.add(unique);
    instances.set(identity, { document, name: unique, bindings, uses: [packUse], site });
    return;
  }
  if (instance.uses.some((other) => sameUse(other, packUse))) {
    site.diagnostics.value(node, [], "is used already in this way: this line adds nothing", undefined, "warning");
    return;
  }
  instance.uses.push(packUse);
  if (modeOf(instance.site) !== modeOf(site)) {
    const message = `is in mode ${modeOf(instance.site)}, that of ${instance.site.path}, which uses it first`;
    site.diagnostics.value(node, [], message, undefined, "warning");
  }
}

function sameUse(a: PackUse, b: PackUse): boolean {
  const key = (use: PackUse): string =>
    JSON.stringify([use.clients === null ? null : [...use.clients].sort(), [...use.without].sort()]);
  return key(a) === key(b);
}

function modeOf(site: PolicyDocument): "enforce" | "report" {
  return site.raw.defaults?.mode ?? "enforce";
}
