/** A denial, from the client that meets it to the rule that lets exactly that request pass; and report mode all along. */
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectRaw } from "../support/raw-http.ts";
import { reloadLine } from "../support/reload.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { sendConnect } from "../support/tunnel.ts";

const program = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const head = `version: 1
name: site
clients:
  kiosks: { addresses: [127.0.0.2/32], mode: report }
`;
const rules = `rules:
  - { id: files, hosts: ["*.files.example"], expect: http, range: deny, resolves_to: [127.0.0.0/8] }
  - { id: trial, hosts: [trial.example], expect: https, mode: report, resolves_to: [127.0.0.0/8] }
`;

type Ended = { readonly exit: number | null; readonly stdout: string; readonly stderr: string };

function cli(args: readonly string[], cwd: string): Promise<Ended> {
  return new Promise((fulfil, reject) => {
    const child = spawn(process.execPath, [program, ...args], { cwd, env: { PATH: process.env["PATH"] ?? "" } });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.end();
    child.once("error", reject);
    child.once("close", (exit) => fulfil({ exit, stdout, stderr }));
  });
}

let origin: TcpOrigin;
const proxies: Sallyport[] = [];

beforeAll(async () => {
  origin = await startTcpOrigin(({ socket }) => {
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"));
  });
});
afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  await origin.close();
});

async function start(policy: string, settings: Readonly<Record<string, unknown>> = {}): Promise<Sallyport> {
  const hosts = { "*.example": "127.0.0.1" };
  const connectTo = ["80", "443"].map((port) => `:${port}:127.0.0.1:${origin.port}`);
  const proxy = await startSallyport({ policy, settings: { dns: { hosts }, connect_to: connectTo, ...settings } });
  proxies.push(proxy);
  return proxy;
}

type Asked = { readonly status: number; readonly head: string; readonly body: string };

async function get(proxy: Sallyport, url: string, fields: readonly string[] = [], method = "GET"): Promise<Asked> {
  const client = await connectRaw(proxy.port);
  client.send(
    `${[`${method} ${url} HTTP/1.1`, `Host: ${new URL(url).host}`, "Connection: close", ...fields].join("\r\n")}\r\n\r\n`,
  );
  const answer = await client.readHead();
  const body = (await client.readAll()).toString();
  client.close();
  return { status: answer.status, head: answer.raw, body };
}

const api = async (proxy: Sallyport, path: string): Promise<Readonly<Record<string, unknown>>> =>
  (await (await fetch(`http://127.0.0.1:${proxy.adminPort}${path}`)).json()) as Readonly<Record<string, unknown>>;

describe("from a denial to its rule", () => {
  let proxy: Sallyport;
  let refused: Asked;
  let id: string;
  beforeAll(async () => {
    proxy = await start(head + rules, { reload: { watch: false } });
    refused = await get(proxy, "http://a.files.example/x.cab?token=secret", ["Range: bytes=0-1"]);
    id = /X-Sallyport-Denial: (\S+)/.exec(refused.head)?.[1] ?? "";
  });

  test("the refusal names the command, and its id is the log's", async () => {
    expect(refused.status).toBe(403);
    expect(refused.body).toMatch(new RegExp(`\nsallyport why ${id}\n$`));
    expect(await proxy.logged((line) => line["denial"] === id)).toMatchObject({ reason: "range_denied" });
  });

  test("the ring has it with path and Range, and the log has no path", async () => {
    expect(await api(proxy, `/api/denials?q=${id}`)).toMatchObject({
      denials: [
        { id, reason: "range_denied", last: { path: "/x.cab?token=secret", range: "bytes=0-1", method: "GET" } },
      ],
    });
    expect(JSON.stringify(proxy.log)).not.toContain("secret");
  });

  test("the metric names it", async () => {
    const series = `sallyport_top_denials{host="a.files.example",reason="range_denied",group="_none",id="${id}"}`;
    expect(await proxy.metric(series)).toBe(1);
  });

  test("why asks the proxy that runs", async () => {
    const { exit, stdout } = await cli(["why", id, "--admin", `127.0.0.1:${proxy.adminPort}`], proxy.directory);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^denied: range_denied\nRule site\/files does not allow Range\.\n/);
    expect(stdout).toContain("GET http://a.files.example/x.cab?token=secret");
  });

  test("the rule of allow lets exactly that request pass, once it is pasted and SIGHUP sent", async () => {
    const { exit, stdout } = await cli(
      ["allow", id, "--admin", `127.0.0.1:${proxy.adminPort}`, "--ttl", "7d"],
      proxy.directory,
    );
    expect(exit).toBe(0);
    const before = await readFile(join(proxy.directory, "site.yaml"), "utf8");
    expect(before).toBe(head + rules);
    await writeFile(join(proxy.directory, "site.yaml"), head + rules.replace("rules:\n", `rules:\n${stdout}`));
    proxy.process.kill("SIGHUP");
    expect(await reloadLine(proxy)).toMatchObject({ result: "success", generation: 2, newly_denied: 0 });
    const after = proxy;
    const status = async (url: string, fields: readonly string[] = [], method = "GET"): Promise<number> =>
      (await get(after, url, fields, method)).status;
    const range = ["Range: bytes=0-1"];
    expect(await status("http://a.files.example/x.cab?token=secret", range)).toBe(200);
    expect(await status("http://a.files.example/x.cab")).toBe(200);
    expect(await status("http://b.files.example/x.cab", range)).toBe(403);
    expect(await status("http://x.a.files.example/x.cab", range)).toBe(403);
    expect(await status("http://files.example/x.cab", range)).toBe(403);
    expect(await status("http://a.files.example:8080/x.cab", range)).toBe(403);
    const tunnel = await sendConnect(after, "a.files.example:443");
    expect((await tunnel.readHead()).status).toBe(403);
    tunnel.close();
  });

  test("where the proxy is comes from the configuration, and what nobody was denied is 1", async () => {
    const none = await cli(
      ["why", "nobody.example", "--admin", `http://127.0.0.1:${proxy.adminPort}`],
      proxy.directory,
    );
    expect([none.exit, none.stdout]).toEqual([1, ""]);
    expect(none.stderr).toContain("sallyport: error: nothing under nobody.example was denied since ");
    const nowhere = await cli(["why", id], proxy.directory);
    expect([nowhere.exit, nowhere.stderr.includes("--admin ADDRESS")]).toEqual([2, true]);
  });
});

