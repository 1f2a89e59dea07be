/** Chromium, told nothing but where the PAC is, reaches an allowed page and shows the refusal of a denied one. */
import { mkdtempSync, rmSync } from "node:fs";
import { type Server, createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { describeWithTool, requireTool } from "../support/tools.ts";
import { type Origin, startTlsOrigin, testAuthority } from "../support/tls-origin.ts";

describeWithTool(["chromium"], "Chromium, configured by the PAC alone", () => {
  const profile = mkdtempSync(join(tmpdir(), "sallyport-pac-"));
  let web: Server;
  let secure: Origin;
  let proxy: Sallyport;
  let browser: BrowserContext;
  let ports: { readonly web: number; readonly secure: number };

  beforeAll(async () => {
    web = createServer((_request, response) => response.end("<title>page</title>the page itself"));
    await new Promise<void>((fulfil) => web.listen(0, "127.0.0.1", fulfil));
    const address = web.address();
    secure = await startTlsOrigin({
      authority: await testAuthority(),
      names: ["secure.pac.example"],
      onRequest: (_request, response) => response.end("the page inside TLS"),
    });
    ports = { web: typeof address === "object" && address !== null ? address.port : 0, secure: secure.port };
    const loopback = { expect: undefined, resolves_to: ["127.0.0.0/8"] };
    proxy = await startSallyport({
      policy: {
        rules: [
          { id: "web", hosts: ["*.web.pac.example"], ...loopback, expect: `http:${ports.web}` },
          { id: "secure", hosts: ["secure.pac.example"], ...loopback, expect: `https:${ports.secure}` },
          { id: "closed", action: "deny", hosts: ["closed.web.pac.example"] },
        ].map((rule) => JSON.parse(JSON.stringify(rule)) as Record<string, unknown>),
      },
      settings: {
        listen: [
          { kind: "proxy", address: "127.0.0.1:0" },
          { kind: "pac", address: "127.0.0.1:0" },
        ],
        pac: { otherwise: "DIRECT" },
        dns: { hosts: { "*.pac.example": "127.0.0.1" } },
      },
    });
    const listening = proxy.log.find((line) => line["event"] === "start")?.["listen"] as readonly string[];
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: requireTool("chromium")!,
      args: [`--proxy-pac-url=http://${listening[1]}/proxy.pac`, "--no-sandbox", "--disable-quic"],
      ignoreHTTPSErrors: true,
    });
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    await proxy?.stop();
    await secure?.close();
    web?.closeAllConnections();
    await new Promise((fulfil) => web.close(fulfil));
    rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
  });

  test("reaches an allowed page by plain HTTP", async () => {
    const page = await browser.newPage();
    const response = await page.goto(`http://a.web.pac.example:${ports.web}/`);
    expect(response?.status()).toBe(200);
    expect(await page.textContent("body")).toBe("the page itself");
    await proxy.logged((line) => line["host"] === "a.web.pac.example" && line["rule"] === "site/web");
  }, 30_000);

  test("reaches an allowed page by https, in a tunnel", async () => {
    const page = await browser.newPage();
    await page.goto(`https://secure.pac.example:${ports.secure}/`);
    expect(await page.textContent("body")).toBe("the page inside TLS");
    await page.close();
  }, 30_000);

  test("shows the refusal of a denied one", async () => {
    const page = await browser.newPage();
    const response = await page.goto(`http://closed.web.pac.example:${ports.web}/`);
    expect(response?.status()).toBe(403);
    expect(response?.headers()["x-sallyport-reason"]).toBe("rule_denied");
    expect(await page.textContent("body")).toMatch(/^Denied: GET http:\/\/closed\.web\.pac\.example.*sallyport why /s);
  }, 30_000);

  test("goes around the proxy for hosts without a rule, as pac.otherwise: DIRECT says", async () => {
    const page = await browser.newPage();
    await expect(page.goto("http://nothing.direct.invalid/")).rejects.toThrow("ERR_NAME_NOT_RESOLVED");
    expect(proxy.log.filter((line) => line["host"] === "nothing.direct.invalid")).toEqual([]);
  }, 30_000);
});
