/** What tells two policies apart in a line of a log: a hash of whatever can change a verdict. */
import { createHash } from "node:crypto";
import type { PolicySet, Rule } from "./rule.ts";

/**
 * 16 hex characters. Changes with whatever can change a verdict, not with comments, order of keys or places in files.
 * Expects the files in the order in which they are compiled.
 */
export function hashPolicy({ files, groups }: PolicySet): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify(groups, (key, value: unknown) => (key === "place" ? undefined : value)));
  // In pieces of some size: each one that is handed over costs as much as hashing hundreds of bytes.
  let text = "";
  let last: { readonly rule: Rule; readonly conditions: string } | undefined;
  for (const { name, kind, defaultMode, defaultIdleTimeoutMs, uses, rules } of files) {
    const usesText = uses.map((use) => ({ clients: use.clients, without: [...use.without] }));
    text += JSON.stringify({ name, kind, defaultMode, defaultIdleTimeoutMs, uses: usesText });
    for (const rule of rules) {
      // Most rules have the conditions of the rule before, and writing those out is most of the work.
      if (last === undefined || !haveSameConditions(last.rule, rule)) last = { rule, conditions: conditionsText(rule) };
      const { id, action, patterns, addresses } = rule;
      text += JSON.stringify({ id, action, patterns, addresses }).slice(0, -1) + last.conditions;
      if (text.length < piece) continue;
      hash.update(text);
      text = "";
    }
  }
  return hash.update(text).digest("hex").slice(0, 16);
}

const piece = 0x10000;

/** Of a rule, who and what it is about. */
type Subject = "id" | "action" | "patterns" | "addresses";
/** What is said about a rule, and changes no verdict. */
type Remark = "place" | "purpose" | "owner" | "ticket" | "source";
type Condition = Exclude<keyof Rule, Subject | Remark>;

/** As the end of an object that begins with something else. */
function conditionsText(rule: Rule): string {
  const expiresAt = rule.expiresAt === Infinity ? "never" : rule.expiresAt;
  return `,${JSON.stringify({ ...rule, ...leftOut, expiresAt }).slice(1)}`;
}

const leftOut: Readonly<Record<Subject | Remark, undefined>> = {
  id: undefined,
  action: undefined,
  patterns: undefined,
  addresses: undefined,
  place: undefined,
  purpose: undefined,
  owner: undefined,
  ticket: undefined,
  source: undefined,
};

/** Whether two rules agree on a condition, as far as that is plain to see. The type sees to it that none is forgotten. */
const agreement: Readonly<Record<Condition, (a: Rule, b: Rule) => boolean>> = {
  endpoints: haveSameEndpoints,
  tlsMin: (a, b) => a.tlsMin === b.tlsMin,
  sni: (a, b) => a.sni === b.sni,
  addressSni: (a, b) => a.addressSni === b.addressSni,
  ech: (a, b) => a.ech === b.ech,
  range: (a, b) => a.range === b.range,
  methods: (a, b) => isSameList(a.methods, b.methods),
  paths: (a, b) => isSameList(a.paths, b.paths),
  websocket: (a, b) => a.websocket === b.websocket,
  clients: (a, b) => isSameList(a.clients, b.clients),
  resolvesTo: haveSameResolution,
  idleTimeoutMs: (a, b) => a.idleTimeoutMs === b.idleTimeoutMs,
  mode: (a, b) => a.mode === b.mode,
  expiresAt: (a, b) => a.expiresAt === b.expiresAt,
};
const agreements = Object.values(agreement);

function haveSameConditions(a: Rule, b: Rule): boolean {
  for (const agree of agreements) if (!agree(a, b)) return false;
  return true;
}

function haveSameEndpoints({ endpoints: a }: Rule, { endpoints: b }: Rule): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i]?.scheme !== b[i]?.scheme || a[i]?.port !== b[i]?.port) return false;
  return true;
}

function haveSameResolution({ resolvesTo: a }: Rule, { resolvesTo: b }: Rule): boolean {
  return a.public === b.public && a.private === b.private && isSameList(a.cidrs, b.cidrs);
}

function isSameList(a: readonly unknown[] | null, b: readonly unknown[] | null): boolean {
  if (a === b) return true;
  if (a === null || b === null || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
