/** deploy/logrotate/sallyport with a real logrotate and a real Sallyport: the file moves on, and no line is lost. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { connectRaw } from "../support/raw-http.ts";
import { startServe, writeConfiguration } from "../support/serve-process.ts";
import { describeWithTool, requireTool } from "../support/tools.ts";

const run = promisify(execFile);
const shipped = fileURLToPath(new URL("../../deploy/logrotate/sallyport", import.meta.url));

describeWithTool(["logrotate"], "the log under logrotate", () => {
  test("every exchange is in the one file or the other, once", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sallyport-logrotate-"));
    const logs = join(directory, "log");
    await mkdir(logs, { mode: 0o750 });
    const file = join(logs, "sallyport.ndjson");
    const starts = await writeConfiguration({ log: { file } });
    const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
    const config = ["serve", "--config", join(starts, "sallyport.yaml")];
    const serve = await startServe([process.execPath, program, ...config], starts, file);
    const rules = changed(await readFile(shipped, "utf8"), [
      ["\n/var/log/sallyport/sallyport.ndjson {", `\n${file} {`],
      ["    su sallyport sallyport\n", ""],
      [
        "if systemctl is-active --quiet sallyport.service; then systemctl reload sallyport.service; fi",
        `kill -HUP ${serve.process.pid}`,
      ],
    ]);
    await writeFile(join(directory, "rules"), rules, { mode: 0o644 });
    const rotate = (): Promise<unknown> =>
      run(requireTool("logrotate")!, ["--force", "--state", join(directory, "state"), join(directory, "rules")]);

    await ask(serve.port, "before.example");
    await expect.poll(() => readFile(file, "utf8")).toContain("before.example");
    await rotate();
    await expect.poll(() => readdir(logs)).toHaveLength(2);
    await ask(serve.port, "after.example");
    await expect.poll(() => readFile(file, "utf8")).toContain("after.example");

    const [moved = ""] = (await readdir(logs)).filter((name) => name !== "sallyport.ndjson");
    const both = (await readFile(join(logs, moved), "utf8")) + (await readFile(file, "utf8"));
    for (const host of ["before.example", "after.example"]) expect(both.split(`"${host}"`)).toHaveLength(2);
    expect(await readFile(file, "utf8")).not.toContain("before.example");
    serve.process.kill("SIGTERM");
    expect(await serve.exited).toBe(0);
    await rm(directory, { recursive: true });
    await rm(starts, { recursive: true });
  });
});

function changed(text: string, changes: readonly (readonly [from: string, to: string])[]): string {
  return changes.reduce((before, [from, to]) => {
    if (!before.includes(from)) throw new Error(`${shipped} has no ${JSON.stringify(from)}`);
    return before.replace(from, to);
  }, text);
}

async function ask(port: number, host: string): Promise<void> {
  const client = await connectRaw(port);
  client.send(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`);
  expect((await client.readHead()).status).toBe(403);
  client.close();
}
