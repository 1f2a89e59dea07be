/** How `npm run bench` runs: one file at a time, so that no figure is measured beside another. */
import { defineConfig } from "vitest/config";
import { createRatioReporter } from "./bench/support/ratio-reporter.ts";

export default defineConfig({
  test: {
    benchmark: { include: ["bench/**/*.bench.ts"], reporters: [createRatioReporter()] },
    // Modules as Node loads them, which is how they run: Vite's runner makes a getter's call of every use of an import.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    execArgv: ["--import", "./test/support/typescript.mjs"],
    pool: "forks",
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 120_000,
  },
});
