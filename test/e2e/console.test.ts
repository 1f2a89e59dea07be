/** The console in a real Chromium beside a real proxy: what an administrator sees, does and must not be hurt by. */
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Watched, faintTexts, launchChromium, openConsole } from "../support/console-page.ts";
import { freePort } from "../support/ports.ts";
import { connectRaw } from "../support/raw-http.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import { type TcpOrigin, startTcpOrigin } from "../support/tls-origin.ts";
import { describeWithTool } from "../support/tools.ts";
import { openTunnel, sendConnect } from "../support/tunnel.ts";

const policy = `version: 1
name: site
clients:
  kiosks: { addresses: [127.0.0.2/32], mode: report }
use: [windows-update]
rules:
  - { id: files, hosts: ["*.files.example"], expect: http, range: deny, resolves_to: [127.0.0.0/8] }
  - { id: shell, hosts: [shell.example], expect: "tcp:22", resolves_to: [127.0.0.0/8] }
`;
const token = "correct-horse-battery-staple";
/** Of one wait; what has to be fast says so itself. */
const patience = { timeout: 10_000, interval: 50 };

describeWithTool(["chromium"], "the console", () => {
  let browser: Browser;
  let origin: TcpOrigin;
  let proxy: Sallyport;
  const contexts: BrowserContext[] = [];
  let number = 0;

  beforeAll(async () => {
    origin = await startTcpOrigin(({ socket }) => {
      socket.on("end", () => socket.end());
      socket.once("data", () =>
        socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n${"x".repeat(5000)}`),
      );
    });
    proxy = await start();
    browser = await launchChromium();
  }, 60_000);
  afterEach(async () => {
    await Promise.all(contexts.splice(0).map((context) => context.close()));
  });
  afterAll(async () => {
    await browser?.close();
    await origin?.close();
    await proxy?.stop();
  });

  function start(settings: Readonly<Record<string, unknown>> = {}): Promise<Sallyport> {
    const connectTo = ["80", "443", "22"].map((port) => `:${port}:127.0.0.1:${origin.port}`);
    return startSallyport({
      policy,
      settings: { dns: { hosts: { "*.example": "127.0.0.1" } }, connect_to: connectTo, ...settings },
    });
  }

  async function open(hash = "", one = proxy): Promise<Watched> {
    const watched = await openConsole(browser, one.adminPort, hash);
    contexts.push(watched.page.context());
    return watched;
  }

  /** Until it follows the denials. */
  async function openLive(hash = "", one = proxy): Promise<Watched> {
    const watched = await open(hash, one);
    await watched.page.getByText("Live", { exact: true }).waitFor();
    await watched.page.locator("#summary").filter({ hasText: "since" }).waitFor();
    return watched;
  }

  /** A host that no other test has. */
  function newHost(): string {
    return `h${number++}.nowhere.example`;
  }

  /** Asks for a tunnel that is denied; answers the denial's id. */
  async function denyTunnel(host: string, one = proxy): Promise<string> {
    const client = await sendConnect(one, `${host}:443`);
    const { headers } = await client.readHead();
    client.close();
    return headers.get("x-sallyport-denial") ?? "";
  }

  /** Asks for one that report mode lets pass. */
  async function passTunnel(host: string): Promise<void> {
    (await openTunnel(proxy, `${host}:443`, { localAddress: "127.0.0.2" })).close();
  }

  async function get(url: string, fields: readonly string[] = []): Promise<string> {
    const client = await connectRaw(proxy.port);
    const host = /^http:\/\/([^/]*)/.exec(url)?.[1] ?? "";
    client.send(`${[`GET ${url} HTTP/1.1`, `Host: ${host}`, "Connection: close", ...fields].join("\r\n")}\r\n\r\n`);
    const { headers } = await client.readHead();
    await client.readAll();
    client.close();
    return headers.get("x-sallyport-denial") ?? "";
  }

  function focusedText(page: Watched["page"]): Promise<string> {
    return page.evaluate(`(document.activeElement?.textContent ?? "").trim()`);
  }

  describe("live denials", () => {
    test("one that is provoked appears within a second or so, and asks nobody but the admin server", async () => {
      const { page, rows, complaints, asked } = await openLive();
      const host = newHost();
      const startedAt = performance.now();
      const id = await denyTunnel(host);
      await rows(host).waitFor();
      // A second is what it takes; a busy machine is given another one.
      expect(performance.now() - startedAt).toBeLessThan(2_000);
      expect(await rows(host).innerText()).toMatch(/CONNECT .*:443\s+no_rule\s+127\.0\.0\.1\s+1\s+/);
      expect(await rows(host).locator(".id").innerText()).toBe(id);
      await denyTunnel(host);
      await rows(host).locator(".number").filter({ hasText: "2" }).waitFor();
      expect(asked.filter((url) => !url.startsWith(`http://127.0.0.1:${proxy.adminPort}/`))).toEqual([]);
      expect(await page.title()).toBe("Sallyport");
      expect(complaints).toEqual([]);
    });

    test("what report mode let pass is marked, and can be seen alone", async () => {
      const { page, rows, complaints, picture } = await openLive();
      const denied = newHost();
      const passed = `passed${number}.files.example`;
      await denyTunnel(denied);
      await passTunnel(passed);
      await rows(passed).waitFor();
      expect(await rows(passed).innerText()).toContain("would be denied");
      expect(await rows(passed).innerText()).toContain("(kiosks)");
      expect(await rows(denied).innerText()).not.toContain("would be denied");
      await picture("denials");
      await page.locator("#kind").selectOption("would");
      await rows(denied).waitFor({ state: "detached" });
      expect(await rows(passed).count()).toBe(1);
      await page.locator("#kind").selectOption("deny");
      await rows(passed).waitFor({ state: "detached" });
      expect(await rows(denied).count()).toBe(1);
      expect(complaints).toEqual([]);
    });

    test("search and reason leave what matches, also of what comes later", async () => {
      const { page, rows } = await openLive();
      const [one, other] = [newHost(), newHost()];
      await denyTunnel(one);
      await get(`http://a.files.example/found-${one}`, ["Range: bytes=0-1"]);
      await rows(`found-${one}`).waitFor();
      await page.locator("#search").fill(`${one.toUpperCase()} connect`);
      await rows(`found-${one}`).waitFor({ state: "detached" });
      expect(await page.locator("#rows tr").count()).toBe(1);
      await denyTunnel(other);
      await page.locator("#search").fill(other);
      await rows(other).waitFor();
      await page.locator("#search").fill("");
      await page.locator("#reason").selectOption("range_denied");
      await rows(other).waitFor({ state: "detached" });
      expect(await rows(`found-${one}`).count()).toBe(1);
      await page.locator("#search").fill("no such thing");
      await page.getByText("No denial matches.").waitFor();
    });

    test("a pause holds the list still, and says what it holds back", async () => {
      const { page, rows } = await openLive();
      const [before, during] = [newHost(), newHost()];
      await denyTunnel(before);
      await rows(before).waitFor();
      await page.getByRole("button", { name: "Pause" }).click();
      await denyTunnel(during);
      await page.locator("#summary").filter({ hasText: "paused, 1 cause seen meanwhile" }).waitFor();
      expect(await rows(during).count()).toBe(0);
      await page.getByRole("button", { name: "Go on" }).click();
      await rows(during).waitFor();
    });

    test("a storm is told to a screen reader in few words", async () => {
      const { page, rows } = await openLive();
      await page.evaluate(
        `globalThis.told = []; new MutationObserver(() => told.push(announcer.textContent)).observe(announcer, { childList: true })`,
      );
      const last = newHost();
      for (let i = 0; i < 20; i++) await denyTunnel(`storm${i}.${last}`);
      await rows(`storm19.${last}`).waitFor();
      await expect.poll(() => page.evaluate(`told.length`), patience).toBeGreaterThan(0);
      const told: readonly string[] = await page.evaluate(`told`);
      expect(told.length).toBeLessThanOrEqual(3);
      expect(told[0]).toMatch(/^(New denial: |\d+ new denials, the latest: )storm\d+\./);
    });
  });

  describe("one denial", () => {
    test("is one click away, with its explanation and the rule, which can be copied", async () => {
      const { page, rows, complaints, picture } = await openLive();
      await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
      const name = newHost();
      const id = await get(`http://a.files.example/${name}.cab?x=1`, ["Range: bytes=0-1"]);
      await rows(name).locator("td").first().click();
      await page.getByRole("heading", { name: `Denial ${id}` }).waitFor();
      expect(new URL(page.url()).hash).toBe(`#/denials/${id}`);
      const details = page.locator("#details");
      await details.getByText("Rule site/files does not allow Range.").waitFor();
      const answer = (await (await fetch(`http://127.0.0.1:${proxy.adminPort}/api/denials/${id}`)).json()) as {
        causes: { proposal: { yaml: string; notes: string[] } }[];
      };
      const { yaml, notes } = answer.causes[0]!.proposal;
      expect(notes.length).toBeGreaterThan(0);
      for (const note of notes) await details.getByRole("listitem").filter({ hasText: note }).first().waitFor();
      await details.getByRole("button", { name: "Copy the proposed rule" }).click();
      await details.getByText("copied").waitFor();
      expect(await page.evaluate(`navigator.clipboard.readText()`)).toBe(yaml);
      await picture("denial");
      await details.getByLabel("Ticket").fill("CHG-42");
      await details.getByLabel("Valid").selectOption("7d");
      const wished = details.getByLabel("the proposed rule", { exact: true });
      await expect
        .poll(() => wished.innerText(), patience)
        .toMatch(/expires: [^]*ticket: "?CHG-42|ticket: "?CHG-42[^]*expires: /);
      await details.getByText("How it was decided").click();
      await details.getByRole("link", { name: "Try this request with changes" }).click();
      await page.locator("#answer").getByText("denied: range_denied").waitFor();
      expect(complaints).toEqual([]);
    });

    test("is found by the address that dashboards link to", async () => {
      const host = newHost();
      const id = await denyTunnel(host);
      const { page, complaints } = await open(`#/denials/${id.toLowerCase().replace("-", "")}`);
      await page.locator("#details").getByText(`CONNECT ${host}:443`).first().waitFor();
      await page.locator("#details").getByText("No rule covers this host.").first().waitFor();
      expect(complaints).toEqual([]);
    });

    test("that is not known says so", async () => {
      const { page } = await open("#/denials/00000-00000");
      const said = page.locator("#details").getByRole("alert");
      await expect.poll(() => said.innerText(), patience).toContain("00000-00000 is not among the");
    });
  });

  describe("hostile texts", () => {
    test("of a client are texts", async () => {
      const { page, rows, complaints, picture } = await openLive();
      const name = newHost();
      const path = `/<img/src=x/onerror=alert(1)>${name}"'>&lt;</script>`;
      const id = await get(`http://a.files.example${path}`, ["Range: <script>alert(2)</script>"]);
      await rows(name).waitFor();
      expect(await rows(name).locator("a").innerText()).toBe(`GET http://a.files.example${path}`);
      await rows(name).locator("a").click();
      await page.getByRole("heading", { name: `Denial ${id}` }).waitFor();
      const details = page.locator("#details");
      await details.locator("p.asked").waitFor();
      expect(await details.locator("p.asked").innerText()).toBe(`GET http://a.files.example${path}`);
      expect(await details.locator("dd").allInnerTexts()).toContain("<script>alert(2)</script>");
      expect(await page.locator("img, #rows script, #details script").count()).toBe(0);
      await picture("hostile");
      expect(complaints).toEqual([]);
    });

    test("in any field of the API are texts, and nothing in them is invisible or leads away", async () => {
      const evil = `<img src=x onerror=alert(1)><svg/onload=alert(2)>"'\u202eexe.\u200b\u0007javascript:alert(3)`;
      const everywhere = (keys: readonly string[]): Readonly<Record<string, string>> =>
        Object.fromEntries(keys.map((key) => [key, evil]));
      const denial = {
        ...everywhere([
          "id",
          "would",
          "reason",
          "rule",
          "nearest",
          "stage",
          "group",
          "host",
          "protocol",
          "first_seen",
          "last_seen",
        ]),
        port: 443,
        sni: `sni ${evil}`,
        count: 1,
        clients: [{ address: evil, count: 1 }],
        last: everywhere(["client", "listener", "method", "path", "range", "tls"]),
      };
      const explanation = {
        ...everywhere(["reason", "rule", "stage", "place", "message"]),
        client: { address: evil, groups: [evil] },
        covering: [{ pattern: evil, rules: [everywhere(["rule", "place", "fate", "message"])] }],
        remedies: [{ text: evil, rule: evil }],
      };
      const proposal = {
        kind: "rule",
        yaml: evil,
        file: evil,
        notes: [evil],
        changes: [{ kind: evil, requests: [evil], patterns: [evil], clients: [evil], conditions: [evil] }],
        packs: [{ pack: evil, rule: evil, use: evil }],
      };
      const watched = await openConsole(browser, proxy.adminPort, "#/nowhere");
      contexts.push(watched.page.context());
      const { page, complaints } = watched;
      await page.route(/\/api\/denials\?limit=/, (route) =>
        route.fulfill({ json: { denials: [denial], total: 1, matched: 1, capacity: 9, since: evil } }),
      );
      await page.route(/\/api\/denials\/[^s]/, (route) =>
        route.fulfill({
          json: { id: evil, causes: [{ denial, explanation, explanation_is_whole: true, proposal, others: [denial] }] },
        }),
      );
      await page.route(/\/api\/policy/, (route) =>
        route.fulfill({
          json: {
            hash: evil,
            default_mode: evil,
            groups: [{ name: evil, addresses: [evil] }],
            files: [{ name: evil, kind: evil, title: evil, uses: [{ clients: [evil], without: [evil] }] }],
            rules: [
              { id: evil, place: evil, action: evil, hosts: [evil], addresses: [], expect: [evil], clients: [evil] },
            ],
          },
        }),
      );
      await page.route(/\/api\/explain/, (route) => route.fulfill({ json: explanation }));
      await page.reload();
      await page.locator("#rows a").first().waitFor();
      const shownText = String.raw`<img src=x onerror=alert(1)><svg/onload=alert(2)>"'\u{202e}exe.\u{200b}\u{7}javascript:alert(3)`;
      expect(await page.locator("#rows .id").innerText()).toBe(shownText);
      await page.locator("#rows a").first().click();
      await page.locator("#details .asked").waitFor();
      await page.locator("#details summary").first().click();
      expect(await page.locator("#details").innerText()).toContain(shownText);
      for (const view of ["policy", "try?request=x"]) {
        await page.evaluate(`location.hash = "#/${view}"`);
        await page
          .locator(view === "policy" ? "#policy td" : "#answer dd")
          .first()
          .waitFor();
      }
      const html = await page.content();
      expect(["\u202e", "\u200b", "\u0007"].filter((character) => html.includes(character))).toEqual([]);
      expect(await page.locator("img, main svg, main script, iframe").count()).toBe(0);
      const links: readonly string[] = await page.evaluate(
        `Array.from(document.querySelectorAll("a"), (link) => link.getAttribute("href"))`,
      );
      expect(links.filter((href) => !href.startsWith("#"))).toEqual([]);
      expect(complaints).toEqual([]);
    });

    test("would not become markup even by mistake: the page's policy forbids it", async () => {
      const { page } = await openLive();
      const violated: readonly string[] = await page.evaluate(`(async () => {
        const seen = new Set();
        document.addEventListener("securitypolicyviolation", (event) => seen.add(event.effectiveDirective));
        const attempts = [
          () => { document.body.innerHTML = "<b>x</b>"; },
          () => { document.body.setAttribute("onclick", "globalThis.ran = true"); document.body.click(); },
          () => { document.body.setAttribute("style", "color: red"); },
          () => { document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/x.png" })); },
          () => { document.head.append(Object.assign(document.createElement("base"), { href: "http://127.0.0.1:9/" })); },
          () => fetch("http://127.0.0.1:9/"),
        ];
        for (const attempt of attempts) await Promise.resolve().then(attempt).catch(() => {});
        while (seen.size < 5) await new Promise((fulfil) => setTimeout(fulfil, 20));
        return [...seen].sort();
      })()`);
      expect(violated).toEqual(["base-uri", "connect-src", "img-src", "require-trusted-types-for", "style-src-attr"]);
      expect(await page.evaluate(`globalThis.ran`)).toBeUndefined();
    });
  });

  describe("a request that is tried", () => {
    test("is explained, and stands in the address", async () => {
      const { page, complaints, picture } = await open("#/try");
      await page.getByLabel("Request", { exact: true }).fill("CONNECT tlu.dl.delivery.mp.microsoft.com:443");
      await page.keyboard.press("Enter");
      const answer = page.locator("#answer");
      await answer.getByText("denied: scheme_mismatch").waitFor();
      await answer.getByText("Rule windows-update/payload covers this host, but expects http on port 80.").waitFor();
      expect(page.url()).toContain("#/try?request=CONNECT+tlu.dl.delivery.mp.microsoft.com%3A443");
      await picture("try");
      await page.getByLabel("Request", { exact: true }).fill("GET http://a.files.example/x.cab");
      await page.getByRole("button", { name: "Explain" }).click();
      await answer.getByText("allowed", { exact: true }).waitFor();
      await page.goBack();
      await answer.getByText("denied: scheme_mismatch").waitFor();
      expect(complaints).toEqual([]);
    });

    test.each([
      ["#/try?request=CONNECT+fe2.update.microsoft.com:443&tls=none", "denied: not_tls"],
      ["#/try?request=CONNECT+fe2.update.microsoft.com:443&tls=1.1", "denied: tls_version"],
      ["#/try?request=CONNECT+fe2.update.microsoft.com:443&no_sni=true", "denied: sni_missing"],
      ["#/try?request=CONNECT+a.files.example:443&client=127.0.0.2", "would be denied: scheme_mismatch"],
    ])("%s: %s", async (hash, told) => {
      const { page } = await open(hash);
      await expect.poll(() => page.locator("#answer .badge").innerText(), patience).toBe(told);
    });

    test("a mistake is told in the words of the API", async () => {
      const { page } = await open("#/try?request=nonsense");
      await page.locator("#answer").getByRole("alert").waitFor();
      expect((await page.locator("#answer").innerText()).length).toBeGreaterThan(5);
    });
  });

  test("the policy in force, its packs and its last load", async () => {
    const { page, complaints, picture } = await open("#/policy");
    const place = page.locator("#policy");
    await place.getByRole("cell", { name: "windows-update", exact: true }).waitFor();
    const { hash } = (await (await fetch(`http://127.0.0.1:${proxy.adminPort}/api/policy`)).json()) as { hash: string };
    await place.locator("dd").filter({ hasText: hash }).waitFor();
    await place.locator("dd").filter({ hasText: "worked" }).waitFor();
    await page
      .locator("#version")
      .filter({ hasText: `policy ${hash}` })
      .waitFor();
    await place.getByLabel("Search the rules").fill("shell");
    await place.getByText("1 rule", { exact: true }).waitFor();
    await place.getByRole("cell", { name: "site/shell" }).waitFor();
    await picture("policy");
    expect(complaints).toEqual([]);
  });

  test("charts show bytes, requests and tunnels", async () => {
    const { page } = await openLive();
    const chart = (title: string): ReturnType<typeof page.locator> => page.locator("figure").filter({ hasText: title });
    // A rate needs two looks: bytes of before the first one are none.
    await expect.poll(() => chart("Requests per second").locator("strong").first().innerText(), patience).toMatch(/\d/);
    const tunnel = await openTunnel(proxy, "shell.example:22");
    await get(`http://a.files.example/chart.cab`);
    await expect.poll(() => chart("Tunnels").locator("strong").innerText(), patience).toBe("1");
    const label = async (title: string): Promise<string> =>
      (await chart(title).locator("svg").getAttribute("aria-label")) ?? "";
    await expect.poll(() => label("Bytes per second"), patience).toMatch(/most in five minutes [1-9]/);
    expect(await label("Requests per second")).toMatch(/most in five minutes (0\.[1-9]|[1-9])/);
    expect(await chart("Bytes per second").locator("path.line-0").getAttribute("d")).toMatch(/^M[\d.]+ [\d.]+/);
    tunnel.close();
  });

  describe("with the keyboard alone", () => {
    test("from the search to a denial and back, and always seen where one is", async () => {
      const { page, rows } = await openLive();
      const name = newHost();
      const ids = [await denyTunnel(`a.${name}`), await denyTunnel(`b.${name}`)];
      await rows(`b.${name}`).waitFor();
      const isSeen = (): Promise<boolean> =>
        page.evaluate(`parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2`);
      await page.keyboard.press("Tab");
      expect(await focusedText(page)).toBe("Skip to the content");
      await page.keyboard.press("Tab");
      expect(await focusedText(page)).toBe("Denials");
      expect(await isSeen()).toBe(true);
      await page.keyboard.press("/");
      await page.keyboard.type(name);
      await rows("nowhere").nth(2).waitFor({ state: "detached" });
      expect(await isSeen()).toBe(true);
      await page.keyboard.press("Enter");
      expect(await focusedText(page)).toBe(`CONNECT b.${name}:443`);
      await page.keyboard.press("ArrowDown");
      expect(await focusedText(page)).toBe(`CONNECT a.${name}:443`);
      expect(await isSeen()).toBe(true);
      // The row moves to the top under the focus, which stays with it.
      await denyTunnel(`a.${name}`);
      await rows(`a.${name}`).locator(".number").filter({ hasText: "2" }).waitFor();
      expect(await focusedText(page)).toBe(`CONNECT a.${name}:443`);
      await page.keyboard.press("Enter");
      await page.locator("#details .asked").waitFor();
      expect(await focusedText(page)).toBe(`Denial ${ids[0]}`);
      await page.keyboard.press("Tab");
      expect(await focusedText(page)).toMatch(/^Close/);
      await page.keyboard.press("Escape");
      await page.locator("#details").waitFor({ state: "hidden" });
      await expect.poll(() => focusedText(page), patience).toBe(`CONNECT a.${name}:443`);
      await page.keyboard.press("/");
      await page.keyboard.press("Escape");
      expect(await page.locator("#search").inputValue()).toBe("");
    });

    test("on a narrow screen the same, one part at a time, and nothing is cut off", async () => {
      const { page, rows, picture } = await openLive();
      await page.setViewportSize({ width: 390, height: 800 });
      const host = newHost();
      await denyTunnel(host);
      await rows(host).locator("a").focus();
      await page.keyboard.press("Enter");
      await page.locator("#details .asked").waitFor();
      expect(await page.locator("#rows").isVisible()).toBe(false);
      expect(await page.evaluate(`document.documentElement.scrollWidth <= innerWidth`)).toBe(true);
      await picture("narrow");
      await page.keyboard.press("/");
      await page.locator("#rows").waitFor();
      await expect.poll(() => page.evaluate(`document.activeElement.id`), patience).toBe("search");
      expect(await page.evaluate(`document.documentElement.scrollWidth <= innerWidth`)).toBe(true);
    });
  });

  test.each(["light", "dark"] as const)("every text has enough contrast: %s", async (colorScheme) => {
    const host = newHost();
    const id = await denyTunnel(host);
    await passTunnel(`${host}.files.example`);
    const { page, picture } = await openLive(`#/denials/${id}`);
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.locator("#details .asked").waitFor();
    await page.locator("#details summary").first().click();
    expect(await page.evaluate(`getComputedStyle(document.body).backgroundColor`)).toBe(
      colorScheme === "dark" ? "rgb(15, 21, 28)" : "rgb(244, 246, 248)",
    );
    expect(await faintTexts(page)).toEqual([]);
    await picture(`denial-${colorScheme}`);
    for (const [view, part] of [
      ["policy", "#policy td"],
      ["try?request=GET+http://a.files.example/", "#answer dd"],
    ]) {
      await page.evaluate(`location.hash = "#/${view}"`);
      await page.locator(part!).first().waitFor();
      expect(await faintTexts(page)).toEqual([]);
    }
  });

  test("a proxy that starts anew is followed again, with what happened meanwhile", async () => {
    const adminPort = await freePort();
    const settings = { admin: { address: `127.0.0.1:${adminPort}` } };
    const first = await start(settings);
    const { page, rows } = await openLive("", first);
    await denyTunnel(newHost(), first);
    await first.stop();
    await page.locator("#state").filter({ hasNotText: "Live" }).waitFor();
    await page.getByText("the proxy does not answer").waitFor();
    const second = await start(settings);
    try {
      const host = newHost();
      await denyTunnel(host, second);
      await page.getByText("Live", { exact: true }).waitFor();
      await rows(host).waitFor();
      await page.locator("#problem").waitFor({ state: "hidden" });
      const later = newHost();
      await denyTunnel(later, second);
      await rows(later).waitFor();
      expect(await page.locator("#state").innerText()).toBe("Live");
    } finally {
      await second.stop();
    }
  }, 40_000);

  describe("beyond loopback", () => {
    let directory: string;
    let guarded: Sallyport;
    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), "sallyport-console-"));
      await writeFile(join(directory, "token"), `${token}\n`);
      await chmod(join(directory, "token"), 0o600);
      guarded = await start({ admin: { address: "0.0.0.0:0", token_file: join(directory, "token") } });
    });
    afterAll(async () => {
      await guarded?.stop();
      await rm(directory, { recursive: true });
    });

    test("the page asks for the token, keeps it for the tab, and sends it in a field only", async () => {
      const host = newHost();
      const id = await denyTunnel(host, guarded);
      const { page, rows, asked, picture } = await open(`#/denials/${id}`, guarded);
      const dialog = page.getByRole("dialog");
      await dialog.waitFor();
      expect(await page.evaluate(`document.activeElement.id`)).toBe("token");
      expect(await rows(host).count()).toBe(0);
      await picture("token");
      await page.keyboard.type("wrong");
      await page.keyboard.press("Enter");
      await dialog.getByText("This token was refused.").waitFor();
      await page.locator("#token").fill(token);
      await page.keyboard.press("Enter");
      await page.getByText("Live", { exact: true }).waitFor();
      await rows(host).waitFor();
      await page.locator("#details .asked").waitFor();
      expect(await dialog.isVisible()).toBe(false);
      await page.reload();
      await page.getByText("Live", { exact: true }).waitFor();
      expect(await dialog.isVisible()).toBe(false);
      expect(asked.filter((url) => url.includes(token))).toEqual([]);
      expect(await page.evaluate(`JSON.stringify(localStorage) + document.cookie`)).toBe("{}");
      await page.getByRole("button", { name: "Token" }).click();
      await page.getByRole("button", { name: "Forget it" }).click();
      await page.locator("#state").filter({ hasText: "Not connected" }).waitFor();
      expect(await page.evaluate(`sessionStorage.length`)).toBe(0);
    });

    test("who cancels is not asked again and again, and can go on later", async () => {
      const { page } = await open("", guarded);
      await page.getByRole("dialog").waitFor();
      await page.keyboard.press("Escape");
      await page.locator("#problem").filter({ hasText: "send the token" }).waitFor();
      await page.evaluate(`location.hash = "#/policy"`);
      await page.locator("#policy").getByRole("alert").waitFor();
      expect(await page.getByRole("dialog").isVisible()).toBe(false);
      await page.getByRole("button", { name: "Token" }).click();
      await page.locator("#token").fill(token);
      await page.keyboard.press("Enter");
      await page.getByRole("cell", { name: "windows-update", exact: true }).waitFor();
    });
  });
});
