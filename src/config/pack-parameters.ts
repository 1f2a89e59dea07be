/** The parameters of a pack: what a use gives them, and the hosts that come of it. */
import { parseHostname } from "../names/hostname.ts";
import type { Diagnostics } from "./diagnostics.ts";
import type { RawParameter, RawPolicy } from "./policy-schema.ts";
import type { HostExpansion } from "./read-rule.ts";
import { suggest } from "./suggest.ts";
import { type YamlNode, entryOf, hasKey } from "./yaml-tree.ts";

/** Values by parameter, in the pack's order. A parameter that is not given is not in it. */
export type Bindings = ReadonlyMap<string, Binding>;
export type Binding = {
  readonly values: readonly string[];
  /** Every value there is: written `all`. */
  readonly all: boolean;
};
type Parameters = Readonly<Record<string, RawParameter>>;

const maxExpansions = 256;
const labelPattern = /^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$/;

/** Checks the declarations: each is used by some host, and says either its values or its kind. */
export function checkParameters(diagnostics: Diagnostics, raw: RawPolicy, root: YamlNode): void {
  const parameters = raw.params ?? {};
  const used = new Set((raw.rules ?? []).flatMap((rule) => (rule.hosts ?? []).flatMap(variablesOf)));
  for (const [name, parameter] of Object.entries(parameters)) {
    if (!used.has(name))
      diagnostics.key(root, ["params", name], `is used by no host: write \${${name}} in one, or leave it out`);
    if (parameter.values === undefined && parameter.kind === undefined && !cutAt(root, ["params", name])) {
      diagnostics.key(root, ["params", name], "says neither its values nor its kind (label or host)");
    }
    if (parameter.values !== undefined && parameter.kind !== undefined) {
      diagnostics.key(root, ["params", name, "kind"], "has no place beside values: the values say what there is");
    }
    for (const [i, value] of (parameter.values ?? []).entries()) {
      const problem = value === "all" ? "is the word for every value" : valueProblem(value, undefined);
      if (problem !== undefined) diagnostics.value(root, ["params", name, "values", i], problem);
      else if (parameter.values?.indexOf(value) !== i)
        diagnostics.value(root, ["params", name, "values", i], "stands twice");
    }
  }
}

/**
 * Reads the `with` of a use against the declarations of its pack. `path` leads from `node` to the use; undefined
 * where something is missing or unknown, which is then reported.
 */
export function bindParameters(
  diagnostics: Diagnostics,
  node: YamlNode,
  pack: string,
  parameters: Parameters,
  given: Readonly<Record<string, string | readonly string[]>>,
): Bindings | undefined {
  const bindings = new Map<string, Binding>();
  const names = Object.keys(parameters);
  let sound = true;
  const refuse = (path: readonly PropertyKey[], message: string, instead?: string): void => {
    diagnostics.value(node, path, message, instead);
    sound = false;
  };
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(parameters, name)) continue;
    const known = names.length === 0 ? "has no parameters" : `has ${names.join(", ")}`;
    const closest = suggest(name, names);
    diagnostics.key(
      node,
      ["with", name],
      `is no parameter of ${pack}, which ${known}${closest === undefined ? "" : `: did you mean ${closest}?`}`,
    );
    sound = false;
  }
  for (const [name, parameter] of Object.entries(parameters)) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    if (value !== undefined) {
      const binding = readBinding(parameter, typeof value === "string" ? [value] : value, (i, message, instead) => {
        refuse(typeof value === "string" ? ["with", name] : ["with", name, i], message, instead);
      });
      bindings.set(name, binding);
    } else if (parameter.optional !== true && sound && !cutAt(node, ["with"])) {
      // After an unknown name nothing is said to be missing: it may be this one, misspelt.
      const choice =
        parameter.values === undefined
          ? parameter.kind === "host"
            ? "a host name"
            : "a label"
          : `one of ${parameter.values.join(", ")}, a list of them, or all`;
      refuse([], `needs the parameter ${name}: ${choice}`, exampleUse(pack, name, parameter));
    }
  }
  if (names.length > 0 && bindings.size === 0 && sound && !cutAt(node, ["with"])) {
    refuse([], `needs at least one of its parameters: ${names.join(", ")}`);
  }
  return sound ? bindings : undefined;
}

