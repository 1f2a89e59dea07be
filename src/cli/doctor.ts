/** `sallyport doctor`: tries the proxy as a client would, and what it stands on, and says in words what is wrong. */
import type { Command } from "commander";
import { parseAddress } from "../names/address.ts";
import { parseHost } from "../names/hostname.ts";
import { type Canary, allowedCanaries, deniedHost, readCanary } from "./doctor-canary.ts";
import { type Seen, tryAllowed, tryDenied } from "./doctor-canaries.ts";
import { checkAdmin, checkLimits, checkLog, checkResolving } from "./doctor-box.ts";
import { judgeClock } from "./doctor-clock.ts";
import { type ProxyPlace, reach } from "./doctor-probe.ts";
import { type Finding, doctorText, doubtful, fine, isHealthy, skipped, wrong } from "./doctor-report.ts";
import { hostFromHere } from "./from-here.ts";
import type { ExitCode, Io } from "./io.ts";
import { plainListener, readProxy } from "./proxy-way.ts";
import { type SourceOptions, type Sources, loadSources } from "./sources.ts";
import { counted, sayError } from "./terminal.ts";

type DoctorOptions = Pick<SourceOptions, "config" | "policy" | "json"> & {
  readonly proxy?: string;
  readonly allowed?: string;
  readonly timeout: string;
};

/** Of several files of rules one each: one vendor may be down. */
const maxCanaries = 3;

const help = `
On the box of the proxy, as the user it runs as:
  sallyport doctor
On a client, where --allowed is something that the policy there allows:
  sallyport doctor --proxy http://proxy.corp.example:3128 --allowed https://api.automox.com/

Nothing is changed. Two or more requests go through the proxy, and stand in its log: one for ${deniedHost},
which has to be refused, and up to ${maxCanaries} that the policy allows, of which one has to succeed.

Exit: 0 nothing is wrong (warnings included), 1 something is, 2 usage.`;

/** Gives the command its arguments, its help and what it does. */
export function configureDoctor(command: Command, io: Io, done: (exit: ExitCode) => void): void {
  command
    .option("--proxy <url>", "check from a client: this proxy, and nothing of this machine but its clock")
    .option("--allowed <url>", "what the policy allows, in place of hosts that are chosen from it")
    .option("--timeout <seconds>", "how long each step may take", "10")
    .addHelpText("after", help)
    .action(async (options: DoctorOptions) => done(await runDoctor(options, io)));
}

async function runDoctor(options: DoctorOptions, io: Io): Promise<ExitCode> {
  const timeoutMs = Number(options.timeout) * 1000;
  const proxy = options.proxy === undefined ? undefined : readProxy(options.proxy);
  const asked = options.allowed === undefined ? undefined : readCanary(options.allowed);
  const usage = !(timeoutMs >= 100 && timeoutMs <= 600_000)
    ? `--timeout ${options.timeout} is no number of seconds from 0.1 to 600`
    : options.proxy !== undefined && proxy === undefined
      ? `--proxy ${options.proxy} is no proxy: write http://HOST:PORT, or HOST:PORT`
      : options.allowed !== undefined && asked === undefined
        ? `--allowed ${options.allowed} is no URL: write https://HOST/ or http://HOST/`
        : undefined;
  if (usage !== undefined) {
    sayError(io, usage);
    return 2;
  }
  const findings = await examine(options, io, timeoutMs, proxy, asked);
  const isGood = isHealthy(findings);
  if (options.json === true) io.stdout(`${JSON.stringify({ healthy: isGood, steps: findings }, undefined, 2)}\n`);
  else io.stdout(doctorText(findings));
  return isGood ? 0 : 1;
}

