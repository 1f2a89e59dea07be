/** `sallyport readiness`: says from the log whether what is in report mode can be enforced. */
import type { Command } from "commander";
import type { Ruleset } from "../policy/ruleset.ts";
import { tryRequest } from "../policy/trial.ts";
import type { DenialSighting } from "../record/denial-sighting.ts";
import { deniedRequest } from "../review/denied-request.ts";
import { openLog } from "./denial-question.ts";
import type { ExitCode, Io } from "./io.ts";
import { type LoggedLine, isExchange, readLog, sightingOfLine } from "./log-denials.ts";
import { type SourceOptions, loadSources } from "./sources.ts";
import { counted, sayError, sayHint, table } from "./terminal.ts";

type ReadinessOptions = Pick<SourceOptions, "config" | "policy" | "json"> & {
  readonly log?: string;
  readonly group?: string;
};

/** One cause that report mode let pass. */
type Cause = { readonly last: DenialSighting; count: number; readonly clients: Set<string> };

type Period = { readonly firstMs: number; readonly lastMs: number };

/** What a log says of one group, or of all clients. */
type Tally = {
  readonly exchanges: number;
  /** Of the exchanges; undefined where no line says when it was. */
  readonly period: Period | undefined;
  readonly causes: readonly Cause[];
  /** Causes beyond `maxCauses`. */
  readonly more: number;
};

type Judged = { readonly cause: Cause; readonly state: "open" | "solved" };

const maxCauses = 20_000;
const dayMs = 86_400_000;
/** Patches come monthly, agents check in daily: what was not seen in a week may be due next week. */
const enoughMs = 7 * dayMs;

export function configureReadiness(command: Command, io: Io, done: (exit: ExitCode) => void): void {
  command
    .option("--log <file>", "the log to read; - is standard input (log.file of the configuration)")
    .option("--group <name>", "exchanges of this group of clients only: their first group, as the log has it")
    .addHelpText("after", help)
    .action(async (options: ReadinessOptions) => done(await runReadiness(options, io)));
}

