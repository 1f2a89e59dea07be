/** `sallyport import`: a site policy from what another proxy or a firewall has, and what of it is not in there. */
import { basename, dirname, isAbsolute, join } from "node:path";
import { Argument, type Command } from "commander";
import { readFailure } from "../config/disk.ts";
import { loadPolicySet } from "../config/load.ts";
import { hasErrors } from "../config/problem.ts";
import { runPolicyTests } from "../config/run-tests.ts";
import { compileRuleset } from "../policy/compile.ts";
import { importList } from "../review/import-list.ts";
import type { ImportFinding, Imported } from "../review/import-report.ts";
import { importSquid } from "../review/import-squid.ts";
import { findingText, importedPolicyText } from "../review/import-text.ts";
import { readSquidConfig } from "../review/squid-config.ts";
import type { ExitCode, Io } from "./io.ts";
import { diskAt, packsDirOf } from "./policy-target.ts";
import { counted, sayError, sayHint, sayProblems } from "./terminal.ts";

type ImportOptions = { readonly name: string; readonly json?: boolean };
type Source = "squid" | "list";

const help = `
Prints a site policy on standard output, and what of the source is not in it, with its lines, on standard error and at
the top of the policy. Nothing is written or changed.

  squid   dstdomain (also from files), port, method, proto, src, any-of and all-of ACLs, and http_access in its order
  list    a firewall's allow-list, one entry a line: host, *.host, host:port, host 443,80, https://host/, 10.0.0.0/8:443

Examples:
  sallyport import squid /etc/squid/squid.conf > policies/site.yaml
  sallyport import list allowed-hosts.txt > policies/site.yaml

Exit: 0 all is in it, 1 something is not, 2 usage, 3 a file that cannot be read.`;

/** Gives the command its arguments, its help and what it does. */
export function configureImport(command: Command, io: Io, done: (exit: ExitCode) => void): void {
  command
    .addArgument(new Argument("<source>", "what the file is").choices(["squid", "list"]))
    .argument("<file>", "the file to read")
    .option("--name <name>", "name of the policy", "site")
    .option("--json", "answer in JSON")
    .addHelpText("after", help)
    .action((source: Source, file: string, options: ImportOptions) => done(runImport(source, file, options, io)));
}

function runImport(source: Source, file: string, { name, json }: ImportOptions, io: Io): ExitCode {
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) {
    sayError(io, `--name ${name} is no kebab-case name: lower-case letters, digits and hyphens`);
    return 2;
  }
  let text: string;
  try {
    text = diskAt(io).readFile(file);
  } catch (error) {
    sayError(io, `${file} ${readFailure(error)}`);
    return 3;
  }
  const imported = source === "list" ? importList(file, text) : importSquid(readSquid(file, text, io));
  const policy = importedPolicyText(imported, basename(file), name);
  const exit = checkMade(policy, io);
  if (exit !== 0) return exit;
  const lost = imported.findings.filter(({ effect }) => effect !== "note");
  if (json === true) io.stdout(`${JSON.stringify(asJson(imported, policy), undefined, 2)}\n`);
  else {
    io.stdout(policy);
    tell(imported, lost, io);
  }
  return lost.length === 0 ? 0 : 1;
}

/** Paths in squid.conf are relative to where it stands; Squid itself takes the directory it was started in. */
function readSquid(file: string, text: string, io: Io): ReturnType<typeof readSquidConfig> {
  const disk = diskAt(io);
  const at = (path: string): string => (isAbsolute(path) ? path : join(dirname(file), path));
  const read = (path: string): string | undefined => {
    try {
      return disk.readFile(at(path));
    } catch {
      return undefined;
    }
  };
  const expand = (pattern: string): readonly string[] => {
    if (!/[*?]/.test(pattern)) return read(pattern) === undefined ? [] : [pattern];
    const name = new RegExp(
      `^${basename(pattern)
        .replace(/[.+^${}()|[\]\\]/g, "\\$&")
        .replaceAll("*", ".*")
        .replaceAll("?", ".")}$`,
    );
    try {
      const names = disk.listFiles(at(dirname(pattern))).filter((one) => name.test(one));
      return names.toSorted().map((one) => join(dirname(pattern), one));
    } catch {
      return [];
    }
  };
  return readSquidConfig(file, text, { read, expand });
}

/** What is printed passes `check`: anything else is a mistake of this program. */
function checkMade(policy: string, io: Io): ExitCode {
  const path = "imported policy";
  const disk = diskAt(io);
  const readFile = (one: string): string => (one === path ? policy : disk.readFile(one));
  const loaded = loadPolicySet({ ...disk, readFile, files: [path], packsDir: packsDirOf(io) });
  const problems =
    loaded.kind === "problems" ? loaded.problems : runPolicyTests(compileRuleset(loaded.set), loaded.tests, io.now());
  if (!hasErrors(problems)) return 0;
  sayProblems(io, problems);
  sayHint(io, "this is a bug of import: what it made is not valid, and is not printed");
  return 3;
}

function asJson({ groups, rules, findings }: Imported, policy: string): object {
  return {
    policy,
    rules: rules.length,
    groups: groups.map(({ name }) => name),
    findings: findings.map(({ at, effect, message }) => ({
      file: at?.file,
      line: at?.line,
      text: at?.text,
      effect,
      message,
    })),
  };
}

function tell({ rules, groups, findings }: Imported, lost: readonly ImportFinding[], io: Io): void {
  for (const finding of findings) io.stderr(`${findingText(finding)}\n`);
  const wider = lost.filter(({ effect }) => effect === "wider").length;
  const made = [counted(rules.length, "rule"), ...(groups.length === 0 ? [] : [counted(groups.length, "group")])];
  const missing =
    lost.length === 0
      ? "all is in it"
      : `${counted(lost.length, "thing")} not carried over${wider === 0 ? "" : `, ${wider} of which let more pass`}`;
  io.stderr(`\n${made.join(", ")}; ${missing}\n`);
  sayHint(
    io,
    "next: sallyport check FILE, then sallyport explain for requests that you know; defaults: { mode: report } to begin with",
  );
}
