/** The compiled table and the other ways to find the most specific pattern that covers a host. */
import { LRUCache } from "lru-cache";
import { Minimatch } from "minimatch";
import { type HostTable, literalSuffix } from "../../src/policy/host-table.ts";
import type { Pattern } from "../../src/policy/pattern.ts";

/** The number of the most specific pattern that covers the host, or -1. */
export type Find = (hostname: string) => number;

export function createTableFind({ lookup, covering }: HostTable): Find {
  return (hostname) => {
    const count = lookup(hostname);
    return count === 0 ? -1 : covering[count - 1]!;
  };
}

/** Every pattern is tried, the most specific first, by minimatch alone. The naive way, and the oracle of the others. */
export function createMinimatchFind(patterns: readonly Pattern[]): Find {
  const matchers = patterns
    .map((pattern, number) => ({ pattern, number, matcher: new Minimatch(globOf(pattern), minimatchOptions) }))
    .sort((a, b) => compareSpecificity(a.pattern, b.pattern) || a.number - b.number);
  return (hostname) => {
    const path = hostname.replaceAll(".", "/");
    for (const { matcher, number } of matchers) if (matcher.match(path)) return number;
    return -1;
  };
}

/** A Map keyed by suffix, asked for the whole name and then for what stands behind each dot from the left. */
export function createSuffixProbeFind(patterns: readonly Pattern[]): Find {
  const nodes = new Map<string, Node>();
  for (const [number, pattern] of patterns.entries()) {
    const key = literalSuffix(pattern);
    let node = nodes.get(key);
    if (node === undefined) nodes.set(key, (node = createNode()));
    addToNode(node, pattern, number);
  }
  return (hostname) => {
    const whole = nodes.get(hostname);
    if (whole !== undefined && whole.exact !== -1) return whole.exact;
    let node = whole;
    for (let start = 0; ;) {
      const found = node === undefined ? -1 : findInNode(node, hostname);
      if (found !== -1) return found;
      const dot = hostname.indexOf(".", start);
      if (dot === -1) return -1;
      start = dot + 1;
      node = nodes.get(hostname.slice(start));
    }
  };
}

/** A tree of Maps over labels, walked from the right. */
export function createTrieFind(patterns: readonly Pattern[]): Find {
  type Branch = Node & { readonly children: Map<string, Branch> };
  const createBranch = (): Branch => ({ ...createNode(), children: new Map() });
  const root = createBranch();
  for (const [number, pattern] of patterns.entries()) {
    let branch = root;
    for (const label of literalSuffix(pattern).split(".").toReversed()) {
      let child = branch.children.get(label);
      if (child === undefined) branch.children.set(label, (child = createBranch()));
      branch = child;
    }
    addToNode(branch, pattern, number);
  }
  return (hostname) => {
    let best = -1;
    let branch: Branch | undefined = root;
    for (let end = hostname.length; ;) {
      const dot = hostname.lastIndexOf(".", end - 1);
      branch = branch.children.get(hostname.slice(dot + 1, end));
      if (branch === undefined) return best;
      const found = findInNode(branch, hostname);
      if (found !== -1) best = found;
      if (dot === -1) return branch.exact === -1 ? best : branch.exact;
      end = dot;
    }
  };
}

/** A cache in front: with room for all hosts it always hits after the first round, with room for one it never does. */
export function createCached<Value extends number | object>(
  find: (hostname: string) => Value,
  max: number,
): (hostname: string) => Value {
  const cache = new LRUCache<string, Value>({ max });
  return (hostname) => {
    const known = cache.get(hostname);
    if (known !== undefined) return known;
    const found = find(hostname);
    cache.set(hostname, found);
    return found;
  };
}

/** What ends in one literal suffix; globs the most specific first. */
type Node = { exact: number; suffix: number; readonly globs: { readonly pattern: Pattern; readonly number: number }[] };

function createNode(): Node {
  return { exact: -1, suffix: -1, globs: [] };
}

function addToNode(node: Node, pattern: Pattern, number: number): void {
  if (pattern.kind === "exact") node.exact = number;
  else if (pattern.kind === "suffix") node.suffix = number;
  else {
    node.globs.push({ pattern, number });
    node.globs.sort((a, b) => compareSpecificity(a.pattern, b.pattern) || a.number - b.number);
  }
}

function findInNode(node: Node, hostname: string): number {
  for (const { pattern, number } of node.globs) if (pattern.kind === "glob" && pattern.matches(hostname)) return number;
  return node.suffix;
}

const minimatchOptions = { dot: true, nobrace: true, nocomment: true, noext: true, nonegate: true } as const;

/** minimatch works on segments between slashes; `*.x.com` covers x.com and every depth below it. */
function globOf(pattern: Pattern): string {
  const text = pattern.kind === "suffix" ? `**.${pattern.apex}` : pattern.text.replace("glob:", "");
  return text.replaceAll(".", "/");
}

/** Negative where `a` is the more specific (policy.md, "Hosts"). */
function compareSpecificity(a: Pattern, b: Pattern): number {
  if (a.kind === "exact" || b.kind === "exact") return Number(b.kind === "exact") - Number(a.kind === "exact");
  const labels = literalSuffix(b).split(".").length - literalSuffix(a).split(".").length;
  if (labels !== 0 || a.kind !== b.kind) return labels || (a.kind === "glob" ? -1 : 1);
  return a.kind === "glob" && b.kind === "glob" ? b.literalCharacters - a.literalCharacters : 0;
}
