/** What `init` prints, done: each command as it stands, from the first file to a policy that is enforced. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../support/ports.ts";
import { describeWithTool } from "../support/tools.ts";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

type Ended = { readonly exit: number | null; readonly stdout: string; readonly stderr: string };
type Step = { readonly purpose: string; readonly commands: readonly string[] };

describeWithTool(["curl", "sed", "grep"], "what init tells to do next", () => {
  let root: string;
  let directory: string;
  let origin: Server;
  let adminPort: number;
  let listenPort: number;
  const running = new Set<ChildProcess>();

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "sallyport-init-"));
    directory = join(root, "site");
    mkdirSync(directory);
    mkdirSync(join(root, "bin"));
    writeFileSync(join(root, "bin", "sallyport"), `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
    chmodSync(join(root, "bin", "sallyport"), 0o755);
    origin = createServer((_, response) => response.end("from the origin"));
    origin.listen(0, "127.0.0.1");
    await once(origin, "listening");
    listenPort = await freePort();
    adminPort = await freePort();
  });
  afterAll(async () => {
    for (const child of running) child.kill("SIGKILL");
    origin.close();
    await once(origin, "close");
    rmSync(root, { recursive: true, force: true });
  });

  // The admin port is the one key that a test cannot leave as it is: it is the same for everybody.
  const env = (): NodeJS.ProcessEnv => ({
    PATH: `${join(root, "bin")}:${process.env["PATH"]}`,
    SALLYPORT_ADMIN: `127.0.0.1:${adminPort}`,
  });

  const shell = async (command: string): Promise<Ended> => {
    const child = spawn("sh", ["-c", command], { cwd: directory, env: env(), stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const [exit] = (await once(child, "close")) as [number | null];
    return { exit, stdout, stderr };
  };

  /** Starts `sallyport serve …` as it is told, and waits until it says that it listens. */
  const serve = async (command: string): Promise<() => Promise<void>> => {
    const child = spawn("sh", ["-c", `exec ${command}`], {
      cwd: directory,
      env: env(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    running.add(child);
    const exited = once(child, "exit");
    let said = "";
    await new Promise<void>((fulfil, reject) => {
      child.stderr.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes(" listens on ")) fulfil();
      });
      child.once("exit", () => reject(new Error(said)));
    });
    return async () => {
      child.kill("SIGTERM");
      await exited;
      running.delete(child);
    };
  };

  const get = (host: string): Promise<Ended> =>
    shell(`curl -s -o /dev/null -w '%{http_code}' -x http://127.0.0.1:${listenPort} http://${host}/`);

  test("each command works, and the proxy serves what was written", { timeout: 60_000 }, async () => {
    const made = await shell(`sallyport init --packs automox,windows-update --listen 127.0.0.1:${listenPort} --json`);
    expect(made).toMatchObject({ exit: 0, stderr: "" });
    const steps = (JSON.parse(made.stdout) as { readonly next: readonly Step[] }).next;
    const commands = steps.flatMap((step) => step.commands);
    const command = (beginning: string): string => {
      const found = commands.find((one) => one.startsWith(beginning));
      if (found === undefined) throw new Error(`no ${beginning} among ${commands.join("\n")}`);
      return found;
    };

    expect(await shell(command("sallyport check"))).toMatchObject({ exit: 0 });
    const explained = await shell(command("sallyport explain"));
    expect(explained.stdout.split("\n")[0]).toBe("allowed");
    expect(explained.exit).toBe(0);

    // As it was written.
    let stop = await serve(command("sallyport serve"));
    const ready = await shell(command("curl http://127.0.0.1:9180/readyz").replace("9180", String(adminPort)));
    expect(ready).toMatchObject({ exit: 0, stdout: '{"status":"ready"}' });
    await stop();

    // The internet of this test is one origin.
    const { port } = origin.address() as AddressInfo;
    appendFileSync(join(directory, "sallyport.yaml"), `connect_to: ["*:80:127.0.0.1:${port}"]\n`);
    stop = await serve(command("sallyport serve"));
    expect(await shell(command("curl -x"))).toMatchObject({ exit: 0, stdout: "from the origin" });
    expect(await get("www.example.com")).toMatchObject({ stdout: "200" });
    await stop();
    const reported = await shell(command("grep"));
    expect(reported.exit).toBe(0);
    expect(JSON.parse(reported.stdout)).toMatchObject({
      host: "www.example.com",
      would: "deny",
      reason: "no_rule",
      mode: "report",
    });

    expect(await shell(command("sed"))).toEqual({ exit: 0, stdout: "", stderr: "" });
    expect(readFileSync(join(directory, "policies", "site.yaml"), "utf8")).toContain("\n  mode: enforce\n");
    expect(await shell(command("sallyport check"))).toMatchObject({ exit: 0 });
    stop = await serve(command("sallyport serve"));
    expect(await get("www.example.com")).toMatchObject({ stdout: "403" });
    expect(await shell(command("curl -x"))).toMatchObject({ exit: 0, stdout: "from the origin" });
    await stop();
  });

  test("a second init touches nothing", async () => {
    const before = readFileSync(join(directory, "sallyport.yaml"), "utf8");
    const { exit, stdout } = await shell("sallyport init --packs digicert");
    expect([exit, stdout]).toEqual([1, ""]);
    expect(readFileSync(join(directory, "sallyport.yaml"), "utf8")).toBe(before);
  });
});
