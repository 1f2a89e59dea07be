/** The origin that other tests lean on does what they take for granted. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingMessage, type RequestOptions, get as getHttp } from "node:http";
import { get as getHttps } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Nginx, loggedVariables, startNginx } from "./nginx.ts";
import { describeWithTool } from "./tools.ts";

describeWithTool(["nginx", "openssl"], "nginx as origin", () => {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-root-"));
  let nginx: Nginx;

  beforeAll(async () => {
    writeFileSync(join(directory, "patch.cab"), "0123456789");
    nginx = await startNginx({ root: directory, tls: selfSigned(directory) });
  });

  afterAll(async () => {
    await nginx.stop();
    rmSync(directory, { recursive: true });
  });

  test("serves a range over HTTP", async () => {
    const answer = await fetchFile(getHttp, { port: nginx.httpPort, headers: { range: "bytes=2-4" } });
    expect(answer).toEqual({ status: 206, body: "234" });
  });

  test("serves a file over HTTPS, and logs the server name", async () => {
    const answer = await fetchFile(getHttps, {
      port: nginx.httpsPort,
      servername: "patch.example.com",
      rejectUnauthorized: false,
    });
    expect(answer).toEqual({ status: 200, body: "0123456789" });
    expect((await lastLine(nginx))["ssl_server_name"]).toBe("patch.example.com");
  });

  test("has logged a request by the time its answer is here, with the fields as they came", async () => {
    const before = (await nginx.accessLog()).length;
    for (let i = 1; i <= 20; i++) {
      await fetchFile(getHttp, { port: nginx.httpPort, headers: { via: `1.1 "gate"`, range: `bytes=0-${i}` } });
      expect(await nginx.accessLog()).toHaveLength(before + i);
    }
    const line = await lastLine(nginx);
    expect(Object.keys(line)).toEqual(loggedVariables);
    expect(line).toMatchObject({
      request: "GET /patch.cab HTTP/1.1",
      status: "206",
      http_via: `1.1 "gate"`,
      http_range: "bytes=0-20",
      http_cookie: "",
    });
  });

  test("two of them live side by side, and a stopped one is gone", async () => {
    const other = await startNginx({ root: directory });
    expect(other.httpPort).not.toBe(nginx.httpPort);
    expect(other.httpsPort).toBe(0);
    await other.stop();
    await other.stop();
    const socket = connect(other.httpPort, "127.0.0.1");
    const [error] = await once(socket, "error");
    expect(error).toMatchObject({ code: "ECONNREFUSED" });
  });

  test("a certificate that is none is told, not waited for", async () => {
    const tls = { cert: "no certificate", key: "no key" };
    await expect(startNginx({ root: directory, tls })).rejects.toThrow(/did not start: .*cert\.pem/s);
  });
});

type Get = (
  options: RequestOptions & { servername?: string; rejectUnauthorized?: boolean },
) => ReturnType<typeof getHttp>;

async function fetchFile(get: Get, options: Parameters<Get>[0]): Promise<{ status: number | undefined; body: string }> {
  const request = get({ host: "127.0.0.1", path: "/patch.cab", agent: false, ...options });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of response.setEncoding("utf8")) body += String(chunk);
  return { status: response.statusCode, body };
}

async function lastLine(nginx: Nginx): Promise<Record<string, string>> {
  const line = (await nginx.accessLog()).at(-1) ?? "{}";
  return JSON.parse(line);
}

function selfSigned(directory: string): { cert: string; key: string } {
  const key = join(directory, "origin.key");
  const cert = join(directory, "origin.crt");
  const subject = ["-subj", "/CN=patch.example.com", "-days", "1"];
  const files = ["-keyout", key, "-out", cert];
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", ...subject, ...files],
    {
      stdio: "pipe",
    },
  );
  return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
}
