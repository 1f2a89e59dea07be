/** How files reach the loaders: two functions, so that tests and generated files need no disk. */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { platform } from "node:os";
import { maxFileLength } from "./yaml.ts";

export type Disk = {
  /** The whole text of a file; throws like `fs`. */
  readonly readFile: (path: string) => string;
  /** Names of the files in a directory, in any order; throws like `fs`. */
  readonly listFiles: (path: string) => readonly string[];
  /** Whether users other than the owner and its group may read a file; not everywhere there is such a thing to know. */
  readonly isOpenToOthers?: (path: string) => boolean;
};

/** The real one. Bytes that are no UTF-8 become U+FFFD, which is refused where it stands. */
export const disk: Disk = {
  readFile: (path) => {
    if (statSync(path).size > maxFileLength) throw Object.assign(new Error("file too large"), { code: "EFBIG" });
    return readFileSync(path, "utf8");
  },
  listFiles: (path) => readdirSync(path),
  // Windows has no such bits, and Node makes some up.
  isOpenToOthers: (path) => platform() !== "win32" && (statSync(path).mode & 0o007) !== 0,
};

/** Why a file could not be read, as a clause that completes "FILE …". */
export function readFailure(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return failures[code] ?? `cannot be read (${code === "" ? String(error) : code})`;
}

const failures: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  ENOTDIR: "does not exist: a part of the path is no directory",
  EACCES: "cannot be read: permission denied",
  EISDIR: "is a directory, not a file",
  EFBIG: `is larger than ${maxFileLength / 1024 / 1024} MiB`,
};
