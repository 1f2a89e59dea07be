/** Files that change in all the ways in which files do, with a watch that is quick. */
import { mkdir, mkdtemp, rename, rm, symlink, unlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { disk } from "../../../src/config/disk.ts";
import { type FileWatch, sightFiles, sightNow, watchFiles } from "../../../src/reload/watch.ts";

let directory: string;
let file: string;
let changes: number;
let watch: FileWatch;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sallyport-watch-"));
  file = join(directory, "site.yaml");
  await writeFile(file, "one");
  changes = 0;
});
afterEach(async () => {
  watch.close();
  await rm(directory, { recursive: true });
});

/** With `isBusy` only the clock helps. */
function follow(paths: readonly string[], isBusy = false, settleMs = 20): void {
  watch = watchFiles({
    onChange: () => (changes += 1),
    busyDirectories: isBusy ? [directory] : [],
    everyMs: isBusy ? 50 : 60_000,
    settleMs,
  });
  watch.follow(sightNow(paths));
}

async function expectChanges(count: number): Promise<void> {
  await vi.waitFor(() => expect(changes).toBe(count), { timeout: 5_000, interval: 5 });
}

type Step = () => Promise<unknown>;
const steps: Readonly<Record<string, Step>> = {
  "is written over": () => writeFile(file, "two"),
  "is written over with as many bytes": () => writeFile(file, "owt"),
  "is removed": () => unlink(file),
  "is replaced by another": async () => {
    await writeFile(`${file}~`, "two");
    await rename(`${file}~`, file);
  },
  "is touched": () => utimes(file, 1, 1),
  "becomes a link to another": async () => {
    await writeFile(join(directory, "other"), "two");
    await symlink("other", `${file}~`);
    await rename(`${file}~`, file);
  },
};

describe.each([
  ["where the system tells of it", false],
  ["where only the clock helps", true],
] as const)("%s", (_, isBusy) => {
  test.each(Object.entries(steps))("a file that %s is one change", async (_sentence, step) => {
    follow([file], isBusy);
    await step();
    await expectChanges(1);
    // The next change is the second, and not the third.
    await writeFile(file, "and another");
    await expectChanges(2);
  });

  test("a file that is not there is a change when it comes", async () => {
    follow([join(directory, "later.yaml")], isBusy);
    await writeFile(join(directory, "later.yaml"), "here");
    await expectChanges(1);
  });
});

test("a link in a directory above, which nobody watches, is found by the clock", async () => {
  await mkdir(join(directory, "one"));
  await mkdir(join(directory, "two"));
  for (const name of ["one", "two"]) await writeFile(join(directory, name, "site.yaml"), name);
  await symlink("one", join(directory, "current"));
  follow([join(directory, "current", "site.yaml")], true);
  await symlink("two", join(directory, "next"));
  await rename(join(directory, "next"), join(directory, "current"));
  await expectChanges(1);
});

test("a file that is written to again and again is told once it is at rest", async () => {
  // No pause between two writes is as long, however busy the machine is.
  follow([file], true, 1000);
  for (let i = 0; i < 30; i++) {
    await writeFile(file, `${i}`);
    if (i === 29) expect(changes).toBe(0);
  }
  await expectChanges(1);
});

test("other files in the directory are none of its business", async () => {
  follow([file]);
  for (let i = 0; i < 50; i++) await writeFile(join(directory, `other-${i}`), "noise");
  await writeFile(file, "two");
  await expectChanges(1);
});

test("what changes between being read and being followed is a change", async () => {
  const sighted = sightFiles(disk);
  expect(sighted.disk.readFile(file)).toBe("one");
  expect(() => sighted.disk.readFile(join(directory, "none"))).toThrow(/ENOENT/);
  await writeFile(file, "two");
  watch = watchFiles({ onChange: () => (changes += 1), everyMs: 60_000, settleMs: 20 });
  watch.follow(sighted.seen);
  await expectChanges(1);
  expect([...sighted.seen.keys()]).toEqual([file, join(directory, "none")]);
});

test("once closed it says nothing more", async () => {
  follow([file], true);
  watch.close();
  await writeFile(file, "two");
  const other = watchFiles({ onChange: () => (changes += 10), everyMs: 50, settleMs: 20 });
  other.follow(sightNow([file]));
  await writeFile(file, "three");
  await expectChanges(10);
  other.close();
});

test("a disk that is looked at answers all that the disk does", () => {
  const sighted = sightFiles({ ...disk, isOpenToOthers: (path) => path === "open" });
  expect(["open", "closed"].map((path) => sighted.disk.isOpenToOthers?.(path))).toEqual([true, false]);
});
