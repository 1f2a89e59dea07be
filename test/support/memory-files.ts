/** A disk in memory, for loaders that are handed their files. */
import { dirname, join, normalize } from "node:path";
import type { Disk } from "../../src/config/disk.ts";

/** Files by path; what is not among them does not exist. */
export function filesInMemory(files: Readonly<Record<string, string>>): Disk {
  const known = new Map(Object.entries(files).map(([path, content]) => [normalize(path), content]));
  return {
    readFile: (path) => {
      const content = known.get(normalize(path));
      if (content === undefined) throw Object.assign(new Error(`no ${path}`), { code: "ENOENT" });
      return content;
    },
    listFiles: (path) => {
      return [...known.keys()]
        .filter((file) => dirname(file) === normalize(join(path, ".")))
        .map((file) => file.slice(path.length + 1));
    },
  };
}
