/** Downloads as agents make them: curl, wget and aria2c through Sallyport from a real nginx, byte for byte. */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Nginx, startNginx } from "../support/nginx.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { describeWithTool, requireTool } from "../support/tools.ts";

const size = 3_000_001;
const content = randomBytes(size);
const host = "downloads.example.com";
const url = `http://${host}/payload.cab`;

type Run = { readonly code: number | null; readonly said: string };

describeWithTool(["nginx"], "downloads from nginx", () => {
  let root: string;
  let work: string;
  let nginx: Nginx;
  let sallyport: Sallyport;
  let proxy: string;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "sallyport-root-"));
    work = await mkdtemp(join(tmpdir(), "sallyport-work-"));
    await writeFile(join(root, "payload.cab"), content);
    await utimes(join(root, "payload.cab"), 1_700_000_000, 1_700_000_000);
    nginx = await startNginx({ root });
    sallyport = await startSallyport({
      policy: {
        rules: [
          { id: "downloads", hosts: [host], expect: "http", range: "allow" },
          { id: "whole-only", hosts: ["whole.example.com"], expect: "http" },
        ],
      },
      settings: { connect_to: [`*:80:127.0.0.1:${nginx.httpPort}`] },
    });
    proxy = `http://127.0.0.1:${sallyport.port}`;
  });
  afterAll(async () => {
    await sallyport.stop();
    await nginx.stop();
    await rm(root, { recursive: true });
    await rm(work, { recursive: true });
  });

  async function run(tool: string, args: readonly string[]): Promise<Run> {
    const child = spawn(requireTool(tool) ?? "", args, {
      cwd: work,
      env: { http_proxy: proxy, HOME: work, LC_ALL: "C" },
    });
    let said = "";
    child.stdout.on("data", (bytes: Buffer) => (said += bytes.toString("latin1")));
    child.stderr.on("data", (bytes: Buffer) => (said += bytes.toString("latin1")));
    const [code] = (await once(child, "close")) as [number | null];
    return { code, said };
  }

  /** Runs it and answers the requests that nginx was sent by it. */
  async function requestsOf(tool: string, args: readonly string[]): Promise<Record<string, string>[]> {
    const before = (await nginx.accessLog()).length;
    const { code, said } = await run(tool, args);
    expect({ code, said }).toEqual({ code: 0, said });
    const lines = (await nginx.accessLog()).slice(before);
    return lines.map((line) => JSON.parse(line) as Record<string, string>);
  }

  /** What every forwarded request must be, whatever the client put on its hop to us. */
  function expectClean(request: Record<string, string> | undefined): void {
    expect(request).toMatchObject({
      server_protocol: "HTTP/1.1",
      request_uri: "/payload.cab",
      http_host: host,
      http_connection: expect.stringMatching(/^(close)?$/),
      http_via: expect.stringMatching(/^1\.[01] sallyport-[0-9a-f]{8}$/),
      http_proxy_connection: "",
      http_proxy_authorization: "",
      http_keep_alive: "",
      http_te: "",
      http_upgrade: "",
      http_x_forwarded_for: "",
      http_forwarded: "",
    });
  }

  async function expectWhole(name: string): Promise<void> {
    const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
    expect(digest(await readFile(join(work, name)))).toBe(digest(content));
  }

  describeWithTool(["curl"], "curl", () => {
    const curl = (...args: string[]): Promise<Record<string, string>[]> =>
      requestsOf("curl", ["-sS", "-f", "-x", proxy, ...args]);

    test("whole", async () => {
      const [request] = await curl("-o", "curl-whole", url);
      expectClean(request);
      expect(request?.["http_range"]).toBe("");
      await expectWhole("curl-whole");
    });

    test("by HTTP/1.0, and with credentials for another proxy", async () => {
      const [request] = await curl("-0", "-U", "user:secret", "-o", "curl-old", url);
      expectClean(request);
      await expectWhole("curl-old");
    });

    test("one Range", async () => {
      const [request] = await curl("-r", "1000000-1999999", "-o", "curl-range", url);
      expectClean(request);
      expect(request).toMatchObject({ http_range: "bytes=1000000-1999999", status: "206" });
      expect((await readFile(join(work, "curl-range"))).equals(content.subarray(1_000_000, 2_000_000))).toBe(true);
    });

    test("several ranges in one request", async () => {
      const [request] = await curl("-r", "0-1,10-19,-5", "-o", "curl-ranges", url);
      expect(request).toMatchObject({ http_range: "bytes=0-1,10-19,-5", status: "206" });
      expect((await readFile(join(work, "curl-ranges"))).includes(content.subarray(10, 20))).toBe(true);
    });

    test("resumed", async () => {
      await writeFile(join(work, "curl-resumed"), content.subarray(0, 1_234_567));
      const [request] = await curl("-C", "-", "-o", "curl-resumed", url);
      expect(request).toMatchObject({ http_range: "bytes=1234567-", status: "206" });
      await expectWhole("curl-resumed");
    });

    test("HEAD", async () => {
      const [request] = await curl("-I", "-o", "curl-head", url);
      expect(request).toMatchObject({ request_method: "HEAD", status: "200" });
      expect(await readFile(join(work, "curl-head"), "latin1")).toContain(`Content-Length: ${size}\r\n`);
    });

    test("conditional, and not modified", async () => {
      const [request] = await curl(
        "-z",
        "14 Nov 2023 22:13:20 GMT",
        "-w",
        "%{http_code}",
        "-o",
        "curl-conditional",
        url,
      );
      expect(request?.["http_if_modified_since"]).toMatch(/GMT$/);
      expect(request?.["status"]).toBe("304");
    });

    test("several over one connection to the proxy", async () => {
      const requests = await curl("-o", "curl-1", url, "-o", "curl-2", url, "-o", "curl-3", url);
      expect(requests.length).toBe(3);
      for (const name of ["curl-1", "curl-2", "curl-3"]) await expectWhole(name);
    });

    test("a Range that the rule denies says so, and nginx hears nothing", async () => {
      const before = (await nginx.accessLog()).length;
      const { code, said } = await run("curl", [
        "-sS",
        "-i",
        "-x",
        proxy,
        "-r",
        "0-1",
        "http://whole.example.com/payload.cab",
      ]);
      expect(code).toBe(0);
      expect(said).toMatch(/^HTTP\/1\.1 403 Denied: range_denied [0-9A-Z]{5}-[0-9A-Z]{5}\r\n/);
      expect((await nginx.accessLog()).length).toBe(before);
    });
  });

  describeWithTool(["wget"], "wget", () => {
    test("whole", async () => {
      const [request] = await requestsOf("wget", ["-q", "-O", "wget-whole", url]);
      expectClean(request);
      await expectWhole("wget-whole");
    });

    test("resumed", async () => {
      await writeFile(join(work, "payload.cab"), content);
      await truncate(join(work, "payload.cab"), 2_000_000);
      const [request] = await requestsOf("wget", ["-q", "-c", url]);
      expect(request).toMatchObject({ http_range: "bytes=2000000-", status: "206" });
      await expectWhole("payload.cab");
    });

    test("resumed when there is nothing left", async () => {
      await writeFile(join(work, "payload.cab"), content);
      const [request] = await requestsOf("wget", ["-q", "-c", url]);
      expect(request).toMatchObject({ http_range: `bytes=${size}-`, status: "416" });
      await expectWhole("payload.cab");
    });

    test("only when newer", async () => {
      await writeFile(join(work, "payload.cab"), content);
      await utimes(join(work, "payload.cab"), 1_700_000_000, 1_700_000_000);
      const [request] = await requestsOf("wget", ["-q", "-N", url]);
      expect(request).toMatchObject({ status: "304" });
      expect((await stat(join(work, "payload.cab"))).size).toBe(size);
    });
  });

  describeWithTool(["aria2c"], "aria2c", () => {
    // It takes the proxy from the environment.
    const quiet = ["-q", "--no-conf"];

    test("whole, over one connection", async () => {
      const requests = await requestsOf("aria2c", [...quiet, "-x1", "-s1", "-o", "aria-whole", url]);
      expectClean(requests[0]);
      await expectWhole("aria-whole");
    });

    test("resumed", async () => {
      await writeFile(join(work, "aria-resumed"), content.subarray(0, 2_000_000));
      const requests = await requestsOf("aria2c", [...quiet, "-c", "-x1", "-s1", "-k1M", "-o", "aria-resumed", url]);
      for (const request of requests) expectClean(request);
      // It asks for everything first, to learn how much there is, and then from a multiple of 16 KiB on.
      expect(requests.at(-1)).toMatchObject({ http_range: expect.stringMatching(/^bytes=1998848-/), status: "206" });
      await expectWhole("aria-resumed");
    });

    test("in pieces, over several connections", async () => {
      // Slow enough that it asks for the second half before the first is there.
      const pieces = ["-x4", "-s4", "-k1M", "--max-overall-download-limit=4M"];
      const requests = await requestsOf("aria2c", [...quiet, ...pieces, "-o", "aria-pieces", url]);
      for (const request of requests) expectClean(request);
      expect(requests.filter((request) => request["http_range"] !== "").length).toBeGreaterThan(0);
      await expectWhole("aria-pieces");
    });
  });
});
