/** A real Sallyport process on free loopback ports, with files of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";

export type LogLine = Readonly<Record<string, unknown>>;

export type Sallyport = {
  readonly port: number;
  readonly adminPort: number;
  readonly process: ChildProcess;
  /** The directory of its files. */
  readonly directory: string;
  /** All log lines so far. */
  readonly log: readonly LogLine[];
  /** What it said to a person. */
  readonly stderr: () => string;
  /** The first line that satisfies the condition, now or later. Rejects after `timeoutMs`. */
  readonly logged: (matches: (line: LogLine) => boolean, timeoutMs?: number) => Promise<LogLine>;
  /** The value of a series of /metrics, as `name{label="x"}` is printed; undefined without it. */
  readonly metric: (series: string) => Promise<number | undefined>;
  /** SIGTERM, then the exit code. */
  readonly stop: () => Promise<number | null>;
};

export type SallyportOptions = {
  /** A site policy: text, or a value that is written as YAML (version and name are added). */
  readonly policy: string | Readonly<Record<string, unknown>>;
  /** More keys of sallyport.yaml. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Arguments for node, before the program. */
  readonly nodeArguments?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** `ulimit -n` that it is started under; needs a shell. */
  readonly openFiles?: number;
};

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const startTimeoutMs = 15_000;

/** Starts it and waits until it listens. Needs a build, which `npm test` makes first. */
export async function startSallyport(options: SallyportOptions): Promise<Sallyport> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-test-"));
  const policy =
    typeof options.policy === "string" ? options.policy : stringify({ version: 1, name: "site", ...options.policy });
  await writeFile(join(directory, "site.yaml"), policy);
  const settings = {
    version: 1,
    listen: [{ kind: "proxy", address: "127.0.0.1:0" }],
    admin: { address: "127.0.0.1:0" },
    policy: ["site.yaml"],
    ...options.settings,
  };
  await writeFile(join(directory, "sallyport.yaml"), stringify(settings));
  const command = [
    ...(options.openFiles === undefined ? [] : ["sh", "-c", `ulimit -n ${options.openFiles} && exec "$0" "$@"`]),
    process.execPath,
    ...(options.nodeArguments ?? []),
    program,
    "serve",
    "--config",
    join(directory, "sallyport.yaml"),
  ];
  const child = spawn(command[0]!, command.slice(1), {
    cwd: directory,
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", ...options.env },
  });
  const log: LogLine[] = [];
  const waiting = new Set<() => void>();
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  createInterface(child.stdout).on("line", (text) => {
    log.push(JSON.parse(text) as LogLine);
    for (const wake of waiting) wake();
  });
  const exited = new Promise<number | null>((fulfil) => child.once("exit", (code) => fulfil(code)));
  const logged = (matches: (line: LogLine) => boolean, timeoutMs = 10_000): Promise<LogLine> =>
    new Promise((fulfil, reject) => {
      const look = (): void => {
        const line = log.find(matches);
        if (line === undefined) return;
        clearTimeout(timer);
        waiting.delete(look);
        fulfil(line);
      };
      const timer = setTimeout(() => {
        waiting.delete(look);
        reject(new Error(`no such log line among:\n${log.map((line) => JSON.stringify(line)).join("\n")}\n${errors}`));
      }, timeoutMs);
      waiting.add(look);
      look();
    });
  const started = logged((line) => line["event"] === "start", startTimeoutMs);
  const first = await Promise.race([started, exited.then(() => undefined)]).catch(() => undefined);
  if (first === undefined) {
    child.kill("SIGKILL");
    throw new Error(`sallyport did not start:\n${errors}`);
  }
  const port = Number(
    String((first["listen"] as readonly string[])[0])
      .split(":")
      .at(-1),
  );
  const adminPort = Number(String(first["admin"]).split(":").at(-1));
  return {
    port,
    adminPort,
    process: child,
    directory,
    log,
    stderr: () => errors,
    logged,
    metric: async (series) => {
      const response = await fetch(`http://127.0.0.1:${adminPort}/metrics`);
      const line = (await response.text()).split("\n").find((text) => text.startsWith(`${series} `));
      return line === undefined ? undefined : Number(line.slice(series.length + 1));
    },
    stop: async () => {
      child.kill("SIGTERM");
      const code = await exited;
      await rm(directory, { recursive: true, force: true });
      return code;
    },
  };
}
