/** One reload at a time, all or nothing, and what each of them says. */
import { describe, expect, test } from "vitest";
import { defaultSettings } from "../../../src/config/read-settings.ts";
import type { Settings } from "../../../src/config/settings.ts";
import { type Adoption, createReloader } from "../../../src/reload/reloader.ts";
import type { ReloadReport, Reread } from "../../../src/reload/report.ts";
import { settingsForRestart } from "../../../src/reload/changes.ts";
import { addressAt, rule, rulesetOf } from "../../support/policy.ts";

const problem = {
  severity: "error",
  place: { file: "site.yaml", line: 1, column: 1 },
  offending: "x",
  message: "is wrong",
  instead: undefined,
} as const;

function loaded(text: string, host = `${text}.example.com`): Extract<Reread, { kind: "loaded" }> {
  return {
    kind: "loaded",
    settings: defaultSettings,
    ruleset: rulesetOf([rule({ id: "rule", hosts: [host], expect: ["http:80"] })]),
    notices: [],
    recording: { files: new Map([["site.yaml", { kind: "read", value: text }]]), directories: new Map() },
  };
}

type Given = {
  readonly reread?: () => Reread;
  readonly adopt?: () => Promise<Adoption>;
  readonly isAtWork?: () => boolean;
};

function reloaderWith({ reread = () => loaded("b"), adopt, isAtWork = () => true }: Given) {
  const told: ReloadReport[] = [];
  const adopted: string[] = [];
  const reloader = createReloader({
    running: defaultSettings,
    first: loaded("a"),
    reread,
    adopt:
      adopt ??
      (({ ruleset }) => {
        adopted.push(ruleset.hash);
        return Promise.resolve({ kind: "adopted", revokedTunnels: 3 });
      }),
    isAtWork,
    tell: (report) => told.push(report),
    now: () => 7,
  });
  return { ...reloader, told, adopted };
}

describe("a reload", () => {
  test("puts what was read into force, and tells what it changes", async () => {
    const reloader = reloaderWith({});
    const before = reloader.inForce();
    const report = await reloader.reload("signal");
    expect(report).toMatchObject({
      kind: "adopted",
      trigger: "signal",
      revokedTunnels: 3,
      change: { atMs: 7, from: before.ruleset.hash, counts: { allowed: 1, denied: 1 }, isComplete: true },
    });
    expect(reloader.inForce()).toMatchObject({ generation: 2 });
    expect(reloader.adopted).toEqual([reloader.inForce().ruleset.hash]);
    expect(reloader.told).toEqual([report]);
  });

  const nothing: Readonly<Record<string, { given: Given; kind: ReloadReport["kind"]; message?: RegExp }>> = {
    "problems in the files": { given: { reread: () => ({ kind: "problems", problems: [problem] }) }, kind: "refused" },
    "a loader that throws": {
      given: {
        reread: () => {
          throw new Error("oops");
        },
      },
      kind: "refused",
      message: /this is a bug: Error: oops/,
    },
    "a worker that cannot": {
      given: { adopt: () => Promise.resolve({ kind: "refused", problems: [problem] }) },
      kind: "refused",
    },
    "an adoption that throws": {
      given: { adopt: () => Promise.reject(new Error("oops")) },
      kind: "refused",
      message: /oops/,
    },
    "a drain that begins meanwhile": { given: { adopt: () => Promise.resolve({ kind: "not_now" }) }, kind: "not_now" },
    "a proxy that is not at work": { given: { isAtWork: () => false }, kind: "not_now" },
    "files that are those in force": { given: { reread: () => loaded("a") }, kind: "unchanged" },
  };
  test.each(Object.entries(nothing))("%s: nothing changes, and that is told", async (_, { given, kind, message }) => {
    const reloader = reloaderWith(given);
    const before = reloader.inForce();
    const report = await reloader.reload("request");
    expect(report.kind).toBe(kind);
    expect(reloader.inForce()).toBe(before);
    expect(report.policy).toBe(before);
    expect(reloader.told).toEqual([report]);
    if (message !== undefined) expect(JSON.stringify(report)).toMatch(message);
  });

  test("nobody is told of a file that was only touched", async () => {
    const reloader = reloaderWith({ reread: () => loaded("a") });
    expect((await reloader.reload("watch")).kind).toBe("unchanged");
    expect(reloader.told).toEqual([]);
  });

  test("other comments are another generation of the same policy", async () => {
    const reloader = reloaderWith({ reread: () => loaded("a # and why", "a.example.com") });
    expect(await reloader.reload("watch")).toMatchObject({ kind: "adopted", change: { changes: [] } });
    expect(reloader.inForce().generation).toBe(2);
  });
});

test("one at a time: who asks meanwhile shares the next, and what they have written is in it", async () => {
  const finish: (() => void)[] = [];
  let written = "b";
  let read = 0;
  const reloader = reloaderWith({
    reread: () => {
      read += 1;
      return loaded(written);
    },
    adopt: () => new Promise((fulfil) => finish.push(() => fulfil({ kind: "adopted", revokedTunnels: 0 }))),
  });
  const first = reloader.reload("watch");
  await expect.poll(() => finish.length).toBe(1);
  written = "c";
  const [second, third] = [reloader.reload("watch"), reloader.reload("request")];
  expect(read).toBe(1);
  finish[0]?.();
  expect((await first).policy.generation).toBe(2);
  await expect.poll(() => finish.length).toBe(2);
  finish[1]?.();
  expect(await second).toBe(await third);
  expect(await third).toMatchObject({ trigger: "request", policy: { generation: 3 } });
  expect(read).toBe(2);
});

describe("settings that need a restart", () => {
  const cases: Readonly<Record<string, { change: Partial<Settings>; names: readonly string[] }>> = {
    "none, where nothing differs": { change: {}, names: [] },
    "the policy and what becomes of tunnels are applied": {
      change: { policy: ["other.yaml"], reload: { watch: true, onRevoke: "close" } },
      names: [],
    },
    "the watch is not": { change: { reload: { watch: false, onRevoke: "keep" } }, names: ["reload.watch"] },
    "listeners as a whole": { change: { listen: [] }, names: ["listen"] },
    "keys are spelled as in the file": {
      change: {
        connectTo: [{ host: undefined, port: 1, address: addressAt("127.0.0.1"), toPort: 1 }],
        limits: { ...defaultSettings.limits, headBytes: 1, dialTimeoutMs: 1, perClient: 1 },
        admin: { ...defaultSettings.admin, token: "secret" },
      },
      names: ["admin.token_file", "connect_to", "limits.dial_timeout", "limits.head", "limits.per_client"],
    },
  };
  test.each(Object.entries(cases))("%s", (_, { change, names }) => {
    const found = settingsForRestart(defaultSettings, { ...defaultSettings, ...change });
    expect([...found].sort()).toEqual(names);
    expect(JSON.stringify(found)).not.toContain("secret");
  });
});
