import { describe, expect, test } from "vitest";
import { formatExchange } from "../../../src/record/log-line.ts";
import type { Exchange } from "../../../src/record/event.ts";
import { exchangeWith, tunnelWith } from "../../support/exchange.ts";
import { type Run, run } from "./run-program.ts";

const site = `version: 1
name: site
use: [windows-update]
clients:
  servers: [10.20.0.0/16]
  kiosks: { addresses: [10.30.0.0/16], mode: report }
rules:
  - { id: portal, hosts: [portal.example], expect: https, clients: [kiosks] }
`;

function line(exchange: Exchange, time = "2026-11-01T10:00:00.000Z"): string {
  return formatExchange(exchange, "warn", time, exchange.kind === "http");
}

const scheme = tunnelWith({
  host: "tlu.dl.delivery.mp.microsoft.com",
  sni: undefined,
  verdict: "deny",
  reason: "scheme_mismatch",
  rule: "windows-update/payload",
  nearest: "windows-update/payload",
  denial: "TTJNQ-1CQ9M",
  group: "servers",
  clientAddress: "10.20.1.4",
});
const pack = exchangeWith({
  ...scheme,
  kind: "connect",
  host: "server.eu.action1.com",
  port: 22543,
  reason: "no_rule",
  rule: undefined,
  nearest: undefined,
  denial: "AAAAA-AAAAA",
});
const passed = exchangeWith({
  group: "kiosks",
  clientAddress: "10.30.1.1",
  host: "x.dl.delivery.mp.microsoft.com",
  method: "PROPFIND",
  path: "/a",
  verdict: "allow",
  would: true,
  mode: "report",
  reason: "method_denied",
  rule: "windows-update/payload",
  denial: "BBBBB-BBBBB",
});
const solved = tunnelWith({
  group: "kiosks",
  clientAddress: "10.30.1.2",
  host: "portal.example",
  sni: undefined,
  would: true,
  mode: "report",
  reason: "no_rule",
  rule: undefined,
  denial: "CCCCC-CCCCC",
});
const fine = exchangeWith({ group: "kiosks", clientAddress: "10.30.1.1" });

const log = [
  line(scheme),
  line(scheme, "2026-11-02T10:00:00.000Z"),
  "no log line\n",
  '{"event":"start"}\n',
  line(pack),
].join("");

const ask = (args: readonly string[], text = log): Promise<Run> =>
  run([...args, "--log", "access.log", "--policy", "site.yaml"], { files: { "site.yaml": site, "access.log": text } });

describe("sallyport why --log", () => {
  test("tells a denial by its id", async () => {
    const { exit, stdout, stderr } = await ask(["why", "ttjnq1cq9m"]);
    expect(exit).toBe(0);
    expect(stdout).toMatch(
      /^denied: scheme_mismatch\nRule windows-update\/payload covers this host, but expects http on port 80\.\n/,
    );
    expect(stdout).toContain("how often     2 times, from 2026-11-01T10:00:00.000Z to 2026-11-02T10:00:00.000Z\n");
    expect(stdout).toContain("by            10.20.1.4 (2), group servers\n");
    expect(stdout).toContain(
      "what else 10.20.1.4 was denied:\n  AAAAA-AAAAA  1x  no_rule  CONNECT server.eu.action1.com:22543",
    );
    expect(stderr).toContain("1 line of access.log are no log lines");
  });

  test("by its host, and as JSON", async () => {
    const { exit, stdout } = await ask(["why", "server.eu.action1.com", "--json"]);
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ id: "AAAAA-AAAAA", causes: [{ explanation: { reason: "no_rule" } }] });
  });

  test("from standard input", async () => {
    const { exit, stdout } = await run(["why", "TTJNQ-1CQ9M", "--log", "-", "--policy", "site.yaml"], {
      files: { "site.yaml": site },
      stdin: log,
    });
    expect([exit, stdout.split("\n")[0]]).toEqual([0, "denied: scheme_mismatch"]);
  });

  test("does not know what was not denied", async () => {
    const { exit, stdout, stderr } = await ask(["why", "www.example"]);
    expect([exit, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("sallyport: error: nothing under www.example was denied since 2026-11-01T10:00:00.000Z\n");
  });

  test("cannot read a policy that is wrong", async () => {
    const { exit } = await run(["why", "TTJNQ-1CQ9M", "--log", "-", "--policy", "site.yaml"], {
      files: { "site.yaml": "version: 2\n" },
      stdin: log,
    });
    expect(exit).toBe(3);
  });
});

