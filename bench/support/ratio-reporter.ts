/** Vitest reporter that sums a benchmark up: nanoseconds an operation, beside an lru-cache hit of the same round. */
import { arch, cpus } from "node:os";
import { type Reporter, experimental_getRunnerTask as taskOf } from "vitest/node";
import { formatTable } from "./markdown-table.ts";
import * as plan from "./plan.ts";

type TestRunEnd = NonNullable<Reporter["onTestRunEnd"]>;
type TestModules = Parameters<TestRunEnd>[0];
/** Medians over the rounds. */
type Figure = { readonly ns: number; readonly ratio: number };
/** By subject, rule count, kind of host and contender. */
type Figures = ReadonlyMap<string, Figure>;
type Place = Omit<plan.Measurement, "round"> & { readonly contender: string };

/** Prints the errors that ended the run, or the tables. */
export function createRatioReporter(print: (line: string) => void = console.log): Reporter {
  return {
    onTestRunEnd(testModules, unhandledErrors) {
      const errors = [...unhandledErrors, ...testModules.flatMap((testModule) => errorsIn(testModule))];
      for (const error of errors) print(error.stack ?? error.message);
      if (errors.length > 0) return;
      const figures = collectFigures(testModules);
      for (const line of [...describeMachine(), ...describeTables(figures), ...describeGoals(figures)]) print(line);
    },
  };
}

function errorsIn(testModule: TestModules[number]) {
  const suites = [...testModule.children.allSuites()];
  return [...testModule.errors(), ...suites.flatMap((suite) => suite.errors())];
}

/** The samples of one round are compared with the cache's of that round; the median over the rounds is the figure. */
function collectFigures(testModules: TestModules): Figures {
  const found = new Map<string, { ns: number[]; ratios: number[] }>();
  for (const suite of testModules.flatMap((testModule) => [...testModule.children.allSuites()])) {
    const measurement = plan.parseMeasurement(suite.name);
    if (measurement === undefined) continue;
    const times = new Map<string, number>();
    for (const test of suite.children.tests()) {
      const medianMs = taskOf(test).result?.benchmark?.median;
      if (medianMs === undefined) continue;
      times.set(test.name, (medianMs * 1e6) / plan.operationsInSample(test.name, measurement.ruleCount));
    }
    const reference = times.get(plan.cacheHit) ?? Number.NaN;
    for (const [contender, ns] of times) {
      const key = keyOf({ ...measurement, contender });
      let series = found.get(key);
      if (series === undefined) found.set(key, (series = { ns: [], ratios: [] }));
      series.ns.push(ns);
      series.ratios.push(ns / reference);
    }
  }
  return new Map([...found].map(([key, { ns, ratios }]) => [key, { ns: median(ns), ratio: median(ratios) }]));
}

function keyOf({ subject, ruleCount, kind, contender }: Place): string {
  return [subject, ruleCount, kind, contender].join("|");
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function describeMachine(): readonly string[] {
  const [cpu] = cpus();
  return [
    `${cpu?.model ?? "unknown CPU"}, ${cpus().length} cores, ${arch()}; Node ${process.version}`,
    `ns for one operation, and × an lru-cache hit of the same round; medians of ${plan.rounds} rounds`,
  ];
}

function describeTables(figures: Figures): readonly string[] {
  return plan.subjects.flatMap((subject) =>
    plan.ruleCounts.flatMap((ruleCount) => {
      const rows = plan.contenders
        .filter((contender) => figures.has(keyOf({ subject, ruleCount, kind: plan.hostKinds[0], contender })))
        .map((contender) => [
          contender,
          ...plan.hostKinds.map((kind) => formatFigure(figures.get(keyOf({ subject, ruleCount, kind, contender })))),
        ]);
      return [
        "",
        ...formatTable([[`${subject}, ${ruleCount.toLocaleString("en")} rules`, ...plan.hostKinds], ...rows]),
      ];
    }),
  );
}

function formatFigure(figure: Figure | undefined): string {
  if (figure === undefined) return "–";
  return `${Math.round(figure.ns).toLocaleString("en")} (${figure.ratio.toFixed(figure.ratio < 10 ? 2 : 0)})`;
}

/** What was set out to be reached, on hosts that a rule allows. */
function describeGoals(figures: Figures): readonly string[] {
  const ratioAt = (ruleCount: plan.RuleCount, subject: plan.Subject, contender: string) =>
    figures.get(keyOf({ subject, ruleCount, kind: "hits", contender }))?.ratio ?? Number.NaN;
  const lines = plan.goals.map(({ ruleCount, atMost }) => {
    const lookup = ratioAt(ruleCount, "lookup", plan.compiledTable).toFixed(2);
    const decision = ratioAt(ruleCount, "decision", plan.wholeDecision).toFixed(2);
    return `${ruleCount.toLocaleString("en")} rules: lookup ${lookup}, decision ${decision}; to reach: at most ${atMost}`;
  });
  return ["", "Fresh host that a rule allows, × an lru-cache hit:", ...lines];
}
