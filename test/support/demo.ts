/**
 * `npm run demo`: vendors, a real Sallyport and the agents on one machine without internet, told in words. It ends by
 * itself in a few seconds; with `--stay` it goes on, on the usual ports, until Ctrl-C.
 */
import { existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { runDeliveryOptimization } from "./agents/delivery-optimization.ts";
import { type NearMiss, attempt, inShort, nearMisses } from "./agents/near-misses.ts";
import type { Step, Surroundings } from "./agents/proxied.ts";
import { type ScriptedAgent, automationAnywherePack, roster } from "./agents/roster.ts";
import { type Lab, startLab } from "./lab/lab.ts";
import { type LogLine, type Sallyport, startSallyport } from "./sallyport.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Of 216 pieces: enough to see, and soon over. */
const pieces = 48;
const pauseMs = 5_000;
const graceMs = 200;
/** Of a question in the story, in characters. */
const longest = 120;
/** Metrics that say what happened, of all that there are. */
const metricsOfInterest = /^sallyport_(decisions|sni_inspections|range_responses|tunnels|transferred_bytes)_total/;

const stay = process.argv.includes("--stay");
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stopping.abort());
// Whoever read this has gone away: `npm run demo | head`.
process.stdout.on("error", () => stopping.abort());

if (!existsSync(`${root}dist/main.js`)) {
  say("the proxy is not built yet: run npm ci, or npm run build");
  process.exitCode = 1;
} else {
  process.exitCode = await run();
}

/** The exit code. */
async function run(): Promise<number> {
  const startedAt = performance.now();
  say("Sallyport between agents and their vendors, all on this machine. Nothing leaves it.");
  const lab = await startLab();
  let sallyport: Sallyport | undefined;
  let code = 0;
  try {
    stopping.signal.throwIfAborted();
    const started = await start(lab);
    sallyport = started;
    process.once("exit", () => started.process.kill("SIGKILL"));
    const shown = show(lab, started);
    // Once it is stopped, what is still under way fails, and nobody minds.
    shown.catch(() => {});
    await Promise.race([shown, aborted()]);
  } catch (error) {
    // Ctrl-C reaches the proxy as well, and its end may be seen before the signal is.
    await Promise.race([aborted(), pause(graceMs)]);
    if (!stopping.signal.aborted) {
      say(`\nthis should not have happened: ${error instanceof Error ? error.message : String(error)}`);
      code = 1;
    }
  }
  // The vendors first, so that no tunnel is left for the proxy to wait for.
  await lab.close();
  await sallyport?.stop();
  say(`\nstopped after ${((performance.now() - startedAt) / 1000).toFixed(1)} s; nothing is left running`);
  return code;
}

async function start(lab: Lab): Promise<Sallyport> {
  return startSallyport({
    policy: { use: [automationAnywherePack] },
    settings: {
      ...(stay ? { listen: [{ kind: "proxy", address: "127.0.0.1:3128" }], admin: { address: "127.0.0.1:9180" } } : {}),
      policy: [`${root}policies/default.yaml`, "site.yaml"],
      connect_to: lab.connectTo,
    },
  });
}

async function show(lab: Lab, sallyport: Sallyport): Promise<void> {
  const around = { proxyPort: sallyport.port, ca: lab.ca };
  say(`proxy    127.0.0.1:${sallyport.port}, with policies/default.yaml and the pack automation-anywhere`);
  say(`console  http://127.0.0.1:${sallyport.adminPort}/`);
  say(`metrics  http://127.0.0.1:${sallyport.adminPort}/metrics`);
  say(
    `vendors  stand-ins on loopback, where connect_to leads: "${lab.connectTo[3]}" and ${lab.connectTo.length - 1} more`,
  );

  say("\nALLOWED: what agents ask for, and what comes back");
  for (const agent of roster) tell(agent.name, await work(agent, around));

  say("\nDENIED: nearly the same, and refused");
  const lines = await tryNearMisses(sallyport, (miss, told) => {
    say(`  ${inShort(miss)}   (${miss.because})\n      ${told}`);
  });
  say(`\nLOG: three of ${lines.length} lines so far, the last one of a TLS alert that only the log explains`);
  for (const line of [
    lines.find(({ range, verdict }) => range !== undefined && verdict === "allow"),
    lines.find(({ reason }) => reason === "scheme_mismatch"),
    lines.find(({ reason }) => reason === "sni_mismatch"),
  ]) {
    say(`  ${JSON.stringify(line)}`);
  }

  say("\nMETRICS: those of interest that are not 0");
  const metrics = await (await fetch(`http://127.0.0.1:${sallyport.adminPort}/metrics`)).text();
  for (const line of metrics.split("\n")) if (metricsOfInterest.test(line) && !line.endsWith(" 0")) say(`  ${line}`);

  if (stay) await goOn(lab, sallyport, around);
}

/** The same traffic again and again, told in a line a round. */
async function goOn(lab: Lab, sallyport: Sallyport, around: Surroundings): Promise<void> {
  const { port, adminPort } = sallyport;
  say(`\nThis goes on until Ctrl-C. Meanwhile:
  curl -i -x http://127.0.0.1:${port} -r 0-99 -o /dev/null http://download.windowsupdate.com/x.cab   # allowed
  curl -i -x http://127.0.0.1:${port} https://tlu.dl.delivery.mp.microsoft.com/                      # denied
  curl http://127.0.0.1:${adminPort}/metrics\n`);
  for (let round = 2; ; round++) {
    await pause(pauseMs, undefined, { signal: stopping.signal });
    // What was told need not be kept for days.
    (sallyport.log as LogLine[]).length = 0;
    (lab.requests as unknown[]).length = 0;
    for (const agent of roster) await work(agent, around);
    const lines = await tryNearMisses(sallyport, () => {});
    const denied = lines.filter(({ verdict }) => verdict === "deny").length;
    say(`round ${round}: ${lines.length - denied} allowed, ${denied} denied`);
  }
}

function work({ name, run: runAgent }: ScriptedAgent, around: Surroundings): Promise<readonly Step[]> {
  return name === "Delivery Optimization" ? runDeliveryOptimization(around, pieces) : runAgent(around);
}

/** The exchanges in the log so far, these among them. */
async function tryNearMisses(
  { port, log, logged }: Sallyport,
  tellOne: (miss: NearMiss, told: string) => void,
): Promise<readonly LogLine[]> {
  for (const miss of nearMisses) {
    const { told } = await attempt(port, miss);
    tellOne(miss, told);
    await logged(({ reason, host }) => reason === miss.reason && inShort(miss).includes(String(host)));
  }
  return log.filter(({ event }) => event === "connect" || event === "request");
}

/** Steps that are the same but for their bytes in one line. */
function tell(name: string, steps: readonly Step[]): void {
  say(`  ${name}`);
  const counts = new Map<string, number>();
  for (const { asked, answered } of steps) {
    const words = `${asked.length > longest ? `${asked.slice(0, longest)}…` : asked}\n          ${answered}`;
    counts.set(words, (counts.get(words) ?? 0) + 1);
  }
  for (const [words, count] of counts) say(`      ${count === 1 ? "" : `${count} times `}${words}`);
}

function aborted(): Promise<void> {
  return new Promise((fulfil) => {
    if (stopping.signal.aborted) fulfil();
    else stopping.signal.addEventListener("abort", () => fulfil());
  });
}

function say(text: string): void {
  console.log(text);
}
