/** A Sallyport that is started by any command: from a tarball, in namespaces, as another user. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { stringify } from "yaml";

export type ServeProcess = {
  readonly process: ChildProcess;
  /** Of the first listener, and of the admin server. */
  readonly port: number;
  readonly adminPort: number;
  /** What it said to a person. */
  readonly stderr: () => string;
  /** The exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals | null>;
};

const startTimeoutMs = 20_000;

/**
 * Starts `command` and waits for the start line on its standard output, or in `logFile`. Rejects with what it said where
 * none comes.
 */
export async function startServe(command: readonly string[], cwd: string, logFile?: string): Promise<ServeProcess> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "" },
  });
  const killAtExit = (): boolean => child.kill("SIGKILL");
  process.once("exit", killAtExit);
  child.once("exit", () => process.removeListener("exit", killAtExit));
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const exited = new Promise<number | NodeJS.Signals | null>((fulfil) =>
    child.once("exit", (code, signal) => fulfil(code ?? signal)),
  );
  const late = AbortSignal.timeout(startTimeoutMs);
  const started =
    logFile === undefined
      ? new Promise<string>((fulfil) =>
          createInterface(child.stdout).on("line", (line) => isStart(line) && fulfil(line)),
        )
      : startLineOf(logFile, late);
  const line = await Promise.race([started, exited, once(late, "abort")]);
  if (typeof line !== "string" || !line.startsWith("{")) {
    child.kill("SIGKILL");
    throw new Error(`sallyport did not start (${String(line)}):\n${errors}`);
  }
  const { listen, admin } = JSON.parse(line) as { listen: string[]; admin: string };
  return { process: child, port: portOf(listen[0]), adminPort: portOf(admin), stderr: () => errors, exited };
}

/** A directory with a configuration on free loopback ports that everyone may read, and a policy with one rule. */
export async function writeConfiguration(settings: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-serve-"));
  await mkdir(join(directory, "policies"));
  const rules = [{ id: "web", hosts: ["web.example.com"], expect: "http" }];
  await writeFile(join(directory, "policies", "site.yaml"), stringify({ version: 1, name: "site", rules }));
  const all = {
    version: 1,
    listen: [{ kind: "proxy", address: "127.0.0.1:0" }],
    admin: { address: "127.0.0.1:0" },
    policy: ["policies/site.yaml"],
    ...settings,
  };
  await writeFile(join(directory, "sallyport.yaml"), stringify(all));
  return directory;
}

function isStart(line: string): boolean {
  return line.includes('"event":"start"');
}

async function startLineOf(path: string, late: AbortSignal): Promise<string> {
  while (!late.aborted) {
    const text = await readFile(path, "utf8").catch(() => "");
    const line = text.split("\n").slice(0, -1).find(isStart);
    if (line !== undefined) return line;
    await pause(20);
  }
  return "";
}

function portOf(address = ""): number {
  return Number(address.split(":").at(-1));
}
