/** What some tests need beside Node, programs above all: it is there, or the tests that need it say so. */
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { describe, test } from "vitest";

/** Where servers are installed, though the PATH of an ordinary user may not say so. */
const serverDirectories = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/** The absolute path of a program on PATH; undefined where there is none. */
export function requireTool(name: string): string | undefined {
  const onPath = (process.env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== "");
  return [...onPath, ...serverDirectories].map((directory) => join(directory, name)).find(isProgram);
}

/** `describe` for tests that need programs. Where one is missing they are as those of `describeUnless`. */
export function describeWithTool(tools: readonly string[], title: string, fn: () => void): void {
  describeUnless(missingOf(tools), title, fn);
}

/** What is not on PATH, as `describeUnless` takes it. */
export function missingOf(tools: readonly string[]): string | undefined {
  const missing = tools.filter((tool) => requireTool(tool) === undefined);
  return missing.length === 0 ? undefined : `${missing.join(", ")} on PATH`;
}

/**
 * `describe` for tests that need what not every machine has; `lacking` is a noun phrase, undefined where nothing lacks.
 * Else they are skipped, with a line that names it; with SALLYPORT_REQUIRE_TOOLS=1, as in CI, they fail.
 */
export function describeUnless(lacking: string | undefined, title: string, fn: () => void): void {
  if (lacking === undefined) {
    describe(title, fn);
    return;
  }
  const needs = `needs ${lacking}`;
  if (process.env["SALLYPORT_REQUIRE_TOOLS"] === "1") {
    describe(title, () => {
      test(needs, () => {
        throw new Error(`${needs}, and SALLYPORT_REQUIRE_TOOLS=1 forbids to skip`);
      });
    });
    return;
  }
  console.warn(`skipped: ${needs} (${title})`);
  describe.skip(`${title} (skipped: ${needs})`, fn);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
