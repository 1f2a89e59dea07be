#!/usr/bin/env node
/** argv and environment in, exit code out: the only place for `process`. */
import cluster from "node:cluster";
import { createReadStream, existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Io } from "./cli/io.ts";
import { runProgram } from "./cli/program.ts";
import { runServeWorker } from "./cli/serve-worker.ts";
import { disk } from "./config/disk.ts";

const packageFile = fileURLToPath(new URL("../package.json", import.meta.url));

// A reader that has gone away (`sallyport packs | head -1`) is no error.
let readerGone = false;
process.stdout.on("error", () => {
  readerGone = true;
});
process.stderr.on("error", () => {});

const io: Io = {
  stdout: (text) => void process.stdout.write(text),
  stdoutReady: () =>
    new Promise((fulfil) => {
      if (readerGone || !process.stdout.writableNeedDrain) {
        fulfil(!readerGone);
        return;
      }
      const settle = (): void => {
        process.stdout.off("drain", settle).off("error", settle);
        fulfil(!readerGone);
      };
      process.stdout.once("drain", settle).once("error", settle);
    }),
  stderr: (text) => void process.stderr.write(text),
  stdin: process.stdin,
  env: process.env,
  cwd: process.cwd(),
  disk,
  openRead: (path) => createReadStream(path),
  createFile: (path, text) => {
    try {
      writeFileSync(path, text, { flag: "wx" });
      return true;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
      throw error;
    }
  },
  fileExists: existsSync,
  onSignal: (signal, handler) => void process.on(signal, handler),
  now: Date.now,
  policiesDir: fileURLToPath(new URL("../policies", import.meta.url)),
  // Whoever was started by npm has no `sallyport` on the path.
  program: process.env["npm_command"] === undefined ? "sallyport" : "npx sallyport",
  version: versionOf(JSON.parse(readFileSync(packageFile, "utf8"))),
  nodeVersion: process.versions.node,
  openFiles,
};

try {
  if (cluster.isWorker) {
    await runServeWorker(io);
    // Nothing is left to do, and nothing may keep a process alive that no longer serves.
    process.exit(0);
  }
  process.exitCode = await runProgram(process.argv.slice(2), io);
} catch (error) {
  io.stderr(
    `sallyport: error: this is a bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  process.exitCode = 1;
}

/** Node has raised the soft limit to the hard one by now. Windows has no such limit. Takes some milliseconds. */
function openFiles(): number | undefined {
  if (process.report === undefined) return undefined;
  // Its connections would be listed with their names, which asks DNS.
  Object.assign(process.report, { excludeNetwork: true });
  let at: unknown = process.report.getReport();
  for (const key of ["userLimits", "open_files", "soft"]) {
    at = typeof at === "object" && at !== null ? new Map(Object.entries(at)).get(key) : undefined;
  }
  return typeof at === "number" ? at : undefined;
}

function versionOf(manifest: unknown): string {
  const version =
    typeof manifest === "object" && manifest !== null && "version" in manifest ? manifest.version : undefined;
  return typeof version === "string" ? version : "0.0.0";
}
