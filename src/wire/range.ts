/** The Range field (RFC 9110 section 14.2), judged by the form that download clients really send. */

/** What the Range fields of one request say. */
export type RangeReading = { readonly kind: "none" } | { readonly kind: "valid" } | { readonly kind: "invalid" };

const maxRanges = 16;

/**
 * Reads all Range field values of a request. Valid is: one field, unit `bytes` in any case, at most 16 ranges,
 * ascending and disjoint, at most one open-ended or suffix range and only as the last (policy.md, "HTTP conditions").
 */
export function parseRange(values: readonly string[]): RangeReading {
  const [value] = values;
  if (value === undefined) return { kind: "none" };
  return values.length === 1 && isValid(value) ? { kind: "valid" } : { kind: "invalid" };
}

function isValid(value: string): boolean {
  const match = /^bytes=([\d-][\d\-, \t]*)$/i.exec(value);
  const specs = match?.[1]?.split(",") ?? [];
  if (specs.length === 0 || specs.length > maxRanges) return false;
  let previousEnd = -1;
  for (const [i, spec] of specs.entries()) {
    const range = /^[ \t]*(\d{0,19})-(\d{0,19})[ \t]*$/.exec(spec);
    if (range === null) return false;
    const [, first = "", last = ""] = range;
    if (first === "" && last === "") return false;
    const open = first === "" || last === "";
    if (open && i !== specs.length - 1) return false;
    // A suffix range (`-500`) counts from the end, so nothing can be said of its order.
    if (first === "") return true;
    const start = Number(first);
    if (start <= previousEnd || !Number.isSafeInteger(start)) return false;
    if (last === "") return true;
    previousEnd = Number(last);
    if (previousEnd < start || !Number.isSafeInteger(previousEnd)) return false;
  }
  return true;
}
