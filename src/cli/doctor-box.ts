/** What `doctor` checks on the machine of the proxy: open files, the log, the admin server, names. */
import { accessSync, constants } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import type { Settings } from "../config/settings.ts";
import { createResolver } from "../egress/resolver.ts";
import { openFilesFor, shareOpenFiles } from "../ingress/connection-slots.ts";
import type { Host } from "../names/hostname.ts";
import { type Finding, doubtful, fine, skipped, wrong } from "./doctor-report.ts";
import { authorityFromHere } from "./from-here.ts";
import type { Io } from "./io.ts";
import { hostsFile } from "./serve.ts";

/** Of the user that asks, who should be the one that the proxy runs as. */
export function checkLimits({ limits, workers }: Settings, io: Io): readonly Finding[] {
  const open = io.openFiles();
  const processes = workers === "auto" ? availableParallelism() : workers;
  const served = processes * shareOpenFiles(limits.connections, open).connections;
  if (served >= limits.connections)
    return [fine("limits", `${limits.connections} connections at a time; open files: ${open ?? "no limit known"}`)];
  return [
    doubtful(
      "limits",
      `a process of this user may open ${open} files: ${served} connections at a time, not the ${limits.connections} of limits.connections`,
      `LimitNOFILE=${openFilesFor(Math.ceil(limits.connections / processes))} in the service, or ulimit -n; or set limits.connections to ${served}`,
    ),
  ];
}

/** Nothing is written: the file, or the directory that it would be made in, is asked for its permissions. */
export function checkLog({ log }: Settings, io: Io): Finding {
  if (log.file === "-") return fine("log", "goes to standard output");
  const path = isAbsolute(log.file) ? log.file : join(io.cwd, log.file);
  const isThere = io.fileExists(path);
  const directory = dirname(path);
  try {
    accessSync(isThere ? path : directory, constants.W_OK);
    return fine("log", `${path} can be written${isThere ? "" : " (it is not there yet)"}`);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    const what = isThere ? path : `the directory ${directory}`;
    return code === "ENOENT"
      ? wrong("log", `the directory ${directory} does not exist`, `make it, and give it to the user of the proxy`)
      : wrong(
          "log",
          `${what} cannot be written by this user (${code})`,
          "chown it to the user of the proxy, or ask again as that user",
        );
  }
}

/** `/readyz` of the admin server. */
export async function checkAdmin({ admin }: Settings, timeoutMs: number): Promise<Finding> {
  if (admin.address.port === 0) return skipped("admin", "admin.address has port 0, so that nobody knows where it is");
  const url = `http://${authorityFromHere(admin.address)}/readyz`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: "error" });
    await response.text();
    if (response.status === 200) return fine("admin", `${url} says ready`);
    if (response.status === 503)
      return wrong(
        "admin",
        `${url} says not ready`,
        "it is draining, or a worker is being replaced: look at the log for problem and drain",
      );
    return wrong(
      "admin",
      `${url} answers ${response.status}`,
      "another program has this port: admin.address chooses another",
    );
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const code =
      cause instanceof Error && "code" in cause ? String(cause.code) : cause instanceof Error ? cause.name : "";
    return wrong("admin", `${url} does not answer (${code})`, "is the proxy running, with this configuration?");
  }
}

/** The name of an allowed request, asked of the servers that the proxy asks. */
export async function checkResolving(
  { dns, connectTo }: Settings,
  host: Host | undefined,
  timeoutMs: number,
): Promise<Finding> {
  if (host === undefined || host.kind === "address") return skipped("resolve", "the allowed request has no name");
  const { name } = host;
  const isRouted = connectTo.some(
    ({ host: from }) => from === undefined || from.name === name || (from.wildcard && name.endsWith(`.${from.name}`)),
  );
  if (isRouted) return skipped("resolve", `connect_to says where ${name} is`);
  const resolver = createResolver({
    ...dns,
    timeoutMs: Math.min(dns.timeoutMs, timeoutMs),
    hostsFile,
    now: () => performance.now(),
    ipv6First: () => false,
    onLookup: () => {},
  });
  const answer = await resolver.resolve(name);
  resolver.close();
  const servers = dns.servers.length === 0 ? "the system's resolvers" : dns.servers.join(", ");
  if (answer.kind === "addresses") {
    const [first] = answer.addresses;
    return fine("resolve", `${name} is ${first?.text ?? "nowhere"} (${servers})`);
  }
  return wrong(
    "resolve",
    `${name} has no address: ${servers} ${answer.kind === "dns_timeout" ? "did not answer in time" : "could not say"}`,
    dns.servers.length === 0
      ? "mend the resolvers of this machine, or name some in dns.servers; without internet, this is expected"
      : "are the addresses in dns.servers right, and may this machine ask them (UDP and TCP 53)?",
  );
}
