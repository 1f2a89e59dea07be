/** The command line: which commands there are, what they take, and what their help says. */
import { Command, CommanderError, Option } from "commander";
import { runCerts } from "./certs.ts";
import { configureCheck } from "./check.ts";
import { configureClientSetup } from "./client-setup.ts";
import { configureAllow, configureWhy } from "./denial-question.ts";
import { configureDiff } from "./diff.ts";
import { configureDoctor } from "./doctor.ts";
import { configureExplain } from "./explain.ts";
import { configureImport } from "./import.ts";
import { configureInit } from "./init.ts";
import type { ExitCode, Io } from "./io.ts";
import { configurePacks } from "./packs.ts";
import { configureReadiness } from "./readiness.ts";
import { configureSchema } from "./schema.ts";
import { runServe } from "./serve.ts";
import type { SourceOptions } from "./sources.ts";
import { sayError, sayHint } from "./terminal.ts";

/** Runs one command; every expected failure is an exit code. */
export async function runProgram(args: readonly string[], io: Io): Promise<ExitCode> {
  let exit: ExitCode = 0;
  const done = (code: ExitCode): void => {
    exit = code;
  };
  const program = createProgram(io, done);
  try {
    await program.parseAsync([...args], { from: "user" });
    return exit;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
}

function createProgram(io: Io, done: (code: ExitCode) => void): Command {
  const program = new Command("sallyport")
    .description("An egress proxy that lets patch and RMM agents reach exactly the endpoints their vendors document.")
    .version(io.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand("help [command]", "show help for a command")
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: io.stdout,
      writeErr: io.stderr,
      outputError: (text) => {
        const [message = "", ...hints] = text
          .trim()
          .replace(/^error: /, "")
          .split("\n");
        sayError(io, message);
        for (const hint of hints) sayHint(io, hint.replace(/^\(|\)$/g, ""));
        if (hints.length === 0) sayHint(io, "sallyport --help lists the commands");
      },
    });

  command(program, "serve", "run the proxy")
    .option(
      "--listen <address>",
      "where clients connect, in place of the configured listeners (127.0.0.1:3128); may be repeated",
      collect,
    )
    .option("--admin <address>", "metrics and health (127.0.0.1:9180)")
    .addOption(new Option("--pack <name...>", "serve these packs, in place of any policy").conflicts("policy"))
    .action(async (options: SourceOptions) => done(await runServe(options, io)));

  configureInit(program.command("init").description("write a configuration and a site policy to start from"), io, done);
  configureCheck(
    command(program, "check", "say whether the policy is valid, passes its tests, and what its rules do to each other"),
    io,
    done,
  );
  configureDiff(command(program, "diff", "say what a new policy would decide otherwise than an old one"), io, done);
  configureExplain(command(program, "explain", "say what the policy makes of a request, and why"), io, done);
  configureWhy(
    command(program, "why", "say what was denied, to whom, how often, and which rule came closest"),
    io,
    done,
  );
  configureAllow(command(program, "allow", "print the narrowest rule that would allow what was denied"), io, done);
  configureReadiness(
    command(program, "readiness", "say from the log whether report mode can be switched to enforce"),
    io,
    done,
  );
  configurePacks(command(program, "packs", "list the vendor packs, with the day their documents were read"), io, done);
  configureSchema(command(program, "schema", "print the JSON Schema of a file"), io, done);

  configureDoctor(
    command(program, "doctor", "try the proxy as a client would, and say in words what is wrong"),
    io,
    done,
  );

  addCerts(program, io, done);
  addForOthers(program, io, done);

  program
    .command("version")
    .description("print the version of the program and of Node.js")
    .option("--json", "answer in JSON")
    .action(({ json }: { json?: boolean }) => {
      const { version, nodeVersion: node } = io;
      io.stdout(json === true ? `${JSON.stringify({ version, node })}\n` : `sallyport ${version} (Node.js ${node})\n`);
    });
  return program;
}

/** Commands for clients, and for those who come from another proxy or a firewall. */
function addForOthers(program: Command, io: Io, done: (code: ExitCode) => void): void {
  configureClientSetup(
    program
      .command("client-setup")
      .description("print what to type on clients so that they use this proxy, and how to undo it")
      .option("--config <file>", "configuration (./sallyport.yaml when it exists)")
      .option("--json", "answer in JSON"),
    io,
    done,
  );
  configureImport(
    program.command("import").description("print a site policy made from squid.conf or from a firewall's allow-list"),
    io,
    done,
  );
}

/** A command with the options that all commands on files have. */
function command(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .option("--config <file>", "configuration (./sallyport.yaml when it exists)")
    .option("--policy <file>", "policy file in place of the configured ones; may be repeated", collect)
    .option("--json", "answer in JSON");
}

function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

function addCerts(program: Command, io: Io, done: (code: ExitCode) => void): void {
  const certs = program
    .command("certs")
    .description("make a private certificate authority and certificates, for tests and for TLS to the proxy");
  const directory = ["--dir <directory>", "where certificates and keys are kept", "certs"] as const;
  certs
    .command("init")
    .description("make the authority")
    .option(...directory)
    .option("--name <name>", "name of the authority")
    .option("--days <number>", "lifetime")
    .option("--permit <domain>", "sign only for this domain, address or block; may be repeated", collect)
    .option("--json", "answer in JSON")
    .action(async (o: { dir: string; name?: string; days?: string; permit?: readonly string[]; json?: boolean }) => {
      const { dir, json = false, permit = [], name, days } = o;
      done(
        await runCerts(
          {
            command: "init",
            directory: dir,
            json,
            permit,
            ...(name === undefined ? {} : { name }),
            ...(days === undefined ? {} : { days }),
          },
          io,
        ),
      );
    });
  certs
    .command("leaf")
    .description("make a certificate and its key")
    .argument("<name...>", "host names and addresses that the certificate is for, the first one names the files")
    .option(...directory)
    .option("--client", "a client certificate in place of a server's")
    .option("--days <number>", "lifetime")
    .option("--json", "answer in JSON")
    .action(async (names: string[], o: { dir: string; client?: boolean; days?: string; json?: boolean }) => {
      const { dir, json = false, client = false, days } = o;
      done(
        await runCerts(
          { command: "leaf", directory: dir, json, names, client, ...(days === undefined ? {} : { days }) },
          io,
        ),
      );
    });
  certs
    .command("show")
    .description("show what is there and when it expires")
    .option(...directory)
    .option("--json", "answer in JSON")
    .action(async ({ dir, json = false }: { dir: string; json?: boolean }) =>
      done(await runCerts({ command: "show", directory: dir, json }, io)),
    );
}
