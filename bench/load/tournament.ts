/** The rounds: every contender does every work in each, in an order that moves on, so that no drift favours anybody. */
import { createReadStream } from "node:fs";
import { checkContender } from "./check.ts";
import type { Candidate, Contender, Running } from "./contender.ts";
import { type Bench, type Figures, measureBusy, measureIdle, measurePaced } from "./measure.ts";
import type { Options } from "./options.ts";
import { type Work, busyWorks, isBusy, isPaced } from "./plan.ts";
import { formatNumber } from "./report.ts";
import type { Results, Sample } from "./results.ts";

type Outcome = Pick<Results, "contenders" | "leftOut" | "samples">;
type Participant = {
  readonly contender: Contender;
  readonly running: Running;
  /** How many exchanges its log has to have. */
  exchanges: number;
  /** Works that it did not do. */
  readonly failed: Set<Work>;
};
type Say = (line: string) => void;

/** Until its code is compiled and its pools are full. */
const warmupShare = 0.4;

/** Starts, checks and measures whoever can be; what goes wrong with one is said and noted, and the others go on. */
export async function holdTournament(
  bench: Bench,
  candidates: readonly Candidate[],
  options: Options,
  say: Say,
): Promise<Outcome> {
  const leftOut: { name: string; problem: string }[] = [];
  const leaveOut = (name: string, problem: string): void => {
    leftOut.push({ name, problem });
    say(`LEFT OUT: ${name}: ${problem}`);
  };
  const participants: Participant[] = [];
  for (const candidate of candidates) {
    const started = await admit(bench, candidate, say);
    if (typeof started === "string") leaveOut(candidate.name, started);
    else participants.push(started);
  }
  const works = options.works.filter((work) => work !== "rules");
  const attempt = async (participant: Participant, work: Work, sampleMs: number): Promise<Figures | undefined> => {
    if (participant.failed.has(work)) return undefined;
    try {
      return await measure(bench, participant, work, sampleMs, options.idleTunnels);
    } catch (error) {
      const end = participant.running.end();
      for (const one of end === undefined ? [work] : works) participant.failed.add(one);
      leaveOut(
        `${participant.contender.name}, ${end === undefined ? work : `from ${work} on`}`,
        end ?? messageOf(error),
      );
      return undefined;
    }
  };

  for (const work of busyWorks.filter((one) => works.includes(one))) {
    say(`warming up: ${work}`);
    for (const participant of participants) await attempt(participant, work, options.sampleMs * warmupShare);
  }
  const samples: Sample[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const [i, work] of works.entries()) {
      const said: string[] = [];
      for (const participant of rotate(participants, round + i)) {
        const { name } = participant.contender;
        const figures = await attempt(participant, work, options.sampleMs);
        if (figures === undefined) continue;
        for (const [metric, value] of Object.entries(figures)) samples.push({ metric, contender: name, round, value });
        said.push(`${name} ${Object.values(figures).map(formatNumber).join(" ")}`);
      }
      say(`round ${round} of ${options.rounds}, ${work}: ${said.join(" | ")}`);
    }
  }
  for (const participant of participants) {
    const problem = await dismiss(participant);
    if (problem !== undefined) leaveOut(`${participant.contender.name}, its log`, problem);
  }
  const contenders = participants.map(({ contender: { name, version, note } }) => ({
    name,
    version,
    ...(note === undefined ? {} : { note }),
  }));
  return { contenders, leftOut, samples };
}

/** Why it takes no part, where it does not. */
async function admit(bench: Bench, candidate: Candidate, say: Say): Promise<Participant | string> {
  if ("problem" in candidate) return candidate.problem;
  let running: Running;
  try {
    running = await candidate.start();
  } catch (error) {
    return messageOf(error);
  }
  const problems = await checkContender(candidate, running, bench.origins);
  if (problems.length > 0) {
    await running.stop();
    return `it failed the checks: ${problems.join("; ")}`;
  }
  const about = candidate.judgesServerName ? "denied hosts, server names and checksums" : "denied hosts and checksums";
  say(`${candidate.name} ${candidate.version}: ${about} are right`);
  return { contender: candidate, running, exchanges: 0, failed: new Set() };
}

async function measure(
  bench: Bench,
  participant: Participant,
  work: Work,
  sampleMs: number,
  idleTunnels: number,
): Promise<Figures> {
  const { contender, running } = participant;
  if (isBusy(work)) {
    const { figures, exchanges } = await measureBusy(bench, contender, running, work, sampleMs);
    participant.exchanges += exchanges;
    return figures;
  }
  if (isPaced(work)) {
    const { figures, exchanges } = await measurePaced(bench, contender, running, work, sampleMs);
    participant.exchanges += exchanges;
    return figures;
  }
  return measureIdle(bench, contender, idleTunnels);
}

/** Stops it, and answers what is wrong with its log: one that leaves lines out saves work that others do. */
async function dismiss({ running, exchanges }: Participant): Promise<string | undefined> {
  await running.stop();
  if (running.log === undefined) return undefined;
  let lines = 0;
  for await (const chunk of createReadStream(running.log) as AsyncIterable<Buffer>) {
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines += 1;
  }
  return lines < exchanges ? `${lines} lines for ${exchanges} exchanges` : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function rotate<T>(items: readonly T[], by: number): readonly T[] {
  const first = by % Math.max(items.length, 1);
  return [...items.slice(first), ...items.slice(0, first)];
}
