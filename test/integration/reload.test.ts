/** Reload: every trigger puts a good policy into force, a bad one changes nothing, and both are said. */
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { freePort } from "../support/ports.ts";
import { connectRaw } from "../support/raw-http.ts";
import { ask, policyWith, postReload, reloadLine, replaceFile } from "../support/reload.ts";
import { type Sallyport, type SallyportOptions, startSallyport } from "../support/sallyport.ts";
import { type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { openTunnel } from "../support/tunnel.ts";

const patience = { timeout: 10_000, interval: 20 };
const rule = (id: string): object => ({ id, hosts: [`${id}.example.com`], expect: "http" });
const before = policyWith([rule("old"), rule("both")]);
const after = policyWith([rule("both"), rule("new")]);

let origin: TcpOrigin;
beforeAll(async () => {
  origin = await startTcpOrigin(({ socket }) => {
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"));
  });
});
afterAll(() => origin.close());

const running: Sallyport[] = [];
const directories: string[] = [];
afterEach(async () => {
  for (const proxy of running.splice(0)) expect(await proxy.stop()).toBe(0);
  await Promise.all(directories.splice(0).map((path) => rm(path, { recursive: true })));
});

async function start(options: Partial<SallyportOptions> = {}): Promise<Sallyport> {
  const settings = { connect_to: [`*::127.0.0.1:${origin.port}`], reload: { watch: false }, ...options.settings };
  const proxy = await startSallyport({ policy: before, ...options, settings });
  running.push(proxy);
  return proxy;
}

async function temporary(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "sallyport-reload-"));
  directories.push(path);
  return path;
}

async function statusOf(proxy: Sallyport, name: string): Promise<number> {
  const client = await connectRaw(proxy.port);
  client.send(`GET http://${name}.example.com/ HTTP/1.1\r\nHost: ${name}.example.com\r\nConnection: close\r\n\r\n`);
  const { status } = await client.readHead();
  client.close();
  return status;
}

async function statuses(proxy: Sallyport): Promise<readonly number[]> {
  return Promise.all(["old", "both", "new"].map((name) => statusOf(proxy, name)));
}

async function expectInForce(proxy: Sallyport, trigger: string): Promise<void> {
  expect(await reloadLine(proxy)).toMatchObject({
    level: "info",
    result: "success",
    changed: true,
    trigger,
    generation: 2,
    rules: 2,
    rules_added: ["site/new"],
    rules_removed: ["site/old"],
    rules_changed: [],
    newly_allowed: 1,
    newly_denied: 1,
    complete: true,
    on_revoke: "keep",
    tunnels_revoked: 0,
  });
  expect(await statuses(proxy)).toEqual([403, 200, 200]);
}

const watching = { reload: { watch: true } };

describe("a new policy comes into force", () => {
  test("by SIGHUP", async () => {
    const proxy = await start();
    expect(await statuses(proxy)).toEqual([200, 200, 403]);
    await replaceFile(proxy, after);
    proxy.process.kill("SIGHUP");
    await expectInForce(proxy, "signal");
  });

  test("by POST /-/reload, which says what it changes", async () => {
    const proxy = await start();
    await replaceFile(proxy, after);
    const { status, body } = await postReload(proxy);
    expect(status).toBe(200);
    expect(body).toMatchObject({ result: "reloaded", generation: 2, restart_needed: [], tunnels_revoked: 0 });
    await expectInForce(proxy, "request");
  });

  test("by a file that is written over", async () => {
    const proxy = await start({ settings: watching });
    await writeFile(join(proxy.directory, "site.yaml"), after);
    await expectInForce(proxy, "watch");
  });

  test("by a file that another is renamed to", async () => {
    const proxy = await start({ settings: watching });
    await replaceFile(proxy, after);
    await expectInForce(proxy, "watch");
  });

  test("by default, without any setting of it", async () => {
    const proxy = await start({ settings: { reload: {} } });
    await replaceFile(proxy, after);
    await expectInForce(proxy, "watch");
  });

  test("by Kubernetes' swap of ..data", async () => {
    const mount = await temporary();
    await mkdir(join(mount, "..2026_1"));
    await writeFile(join(mount, "..2026_1", "site.yaml"), before);
    await symlink("..2026_1", join(mount, "..data"));
    await symlink("..data/site.yaml", join(mount, "site.yaml"));
    const proxy = await start({ settings: { ...watching, policy: [join(mount, "site.yaml")] } });
    await mkdir(join(mount, "..2026_2"));
    await writeFile(join(mount, "..2026_2", "site.yaml"), after);
    await symlink("..2026_2", join(mount, "..data_tmp"));
    await rename(join(mount, "..data_tmp"), join(mount, "..data"));
    await rm(join(mount, "..2026_1"), { recursive: true });
    await expectInForce(proxy, "watch");
    expect(await readlink(join(mount, "..data"))).toBe("..2026_2");
  });

  test("by a link to a directory that is swapped where nobody watches: within the two seconds of the clock", async () => {
    const releases = await temporary();
    for (const [name, text] of Object.entries({ one: before, two: after })) {
      await mkdir(join(releases, name));
      await writeFile(join(releases, name, "site.yaml"), text);
    }
    await symlink("one", join(releases, "current"));
    const proxy = await start({ settings: { ...watching, policy: [join(releases, "current", "site.yaml")] } });
    await symlink("two", join(releases, "next"));
    await rename(join(releases, "next"), join(releases, "current"));
    await expectInForce(proxy, "watch");
  });

  test("once for one change, however many files it touches, and not for a file that is only touched", async () => {
    const directory = await temporary();
    const files = [join(directory, "a.yaml"), join(directory, "b.yaml")];
    await writeFile(files[0]!, policyWith([rule("old")], { name: "a" }));
    await writeFile(files[1]!, policyWith([rule("both")], { name: "b" }));
    const two = await start({ settings: { ...watching, policy: files } });
    await writeFile(files[0]!, policyWith([rule("new")], { name: "a" }));
    await writeFile(files[1]!, policyWith([rule("both"), rule("more")], { name: "b" }));
    expect(await reloadLine(two)).toMatchObject({ generation: 2, rules_added: ["a/new", "b/more"] });
    await writeFile(files[0]!, policyWith([rule("new")], { name: "a" }));
    await writeFile(files[1]!, policyWith([rule("both")], { name: "b" }));
    expect(await reloadLine(two, 2)).toMatchObject({ generation: 3, rules_added: [], rules_removed: ["b/more"] });
    expect(two.log.filter((line) => line["event"] === "reload")).toHaveLength(2);
  });
});

