/** `sallyport packs` and `packs show NAME`: which vendor tables there are, and what one of them opens. */
import { join } from "node:path";
import type { Command } from "commander";
import { type PackParameterValues, loadPackAlone } from "../config/pack-alone.ts";
import { type PackParameter, type PackSummary, listPacks } from "../config/packs.ts";
import { type Problem, hasErrors } from "../config/problem.ts";
import { suggest } from "../config/suggest.ts";
import { shortText } from "../names/address.ts";
import { endpointName } from "../review/conditions.ts";
import type { PolicyFile, Rule } from "../policy/rule.ts";
import type { ExitCode, Io } from "./io.ts";
import { packsDocument } from "./packs-document.ts";
import { diskAt, packsDirOf } from "./policy-target.ts";
import { counted, sayError, sayHint, sayProblems, table } from "./terminal.ts";

type PacksOptions = { readonly json?: boolean };
type ListOptions = PacksOptions & { readonly markdown?: boolean };
type ShowOptions = PacksOptions & {
  /** `name=value`, `name=value,value`; several parameters in several options or after commas. */
  readonly with?: readonly string[];
};

const listHelp = `
Example:
  $ sallyport packs show windows-update`;

const showHelp = `
Examples:
  $ sallyport packs show windows-update
  $ sallyport packs show trend-micro-workload-security --with region=de-1,us-1
  $ sallyport packs show automation-anywhere --with tenant=acme --with control_room=controlroom.corp.example`;

/** Adds the subcommands, their options and help. */
export function configurePacks(command: Command, io: Io, done: (exit: ExitCode) => void): void {
  command
    .option("--markdown", "answer in Markdown: every pack's table with rules and sources")
    .addHelpText("after", listHelp)
    .action((options: ListOptions) => done(options.markdown === true ? runPacksDocument(io) : runPacks(options, io)));
  command
    .command("show")
    .description("show the rules of a pack: hosts, what is expected of them, and from which document that is")
    .argument("<name>", "name of a pack")
    .option(
      "--with <parameter=value>",
      "a value for a parameter of the pack, or values with commas, or all; may be repeated",
      collect,
    )
    .option("--json", "answer in JSON")
    .addHelpText("after", showHelp)
    .action((name: string, _: ShowOptions, show: Command) =>
      done(runShow(name, show.optsWithGlobals<ShowOptions>(), io)),
    );
}

/** Exit 3 where the file of a pack is broken. */
function runPacks({ json }: PacksOptions, io: Io): ExitCode {
  const { packs, problems } = listPacks(io.disk, packsDirOf(io));
  if (json === true) {
    io.stdout(`${JSON.stringify({ packs: packs.map(summaryAsJson) }, undefined, 2)}\n`);
  } else {
    const rows = packs.map((pack) => [
      pack.name,
      `${pack.rules}`,
      pack.checked?.first ?? "never",
      pack.title ?? "",
      pack.params.map(parameterText).join(", "),
    ]);
    io.stdout(table([["pack", "rules", "checked", "title", "parameters"], ...rows]));
  }
  if (!hasErrors(problems)) return 0;
  sayProblems(io, problems);
  return 3;
}

/** Exit 3 where a pack is broken; there is no document then. */
function runPacksDocument(io: Io): ExitCode {
  const document = packsDocument(diskAt(io), packsDirOf(io));
  if (document.kind === "problems") {
    sayProblems(io, document.problems);
    return 3;
  }
  io.stdout(document.text);
  return 0;
}

/** Exit 2 for an unknown pack and for parameters that are missing or wrong, 3 where the pack itself is broken. */
function runShow(name: string, options: ShowOptions, io: Io): ExitCode {
  const { packs } = listPacks(io.disk, packsDirOf(io));
  const summary = packs.find((pack) => pack.name === name);
  if (summary === undefined)
    return sayUnknown(
      name,
      packs.map((pack) => pack.name),
      io,
    );
  const values = readValues(options.with ?? []);
  if (typeof values === "string") {
    sayError(io, `--with ${values} has no parameter: write parameter=value`);
    sayHint(io, exampleOf(summary));
    return 2;
  }
  const alone = loadPackAlone(diskAt(io), packsDirOf(io), join(packsDirOf(io), `${name}.yaml`), values);
  if (alone.kind === "problems") {
    if (hasErrors(alone.ofPack)) {
      sayProblems(io, alone.ofPack);
      return 3;
    }
    sayWrongValues(summary, alone.ofValues, io);
    return 2;
  }
  if (options.json === true) io.stdout(`${JSON.stringify(packAsJson(summary, alone.pack, values), undefined, 2)}\n`);
  else tellPack(summary, alone.pack, io);
  return 0;
}

