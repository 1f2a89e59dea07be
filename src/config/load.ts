/** Files in, validated values out; or every problem of every file at once. */
import { resolve } from "node:path";
import type { Place, PolicyFile, PolicySet, Rule } from "../policy/rule.ts";
import type { Disk } from "./disk.ts";
import { type Bindings, expandHost, sampleBindings } from "./pack-parameters.ts";
import { type PackInstance, resolveUses, standalonePack } from "./pack-uses.ts";
import { type PolicyDocument, readPolicyDocument } from "./policy-document.ts";
import { type Flags, applyOverrides } from "./overrides.ts";
import { type Problem, hasErrors, sortProblems } from "./problem.ts";
import { type GroupReference, checkGroupNames, readGroups } from "./read-groups.ts";
import { readIdleTimeout, readRule } from "./read-rule.ts";
import { readSettings } from "./read-settings.ts";
import { type PolicyTest, readTests } from "./read-tests.ts";
import type { Settings } from "./settings.ts";
import { placeAt } from "./source-text.ts";
import { parseDuration } from "./units.ts";
import { nodeAt } from "./yaml-tree.ts";

export type PolicyRequest = Disk & {
  /** Site policies in their order; a pack among them is read as a pack. */
  readonly files: readonly string[];
  readonly packsDir: string;
};

/** `notices` are warnings and rewritings; `problems` hold at least one error, and the notices as well. Both are sorted. */
export type Loaded =
  | {
      readonly kind: "loaded";
      readonly set: PolicySet;
      readonly tests: readonly PolicyTest[];
      readonly notices: readonly Problem[];
    }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

/** Reads site policies and the packs that they use. Paths in messages are those given here, or relative to their file. */
export function loadPolicySet(request: PolicyRequest): Loaded {
  const { packsDir } = request;
  const problems: Problem[] = [];
  const documents = readDocuments(request, problems);
  const sites = documents.filter((document) => document.kind === "site");
  const groups = readGroups(sites);
  const groupNames = new Set(groups.map((group) => group.name));
  const uses = resolveUses({ disk: request, packsDir, groups: groupNames, problems }, sites);
  const alone = documents.filter((document) => document.kind === "pack").map(standalonePack);
  const instances = [...uses.instances, ...alone];
  checkFileNames([...sites, ...uses.documents, ...alone.map(({ document }) => document)]);

  const files: PolicyFile[] = sites.map((site) => readSite(site, groupNames));
  // A pack with parameters is checked as a whole, whatever its uses give them.
  for (const document of new Set([...uses.documents, ...alone.map((instance) => instance.document)])) {
    if (document.raw.params !== undefined || !instances.some((instance) => instance.document === document)) {
      readRules(document, sampleBindings(document.raw.params ?? {}));
    }
    checkRuleIds(document);
    checkDefaults(document);
  }
  for (const instance of instances) files.push(readInstance(instance));
  // With errors in the files a rule may be missing only because its file is broken.
  const ruleIds = hasErrors(problems)
    ? undefined
    : new Set(files.flatMap((file) => file.rules.map((rule) => `${file.name}/${rule.id}`)));
  const tests = sites.flatMap((site) => readTests(site, groupNames, ruleIds));

  const sorted = sortProblems(problems);
  if (hasErrors(sorted)) return { kind: "problems", problems: sorted };
  return { kind: "loaded", set: { files, groups }, tests, notices: sorted };
}

export type SettingsRequest = Disk & {
  /** sallyport.yaml; undefined where there is none. */
  readonly path: string | undefined;
  readonly flags: Flags;
  /** The environment; only the documented `SALLYPORT_…` variables are read. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds since the epoch, for warnings of expired certificates; the clock's where left out. */
  readonly nowMs?: number;
};

export type SettingsLoaded =
  | {
      readonly kind: "loaded";
      readonly settings: Settings;
      /** For `checkGroupReferences`, once the policy is loaded. */
      readonly groupReferences: readonly GroupReference[];
      readonly notices: readonly Problem[];
    }
  /** `policy` is what is known of it, so that the policy's problems can be shown in the same breath. */
  | { readonly kind: "problems"; readonly problems: readonly Problem[]; readonly policy: readonly string[] };

