/** The Range field in the form that is let pass (policy.md, "HTTP conditions"). */
import { describe, expect, test } from "vitest";
import { parseRange } from "../../../src/wire/range.ts";

const many = (count: number) => `bytes=${Array.from({ length: count }, (_, i) => `${i * 10}-${i * 10 + 4}`).join(",")}`;

describe("valid", () => {
  test.each([
    ["one range", "bytes=0-499"],
    ["one byte", "bytes=0-0"],
    ["an open-ended range", "bytes=500-"],
    ["a suffix range", "bytes=-500"],
    ["the unit in any case", "Bytes=0-1"],
    ["the unit in capitals", "BYTES=0-1"],
    ["ascending and disjoint", "bytes=0-4,10-14,20-24"],
    ["adjacent", "bytes=0-4,5-9"],
    ["blanks about the comma", "bytes=0-4, 10-14 ,\t20-24"],
    ["an open-ended range as the last", "bytes=0-4,10-"],
    ["a suffix range as the last", "bytes=0-4,-5"],
    ["16 ranges", many(16)],
    ["beyond 4 GiB", "bytes=4294967296-4294967299"],
    ["as far as a number is exact", "bytes=0-9007199254740991"],
  ])("%s", (_sentence, value) => {
    expect(parseRange([value])).toEqual({ kind: "valid" });
  });
});

describe("invalid", () => {
  test.each([
    ["nothing", ""],
    ["another unit", "items=0-1"],
    ["no unit", "0-1"],
    ["no equals sign", "bytes 0-1"],
    ["no range", "bytes="],
    ["a hyphen alone", "bytes=-"],
    ["a number alone", "bytes=5"],
    ["an empty member", "bytes=0-1,,3-4"],
    ["a comma at the end", "bytes=0-1,"],
    ["a comma at the start", "bytes=,0-1"],
    ["end before start", "bytes=9-0"],
    ["descending", "bytes=10-14,0-4"],
    ["overlapping", "bytes=0-9,5-14"],
    ["touching in one byte", "bytes=0-5,5-9"],
    ["the same twice", "bytes=0-0,0-0"],
    ["inside an earlier one, open-ended", "bytes=0-9,5-"],
    ["an open-ended range before the last", "bytes=0-,10-14"],
    ["a suffix range before the last", "bytes=-5,10-14"],
    ["two open-ended ranges", "bytes=0-,5-"],
    ["two suffix ranges", "bytes=-5,-6"],
    ["17 ranges", many(17)],
    ["a thousand ranges", many(1000)],
    ["a sign", "bytes=+0-1"],
    ["a negative end", "bytes=0--1"],
    ["hexadecimal", "bytes=0x0-0x1"],
    ["a number that is not exact", "bytes=0-9007199254740993"],
    ["a start that is not exact", "bytes=9007199254740993-"],
    ["twenty digits", "bytes=0-99999999999999999999"],
    ["twenty digits of a suffix", "bytes=-99999999999999999999"],
    ["a blank inside", "bytes=0 -1"],
    ["two units", "bytes=0-1;bytes=3-4"],
    ["other digits", "bytes=\u0660-\u0661"],
    ["a line feed behind", "bytes=0-1\n"],
  ])("%s", (_sentence, value) => {
    expect(parseRange([value])).toEqual({ kind: "invalid" });
  });

  test("two fields, though both are valid", () => {
    expect(parseRange(["bytes=0-1", "bytes=0-1"])).toEqual({ kind: "invalid" });
  });

  test("a megabyte of digits is answered at once", () => {
    expect(parseRange([`bytes=${"0".repeat(1 << 20)}-`])).toEqual({ kind: "invalid" });
    expect(parseRange([`bytes=${"0-1,".repeat(1 << 18)}`])).toEqual({ kind: "invalid" });
  });
});

test("no field is no range", () => {
  expect(parseRange([])).toEqual({ kind: "none" });
});
