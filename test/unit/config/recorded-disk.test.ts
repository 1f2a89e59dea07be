/** What was read once is all that is read: by the same process again, and by every worker. */
import { expect, test } from "vitest";
import { recordDisk, replayDisk } from "../../../src/config/recorded-disk.ts";

const files = new Map([["a.yaml", "first"]]);
const disk = {
  readFile: (path: string) => {
    const text = files.get(path);
    if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: "ENOENT" });
    return text;
  },
  listFiles: () => [...files.keys()],
};

test("a file that changes afterwards is still the one that was read, and one that was missing stays missing", () => {
  const recorded = recordDisk(disk);
  expect(recorded.disk.readFile("a.yaml")).toBe("first");
  expect(() => recorded.disk.readFile("b.yaml")).toThrow("no b.yaml");
  expect(recorded.disk.listFiles(".")).toEqual(["a.yaml"]);
  files.set("a.yaml", "second");
  files.set("b.yaml", "new");
  const replayed = replayDisk(structuredClone(recorded.recording));
  for (const one of [recorded.disk, replayed]) {
    expect(one.readFile("a.yaml")).toBe("first");
    expect(() => one.readFile("b.yaml")).toThrow(expect.objectContaining({ code: "ENOENT" }));
    expect(one.listFiles(".")).toEqual(["a.yaml"]);
  }
});

test("what nobody has read is not there", () => {
  const { recording } = recordDisk(disk);
  expect(() => replayDisk(recording).readFile("a.yaml")).toThrow(expect.objectContaining({ code: "ENOENT" }));
  expect(() => replayDisk(recording).listFiles(".")).toThrow(expect.objectContaining({ code: "ENOENT" }));
});
