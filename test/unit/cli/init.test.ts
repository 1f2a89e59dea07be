import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { disk } from "../../../src/config/disk.ts";
import { loadPolicySet, loadSettings } from "../../../src/config/load.ts";
import { listPacks } from "../../../src/config/packs.ts";
import { defaultSettings } from "../../../src/config/read-settings.ts";
import { runPolicyTests } from "../../../src/config/run-tests.ts";
import { compileRuleset } from "../../../src/policy/compile.ts";
import { type Run, now, policiesDir, run } from "./run-program.ts";

const packsDir = `${policiesDir}/packs`;
const allPacks = listPacks(disk, packsDir).packs.map(({ name }) => name);
const written = ["policies", "policies/policy.schema.json", "policies/site.yaml", "sallyport.yaml"];

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "sallyport-init-"))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const createFile = (path: string, text: string): boolean => {
  if (existsSync(path)) return false;
  writeFileSync(path, text, { flag: "wx" });
  return true;
};
const init = (args: readonly string[], io: object = {}): Promise<Run> =>
  run(["init", ...args], { io: { cwd: directory, disk, fileExists: existsSync, createFile, ...io } });
const textOf = (path: string): string => readFileSync(join(directory, path), "utf8");
const there = (): readonly string[] => (readdirSync(directory, { recursive: true }) as string[]).sort();

const load = (policy = join(directory, "policies/site.yaml")) => {
  const loaded = loadPolicySet({ ...disk, files: [policy], packsDir });
  if (loaded.kind === "problems") throw new Error(JSON.stringify(loaded.problems));
  return { ...loaded, ruleset: compileRuleset(loaded.set) };
};
const settings = (path = join(directory, "sallyport.yaml")) => {
  const loaded = loadSettings({ ...disk, path, flags: {}, env: {} });
  if (loaded.kind === "problems") throw new Error(JSON.stringify(loaded.problems));
  return loaded.settings;
};