/** Every value, and a sample where any value will do: to check a pack that nobody uses yet. */
export function sampleBindings(parameters: Parameters): Bindings {
  return new Map(
    Object.entries(parameters).map(([name, { values, kind }]) => {
      return [
        name,
        { values: values ?? [kind === "host" ? "sample.example.com" : "sample"], all: values !== undefined },
      ];
    }),
  );
}

/** What distinguishes one instance of a pack from another, in canonical order: `de-1+us-1`, `all`. */
export function formatBindings(bindings: Bindings): string {
  return [...bindings.values()].map(({ values, all }) => (all ? "all" : values.join("+"))).join("+");
}

/** Fills `${name}` in a host with every value it has; with several parameters, with every combination. */
export function expandHost(text: string, parameters: Parameters, bindings: Bindings): HostExpansion {
  const names = [...new Set(variablesOf(text))];
  const broken = /\$(?!\{[^{}]*\})|\$\{\s*\}/.test(text);
  if (broken)
    return {
      kind: "problem",
      message: "has a $ that is no parameter: a parameter is written ${name}",
      instead: undefined,
    };
  let hosts = [text];
  for (const name of names) {
    if (!Object.hasOwn(parameters, name)) return unknownVariable(text, name, Object.keys(parameters));
    const binding = bindings.get(name);
    if (binding === undefined) return { kind: "absent" };
    hosts = hosts.flatMap((host) => binding.values.map((value) => host.replaceAll(`\${${name}}`, value)));
    if (hosts.length > maxExpansions)
      return { kind: "problem", message: `stands for more than ${maxExpansions} hosts`, instead: undefined };
  }
  return { kind: "hosts", hosts };
}

function unknownVariable(text: string, name: string, known: readonly string[]): HostExpansion {
  if (known.length === 0)
    return {
      kind: "problem",
      message: `has the parameter ${name}, and this file declares no params`,
      instead: undefined,
    };
  const closest = suggest(name, known);
  const instead = closest === undefined ? undefined : text.replaceAll(`\${${name}}`, `\${${closest}}`);
  return { kind: "problem", message: `has the unknown parameter ${name}: params has ${known.join(", ")}`, instead };
}

function variablesOf(text: string): string[] {
  return Array.from(text.matchAll(/\$\{([^{}]*)\}/g), ([, name = ""]) => name);
}

function readBinding(
  parameter: RawParameter,
  given: readonly string[],
  refuse: (i: number, message: string, instead?: string) => void,
): Binding {
  const { values } = parameter;
  if (given.length === 1 && given[0] === "all" && values !== undefined) return { values, all: true };
  for (const [i, value] of given.entries()) {
    if (given.indexOf(value) !== i) refuse(i, "stands twice");
    else if (values === undefined) {
      const problem = valueProblem(value, parameter.kind);
      if (problem !== undefined)
        refuse(
          i,
          problem,
          valueProblem(value.trim().toLowerCase(), parameter.kind) === undefined
            ? value.trim().toLowerCase()
            : undefined,
        );
    } else if (!values.includes(value)) {
      const list =
        value === "all"
          ? "stands alone, not in a list"
          : `is no value of this parameter: one of ${values.join(", ")}, a list of them, or all`;
      refuse(i, list, suggest(value, values));
    }
  }
  const inOrder = values === undefined ? [...given].sort() : values.filter((value) => given.includes(value));
  return { values: inOrder, all: values !== undefined && inOrder.length === values.length };
}

function valueProblem(value: string, kind: "label" | "host" | undefined): string | undefined {
  if (kind === "label" && !labelPattern.test(value))
    return "is no DNS label: lower-case letters, digits and hyphens, without dots";
  if (kind === "host" && parseHostname(value) !== value) return "is no host name in lower case";
  if (kind === undefined && !value.split(".").every((label) => labelPattern.test(label)))
    return "is no part of a host name: labels of lower-case letters, digits and hyphens";
  return undefined;
}

function exampleUse(pack: string, name: string, parameter: RawParameter): string | undefined {
  const [value] = parameter.values ?? [];
  return value === undefined ? undefined : `{ pack: ${pack}, with: { ${name}: ${value} } }`;
}

/** True where something was refused already, so that it is not missing. */
function cutAt(node: YamlNode, path: readonly string[]): boolean {
  let at: YamlNode | undefined = node;
  for (const key of path) {
    if (at === undefined) return false;
    const next: YamlNode | undefined = entryOf(at, key)?.value;
    if (next === undefined) return hasKey(at, key);
    at = next;
  }
  return at?.kind === "map" && (at.cut?.length ?? 0) > 0;
}