const broken: Readonly<Record<string, { text: string | undefined; says: RegExp }>> = {
  "no YAML": { text: "version: 1\nname: site\nrules: [", says: /site\.yaml:3/ },
  "an unknown key": { text: `${after}oops: true\n`, says: /oops/ },
  "half of it": { text: after.slice(0, after.length / 2), says: /site\.yaml/ },
  "an empty file": { text: "", says: /site\.yaml/ },
  "a test of its own fails": {
    text: policyWith([rule("both"), rule("new")], {
      tests: [{ request: "GET http://new.example.com/", expect: "deny" }],
    }),
    says: /is expected to be denied, but it is allowed by site\/new/,
  },
  "no file": { text: undefined, says: /does not exist/ },
};

describe("a bad file changes nothing, and is loud", () => {
  test.each(Object.entries(broken))("%s", async (_, { text, says }) => {
    const proxy = await start();
    const hash = (await ask(proxy, "/api/policy")).body["hash"];
    if (text === undefined) await rm(join(proxy.directory, "site.yaml"));
    else await replaceFile(proxy, text);
    const { status, body } = await postReload(proxy);
    expect(status).toBe(422);
    expect(body).toMatchObject({ error: "policy_refused", generation: 1, hash });
    expect(JSON.stringify(body["problems"])).toMatch(says);
    const line = await reloadLine(proxy);
    expect(line).toMatchObject({ level: "error", result: "failure", trigger: "request", policy: hash, generation: 1 });
    expect(JSON.stringify(line["problems"])).toMatch(says);
    expect(proxy.stderr()).toMatch(says);
    expect(proxy.stderr()).toContain(`the policy in force is still ${String(hash)}`);
    expect(await statuses(proxy)).toEqual([200, 200, 403]);
    expect((await ask(proxy, "/readyz")).status).toBe(200);
    expect(await proxy.metric('sallyport_policy_reloads_total{result="failure"}')).toBe(1);
    expect(await proxy.metric("sallyport_policy_last_reload_successful")).toBe(0);
    expect(await proxy.metric(`sallyport_policy_info{hash="${String(hash)}"}`)).toBe(1);

    await replaceFile(proxy, after);
    expect((await postReload(proxy)).body).toMatchObject({ result: "reloaded", generation: 2 });
    expect(await proxy.metric('sallyport_policy_reloads_total{result="success"}')).toBe(1);
    expect(await proxy.metric("sallyport_policy_last_reload_successful")).toBe(1);
    expect(await proxy.metric(`sallyport_policy_info{hash="${String(hash)}"}`)).toBeUndefined();
    expect(await proxy.metric('sallyport_rule_decisions_total{rule="site/old",verdict="allow"}')).toBeUndefined();
    expect(await statuses(proxy)).toEqual([403, 200, 200]);
  });

  test("one that is watched is told once, and mended by the next change", async () => {
    const proxy = await start({ settings: watching });
    await replaceFile(proxy, "rules: [");
    expect(await reloadLine(proxy)).toMatchObject({ result: "failure", trigger: "watch" });
    await replaceFile(proxy, after);
    expect(await reloadLine(proxy, 2)).toMatchObject({ result: "success", generation: 2 });
  });

  test("a broken sallyport.yaml, too: what it names is watched on, and so is it", async () => {
    const proxy = await start({ settings: watching });
    const settings = await readFile(join(proxy.directory, "sallyport.yaml"), "utf8");
    await replaceFile(proxy, "version: 7\n", "sallyport.yaml");
    expect(await reloadLine(proxy)).toMatchObject({ result: "failure" });
    await replaceFile(proxy, after);
    expect(await reloadLine(proxy, 2)).toMatchObject({ result: "failure" });
    await replaceFile(proxy, settings, "sallyport.yaml");
    expect(await reloadLine(proxy, 3)).toMatchObject({ result: "success", generation: 2 });
    expect(await statuses(proxy)).toEqual([403, 200, 200]);
  });
});

