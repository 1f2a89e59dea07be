/** Processes that the benchmark starts, and its directory: all gone on every way out that a process can see. */
import { type ChildProcess, type ForkOptions, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { freePort } from "../../test/support/ports.ts";

export type Child = {
  readonly pid: number;
  /** What it said on stdout and stderr, the first 64 KiB. */
  readonly said: () => string;
  /** How it ended, with its last words; undefined while it runs. */
  readonly end: () => string | undefined;
  /** SIGTERM, then SIGKILL. May be called twice. */
  readonly stop: () => Promise<void>;
};

const running = new Set<ChildProcess>();
const directories = new Set<string>();
const startTimeoutMs = 20_000;
const stopTimeoutMs = 5_000;
const startAttempts = 3;
const maxSaid = 65_536;

/** Call it once, before anything is started. */
export function cleanUpAtExit(): void {
  process.once("exit", () => {
    for (const child of running) child.kill("SIGKILL");
    for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
}

/** A directory for the length of this process. Contenders that give up root have to come through it. */
export function createDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-load-"));
  directories.add(directory);
  chmodSync(directory, 0o711);
  return directory;
}

/** Starts a program; what goes wrong with it shows in `hasExited` and `said`. */
export function launch(program: string, args: readonly string[], cwd: string): Child {
  const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  const hear = (text: string): void => {
    if (said.length < maxSaid) said += text;
  };
  child.on("error", (error) => hear(error.message));
  child.stdout.setEncoding("utf8").on("data", hear);
  child.stderr.setEncoding("utf8").on("data", hear);
  register(child);
  return {
    pid: child.pid ?? 0,
    said: () => said,
    end: () =>
      hasExited(child) ? `it ended with ${child.exitCode ?? child.signalCode}: ${lastWords(said)}` : undefined,
    stop: () => stopChild(child),
  };
}

/** Starts a module of ours that talks with this process in messages. */
export function forkModule(path: string, args: readonly string[], options: ForkOptions = {}): ChildProcess {
  const child = fork(path, args, { serialization: "advanced", execArgv: process.execArgv, ...options });
  child.on("error", () => {});
  register(child);
  return child;
}

/** Sends a message and waits for the answer. Rejects where the process ends instead, or lets the deadline pass. */
export function askModule(child: ChildProcess, question: unknown, deadlineMs: number): Promise<unknown> {
  return new Promise((fulfil, reject) => {
    const settle = (act: () => void): void => {
      clearTimeout(deadline);
      child.off("message", onMessage).off("exit", onExit);
      act();
    };
    const onMessage = (answer: unknown): void => settle(() => fulfil(answer));
    const onExit = (code: number | null): void =>
      settle(() => reject(new Error(`a process of the benchmark ended with ${code ?? "a signal"}`)));
    const late = new Error(`a process of the benchmark did not answer within ${deadlineMs} ms`);
    const deadline = setTimeout(() => settle(() => reject(late)), deadlineMs);
    child.on("message", onMessage).on("exit", onExit);
    child.send(question as object);
  });
}

/** Ends a process and waits for that. */
export async function stopChild(child: ChildProcess): Promise<void> {
  if (hasExited(child)) return;
  const exited = once(child, "exit");
  const deadline = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
  child.kill("SIGTERM");
  await exited;
  clearTimeout(deadline);
}

/** Starts a server on a port that was free a moment ago, and waits until it takes connections. Rejects with its words. */
export async function startOnFreePort(
  start: (port: number) => Child,
): Promise<{ readonly port: number; readonly child: Child }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const child = start(port);
    if (await takesConnections(port, child)) return { port, child };
    await child.stop();
    // Somebody else may have taken the port meanwhile.
    if (attempt < startAttempts && /address (is )?already in use|EADDRINUSE/i.test(child.said())) continue;
    throw new Error(`it did not start: ${lastWords(child.said())}`);
  }
}

async function takesConnections(port: number, child: Child): Promise<boolean> {
  const until = performance.now() + startTimeoutMs;
  while (performance.now() < until && child.end() === undefined) {
    if (await isOpen(port)) return true;
    await pause(50);
  }
  return false;
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((fulfil) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => fulfil(false));
    socket.on("connect", () => {
      fulfil(true);
      socket.destroy();
    });
  });
}

function register(child: ChildProcess): void {
  running.add(child);
  child.once("exit", () => running.delete(child));
}

function lastWords(said: string): string {
  return said.trim().slice(-1000) || "it said nothing";
}

function hasExited(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}
