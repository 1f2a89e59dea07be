/** Requests judged by a real Squid, and by the policy that was imported from its configuration: they agree. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { disk } from "../../src/config/disk.ts";
import { loadPolicySet } from "../../src/config/load.ts";
import { parseAddress } from "../../src/names/address.ts";
import { compileRuleset } from "../../src/policy/compile.ts";
import type { Ruleset } from "../../src/policy/ruleset.ts";
import { tryRequest, unsaid } from "../../src/policy/trial.ts";
import { freePort } from "../support/ports.ts";
import { connectRaw } from "../support/raw-http.ts";
import { describeWithTool, requireTool } from "../support/tools.ts";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const packsDir = fileURLToPath(new URL("../../policies/packs", import.meta.url));

/**
 * Configurations as they are found, cut to what decides; clients are addresses of loopback. The last entry tells
 * targets where the import says that it lets less pass; nowhere may it let more pass.
 */
const configurations: [title: string, access: string, narrower?: (target: string) => boolean][] = [
  [
    "the stock file, with two lists and one client network",
    `acl localnet src 127.0.1.0/24
acl SSL_ports port 443
acl Safe_ports port 80		# http
acl Safe_ports port 21		# ftp
acl Safe_ports port 443		# https
acl Safe_ports port 70		# gopher
acl Safe_ports port 210		# wais
acl Safe_ports port 1025-65535	# unregistered ports
acl Safe_ports port 280		# http-mgmt
acl Safe_ports port 488		# gss-http
acl Safe_ports port 591		# filemaker
acl Safe_ports port 777		# multiling http
acl patches dstdomain -n "DIR/patches.txt"
acl blocked dstdomain -n .ads.example telemetry.deep.example
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access allow localhost manager
http_access deny manager
http_access deny blocked
http_access allow localnet patches
http_access deny all`,
    (target) => /^http:.*:\d/.test(target),
  ],
  [
    "an order that matters: a name is opened before its domain is closed",
    `acl good dstdomain -n good.bad.example
acl bad dstdomain -n .bad.example
acl wide dstdomain -n .example
acl web port 80 8080
acl tls port 443 8443
http_access allow good tls CONNECT
http_access deny bad
http_access allow wide CONNECT tls
http_access allow wide web !CONNECT
http_access deny all`,
  ],
  [
    "the same lines, the other way round",
    `acl good dstdomain -n good.bad.example
acl bad dstdomain -n .bad.example
acl wide dstdomain -n .example
acl web port 80 8080
acl tls port 443 8443
http_access deny bad
http_access allow good tls CONNECT
http_access allow wide CONNECT tls
http_access allow wide web !CONNECT
http_access deny all`,
  ],
  [
    "clients that overlap, methods, and groups that are left out",
    `acl all_here src 127.0.0.0/16
acl kiosks src 127.0.2.0-127.0.2.127
acl servers src 127.0.1.0/255.255.255.0
acl a dstdomain -n .a.example
acl b dstdomain -n b.example x.a.example
acl reading method GET HEAD
acl web port 80 8530
acl tls port 443
acl either any-of servers reading
acl both all-of reading web
http_access deny kiosks !b
http_access deny !web !tls
http_access allow servers a web
http_access allow all_here a web reading
http_access allow kiosks b both
http_access allow b CONNECT tls either
http_access deny all`,
  ],
  [
    "no deny at the end: the opposite of the last line holds",
    `acl p port 80
acl s port 443
acl m method CONNECT
acl lab dstdomain -n .lab.example
acl open dstdomain -n .open.lab.example
http_access allow open m s
http_access allow lab !m p`,
  ],
  [
    "a deny at the end that names hosts: everything else is allowed, which no policy can say",
    `acl lab dstdomain -n .lab.example
acl open dstdomain -n .open.lab.example
acl p port 80 443
http_access deny !p
http_access allow open
http_access deny lab`,
    (target) => !/(^|[./])lab\.example/.test(target),
  ],
];

const hosts = [
  "example",
  "a.example",
  "x.a.example",
  "y.x.a.example",
  "z.a.example",
  "b.example",
  "x.b.example",
  "bad.example",
  "good.bad.example",
  "sub.good.bad.example",
  "other.bad.example",
  "deep.example",
  "telemetry.deep.example",
  "v.deep.example",
  "ads.example",
  "banner.ads.example",
  "lab.example",
  "open.lab.example",
  "q.open.lab.example",
  "eviladeep.example",
  "api.vendor.test",
  "x.api.vendor.test",
];
const requests = hosts.flatMap((host) => [
  ...[443, 8443, 80, 22].map((port) => ({ method: "CONNECT", target: `${host}:${port}` })),
  ...[":8080", "", ":8530", ":8443"].map((port) => ({ method: "GET", target: `http://${host}${port}/` })),
  { method: "POST", target: `http://${host}/` },
]);
const clients = ["127.0.0.1", "127.0.1.7", "127.0.2.9", "127.0.2.200", "127.9.9.9"];

