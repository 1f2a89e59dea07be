/** Several new files, all of them or none: what is there already is never touched. */
import { mkdirSync, rmSync, rmdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { readFailure } from "../config/disk.ts";
import type { Io } from "./io.ts";

export type NewFile = { readonly path: string; readonly text: string };

export type Creation =
  | { readonly kind: "created" }
  /** Nothing was written. */
  | { readonly kind: "exists"; readonly paths: readonly string[] }
  /** `failure` completes "PATH …"; what had been written before is gone again. */
  | { readonly kind: "failed"; readonly path: string; readonly failure: string };

/** Creates the files and the directories that they need. Paths are relative to `cwd`, and told as they are given. */
export function createFiles(
  io: Pick<Io, "createFile" | "fileExists">,
  cwd: string,
  files: readonly NewFile[],
): Creation {
  const existing = files.filter(({ path }) => io.fileExists(resolve(cwd, path))).map(({ path }) => path);
  if (existing.length > 0) return { kind: "exists", paths: existing };
  const written: string[] = [];
  const directories: string[] = [];
  const undo = (): void => {
    for (const path of written) rmSync(path, { force: true });
    for (const directory of directories.toReversed()) removeIfEmpty(directory);
  };
  for (const { path, text } of files) {
    const full = resolve(cwd, path);
    try {
      directories.push(...createDirectories(dirname(full)));
      if (!io.createFile(full, text)) {
        undo();
        return { kind: "exists", paths: [path] };
      }
      written.push(full);
    } catch (error) {
      // A disk that is full leaves a file behind that is not whole.
      if (!isCreationRefused(error)) written.push(full);
      undo();
      return { kind: "failed", path, failure: writeFailure(error) };
    }
  }
  return { kind: "created" };
}

/** The directories that were not there, outermost first. */
function createDirectories(directory: string): readonly string[] {
  const first = mkdirSync(directory, { recursive: true });
  if (first === undefined) return [];
  const made = [directory];
  for (let at = directory; at !== first && dirname(at) !== at;) made.unshift((at = dirname(at)));
  return made;
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Somebody has put something there meanwhile, and keeps it.
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** Nothing was opened, so nothing is there to remove. */
function isCreationRefused(error: unknown): boolean {
  return ["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST", "ELOOP", "ENAMETOOLONG", "ENOENT", "EISDIR"].includes(
    codeOf(error),
  );
}

function writeFailure(error: unknown): string {
  switch (codeOf(error)) {
    case "EACCES":
    case "EPERM":
      return "cannot be written: permission denied";
    case "EROFS":
      return "cannot be written: the file system is read-only";
    case "ENOSPC":
      return "cannot be written: no space left";
    case "EEXIST":
    case "ENOTDIR":
      return "cannot be written: a part of the path is no directory";
    default:
      return readFailure(error).replace("cannot be read", "cannot be written");
  }
}
