/** What was read once, to be read again elsewhere: every worker loads the same bytes, whatever became of the files. */
import type { Disk } from "./disk.ts";

/** Plain data. Paths are those that were asked for. */
export type Recording = {
  readonly files: ReadonlyMap<string, Reading<string>>;
  readonly directories: ReadonlyMap<string, Reading<readonly string[]>>;
};

type Reading<T> =
  | { readonly kind: "read"; readonly value: T }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

/** A disk that remembers all answers, failures too; `recording` is what there is of them so far. */
export function recordDisk(disk: Disk): { readonly disk: Disk; readonly recording: Recording } {
  const files = new Map<string, Reading<string>>();
  const directories = new Map<string, Reading<readonly string[]>>();
  return {
    disk: {
      readFile: (path) => answer(path, files, disk.readFile),
      listFiles: (path) => answer(path, directories, disk.listFiles),
      // Asked for a warning only, which is given once.
      ...(disk.isOpenToOthers === undefined ? {} : { isOpenToOthers: disk.isOpenToOthers }),
    },
    recording: { files, directories },
  };
}

/** A disk that has nothing but the recording. */
export function replayDisk({ files, directories }: Recording): Disk {
  return {
    readFile: (path) => valueOf(path, files.get(path)),
    listFiles: (path) => valueOf(path, directories.get(path)),
  };
}

/** What was read once is not read again: two answers for one file would be no policy that anybody wrote. */
function answer<T>(path: string, known: Map<string, Reading<T>>, read: (path: string) => T): T {
  const before = known.get(path);
  if (before !== undefined) return valueOf(path, before);
  try {
    const value = read(path);
    known.set(path, { kind: "read", value });
    return value;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    known.set(path, { kind: "failed", code, message: error instanceof Error ? error.message : String(error) });
    throw error;
  }
}

function valueOf<T>(path: string, reading: Reading<T> | undefined): T {
  if (reading?.kind === "read") return reading.value;
  const { code, message } = reading ?? { code: "ENOENT", message: `${path} is not in the recording` };
  throw Object.assign(new Error(message), { code });
}
