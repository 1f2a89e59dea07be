/** Globs over segments between slashes: braces expanded and stars matched by minimatch, both behind caps of our own. */
import { Minimatch, minimatch } from "minimatch";

/**
 * Stars and question marks in one glob; a `**` is one. minimatch 11 matches without recursion, in time that grows with
 * the length of the name and of the glob; the caps keep that so, whatever becomes of it, and keep globs readable.
 */
const maxWildcards = 4;
const maxStarsInSegment = 2;
const maxExpansions = 256;
const maxGlobLength = 4096;
/** minimatch throws beyond. */
const maxCompiledLength = 65_536;

/** Everything that makes minimatch more than stars is off; `dot` lets a star stand for a leading dot too. */
const options = {
  dot: true,
  nobrace: true,
  nocase: false,
  nocomment: true,
  noext: true,
  nonegate: true,
  platform: "linux",
  preserveMultipleSlashes: true,
} as const;

/** True where the text holds a star or a question mark. */
export function hasWildcard(text: string): boolean {
  return /[*?]/.test(text);
}

/**
 * What is wrong with the wildcards of a glob whose segments (called `noun`) are given; undefined when they are within
 * the caps. The message completes the sentence "GLOB …".
 */
export function wildcardProblem(segments: readonly string[], noun: "label" | "segment"): string | undefined {
  const globstars = segments.filter((segment) => segment === "**").length;
  const others = segments.filter((segment) => segment !== "**");
  if (globstars > 1) return "has more than one **";
  if (others.some((segment) => segment.includes("**"))) return `has a ** that is not a ${noun} of its own`;
  const crowded = others.some((segment) => count(segment, /\*/g) > maxStarsInSegment);
  if (crowded) return `has more than ${maxStarsInSegment} stars in a ${noun}`;
  const wildcards = globstars + others.reduce((sum, segment) => sum + count(segment, /[*?]/g), 0);
  return wildcards > maxWildcards ? `has more than ${maxWildcards} wildcards` : undefined;
}

/**
 * Compiles a glob without braces whose segments stand between slashes. `*` and `?` stay inside one segment and never
 * stand for an empty one; `**` is any number of segments, none included. Of the characters only `* ? [ ] \` are
 * special: the caller keeps the last three out. Of the globs of a large policy few are ever asked, and to compile one
 * takes as long as to match a hundred names, so the first question does it; there is nothing that could fail by then.
 */
export function compileGlob(glob: string): (text: string) => boolean {
  if (glob.length > maxCompiledLength) throw new Error(`a glob of ${glob.length} characters was not validated`);
  let compiled: Minimatch | undefined;
  return (text) => (compiled ??= new Minimatch(glob, options)).match(text);
}

/**
 * All expansions of the braces of a glob, without repetition. They are counted before they are made: a brace that is
 * not closed, holds no comma, or brings too many expansions is a problem, which completes the sentence "GLOB …".
 */
export function expandBraces(glob: string): readonly string[] | { readonly problem: string } {
  if (glob.length > maxGlobLength) return { problem: `is longer than ${maxGlobLength} characters` };
  const counted = countExpansions(glob);
  if (typeof counted === "string") return { problem: counted };
  if (counted > maxExpansions) return { problem: `expands to more than ${maxExpansions} patterns` };
  const expansions = minimatch.braceExpand(glob, { braceExpandMax: maxExpansions });
  // minimatch drops empty expansions, and leaves alone what it does not take for braces.
  if (expansions.length !== counted) return { problem: "has an expansion that is empty" };
  return [...new Set(expansions)];
}

/** How many expansions a glob has, or why it has none. Sums over commas, products along the text, capped on the way. */
function countExpansions(glob: string): number | string {
  const open: { readonly before: number; sum: number; commas: number }[] = [];
  let product = 1;
  for (const character of glob) {
    const group = open.at(-1);
    if (character === "{") {
      open.push({ before: product, sum: 0, commas: 0 });
      product = 1;
    } else if (character === "}") {
      if (group === undefined) return "closes a brace that was not opened";
      if (group.commas === 0) return "has braces without a comma, which stand for themselves or are a placeholder";
      product = Math.min(group.before * (group.sum + product), maxExpansions + 1);
      open.pop();
    } else if (character === "," && group !== undefined) {
      group.sum += product;
      group.commas += 1;
      product = 1;
    } else if (character === ",") {
      return "has a comma outside of braces";
    }
  }
  return open.length === 0 ? product : "opens a brace that is not closed";
}

function count(text: string, expression: RegExp): number {
  return text.match(expression)?.length ?? 0;
}
