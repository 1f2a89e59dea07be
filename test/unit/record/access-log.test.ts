import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type AccessLogOptions, createAccessLog } from "../../../src/record/access-log.ts";
import { createLogSink } from "../../../src/record/log-sink.ts";
import { exchangeWith } from "../../support/exchange.ts";

let directory: string;
let file: string;
let dropped: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-log-"));
  file = join(directory, "access.log");
  dropped = 0;
});
afterEach(() => rmSync(directory, { recursive: true }));

function open(changes: Partial<AccessLogOptions> = {}) {
  return createAccessLog({
    level: "info",
    allowed: true,
    paths: false,
    file,
    now: () => Date.UTC(2026, 10, 21, 12),
    onDrop: (lines) => (dropped += lines),
    ...changes,
  });
}

const onDrop = (lines: number): void => void (dropped += lines);
const isFull = (): boolean => dropped > 0;
const linesOf = (path: string) =>
  readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
const denied = exchangeWith({ id: "denied", verdict: "deny", reason: "no_rule", outcome: undefined });
const failed = exchangeWith({ id: "failed", outcome: "dns_error", status: 502 });
const allowed = exchangeWith({ id: "allowed" });
const reported = exchangeWith({ id: "reported", would: true, mode: "report", reason: "no_rule" });

describe("exchanges", () => {
  test.each<[string, Partial<AccessLogOptions>, string[]]>([
    ["all of them by default", {}, ["info allowed", "warn denied", "warn failed", "warn reported"]],
    [
      "without allowed ones: denials, would-be denials and failures",
      { allowed: false },
      ["warn denied", "warn failed", "warn reported"],
    ],
    ["from level warn on the same", { level: "warn" }, ["warn denied", "warn failed", "warn reported"]],
    ["from level error on none", { level: "error" }, []],
  ])("%s", async (_, changes, expected) => {
    const log = open(changes);
    for (const exchange of [allowed, denied, failed, reported]) log.exchange(exchange);
    await log.close();
    expect(linesOf(file).map(({ level, id }) => `${level} ${id}`)).toEqual(expected);
  });

  test("paths are written only for plain HTTP, and only when configured", async () => {
    const log = open({ paths: true });
    log.exchange(allowed);
    log.exchange(exchangeWith({ kind: "connect" }));
    await log.close();
    expect(linesOf(file).map(({ path }) => path)).toEqual(["/x.cab", undefined]);
  });
});

describe("events", () => {
  test("begin with time, level and event, then their fields", async () => {
    const log = open();
    log.start({ version: "1.2.3", listen: ["127.0.0.1:3128"] });
    log.reload("info", { result: "success", rules: 7 });
    log.drain({ connections: 2 });
    await log.close();
    expect(readFileSync(file, "utf8").split("\n")).toEqual([
      '{"time":"2026-11-21T12:00:00.000Z","level":"info","event":"start","version":"1.2.3","listen":["127.0.0.1:3128"]}',
      '{"time":"2026-11-21T12:00:00.000Z","level":"info","event":"reload","result":"success","rules":7}',
      '{"time":"2026-11-21T12:00:00.000Z","level":"info","event":"drain","connections":2}',
      "",
    ]);
  });

  test("a problem carries stack and causes, and nothing else that hangs on the error", async () => {
    const log = open();
    const error = Object.assign(new Error("outer", { cause: new Error("inner") }), {
      code: "E_TEST",
      secret: "hunter2",
    });
    log.problem({ message: "cannot\u0085 do\u001b it", error });
    log.problem({ message: "without an error" });
    await log.close();
    const [first, second] = linesOf(file);
    expect(first).toMatchObject({
      level: "error",
      event: "problem",
      message: "cannot\u0085 do\u001b it",
      error: { type: "Error", message: "outer: inner", code: "E_TEST" },
    });
    expect(first.error.stack).toContain("caused by: Error: inner");
    expect(readFileSync(file, "utf8")).toMatch(/^[\x20-\x7e\n]+$/);
    expect(readFileSync(file, "utf8")).not.toContain("hunter2");
    expect(second).not.toHaveProperty("error");
  });

  test.each<[string, unknown]>([
    ["a string", "boom"],
    ["a symbol", Symbol("boom")],
    ["an object without prototype", Object.create(null)],
    ["a huge error", new Error("x".repeat(1_000_000))],
  ])("a problem never throws: %s was thrown", async (_, error) => {
    const log = open();
    log.problem({ message: "m", error });
    await log.close();
    expect(linesOf(file)).toHaveLength(1);
    expect(statSync(file).size).toBeLessThan(20_000);
  });
});

