import { expect, test } from "vitest";
import { freeNow } from "../../../src/egress/free-now.ts";

const large = 64 * 1024;

test("a large chunk with memory of its own is empty afterwards, and its memory is back", () => {
  const before = process.memoryUsage().arrayBuffers;
  const chunks = Array.from({ length: 256 }, () => Buffer.allocUnsafeSlow(large));
  expect(process.memoryUsage().arrayBuffers - before).toBeGreaterThanOrEqual(256 * large);
  for (const chunk of chunks) freeNow(chunk);
  expect(chunks.every((chunk) => chunk.length === 0)).toBe(true);
  // No collection in between, which would give back no more than what was there.
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * large);
});

test.each([
  ["a small one", Buffer.allocUnsafeSlow(1024)],
  ["one from Node's pool", Buffer.allocUnsafe(100)],
  ["a part of a larger one", Buffer.allocUnsafeSlow(2 * large).subarray(0, large)],
  ["the end of a larger one", Buffer.allocUnsafeSlow(2 * large).subarray(large)],
  ["one that another thread may read", Buffer.from(new SharedArrayBuffer(large))],
])("%s stays as it is", (_, chunk) => {
  chunk.fill(7);
  const copy = Buffer.from(chunk);
  freeNow(chunk);
  expect(chunk.equals(copy)).toBe(true);
});
