/** The unit and its two companions, as systemd reads them. None of it is started: there is no systemd where tests run. */
import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { defaultSettings } from "../../../src/config/read-settings.ts";
import { describeWithTool, requireTool } from "../../support/tools.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../..", import.meta.url));
const directory = `${root}deploy/systemd/`;
const unit = await readFile(`${directory}sallyport.service`, "utf8");
const readme = await readFile(`${root}deploy/README.md`, "utf8");

test("what it gives to stop is longer than a drain takes", () => {
  const [, seconds] = /^TimeoutStopSec=(\d+)$/m.exec(unit) ?? [];
  expect(Number(seconds) * 1000).toBeGreaterThan(defaultSettings.limits.drainTimeoutMs);
});

test("files enough for the default limit of connections", () => {
  const [, files] = /^LimitNOFILE=(\d+)$/m.exec(unit) ?? [];
  expect(Number(files)).toBeGreaterThanOrEqual(2 * defaultSettings.limits.connections + 1200);
});

test("it may ask for the machine's own addresses, which the check of own listeners needs", () => {
  expect(unit).toMatch(/^RestrictAddressFamilies=.*\bAF_NETLINK\b/m);
});

describeWithTool(["systemd-analyze", "systemd-sysusers", "systemd-tmpfiles"], "systemd reads", () => {
  let made = "";

  beforeAll(async () => {
    made = await mkdtemp(join(tmpdir(), "sallyport-systemd-"));
    await mkdir(join(made, "etc/sallyport/certs"), { recursive: true });
    await writeFile(join(made, "etc/sallyport/certs/proxy.key"), "", { mode: 0o644 });
    await copyFile(`${directory}sallyport.service`, join(made, "sallyport.service"));
    await chmod(join(made, "sallyport.service"), 0o644);
  });

  afterAll(() => rm(made, { recursive: true, force: true }));

  test("the unit, without a complaint", async () => {
    // Of what it starts it wants to see the program: that of this machine, wherever it is.
    const here = unit.replaceAll("/usr/bin/node", process.execPath);
    expect(here).not.toBe(unit.replaceAll("/usr/bin/node", ""));
    await writeFile(join(made, "sallyport.service"), here);
    const { stdout, stderr } = await run(requireTool("systemd-analyze")!, [
      "verify",
      "--man=no",
      join(made, "sallyport.service"),
    ]);
    expect((stdout + stderr).split("\n").filter((line) => line.includes("sallyport"))).toEqual([]);
  });

  test("its exposure, which is no worse than the README says", async () => {
    const args = ["security", "--offline=true", "--no-pager", join(made, "sallyport.service")];
    const { stdout } = await run(requireTool("systemd-analyze")!, args);
    const level = /Overall exposure level for sallyport\.service: (\d+\.\d+)/.exec(stdout)?.[1] ?? "";
    const [, stated] = /exposure level of (\d\.\d)/.exec(readme) ?? [];
    expect(Number(level)).toBeGreaterThan(0);
    expect(Number(level)).toBeLessThanOrEqual(Number(stated));
  });

  test("the user and the directories, with who may read them", async () => {
    await run(requireTool("systemd-sysusers")!, [`--root=${made}`, `${directory}sallyport.sysusers.conf`]);
    const users = await readFile(join(made, "etc/passwd"), "utf8");
    expect(users).toMatch(/^sallyport:x:\d+:\d+:Sallyport egress proxy:\/nonexistent:\/usr\/sbin\/nologin$/m);
    if (process.getuid?.() !== 0) return;
    await run(requireTool("systemd-tmpfiles")!, ["--create", `--root=${made}`, `${directory}sallyport.tmpfiles.conf`]);
    const [, uid, gid] = /^sallyport:x:(\d+):(\d+):/m.exec(users) ?? [];
    for (const [path, mode, owner] of [
      ["etc/sallyport", 0o750, 0],
      ["etc/sallyport/policies", 0o750, 0],
      ["etc/sallyport/certs", 0o750, 0],
      ["etc/sallyport/certs/proxy.key", 0o640, 0],
      ["var/log/sallyport", 0o750, Number(uid)],
    ] as const) {
      const status = await stat(join(made, path));
      expect([path, status.mode & 0o777, status.uid, status.gid]).toEqual([path, mode, owner, Number(gid)]);
    }
  });
});
