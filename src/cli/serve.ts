/** `sallyport serve`: runs the proxy until it is told to stop, and says what to try next. */
import { availableParallelism } from "node:os";
import { recordDisk } from "../config/recorded-disk.ts";
import type { Settings } from "../config/settings.ts";
import { type ConnectionSlots, openFilesFor, shareOpenFiles } from "../ingress/connection-slots.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { tryRequest, unsaid } from "../policy/trial.ts";
import { type Bound, type Proxy, createProxy } from "../proxy.ts";
import { createWorkers } from "../workers/primary.ts";
import type { ExitCode, Io } from "./io.ts";
import { createPackOffers } from "./pack-offers.ts";
import { type SourceOptions, loadSources } from "./sources.ts";
import { counted, sayError, sayHint, sayProblems, sayWarning } from "./terminal.ts";

export const hostsFile = "/etc/hosts";

/** Resolves when the proxy has stopped. */
export async function runServe(options: SourceOptions, io: Io): Promise<ExitCode> {
  const { disk, recording } = recordDisk(io.disk);
  const sources = loadSources(options, { ...io, disk }, "start");
  if (sources.kind === "failed") return sources.exit;
  const { settings, ruleset, notices } = sources;
  sayProblems(
    io,
    notices.filter((notice) => notice.severity === "warning"),
  );
  const workers = settings.workers === "auto" ? availableParallelism() : settings.workers;
  const slots = slotsOf(settings, workers, io);
  sayConnections(io, settings, slots, workers);
  let proxy: Proxy;
  let bound: Bound;
  try {
    const offerPacks = createPackOffers(io);
    const made = { settings, ruleset, slots, offerPacks, version: io.version, nodeVersion: io.nodeVersion, hostsFile };
    proxy = workers === 1 ? createProxy(made) : createWorkers({ ...made, workers, sources: { options, recording } });
    bound = await proxy.start();
  } catch (error) {
    sayError(io, startFailure(error));
    return 1;
  }
  // With --json the start line of the log says it all, to a program.
  if (options.json !== true) sayStarted(io, sources.isDefault, settings, ruleset, bound, workers);
  await untilStopped(io, proxy);
  return 0;
}

/** The first SIGTERM or SIGINT drains, a second one ends at once. */
function untilStopped(io: Io, proxy: Proxy): Promise<void> {
  return new Promise((fulfil) => {
    let stopping = false;
    const stop = (): void => {
      if (stopping) {
        void proxy.stop().then(fulfil);
        return;
      }
      stopping = true;
      io.stderr("sallyport: draining: running exchanges may finish; once more ends them\n");
      void proxy.drain().then(fulfil);
    };
    io.onSignal("SIGTERM", stop);
    io.onSignal("SIGINT", stop);
    io.onSignal("SIGHUP", () => {
      void proxy.reopenLog().then((failure) => {
        if (failure !== undefined)
          sayError(io, `the log file could not be opened anew, the old one is still written: ${messageOf(failure)}`);
      });
    });
  });
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
  const [proxy = ""] = bound.listeners;
  const allowed = exampleAllowed(ruleset);
  const lines = [
    `sallyport ${io.version} listens on ${bound.listeners.join(", ")}; metrics and health on http://${bound.admin}`,
    ...(workers === 1 ? [] : [`workers: ${workers}`]),
    `policy: ${sites.join(", ")}, ${ruleset.rules.length} rules, hash ${ruleset.hash}`,
    `packs: ${packs.length === 0 ? "none" : packs.join(", ")}`,
    "",
    "try:",
    ...[...(allowed === undefined ? [] : [allowed]), "http://example.com/"].map(
      (url) => `  curl -x http://${reachable(proxy)} ${url}   # ${outcomeOf(ruleset, url, io.now())}`,
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
  const open = settings.listen.filter((listener) => !isLoopback(listener.address.host));
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
