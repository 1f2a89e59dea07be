/** What clients are told: for which listener, with which words, and nothing that cannot be taken back. */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { run } from "./run-program.ts";

const config = (...listen: readonly string[]) => ({
  files: { "sallyport.yaml": `version: 1\nlisten:\n${listen.map((one) => `  - ${one}\n`).join("")}` },
});
const own = config("{ kind: proxy, address: 10.1.2.3:3128 }", "{ kind: pac, address: 10.1.2.3:8000 }");
const systems = ["windows", "linux", "macos"] as const;

type Answer = {
  readonly proxy: string;
  readonly pac?: string;
  readonly notes: readonly string[];
  readonly steps: readonly {
    title: string;
    reads: string;
    commands: string[];
    undo: string[];
    look: string[];
    sources: string[];
  }[];
};
async function answer(args: readonly string[], surroundings = {}): Promise<Answer> {
  const { exit, stdout } = await run(["client-setup", ...args, "--json"], surroundings);
  expect(exit).toBe(0);
  return JSON.parse(stdout) as Answer;
}

describe.each(systems)("%s", (system) => {
  test("is told of the configured listener and PAC, and of those on the command line", async () => {
    expect(await answer([system], own)).toMatchObject({
      proxy: "10.1.2.3:3128",
      pac: "http://10.1.2.3:8000/proxy.pac",
    });
    const given = ["--proxy", "http://Proxy.corp.example:8080/", "--pac", "http://wpad.corp.example/wpad.dat"];
    expect(await answer([system, ...given], own)).toMatchObject({
      proxy: "proxy.corp.example:8080",
      pac: "http://wpad.corp.example/wpad.dat",
    });
  });

  test.each([
    [["--proxy", "p.example:3128"]],
    [["--proxy", "p.example:3128", "--pac", "http://p.example:8000/proxy.pac"]],
  ])("has for each step who reads it, where that is from, and a way back (%s)", async (args) => {
    const { steps } = await answer([system, ...args]);
    expect(steps.length).toBeGreaterThan(2);
    for (const { reads, commands, undo, look, sources } of steps) {
      expect([reads.length, commands.length, undo.length, look.length, sources.length]).not.toContain(0);
    }
    expect(JSON.stringify(steps)).toContain("p.example:3128");
  });

  test("says the same in words", async () => {
    const { stdout, stderr } = await run(["client-setup", system], own);
    for (const { title, commands, undo } of (await answer([system], own)).steps)
      for (const text of [title, ...commands, ...undo]) expect(stdout).toContain(text);
    expect(stderr).toBe("");
  });
});

test("WinHTTP is told in both words that Microsoft has, with the four properties that the new one needs", async () => {
  const { stdout } = await run(["client-setup", "windows", "--proxy", "p.example:3128"]);
  expect(stdout).toContain('netsh winhttp set proxy p.example:3128 "<local>"');
  const json = /set advproxy setting-scope=machine settings=(\{.*?\})$/m.exec(stdout)?.[1] ?? "";
  expect(JSON.parse(json.replaceAll('\\"', '"'))).toEqual({
    Proxy: "p.example:3128",
    ProxyBypass: "",
    AutoconfigUrl: "",
    AutoDetect: false,
  });
});

test.each(["linux", "macos"])("every command for %s is one that a shell can read", async (system) => {
  const { steps } = await answer([system, "--proxy", "p.example:3128", "--pac", "http://p.example:8000/proxy.pac"]);
  for (const line of steps.flatMap(({ commands, undo, look }) => [...commands, ...undo, ...look])) {
    const { status, stderr } = spawnSync("sh", ["-n", "-c", line], { encoding: "utf8" });
    expect([line, status, stderr]).toEqual([line, 0, ""]);
  }
});

describe("the listener", () => {
  test("on every address is told under this machine's name, as a guess", async () => {
    const { proxy, notes } = await answer(["linux"], config("{ kind: proxy, address: 0.0.0.0:3128 }"));
    expect(proxy).toMatch(/^[\w.-]+:3128$/);
    expect(notes).toEqual([expect.stringContaining("--proxy says how clients reach it")]);
  });

  test("on loopback is told with a warning", async () => {
    const { stderr } = await run(["client-setup", "linux"]);
    expect(stderr).toContain("warning: the listener is on 127.0.0.1:3128, which only this machine reaches");
  });

  test.each([
    [["linux", "--proxy", "socks5://p:1080"], /--proxy socks5:\/\/p:1080 is no proxy/],
    [["linux", "--proxy", "http://user:pass@p:1080"], /is no proxy/],
    [["linux", "--proxy", "p;reboot:3128"], /is no proxy/],
    [["linux", "--proxy", "p:1", "--pac", "http://p/$(reboot)"], /is no URL of a PAC/],
    [["linux", "--proxy", "p:1", "--pac", "http://p/'x"], /is no URL of a PAC/],
    [["beos"], /beos/],
    [[], /system/],
  ])("that cannot be told is usage: %s", async (args, said) => {
    const { exit, stdout, stderr } = await run(["client-setup", ...args]);
    expect([exit, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(said);
  });
});
