/** Policies and settings: whatever a file holds, the loader answers, with values or with places inside the file. */
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Loaded, loadPolicySet, loadSettings } from "../../src/config/load.ts";
import { type Problem, formatProblem, hasErrors } from "../../src/config/problem.ts";
import { runPolicyTests } from "../../src/config/run-tests.ts";
import { compileRuleset } from "../../src/policy/compile.ts";
import { type TrialRequest, tryRequest } from "../../src/policy/trial.ts";
import { filesInMemory } from "../support/memory-files.ts";
import { type FuzzPart, hold } from "./part.ts";
import { policyWords } from "./words.ts";

const policies = fileURLToPath(new URL("../../policies/", import.meta.url));
const packNames = readdirSync(`${policies}packs`).filter((name) => name.endsWith(".yaml") && !name.includes(".cases."));
const packFiles = Object.fromEntries(
  packNames.map((name) => [`packs/${name}`, readFileSync(`${policies}packs/${name}`, "utf8")]),
);

const site = `version: 1
name: site
use:
  - { pack: action1-na, clients: [servers] }
  - { pack: trend-micro-workload-security, with: { region: [us-1, de-1] } }
clients:
  servers: [10.20.0.0/16, "2001:db8:20::/48"]
  kiosks: { addresses: [10.30.0.0/16], mode: report, per_client: 5000 }
defaults: { range: deny, tls_min: "1.2", sni: match, mode: enforce, idle_timeout: 15m }
rules:
  - id: wsus
    hosts: ["wsus.corp.example", "glob:{a,b}-cdn*.example.com", "*.x.example"]
    expect: [http:8530, https:8531]
    resolves_to: [10.0.0.0/8]
    range: allow
    methods: [GET, HEAD]
    paths: ["/files/*"]
    clients: [servers]
    expires: 2027-03-01
  - id: no-telemetry
    action: deny
    hosts: ["*.telemetry.example.com"]
  - { id: literal, addresses: [192.0.2.0/24], expect: tcp:22 }
tests:
  - { request: "CONNECT server.action1.com:22543", client: 10.20.1.4, expect: allow }
  - { request: "GET http://server.action1.com/", client: 10.20.1.4, expect: deny, reason: scheme_mismatch }
`;
const pack = `version: 1
name: own
params:
  region: { values: [us-1, de-1], default: us-1 }
rules:
  - { id: cloud, hosts: ["\${region}.cloud.example.com"], expect: https }
`;
const settings = `version: 1
listen:
  - { kind: proxy, address: 127.0.0.1:3128, clients: [servers] }
admin: { address: 127.0.0.1:9180 }
policy: [site.yaml]
dns: { servers: [192.0.2.53], hosts: { a.example.com: 192.0.2.1 }, timeout: 5s }
connect_to: ["*:80:127.0.0.1:8080"]
limits: { connections: 20000, head: 32KiB, head_timeout: 10s }
log: { level: info, file: "-" }
denials: { explain: full, top: 20 }
`;

export function policyPart(): FuzzPart {
  const packs = packNames
    .map((name) => packFiles[`packs/${name}`] ?? "")
    .sort((a, b) => a.length - b.length)
    .slice(0, 6);
  return {
    name: "policy",
    seeds: [site, pack, ...packs].map((text) => Buffer.from(text)),
    words: policyWords,
    maxCpuMs: 2000,
    check: (input) => {
      const content = textOf(input);
      const files = { ...packFiles, "site.yaml": content, "packs/own.yaml": content, "use.yaml": useOwn };
      const load = (file: string): Loaded =>
        loadPolicySet({ files: [file], packsDir: "packs", ...filesInMemory(files) });
      const word = checkLoaded(load("site.yaml"), files);
      return content.includes("params") ? `${word}; as a pack ${checkLoaded(load("use.yaml"), files)}` : word;
    },
  };
}

export function settingsPart(): FuzzPart {
  return {
    name: "settings",
    seeds: [Buffer.from(settings)],
    words: policyWords,
    maxCpuMs: 1000,
    check: (input) => {
      const files = { "sallyport.yaml": textOf(input) };
      const disk = filesInMemory(files);
      const loaded = loadSettings({ path: "sallyport.yaml", flags: {}, env: {}, ...disk });
      if (loaded.kind === "loaded") {
        hold(!hasErrors(loaded.notices), "loaded with errors");
        checkPlaces(loaded.notices, files);
        return `loaded ${loaded.notices.length}`;
      }
      hold(hasErrors(loaded.problems), "not loaded, and nothing says why");
      checkPlaces(loaded.problems, files);
      return wordOf(loaded.problems);
    },
  };
}

const saidNothing: TrialRequest = {
  method: "CONNECT",
  target: "a.x.example:443",
  client: undefined,
  group: undefined,
  host: undefined,
  range: undefined,
  sni: undefined,
  tls: 0x0303,
  ech: undefined,
  serverTls: undefined,
  resolved: undefined,
  time: undefined,
};
const requests: readonly Partial<TrialRequest>[] = [
  {},
  { method: "GET", target: "http://wsus.corp.example:8530/files/a", range: "bytes=0-1", group: "servers" },
  { target: "192.0.2.7:22" },
];
/** What is no UTF-8 is refused at once, and so more is tried by taking it for latin1. */
function textOf(input: Uint8Array): string {
  const text = Buffer.from(input).toString();
  return text.includes("\ufffd") ? Buffer.from(input).toString("latin1") : text;
}

const useOwn = "version: 1\nname: other\nuse: [own]\n";

function checkLoaded(loaded: Loaded, files: Readonly<Record<string, string>>): string {
  if (loaded.kind === "problems") {
    hold(hasErrors(loaded.problems), "not loaded, and nothing says why");
    checkPlaces(loaded.problems, files);
    return wordOf(loaded.problems);
  }
  hold(!hasErrors(loaded.notices), "loaded with errors");
  checkPlaces(loaded.notices, files);
  const ruleset = compileRuleset(loaded.set);
  checkPlaces(runPolicyTests(ruleset, loaded.tests, 0), files);
  const answers = requests.map((request) => tryRequest(ruleset, { ...saidNothing, ...request }, 0).reason);
  return `loaded ${loaded.notices.length} ${answers.join(" ")}`;
}

/** Every problem is told in one line (and a hint), of a file that exists, at a place that is in it. */
function checkPlaces(problems: readonly Problem[], files: Readonly<Record<string, string>>): void {
  for (const problem of problems) {
    const { file, line, column } = problem.place;
    const content = files[file];
    hold(content !== undefined, `a problem of ${file}, which was not given`);
    const lines = content.split("\n");
    const length = lines[line - 1]?.length;
    hold(length !== undefined, `${file}:${line} is behind the last of ${lines.length} lines: ${problem.message}`);
    hold(
      column >= 1 && column <= length + 1,
      `${file}:${line}:${column} is behind column ${length}: ${problem.message}`,
    );
    hold(typeof problem.message === "string", `a message that is no text, on ${JSON.stringify(problem.offending)}`);
    const told = formatProblem(problem);
    hold(told.split("\n").length === (problem.instead === undefined ? 1 : 2), `told as ${JSON.stringify(told)}`);
    hold(!told.replaceAll("\n", "").match(/\p{Cc}/u), `told with control characters: ${JSON.stringify(told)}`);
  }
}

/** New combinations of messages are worth mutating on, new names in them are not. */
function wordOf(problems: readonly Problem[]): string {
  return [...new Set(problems.map(({ message }) => message.replace(/[`"'].*?[`"']|\d+/g, "").slice(0, 40)))]
    .sort()
    .slice(0, 2)
    .join("; ");
}
