/** The log: one line of NDJSON for each exchange, and for what happens to the proxy itself (interface.md, "Log"). */
import { inspect } from "node:util";
import { pino } from "pino";
import type { Exchange } from "./event.ts";
import { type LogLevel, escapeControls, formatExchange, isNoteworthy } from "./log-line.ts";
import { createLogSink } from "./log-sink.ts";

export type AccessLogOptions = {
  /** Lines below this level are left out. */
  readonly level: LogLevel;
  /** Also exchanges that were allowed and went well. */
  readonly allowed: boolean;
  /** Also the paths of plain HTTP requests. */
  readonly paths: boolean;
  /** A path, or `-` for standard output. */
  readonly file: string;
  /** Other processes write to the same file. */
  readonly isShared?: boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Lines that could not be written, for `log_dropped_total`. */
  readonly onDrop: (lines: number) => void;
};

/** More about an event; keys follow those of the line. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Something that should not have happened; an error comes with its stack and its causes. */
export type Problem = { readonly message: string; readonly error?: unknown };

export type AccessLog = {
  /** Once an exchange, when it is over: at level info, or warn where it is worth a look (denied, would be, failed). */
  readonly exchange: (exchange: Exchange) => void;
  readonly start: (fields: LogFields) => void;
  readonly reload: (level: "info" | "warn" | "error", fields: LogFields) => void;
  readonly drain: (fields: LogFields) => void;
  /** Never throws, whatever was thrown. */
  readonly problem: (problem: Problem) => void;
  /** On SIGHUP: the file is opened anew; where that fails the old one is kept and says so. */
  readonly reopen: () => Promise<unknown>;
  /** Writes what is left, for two seconds at most. Later lines count as dropped. */
  readonly close: () => Promise<void>;
};

const maxMessage = 2_048;
const maxStack = 8_192;
const ranks: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 };

/** Throws when the file cannot be opened. */
export function createAccessLog({
  level,
  allowed,
  paths,
  file,
  isShared = false,
  now,
  onDrop,
}: AccessLogOptions): AccessLog {
  const sink = createLogSink({ file, isShared, onDrop });
  const clock = createTimestamps(now);
  const logger = createEventLogger(level, clock, sink.write);
  const lowest = ranks[level];
  const problem = ({ message, error }: Problem): void => {
    logger.error({ level: "error", event: "problem", message: message.slice(0, maxMessage), error });
  };
  return {
    exchange(exchange) {
      const noteworthy = isNoteworthy(exchange);
      const lineLevel = noteworthy ? "warn" : "info";
      if (!(noteworthy || allowed) || ranks[lineLevel] < lowest) return;
      sink.write(formatExchange(exchange, lineLevel, clock(), paths && exchange.kind === "http"));
    },
    start: (fields) => logger.info({ level: "info", event: "start", ...fields }),
    reload: (as, fields) => logger[as]({ level: as, event: "reload", ...fields }),
    drain: (fields) => logger.info({ level: "info", event: "drain", ...fields }),
    problem,
    async reopen() {
      try {
        await sink.reopen();
        return undefined;
      } catch (error) {
        problem({ message: `cannot reopen ${file}; writing to the old file`, error });
        return error;
      }
    },
    close: sink.close,
  };
}

/**
 * `level` is a field of each record, since `time` comes first: pino would put its own level before it, so the level
 * formatter gives nothing and the time opens the line.
 */
function createEventLogger(level: LogLevel, clock: () => string, write: (line: string) => void) {
  return pino(
    {
      level,
      base: null,
      timestamp: () => `"time":"${clock()}"`,
      formatters: { level: () => ({}) },
      serializers: { error: serializeError },
    },
    { write: (line: string) => write(`${escapeControls(line.trimEnd())}\n`) },
  );
}

/** Type, message, stack and causes; what else hangs on an error may be large, or a secret. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error))
    return error === undefined ? undefined : shorten(inspect(error, { depth: 1 }), maxMessage);
  const { type, message, stack } = pino.stdSerializers.err(error);
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  return { type, message: shorten(message, maxMessage), ...code, stack: shorten(stack, maxStack) };
}

function shorten(text: string, maxLength: number): string {
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
}

/** ISO 8601 in UTC; lines of the same second share its text. */
function createTimestamps(now: () => number): () => string {
  let knownSecond = Number.NaN;
  let prefix = "";
  return () => {
    const nowMs = now();
    const second = Math.floor(nowMs / 1000);
    if (second !== knownSecond) {
      knownSecond = second;
      // `2026-11-22T02:34:17.`
      prefix = new Date(second * 1000).toISOString().slice(0, -4);
    }
    return `${prefix}${String(nowMs - second * 1000).padStart(3, "0")}Z`;
  };
}
