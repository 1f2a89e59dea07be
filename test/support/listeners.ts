/** A real Sallyport with several listeners in front of two origins, and real curl as its client. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { genSaltSync, hashSync } from "bcryptjs";
import { type Sallyport, type SallyportOptions, startSallyport } from "./sallyport.ts";
import { type Origin, startTlsOrigin, testAuthority, testLeaf } from "./tls-origin.ts";
import { requireTool } from "./tools.ts";

export const secureHost = "updates.example.com";
export const plainHost = "plain.example.com";
/** Name of the proxy's own certificate. */
export const proxyName = "proxy.example.com";

export type Listeners = {
  readonly proxy: Sallyport;
  /** Ports in the order of `listen`. */
  readonly ports: readonly number[];
  /** Where the files below are. */
  readonly directory: string;
  readonly secureOrigin: Origin;
  /** Heads that the plain origin was sent: request line and fields as they came. */
  readonly plainHeads: readonly string[];
  /** Runs curl to its end. */
  readonly curl: (...args: readonly string[]) => Promise<Run>;
  readonly stop: () => Promise<number | null>;
};

export type Run = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/**
 * Files of `directory`: `ca.pem` (of origins, proxy and clients), `proxy.pem` and `proxy.key`, `client.pem` and
 * `client.key` (of `kiosk7.example.com`), `users.htpasswd` (kiosk with the password `open sesame`, and admin with
 * `pass:word`).
 */
export async function startListeners(
  listen: (directory: string) => readonly Readonly<Record<string, unknown>>[],
  {
    policy,
    settings,
    ...options
  }: Partial<Omit<SallyportOptions, "policy">> & { readonly policy?: Readonly<Record<string, unknown>> } = {},
): Promise<Listeners> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-listeners-"));
  const authority = await testAuthority();
  const own = await testLeaf(authority, [proxyName, "127.0.0.1"]);
  const client = await testLeaf(authority, ["kiosk7.example.com"], "client");
  const cheap = genSaltSync(4);
  const files = {
    "ca.pem": authority.certPem,
    "proxy.pem": own.cert,
    "proxy.key": own.key,
    "client.pem": client.cert,
    "client.key": client.key,
    "users.htpasswd": `kiosk:${hashSync("open sesame", cheap)}\nadmin:${hashSync("pass:word", cheap)}\n`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  const secureOrigin = await startTlsOrigin({
    authority,
    names: [secureHost],
    alpn: ["http/1.1"],
    onRequest: (request, response) => {
      if (request.url === "/large") response.end(large);
      else response.end(`secure ${request.method} ${request.url}`);
    },
  });
  const plainHeads: string[] = [];
  const plainOrigin: Server = createServer((request, response) => {
    const { method, url, rawHeaders } = request;
    const fields = rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${rawHeaders[i + 1]}`] : []));
    plainHeads.push([`${method} ${url}`, ...fields].join("\n"));
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (url === "/large") response.end(large);
      else response.end(`plain ${method} ${url} ${Buffer.concat(chunks).length}`);
    });
  });
  plainOrigin.listen(0, "127.0.0.1");
  await once(plainOrigin, "listening");
  const proxy = await startSallyport({
    ...options,
    policy: {
      rules: [
        { id: "secure", hosts: [secureHost], expect: "https" },
        { id: "plain", hosts: [plainHost], expect: "http" },
      ],
      ...policy,
    },
    settings: {
      listen: listen(directory),
      connect_to: [
        `*.example.com:443:127.0.0.1:${secureOrigin.port}`,
        `*.example.com:80:127.0.0.1:${(plainOrigin.address() as AddressInfo).port}`,
      ],
      ...settings,
    },
  });
  const started = await proxy.logged((line) => line["event"] === "start");
  return {
    proxy,
    ports: (started["listen"] as readonly string[]).map((text) => Number(text.split(":").at(-1))),
    directory,
    secureOrigin,
    plainHeads,
    curl: (...args) => runCurl(directory, args),
    stop: async () => {
      const code = await proxy.stop();
      await secureOrigin.close();
      plainOrigin.closeAllConnections();
      plainOrigin.close();
      await rm(directory, { recursive: true, force: true });
      return code;
    },
  };
}

/** What both origins send for `/large`. */
export const large = Buffer.alloc(5 * 1024 * 1024 + 17, "sallyport ");

async function runCurl(directory: string, args: readonly string[]): Promise<Run> {
  const child = spawn(
    requireTool("curl")!,
    ["--silent", "--show-error", "--max-time", "10", "--cacert", "ca.pem", "--proxy-cacert", "ca.pem", ...args],
    { cwd: directory, env: { HOME: directory }, stdio: ["ignore", "pipe", "pipe"] },
  );
  const out: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout: Buffer.concat(out).toString("latin1"), stderr };
}
