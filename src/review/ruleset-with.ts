/** A policy with something added, to try what that would change. Slow: it is compiled anew. */
import { compileRuleset } from "../policy/compile.ts";
import type { PolicyFile, Rule } from "../policy/rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";

const nowhere = { file: "proposal", line: 1, column: 1 };

/** With more rules at the top of its first site file. */
export function withRules(ruleset: Ruleset, rules: readonly Rule[]): Ruleset {
  const first = ruleset.files.findIndex(({ kind }) => kind === "site");
  const add = (file: PolicyFile, i: number): PolicyFile =>
    i === first ? { ...file, rules: [...rules, ...file.rules] } : file;
  return compiled(ruleset, ruleset.files.map(add));
}

/** With one more pack, used by everyone. */
export function withFile(ruleset: Ruleset, file: PolicyFile): Ruleset {
  return compiled(ruleset, [...ruleset.files, file]);
}

/** Users and subjects of groups play no part in deciding. */
function compiled({ groups }: Ruleset, files: readonly PolicyFile[]): Ruleset {
  const whole = groups.map((group) => ({ ...group, place: nowhere, users: [], subjects: [] }));
  return compileRuleset({ files, groups: whole });
}
