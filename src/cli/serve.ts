/** `sallyport serve`: runs the proxy until it is told to stop, and says what to try next. */
import { availableParallelism } from "node:os";
import type { Settings } from "../config/settings.ts";
import { type ConnectionSlots, openFilesFor, shareOpenFiles } from "../ingress/connection-slots.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { tryRequest, unsaid } from "../policy/trial.ts";
import { type Bound, type Proxy, createProxy } from "../proxy.ts";
import type { ReloadReport, Reread } from "../reload/report.ts";
import { createWorkers } from "../workers/primary.ts";
import type { ExitCode, Io } from "./io.ts";
import { createPackOffers } from "./pack-offers.ts";
import { type SourceWatch, rereadSources, sayReload, watchSources } from "./reload.ts";
import type { SourceOptions } from "./sources.ts";
import { counted, sayError, sayHint, sayProblems, sayWarning } from "./terminal.ts";

export const hostsFile = "/etc/hosts";

/** Resolves when the proxy has stopped. */
export async function runServe(options: SourceOptions, io: Io): Promise<ExitCode> {
  const { read, seen } = rereadSources(options, io, "start");
  if (read.kind === "problems") {
    sayProblems(io, read.problems);
    return 3;
  }
  const { settings, ruleset, recording, notices, isDefault = false } = read;
  sayProblems(
    io,
    notices.filter((notice) => notice.severity === "warning"),
  );
  const workers = settings.workers === "auto" ? availableParallelism() : settings.workers;
  const slots = slotsOf(settings, workers, io);
  sayConnections(io, settings, slots, workers);
  let watch: SourceWatch | undefined;
  const reread = (): Reread => {
    const again = rereadSources(options, io, "check");
    watch?.onRead(again.seen);
    return again.read;
  };
  const onReload = (report: ReloadReport): void => {
    watch?.onReport(report);
    sayReload(io, report);
  };
  try {
    const offerPacks = createPackOffers(io);
    const build = { version: io.version, nodeVersion: io.nodeVersion };
    const made = { settings, ruleset, slots, offerPacks, ...build, hostsFile, recording, reread, onReload };
    const proxy = workers === 1 ? createProxy(made) : createWorkers({ ...made, workers, options });
    const run = runUntilStopped(io, proxy);
    const bound = await run.bound;
    // With --json the start line of the log says it all, to a program.
    if (options.json !== true) sayStarted(io, isDefault, settings, ruleset, bound, workers);
    if (settings.reload.watch) watch = watchSources(io, settings.log.file, seen, () => void proxy.reload("watch"));
    await run.stopped;
  } catch (error) {
    sayError(io, startFailure(error));
    return 1;
  } finally {
    watch?.close();
  }
  return 0;
}

/**
 * Starts, with all signals heard from before the first socket on: the first SIGTERM or SIGINT drains, a second one ends
 * at once, and SIGHUP opens the log anew and reloads. What comes while it starts waits until it has.
 */
function runUntilStopped(io: Io, proxy: Proxy): { readonly bound: Promise<Bound>; readonly stopped: Promise<void> } {
  let begin = (_started: Promise<Bound>): void => {};
  const started = new Promise<Bound>((fulfil) => (begin = fulfil));
  // Where it does not start there is nothing to be told.
  const whenStarted = (run: () => void): void => void started.then(run, () => undefined);
  const stopped = new Promise<void>((fulfil) => {
    let stopping = false;
    const stop = (): void => {
      if (stopping) {
        whenStarted(() => void proxy.stop().then(fulfil));
        return;
      }
      stopping = true;
      io.stderr("sallyport: draining: running exchanges may finish; once more ends them\n");
      whenStarted(() => void proxy.drain().then(fulfil));
    };
    io.onSignal("SIGTERM", stop);
    io.onSignal("SIGINT", stop);
    io.onSignal("SIGHUP", () => whenStarted(() => void hangUp(io, proxy)));
  });
  begin(proxy.start());
  return { bound: started, stopped };
}

/** The log first, so that what comes of the reload stands in the new one. */
async function hangUp(io: Io, proxy: Proxy): Promise<void> {
  const failure = await proxy.reopenLog();
  if (failure !== undefined)
    sayError(io, `the log file could not be opened anew, the old one is still written: ${messageOf(failure)}`);
  await proxy.reload("signal");
}

/** Every worker has files of its own. */
function slotsOf({ limits }: Settings, workers: number, io: Io): ConnectionSlots {
  const slots = shareOpenFiles(limits.connections, io.openFiles());
  return { ...slots, connections: Math.min(limits.connections, workers * slots.connections) };
}

