/** How exchanges follow each other: as fast as they are answered, or at a rate of their own. */
import type { Exchanger } from "./get-connection.ts";
import type { Report } from "./job.ts";

/** What is under way may take so long after no more is begun. */
const patienceMs = 30_000;

/** `width` exchanges at a time for `forMs`; then what is under way is finished, so that no unit counts in part. */
export async function driveClosed(create: () => Exchanger, width: number, forMs: number): Promise<Report> {
  const exchangers = Array.from({ length: width }, create);
  const startedAt = performance.now();
  const until = startedAt + forMs;
  let units = 0;
  const problem = await withDeadline(forMs, exchangers, (finish) => {
    let underWay = width;
    for (const exchanger of exchangers) {
      const next = (): void =>
        exchanger.run((failure) => {
          if (failure !== undefined) return finish(failure);
          units += 1;
          if (performance.now() < until) next();
          else if (--underWay === 0) finish();
        });
      next();
    }
  });
  const seconds = (performance.now() - startedAt) / 1000;
  if (problem !== undefined) return { kind: "failed", problem };
  return { kind: "done", units, seconds, p50Ms: Number.NaN, p99Ms: Number.NaN };
}

/** Begins `perSecond` exchanges a second, late or not; each is timed from its first byte to its last. */
export async function driveOpen(create: () => Exchanger, perSecond: number, forMs: number): Promise<Report> {
  const wanted = Math.round((forMs / 1000) * perSecond);
  const idle: Exchanger[] = [];
  const all: Exchanger[] = [];
  const took: number[] = [];
  const startedAt = performance.now();
  let begun = 0;
  let timer: NodeJS.Timeout | undefined;
  const problem = await withDeadline(forMs, all, (finish) => {
    const begin = (): void => {
      begun += 1;
      let exchanger = idle.pop();
      if (exchanger === undefined) all.push((exchanger = create()));
      const mine = exchanger;
      const at = performance.now();
      mine.run((failure) => {
        if (failure !== undefined) return finish(failure);
        took.push(performance.now() - at);
        idle.push(mine);
        if (took.length === wanted) finish();
      });
    };
    timer = setInterval(() => {
      const due = Math.min(wanted, ((performance.now() - startedAt) / 1000) * perSecond);
      for (let missing = due - begun; missing > 0; missing -= 1) begin();
    }, 1);
  });
  clearInterval(timer);
  if (problem !== undefined) return { kind: "failed", problem };
  const sorted = took.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  const seconds = (performance.now() - startedAt) / 1000;
  return { kind: "done", units: took.length, seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Closes all exchangers at the end, however it came. */
function withDeadline(
  forMs: number,
  exchangers: readonly Exchanger[],
  begin: (finish: (problem?: string) => void) => void,
): Promise<string | undefined> {
  return new Promise((fulfil) => {
    const finish = (problem?: string): void => {
      clearTimeout(deadline);
      // Errors of sockets that are closed here come too late to matter.
      for (const exchanger of exchangers) exchanger.close();
      fulfil(problem);
    };
    const deadline = setTimeout(() => finish(`not done ${patienceMs} ms after the last was begun`), forMs + patienceMs);
    begin(finish);
  });
}
