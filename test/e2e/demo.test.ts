/** `npm run demo` as a newcomer runs it: it shows everything, ends by itself or at Ctrl-C, and leaves nothing behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { connectRaw } from "../support/raw-http.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { scripts } = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as { scripts: Record<string, string> };

let demo: ChildProcess | undefined;

afterEach(() => {
  demo?.kill("SIGKILL");
});

test("it shows what is allowed, what is denied, the log and the metrics, and ends by itself", async () => {
  const { exited, said } = start();
  expect(await exited).toBe(0);
  const text = said();
  for (const sign of [
    /^console {2}http:\/\/127\.0\.0\.1:\d+\/$/m,
    /^ALLOWED: /m,
    /48 times GET http:\/\/tlu\.dl\.delivery\.mp\.microsoft\.com\/.*\n +206 Partial Content, 1048576 bytes$/m,
    /101 Switching Protocols, then: Control Room heard/,
    /^DENIED: /m,
    /CONNECT tlu\.dl\.delivery\.mp\.microsoft\.com:443 .*\n +403 Denied: scheme_mismatch [0-9A-Z]{5}-[0-9A-Z]{5}$/m,
    /200, then TLS alert 112$/m,
    /^ {2}\{"time":.*"verdict":"allow".*"rule":"windows-update\/payload".*"status":206/m,
    /^ {2}sallyport_decisions_total\{verdict="deny",reason="no_rule",mode="enforce"\} [1-9]/m,
    /^stopped after .* nothing is left running$/m,
  ]) {
    expect(text).toMatch(sign);
  }
  await expect(connectRaw(portIn(text))).rejects.toThrow(/ECONNREFUSED/);
});

test("Ctrl-C ends it at once", async () => {
  const { exited, said, until } = start();
  await until(/^ALLOWED/m);
  demo?.kill("SIGINT");
  expect(await exited).toBe(0);
  expect(said()).toMatch(/nothing is left running\n$/);
  expect(said()).not.toMatch(/^METRICS/m);
  await expect(connectRaw(portIn(said()))).rejects.toThrow(/ECONNREFUSED/);
});

/** Runs what package.json says, without npm between. */
function start(): {
  readonly exited: Promise<number | null>;
  readonly said: () => string;
  readonly until: (pattern: RegExp) => Promise<void>;
} {
  const [, ...args] = (scripts["demo"] ?? "").split(" ");
  const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  demo = child;
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  return {
    exited: once(child, "close").then(([code]) => code as number | null),
    said: () => text,
    until: async (pattern) => {
      while (!pattern.test(text)) await once(child.stdout, "data");
    },
  };
}

function portIn(text: string): number {
  return Number(/^proxy +127\.0\.0\.1:(\d+)/m.exec(text)?.[1]);
}