/** Also with --json: who reads the log alone finds the number in its start line. */
function sayConnections(io: Io, { limits }: Settings, { connections }: ConnectionSlots, workers: number): void {
  if (connections === limits.connections) return;
  const openFiles = String(io.openFiles());
  sayWarning(
    io,
    `${workers === 1 ? "this process" : `each of ${workers} workers`} may open ${openFiles} files: ${counted(connections, "connection")} at a time are served, not the ${limits.connections} of limits.connections, and others get a 503`,
  );
  sayHint(
    io,
    `${openFilesFor(Math.ceil(limits.connections / workers))} open files would do (LimitNOFILE= of the service, or ulimit -n); or set limits.connections to ${connections}`,
  );
}

function sayStarted(
  io: Io,
  isDefault: boolean,
  settings: Settings,
  ruleset: Ruleset,
  bound: Bound,
  workers: number,
): void {
  const packs = ruleset.files.filter((file) => file.kind === "pack").map((file) => file.name);
  const sites = ruleset.files.filter((file) => file.kind === "site").map((file) => file.name);
  const allowed = exampleAllowed(ruleset);
  const lines = [
    `sallyport ${io.version} listens on ${bound.listeners.join(", ")}; metrics and health on http://${bound.admin}`,
    `console: http://${reachable(bound.admin)}/`,
    ...(workers === 1 ? [] : [`workers: ${workers}`]),
    `policy: ${sites.join(", ")}, ${ruleset.rules.length} rules, hash ${ruleset.hash}`,
    `packs: ${packs.length === 0 ? "none" : packs.join(", ")}`,
    "",
    "try:",
    ...[...(allowed === undefined ? [] : [allowed]), "http://example.com/"].flatMap((url) =>
      curlThrough(settings, bound).map((curl) => `  ${curl} ${url}   # ${outcomeOf(ruleset, url, io.now())}`),
    ),
    `  curl http://${bound.admin}/metrics`,
    "",
  ];
  io.stderr(`${lines.join("\n")}\n`);
  if (isDefault) {
    sayWarning(
      io,
      "this is the default policy, the packs of every vendor. An RMM vendor's hosts serve every tenant of that vendor, an attacker's too: use only the packs you need",
    );
    sayHint(io, `${io.program} init --packs automox,windows-update writes a configuration of your own`);
  }
  const open = settings.listen.filter(({ kind, address }) => kind !== "pac" && !isLoopback(address.host));
  if (ruleset.defaultMode === "report" && open.length > 0) {
    sayWarning(
      io,
      "the policy is in report mode, which lets nearly everything pass, and a listener is open beyond loopback",
    );
  }
}

/** What becomes of a GET, as the policy in force decides it for a client on this machine. */
function outcomeOf(ruleset: Ruleset, target: string, nowMs: number): string {
  const { verdict, reason, would } = tryRequest(ruleset, { ...unsaid, method: "GET", target }, nowMs);
  if (would !== undefined) return `allowed, since report mode only records: ${reason}`;
  return verdict === "allow" ? "allowed" : `denied: ${reason}`;
}

/** A request that the policy in force allows: the first plain http endpoint of an exact or suffix pattern. */
function exampleAllowed(ruleset: Ruleset): string | undefined {
  for (const { rule, endpoints, deny } of ruleset.rules) {
    if (deny || rule.clients !== null || rule.paths !== null) continue;
    const pattern = rule.patterns.find((candidate) => candidate.kind !== "glob");
    const endpoint = endpoints.find(({ scheme }) => scheme === "http");
    if (pattern === undefined || endpoint === undefined) continue;
    const host = pattern.kind === "exact" ? pattern.text : pattern.apex;
    return `http://${host}${endpoint.port === 80 ? "" : `:${endpoint.port}`}/`;
  }
  return undefined;
}

/** How curl is pointed at the first listener that a client can be pointed at; none where there is none. */
function curlThrough({ listen }: Settings, { listeners }: Bound): readonly string[] {
  const at = listen.findIndex(({ kind, proxyProtocol }) => kind === "proxy" && proxyProtocol === null);
  const [settings, address] = [listen[at], listeners[at]];
  if (settings === undefined || address === undefined) return [];
  const { tls, auth } = settings;
  const scheme = tls === undefined ? "http" : "https";
  const certificate = tls?.clientCa === undefined ? "" : " --proxy-cert FILE --proxy-key FILE";
  const user = auth === undefined ? "" : " --proxy-user NAME";
  return [`curl -x ${scheme}://${reachable(address)}${certificate}${user}`];
}

/** What a client on this machine can type: a listener on every address is reached by loopback. */
function reachable(address: string): string {
  return address.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
}

function isLoopback(host: string): boolean {
  return host.startsWith("127.") || host === "::1" || host === "localhost";
}

function startFailure(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const address =
    error instanceof Error && "address" in error
      ? `${String(error.address)}:${"port" in error ? String(error.port) : ""}`
      : "";
  if (code === "EADDRINUSE")
    return `${address} is in use: is another proxy running? --listen and --admin choose other addresses`;
  if (code === "EACCES") return `no permission to listen on ${address}`;
  if (code === "EADDRNOTAVAIL") return `${address} is no address of this machine`;
  return `the proxy did not start: ${messageOf(error)}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