function sayUnknown(name: string, known: readonly string[], io: Io): ExitCode {
  sayError(io, `there is no pack "${name}"`);
  const closest = suggest(name, known);
  sayHint(io, closest === undefined ? `the packs are ${known.join(", ")}` : `did you mean ${closest}?`);
  return 2;
}

/** Values by parameter; undefined where there are none, and a text where it names no parameter. */
function readValues(given: readonly string[]): PackParameterValues | undefined | string {
  const values = new Map<string, string[]>();
  for (const option of given) {
    let name: string | undefined;
    for (const part of option.split(",")) {
      const [, parameter, first] = /^([^=]+)=(.*)$/.exec(part) ?? [];
      name = parameter ?? name;
      if (name === undefined) return option;
      values.set(name, [...(values.get(name) ?? []), first ?? part]);
    }
  }
  if (values.size === 0) return undefined;
  return Object.fromEntries([...values].map(([name, list]) => [name, list.length === 1 ? (list[0] ?? "") : list]));
}

function sayWrongValues(pack: PackSummary, problems: readonly Problem[], io: Io): void {
  for (const { offending, message } of problems) {
    // A missing parameter is told at the use as a whole, which nobody wrote here.
    const isMissing = message.startsWith("needs ");
    sayError(io, isMissing ? `${pack.name} ${message}` : `"${offending}" ${message}`);
  }
  for (const parameter of pack.params) sayHint(io, parameterHint(parameter));
  sayHint(io, exampleOf(pack));
}

function parameterHint({ name, description, values, kind }: PackParameter): string {
  const choice =
    values === undefined
      ? kind === "host"
        ? "a host name"
        : "a label of a host name"
      : `${values.join(", ")}, or all`;
  return `${name}${description === undefined ? "" : ` (${description})`}: ${choice}`;
}

function exampleOf({ name, params }: PackSummary): string {
  const [first] = params;
  if (first === undefined) return `${name} has no parameters: sallyport packs show ${name}`;
  const value = first.values?.[0] ?? (first.kind === "host" ? "host.corp.example" : "acme");
  return `for example: sallyport packs show ${name} --with ${first.name}=${value}`;
}

function parameterText({ name, optional }: PackParameter): string {
  return optional ? `[${name}]` : name;
}

function tellPack({ name, title, description, params }: PackSummary, pack: PolicyFile, io: Io): void {
  io.stdout(
    `${name}${title === undefined ? "" : `: ${title}`}\n${description === undefined ? "" : `${description}\n`}\n`,
  );
  const rows = pack.rules.flatMap((rule) => {
    const hosts = [...rule.patterns.map((pattern) => pattern.text), ...rule.addresses.map(shortText)];
    return hosts.map((host, i) =>
      i === 0 ? [rule.id, host, expectText(rule), rangeOf(rule) ?? "", sourceText(rule)] : ["", host],
    );
  });
  io.stdout(table([["rule", "hosts", "expect", "range", "source"], ...rows]));
  const parameters = params.map(parameterText).join(", ");
  io.stdout(`\n${counted(pack.rules.length, "rule")}${parameters === "" ? "" : `; parameters: ${parameters}`}\n`);
}

function expectText({ action, endpoints }: Rule): string {
  return action === "deny" ? "deny" : endpoints.map(endpointName).join(" ");
}

function rangeOf({ endpoints, range }: Rule): string | undefined {
  return endpoints.some(({ scheme }) => scheme === "http") ? range : undefined;
}

function sourceText({ source }: Rule): string {
  if (source === undefined) return "";
  return source.confidence === undefined ? source.title : `${source.title} (${source.confidence})`;
}

function summaryAsJson({ name, title, description, rules, checked, sources, params }: PackSummary): object {
  return { name, title, description, rules, checked, sources, params };
}

/** Fields of rules are named as in a policy file. */
function packAsJson(
  { name, title, description, params }: PackSummary,
  pack: PolicyFile,
  values: PackParameterValues | undefined,
): object {
  const rules = pack.rules.map((rule) => ({
    id: `${name}/${rule.id}`,
    action: rule.action,
    hosts: rule.patterns.map((pattern) => pattern.text),
    addresses: rule.addresses.map((cidr) => cidr.text),
    expect: rule.endpoints.map(endpointName),
    range: rangeOf(rule),
    purpose: rule.purpose,
    source: rule.source,
  }));
  return { name, title, description, params, with: values, rules };
}

function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}
