/** A proxy auto-configuration script that sends to the proxy whatever host the policy has a rule on for one client. */
import type { Client } from "../identity/groups.ts";
import type { Cidr } from "../names/address.ts";
import { isInAudience } from "../policy/find-endpoint.ts";
import type { GlobPattern, Pattern } from "../policy/pattern.ts";
import type { PatternGroup, Ruleset } from "../policy/ruleset.ts";

/** What the script answers, as `FindProxyForURL` returns it: `PROXY proxy.example:3128`, `DIRECT`. */
export type PacAnswers = {
  /** For hosts that rules cover. */
  readonly covered: string;
  /** For all others. */
  readonly otherwise: string;
};

/** The hosts that the rules of one client cover, ready to be put into scripts. */
export type PacCoverage = {
  /** An object literal: `"=name"` and `"*apex"` are 1, `"~suffix"` is a list of regular expressions. */
  readonly names: string;
  /** An object literal: the first bits of blocks, with their family before them, are 1. */
  readonly blocks: string;
  /** Lengths of the prefixes in `blocks`, the longest first. */
  readonly prefixes: readonly number[];
  /** First instant at which a rule ends that counts here; Infinity where none does. */
  readonly untilMs: number;
};

/**
 * Collects what the rules that exist for this client at this time cover. Rules that deny count as well: what they
 * refuse is to come to the proxy and be told why, and never to go around it. The same policy, client groups and time
 * give the same text.
 */
export function pacCoverage(ruleset: Ruleset, client: Client, nowMs: number): PacCoverage {
  let untilMs = Number.POSITIVE_INFINITY;
  const exists = ({ rules }: PatternGroup<unknown>): boolean => {
    const mine = rules.filter((rule) => nowMs < rule.expiresAt && isInAudience(ruleset, client, rule.audience));
    for (const rule of mine) untilMs = Math.min(untilMs, rule.expiresAt);
    return mine.length > 0;
  };
  const patterns = ruleset.hostGroups.filter(exists).map(({ key }) => key);
  const blocks = ruleset.addressGroups.filter(exists).map(({ key }) => key);
  const prefixes = [...new Set(blocks.map(({ prefix }) => prefix))].sort((a, b) => b - a);
  return { names: namesLiteral(patterns), blocks: blocksLiteral(blocks), prefixes, untilMs };
}

/**
 * The script: ECMAScript 3 without any of the helpers that PAC evaluators bring, so that WinHTTP's, Chromium's and
 * Firefox's answer alike, and no helper that asks DNS. Every text in it is quoted, whatever it holds.
 */
export function pacScript({ names, blocks, prefixes }: PacCoverage, answers: PacAnswers): string {
  const { covered, otherwise } = answers;
  if (covered === otherwise) {
    return `function FindProxyForURL(url, host) {\n  return ${quote(covered)};\n}\n`;
  }
  return `var covered = ${quote(covered)};
var otherwise = ${quote(otherwise)};
var names = ${names};
var blocks = ${blocks};
var prefixes = [${prefixes.join(", ")}];
${walk}`;
}

