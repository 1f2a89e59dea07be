/** For each pack of a policy one request that it allows: to try, and to test with. */
import { tlsName } from "../policy/explain.ts";
import type { CompiledEndpoint, CompiledRule } from "../policy/compiled-rule.ts";
import type { PolicyFile } from "../policy/rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { type TrialRequest, tryRequest } from "../policy/trial.ts";
import type { ExampleRequest } from "./init-files.ts";

/** One for each pack, in their order, decided by a rule of that very pack; none for a pack of globs alone. */
export function exampleRequests(ruleset: Ruleset, nowMs: number): readonly ExampleRequest[] {
  const packs = ruleset.files.filter((file) => file.kind === "pack");
  return packs.flatMap((file) => exampleOf(ruleset, file, nowMs) ?? []);
}

function exampleOf(ruleset: Ruleset, file: PolicyFile, nowMs: number): ExampleRequest | undefined {
  const rules = ruleset.rules.filter((rule) => rule.file === file && !rule.deny);
  // An exact name is one that agents really ask for; the apex of a suffix may not exist.
  for (const kind of ["exact", "suffix"] as const) {
    for (const rule of rules) {
      for (const pattern of rule.rule.patterns) {
        if (pattern.kind !== kind) continue;
        const host = pattern.kind === "exact" ? pattern.text : pattern.apex;
        for (const endpoint of rule.endpoints) {
          const { decided, reason } = tryRequest(ruleset, requestOf(host, endpoint, rule), nowMs);
          if (reason === "allowed" && decided.rule === rule) return describe(host, endpoint, rule);
        }
      }
    }
  }
  return undefined;
}

function requestOf(host: string, { scheme, port }: CompiledEndpoint, { rule }: CompiledRule): TrialRequest {
  const isHttp = scheme === "http";
  return {
    method: isHttp ? "GET" : "CONNECT",
    target: isHttp ? `http://${host}${port === 80 ? "" : `:${port}`}/` : `${host}:${port}`,
    tls: isHttp ? undefined : scheme === "tcp" ? null : rule.tlsMin,
    client: undefined,
    group: undefined,
    host: undefined,
    range: undefined,
    sni: undefined,
    ech: undefined,
    serverTls: undefined,
    resolved: undefined,
    time: undefined,
  };
}

function describe(host: string, endpoint: CompiledEndpoint, rule: CompiledRule): ExampleRequest {
  const { method, target, tls } = requestOf(host, endpoint, rule);
  return { request: `${method} ${target}`, tls: typeof tls === "number" ? tlsName(tls) : tls, rule: rule.fullId };
}
