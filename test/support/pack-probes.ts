/** Requests at every host that packs name, in every way that some pack opens, and what packs make of them. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { disk } from "../../src/config/disk.ts";
import { type PackParameterValues, loadPackAlone } from "../../src/config/pack-alone.ts";
import { loadPackCases } from "../../src/config/pack-cases.ts";
import type { PolicyTest } from "../../src/config/read-tests.ts";
import { compileRuleset } from "../../src/policy/compile.ts";
import type { PolicyFile } from "../../src/policy/rule.ts";
import { type TrialAnswer, type TrialRequest, tryRequest, unsaid as nothingSaid } from "../../src/policy/trial.ts";

export const packsDir = fileURLToPath(new URL("../../policies/packs", import.meta.url));
const now = Date.parse("2026-11-21T12:00:00Z");

export const packNames = readdirSync(packsDir)
  .flatMap((file) => /^([^.]+)\.yaml$/.exec(file)?.[1] ?? [])
  .sort();

/** A request of which nothing is said yet. */
export const unsaid: TrialRequest = { ...nothingSaid, method: "GET", target: "" };

const parameters: Readonly<Record<string, PackParameterValues>> = {
  "automation-anywhere": { tenant: "acme", control_room: "controlroom.corp.example" },
  "trend-micro-workload-security": { region: "all" },
};

/** A pack with everything it can open. */
export function loadPack(name: string): PolicyFile {
  const alone = loadPackAlone(disk, packsDir, join(packsDir, `${name}.yaml`), parameters[name]);
  if (alone.kind === "problems") throw new Error(JSON.stringify(alone));
  return alone.pack;
}

export function casesOf(name: string): readonly PolicyTest[] {
  const cases = loadPackCases(disk, packsDir, join(packsDir, `${name}.yaml`));
  if (cases.kind !== "loaded") throw new Error(JSON.stringify(cases));
  return cases.cases;
}

/** Packs used in this order by a site without rules of its own. */
export function decideWith(packs: readonly PolicyFile[]): (request: TrialRequest) => TrialAnswer {
  const ruleset = compileRuleset({ files: packs, groups: [] });
  return (request) => tryRequest(ruleset, request, now);
}

/** `http:80`, `tunnel:443`. */
export function slotOf({ method, target }: TrialRequest): string {
  return method === "CONNECT" ? `tunnel:${target.slice(target.lastIndexOf(":") + 1)}` : "http:80";
}

/** Every host of every pack in every way, and every case. */
export function probesOf(packs: readonly PolicyFile[], cases: readonly PolicyTest[]): readonly TrialRequest[] {
  const rules = packs.flatMap(({ rules: own }) => own);
  const names = new Set([...rules.flatMap(({ patterns }) => patterns.flatMap(hostsOf)), ...cases.flatMap(hostOfCase)]);
  const addresses = new Set(rules.flatMap((rule) => rule.addresses.map(({ text }) => text.replace(/\/32$/, ""))));
  const ports = [...new Set(rules.flatMap(({ endpoints }) => endpoints.map(({ port }) => port)))];
  const targets = [...names, ...addresses];
  return [
    ...cases,
    ...targets.flatMap(plainProbes),
    ...targets.flatMap((host) => ports.flatMap((port) => tunnelProbes(host, port, addresses.has(host) ? null : host))),
    ...fronted(packs, targets),
  ];
}

function hostsOf(pattern: PolicyFile["rules"][number]["patterns"][number]): readonly string[] {
  if (pattern.kind === "exact") return [pattern.text];
  if (pattern.kind === "suffix") return [pattern.apex, `a.${pattern.apex}`];
  return [pattern.text.slice("glob:".length).replaceAll("*", "01")];
}

function hostOfCase({ target }: PolicyTest): readonly string[] {
  const [, host] = /^(?:http:\/\/)?([^/:]+)/.exec(target) ?? [];
  return host === undefined ? [] : [host.toLowerCase()];
}

function plainProbes(host: string): readonly TrialRequest[] {
  const target = `http://${host}/`;
  return [
    { ...unsaid, target },
    { ...unsaid, target, method: "PUT" },
    { ...unsaid, target, range: "bytes=0-1" },
    { ...unsaid, target: `${target}pkiops/x.crl` },
  ];
}

function tunnelProbes(host: string, port: number, sni: string | null): readonly TrialRequest[] {
  const connect = { ...unsaid, method: "CONNECT", target: `${host}:${port}` };
  return [
    connect,
    { ...connect, sni, tls: 0x0303 },
    { ...connect, sni: null, tls: 0x0303 },
    { ...connect, sni, tls: 0x0302 },
    { ...connect, tls: null },
  ];
}

/** Where a rule admits server names other than the one asked for: a name of each pack that has that port. */
function fronted(packs: readonly PolicyFile[], targets: readonly string[]): readonly TrialRequest[] {
  const named = (port: number): readonly string[] =>
    packs.flatMap(({ rules }) => {
      const rule = rules.find(
        ({ patterns, endpoints }) =>
          patterns.length > 0 && endpoints.some((e) => e.scheme === "https" && e.port === port),
      );
      return rule?.patterns.slice(0, 1).flatMap(hostsOf).slice(-1) ?? [];
    });
  const open = new Set<string>();
  for (const { rules } of packs) {
    for (const { patterns, addresses, endpoints, sni } of rules) {
      if (sni === "match" || (sni === undefined && addresses.length === 0)) continue;
      const own = [...patterns.flatMap(hostsOf), ...addresses.map(({ text }) => text.replace(/\/32$/, ""))];
      for (const host of own) for (const { port } of endpoints) if (targets.includes(host)) open.add(`${host}:${port}`);
    }
  }
  return [...open].flatMap((target) =>
    named(Number(target.slice(target.lastIndexOf(":") + 1))).map((sni) => {
      return { ...unsaid, method: "CONNECT", target, sni, tls: 0x0303 } as const;
    }),
  );
}
