/** A ruleset with one rule for each generated pattern, and the facts with which it is asked. */
import type { Client } from "../../src/identity/groups.ts";
import type { Hostname } from "../../src/names/hostname.ts";
import { compileRuleset } from "../../src/policy/compile.ts";
import { decideTarget } from "../../src/policy/decide.ts";
import type { Pattern } from "../../src/policy/pattern.ts";
import type { Rule } from "../../src/policy/rule.ts";
import type { Ruleset } from "../../src/policy/ruleset.ts";
import type { Verdict } from "../../src/policy/verdict.ts";
import { policySet, rule, siteFile } from "../../test/support/policy.ts";

/** Any instant will do: no rule expires. */
const now = Date.UTC(2026, 0, 1);
/** Every rule is for everyone, so that the groups are not what is measured. */
const client: Client = { address: { family: 4, bytes: Uint8Array.of(10, 20, 1, 4), text: "10.20.1.4" }, groups: [0] };

/** One site file; each rule allows https on 443. */
export function generateRuleset(patterns: readonly Pattern[]): Ruleset {
  return compileRuleset(policySet([siteFile(patterns.map(allowRule))]));
}

/** CONNECT host:443 by a known client; the host is canonical already, as parsing would have left it. */
export function createDecide(ruleset: Ruleset): (hostname: string) => Verdict {
  const decide = decideTarget;
  return (hostname) => {
    const host = { kind: "name", name: hostname as Hostname } as const;
    const facts = {
      kind: "connect",
      host,
      port: 443,
      hostAgrees: true,
      listenerAdmits: true,
      http: undefined,
    } as const;
    return decide(ruleset, client, facts, now);
  };
}

const defaults = rule({ id: "", expect: ["https"] });

/** Lists of its own, as a rule has that was read from a file. */
function allowRule(pattern: Pattern, number: number): Rule {
  return {
    ...defaults,
    id: `rule-${number}`,
    place: { file: "site.yaml", line: number + 1, column: 1 },
    patterns: [pattern],
    endpoints: [...defaults.endpoints],
    resolvesTo: { ...defaults.resolvesTo },
  };
}