describeWithTool(["squid"], "an imported squid.conf decides as Squid does", () => {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-squid-"));
  const squid = requireTool("squid") ?? "";
  const origin = createServer((request, response) => {
    request.resume();
    response.end("ok");
  }).on("connect", (_request, socket) => socket.on("error", () => {}).end("HTTP/1.1 200 ok\r\n\r\n"));
  let parent = 0;

  beforeAll(async () => {
    await new Promise<void>((fulfil) => origin.listen(0, "127.0.0.1", fulfil));
    const address = origin.address();
    parent = typeof address === "object" && address !== null ? address.port : 0;
  });
  afterAll(async () => {
    origin.closeAllConnections();
    await new Promise((fulfil) => origin.close(fulfil));
    rmSync(directory, { recursive: true, force: true });
  });

  test.each<[title: string, access: string, narrower?: (target: string) => boolean]>(configurations)(
    "%s",
    async (_title, access, narrower = () => false) => {
      const home = mkdtempSync(join(directory, "run-"));
      mkdirSync(home, { recursive: true });
      writeFileSync(join(home, "patches.txt"), "# what patches need\n.deep.example\n\napi.vendor.test\n");
      const isRoot = process.getuid?.() === 0;
      if (isRoot) giveTo("proxy", directory, home);
      const port = await freePort();
      const file = join(home, "squid.conf");
      writeFileSync(file, `${access.replaceAll("DIR", home)}\n${surroundings(home, port, parent, isRoot)}`);
      expect(spawnSync(squid, ["-k", "parse", "-f", file], { encoding: "utf8" }).stderr).not.toMatch(/FATAL|ERROR/);

      const imported = spawnSync(process.execPath, [program, "import", "squid", file], { encoding: "utf8" });
      expect(imported.stderr).not.toContain("bug");
      expect(imported.stderr).not.toContain("LETS MORE PASS");
      const ruleset = load(imported.stdout);
      const child = await startSquid(squid, file, port);
      const differences: string[] = [];
      let allowed = 0;
      try {
        for (const client of clients) {
          for (const request of requests) {
            const isAllowed = await askSquid(port, client, request);
            if (isAllowed) allowed++;
            const { verdict, reason } = tryRequest(ruleset, { ...unsaid, ...request, client: parseAddress(client) }, 0);
            if (isAllowed !== (verdict === "allow") && !(isAllowed && narrower(request.target)))
              differences.push(
                `${client} ${request.method} ${request.target}: Squid ${isAllowed ? "allows" : "denies"}, the policy says ${reason}`,
              );
          }
        }
      } finally {
        await stop(child);
      }
      expect(differences).toEqual([]);
      expect(allowed).toBeGreaterThan(5);
    },
    120_000,
  );
});

function load(policy: string): Ruleset {
  const loaded = loadPolicySet({
    ...disk,
    readFile: (path) => (path === "site.yaml" ? policy : disk.readFile(path)),
    files: ["site.yaml"],
    packsDir,
  });
  if (loaded.kind === "problems") throw new Error(`${JSON.stringify(loaded.problems)}\n${policy}`);
  return compileRuleset(loaded.set);
}

/** All that is allowed goes to a parent that answers everything, so that no name has to be looked up. */
function surroundings(home: string, port: number, parent: number, isRoot: boolean): string {
  return `http_port 127.0.0.1:${port}
cache_peer 127.0.0.1 parent ${parent} 0 no-query no-digest no-netdb-exchange default
never_direct allow all
nonhierarchical_direct off
access_log none
cache_log ${home}/cache.log
cache_store_log none
cache deny all
dns_nameservers 127.0.0.1
pid_filename ${home}/squid.pid
netdb_filename none
pinger_enable off
coredump_dir ${home}
shutdown_lifetime 0 seconds
visible_hostname squid.test
${isRoot ? "cache_effective_user proxy" : ""}
`;
}

function giveTo(user: string, ...paths: readonly string[]): void {
  const uid = Number(execFileSync("id", ["-u", user], { encoding: "utf8" }));
  for (const path of paths) chownSync(path, uid, -1);
}

async function startSquid(squid: string, file: string, port: number): Promise<ChildProcess> {
  const service = `import${process.pid}x${port}`;
  const child = spawn(squid, ["-N", "-n", service, "-f", file], { stdio: "ignore" });
  for (let tries = 0; tries < 100; tries++) {
    try {
      (await connectRaw(port)).close();
      return child;
    } catch {
      // It listens when it has read its files; there is no event to wait for.
      await new Promise((fulfil) => setTimeout(fulfil, 100));
    }
  }
  await stop(child);
  throw new Error(`squid did not start: ${readFileSync(file, "utf8")}`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((fulfil) => child.once("exit", fulfil));
  child.kill("SIGKILL");
  await ended;
}

async function askSquid(
  port: number,
  client: string,
  { method, target }: { method: string; target: string },
): Promise<boolean> {
  const connection = await connectRaw(port, { localAddress: client });
  const host = method === "CONNECT" ? target : target.slice("http://".length, -1);
  const length = method === "POST" ? "Content-Length: 0\r\n" : "";
  connection.send(`${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${length}Connection: close\r\n\r\n`);
  const { status, headers } = await connection.readHead();
  connection.close();
  if (status === 200) return true;
  if (status === 403 && headers.get("x-squid-error")?.startsWith("ERR_ACCESS_DENIED") === true) return false;
  throw new Error(`${client} ${method} ${target}: ${status} ${headers.get("x-squid-error")}`);
}
