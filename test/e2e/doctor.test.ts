/** `sallyport doctor` as a program, beside real proxies that are well, or not. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, type Server, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { freePort } from "../support/ports.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type Origin, startTlsOrigin, testAuthority } from "../support/tls-origin.ts";

type Step = { readonly step: string; readonly status: string; readonly said: string; readonly todo: string };

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "sallyport-doctor-"));
let secure: Origin;
let authority: string;
let running: Sallyport | undefined;
const servers: Server[] = [];

beforeAll(async () => {
  const made = await testAuthority();
  authority = join(directory, "ca.pem");
  writeFileSync(authority, made.certPem);
  secure = await startTlsOrigin({
    authority: made,
    names: ["agent.doctor.example"],
    onRequest: (_request, response) => response.end(),
  });
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
  for (const server of servers.splice(0)) await new Promise((fulfil) => server.close(fulfil));
});
afterAll(async () => {
  await secure.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs to its end; the steps by their name. */
async function doctor(...args: readonly string[]) {
  const child = spawn(process.execPath, [program, "doctor", "--timeout", "2", "--json", ...args], {
    cwd: directory,
    env: { PATH: process.env["PATH"] ?? "", NODE_EXTRA_CA_CERTS: authority },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const exit = await new Promise<number | null>((fulfil) => child.once("close", fulfil));
  const { healthy, steps } = (stdout === "" ? { healthy: false, steps: [] } : JSON.parse(stdout)) as {
    healthy: boolean;
    steps: Step[];
  };
  const statuses = Object.fromEntries(steps.map(({ step, status }) => [step, status]));
  return { exit, healthy, statuses, of: (step: string) => steps.find((one) => one.step === step), stderr };
}

const allowed = () => `https://agent.doctor.example:${secure.port}/`;

async function start(settings: Readonly<Record<string, unknown>> = {}, more: Readonly<Record<string, unknown>> = {}) {
  const [port, admin] = [await freePort(), await freePort()];
  running = await startSallyport({
    policy: {
      rules: [
        {
          id: "agent",
          hosts: ["agent.doctor.example"],
          expect: `https:${secure.port}`,
          resolves_to: ["127.0.0.0/8"],
        },
      ],
      ...more,
    },
    settings: {
      listen: [{ kind: "proxy", address: `127.0.0.1:${port}` }],
      admin: { address: `127.0.0.1:${admin}` },
      dns: { hosts: { "agent.doctor.example": "127.0.0.1" } },
      ...settings,
    },
  });
  return { port, config: join(running.directory, "sallyport.yaml") };
}

describe("on the box", () => {
  test("a proxy that does its work is found well, step by step", async () => {
    const { config } = await start();
    const { exit, healthy, statuses, of, stderr } = await doctor("--config", config);
    expect({ ...statuses, limits: "ok" }).toEqual({
      configuration: "ok",
      limits: "ok",
      log: "ok",
      listener: "ok",
      admin: "ok",
      resolve: "ok",
      denied: "ok",
      allowed: "ok",
      clock: "ok",
    });
    expect(of("denied")?.said).toContain("no_rule");
    expect(of("allowed")?.said).toBe(`${allowed()} shakes hands through the proxy (site/agent)`);
    expect([exit, healthy, stderr]).toEqual([0, true, ""]);
    expect(running?.log.filter((line) => line["reason"] === "no_rule").length).toBe(1);
  });

  test("a network that reaches nobody is reported as such", async () => {
    const dead = await freePort();
    const { config } = await start({ dns: { servers: [`127.0.0.1:${dead}`], timeout: "500ms" } });
    const { exit, statuses, of } = await doctor("--config", config);
    expect(statuses).toMatchObject({
      listener: "ok",
      denied: "ok",
      resolve: "problem",
      allowed: "problem",
      clock: "ok",
    });
    expect(of("resolve")?.said).toContain("agent.doctor.example has no address");
    expect(of("allowed")?.said).toContain("the proxy cannot reach it: dns_");
    expect(of("allowed")?.todo).toContain("without internet, this is expected");
    expect(exit).toBe(1);
  });

  test("report mode is a warning, since nothing is refused", async () => {
    const { config } = await start(
      {
        dns: {
          servers: [`127.0.0.1:${await freePort()}`],
          hosts: { "agent.doctor.example": "127.0.0.1" },
          timeout: "500ms",
        },
      },
      { defaults: { mode: "report" } },
    );
    const { exit, of } = await doctor("--config", config);
    expect(of("denied")).toMatchObject({ status: "warning", said: expect.stringContaining("report mode") });
    expect(exit).toBe(0);
  });

  test("a proxy that does not run, with a log that cannot be written", async () => {
    const settings = {
      version: 1,
      listen: [{ kind: "proxy", address: `127.0.0.1:${await freePort()}` }],
      admin: { address: `127.0.0.1:${await freePort()}` },
      log: { file: "no/such/directory/access.log" },
    };
    const config = join(directory, "stopped.yaml");
    writeFileSync(config, stringify(settings));
    const { exit, statuses, of } = await doctor("--config", config);
    expect(statuses).toMatchObject({ log: "problem", listener: "problem", admin: "problem", denied: "skipped" });
    expect(of("listener")).toMatchObject({
      said: expect.stringContaining("nothing listens on"),
      todo: expect.stringContaining("start the proxy"),
    });
    expect(exit).toBe(1);
  });

  test("an invalid configuration is one problem, and no crash", async () => {
    const config = join(directory, "invalid.yaml");
    writeFileSync(config, "version: 1\nlisten: []\n");
    const { exit, statuses, of } = await doctor("--config", config);
    expect(statuses).toMatchObject({ configuration: "problem", listener: "skipped" });
    expect(of("configuration")?.said).toContain("invalid.yaml:2:");
    expect(exit).toBe(1);
  });
});

describe("on a client", () => {
  test("a proxy that does its work is found well with what its policy allows", async () => {
    const { port } = await start();
    const { exit, statuses } = await doctor("--proxy", `http://127.0.0.1:${port}`, "--allowed", allowed());
    expect(statuses).toEqual({ configuration: "skipped", listener: "ok", denied: "ok", allowed: "ok", clock: "ok" });
    expect(exit).toBe(0);
  });

  test("what the policy there does not allow is named with its reason and id", async () => {
    const { port } = await start();
    const { exit, of } = await doctor("--proxy", `127.0.0.1:${port}`, "--allowed", "https://other.example/");
    expect(of("allowed")?.said).toMatch(
      /^https:\/\/other\.example\/ is refused: no_rule \(sallyport why [0-9A-Z-]{11}\)$/,
    );
    expect(exit).toBe(1);
  });

  test("a certificate that this machine does not trust is a warning", async () => {
    const { port } = await start();
    writeFileSync(authority, "");
    const { exit, of } = await doctor("--proxy", `127.0.0.1:${port}`, "--allowed", allowed());
    writeFileSync(authority, (await testAuthority()).certPem);
    expect(of("allowed")).toMatchObject({
      status: "warning",
      said: expect.stringContaining('issued by "Test authority"'),
    });
    expect(exit).toBe(0);
  });

  const web = (status: number) =>
    createHttpServer((_request, response) => response.writeHead(status).end()).on("connect", (_request, socket) =>
      socket.end(`HTTP/1.1 ${status} So\r\nContent-Length: 0\r\n\r\n`),
    );
  test.each<[string, () => Server, RegExp]>([
    ["another proxy that refuses", () => web(403), /403 So, and not by a Sallyport/],
    ["a proxy that lets everything pass", () => web(200), /was let pass/],
    ["a proxy that asks for credentials", () => web(407), /407/],
    [
      "a program that speaks no HTTP",
      () =>
        createServer((socket) =>
          socket
            .on("error", () => {})
            .resume()
            .end("220 mail\r\n\r\n"),
        ),
      /speaks no HTTP/,
    ],
    [
      "a program that says nothing",
      () => createServer((socket) => socket.on("error", () => {}).resume()),
      /did not answer in time/,
    ],
    ["a program that hangs up", () => createServer((socket) => socket.on("error", () => {}).destroy()), /broke off/],
  ])("%s is told apart", async (_title, make, said) => {
    const server = make();
    servers.push(server);
    await new Promise<void>((fulfil) => server.listen(0, "127.0.0.1", fulfil));
    const { port } = server.address() as AddressInfo;
    const { exit, of } = await doctor("--proxy", `127.0.0.1:${port}`, "--allowed", "http://a.example/");
    expect(of("denied")).toMatchObject({ status: "problem", said: expect.stringMatching(said) });
    expect(exit).toBe(1);
  });

  test("nothing there is told with what to do, and wrong words are usage", async () => {
    const { exit, of } = await doctor("--proxy", `127.0.0.1:${await freePort()}`);
    expect(of("listener")).toMatchObject({ status: "problem", said: expect.stringContaining("nothing listens") });
    expect(exit).toBe(1);
    for (const words of [
      ["--proxy", "socks5://a:1"],
      ["--allowed", "a.example"],
      ["--timeout", "never"],
    ]) {
      expect((await doctor(...words)).exit).toBe(2);
    }
  });
});
