import { describe, expect, test } from "vitest";
import { run } from "./run-program.ts";

const old = `version: 1
name: site
clients: { servers: [10.20.0.0/16] }
rules:
  - { id: a, hosts: [www.a.example], expect: https }
  - { id: b, hosts: ["*.b.example"], expect: https, tls_min: "1.2" }
  - { id: c, hosts: [c.example], expect: http }
`;
const changed = `version: 1
name: site
clients: { servers: [10.20.0.0/16] }
rules:
  - { id: renamed, hosts: [www.a.example], expect: https }
  - { id: b, hosts: ["*.b.example"], expect: https, tls_min: "1.3" }
  - { id: c, hosts: [c.example], expect: http, clients: [servers] }
  - { id: d, hosts: [d.example], expect: [http, https] }
`;
const files = { "old.yaml": old, "new.yaml": changed };

describe("diff", () => {
  test("tells changes by their kind, and exits 1", async () => {
    const { exit, stdout, stderr } = await run(["diff", "old.yaml", "new.yaml"], { files });
    expect(stdout).toBe(`newly allowed
  https:443, http:80  d.example  by site/d, was no_rule

newly denied
  http:80  c.example for no group  client_denied, was allowed by site/c

decided by another rule
  https:443  www.a.example  site/a → site/renamed

other conditions
  https:443  *.b.example  site/b: tls_min 1.2 → 1.3

1 newly allowed, 1 newly denied, 1 decided by another rule, 1 other conditions
`);
    expect([exit, stderr]).toEqual([1, ""]);
  });

  test("says that nothing changes, and exits 0", async () => {
    const same = { ...files, "new.yaml": `# a comment\n${old}` };
    expect(await run(["diff", "old.yaml", "new.yaml"], { files: same })).toEqual({
      exit: 0,
      stdout: "nothing changes\n",
      stderr: "",
    });
  });

  test("answers in JSON", async () => {
    const { exit, stdout } = await run(["diff", "old.yaml", "new.yaml", "--json"], { files });
    const { changes, summary } = JSON.parse(stdout) as { changes: readonly unknown[]; summary: unknown };
    expect(exit).toBe(1);
    expect(summary).toEqual({ allowed: 1, denied: 1, rule: 1, conditions: 1 });
    expect(changes).toContainEqual({
      kind: "denied",
      requests: ["http:80"],
      patterns: ["c.example"],
      clients: ["no group"],
      before: { verdict: "allow", reason: "allowed", rule: "site/c" },
      after: { verdict: "deny", reason: "client_denied" },
      conditions: [],
    });
  });

  test("exits 3 where one of the two is invalid, and says what is wrong with both", async () => {
    const { exit, stdout, stderr } = await run(["diff", "old.yaml", "new.yaml"], {
      files: { "old.yaml": old.replace("c.example", '"*.com"'), "new.yaml": "version: 1\nname: x\nrulez: []\n" },
    });
    expect([exit, stdout]).toEqual([3, ""]);
    expect(stderr).toContain("old.yaml:7:");
    expect(stderr).toContain("new.yaml:3:1: error: `rulez`");
  });

  test("compares with the configured policy where only one is given", async () => {
    const configured = { "sallyport.yaml": "version: 1\npolicy: [new.yaml]\n", ...files };
    const both = await run(["diff", "old.yaml", "new.yaml"], { files });
    expect(await run(["diff", "old.yaml"], { files: configured })).toEqual(both);
    expect(await run(["diff", "old.yaml", "sallyport.yaml"], { files: configured })).toEqual(both);
    expect((await run(["diff", "sallyport.yaml", "new.yaml"], { files: configured })).exit).toBe(0);
  });

  test("exits 2 without files", async () => {
    expect((await run(["diff"])).exit).toBe(2);
  });
});
