/** The `paths` of a rule: which request paths a client may ask for, read as the strictest origin would read them. */
import { compileGlob, hasWildcard, wildcardProblem } from "./glob.ts";

export type PathMatcher = {
  readonly patterns: readonly string[];
  /** Judges the path of a request target as it was sent, with or without its query. Total. */
  readonly judge: (rawPath: string) => PathJudgement;
};
/** `ambiguous`: origins differ in what they would serve; it is denied like a path that no glob covers. */
export type PathJudgement = "match" | "no_match" | "ambiguous";

/** Stands behind the last slash on both sides, so that minimatch cannot take `/a/` for `/a`. */
const end = "/$";

/**
 * Compiles the globs of one rule, in their order. A glob begins with `/`, is written decoded, and is case-sensitive:
 * `*` and `?` stay inside a segment, `**` is any number of segments, none included. `problem` completes the sentence
 * "PATH …" for the glob at `index`.
 */
export function compilePaths(
  globs: readonly string[],
): PathMatcher | { readonly problem: string; readonly index: number } {
  for (const [index, glob] of globs.entries()) {
    const problem = globProblem(glob);
    if (problem !== undefined) return { problem, index };
  }
  const exact = new Set(globs.filter((glob) => !hasWildcard(glob)));
  const matchers = globs.filter(hasWildcard).map((glob) => compileGlob(glob + end));
  const judge = (rawPath: string): PathJudgement => {
    const path = plainPath(rawPath);
    if (path === undefined) return "ambiguous";
    if (exact.has(path) || matchers.some((matches) => matches(path + end))) return "match";
    return "no_match";
  };
  return { patterns: [...globs], judge };
}

/**
 * The path decoded once, without its query; undefined where it has no single reading:
 *
 * 1. It is no path (`*`, an empty one), or holds what a request target cannot: blanks, non-ASCII, `#`, `\`.
 * 2. Its percent escapes are broken, or are no UTF-8 (overlong encodings of `/` among them).
 * 3. Decoded, it holds a percent sign, so that decoding again would change it or fail; a delimiter that was escaped
 *    (`%2f`, `%5c`, `%3f`, `%23`), which some origins take for the delimiter and others do not; or a control.
 * 4. Decoded, a compatibility mapping would change it (a fullwidth dot or solidus becomes a plain one).
 * 5. A segment is a dot segment, or one for an origin that drops path parameters (`..;a`) or dots and blanks at the
 *    end of a name.
 */
function plainPath(rawPath: string): string | undefined {
  const query = rawPath.indexOf("?");
  const encoded = query < 0 ? rawPath : rawPath.slice(0, query);
  if (!/^\/[!-~]*$/.test(encoded) || /[#\\]/.test(encoded)) return undefined;
  const path = decode(encoded);
  if (path === undefined || /[%\\?#\p{C}]/u.test(path) || slashes(path) !== slashes(encoded)) return undefined;
  if (path !== path.normalize("NFKC")) return undefined;
  return path.split("/").some(isDotSegment) ? undefined : path;
}

function decode(encoded: string): string | undefined {
  if (!encoded.includes("%")) return encoded;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

function slashes(path: string): number {
  return path.split("/").length;
}

function isDotSegment(segment: string): boolean {
  return /^\.[. ]*(;|$)/.test(segment);
}

function globProblem(glob: string): string | undefined {
  if (!glob.startsWith("/")) return "does not begin with /";
  if (glob.includes("%")) return "has a percent sign: paths are judged decoded, so write the character itself";
  const forbidden = /[[\]{}\\#\p{C}]/u.exec(glob);
  if (forbidden !== null) return `has the character ${JSON.stringify(forbidden[0])}, which no path glob may have`;
  if (glob !== glob.normalize("NFKC")) return "has a character that Unicode maps to another: write the plain one";
  const segments = glob.slice(1).split("/");
  if (segments.some(isDotSegment)) return "has a dot segment, which no path that is judged has";
  if (segments.slice(0, -1).includes("")) return "has an empty segment";
  return wildcardProblem(segments, "segment");
}
