/**
 * How `npm test` runs: everything under test/, three files at a time. Those that start processes or measure their own
 * each have a process to themselves and come first, the longest before the others; those that only compute share one for
 * each worker, since to start one and to import what all of them import takes longer than most of them do.
 */
import { defineConfig } from "vitest/config";
import { createSummaryReporter } from "./test/support/summary-reporter.ts";

const computing = ["test/unit/**/*.test.ts", "test/property/**/*.test.ts"];
/** Bounds of one's own heap, and of how long a write may take, mean something only where nobody else has left work. */
const measuring = ["test/unit/record/cardinality.test.ts", "test/unit/record/access-log.test.ts"];

export default defineConfig({
  test: {
    pool: "forks",
    // One more than CI has cores: what starts processes mostly waits for them.
    maxWorkers: 3,
    projects: [
      // Projects run in the order of their names.
      {
        extends: true,
        test: { name: "1-alone", include: ["test/**/*.test.ts"], exclude: computing },
      },
      { extends: true, test: { name: "2-measuring", include: measuring } },
      { extends: true, test: { name: "3-shared", isolate: false, include: computing, exclude: measuring } },
    ],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    reporters: ["default", createSummaryReporter()],
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      // It runs in a browser, and is tested there.
      exclude: ["src/admin/console/**"],
      reporter: ["text", "html"],
      reportsDirectory: "coverage",
    },
  },
});