/** Reads sallyport.yaml; flags override the environment, which overrides the file, which overrides the defaults. */
export function loadSettings(request: SettingsRequest): SettingsLoaded {
  const problems: Problem[] = [];
  const reading = readSettings(request, request.path, problems, request.nowMs ?? Date.now());
  const overridden = applyOverrides(reading, request.flags, request.env, problems);
  const sorted = sortProblems(problems);
  if (hasErrors(sorted)) return { kind: "problems", problems: sorted, policy: overridden.settings.policy };
  return { kind: "loaded", ...overridden, notices: sorted };
}

const defaultIdleTimeoutMs = 15 * 60 * 1000;

function readDocuments({ files, packsDir, readFile, listFiles }: PolicyRequest, problems: Problem[]): PolicyDocument[] {
  const seen = new Set<string>();
  return files.flatMap((path) => {
    // The same file twice is one file: `--policy a --policy ./a` says nothing new.
    const key = resolve(path);
    if (seen.has(key)) return [];
    seen.add(key);
    return readPolicyDocument({ readFile, listFiles }, packsDir, path, false, problems) ?? [];
  });
}

/** A rule's full id is `file/id`, so two files of one name could not be told apart. */
function checkFileNames(documents: readonly PolicyDocument[]): void {
  const first = new Map<string, PolicyDocument>();
  for (const document of documents) {
    const name = document.raw.name;
    if (name === undefined) continue;
    const other = first.get(name);
    if (other === undefined) first.set(name, document);
    else if (other !== document && resolve(other.path) !== resolve(document.path)) {
      document.diagnostics.value(
        document.root,
        ["name"],
        `is the name of ${other.path} already: names are unique over all files`,
      );
    }
  }
}

function readSite(site: PolicyDocument, groups: ReadonlySet<string>): PolicyFile {
  const { raw, root, diagnostics } = site;
  for (const [i, rule] of (raw.rules ?? []).entries()) {
    const node = nodeAt(root, ["rules", i]);
    if (node !== undefined) checkGroupNames(diagnostics, node, ["clients"], rule.clients, groups);
  }
  checkRuleIds(site);
  checkDefaults(site);
  return {
    kind: "site",
    name: raw.name ?? "",
    path: site.path,
    title: raw.title,
    rules: readRules(site, new Map()),
    uses: [],
    ...siteDefaults(site),
  };
}

function readInstance({ document, name, bindings, uses, site }: PackInstance): PolicyFile {
  const rules = readRules(document, bindings);
  return { kind: "pack", name, path: document.path, title: document.raw.title, rules, uses, ...siteDefaults(site) };
}

function siteDefaults({ raw, kind }: PolicyDocument): Pick<PolicyFile, "defaultMode" | "defaultIdleTimeoutMs"> {
  const idle = kind === "site" ? parseDuration(raw.defaults?.idle_timeout ?? "") : undefined;
  return { defaultMode: raw.defaults?.mode ?? "enforce", defaultIdleTimeoutMs: idle ?? defaultIdleTimeoutMs };
}

function readRules(document: PolicyDocument, bindings: Bindings): Rule[] {
  const { raw, root, diagnostics } = document;
  const parameters = raw.params ?? {};
  const context = {
    diagnostics,
    defaults: raw.defaults ?? {},
    expandHost: (text: string) =>
      text.includes("$") ? expandHost(text, parameters, bindings) : { kind: "hosts" as const, hosts: [text] },
  };
  const list = nodeAt(root, ["rules"]);
  if (list?.kind !== "list") return [];
  return (raw.rules ?? []).flatMap((rule, i) => {
    const node = list.items[i];
    return node === undefined ? [] : (readRule(context, rule, node) ?? []);
  });
}

function checkRuleIds({ raw, root, diagnostics }: PolicyDocument): void {
  const first = new Map<string, Place>();
  for (const [i, rule] of (raw.rules ?? []).entries()) {
    const node = nodeAt(root, ["rules", i]);
    if (rule.id === undefined || node === undefined) continue;
    const place = first.get(rule.id);
    if (place === undefined) first.set(rule.id, placeAt(diagnostics.source, node.start));
    else
      diagnostics.value(
        node,
        ["id"],
        `is the id of the rule on line ${place.line} already: ids are unique in a file`,
        `${rule.id}-2`,
      );
  }
}

function checkDefaults({ raw, root, diagnostics }: PolicyDocument): void {
  readIdleTimeout(diagnostics, root, ["defaults", "idle_timeout"], raw.defaults?.idle_timeout);
}
