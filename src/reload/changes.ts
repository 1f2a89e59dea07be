/** What a reload changes: rules, decisions, and the settings that only a restart can change. */
import { isDeepStrictEqual } from "node:util";
import type { Settings } from "../config/settings.ts";
import type { CompiledRule } from "../policy/compiled-rule.ts";
import type { Ruleset } from "../policy/ruleset.ts";
import { type Change, type ChangeKind, diffRulesets } from "../review/diff.ts";
import type { PolicyChange, ReloadTrigger } from "./report.ts";

const maxChanges = 100;
/** What comparing may hold up the one thread that also serves. */
const maxCompareMs = 200;
const kinds: readonly ChangeKind[] = ["allowed", "denied", "rule", "conditions"];

/** Bounded in time and size, whatever the two policies are. */
export function describeChange(before: Ruleset, after: Ruleset, trigger: ReloadTrigger, nowMs: number): PolicyChange {
  const until = performance.now() + maxCompareMs;
  let isOutOfTime = false;
  const changes = diffRulesets(before, after, nowMs, () => (isOutOfTime ||= performance.now() > until));
  const ofKind = (kind: ChangeKind): readonly Change[] => changes.filter((change) => change.kind === kind);
  return {
    atMs: nowMs,
    trigger,
    from: before.hash,
    to: after.hash,
    rules: compareRules(before, after),
    counts: {
      allowed: ofKind("allowed").length,
      denied: ofKind("denied").length,
      rule: ofKind("rule").length,
      conditions: ofKind("conditions").length,
    },
    changes: kinds.flatMap(ofKind).slice(0, maxChanges),
    isComplete: !isOutOfTime && changes.length <= maxChanges,
  };
}

/**
 * Settings that are not those this process runs with, as sallyport.yaml names them. The policy and what is done with
 * tunnels whose rule is gone are left out: those a reload applies.
 */
export function settingsForRestart(running: Settings, wanted: Settings): readonly string[] {
  return differing({ ...running, ...applied }, { ...wanted, ...applied }, (key, value, other) =>
    isPlainObject(value) && isPlainObject(other)
      ? differing(value, other, (inner) => [`${spelled(key)}.${spelled(inner)}`])
      : [spelled(key)],
  ).filter((name) => name !== "reload.on_revoke");
}

const applied = { policy: [] };

function differing(
  running: object,
  wanted: object,
  name: (key: string, value: unknown, other: unknown) => readonly string[],
): readonly string[] {
  const others = new Map<string, unknown>(Object.entries(wanted));
  return Object.entries(running).flatMap(([key, value]: [string, unknown]) => {
    const other = others.get(key);
    return isDeepStrictEqual(value, other) ? [] : name(key, value, other);
  });
}

function isPlainObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `dialTimeoutMs` stands in the file as `dial_timeout`. */
function spelled(key: string): string {
  if (key === "token") return "token_file";
  return key.replace(/(Ms|Bytes)$/, "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function compareRules(before: Ruleset, after: Ruleset): PolicyChange["rules"] {
  const [old, now] = [textsOf(before), textsOf(after)];
  return {
    added: [...now.keys()].filter((id) => !old.has(id)),
    removed: [...old.keys()].filter((id) => !now.has(id)),
    changed: [...now].flatMap(([id, text]) => (old.has(id) && old.get(id) !== text ? [id] : [])),
  };
}

function textsOf(ruleset: Ruleset): ReadonlyMap<string, string> {
  return new Map(ruleset.rules.map((rule) => [rule.fullId, textOf(rule)]));
}

/** Where a rule stands in its file says nothing about it. */
function textOf({ rule, file, idleTimeoutMs }: CompiledRule): string {
  const uses = file.uses.map(({ clients, without }) => ({ clients, without: [...without] }));
  return JSON.stringify([rule, uses, file.defaultMode, idleTimeoutMs], (key, value: unknown) =>
    key === "place" ? undefined : value,
  );
}