/** Exit 0 where nothing stands against enforcing, 1 where something does or nothing is known. */
async function runReadiness(options: ReadinessOptions, io: Io): Promise<ExitCode> {
  const sources = loadSources(options, io, "start");
  if (sources.kind === "failed") return sources.exit;
  const { settings, ruleset } = sources;
  const { group } = options;
  const isKnown = group === undefined || group === "_none" || ruleset.groups.some(({ name }) => name === group);
  if (!isKnown) {
    sayError(io, `--group ${group}: the policy has no such group`);
    return 2;
  }
  const file = options.log ?? (settings.log.file === "-" ? undefined : settings.log.file);
  if (file === undefined) {
    sayError(
      io,
      "the log goes to standard output: say which file it was kept in with --log FILE, or --log - to pipe it in",
    );
    return 2;
  }
  let tally: Tally;
  try {
    tally = await tallyLog(openLog(file, io), group, (strange) =>
      sayHint(io, `${counted(strange, "line")} of ${file} are no log lines, and were passed over`),
    );
  } catch (error) {
    sayError(io, `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
  const judged = tally.causes.map((cause) => ({ cause, state: stateOf(ruleset, cause.last, io.now()) }));
  const isReady = tally.exchanges > 0 && tally.more === 0 && judged.every(({ state }) => state === "solved");
  if (options.json === true) io.stdout(`${JSON.stringify(asJson(isReady, tally, judged, group), undefined, 2)}\n`);
  else io.stdout(textOf(isReady, tally, judged, group));
  return isReady ? 0 : 1;
}

async function tallyLog(
  input: Io["stdin"],
  group: string | undefined,
  onStrange: (lines: number) => void,
): Promise<Tally> {
  const causes = new Map<string, Cause>();
  let [exchanges, more] = [0, 0];
  let [firstMs, lastMs] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const take = (line: LoggedLine): void => {
    if (!isExchange(line) || (group !== undefined && line["group"] !== group)) return;
    exchanges++;
    const atMs = typeof line["time"] === "string" ? Date.parse(line["time"]) : Number.NaN;
    if (atMs < firstMs) firstMs = atMs;
    if (atMs > lastMs) lastMs = atMs;
    const sighting = line["would"] === "deny" ? sightingOfLine(line) : undefined;
    if (sighting === undefined) return;
    const known = causes.get(sighting.id);
    if (known === undefined && causes.size >= maxCauses) {
      more++;
      return;
    }
    const cause = { last: sighting, count: (known?.count ?? 0) + 1, clients: known?.clients ?? new Set<string>() };
    cause.clients.add(sighting.client);
    causes.set(sighting.id, cause);
  };
  const strange = await readLog(input, take);
  if (strange > 0) onStrange(strange);
  const period = firstMs <= lastMs ? { firstMs, lastMs } : undefined;
  return { exchanges, period, causes: [...causes.values()].sort((a, b) => b.count - a.count), more };
}

/** Solved where the policy of today would allow it even if enforced; what a record cannot tell stays open. */
function stateOf(ruleset: Ruleset, sighting: DenialSighting, nowMs: number): "open" | "solved" {
  const denied = deniedRequest(ruleset, sighting);
  if (denied === undefined || !denied.isWhole) return "open";
  // With `log.paths` off nobody knows which path it was.
  const hasPath = sighting.path !== "" || sighting.protocol === "connect" || sighting.reason !== "path_denied";
  const { verdict, would } = tryRequest(ruleset, denied.request, nowMs);
  return hasPath && verdict === "allow" && would === undefined ? "solved" : "open";
}

function asJson(isReady: boolean, tally: Tally, judged: readonly Judged[], group: string | undefined): object {
  const { exchanges, period, more } = tally;
  return {
    ready: isReady,
    group,
    exchanges,
    since: period && new Date(period.firstMs).toISOString(),
    until: period && new Date(period.lastMs).toISOString(),
    causes: judged.map(({ cause: { last, count, clients }, state }) => ({
      id: last.id,
      reason: last.reason,
      host: last.host,
      port: last.port,
      protocol: last.protocol,
      sni: last.sni,
      group: last.group,
      rule: last.rule,
      nearest: last.nearest,
      count,
      clients: clients.size,
      last_seen: new Date(last.atMs).toISOString(),
      state,
    })),
    more_causes: more === 0 ? undefined : more,
  };
}

const maxShown = 40;

function textOf(isReady: boolean, tally: Tally, judged: readonly Judged[], group: string | undefined): string {
  const { exchanges, period, more } = tally;
  const who = group === undefined ? "all clients" : `group ${group}`;
  if (exchanges === 0) return `not ready: the log has no exchange of ${who}\n`;
  const open = judged.filter(({ state }) => state === "open");
  const denied = open.reduce((sum, { cause }) => sum + cause.count, 0);
  const solved = judged.length - open.length;
  const seen = `${counted(exchanges, "exchange")} of ${who} ${period === undefined ? "at times unknown" : periodText(period)}`;
  const heading = isReady
    ? "ready: enforced, this policy would have denied none of them"
    : `not ready: enforced, this policy would deny ${counted(open.length + more, "cause")}, seen ${counted(denied, "time")}`;
  return [
    `${heading}\n${seen}\n`,
    solved === 0 ? "" : `${counted(solved, "cause")} of report mode in the log would be allowed by now\n`,
    open.length === 0 ? "" : `\n${table(open.slice(0, maxShown).map(rowOf))}`,
    open.length > maxShown ? `  … and ${open.length - maxShown} more: --json lists them all\n` : "",
    period !== undefined && lengthOf(period) < enoughMs
      ? `\n${lengthText(period)} is short: a patch day, and an agent's own update, should be in the log\n`
      : "",
    isReady
      ? `\nnext: ${nextStep(group)}\n`
      : "\nnext: sallyport allow ID --log FILE for what is to pass; what is not may be enforced\n",
  ].join("");
}

function nextStep(group: string | undefined): string {
  if (group === undefined || group === "_none") return "write mode: enforce into defaults of the site policy";
  return `write mode: enforce into ${group} under clients of the site policy`;
}

function rowOf({ cause: { last, count, clients } }: Judged): readonly string[] {
  const asked =
    last.protocol === "connect" ? `CONNECT ${last.host}:${last.port}` : `${last.method} ${last.host}:${last.port}`;
  return [
    `  ${last.id}`,
    `${count}x`,
    last.reason,
    asked,
    counted(clients.size, "client"),
    last.nearest ?? "no rule is near",
  ].map((cell) => cell.replace(/[^\x20-\x7e]/g, "?"));
}

function isoDay(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function lengthOf({ firstMs, lastMs }: Period): number {
  return lastMs - firstMs;
}

function periodText(period: Period): string {
  return `from ${isoDay(period.firstMs)} to ${isoDay(period.lastMs)} (${lengthText(period)})`;
}

function lengthText(period: Period): string {
  const ms = lengthOf(period);
  if (ms >= 2 * dayMs) return `${Math.floor(ms / dayMs)} days`;
  const hours = Math.floor(ms / 3_600_000);
  return hours < 1 ? "less than an hour" : counted(hours, "hour");
}

const help = `
Reads what report mode let pass (would: deny), by cause, and tries each again on the policy of the configuration, so that
what has got a rule since no longer counts. Denials that were enforced already are no part of it.

Examples:
  sallyport readiness --log /var/log/sallyport/access.log --group kiosks
  journalctl -u sallyport -o cat --since -14d | sallyport readiness --log -

Exit: 0 ready, 1 not, or the log says nothing of it; 2 usage; 3 invalid file.`;
