/** Vitest reporter whose only word is the last line: how many tests passed, failed and were skipped. */
import type { Reporter } from "vitest/node";

type TestRunEnd = NonNullable<Reporter["onTestRunEnd"]>;
type TestModules = Parameters<TestRunEnd>[0];

/** Prints `12 passed, 0 failed, 1 skipped`, alone on a line. */
export function createSummaryReporter(print: (line: string) => void = console.log): Reporter {
  return {
    onTestRunEnd(testModules, unhandledErrors) {
      const { passed, failed, skipped } = countTests(testModules);
      print(`${passed} passed, ${failed + unhandledErrors.length} failed, ${skipped} skipped`);
    },
  };
}

/** What fails outside a test (a file that does not load, a hook that throws) counts as one failure each. */
function countTests(testModules: TestModules): { passed: number; failed: number; skipped: number } {
  const count = { passed: 0, failed: 0, skipped: 0, pending: 0 };
  for (const testModule of testModules) {
    count.failed += testModule.errors().length;
    for (const suite of testModule.children.allSuites()) count.failed += suite.errors().length;
    for (const test of testModule.children.allTests()) count[test.result().state]++;
  }
  // A test that was begun and never ended did not pass.
  return { passed: count.passed, failed: count.failed + count.pending, skipped: count.skipped };
}
