/** What to do after `init`: commands that work as they are typed, in the directory in which it ran. */
import { dirname } from "node:path";
import type { ListenAddress } from "../config/settings.ts";
import { authorityFromHere } from "./from-here.ts";
import { type ExampleRequest, reportLine } from "./init-files.ts";

export type NextStep = {
  readonly purpose: string;
  /** For a shell; those of a step are alternatives or follow each other, as the purpose says. */
  readonly commands: readonly string[];
};

export type StepFacts = {
  /** How this program is called here: `sallyport`, or `npx sallyport`. */
  readonly program: string;
  readonly paths: { readonly config: string; readonly policy: string };
  readonly listen: readonly ListenAddress[];
  readonly admin: string;
  readonly examples: readonly ExampleRequest[];
};

/** In the order in which they are taken. */
export function nextSteps({ program, paths, listen, admin, examples }: StepFacts): readonly NextStep[] {
  const config = dirname(paths.config) === "." ? "" : ` --config ${shellWord(paths.config)}`;
  const [first = { host: "127.0.0.1", port: 3128 }] = listen;
  const local = authorityFromHere(first);
  const open = listen.find(({ host }) => !isLoopback(host));
  const [example] = examples;
  const http = examples.find(({ request }) => request.startsWith("GET "))?.request.slice("GET ".length);
  const enforced = reportLine.replace("report", "enforce");
  return [
    { purpose: "see what the policy opens, and run its tests", commands: [`${program} check${config}`] },
    ...(example === undefined
      ? []
      : [
          {
            purpose: "ask what becomes of a request, and why",
            commands: [`${program} ${explainArguments(example, config)}`],
          },
        ]),
    {
      purpose: "run the proxy, in report mode; the log is one line of JSON for each exchange",
      commands: [`${program} serve${config} > sallyport.log`],
    },
    {
      purpose: "send something through it, from this machine",
      commands: [`curl -x http://${local} ${http ?? "http://example.com/"}`, `curl http://${admin}/readyz`],
    },
    ...(open === undefined ? [] : [clientStep(open)]),
    {
      purpose: "after some days: what would enforcing deny? write rules for what you need of it",
      commands: [`grep '"would":"deny"' sallyport.log`],
    },
    {
      purpose: "enforce, then stop serve and start it again",
      commands: [`sed -i 's/^${reportLine}$/${enforced}/' ${shellWord(paths.policy)}`, `${program} check${config}`],
    },
  ];
}

/** Numbered, with the commands on lines of their own. */
export function nextStepsText(steps: readonly NextStep[]): string {
  const lines = steps.flatMap(({ purpose, commands }, i) => [
    `  ${i + 1}. ${purpose}:`,
    ...commands.map((command) => `       ${command}`),
  ]);
  return `Next:\n${lines.join("\n")}\n`;
}

function clientStep({ host, port }: ListenAddress): NextStep {
  const isEvery = host === "0.0.0.0" || host === "::";
  const proxy = isEvery ? `PROXY:${port}` : authorityFromHere({ host, port });
  return {
    purpose: `point a client to it${isEvery ? ", with this machine's name for PROXY" : ""}: a shell, or the services of Windows`,
    commands: [`export http_proxy=http://${proxy} https_proxy=http://${proxy}`, `netsh winhttp set proxy ${proxy}`],
  };
}

function explainArguments({ request, tls }: ExampleRequest, config: string): string {
  const hello = tls === undefined ? "" : tls === null ? " --no-tls" : ` --tls ${tls}`;
  return `explain "${request}"${hello}${config}`;
}

function isLoopback(host: string): boolean {
  return host.startsWith("127.") || host === "::1";
}

/** As it is where nothing in it means something to a shell, else in single quotes. */
function shellWord(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