describe("report mode", () => {
  const modes: readonly (readonly [string, string, string, string])[] = [
    ["a rule's", head + rules, "trial.example:80", "127.0.0.1"],
    ["a group's", head + rules, "a.files.example:443", "127.0.0.2"],
    ["the default", `${head}defaults: { mode: report }\n${rules}`, "unheard.example:443", "127.0.0.1"],
  ];
  test.each(modes)("%s is in the log, the metrics, the ring and the API", async (_, policy, target, client) => {
    const proxy = await start(policy, {
      connect_to: [`:443:127.0.0.1:${origin.port}`, `:80:127.0.0.1:${origin.port}`],
    });
    const tunnel = await sendConnect(proxy, target, { localAddress: client });
    expect((await tunnel.readHead()).status).toBe(200);
    const [found] = await expectRecorded(proxy);
    expect(found).toMatchObject({ verdict: "allow", would: "deny", mode: "report", count: 1, would_count: 1 });
    tunnel.send("the origin answers this, and ends");
    await tunnel.readAll();
    tunnel.close();
    const line = await proxy.logged((one) => one["would"] === "deny");
    expect(line).toMatchObject({ verdict: "allow", mode: "report", reason: found?.["reason"], denial: found?.["id"] });
    const series = `sallyport_decisions_total{verdict="allow",reason="${String(found?.["reason"])}",mode="report"}`;
    expect(await proxy.metric(series)).toBe(1);
    const { stdout } = await cli(
      ["why", String(found?.["id"]), "--admin", `127.0.0.1:${proxy.adminPort}`],
      proxy.directory,
    );
    expect(stdout).toMatch(/^report mode let it pass: /);
  });

  /** The tunnel is still open: what report mode let pass is seen at once. */
  async function expectRecorded(proxy: Sallyport): Promise<readonly Readonly<Record<string, unknown>>[]> {
    await expect.poll(async () => (await api(proxy, "/api/denials?q=would"))["matched"], { timeout: 5_000 }).toBe(1);
    return (await api(proxy, "/api/denials?q=would"))["denials"] as readonly Readonly<Record<string, unknown>>[];
  }
});

describe("cardinality", () => {
  test("hundreds of hosts, methods and server names add no series but those of top_denials", async () => {
    const proxy = await start(head + rules, { denials: { top: 5 } });
    const names = async (): Promise<string[]> => {
      const text = await (await fetch(`http://127.0.0.1:${proxy.adminPort}/metrics`)).text();
      const lines = text.split("\n").filter((line) => line.startsWith("sallyport_"));
      return lines.map((line) => line.slice(0, line.lastIndexOf(" ")));
    };
    const before = await names();
    for (let i = 0; i < 300; i++)
      await get(proxy, `http://h${i}.nowhere.example/p${i}`, [], i % 2 === 0 ? "GET" : "PROPFIND");
    const after = await names();
    expect(
      after.filter((name) => !before.includes(name)).every((name) => name.startsWith("sallyport_top_denials{")),
    ).toBe(true);
    expect(after).toHaveLength(before.length + 5);
    expect(await api(proxy, "/api/denials")).toMatchObject({ total: 128, capacity: 1024 });
  });
});
