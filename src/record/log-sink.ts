/**
 * A file or standard output that takes lines and never stands in the way: writes are asynchronous, the buffer is
 * bounded, what does not fit is dropped and counted, and a full disk or a reader that went away is retried for ever.
 *
 * Not pino's own destination: after EPIPE that one swallows lines uncounted, with a full buffer it does not try again
 * once the disk has room, and when the process exits it waits for a full disk without end.
 */
import { close, constants, fstatSync, open, openSync, write } from "node:fs";

export type LogSink = {
  /** Takes one line, newline included. */
  readonly write: (line: string) => void;
  /** Opens the file anew (after logrotate moved it); on failure the old one is kept. Nothing to do for standard output. */
  readonly reopen: () => Promise<void>;
  /** Resolves when all is written, or when writing fails or takes longer than `closeTimeoutMs`: the rest counts as dropped. */
  readonly close: () => Promise<void>;
};

export type LogSinkOptions = {
  /** A path, or `-` for standard output. */
  readonly file: string;
  /** Lines that were given up. */
  readonly onDrop: (lines: number) => void;
  /** Characters; all lines are ASCII, so this is bytes. */
  readonly maxBuffered?: number;
  /** Other processes write to the same file or pipe: lines of theirs must not come between parts of ours. */
  readonly isShared?: boolean;
  readonly closeTimeoutMs?: number;
};

const defaultMaxBuffered = 4 * 1024 * 1024;
const defaultCloseTimeoutMs = 2_000;
const newline = 0x0a;
const maxBatch = 64 * 1024;
/** PIPE_BUF: what a pipe takes whole or not at all. Appending to a file does so at any length. */
const maxAtomicBatch = 4096;
/** A pipe that is full is soon read from; a disk that is full is not. */
const retryFullPipeMs = 50;
const retryErrorMs = 1_000;
/** Between two writes lines gather: a write for each would cost more than the request that it tells of. */
const restMs = 20;
const fileMode = 0o640;
/** Non-blocking concerns pipes: a reader that stalls must not hold a thread of Node's pool, nor opening one the process. */
const openFlags = constants.O_WRONLY | constants.O_APPEND | (constants.O_NONBLOCK ?? 0);

/** Throws when the file cannot be opened. Owns the file it opens; standard output is never closed. */
export function createLogSink(options: LogSinkOptions): LogSink {
  const {
    file,
    onDrop,
    maxBuffered = defaultMaxBuffered,
    closeTimeoutMs = defaultCloseTimeoutMs,
    isShared = false,
  } = options;
  const maxLength = isShared ? maxAtomicBatch : maxBatch;
  let fd = file === "-" ? openStandardOutput() : openSync(file, openFlags | constants.O_CREAT, fileMode);
  let lines: string[] = [];
  let linesLength = 0;
  let batch: Buffer | undefined;
  let writing = false;
  let retry: NodeJS.Timeout | undefined;
  let rest: NodeJS.Timeout | undefined;
  /** Descriptors to close once no write is under way: closed earlier, the number could by then be somebody's socket. */
  let released: number[] = [];
  let closed: Promise<void> | undefined;
  /** Set while `close` waits: ends it. */
  let finish: (() => void) | undefined;

  /** Lines are joined once, so that a failed write can be repeated from where it stopped. */
  function nextBatch(): Buffer | undefined {
    if (lines.length === 0) return undefined;
    let count = 1;
    let length = lines[0]?.length ?? 0;
    for (; count < lines.length; count++) {
      length += lines[count]?.length ?? 0;
      if (length > maxLength) break;
    }
    const bytes = Buffer.from(lines.slice(0, count).join(""), "latin1");
    lines = lines.slice(count);
    linesLength -= bytes.length;
    return bytes;
  }

  function pump(): void {
    if (writing || retry !== undefined || rest !== undefined) return;
    batch ??= nextBatch();
    if (batch === undefined) {
      finish?.();
      return;
    }
    writing = true;
    write(fd, batch, 0, batch.length, null, onWritten);
  }

  function onWritten(error: NodeJS.ErrnoException | null, written: number): void {
    writing = false;
    closeReleased();
    if (error !== null) {
      onFailed(error);
      return;
    }
    const left = batch?.subarray(written);
    batch = left?.length === 0 ? undefined : left;
    if (batch === undefined && finish === undefined && linesLength < maxLength) {
      rest = setTimeout(endRest, restMs);
      rest.unref();
      return;
    }
    pump();
  }

  function endRest(): void {
    clearTimeout(rest);
    rest = undefined;
    pump();
  }

  function onFailed({ code }: NodeJS.ErrnoException): void {
    const isFullPipe = code === "EAGAIN";
    if (finish !== undefined && !isFullPipe) {
      finish();
      return;
    }
    retry = setTimeout(retryNow, isFullPipe ? retryFullPipeMs : retryErrorMs);
    retry.unref();
  }

  function retryNow(): void {
    clearTimeout(retry);
    retry = undefined;
    endRest();
  }

  function closeReleased(): void {
    // An error of close() leaves nothing to do.
    for (const old of released) close(old, () => undefined);
    released = [];
  }

  /** Standard output belongs to the process. */
  function release(old: number): void {
    if (old > 2) released.push(old);
    if (!writing) closeReleased();
  }

  function replaceFile(opened: number): void {
    if (closed !== undefined) {
      release(opened);
      return;
    }
    const old = fd;
    fd = opened;
    release(old);
    retryNow();
  }

  function giveUp(): void {
    const lost = lines.length + (batch?.filter((byte) => byte === newline).length ?? 0);
    lines = [];
    linesLength = 0;
    batch = undefined;
    clearTimeout(retry);
    clearTimeout(rest);
    if (lost > 0) onDrop(lost);
    release(fd);
  }

  return {
    write(line) {
      if (closed !== undefined || linesLength + (batch?.length ?? 0) + line.length > maxBuffered) {
        onDrop(1);
        return;
      }
      lines.push(line);
      linesLength += line.length;
      if (linesLength >= maxLength) endRest();
      else pump();
    },
    reopen() {
      if (file === "-") return Promise.resolve();
      return new Promise((resolve, reject) => {
        open(file, openFlags | constants.O_CREAT, fileMode, (error, opened) => {
          if (error !== null) {
            reject(error);
            return;
          }
          replaceFile(opened);
          resolve();
        });
      });
    },
    close() {
      closed ??= new Promise((resolve) => {
        const deadline = setTimeout(() => finish?.(), closeTimeoutMs);
        finish = () => {
          finish = undefined;
          clearTimeout(deadline);
          giveUp();
          resolve();
        };
        retryNow();
      });
      return closed;
    },
  };
}

/**
 * Standard output that is a pipe is opened once more, so that it can be non-blocking here and stay as it is for whoever
 * else holds it. Where that cannot be done (sockets, other systems) it is used as it is; and so is a file: whoever else
 * writes to it (`serve >file 2>&1`) shares its place in it, which one opened anew would not.
 */
function openStandardOutput(): number {
  const standardOutput = 1;
  try {
    if (fstatSync(standardOutput).isFile()) return standardOutput;
    return openSync("/proc/self/fd/1", openFlags);
  } catch {
    return standardOutput;
  }
}
