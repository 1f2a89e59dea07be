/**
 * `npm run bench:load`: Sallyport beside Squid, tinyproxy and a plain forwarder, as whole processes doing the same work.
 * Prints figures and ratios as Markdown tables, and writes everything as JSON. Linux: it reads /proc.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { cleanUpAtExit, createDirectory } from "./children.ts";
import { startClient } from "./client.ts";
import { type Candidate, type Rig, hosts } from "./contender.ts";
import { findForwarder } from "./forwarder.ts";
import { captureHandshake, createCertificate } from "./handshake.ts";
import { type Options, peers, readOptions } from "./options.ts";
import { drawPictures } from "./pictures.ts";
import { canMeasure } from "./process-tree.ts";
import { describeResults, ours } from "./report.ts";
import { type Results, describeMachine, readResults } from "./results.ts";
import { describeRules } from "./rules-report.ts";
import { measureRules } from "./rules.ts";
import { findSallyport } from "./sallyport.ts";
import { findSquid } from "./squid.ts";
import { findTinyproxy } from "./tinyproxy.ts";
import { holdTournament } from "./tournament.ts";
import { startTunnelOrigin } from "./tunnel-origin.ts";
import { startWebOrigin } from "./web-origin.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** What docs/benchmarks.md and the pictures are made of; written by a full run with `--json` of this path. */
const published = resolve(root, "docs/images/load.json");
const latest = resolve(root, "bench/load/results/latest.json");
const picturesDirectory = resolve(root, "docs/images");
/** Longer than any run; whatever hangs ends then. */
const deadlineMs = 90 * 60_000;

const startedAt = performance.now();
const options = readOptions(process.argv.slice(2));
if ("problem" in options) {
  console.error(options.problem);
  process.exitCode = 2;
} else if (options.draw) {
  for (const path of await drawPictures(readResults(options.json ?? published), picturesDirectory)) console.log(path);
} else if (!canMeasure) {
  console.error("this benchmark reads CPU and memory from /proc, which only Linux has");
  process.exitCode = 2;
} else {
  cleanUpAtExit();
  setTimeout(() => {
    console.error("the deadline of the whole run has passed");
    process.exit(1);
  }, deadlineMs).unref();
  const results = await measureAll(options);
  const path = resolve(options.json ?? latest);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results, undefined, 1)}\n`);
  const tables = [...describeResults(results), ...(results.rules === undefined ? [] : describeRules(results.rules))];
  console.log([...tables, "", `written to ${path}`].join("\n"));
  process.exit(results.samples.length === 0 && results.rules === undefined ? 1 : 0);
}

async function measureAll(chosen: Options): Promise<Results> {
  const machine = describeMachine();
  const directory = createDirectory();
  const outcome = chosen.works.some((work) => work !== "rules")
    ? await measureProxies(directory, chosen)
    : { contenders: [], leftOut: [], samples: [] };
  const rules = chosen.works.includes("rules") ? await attemptRules(directory, chosen) : undefined;
  const { rounds, sampleMs, works } = chosen;
  return {
    date: new Date().toISOString(),
    machine,
    options: { rounds, sampleMs, works },
    ...outcome,
    ...rules,
  };
}

/** What has been measured before is not lost with it. */
async function attemptRules(directory: string, { quick }: Options): Promise<Pick<Results, "rules">> {
  try {
    return { rules: await measureRules(directory, quick, say) };
  } catch (error) {
    say(`LEFT OUT: rules: ${String(error)}`);
    return {};
  }
}

async function measureProxies(
  directory: string,
  chosen: Options,
): Promise<Pick<Results, "contenders" | "leftOut" | "samples">> {
  const certificate = createCertificate(directory, hosts.tunnel);
  const handshake = await captureHandshake(certificate, hosts.tunnel, hosts.denied);
  const web = await startWebOrigin(directory);
  const tunnel = await startTunnelOrigin(handshake.answer);
  const client = startClient();
  const rig = { directory, webPort: web.port, tunnelPort: tunnel.port, certificate };
  try {
    return await holdTournament({ client, origins: { web, tunnel, handshake } }, candidates(rig, chosen), chosen, say);
  } finally {
    await Promise.all([client.stop(), tunnel.stop(), web.stop()]);
  }
}

/** In the order of the tables. */
function candidates(rig: Rig, { peers: wanted, checkouts, workers }: Options): readonly Candidate[] {
  const find = { squid: findSquid, tinyproxy: findTinyproxy, forwarder: findForwarder } as const;
  return [
    findSallyport(rig, { name: ours, checkout: root }),
    ...(workers === undefined
      ? []
      : [findSallyport(rig, { name: `${ours}, workers: ${workers}`, checkout: root, workers })]),
    ...checkouts.map((checkout) => findSallyport(rig, { name: `${ours} in ${basename(resolve(checkout))}`, checkout })),
    ...peers.filter((peer) => wanted.includes(peer)).map((peer) => find[peer](rig)),
  ];
}

function say(line: string): void {
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(`${String(seconds).padStart(5)} s  ${line}`);
}
