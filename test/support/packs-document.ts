/** docs/packs.md: the part that is generated, and the tables that are written by hand. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { packsDocument } from "../../src/cli/packs-document.ts";
import { disk } from "../../src/config/disk.ts";
import { packsDir } from "./pack-probes.ts";

export const documentPath = fileURLToPath(new URL("../../docs/packs.md", import.meta.url));

const begin = "<!-- generated: sallyport packs --markdown -->\n";
const end = "<!-- end -->";

export type PacksPage = { readonly byHand: string; readonly generated: string; readonly after: string };

export function readPage(): PacksPage {
  const text = readFileSync(documentPath, "utf8");
  const [byHand, rest, ...more] = text.split(begin);
  const [generated, after, ...others] = rest?.split(end) ?? [];
  if (byHand === undefined || generated === undefined || after === undefined || more.length + others.length > 0)
    throw new Error(`${documentPath} needs "${begin.trim()}" once, and "${end}" once after it`);
  return { byHand, generated, after };
}

export function pageText({ byHand, generated, after }: PacksPage): string {
  return `${byHand}${begin}${generated}${end}${after}`;
}

/** What stands between the markers when it is current. */
export function generate(): string {
  const document = packsDocument(disk, packsDir);
  if (document.kind === "problems") throw new Error(JSON.stringify(document.problems));
  return `\n${document.text}\n`;
}

/** Cells of the table under a heading, without its first two lines. */
export function tableUnder(page: string, heading: string): readonly (readonly string[])[] {
  const section = page.split(/^(?=#{1,6} )/m).find((part) => part.split("\n", 1)[0]?.replace(/^#+ /, "") === heading);
  const lines = section?.split("\n").filter((line) => line.startsWith("|")) ?? [];
  return lines.slice(2).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** Texts between backquotes. */
export function codeIn(text: string): readonly string[] {
  return Array.from(text.matchAll(/`([^`]+)`/g), ([, code = ""]) => code);
}
