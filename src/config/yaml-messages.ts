/** The YAML library's errors in words that say what to do. */

/** Completes the sentence "LINE …". `code` and `message` are those of the library's error. */
export function syntaxMessage(code: string, message: string): string {
  const found = messages.find(([pattern]) => pattern.test(`${code}: ${message}`));
  return found === undefined ? `is no YAML: ${message}` : found[1];
}

const indentation = "is not indented as the lines around it ask for";
const unquoted = "has a value that needs quotes, or lacks a comma";

/** The first that matches. */
const messages: readonly (readonly [RegExp, string])[] = [
  [/^TAB_AS_INDENT/, "is indented with a tab: use spaces"],
  [/^BAD_SCALAR_START/, "has a value that begins with a reserved character: quote the value"],
  [/^BAD_DQ_ESCAPE/, "has a backslash that escapes nothing: use single quotes"],
  [/Missing closing/, "has a quote that is never closed"],
  [
    /must be sufficiently indented and end with/,
    "stands behind a bracket that is not closed, or is not indented far enough",
  ],
  [/and end with a [\]}]/, "has a bracket that is not closed"],
  [/followed by map values|need to be on a single line/, "is no key with a value: write `key: value`"],
  [/Sequence item without -|^BAD_INDENT/, indentation],
  [/^BLOCK_AS_IMPLICIT_KEY/, `${indentation}, or has a second \`: \` and needs quotes`],
  [/Missing ,|Missing space after :/, unquoted],
  [
    /Unexpected scalar at node end|Unexpected (double|single)-quoted-scalar/,
    "goes on behind the end of a value: quote the value as a whole",
  ],
  [
    /Comments must be separated/,
    "has a # that is neither a comment nor in quotes: put a blank before it, or quote the value",
  ],
  [/Unexpected (,|empty item)/, "has a comma too many"],
  [/Unexpected (flow-(seq|map)-end|flow-error-end)/, "has a closing bracket too many"],
];