describe("sallyport allow --log", () => {
  test("prints the rule, and edits nothing", async () => {
    const { exit, stdout } = await ask(["allow", "TTJNQ-1CQ9M", "--ttl", "7d", "--ticket", "CHG-88"]);
    expect(exit).toBe(0);
    expect(stdout).toBe(`# a pack covers it, with the vendor's document as its source; better than a rule of your own:
#   use: windows-11-endpoints   # windows-11-endpoints has this endpoint (windows-11-endpoints/payload)
# else:
# at the top of rules: in /nowhere/site/site.yaml
  # denial TTJNQ-1CQ9M, scheme_mismatch: CONNECT tlu.dl.delivery.mp.microsoft.com:443
  # 2 times from 2026-11-01T10:00:00.000Z to 2026-11-02T10:00:00.000Z, by 10.20.1.4 (2)
  # admits every client of servers
  # admits whatever TLS 1.2 or later carries on port 443: nobody can see it
  # what is kept is a copy: later changes of the rules it comes from do not reach it
  - id: allow-ttjnq-1cq9m
    hosts: [tlu.dl.delivery.mp.microsoft.com]
    expect: https
    tls_min: "1.2"
    sni: match
    ech: allow
    clients: [servers]
    expires: 2026-11-28
    ticket: "CHG-88"
  # keeps what windows-update/payload opens, which the narrower rule would close here
  - id: keep-ttjnq-1cq9m-payload
    hosts: [tlu.dl.delivery.mp.microsoft.com]
    expect: http
    range: allow
# tried on the policy in force, it changes:
#   newly allowed: https:443 of tlu.dl.delivery.mp.microsoft.com for servers
`);
  });

  test("prefers a pack that has the endpoint", async () => {
    const { stdout } = await ask(["allow", "AAAAA-AAAAA"]);
    expect(stdout).toContain("#   use: action1-eu   # action1-eu has this endpoint (action1-eu/agent)\n");
  });

  test("names no pack that would not get to decide beside the others", async () => {
    expect((await ask(["allow", "TTJNQ-1CQ9M"])).stdout).not.toContain("action1");
  });

  test.each([
    ["an id that is none", ["allow", "nonsense"], 1],
    ["an id that the log does not have", ["allow", "ZZZZZ-ZZZZZ"], 1],
    ["a time that is none", ["allow", "TTJNQ-1CQ9M", "--ttl", "tomorrow"], 2],
    ["an address that is none", ["allow", "TTJNQ-1CQ9M", "--resolved", "tomorrow"], 2],
    ["no id", ["allow"], 2],
  ] as const)("%s", async (_, args, exit) => {
    expect((await ask(args)).exit).toBe(exit);
  });
});

describe("asking a proxy", () => {
  test("that is not there", async () => {
    const { exit, stderr } = await run(["why", "TTJNQ-1CQ9M", "--admin", "127.0.0.1:1"]);
    expect(exit).toBe(1);
    expect(stderr).toContain("sallyport: error: the proxy cannot be asked at http://127.0.0.1:1: ");
    expect(stderr).toContain("--log FILE");
  });

  test.each(["127.0.0.1:1/path", "user@127.0.0.1:1", "a b"])("at %s, which is no address", async (admin) => {
    expect((await run(["why", "TTJNQ-1CQ9M", "--admin", admin])).exit).toBe(2);
  });

  test("with a configuration that is wrong", async () => {
    const { exit } = await run(["why", "TTJNQ-1CQ9M"], { files: { "sallyport.yaml": "version: 1\nadmn: {}\n" } });
    expect(exit).toBe(3);
  });
});

describe("sallyport readiness", () => {
  const readiness = (text: string, ...args: string[]): Promise<Run> => ask(["readiness", ...args], text);

  test("is not ready while something would be denied", async () => {
    const { exit, stdout } = await readiness(
      [line(fine), line(passed), line(passed, "2026-11-03T10:00:00.000Z"), line(scheme)].join(""),
      "--group",
      "kiosks",
    );
    expect(exit).toBe(1);
    expect(stdout).toBe(`not ready: enforced, this policy would deny 1 cause, seen 2 times
3 exchanges of group kiosks from 2026-11-01 to 2026-11-03 (2 days)

  BBBBB-BBBBB  2x  method_denied  PROPFIND x.dl.delivery.mp.microsoft.com:80  1 client  windows-update/payload

2 days is short: a patch day, and an agent's own update, should be in the log

next: sallyport allow ID --log FILE for what is to pass; what is not may be enforced
`);
  });

  test("is ready where what would have been denied has got a rule since", async () => {
    const { exit, stdout } = await readiness(
      [line(solved), line(fine, "2026-11-20T10:00:00.000Z")].join(""),
      "--group",
      "kiosks",
    );
    expect(exit).toBe(0);
    expect(stdout).toBe(`ready: enforced, this policy would have denied none of them
2 exchanges of group kiosks from 2026-11-01 to 2026-11-20 (19 days)
1 cause of report mode in the log would be allowed by now

next: write mode: enforce into kiosks under clients of the site policy
`);
  });

  test("holds against a group only what is its own", async () => {
    expect((await readiness([line(passed), line(exchangeWith())].join(""), "--group", "servers")).exit).toBe(0);
  });

  test("knows nothing of what the log does not have", async () => {
    const { exit, stdout } = await readiness(line(fine), "--group", "servers");
    expect([exit, stdout]).toEqual([1, "not ready: the log has no exchange of group servers\n"]);
  });

  test("what a log cannot tell counts as denied", async () => {
    const mismatch = line(exchangeWith({ ...passed, reason: "host_mismatch", method: "GET", group: "kiosks" }));
    expect((await readiness(mismatch, "--group", "kiosks")).exit).toBe(1);
  });

  test("as JSON", async () => {
    const { stdout } = await readiness([line(passed), line(solved)].join(""), "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      ready: false,
      exchanges: 2,
      causes: [
        { id: "BBBBB-BBBBB", count: 1, clients: 1, state: "open" },
        { id: "CCCCC-CCCCC", count: 1, clients: 1, state: "solved" },
      ],
    });
  });

  test("lines that do not say when they were written count as others do", async () => {
    const undated = [line(passed), line(fine)].map((text) => text.replace(/"time":"[^"]*",?/, "")).join("");
    const { exit, stdout } = await readiness(undated);
    expect([exit, stdout.split("\n")[1]]).toEqual([1, "2 exchanges of all clients at times unknown"]);
    const told = JSON.parse((await readiness(undated, "--json")).stdout) as object;
    expect(told).toMatchObject({ ready: false, exchanges: 2 });
    expect(told).not.toHaveProperty("since");
  });

  test("a group that the policy does not have is a mistake", async () => {
    expect((await readiness(line(fine), "--group", "kiosk")).exit).toBe(2);
  });

  test("needs a log", async () => {
    expect((await run(["readiness", "--policy", "site.yaml"], { files: { "site.yaml": site } })).exit).toBe(2);
  });
});
