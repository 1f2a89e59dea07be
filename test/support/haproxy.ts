/** A real HAProxy, configured by the file of deploy/haproxy with addresses of this machine put in. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "./ports.ts";
import { requireTool } from "./tools.ts";

export type HaproxyServer = { readonly port: number; readonly adminPort: number };

export type Haproxy = {
  readonly port: number;
  /** What its checks say of each server, in order: `UP`, `DOWN`, `UP 1/2`, … */
  readonly states: () => Promise<readonly string[]>;
  /** Connections that each server was given so far. */
  readonly connections: () => Promise<readonly number[]>;
  readonly stop: () => Promise<void>;
};

const shipped = fileURLToPath(new URL("../../deploy/haproxy/haproxy.cfg", import.meta.url));
const startTimeoutMs = 10_000;

/** `proxyProtocol: false` takes `send-proxy-v2` out. Throws where the program is missing: use describeWithTool. */
export async function startHaproxy(
  servers: readonly [HaproxyServer, HaproxyServer],
  { proxyProtocol }: { readonly proxyProtocol: boolean },
): Promise<Haproxy> {
  const program = requireTool("haproxy");
  if (program === undefined) throw new Error("haproxy is not on PATH: use describeWithTool");
  const directory = await mkdtemp(join(tmpdir(), "sallyport-haproxy-"));
  const stats = join(directory, "stats.sock");
  const port = await freePort();
  const [one, two] = servers;
  const changes: readonly (readonly [from: string, to: string])[] = [
    ["global\n", `global\n    stats socket ${stats} mode 600 level admin\n`],
    ["bind :3128", `bind 127.0.0.1:${port}`],
    ["server one 10.0.0.5:3128", `server one 127.0.0.1:${one.port} port ${one.adminPort}`],
    ["server two 10.0.0.6:3128", `server two 127.0.0.1:${two.port} port ${two.adminPort}`],
    ["maxconn 40000", "maxconn 1000"],
    // Ten times as often, so that a test does not wait for it.
    ["inter 1s", "inter 100ms"],
    ...(proxyProtocol ? [] : [[" send-proxy-v2\n", "\n"] as const]),
  ];
  let text = await readFile(shipped, "utf8");
  for (const [from, to] of changes) {
    if (!text.includes(from)) throw new Error(`${shipped} has no ${JSON.stringify(from)}`);
    text = text.replace(from, to);
  }
  await writeFile(join(directory, "haproxy.cfg"), text);
  const child = spawn(program, ["-db", "-f", join(directory, "haproxy.cfg")], { stdio: ["ignore", "ignore", "pipe"] });
  const killAtExit = (): boolean => child.kill("SIGKILL");
  process.once("exit", killAtExit);
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const column = async (name: string): Promise<readonly string[]> => {
    const [head = "", ...rows] = (await ask(stats, "show stat")).replace(/^# /, "").trim().split("\n");
    const at = head.split(",").indexOf(name);
    return rows.flatMap((row) => {
      const [backend = "", server = "", ...rest] = row.split(",");
      return backend === "sallyports" && server !== "BACKEND" ? [[backend, server, ...rest][at] ?? ""] : [];
    });
  };
  const stop = async (): Promise<void> => {
    await end(child);
    process.removeListener("exit", killAtExit);
    await rm(directory, { recursive: true, force: true });
  };
  const until = Date.now() + startTimeoutMs;
  for (;;) {
    try {
      await column("status");
      break;
    } catch (error) {
      if (Date.now() < until && child.exitCode === null) {
        await pause(20);
        continue;
      }
      await stop();
      throw new Error(`haproxy did not start:\n${errors}`, { cause: error });
    }
  }
  return {
    port,
    states: () => column("status"),
    connections: async () => (await column("stot")).map(Number),
    stop,
  };
}

/** One command to the stats socket, and all that it answers. */
async function ask(path: string, command: string): Promise<string> {
  const socket = connect(path);
  socket.end(`${command}\n`);
  let answer = "";
  for await (const chunk of socket as AsyncIterable<Buffer>) answer += chunk.toString();
  return answer;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}