/** The keys begin with a sign, so that no host name meets what objects have of their own. */
const walk = `function FindProxyForURL(url, host) {
  var name = String(host).replace(/[A-Z]/g, function (letter) { return letter.toLowerCase(); });
  if (name.charAt(0) === "[") name = name.substring(1, name.length - 1);
  if (name.length > 1 && name.charAt(name.length - 1) === ".") name = name.substring(0, name.length - 1);
  var bits = bitsOf(name);
  return (bits === "" ? isCoveredName(name) : isCoveredAddress(bits)) ? covered : otherwise;
}
function isCoveredName(name) {
  if (!/^[a-z0-9_\\-]+(\\.[a-z0-9_\\-]+)*$/.test(name) || name.length > 253) return false;
  if (names["=" + name] === 1) return true;
  for (var at = name; ; at = at.substring(at.indexOf(".") + 1)) {
    if (names["*" + at] === 1) return true;
    var globs = names["~" + at];
    if (globs) for (var i = 0; i < globs.length; i++) if (globs[i].test(name)) return true;
    if (at.indexOf(".") < 0) return false;
  }
}
function isCoveredAddress(bits) {
  for (var i = 0; i < prefixes.length; i++) {
    if (prefixes[i] < bits.length && blocks[bits.substring(0, prefixes[i] + 1)] === 1) return true;
  }
  return false;
}
function bitsOf(host) {
  var four = bitsOf4(host);
  if (four !== "") return "4" + four;
  if (!/^[0-9a-f:.]+$/.test(host) || host.indexOf(":") < 0) return "";
  var tail = host.substring(host.lastIndexOf(":") + 1);
  if (tail.indexOf(".") >= 0) {
    var last = bitsOf4(tail);
    if (last === "") return "";
    host = host.substring(0, host.length - tail.length) + parseInt(last.substring(0, 16), 2).toString(16) + ":" + parseInt(last.substring(16), 2).toString(16);
  }
  var gap = host.indexOf("::");
  var left = gap < 0 ? groupsOf(host) : groupsOf(host.substring(0, gap));
  var right = gap < 0 ? "" : groupsOf(host.substring(gap + 2));
  if (left === null || right === null) return "";
  var missing = 128 - left.length - right.length;
  if (gap < 0 ? missing !== 0 : missing < 16) return "";
  var six = left + zeros(missing) + right;
  return six.substring(0, 96) === zeros(80) + "1111111111111111" ? "4" + six.substring(96) : "6" + six;
}
function bitsOf4(host) {
  if (!/^(0|[1-9][0-9]?[0-9]?)(\\.(0|[1-9][0-9]?[0-9]?)){3}$/.test(host)) return "";
  var bytes = host.split("."), bits = "";
  for (var i = 0; i < 4; i++) {
    if (Number(bytes[i]) > 255) return "";
    bits += padded(Number(bytes[i]), 8);
  }
  return bits;
}
function groupsOf(text) {
  if (text === "") return "";
  var groups = text.split(":"), bits = "";
  for (var i = 0; i < groups.length; i++) {
    if (!/^[0-9a-f]{1,4}$/.test(groups[i])) return null;
    bits += padded(parseInt(groups[i], 16), 16);
  }
  return bits;
}
function padded(number, width) {
  var bits = number.toString(2);
  return zeros(width - bits.length) + bits;
}
function zeros(count) {
  var bits = "";
  while (bits.length < count) bits += "0";
  return bits;
}
`;

/** Names and apexes below another apex are left out: the larger one says the same. */
function namesLiteral(patterns: readonly Pattern[]): string {
  const apexes = new Set(patterns.flatMap((pattern) => (pattern.kind === "suffix" ? [pattern.apex] : [])));
  const globs = new Map<string, GlobPattern[]>();
  const entries = new Map<string, string>();
  for (const pattern of patterns) {
    if (pattern.kind === "exact") {
      if (!apexes.has(pattern.text) && !isBelow(pattern.text, apexes)) entries.set(`=${pattern.text}`, "1");
    } else if (pattern.kind === "suffix") {
      if (!isBelow(pattern.apex, apexes)) entries.set(`*${pattern.apex}`, "1");
    } else if (!apexes.has(pattern.suffix) && !isBelow(pattern.suffix, apexes)) {
      globs.set(pattern.suffix, [...(globs.get(pattern.suffix) ?? []), pattern]);
    }
  }
  for (const [suffix, list] of globs) {
    const expressions = list.map(({ text }) => globExpression(text.slice("glob:".length))).sort();
    entries.set(`~${suffix}`, `[${expressions.join(", ")}]`);
  }
  return objectLiteral([...entries]);
}

/** True where a domain above the name is among the apexes. */
function isBelow(name: string, apexes: ReadonlySet<string>): boolean {
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    if (apexes.has(name.slice(dot + 1))) return true;
  }
  return false;
}

/** The same names as minimatch takes: a star alone in its label stands for at least one character. */
function globExpression(glob: string): string {
  const labels = glob.split(".");
  const parts = labels.map((label, i) => {
    const dot = i + 1 < labels.length ? "\\." : "";
    if (label === "**") return `([^.]+${dot})*`;
    if (/^\*+$/.test(label)) return `[^.]+${dot}`;
    return `${label.replace(/[?*]/g, (sign) => (sign === "*" ? "[^.]*" : "[^.]"))}${dot}`;
  });
  return `/^${parts.join("")}$/`;
}

function blocksLiteral(blocks: readonly Cidr[]): string {
  return objectLiteral(
    blocks.map(({ family, bytes, prefix }) => {
      const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
      return [`${family}${bits.slice(0, prefix)}`, "1"];
    }),
  );
}

function objectLiteral(entries: readonly (readonly [key: string, value: string])[]): string {
  if (entries.length === 0) return "{}";
  const sorted = entries.map(([key, value]) => `${quote(key)}: ${value}`).sort();
  return `{\n  ${sorted.join(",\n  ")}\n}`;
}

/** Printable ASCII only, so that no evaluator's idea of the file's character set matters. */
function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
