/** What `npm pack` makes: all that users need is in it, nothing else is, and it runs with production packages alone. */
import { execFile } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectRaw } from "../support/raw-http.ts";
import { startServe, writeConfiguration } from "../support/serve-process.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
let directory = "";
let files: readonly string[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "sallyport-tarball-"));
  // Without `prepare`: dist/ has been built by now, and other tests run from it.
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", directory], {
    cwd: root,
  });
  const [{ filename, files: packed }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  files = packed.map(({ path }) => path);
  await mkdir(join(directory, "node_modules"));
  await run("tar", ["xzf", join(directory, filename), "-C", directory]);
  await cp(join(directory, "package"), join(directory, "node_modules/sallyport"), { recursive: true });
  await installProductionPackages(directory);
}, 60_000);

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe("the tarball has", () => {
  test.each([
    "package.json",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "dist/main.js",
    "policies/default.yaml",
    "policies/site.example.yaml",
    "policies/packs/windows-update.yaml",
    "certs/README.md",
    "deploy/README.md",
    "deploy/systemd/sallyport.service",
    "deploy/systemd/sallyport.sysusers.conf",
    "deploy/systemd/sallyport.tmpfiles.conf",
    "deploy/logrotate/sallyport",
    "deploy/haproxy/haproxy.cfg",
    "deploy/nftables/forward-through-proxy.nft",
    "deploy/windows/sallyport.xml",
    "deploy/kubernetes/base/kustomization.yaml",
    "deploy/prometheus/sallyport.alerts.yaml",
    "deploy/grafana/dashboards/denials.json",
    "docs/operations.md",
    "docs/configuration.md",
    "docs/reasons.md",
  ])("%s", (path) => {
    expect(files).toContain(path);
  });

  test("every pack, and everything that was built", async () => {
    for (const name of ["policies/packs", "dist"]) {
      const there = await readdir(join(root, name), { recursive: true, withFileTypes: true });
      const expected = there.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
      expect(expected.length).toBeGreaterThan(20);
      expect(files).toEqual(expect.arrayContaining(expected.map((path) => path.slice(root.length))));
    }
  });

  test("no source, no test, no secret", () => {
    expect(files.filter((path) => /^(src|test|bench|node_modules)\//.test(path))).toEqual([]);
    expect(files.filter((path) => /\.(key|pem|secret|log|tgz)$/.test(path))).toEqual([]);
  });
});

describe("what is installed from it, without a development package beside it", () => {
  test("says its version", async () => {
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
    const program = join(directory, "node_modules/sallyport/dist/main.js");
    expect((await run(process.execPath, [program, "version"])).stdout).toContain(version);
  });

  test("checks, serves, denies, and ends", async () => {
    const program = join(directory, "node_modules/sallyport/dist/main.js");
    const configuration = await writeConfiguration();
    const config = ["--config", join(configuration, "sallyport.yaml")];
    await run(process.execPath, [program, "check", ...config]);
    const serve = await startServe([process.execPath, program, "serve", ...config], configuration);
    const client = await connectRaw(serve.port);
    client.send("GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n");
    const head = await client.readHead();
    expect([head.status, head.headers.get("x-sallyport-reason")]).toEqual([403, "no_rule"]);
    client.close();
    for (const path of ["healthz", "readyz", "metrics", "api/policy"])
      expect((await fetch(`http://127.0.0.1:${serve.adminPort}/${path}`)).status).toBe(200);
    serve.process.kill("SIGTERM");
    expect(await serve.exited).toBe(0);
    await rm(configuration, { recursive: true });
  });

  test("serves every pack that ships, without a configuration", async () => {
    const empty = join(directory, "empty");
    await mkdir(empty);
    const program = join(directory, "node_modules/sallyport/dist/main.js");
    const addresses = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    const serve = await startServe([process.execPath, program, "serve", ...addresses], empty);
    await expect.poll(serve.stderr).toContain("default policy");
    serve.process.kill("SIGTERM");
    expect(await serve.exited).toBe(0);
  });
});

/**
 * What `npm install --omit=dev` would: copies, since a link would let packages see those for development. A registry is
 * not asked. Throws where a package of the lock file is not installed.
 */
async function installProductionPackages(target: string): Promise<void> {
  const lock = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean; optional?: boolean }>;
  };
  for (const [path, { dev, devOptional, optional }] of Object.entries(lock.packages)) {
    if (path === "" || dev === true || devOptional === true || optional === true) continue;
    await mkdir(dirname(join(target, path)), { recursive: true });
    await cp(join(root, path), join(target, path), { recursive: true });
    await chmod(join(target, path), 0o755);
  }
}
