/**
 * Clients that know of no proxy: a gateway between two network namespaces redirects their connections with nftables, as
 * deploy/nftables does, and also, by mistake, the proxy's own.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LogLine } from "../support/sallyport.ts";
import { requireTool } from "../support/tools.ts";

const tools = ["ip", "nft", "curl"];
const root = fileURLToPath(new URL("../..", import.meta.url));
const gateway = `sallyport-g${process.pid}`;
const client = `sallyport-c${process.pid}`;
const why = whyNot();
if (why !== undefined) console.warn(`skipped: redirected connections (${why})`);

/** Undefined where this machine lets us make namespaces and rules in them. */
function whyNot(): string | undefined {
  const missing = tools.filter((tool) => requireTool(tool) === undefined);
  if (missing.length > 0) return `needs ${missing.join(", ")}`;
  if (spawnSync("ip", ["netns", "add", gateway]).status !== 0) return "needs the right to make network namespaces";
  const rules = spawnSync("ip", ["netns", "exec", gateway, "nft", "-c", "-f", "-"], { input: rulesFor([1, 2]) });
  execFileSync("ip", ["netns", "del", gateway]);
  return rules.status === 0 ? undefined : "needs nftables with nat in the kernel";
}

function rulesFor([sni, http]: readonly [number, number] | readonly number[]): string {
  return `table ip sallyport {
    chain prerouting {
      type nat hook prerouting priority dstnat; policy accept;
      iifname "gate0" tcp dport 443 redirect to :${sni}
      iifname "gate0" tcp dport 80 redirect to :${http}
    }
    chain output {
      type nat hook output priority -100; policy accept;
      ip daddr 8.8.4.4 tcp dport 443 redirect to :${sni}
      ip daddr 8.8.4.4 tcp dport 80 redirect to :${http}
    }
  }\n`;
}

describe.skipIf(why !== undefined)("redirected by nftables", () => {
  let lab: ChildProcess;
  let said: AsyncIterator<string>;
  let directory: string;

  beforeAll(async () => {
    const ip = (text: string): void => void execFileSync("ip", text.split(" "));
    ip(`netns add ${gateway}`);
    ip(`netns add ${client}`);
    ip(`-n ${gateway} link add gate0 type veth peer name host0 netns ${client}`);
    for (const [space, link, own, other] of [
      [gateway, "gate0", "10.99.0.1", "10.99.0.2"],
      [client, "host0", "10.99.0.2", "10.99.0.1"],
    ]) {
      ip(`-n ${space} link set lo up`);
      ip(`-n ${space} address add ${own}/24 dev ${link}`);
      ip(`-n ${space} link set ${link} up`);
      ip(`-n ${space} route add default via ${other}`);
    }
    lab = spawn(
      "ip",
      [
        "netns",
        "exec",
        gateway,
        process.execPath,
        "--import",
        "./test/support/typescript.mjs",
        "test/support/redirected-lab.ts",
      ],
      { cwd: root, stdio: ["pipe", "pipe", "inherit"] },
    );
    said = createInterface(lab.stdout!)[Symbol.asyncIterator]();
    const started = JSON.parse(String((await said.next()).value)) as { ports: number[]; directory: string };
    directory = started.directory;
    execFileSync("ip", ["netns", "exec", gateway, "nft", "-f", "-"], { input: rulesFor(started.ports) });
  });
  afterAll(() => {
    lab.kill();
    for (const space of [gateway, client]) execFileSync("ip", ["netns", "del", space]);
  });

  /** curl on the other side of the gateway; every name has an address that only the redirection makes answer. */
  function curl(url: string, ...args: readonly string[]): { readonly code: number | null; readonly stdout: string } {
    const { hostname } = new URL(url);
    const resolve = [443, 80].flatMap((port) => ["--resolve", `${hostname}:${port}:8.8.4.4`]);
    const given = ["--silent", "--max-time", "10", "--cacert", "ca.pem", ...resolve, ...args, url];
    const run = spawnSync("ip", ["netns", "exec", client, requireTool("curl")!, ...given], { cwd: directory });
    return { code: run.status, stdout: run.stdout.toString() };
  }

  test("allowed targets are reached, denied ones are not, and the proxy's own connections are a loop", async () => {
    expect(curl("https://updates.example.com/a")).toEqual({ code: 0, stdout: "secure GET /a" });
    expect(curl("http://plain.example.com/b")).toEqual({ code: 0, stdout: "plain GET /b 0" });
    expect(curl("https://denied.example.com/").code).toBe(35);
    expect(curl("http://denied.example.com/", "--write-out", "%{http_code}").stdout).toMatch(/403$/);
    expect(curl("https://loop.example.net/").code).toBe(35);
    expect(curl("http://loop.example.net/", "--write-out", "%{http_code}").stdout).toMatch(/502$/);

    lab.stdin!.end();
    const { log } = JSON.parse(String((await said.next()).value)) as { readonly log: readonly LogLine[] };
    await once(lab, "exit");
    const exchanges = log.filter((line) => line["host"] !== undefined);
    const by = (host: string): unknown[] =>
      exchanges
        .filter((line) => line["host"] === host)
        .map((line) => [line["client"], line["reason"], line["outcome"]]);
    expect(by("updates.example.com")).toEqual([["10.99.0.2", "allowed", undefined]]);
    expect(by("denied.example.com")).toEqual([
      ["10.99.0.2", "no_rule", undefined],
      ["10.99.0.2", "no_rule", undefined],
    ]);
    // Each goes round once: the second time it is known to be the proxy's own.
    const loops = exchanges.filter((line) => line["host"] === "loop.example.net");
    expect(loops.filter((line) => line["outcome"] === "proxy_loop_detected")).toHaveLength(2);
    expect(loops).toHaveLength(4);
  });
});
