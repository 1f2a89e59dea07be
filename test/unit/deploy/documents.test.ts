/** operations.md and deploy/README.md lead to what is there: files, headings, metrics, alerts; and leave nothing out. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { createMetrics } from "../../../src/record/metrics.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const documents = ["docs/operations.md", "deploy/README.md"];
const links = documents.flatMap((from) =>
  Array.from(textOf(from).matchAll(/\]\(([^)]+)\)/g), ([, to = ""]) => [from, to] as const).filter(
    ([, to]) => !to.startsWith("https:"),
  ),
);

test.each(links)("%s: %s", (from, to) => {
  const [path = "", anchor] = to.split("#");
  const target = path === "" ? from : join(dirname(from), path);
  expect(existsSync(join(root, target))).toBe(true);
  if (anchor === undefined) return;
  const headings = Array.from(textOf(target).matchAll(/^#{1,4} (.+)$/gm), ([, heading = ""]) => anchorOf(heading));
  expect(headings).toContain(anchor);
});

test("there are links in both", () => {
  expect(new Set(links.map(([from]) => from))).toEqual(new Set(documents));
});

test("every file of deploy/ is in a row of the README, or below a directory that is", () => {
  const named = Array.from(
    textOf("deploy/README.md").matchAll(/`([a-z-]+\/[^`]*|sallyport\.[^`]+)`/g),
    ([, name = ""]) => name,
  );
  const files = readdirSync(join(root, "deploy"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(root, "deploy/").length));
  expect(files.length).toBeGreaterThan(30);
  const isNamed = (file: string): boolean =>
    named.some(
      (name) =>
        file === name ||
        file.endsWith(`/${name}`) ||
        file.startsWith(`${dirname(name)}/`) ||
        file.startsWith(`${name}/`),
    );
  expect(files.filter((file) => file !== "README.md" && !isNamed(file))).toEqual([]);
});

test("metrics and alerts that operations.md names exist", async () => {
  const text = textOf("docs/operations.md");
  const metrics = await createMetrics({ version: "1.2.3", nodeVersion: "v20.0.0" }).render();
  const named = Array.from(
    text.matchAll(/\b(?:sallyport_[a-z_]+|nodejs_[a-z0-9_]+|process_[a-z_]+)/g),
    ([name]) => name,
  );
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !metrics.includes(`# TYPE ${name} `))).toEqual([]);
  const alerts = textOf("deploy/prometheus/sallyport.alerts.yaml");
  for (const [name] of text.matchAll(/\bSallyport[A-Z][A-Za-z]+\b/g)) expect(alerts).toContain(`alert: ${name}\n`);
});

function textOf(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** As the usual readers of Markdown make it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 _-]/g, "")
    .replaceAll(" ", "-");
}
