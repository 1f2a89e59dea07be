/** The console in a real Chromium, watched: whatever it complains of, asks for or lets run is on record. */
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContextOptions, type Locator, type Page, chromium } from "playwright-core";
import { requireTool } from "./tools.ts";

/** `npm test` in CI keeps it; git does not. */
const pictures = fileURLToPath(new URL("../../test-results/console/", import.meta.url));
const patienceMs = 10_000;

export type Watched = {
  readonly page: Page;
  /** Errors and warnings of the page's own console, uncaught exceptions, and violations of its policy. */
  readonly complaints: readonly string[];
  /** Everything that was asked for. */
  readonly asked: readonly string[];
  /** Rows of the list that hold a text. */
  readonly rows: (text: string) => Locator;
  /** Keeps what is seen now, for people. */
  readonly picture: (name: string) => Promise<void>;
};

/** Chromium refuses its sandbox to root. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: requireTool("chromium")!, args: ["--no-sandbox"] });
}

/** Opens a page of its own at the console's address; `hash` begins with `#`. */
export async function openConsole(
  browser: Browser,
  adminPort: number,
  hash = "",
  options: BrowserContextOptions = {},
): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1360, height: 850 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(patienceMs);
  const complaints: string[] = [];
  const asked: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(`http://127.0.0.1:${adminPort}/${hash}`);
  return {
    page,
    complaints,
    asked,
    rows: (text) => page.locator("#rows tr").filter({ hasText: text }),
    async picture(name) {
      mkdirSync(pictures, { recursive: true });
      await page.screenshot({ path: `${pictures}${name}.png`, animations: "disabled" });
    },
  };
}

/** Texts that are seen with less contrast than WCAG 2 AA asks of small text, each with what it has. */
export function faintTexts(page: Page): Promise<readonly string[]> {
  // Runs in the page, where there are other types than here.
  return page.evaluate(`(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (color) => {
      const [r, g, b] = rgba(color).slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const groundOf = (element) => {
      for (let one = element; one !== null; one = one.parentElement) {
        const color = getComputedStyle(one).backgroundColor;
        if (rgba(color)[3] === 255) return color;
      }
      return "white";
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const faint = [];
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const element = node.parentElement;
      if (node.data.trim() === "" || !element.checkVisibility() || element.closest("script, noscript")) continue;
      const pair = [luminance(getComputedStyle(element).color), luminance(groundOf(element))].sort((a, b) => b - a);
      const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
      if (contrast < 4.5) faint.push(node.data.trim() + ": " + contrast.toFixed(2));
    }
    return faint;
  })()`);
}
