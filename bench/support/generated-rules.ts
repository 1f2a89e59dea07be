/** Rules and hosts as estates have them, made up from a seed: the same in every run and on every machine. */
import { type Pattern, parsePattern } from "../../src/policy/pattern.ts";
import { type HostKind, hostsOfKind } from "./plan.ts";

export type Random = () => number;

/** mulberry32: 32 bits of state, numbers in [0, 1). */
export function createRandom(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * `count` patterns, no two alike: one to eight under each registrable domain, 2 % of them globs, a quarter `*.` suffixes
 * and the rest exact names, with none to four labels below the domain. The packs in policies/ are much like that.
 */
export function generatePatterns(random: Random, count: number): readonly Pattern[] {
  const texts = new Set<string>();
  while (texts.size < count) {
    const domain = registrableName(random);
    const wanted = Math.min(count, texts.size + 1 + Math.floor(random() * 8));
    while (texts.size < wanted) texts.add(patternText(random, domain, texts.size));
  }
  return [...texts].map((text) => {
    const reading = parsePattern(text, false);
    const pattern = reading.kind === "patterns" ? reading.patterns[0] : undefined;
    if (pattern === undefined) throw new Error(`the generator made a pattern that is none: ${text}`);
    return pattern;
  });
}

/** Hosts of one kind, never the same twice running. `isCovered` only helps to leave covered names out of the misses. */
export function generateHosts(
  random: Random,
  kind: HostKind,
  patterns: readonly Pattern[],
  isCovered: (hostname: string) => boolean,
): readonly string[] {
  const suffixes = patterns.filter((pattern) => pattern.kind === "suffix");
  const globs = patterns.filter((pattern) => pattern.kind === "glob");
  const makers: Record<HostKind, () => string | undefined> = {
    hits: () => hostUnder(random, pick(random, patterns)),
    misses: () => withoutCovered(missNear(random, pick(random, patterns)), isCovered),
    deep: () => labelsBelow(random, pick(random, suffixes).apex, 12 + Math.floor(random() * 9)),
    "253 bytes": () => fillTo253(random, pick(random, suffixes).apex),
    globs: () => hostUnder(random, pick(random, globs)),
  };
  const hosts: string[] = [];
  while (hosts.length < hostsOfKind) {
    const host = makers[kind]();
    if (host !== undefined && host !== hosts.at(-1)) hosts.push(host);
  }
  return hosts;
}

const topLevels = ["com", "com", "com", "com", "net", "net", "org", "io", "de", "cloud", "co.uk", "com.au"];
const syllables = [
  "ac",
  "ba",
  "cen",
  "do",
  "el",
  "fi",
  "gra",
  "hub",
  "in",
  "jo",
  "kas",
  "lo",
  "mi",
  "net",
  "on",
  "pa",
].concat(["qua", "re", "so", "tra", "um", "ve", "wi", "xa", "yo", "zen", "soft", "tech", "sys", "nova", "data", "lab"]);
const words = [
  "update",
  "updates",
  "download",
  "dl",
  "cdn",
  "agent",
  "api",
  "prod",
  "eu",
  "us",
  "us-east-1",
  "ap-south-1",
]
  .concat([
    "console",
    "telemetry",
    "patch",
    "content",
    "delivery",
    "mp",
    "tlu",
    "static",
    "login",
    "auth",
    "edge",
    "global",
  ])
  .concat([
    "relay",
    "gw",
    "storage",
    "files",
    "assets",
    "push",
    "notify",
    "metrics",
    "events",
    "sls",
    "fe2",
    "ws",
    "v10",
  ]);

function registrableName(random: Random): string {
  const length = 2 + Math.floor(random() * 3);
  return `${Array.from({ length }, () => pick(random, syllables)).join("")}.${pick(random, topLevels)}`;
}

function patternText(random: Random, domain: string, number: number): string {
  if (number % 50 === 7) return `glob:${globLabel(random)}.${belowDomain(random, domain, 2)}`;
  const name = belowDomain(random, domain, 4);
  // The first rule is a suffix, so that the smallest rule set has every kind.
  return number === 0 || random() < 0.25 ? `*.${name}` : name;
}

function globLabel(random: Random): string {
  const stem = pick(random, words);
  return pick(random, [`${stem}*`, `*-${stem}`, `${stem}-?`, `${stem}-*-eu`]);
}

/** Most names have one or two labels below their domain. */
function belowDomain(random: Random, domain: string, most: number): string {
  const count = Math.min(most, pick(random, [0, 1, 1, 1, 1, 2, 2, 2, 3, 4]));
  return [...Array.from({ length: count }, () => label(random)), domain].join(".");
}

/** A word, or a word with a number as hosts of a farm have it. */
function label(random: Random): string {
  return random() < 0.7 ? pick(random, words) : `${pick(random, words)}${Math.floor(random() * 100)}`;
}

function hostUnder(random: Random, pattern: Pattern): string {
  switch (pattern.kind) {
    case "exact":
      return pattern.text;
    case "suffix":
      return labelsBelow(random, pattern.apex, Math.floor(random() * 3));
    case "glob":
      return pattern.text
        .slice("glob:".length)
        .replace("*", label(random))
        .replace("?", pick(random, ["0", "1", "2", "7", "9"]));
  }
}

/** Other companies, look-alikes on both sides of a name, siblings and parents of what a rule names. */
function missNear(random: Random, pattern: Pattern): string {
  const name = hostUnder(random, pattern);
  switch (Math.floor(random() * 5)) {
    case 0:
      return labelsBelow(random, registrableName(random), Math.floor(random() * 3));
    case 1:
      return `evil${name}`;
    case 2:
      return `${name}.${registrableName(random)}`;
    case 3:
      return `${label(random)}-x.${name.slice(name.indexOf(".") + 1)}`;
    default:
      return name.slice(name.indexOf(".") + 1);
  }
}

/** A top level alone is no host that anyone asks for. */
function withoutCovered(host: string, isCovered: (hostname: string) => boolean): string | undefined {
  return host.includes(".") && !isCovered(host) ? host : undefined;
}

function labelsBelow(random: Random, apex: string, count: number): string {
  return [...Array.from({ length: count }, () => label(random)), apex].join(".");
}

/** Half of them with labels as long as can be, half with labels of one letter. */
function fillTo253(random: Random, apex: string): string {
  const longest = random() < 0.5 ? 63 : 1;
  let name = apex;
  while (name.length < 253) {
    const room = 252 - name.length;
    // What is left must never be one byte, which has room for the dot alone.
    const length = room - longest === 1 ? longest - 1 || 2 : Math.min(longest, room);
    name = `${pick(random, words).padEnd(63, pick(random, words)).slice(0, length)}.${name}`;
  }
  return name;
}

function pick<T>(random: Random, items: readonly T[]): T {
  return items[Math.floor(random() * items.length)]!;
}
