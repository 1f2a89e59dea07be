/** docs/security.md names what there is: the packages with their versions, the tests, the parts of the fuzzing. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parts } from "../fuzz/parts.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const text = readFileSync(`${root}docs/security.md`, "utf8");
const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as {
  readonly dependencies: Readonly<Record<string, string>>;
};
const lock = JSON.parse(readFileSync(`${root}package-lock.json`, "utf8")) as {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly hasInstallScript?: boolean }>>;
};

test("the table of dependencies has every package in the version that is installed", () => {
  const rows = [...text.matchAll(/^\| ([@a-z/-]+) \| (\d+\.\d+\.\d+) \|/gm)].map(([, name, version]) => [
    name,
    version,
  ]);
  expect(Object.fromEntries(rows)).toEqual(manifest.dependencies);
});

test("no package that ships has an install script", () => {
  const shipped = Object.entries(lock.packages).filter(([path, { dev }]) => path !== "" && dev !== true);
  expect(shipped.length).toBeGreaterThan(20);
  expect(shipped.filter(([, { hasInstallScript }]) => hasInstallScript === true)).toEqual([]);
});

test("every file that is named exists", () => {
  const named = [...text.matchAll(/`((?:src|test|deploy)\/[\w./-]+)`/g)].map(([, path = ""]) => path);
  const linked = [...text.matchAll(/\]\(([^)#]+)\)/g)].map(([, path = ""]) => `docs/${path}`);
  expect(named.length).toBeGreaterThan(20);
  expect([...named, ...linked].filter((path) => !existsSync(root + path))).toEqual([]);
});

test("every file of hostile tests is in the table of guarantees", () => {
  const files = readdirSync(`${root}test/security`).map((name) => `test/security/${name}`);
  expect(files.length).toBeGreaterThan(8);
  expect(files.filter((path) => !text.includes(`\`${path}\``))).toEqual([]);
});

test("every part of the fuzzing is described", () => {
  const rows = [...text.matchAll(/^\| ((?:`[a-z-]+`(?:, )?)+) \|/gm)].flatMap(([, cell = ""]) =>
    cell.replaceAll("`", "").split(", "),
  );
  expect(rows.filter((name) => parts.has(name)).sort()).toEqual([...parts.keys()].sort());
});