describe("what is shown", () => {
  test("/api/policy tells the generation, and what the last reload changed", async () => {
    const proxy = await start();
    const first = (await ask(proxy, "/api/policy")).body;
    expect(first).toMatchObject({ generation: 1 });
    expect(first).not.toHaveProperty("change");
    await replaceFile(proxy, after);
    await postReload(proxy);
    const { body } = await ask(proxy, "/api/policy");
    expect(body).toMatchObject({
      generation: 2,
      change: {
        trigger: "request",
        from: first["hash"],
        rules: { added: ["site/new"], removed: ["site/old"], changed: [] },
        summary: { allowed: 1, denied: 1, rule: 0, conditions: 0 },
        complete: true,
      },
    });
    expect((body["change"] as { changes: unknown }).changes).toMatchObject([
      { kind: "allowed", patterns: ["new.example.com"], requests: ["http:80"], after: { rule: "site/new" } },
      { kind: "denied", patterns: ["old.example.com"], requests: ["http:80"], before: { rule: "site/old" } },
    ]);
    expect(body["hash"]).not.toBe(first["hash"]);
  });

  test("a reload of the same files is a success that changes nothing", async () => {
    const proxy = await start();
    proxy.process.kill("SIGHUP");
    expect(await reloadLine(proxy)).toMatchObject({ level: "info", result: "success", changed: false, generation: 1 });
    expect((await postReload(proxy)).body).toMatchObject({ result: "unchanged", generation: 1 });
    expect(await proxy.metric('sallyport_policy_reloads_total{result="success"}')).toBe(2);
  });

  test("other settings need a restart, which is said by their names, and the policy is taken all the same", async () => {
    const proxy = await start();
    await writeFile(
      join(proxy.directory, "sallyport.yaml"),
      stringify({
        version: 1,
        listen: [{ kind: "proxy", address: "127.0.0.1:1" }],
        admin: { address: "127.0.0.1:0" },
        policy: ["site.yaml"],
        connect_to: [`*::127.0.0.1:${origin.port}`],
        limits: { per_client: 7, dial_timeout: "3s" },
        reload: { watch: false, on_revoke: "close" },
      }),
    );
    await replaceFile(proxy, after);
    const names = ["limits.dial_timeout", "limits.per_client", "listen"];
    const { body } = await postReload(proxy);
    expect([...(body["restart_needed"] as string[])].sort()).toEqual(names);
    expect(body).toMatchObject({ result: "reloaded", on_revoke: "close" });
    expect(await reloadLine(proxy)).toMatchObject({ level: "warn", result: "success", generation: 2 });
    expect(proxy.stderr()).toMatch(/a reload does not change .*limits\.per_client/);
    expect(await statuses(proxy)).toEqual([403, 200, 200]);
  });
});

describe("the endpoint", () => {
  const gate: Readonly<Record<string, { method?: string; headers?: Record<string, string>; status: number }>> = {
    "is asked by POST": { status: 200 },
    "not by GET": { method: "GET", status: 405 },
    "nor by PUT": { method: "PUT", status: 405 },
    "a page of another origin is refused": { headers: { origin: "http://evil.example" }, status: 403 },
    "a page without an origin too": { headers: { origin: "null" }, status: 403 },
    "a page on another port too": { headers: { origin: "http://127.0.0.1:1" }, status: 403 },
    "a browser that says it crosses sites too": { headers: { "sec-fetch-site": "cross-site" }, status: 403 },
  };
  let proxy: Sallyport;
  beforeAll(async () => {
    proxy = await startSallyport({ policy: before, settings: { reload: { watch: false } } });
  });
  afterAll(() => proxy.stop());
  test.each(Object.entries(gate))("%s", async (_, { method = "POST", headers = {}, status }) => {
    const client = await connectRaw(proxy.adminPort);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    client.send(
      `${method} /-/reload HTTP/1.1\r\nHost: 127.0.0.1:${proxy.adminPort}\r\nContent-Length: 0\r\n${lines.join("")}Connection: close\r\n\r\n`,
    );
    const head = await client.readHead();
    client.close();
    expect(head.status).toBe(status);
    if (status === 405) expect(head.headers.get("allow")).toBe("POST");
  });

  test("a page of the admin server's own is let in, and a name that it does not answer to is not", async () => {
    const host = `127.0.0.1:${proxy.adminPort}`;
    const answers = await Promise.all(
      [
        { host, origin: `http://${host}` },
        { host: "evil.example", origin: "http://evil.example" },
      ].map(async (fields) => {
        const client = await connectRaw(proxy.adminPort);
        client.send(
          `POST /-/reload HTTP/1.1\r\nHost: ${fields.host}\r\nOrigin: ${fields.origin}\r\nConnection: close\r\n\r\n`,
        );
        const { status } = await client.readHead();
        client.close();
        return status;
      }),
    );
    expect(answers).toEqual([200, 421]);
  });
});

