/** A real Prometheus on a free loopback port, which scrapes one address twice a second and keeps its data in a directory of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { stringify } from "yaml";
import { endProcess } from "./end-process.ts";
import { requireTool } from "./tools.ts";

export type Sample = {
  readonly labels: Readonly<Record<string, string>>;
  /** Of an instant query one; of a range query one for each step at which there was one. */
  readonly values: readonly number[];
};

export type RuleState = { readonly name: string; readonly health: string; readonly lastError: string };

export type Prometheus = {
  readonly job: string;
  /** Rejects with what Prometheus says where it does not take the query. */
  readonly query: (expr: string) => Promise<readonly Sample[]>;
  /** The last `seconds` seconds, in steps of one. */
  readonly queryRange: (expr: string, seconds: number) => Promise<readonly Sample[]>;
  /** Labels of the series that a selector finds. */
  readonly series: (selector: string) => Promise<readonly Readonly<Record<string, string>>[]>;
  readonly rules: () => Promise<readonly RuleState[]>;
  /** Fulfilled once the query has samples that satisfy the condition: after a scrape, that is. Rejects after `patienceMs`. */
  readonly until: (expr: string, satisfies: (samples: readonly Sample[]) => boolean) => Promise<void>;
  /** Ends it and removes its directory. May be called twice. */
  readonly stop: () => Promise<void>;
};

export type PrometheusOptions = {
  /** `127.0.0.1:9180` */
  readonly target: string;
  /** Absolute paths. */
  readonly ruleFiles?: readonly string[];
};

const job = "sallyport";
const scrapeInterval = "500ms";
const startTimeoutMs = 10_000;
const patienceMs = 15_000;
const pollMs = 100;

/** Starts it and waits until it answers. Throws where the program is missing: use describeWithTool. */
export async function startPrometheus(options: PrometheusOptions): Promise<Prometheus> {
  const program = requireTool("prometheus");
  if (program === undefined) throw new Error("prometheus is not on PATH: use describeWithTool");
  const directory = await mkdtemp(join(tmpdir(), "sallyport-prometheus-"));
  const settings = {
    global: { scrape_interval: scrapeInterval, scrape_timeout: scrapeInterval, evaluation_interval: scrapeInterval },
    rule_files: options.ruleFiles ?? [],
    scrape_configs: [{ job_name: job, static_configs: [{ targets: [options.target] }] }],
  };
  await writeFile(join(directory, "prometheus.yml"), stringify(settings));
  const child = spawn(
    program,
    [
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      "--web.listen-address=127.0.0.1:0",
    ],
    { cwd: directory, stdio: ["ignore", "ignore", "pipe"], env: {} },
  );
  const killAtExit = (): boolean => child.kill("SIGKILL");
  process.once("exit", killAtExit);
  const stop = async (): Promise<void> => {
    await endProcess(child);
    process.removeListener("exit", killAtExit);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const url = `http://${await untilReady(child)}/api/v1`;
    return { ...askerOf(url), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function askerOf(url: string): Omit<Prometheus, "stop"> {
  const query = async (expr: string): Promise<readonly Sample[]> =>
    samplesOf(await ask(`${url}/query`, { query: expr }));
  return {
    job,
    query,
    queryRange: async (expr, seconds) => {
      const now = Date.now() / 1000;
      const range = { start: String(now - seconds), end: String(now), step: "1" };
      return samplesOf(await ask(`${url}/query_range`, { query: expr, ...range }));
    },
    series: async (selector) => (await ask(`${url}/series`, { "match[]": selector })) as Record<string, string>[],
    rules: async () => {
      const { groups } = (await ask(`${url}/rules`, {})) as { groups: { rules: RuleState[] }[] };
      return groups.flatMap(({ rules }) => rules);
    },
    until: async (expr, satisfies) => {
      const deadline = performance.now() + patienceMs;
      for (;;) {
        const samples = await query(expr);
        if (satisfies(samples)) return;
        // Prometheus tells nobody that it has scraped.
        if (performance.now() > deadline) throw new Error(`${expr} is still ${JSON.stringify(samples)}`);
        await pause(pollMs);
      }
    },
  };
}

/** Waits for the words that it is ready; answers the address it listens on. */
async function untilReady(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const fail = (why: string): void => {
      clearTimeout(deadline);
      reject(new Error(`prometheus did not start: ${why}\n${said}`));
    };
    const deadline = setTimeout(() => fail(`no word within ${startTimeoutMs} ms`), startTimeoutMs);
    child.once("error", (error) => fail(error.message));
    child.once("close", (code, signal) => fail(`ended with ${code ?? signal}`));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      // Read to the end, so that it never waits for who reads.
      if (said.length > 65_536) return;
      said += text;
      const address = /Listening on.*address=(127\.0\.0\.1:\d+)/.exec(said)?.[1];
      if (address === undefined || !said.includes("Server is ready")) return;
      clearTimeout(deadline);
      resolve(address);
    });
  });
}

async function ask(address: string, parameters: Readonly<Record<string, string>>): Promise<unknown> {
  const response = await fetch(`${address}?${new URLSearchParams(parameters).toString()}`);
  const { status, data, error } = (await response.json()) as { status: string; data: unknown; error?: string };
  if (status !== "success") throw new Error(`${error}: ${JSON.stringify(parameters)}`);
  return data;
}

/** Vectors and matrices; a scalar is a sample without labels. */
function samplesOf(data: unknown): readonly Sample[] {
  const { resultType, result } = data as { resultType: string; result: unknown };
  if (resultType === "scalar") return [{ labels: {}, values: [Number((result as [number, string])[1])] }];
  type Series = { metric: Record<string, string>; value?: [number, string]; values?: [number, string][] };
  return (result as Series[]).map(({ metric, value, values = [] }) => ({
    labels: metric,
    values: (value === undefined ? values : [value]).map(([, text]) => Number(text)),
  }));
}
