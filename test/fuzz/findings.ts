/** Findings that are kept: each is a file in findings/, which `npm test` checks again. */
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hashOf } from "./random.ts";

export type KeptFinding = {
  readonly file: string;
  /** Name of the part that found it. */
  readonly part: string;
  /** What was wrong. */
  readonly note: string;
  readonly input: Uint8Array;
};

const directory = fileURLToPath(new URL("findings/", import.meta.url));

/** All that are kept, by file name. */
export function keptFindings(): readonly KeptFinding[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((file) => {
      const { part, note, base64 } = JSON.parse(readFileSync(`${directory}${file}`, "utf8")) as Record<string, string>;
      if (part === undefined || note === undefined || base64 === undefined) throw new Error(`${file} is no finding`);
      return { file, part, note, input: Buffer.from(base64, "base64") };
    });
}

/** Where a finding belongs, and what its file holds. */
export function findingFile(part: string, input: Uint8Array): { readonly path: string; readonly content: string } {
  const id = hashOf(input).toString(16).padStart(8, "0");
  const base64 = Buffer.from(input).toString("base64");
  const content = JSON.stringify({ part, note: "WHAT WAS WRONG, IN ONE SENTENCE", base64 });
  return { path: `test/fuzz/findings/${part}-${id}.json`, content };
}