test("a connection that rests from before is not used again: it is closed", async () => {
  const patient = await startTcpOrigin(({ socket }) => {
    socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  });
  const proxy = await start({ settings: { connect_to: [`*::127.0.0.1:${patient.port}`] } });
  expect([await statusOf(proxy, "both"), await statusOf(proxy, "both")]).toEqual([200, 200]);
  expect(patient.connections()).toBe(1);
  await replaceFile(proxy, after);
  await postReload(proxy);
  await (
    await patient.recording(0)
  ).ended;
  expect(await statusOf(proxy, "both")).toBe(200);
  expect(patient.connections()).toBe(2);
  await patient.close();
});

describe("beginning and end", () => {
  test("SIGTERM right after the start line drains, and does not kill", async () => {
    for (let i = 0; i < 5; i++) {
      const proxy = await startSallyport({ policy: before });
      // `startSallyport` returns with the very chunk that has the line.
      expect(await proxy.stop()).toBe(0);
      expect(proxy.log.at(-1)).toMatchObject({ event: "drain" });
    }
  });

  test("a reload during a drain is refused, and the drain goes on", async () => {
    const proxy = await start({
      policy: policyWith([{ id: "raw", hosts: ["raw.example.com"], expect: "tcp:22" }, rule("old")]),
    });
    const client = await openTunnel(proxy, "raw.example.com:22");
    await replaceFile(proxy, after);
    proxy.process.kill("SIGTERM");
    await proxy.logged((line) => line["event"] === "drain");
    expect(await postReload(proxy)).toMatchObject({ status: 503, body: { error: "not_now", generation: 1 } });
    expect(await reloadLine(proxy)).toMatchObject({ level: "warn", result: "not_now", generation: 1 });
    expect(await proxy.metric('sallyport_policy_reloads_total{result="failure"}')).toBe(0);
    client.close();
  });
});

test("standard output and standard error in one file: every line of both is there", async () => {
  const directory = await temporary();
  const [port, adminPort] = [await freePort(), await freePort()];
  await writeFile(join(directory, "site.yaml"), before);
  await writeFile(
    join(directory, "sallyport.yaml"),
    stringify({
      version: 1,
      listen: [{ kind: "proxy", address: `127.0.0.1:${port}` }],
      admin: { address: `127.0.0.1:${adminPort}` },
      policy: ["site.yaml"],
      reload: { watch: false },
    }),
  );
  const output = join(directory, "output");
  // As `>output 2>&1`: no O_APPEND, one place in the file for both.
  const fd = openSync(output, "w");
  const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
  const child = spawn(process.execPath, [program, "serve"], { cwd: directory, stdio: ["ignore", fd, fd] });
  closeSync(fd);
  const exited = once(child, "exit");
  const proxy = { port, adminPort, directory, process: child } as unknown as Sallyport;
  await vi.waitFor(async () => expect((await ask(proxy, "/readyz")).status).toBe(200), patience);
  for (let i = 0; i < 5; i++) {
    await replaceFile(proxy, i % 2 === 0 ? "rules: [" : before);
    await postReload(proxy);
    await statusOf(proxy, "new");
  }
  child.kill("SIGTERM");
  expect(await exited).toEqual([0, null]);
  const lines = (await readFile(output, "utf8")).trimEnd().split("\n");
  const events = lines
    .filter((line) => line.startsWith("{"))
    .map((line) => (JSON.parse(line) as { event: string }).event);
  expect(events.filter((event) => event === "request")).toHaveLength(5);
  expect(events.filter((event) => event === "reload")).toHaveLength(5);
  expect(events[0]).toBe("start");
  expect(events.at(-1)).toBe("drain");
  expect(lines.filter((line) => line.includes("the reload has changed nothing"))).toHaveLength(3);
  expect(lines.filter((line) => line.includes("listens on"))).toHaveLength(1);
});
