/** `explain` as a program: exit codes, streams, and a long list of requests through real pipes. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-explain-"));
  writeFileSync(join(directory, "broken.yaml"), "version: 1\nname: site\nrules: [{ id: x }]\n");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

type Ended = { readonly exit: number | null; readonly stdout: string; readonly stderr: string };

/** Runs it in an empty directory, so with the default policy. Input is written as the pipe takes it. */
function run(args: readonly string[], input = ""): Promise<Ended> {
  return new Promise((fulfil, reject) => {
    const child = spawn(process.execPath, [program, ...args], { cwd: directory, env: { PATH: process.env["PATH"] } });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
    child.once("error", reject);
    child.once("close", (exit) => {
      fulfil({ exit, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() });
    });
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

describe("explain", () => {
  const cases: Readonly<Record<string, readonly [args: readonly string[], exit: number, line: string]>> = {
    "an allowed request": [
      ["GET http://au.download.windowsupdate.com/x.cab", "--range", "bytes=0-1", "--client", "10.20.1.4"],
      0,
      "allowed",
    ],
    "an allowed tunnel": [
      ["CONNECT fe2.update.microsoft.com:443", "--sni", "fe2.update.microsoft.com", "--tls", "1.2"],
      0,
      "allowed",
    ],
    "a denied request": [["CONNECT tlu.dl.delivery.mp.microsoft.com:443"], 1, "denied: scheme_mismatch"],
    "a denied tunnel": [["CONNECT fe2.update.microsoft.com:443", "--no-sni"], 1, "denied: sni_missing"],
  };
  test.each(Object.entries(cases))("answers %s on stdout", async (_, [args, exit, line]) => {
    const ended = await run(["explain", ...args]);
    expect(ended.stdout.split("\n")[0]).toBe(line);
    expect(ended.exit).toBe(exit);
  });

  test("exits 2 on a malformed request line, with a hint", async () => {
    const { exit, stdout, stderr } = await run(["explain", "https://fe2.update.microsoft.com/"]);
    expect([exit, stdout]).toEqual([2, ""]);
    expect(stderr).toBe(
      'sallyport: error: "https://fe2.update.microsoft.com/" is no request\nsallyport: hint: write "CONNECT fe2.update.microsoft.com:443"\n',
    );
  });

  test("exits 3 on an invalid file", async () => {
    const { exit, stdout, stderr } = await run(["explain", "CONNECT a.example:443", "--policy", "broken.yaml"]);
    expect([exit, stdout]).toEqual([3, ""]);
    expect(stderr).toContain("broken.yaml:3:");
  });

  test("its help shows an example", async () => {
    const { exit, stdout } = await run(["explain", "--help"]);
    expect(exit).toBe(0);
    expect(stdout).toContain(
      'sallyport explain "GET http://au.download.windowsupdate.com/x.cab" --range bytes=0-1 --client 10.20.1.4',
    );
  });
});

describe("explain --ndjson", () => {
  const request = (i: number): object => {
    const client = `10.20.${(i >> 8) & 255}.${i & 255}`;
    if (i % 3 === 0)
      return { method: "GET", target: `http://au.download.windowsupdate.com/${i}.cab`, range: "bytes=0-1", client };
    if (i % 3 === 1) return { method: "CONNECT", target: "tlu.dl.delivery.mp.microsoft.com:443", client };
    return {
      method: "CONNECT",
      target: "fe2.update.microsoft.com:443",
      sni: "fe2.update.microsoft.com",
      tls: "1.1",
      client,
    };
  };
  const reasons = ["allowed", "scheme_mismatch", "tls_version"];

  test("answers 100,000 lines in order, in a few seconds", async () => {
    const count = 100_000;
    const input = Array.from({ length: count }, (_, i) => `${JSON.stringify(request(i))}\n`).join("");
    const begun = performance.now();
    const { exit, stdout, stderr } = await run(["explain", "--ndjson"], input);
    const seconds = (performance.now() - begun) / 1000;
    expect([exit, stderr]).toEqual([0, ""]);
    const answers = stdout.trimEnd().split("\n");
    expect(answers).toHaveLength(count);
    const wrong = answers.findIndex((line, i) => (JSON.parse(line) as { reason: string }).reason !== reasons[i % 3]);
    expect(wrong).toBe(-1);
    // It takes one or two; the rest is for a busy machine.
    expect(seconds).toBeLessThan(15);
  });

  test("answers as interface.md shows it", async () => {
    const { stdout } = await run(
      ["explain", "--ndjson"],
      `${JSON.stringify(request(1))}\n${JSON.stringify(request(2))}\nx`,
    );
    expect(stdout).toBe(
      `{"verdict":"deny","reason":"scheme_mismatch","rule":"windows-update/payload","nearest":"windows-update/payload","stage":"request","status":403}
{"verdict":"deny","reason":"tls_version","rule":"windows-update/update-services","nearest":"windows-update/update-services","stage":"tunnel","alert":70}
{"verdict":"deny","reason":"bad_request","stage":"request","status":400}
`,
    );
  });

  test("is quiet where its reader goes away", async () => {
    const child = spawn(process.execPath, [program, "explain", "--ndjson"], {
      cwd: directory,
      env: { PATH: process.env["PATH"] },
    });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const closed = new Promise<void>((fulfil) => child.once("close", () => fulfil()));
    child.stdout.once("data", () => child.stdout.destroy());
    child.stdin.on("error", () => {});
    child.stdin.end(`${JSON.stringify(request(0))}\n`.repeat(20_000));
    await closed;
    expect(stderr).toBe("");
  });
});