async function examine(
  options: DoctorOptions,
  io: Io,
  timeoutMs: number,
  proxy: ProxyPlace | undefined,
  asked: Canary | undefined,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const said: string[] = [];
  const sources = loadSources(options, { ...io, stderr: (text) => said.push(text) }, "start");
  findings.push(configurationFinding(sources, said, proxy !== undefined));
  const isHere = proxy === undefined;
  if (isHere && sources.kind === "loaded")
    findings.push(...checkLimits(sources.settings, io), checkLog(sources.settings, io));
  const place = proxy ?? ownPlace(sources);
  if (place === undefined) {
    const why =
      sources.kind === "loaded"
        ? "no proxy listener can be tried as it is (TLS, credentials, PROXY header or port 0)"
        : "without a valid configuration nobody knows where it is";
    findings.push(skipped("listener", `${why}; --proxy names one, https:// with TLS to it`));
    return [...findings, judgeClock(sources, [], io.now())];
  }
  const reached = await reach(place, timeoutMs);
  findings.push(listenerFinding(place, reached, isHere));
  if (isHere && sources.kind === "loaded") findings.push(await checkAdmin(sources.settings, timeoutMs));
  const canaries = asked === undefined ? choose(sources, reached.kind === "done" ? reached.local : "", io) : [asked];
  const [first] = canaries;
  if (isHere && sources.kind === "loaded" && first !== undefined)
    findings.push(await checkResolving(sources.settings, parseHost(first.host), timeoutMs));
  const seen: Seen[] = [];
  if (reached.kind === "done") {
    const isSure = isHere || asked !== undefined || options.config !== undefined;
    findings.push(await tryDenied(place, timeoutMs));
    findings.push(await tryAllowed(place, canaries, { isSure, timeoutMs }, seen));
  } else findings.push(skipped("denied", "nothing can be asked"), skipped("allowed", "nothing can be asked"));
  return [...findings, judgeClock(sources, seen, io.now())];
}

function configurationFinding(sources: Sources, said: readonly string[], isClient: boolean): Finding {
  if (sources.kind === "loaded") {
    const { ruleset, notices, isDefault } = sources;
    const rules = counted(ruleset.rules.length, "rule");
    if (isDefault)
      return isClient
        ? skipped("configuration", "none is here; what to ask for is chosen from the packs that ship with this program")
        : doubtful(
            "configuration",
            `there is no policy of your own: the default one has ${rules}, for every vendor`,
            "sallyport init --packs NAME writes a configuration",
          );
    const failed = notices.filter(({ severity }) => severity === "warning").length;
    const warnings = failed === 0 ? "" : `, ${counted(failed, "warning")}: sallyport check says which`;
    return fine("configuration", `valid: ${rules}, hash ${ruleset.hash}${warnings}`);
  }
  const [first = ""] = said;
  return wrong(
    "configuration",
    `invalid: ${first.trim()}`,
    "sallyport check says all that is wrong, and what to write",
  );
}

function ownPlace(sources: Sources): ProxyPlace | undefined {
  const listener = sources.kind === "loaded" ? plainListener(sources.settings) : undefined;
  if (listener === undefined) return undefined;
  const { host, port } = listener.address;
  return { host: hostFromHere(host), port };
}

function listenerFinding(place: ProxyPlace, reached: Awaited<ReturnType<typeof reach>>, isHere: boolean): Finding {
  const where = `${place.host}:${place.port}`;
  if (reached.kind === "done") return fine("listener", `${where} takes connections (from ${reached.local})`);
  switch (reached.code) {
    case "ECONNREFUSED":
      return wrong(
        "listener",
        `nothing listens on ${where}`,
        isHere
          ? "start the proxy: sallyport serve, or its service"
          : "is it started there, and on that address and port?",
      );
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return wrong(
        "listener",
        `${where} cannot be reached (${reached.code})`,
        "a firewall or a route is in the way: open the port for this client",
      );
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return wrong(
        "listener",
        `the name ${place.host} cannot be resolved (${reached.code})`,
        "mend this machine's DNS, or say the proxy by its address",
      );
    default:
      return wrong(
        "listener",
        `${where} cannot be connected to (${reached.code})`,
        "look at the network between here and there",
      );
  }
}

function choose(sources: Sources, local: string, io: Io): readonly Canary[] {
  if (sources.kind !== "loaded") return [];
  const address = parseAddress(local);
  return allowedCanaries(sources.ruleset, address === undefined ? undefined : { address }, maxCanaries, io.now());
}
