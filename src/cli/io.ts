/** The world as a command sees it: text out, text in, files, signals and the clock. `main.ts` makes the real one. */
import type { Readable } from "node:stream";
import type { Disk } from "../config/disk.ts";

export type Signal = "SIGTERM" | "SIGINT" | "SIGHUP";

export type Io = {
  /** Answers. */
  readonly stdout: (text: string) => void;
  /** Resolves when stdout takes more without piling it up; false when its reader has gone. */
  readonly stdoutReady: () => Promise<boolean>;
  /** Everything else that is said to a person. */
  readonly stderr: (text: string) => void;
  readonly stdin: Readable;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Paths in messages stay as they were given; this is what they are relative to. */
  readonly cwd: string;
  readonly disk: Disk;
  /** A file as a stream; what is wrong with it is an error of the stream. */
  readonly openRead: (path: string) => Readable;
  /** Creates a file; false where there is one already. Throws like `fs`. */
  readonly createFile: (path: string, text: string) => boolean;
  readonly fileExists: (path: string) => boolean;
  /** Calls back on every such signal until the process ends. */
  readonly onSignal: (signal: Signal, handler: () => void) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Directory of the policies that ship with the program. */
  readonly policiesDir: string;
  /** How a person calls this program here: `sallyport`, or `npx sallyport` where npm started it. */
  readonly program: string;
  readonly version: string;
  readonly nodeVersion: string;
  /** How many files this process may have open at a time; undefined where that is unlimited or unknown. */
  readonly openFiles: () => number | undefined;
};

/** 0 fine or allowed, 1 denied or problems found, 2 usage, 3 invalid file or failed policy test (interface.md). */
export type ExitCode = 0 | 1 | 2 | 3;
