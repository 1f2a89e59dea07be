/** `sallyport why` and `sallyport allow`: what was denied, and what would allow it. From a running proxy, or from a log. */
import { isAbsolute, join } from "node:path";
import type { Command } from "commander";
import { type ApiAnswer, answerAllow, answerWhy } from "../admin/denial-answers.ts";
import type { DenialSources } from "../admin/denial-proposal.ts";
import { type Denials, createDenials } from "../record/denials.ts";
import { type ProxyOptions, askProxy } from "./ask-proxy.ts";
import type { ExitCode, Io } from "./io.ts";
import { readLog, sightingOfLine } from "./log-denials.ts";
import { createPackOffers } from "./pack-offers.ts";
import { type SourceOptions, loadSources } from "./sources.ts";
import { counted, sayError, sayHint } from "./terminal.ts";

type QuestionOptions = Pick<SourceOptions, "config" | "policy" | "json"> & ProxyOptions & { readonly log?: string };

type AllowOptions = QuestionOptions & {
  readonly wide?: boolean;
  readonly ttl?: string;
  readonly ticket?: string;
  readonly resolved?: readonly string[];
};

/** Exit 0 where something was denied, 1 where nothing was, or nobody can be asked. */
export function configureWhy(command: Command, io: Io, done: (exit: ExitCode) => void): void {
  addSourceOptions(command.argument("<id-or-host>", "a denial id (7F3KQ-2MX9A), or a host name"))
    .addHelpText("after", whyHelp)
    .action(async (of: string, options: QuestionOptions) =>
      done(await ask("/api/why", new URLSearchParams({ of }), answerWhy, options, io)),
    );
}

/** Exit 0 where a rule is printed, or none is needed; 1 where no rule can allow it, or the id is not known. */
export function configureAllow(command: Command, io: Io, done: (exit: ExitCode) => void): void {
  addSourceOptions(command.argument("<id>", "a denial id: 7F3KQ-2MX9A"))
    .option("--wide", "for the names beside it too, and for every path and method")
    .option("--ttl <time>", "a rule with an end: 7d, 2w")
    .option("--ticket <text>", "a ticket for the rule")
    .option("--resolved <address...>", "what the name resolves to, for address_denied")
    .addHelpText("after", allowHelp)
    .action(async (id: string, { wide, ttl, ticket, resolved, ...options }: AllowOptions) => {
      const query = new URLSearchParams({ id });
      if (wide === true) query.set("wide", "true");
      if (ttl !== undefined) query.set("ttl", ttl);
      if (ticket !== undefined) query.set("ticket", ticket);
      for (const address of resolved ?? []) query.append("resolved", address);
      done(await ask("/api/allow", query, answerAllow, options, io));
    });
}

function addSourceOptions(command: Command): Command {
  return command
    .option("--admin <address>", "the admin server of the proxy to ask (admin.address of the configuration)")
    .option("--token-file <file>", "file with its token (admin.token_file of the configuration)")
    .option("--log <file>", "read this log in place of asking a proxy; - is standard input");
}

type Answerer = (sources: DenialSources, query: URLSearchParams) => Promise<ApiAnswer>;

async function ask(
  path: string,
  query: URLSearchParams,
  answerer: Answerer,
  options: QuestionOptions,
  io: Io,
): Promise<ExitCode> {
  const { log, json } = options;
  if (log !== undefined) {
    const sources = await sourcesOfLog(log, options, io);
    if (sources.kind === "failed") return sources.exit;
    const { status, body, text } = await answerer(sources.sources, query);
    return tell(io, status, json === true || text === undefined ? JSON.stringify(body) : text, json);
  }
  const answer = await askProxy(
    options,
    io,
    `${path}?${query.toString()}`,
    json === true ? "application/json" : "text/plain",
  );
  return answer.kind === "failed" ? answer.exit : tell(io, answer.status, answer.body, json);
}

/** What no text was made of is a refusal, in JSON. */
function tell(io: Io, status: number, body: string, json: boolean | undefined): ExitCode {
  const exit: ExitCode = status === 200 ? 0 : status === 400 ? 2 : 1;
  if (json === true || status === 200 || status === 409) io.stdout(body.endsWith("\n") ? body : `${body}\n`);
  else sayError(io, hintOf(body) ?? `the proxy answered with status ${status}`);
  return exit;
}

function hintOf(body: string): string | undefined {
  try {
    const value: unknown = JSON.parse(body);
    const hint = typeof value === "object" && value !== null && "hint" in value ? value.hint : undefined;
    return typeof hint === "string" ? hint : undefined;
  } catch {
    return undefined;
  }
}

/** Causes that are kept of a log; a client may have brought in any number. */
const maxCauses = 100_000;

type LogSources =
  | { readonly kind: "loaded"; readonly sources: DenialSources }
  | { readonly kind: "failed"; readonly exit: ExitCode };

async function sourcesOfLog(file: string, options: QuestionOptions, io: Io): Promise<LogSources> {
  const policy = loadSources(options, io, "start");
  if (policy.kind === "failed") return policy;
  let denials: Denials | undefined;
  try {
    const strange = await readLog(openLog(file, io), (line) => {
      const sighting = sightingOfLine(line);
      if (sighting === undefined) return;
      denials ??= createLogged(sighting.atMs);
      denials.add(sighting);
    });
    if (strange > 0) sayHint(io, `${counted(strange, "line")} of ${file} are no log lines, and were passed over`);
  } catch (error) {
    sayError(io, `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return { kind: "failed", exit: 1 };
  }
  denials ??= createLogged(io.now());
  const { ruleset } = policy;
  const sources = { denials, ruleset: () => ruleset, offerPacks: createPackOffers(io), now: io.now };
  return { kind: "loaded", sources };
}

function createLogged(sinceMs: number): Denials {
  return createDenials({ topSlots: 0, capacity: maxCauses, maxOfClient: maxCauses, now: () => sinceMs });
}

/** `-` is standard input. */
export function openLog(file: string, io: Io): Io["stdin"] {
  if (file === "-") return io.stdin;
  return io.openRead(isAbsolute(file) ? file : join(io.cwd, file));
}

const whyHelp = `
Asks the running proxy, which keeps the last 1024 causes of denial in memory; or with --log a log, which is judged by
the policy of the configuration.

Examples:
  sallyport why 7F3KQ-2MX9A
  sallyport why tlu.dl.delivery.mp.microsoft.com
  sallyport why 7F3KQ-2MX9A --log /var/log/sallyport/access.log

Exit: 0 it was denied, 1 nothing is known of it, 2 usage, 3 invalid file.`;

const allowHelp = `
Prints the narrowest rule that would allow what was denied, as YAML to paste at the top of rules: in a site policy, and
what else it would admit, tried on the policy in force. Edits nothing.

Examples:
  sallyport allow 7F3KQ-2MX9A
  sallyport allow 7F3KQ-2MX9A --wide --ttl 7d --ticket CHG-88

Exit: 0 a rule is printed, or none is needed; 1 no rule can allow it, or the id is not known; 2 usage; 3 invalid file.`;
