/** How `npm test` runs: everything under test/, each file in a process of its own, two at a time. */
import { defineConfig } from "vitest/config";
import { createSummaryReporter } from "./test/support/summary-reporter.ts";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
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
