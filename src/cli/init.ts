/** `sallyport init`: a configuration and a site policy to start from, in report mode, and what to do next. */
import { join } from "node:path";
import type { Command } from "commander";
import type { Disk } from "../config/disk.ts";
import { loadPolicySet } from "../config/load.ts";
import { type PackSummary, listPacks } from "../config/packs.ts";
import { hasErrors } from "../config/problem.ts";
import { parseListenAddress } from "../config/read-address.ts";
import { defaultSettings } from "../config/read-settings.ts";
import type { ListenAddress } from "../config/settings.ts";
import { suggest } from "../config/suggest.ts";
import { compileRuleset } from "../policy/compile.ts";
import { exampleRequests } from "./init-examples.ts";
import { type ExampleRequest, configText, siteText } from "./init-files.ts";
import { type NextStep, nextSteps, nextStepsText } from "./init-steps.ts";
import type { ExitCode, Io } from "./io.ts";
import { type NewFile, createFiles } from "./new-files.ts";
import { schemaText } from "./schema.ts";
import { sayError, sayHint, sayProblems, sayWarning, table } from "./terminal.ts";

type InitOptions = {
  /** Names, also several in one word, parted by commas. */
  readonly packs?: readonly string[];
  readonly listen?: readonly string[];
  readonly dir: string;
  readonly json?: boolean;
};

/** Gives the command its arguments, its help and what it does. */
export function configureInit(command: Command, io: Io, done: (code: ExitCode) => void): void {
  command
    .option("--packs <names...>", "the vendors' packs to use, parted by commas or blanks")
    .option("--listen <addresses...>", "where clients connect (127.0.0.1:3128)")
    .option("--dir <directory>", "where the files are written", ".")
    .option("--json", "answer in JSON")
    .addHelpText("after", help)
    .action((options: InitOptions) => done(runInit(options, io)));
}

/** 0 written, 1 not written, 2 usage, 3 a pack that cannot be read. Nothing that exists is overwritten. */
function runInit(options: InitOptions, io: Io): ExitCode {
  const packsDir = join(io.policiesDir, "packs");
  const { packs: known, problems } = listPacks(io.disk, packsDir);
  if (hasErrors(problems)) {
    sayProblems(io, problems);
    return 3;
  }
  const names = [
    ...new Set(
      (options.packs ?? [])
        .flatMap((text) => text.split(","))
        .map((text) => text.trim())
        .filter((text) => text !== ""),
    ),
  ];
  if (names.length === 0) return refuseWithoutPacks(known, io);
  const packs = names.flatMap((name) => known.find((pack) => pack.name === name) ?? []);
  if (packs.length < names.length) return refuseUnknown(names, known, io);
  const listen = readListen(options.listen, io);
  if (listen === undefined) return 2;
  const policy = examplesOf(packs, packsDir, io);
  if (policy === undefined) return 3;

  const admin = formatListen(defaultSettings.admin.address);
  const addresses = listen.map(formatListen);
  const paths = pathsIn(options.dir);
  const files: readonly NewFile[] = [
    { path: paths.config, text: configText({ listen: addresses, admin }) },
    { path: paths.policy, text: siteText({ packs, examples: policy }) },
    { path: paths.schema, text: schemaText("policy") },
  ];
  const creation = createFiles(io, io.cwd, files);
  switch (creation.kind) {
    case "exists":
      for (const path of creation.paths) sayError(io, `${path} exists and is never overwritten`);
      sayHint(io, "move it away first, or choose another directory with --dir; nothing was written");
      return 1;
    case "failed":
      sayError(io, `${creation.path} ${creation.failure}; nothing was written`);
      return 1;
    case "created":
      break;
  }
  const steps = nextSteps({ program: io.program, paths, listen, admin, examples: policy });
  sayWritten(options, io, files, packs, addresses, steps);
  if (listen.some(({ host }) => !isLoopback(host))) {
    sayWarning(
      io,
      "report mode lets nearly everything pass: until you enforce, let only your own clients reach a listener beyond loopback",
    );
  }
  return 0;
}

const help = `
Writes sallyport.yaml, policies/site.yaml and policies/policy.schema.json, in report mode, and tells what to do next.
Nothing that exists is overwritten. Without --packs it lists the packs.

Example:
  sallyport init --packs automox,windows-update --listen 0.0.0.0:3128`;

