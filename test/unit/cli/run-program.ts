/** The whole command line in this process: files in memory beside the real packs, and what was said where. */
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Io } from "../../../src/cli/io.ts";
import { runProgram } from "../../../src/cli/program.ts";
import { disk } from "../../../src/config/disk.ts";

export type Surroundings = {
  /** Files by name, in the working directory. */
  readonly files?: Readonly<Record<string, string>>;
  readonly stdin?: Readable | string;
  /** Of the disk. */
  readonly isOpenToOthers?: (path: string) => boolean;
  /** What `Io` has besides, or in place of, what is here. */
  readonly io?: object;
};
export type Run = { readonly exit: number; readonly stdout: string; readonly stderr: string };

/** No such directory: what is read there is in memory. */
const workingDirectory = "/nowhere/site";
export const policiesDir = fileURLToPath(new URL("../../../policies", import.meta.url));
export const now = Date.UTC(2026, 10, 21, 12);

/** Runs the program. It sees the packs on the disk, and of other files only those given. */
export async function run(
  args: readonly string[],
  { files = {}, stdin = "", isOpenToOthers = () => false, io: given = {} }: Surroundings = {},
): Promise<Run> {
  let stdout = "";
  let stderr = "";
  const inMemory = new Map(Object.entries(files).map(([name, text]) => [`${workingDirectory}/${name}`, text]));
  const io: Io = {
    stdoutReady: () => Promise.resolve(true),
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    stdin: typeof stdin === "string" ? Readable.from([Buffer.from(stdin)]) : stdin,
    env: {},
    cwd: workingDirectory,
    disk: {
      readFile: (path) => {
        const text = inMemory.get(path);
        if (text !== undefined) return text;
        if (dirname(path) === policiesDir || dirname(path) === `${policiesDir}/packs`) return disk.readFile(path);
        throw Object.assign(new Error(`no ${path}`), { code: "ENOENT" });
      },
      listFiles: disk.listFiles,
      isOpenToOthers,
    },
    openRead: (path) => Readable.from([Buffer.from(inMemory.get(path) ?? "")]),
    createFile: () => {
      throw new Error("nothing is written here");
    },
    fileExists: (path) => inMemory.has(path),
    onSignal: () => {},
    now: () => now,
    policiesDir,
    program: "sallyport",
    version: "0.0.0",
    nodeVersion: "20.0.0",
    openFiles: () => undefined,
    ...given,
  };
  return { exit: await runProgram(args, io), stdout, stderr };
}
