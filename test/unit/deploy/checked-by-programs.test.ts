/** Files of deploy/ that other programs read, checked by those programs. Nothing is loaded into this machine's kernel. */
import { execFile, spawnSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { disk } from "../../../src/config/disk.ts";
import { loadPolicySet, loadSettings } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { defaultSettings } from "../../../src/config/read-settings.ts";
import { describeWithTool, requireTool } from "../../support/tools.ts";

type Service = {
  readonly image?: string;
  readonly build?: unknown;
  readonly volumes?: readonly string[];
  readonly networks: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: readonly string[];
  readonly secrets?: readonly string[];
  readonly security_opt?: readonly string[];
};
type Compose = {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: object;
  readonly volumes: object;
  readonly secrets: object;
};

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../..", import.meta.url));
const deploy = `${root}deploy/`;
const compose = parse(await readFile(`${deploy}compose/compose.yaml`, "utf8")) as Compose;
const services = Object.entries(compose.services);

describeWithTool(["nft"], "nft takes", () => {
  // Even a check asks the kernel: in a network namespace of its own where that is possible, never in that of the machine.
  const isolated = spawnSync("unshare", ["--net", "true"]).status === 0;

  test.skipIf(!isolated).each(["forward-through-proxy.nft", "redirect-on-gateway.nft"])(
    "%s, and twice as well as once",
    async (name) => {
      const nft = requireTool("nft")!;
      await run("unshare", ["--net", nft, "--check", "--file", `${deploy}nftables/${name}`]);
      const twice = '"$0" -f "$1" && "$0" list ruleset >&2 && "$0" -f "$1" && "$0" list ruleset';
      const { stdout, stderr } = await run("unshare", ["--net", "sh", "-c", twice, nft, `${deploy}nftables/${name}`]);
      expect(stdout).toContain("table inet sallyport_");
      expect(stdout).toBe(stderr);
    },
  );
});

describeWithTool(["haproxy"], "HAProxy takes", () => {
  test("haproxy.cfg, which sends PROXY protocol and asks /readyz", async () => {
    await run(requireTool("haproxy")!, ["-c", "-f", `${deploy}haproxy/haproxy.cfg`]);
    const text = await readFile(`${deploy}haproxy/haproxy.cfg`, "utf8");
    expect(text).toMatch(/default-server check port 9180 .*send-proxy-v2$/m);
    expect(text).toContain("option  httpchk GET /readyz");
  });
});

describeWithTool(["promtool"], "Prometheus takes", () => {
  test("the compose file's prometheus.yml, with the rule files where they are mounted", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sallyport-compose-"));
    for (const name of [
      "compose/prometheus/prometheus.yml",
      "prometheus/sallyport.rules.yaml",
      "prometheus/sallyport.alerts.yaml",
    ])
      await copyFile(deploy + name, join(directory, name.split("/").at(-1)!));
    const { stdout } = await run(requireTool("promtool")!, ["check", "config", join(directory, "prometheus.yml")]);
    expect(stdout).toContain("2 rule files found");
    await rm(directory, { recursive: true });
  });
});

test.each(services)("service %s names what exists, and is pinned", async (_name, service) => {
  for (const network of service.networks) expect(compose.networks).toHaveProperty(network);
  for (const other of service.depends_on ?? []) expect(compose.services).toHaveProperty(other);
  for (const secret of service.secrets ?? []) expect(compose.secrets).toHaveProperty(secret);
  for (const volume of service.volumes ?? []) {
    const [source = ""] = volume.split(":");
    if (source.startsWith(".")) {
      await expect(readdirOrFile(`${deploy}compose/${source}`)).resolves.toBeDefined();
      expect(volume).toMatch(/:ro$/);
    } else {
      expect(compose.volumes).toHaveProperty(source);
    }
  }
  expect(service.security_opt).toContain("no-new-privileges:true");
  if (service.build === undefined) expect(service.image).toMatch(/:v?\d+\.\d+\.\d+$/);
});

test("of the services, clients reach the proxy alone, and Grafana is for this machine", () => {
  expect(services.flatMap(([name, { ports = [] }]) => ports.map((port) => `${name} ${port}`))).toEqual([
    "sallyport 3128:3128",
    "grafana 127.0.0.1:3000:3000",
  ]);
});

test("Sallyport's configuration among the services is valid, and its log is where Alloy reads it", async () => {
  const read = loadSettings({ ...disk, path: `${deploy}compose/sallyport/sallyport.yaml`, flags: {}, env: {} });
  if (read.kind === "problems") throw new Error(read.problems.map(formatProblem).join("\n"));
  const { settings } = read;
  const loaded = loadPolicySet({ ...disk, files: [...settings.policy], packsDir: `${root}policies/packs` });
  expect(loaded.kind).not.toBe("problems");
  const alloy = await readFile(`${deploy}compose/alloy/config.alloy`, "utf8");
  expect(alloy).toContain(`"__path__" = "${settings.log.file}", "job" = "sallyport"`);
  const scraped = await readFile(`${deploy}compose/prometheus/prometheus.yml`, "utf8");
  expect(scraped).toContain(`sallyport:${settings.admin.address.port}`);
});

test("the Windows service is well-formed, and has longer to stop than a drain takes", async () => {
  const xml = (await readFile(`${deploy}windows/sallyport.xml`, "utf8")).replaceAll(/<!--.*?-->/gs, "");
  const open: string[] = [];
  for (const [, end, name, empty] of xml.matchAll(/<(\/?)([a-z]+)(?: [a-zA-Z]+="[^"<]*")*\s*(\/?)>/g)) {
    if (end === "/") expect(open.pop()).toBe(name);
    else if (empty !== "/") open.push(name!);
  }
  expect(open).toEqual([]);
  expect(xml.replaceAll(/<[^<>]*>/g, "")).not.toMatch(/[<>&]/);
  const [, seconds] = /<stoptimeout>(\d+) sec</.exec(xml) ?? [];
  expect(Number(seconds) * 1000).toBeGreaterThan(defaultSettings.limits.drainTimeoutMs);
});

/** Its names, or its text. */
async function readdirOrFile(path: string): Promise<string | readonly string[]> {
  return readdir(path).catch(() => readFile(path, "utf8"));
}
