/** `sallyport client-setup`: what to type on a client so that it uses this proxy, and how to take it back. */
import { Argument, type Command } from "commander";
import { loadSettings } from "../config/load.ts";
import { linuxSetup } from "./client-setup-linux.ts";
import { macosSetup } from "./client-setup-macos.ts";
import { windowsSetup } from "./client-setup-windows.ts";
import type { ExitCode, Io } from "./io.ts";
import { configPath, diskAt } from "./policy-target.ts";
import { findWay } from "./proxy-way.ts";
import { type ProxyWay, type Setup, type SetupStep, hostPort } from "./setup-step.ts";
import { sayError, sayProblems, sayWarning } from "./terminal.ts";

type System = "windows" | "linux" | "macos";
type ClientSetupOptions = {
  readonly config?: string;
  readonly proxy?: string;
  readonly pac?: string;
  readonly json?: boolean;
};

const help = `
Prints the commands for the listener of the configuration; nothing is changed. With a listener of kind pac, or --pac,
the settings that can take a PAC do.

Examples:
  sallyport client-setup windows
  sallyport client-setup linux --proxy http://proxy.corp.example:3128

Exit: 0 printed, 2 usage, or a listener that clients cannot be told; 3 invalid file.`;

const setups: Readonly<Record<System, (way: ProxyWay) => Setup>> = {
  windows: windowsSetup,
  linux: linuxSetup,
  macos: macosSetup,
};

/** Gives the command its arguments, its help and what it does. */
export function configureClientSetup(command: Command, io: Io, done: (exit: ExitCode) => void): void {
  command
    .addArgument(new Argument("<system>", "what the clients run").choices(["windows", "linux", "macos"]))
    .option("--proxy <url>", "how clients reach the proxy (the first proxy listener of the configuration)")
    .option("--pac <url>", "where its PAC is (the pac listener of the configuration)")
    .addHelpText("after", help)
    .action((system: System, options: ClientSetupOptions) => done(runClientSetup(system, options, io)));
}

function runClientSetup(system: System, options: ClientSetupOptions, io: Io): ExitCode {
  const reading = loadSettings({ ...diskAt(io), path: configPath(options.config, io), flags: {}, env: io.env });
  if (reading.kind === "problems") {
    sayProblems(io, reading.problems);
    return 3;
  }
  const way = findWay(options, reading.settings);
  if (way.kind === "problem") {
    sayError(io, way.message);
    return 2;
  }
  const setup = setups[system](way.way);
  if (options.json === true) io.stdout(`${JSON.stringify(asJson(system, way.way, way.notes, setup), undefined, 2)}\n`);
  else io.stdout(textOf(system, way.way, setup));
  for (const note of way.notes) sayWarning(io, note);
  return 0;
}

function asJson(system: System, way: ProxyWay, notes: readonly string[], { shell, steps, agents }: Setup): object {
  return { system, proxy: hostPort(way), pac: way.pac, notes, shell, steps, agents };
}

function textOf(system: System, way: ProxyWay, { shell, steps, agents }: Setup): string {
  const pac = way.pac === undefined ? "" : `, PAC ${way.pac}`;
  const heading = `${system}: proxy ${hostPort(way)}${pac}\nTo be typed in ${shell}. Settings that are there already are overwritten; note them first.\n`;
  const own = agents.map((line) => `  - ${line}\n`).join("");
  const end = "Then: sallyport doctor on the proxy, and look at its log while the agent checks in.\n";
  return `${heading}\n${steps.map(stepText).join("\n")}\nAgents with settings of their own\n${own}\n${end}`;
}

function stepText({ title, reads, commands, undo, look, notes, sources }: SetupStep, index: number): string {
  const block = (name: string, lines: readonly string[]): string =>
    lines.length === 0 ? "" : `   ${name}\n${lines.map((line) => `     ${line}\n`).join("")}`;
  return [
    `${index + 1}. ${title}\n   read by: ${reads}\n`,
    block("set", commands),
    block("undo", undo),
    block("look", look),
    ...notes.map((note) => `   note: ${note}\n`),
    ...sources.map((source) => `   source: ${source}\n`),
  ].join("");
}