describe("init", () => {
  test("writes a configuration and a site policy in report mode, and says what to do next", async () => {
    const { exit, stdout, stderr } = await init(["--packs", "automox,windows-update", "--listen", "0.0.0.0:3128"]);
    expect(exit).toBe(0);
    expect(there()).toEqual(written);
    expect(stderr).toBe(
      "sallyport: warning: report mode lets nearly everything pass: until you enforce, let only your own clients reach a listener beyond loopback\n",
    );
    expect(stdout).toBe(`wrote sallyport.yaml
wrote policies/site.yaml
wrote policies/policy.schema.json

Next:
  1. see what the policy opens, and run its tests:
       sallyport check
  2. ask what becomes of a request, and why:
       sallyport explain "CONNECT automox-policy-files.s3.us-west-2.amazonaws.com:443" --tls 1.2
  3. run the proxy, in report mode; the log is one line of JSON for each exchange:
       sallyport serve > sallyport.log
  4. send something through it, from this machine:
       curl -x http://127.0.0.1:3128 http://emdl.ws.microsoft.com/
       curl http://127.0.0.1:9180/readyz
  5. point a client to it, with this machine's name for PROXY: a shell, or the services of Windows:
       export http_proxy=http://PROXY:3128 https_proxy=http://PROXY:3128
       netsh winhttp set proxy PROXY:3128
  6. after some days: what would enforcing deny? write rules for what you need of it:
       grep '"would":"deny"' sallyport.log
  7. enforce, then stop serve and start it again:
       sed -i 's/^  mode: report$/  mode: enforce/' policies/site.yaml
       sallyport check
`);
    expect(settings()).toEqual({
      ...defaultSettings,
      listen: [{ ...defaultSettings.listen[0]!, address: { host: "0.0.0.0", port: 3128 } }],
      policy: [join(directory, "policies/site.yaml")],
    });
    const { set, ruleset, notices } = load();
    expect(notices).toEqual([]);
    expect(ruleset.defaultMode).toBe("report");
    expect(set.files.map(({ name }) => name)).toEqual(["site", "automox", "windows-update"]);
    expect(textOf("policies/site.yaml").split("\n")[0]).toBe("# yaml-language-server: $schema=./policy.schema.json");
    expect(textOf("policies/policy.schema.json")).toBe((await run(["schema", "policy"])).stdout);
  });

  test("listens on loopback where nothing else is said, and then warns of nothing", async () => {
    const { stderr, stdout } = await init(["--packs", "automox"]);
    expect(stderr).toBe("");
    expect(stdout).not.toContain("PROXY");
    expect(settings().listen).toEqual(defaultSettings.listen);
  });

  test("tells its commands of another directory, which it makes", async () => {
    const { stdout } = await init(["--packs", "automox", "--dir", "new/my site"]);
    expect(there()).toEqual(["new", "new/my site", ...written.map((path) => `new/my site/${path}`)]);
    expect(stdout).toContain("wrote new/my site/sallyport.yaml\n");
    expect(stdout).toContain("sallyport serve --config 'new/my site/sallyport.yaml' > sallyport.log\n");
    expect(stdout).toContain("mode: enforce/' 'new/my site/policies/site.yaml'\n");
  });

  test("takes packs and addresses parted by blanks or commas, each pack once", async () => {
    const { stdout } = await init([
      "--packs",
      "automox",
      "digicert,automox",
      "--listen",
      "127.0.0.1:3128",
      "[::1]:3129",
      "--json",
    ]);
    expect(JSON.parse(stdout)).toMatchObject({
      packs: ["automox", "digicert"],
      listen: ["127.0.0.1:3128", "[::1]:3129"],
      mode: "report",
    });
    expect(settings().listen.map(({ address }) => address)).toEqual([
      { host: "127.0.0.1", port: 3128 },
      { host: "::1", port: 3129 },
    ]);
  });

  test("answers in JSON", async () => {
    const { stdout } = await init(["--packs", "automox", "--json"]);
    const answer = JSON.parse(stdout) as { readonly next: readonly { readonly commands: readonly string[] }[] };
    expect(answer).toMatchObject({ files: ["sallyport.yaml", "policies/site.yaml", "policies/policy.schema.json"] });
    expect(answer.next.flatMap(({ commands }) => commands)).toContain("sallyport serve > sallyport.log");
  });

  test.each(allPacks)("writes a policy of %s that loads, and passes its own tests in either mode", async (pack) => {
    expect((await init(["--packs", pack])).exit).toBe(0);
    const path = join(directory, "policies/site.yaml");
    const reporting = load();
    expect(runPolicyTests(reporting.ruleset, reporting.tests, now)).toEqual([]);
    const waits = pack === "automation-anywhere";
    expect(reporting.set.files.map(({ kind }) => kind)).toEqual(waits ? ["site"] : ["site", "pack"]);
    expect(reporting.tests).toHaveLength(waits ? 0 : 1);
    expect(reporting.notices.map(({ message }) => message)).toEqual(
      waits ? ["has neither rules nor packs: it allows nothing"] : [],
    );
    writeFileSync(path, textOf("policies/site.yaml").replace(/^ {2}mode: report$/m, "  mode: enforce"));
    const enforcing = load();
    expect(enforcing.ruleset.defaultMode).toBe("enforce");
    expect(runPolicyTests(enforcing.ruleset, enforcing.tests, now)).toEqual([]);
  });

  test("all packs together load as well, with those that need a value left in comments", async () => {
    expect((await init(["--packs", allPacks.join(",")])).exit).toBe(0);
    const { ruleset, tests, set } = load();
    expect(set.files).toHaveLength(allPacks.length);
    expect(runPolicyTests(ruleset, tests, now)).toEqual([]);
    expect(textOf("policies/site.yaml")).toContain(
      "  - { pack: trend-micro-workload-security, with: { region: all } }\n",
    );
  });

  test("each way to use a pack that needs a value works once its # is gone", async () => {
    await init(["--packs", "automation-anywhere,digicert"]);
    const text = textOf("policies/site.yaml");
    const lines = text.split("\n").filter((line) => line.startsWith("  # - { pack:"));
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      writeFileSync(join(directory, "policies/site.yaml"), text.replace(line, line.replace("# ", "")));
      expect(load().set.files.map(({ name }) => name)).toEqual(["site", "digicert", "automation-anywhere"]);
    }
  });

  test("alone it needs the # before use: gone too", async () => {
    await init(["--packs", "automation-anywhere"]);
    const text = textOf("policies/site.yaml").replace("# use:", "use:").replace("  # - { pack", "  - { pack");
    writeFileSync(join(directory, "policies/site.yaml"), text);
    expect(load().set.files.map(({ name }) => name)).toEqual(["site", "automation-anywhere"]);
  });

  test("every comment that is a key works once its # is gone", async () => {
    await init(["--packs", "automox"]);
    const config = join(directory, "sallyport.yaml");
    const keys = textOf("sallyport.yaml").replace(/^# ([a-z_]+: [[{a-z])/gm, "$1");
    expect(keys.match(/^[a-z_]+:/gm)).toEqual([
      "version:",
      "listen:",
      "admin:",
      "policy:",
      "via:",
      "dns:",
      "connect_to:",
      "limits:",
      "log:",
      "denials:",
    ]);
    writeFileSync(config, keys);
    expect(settings()).toEqual({ ...defaultSettings, policy: [join(directory, "policies/site.yaml")] });
    const policy = textOf("policies/site.yaml").replace(/^# ((clients|rules):|  )/gm, "$1");
    writeFileSync(join(directory, "policies/site.yaml"), policy);
    expect(load().set.groups.map(({ name }) => name)).toEqual(["servers", "kiosks"]);
    expect(load().set.files[0]?.rules.map(({ id }) => id)).toEqual(["wsus"]);
    writeFileSync(config, keys.replace("  # - { kind", "  - { kind"));
    expect(settings().listen[1]?.clients).toEqual(["servers"]);
  });

  test.each(["sallyport.yaml", "policies/site.yaml", "policies/policy.schema.json"])(
    "never overwrites %s, and then writes nothing",
    async (path) => {
      mkdirSync(join(directory, "policies"));
      writeFileSync(join(directory, path), "mine");
      const before = there();
      const { exit, stdout, stderr } = await init(["--packs", "automox"]);
      expect([exit, stdout]).toEqual([1, ""]);
      expect(stderr).toBe(
        `sallyport: error: ${path} exists and is never overwritten\nsallyport: hint: move it away first, or choose another directory with --dir; nothing was written\n`,
      );
      expect(there()).toEqual(before);
      expect(textOf(path)).toBe("mine");
    },
  );

  test("takes back what it wrote where somebody was faster with one of the files", async () => {
    const faster = (path: string, text: string): boolean =>
      path.endsWith("site.yaml") ? false : createFile(path, text);
    const { exit, stderr } = await init(["--packs", "automox"], { createFile: faster });
    expect(exit).toBe(1);
    expect(stderr).toContain("sallyport: error: policies/site.yaml exists");
    expect(there()).toEqual([]);
  });

  test.each([
    ["ENOSPC", "cannot be written: no space left"],
    ["EACCES", "cannot be written: permission denied"],
    ["EIO", "cannot be written (EIO)"],
  ])("takes back what it wrote on %s", async (code, failure) => {
    const failing = (path: string, text: string): boolean => {
      if (!path.endsWith("schema.json")) return createFile(path, text);
      if (code === "ENOSPC") createFile(path, text.slice(0, 100));
      throw Object.assign(new Error(code), { code });
    };
    const { exit, stdout, stderr } = await init(["--packs", "automox"], { createFile: failing });
    expect([exit, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(`sallyport: error: policies/policy.schema.json ${failure}; nothing was written\n`);
    expect(there()).toEqual([]);
  });

  test("says so where a file stands in the way of a directory", async () => {
    writeFileSync(join(directory, "policies"), "");
    const { exit, stderr } = await init(["--packs", "automox"]);
    expect(exit).toBe(1);
    expect(stderr).toContain("policies/site.yaml cannot be written: a part of the path is no directory");
    expect(there()).toEqual(["policies"]);
  });

  const refusals: Readonly<Record<string, readonly [args: readonly string[], stderr: string]>> = {
    "a pack that is misspelt": [["--packs", "automux"], 'error: there is no pack "automux": did you mean automox?\n'],
    "the beginning of a pack's name": [
      ["--packs", "action1"],
      'error: there is no pack "action1": did you mean action1-eu or action1-na?\n',
    ],
    "a pack that is nothing like one": [["--packs", "automox,postgres"], 'error: there is no pack "postgres"\n'],
    "an address without a port": [
      ["--packs", "automox", "--listen", "0.0.0.0"],
      "error: --listen 0.0.0.0 is no address with a port",
    ],
    "a port alone": [["--packs", "automox", "--listen", "3128"], "hint: write --listen 127.0.0.1:3128\n"],
    "a port that nobody could be told": [
      ["--packs", "automox", "--listen", "127.0.0.1:0"],
      "error: --listen 127.0.0.1:0 has no port that clients could be told\n",
    ],
    "the port of the admin endpoints": [
      ["--packs", "automox", "--listen", "0.0.0.0:9180"],
      "error: --listen 0.0.0.0:9180 is the port of the admin endpoints\n",
    ],
    "one port twice": [
      ["--packs", "automox", "--listen", "0.0.0.0:3128,127.0.0.1:3128"],
      "error: --listen 127.0.0.1:3128 has the port of another listener\n",
    ],
  };
  test.each(Object.entries(refusals))("refuses %s", async (_, [args, expected]) => {
    const { exit, stdout, stderr } = await init(args);
    expect(stderr).toContain(`sallyport: ${expected}`);
    expect([exit, stdout, there()]).toEqual([2, "", []]);
  });

  test("lists the packs where none is named", async () => {
    for (const args of [[], ["--packs", ","]]) {
      const { exit, stdout, stderr } = await init(args);
      expect([exit, stdout, there()]).toEqual([2, "", []]);
      for (const pack of allPacks) expect(stderr).toMatch(new RegExp(`^  ${pack}  +\\S`, "m"));
      expect(stderr).toContain("sallyport: hint: sallyport init --packs automox,windows-update");
    }
  });
});
