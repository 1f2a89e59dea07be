/** Which series and labels a PromQL expression names: a scanner for the queries that we write, not a parser of the language. */

export type Selector = {
  readonly metric: string;
  /** As it stands there, with its matchers: what `/api/v1/series` takes. */
  readonly text: string;
  /** Labels of its matchers. */
  readonly labels: readonly string[];
};

export type Names = {
  readonly selectors: readonly Selector[];
  /** Labels after `by`, `on` and the like. */
  readonly labels: readonly string[];
};

const clause = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g;
const range = /\[[^\]]*\]/g;
const quoted = /"(?:[^"\\]|\\.)*"/g;
/** A name with its matchers; what a bracket follows is a function. */
const named = /(?<![\w.])([a-zA-Z_:][\w:]*)(?![\w:])(?!\s*\()\s*(\{(?:[^}"]|"(?:[^"\\]|\\.)*")*\})?/g;
/** Operators, and aggregations whose bracket comes behind their `by`. */
const words = new Set("and or unless bool offset sum min max avg count topk bottomk group_left group_right".split(" "));

export function namesIn(expr: string): Names {
  const labels = Array.from(expr.matchAll(clause), ([, list = ""]) => list.split(",").map((label) => label.trim()));
  const rest = expr.replaceAll(clause, " ").replaceAll(range, " ");
  const selectors = Array.from(rest.matchAll(named), ([, metric = "", matchers = ""]) => ({
    metric,
    text: metric + matchers,
    labels: Array.from(matchers.replaceAll(quoted, "").matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g), ([, label = ""]) => label),
  }));
  return {
    selectors: selectors.filter(({ metric }) => !words.has(metric)),
    labels: labels.flat().filter((label) => label !== ""),
  };
}
