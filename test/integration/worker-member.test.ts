/** A worker as the primary sees it: whatever it was doing when it ended, its end is noticed. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const program = fileURLToPath(new URL("../support/unanswered-listener.mjs", import.meta.url));
const built = new URL("../../dist/workers/member.js", import.meta.url).href;

test("a worker that is killed with a listener on its way to it has ended, also for node:cluster", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [program, built], { timeout: 15_000 });
  expect(JSON.parse(stdout)).toEqual({ how: "by SIGKILL", known: [] });
});