/** The files, as the next steps name them: relative where `dir` is. */
function pathsIn(dir: string): { readonly config: string; readonly policy: string; readonly schema: string } {
  return {
    config: join(dir, "sallyport.yaml"),
    policy: join(dir, "policies", "site.yaml"),
    schema: join(dir, "policies", "policy.schema.json"),
  };
}

function refuseWithoutPacks(known: readonly PackSummary[], io: Io): ExitCode {
  sayError(io, "no packs are named; there are:");
  io.stderr(table(known.map(({ name, title }) => [`  ${name}`, title ?? ""])));
  sayHint(
    io,
    "sallyport init --packs automox,windows-update writes a policy of those two; sallyport packs says more of each",
  );
  return 2;
}

function refuseUnknown(names: readonly string[], known: readonly PackSummary[], io: Io): ExitCode {
  const knownNames = known.map(({ name }) => name);
  for (const name of names) {
    if (knownNames.includes(name)) continue;
    const closest = closestPack(name, knownNames);
    sayError(io, `there is no pack "${name}"${closest === undefined ? "" : `: did you mean ${closest}?`}`);
  }
  sayHint(io, `the packs are ${knownNames.join(", ")}`);
  return 2;
}

/** A misspelling, or the beginning of a longer name: `action1` is action1-eu or action1-na. */
function closestPack(name: string, known: readonly string[]): string | undefined {
  const longer = known.filter((candidate) => name.length > 2 && candidate.startsWith(name.toLowerCase()));
  return longer.length > 0 ? longer.join(" or ") : suggest(name, known);
}

/** Says what is wrong with an address; undefined then. */
function readListen(texts: readonly string[] | undefined, io: Io): readonly ListenAddress[] | undefined {
  const admin = defaultSettings.admin.address;
  const listen: ListenAddress[] = [];
  for (const text of texts?.flatMap((one) => one.split(",")) ?? [formatListen({ host: "127.0.0.1", port: 3128 })]) {
    const reading = parseListenAddress(text);
    if (reading.kind === "problem") {
      sayError(io, `--listen ${text} ${reading.message}`);
      if (reading.instead !== undefined) sayHint(io, `write --listen ${reading.instead}`);
      return undefined;
    }
    const { value } = reading;
    if (value.port === 0 || value.port === admin.port || listen.some(({ port }) => port === value.port)) {
      const why =
        value.port === 0
          ? "has no port that clients could be told"
          : value.port === admin.port
            ? "is the port of the admin endpoints"
            : "has the port of another listener";
      sayError(io, `--listen ${text} ${why}`);
      sayHint(io, "3128 is the port that clients expect of a proxy");
      return undefined;
    }
    listen.push(value);
  }
  return listen;
}

/** Loads the policy as it will be written, without its tests, and finds requests that it allows. */
function examplesOf(packs: readonly PackSummary[], packsDir: string, io: Io): readonly ExampleRequest[] | undefined {
  const path = "policies/site.yaml";
  const text = siteText({ packs, examples: [] });
  const disk: Disk = { ...io.disk, readFile: (file) => (file === path ? text : io.disk.readFile(file)) };
  const loaded = loadPolicySet({ ...disk, files: [path], packsDir });
  if (loaded.kind === "loaded") return exampleRequests(compileRuleset(loaded.set), io.now());
  sayProblems(io, loaded.problems);
  return undefined;
}

function sayWritten(
  { json }: InitOptions,
  io: Io,
  files: readonly NewFile[],
  packs: readonly PackSummary[],
  listen: readonly string[],
  next: readonly NextStep[],
): void {
  const paths = files.map(({ path }) => path);
  if (json === true) {
    io.stdout(
      `${JSON.stringify({ files: paths, packs: packs.map(({ name }) => name), listen, mode: "report", next })}\n`,
    );
    return;
  }
  io.stdout(`${paths.map((path) => `wrote ${path}\n`).join("")}\n${nextStepsText(next)}`);
}

function formatListen({ host, port }: ListenAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function isLoopback(host: string): boolean {
  return host.startsWith("127.") || host === "::1";
}