describe("the file", () => {
  test("is not readable by everyone", async () => {
    const log = open();
    log.start({});
    await log.close();
    expect(statSync(file).mode & 0o007).toBe(0);
  });

  test("is opened anew after logrotate moved it, and no line is lost or torn", async () => {
    const log = open();
    for (let i = 0; i < 2000; i++) log.exchange(allowed);
    renameSync(file, `${file}.1`);
    await log.reopen();
    for (let i = 0; i < 2000; i++) log.exchange(allowed);
    await log.close();
    expect(linesOf(file).length + linesOf(`${file}.1`).length).toBe(4000);
    expect(linesOf(file).length).toBeGreaterThanOrEqual(2000);
    expect(dropped).toBe(0);
  });

  test("stays the old one, and says so, when it cannot be opened anew", async () => {
    const log = open();
    renameSync(directory, `${directory}-moved`);
    await log.reopen();
    await log.close();
    renameSync(`${directory}-moved`, directory);
    expect(linesOf(file)).toMatchObject([{ level: "error", event: "problem", error: { code: "ENOENT" } }]);
  });

  test("that cannot be opened at the start is an error at once", () => {
    expect(() => open({ file: join(directory, "missing", "access.log") })).toThrow("ENOENT");
  });

  test("lines after close are dropped and counted", async () => {
    const log = open();
    await log.close();
    log.exchange(allowed);
    expect(dropped).toBe(1);
    await log.close();
  });
});

describe("a destination that takes nothing", () => {
  test("full disk: lines wait in a bounded buffer, the rest is counted, close does not hang", async () => {
    const log = open({ file: "/dev/full" });
    const line = 500;
    const more = (4 * 1024 * 1024) / line + 10_000;
    for (let i = 0; i < more; i++) log.exchange(allowed);
    expect(dropped).toBeGreaterThan(0);
    await log.close();
    expect(dropped).toBe(Math.ceil(more));
  });

  test("a pipe whose reader went away: nothing throws, and what was not written counts as dropped", async () => {
    execFileSync("mkfifo", [file]);
    const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const log = open();
    closeSync(reader);
    log.exchange(allowed);
    log.exchange(allowed);
    await log.close();
    expect(dropped).toBe(2);
  });

  test("a pipe whose reader stalls: lines arrive whole and in order once it reads again", async () => {
    execFileSync("mkfifo", [file]);
    const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const sink = createLogSink({ file, onDrop, maxBuffered: 256 * 1024 });
    const line = (i: number) => `${String(i).padStart(99, "0")}\n`;
    let written = 0;
    do sink.write(line(written++));
    while (!isFull());
    const received = readUntil(reader, sink.close());
    const text = (await received).toString();
    closeSync(reader);
    const expected = Array.from({ length: written - 1 }, (_, i) => line(i)).join("");
    expect(text).toBe(expected);
    expect(dropped).toBe(1);
  });

  test("a pipe that others write to as well: what does not fit whole is not begun", async () => {
    execFileSync("mkfifo", [file]);
    const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const other = openSync(file, constants.O_WRONLY | constants.O_NONBLOCK);
    const filler = writeSync(other, Buffer.alloc(14 * 4096, "-"));
    const sink = createLogSink({ file, onDrop, closeTimeoutMs: 1000, isShared: true });
    for (let i = 0; i < 200; i++) sink.write(`${"x".repeat(150)}\n`);
    await sink.close();
    const lines = readAvailable(reader).subarray(filler).toString().split("\n");
    closeSync(reader);
    closeSync(other);
    expect(lines.at(-1)).toBe("");
    expect(lines.length).toBeGreaterThan(10);
    expect(lines.length - 1 + dropped).toBe(200);
  });

  test("a pipe whose reader never reads: close gives up after its time and counts what is left", async () => {
    execFileSync("mkfifo", [file]);
    const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    // Long enough for the write that fills the pipe to come back, however busy the machine is: what is under way counts
    // as dropped.
    const sink = createLogSink({ file, onDrop, closeTimeoutMs: 1000 });
    for (let i = 0; i < 4000; i++) sink.write(`${"x".repeat(99)}\n`);
    await sink.close();
    const arrived = readAvailable(reader).toString().split("\n").length - 1;
    closeSync(reader);
    expect(arrived).toBeGreaterThan(100);
    expect(arrived + dropped).toBe(4000);
  });
});

/** Reads a non-blocking pipe until the writer has ended, and then what it left there. */
async function readUntil(fd: number, ended: Promise<void>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const state = { writing: true };
  const end = ended.then(() => (state.writing = false));
  while (state.writing) {
    chunks.push(readAvailable(fd));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await end;
  chunks.push(readAvailable(fd));
  return Buffer.concat(chunks);
}

/** All that stands in a non-blocking pipe now. */
function readAvailable(fd: number): Buffer {
  const chunks: Buffer[] = [];
  const buffer = Buffer.alloc(65536);
  for (;;) {
    try {
      const length = readSync(fd, buffer);
      if (length === 0) break;
      chunks.push(Buffer.from(buffer.subarray(0, length)));
    } catch {
      break;
    }
  }
  return Buffer.concat(chunks);
}
