/**
 * A fast reader for the plain part of YAML that policies are written in; whatever is not plain is the library's.
 *
 * The library takes some ten seconds for 100,000 rules, during which a reload would hold up every connection; this
 * takes a fraction of one. It never decides that a file is wrong: it answers undefined as soon as it sees anything
 * but block mappings and lists, one-line scalars and one-line flow collections, and `yaml.ts` then reads the file
 * from its beginning. Where it answers, it answers what the library would (test/unit/config/plain-yaml.test.ts).
 */
import type { YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar } from "./yaml-tree.ts";

/** Collections within collections; a policy has some six. */
export const maxDepth = 64;

/** The tree of a plain file; undefined for every other. */
export function parsePlainYaml(text: string): YamlNode | undefined {
  if (unusual.test(text)) return undefined;
  const cursor: Cursor = { text, lineStart: 0, at: 0, lineEnd: -1, done: false, depth: 0 };
  nextLine(cursor);
  if (cursor.done || cursor.at !== cursor.lineStart) return undefined;
  const root = readBlock(cursor);
  return cursor.done ? root : undefined;
}

/** Controls (tabs among them), and what might be taken for a line break or a byte order mark. */
// eslint-disable-next-line no-control-regex
const unusual = /[\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u009f\u2028\u2029\ufeff\ufffd]|\r(?!\n)/;

/** Stands at content: `at` is an offset, `lineStart` to `lineEnd` its line without the break. */
type Cursor = { readonly text: string; lineStart: number; at: number; lineEnd: number; done: boolean; depth: number };

const space = 0x20;
const hash = 0x23;
const dash = 0x2d;
const colon = 0x3a;
const doubleQuote = 0x22;
const singleQuote = 0x27;
const openList = 0x5b;
const closeList = 0x5d;
const openMap = 0x7b;
const closeMap = 0x7d;
const comma = 0x2c;

/** Goes to the first character of the next line that is neither blank nor a comment. */
function nextLine(cursor: Cursor): void {
  const { text } = cursor;
  for (;;) {
    const start = cursor.lineEnd < 0 ? 0 : text.indexOf("\n", cursor.lineEnd) + 1;
    if (start >= text.length || (start === 0 && cursor.lineEnd >= 0)) {
      cursor.done = true;
      return;
    }
    const found = text.indexOf("\n", start);
    let end = found < 0 ? text.length : found;
    if (text.charCodeAt(end - 1) === 0x0d) end--;
    let at = start;
    while (at < end && text.charCodeAt(at) === space) at++;
    cursor.lineStart = start;
    cursor.lineEnd = Math.max(end, start);
    cursor.at = at;
    if (at < end && text.charCodeAt(at) !== hash) return;
  }
}

function columnOf(cursor: Cursor): number {
  return cursor.at - cursor.lineStart;
}

function isDash({ text, at, lineEnd }: Cursor): boolean {
  return text.charCodeAt(at) === dash && at + 1 < lineEnd && text.charCodeAt(at + 1) === space;
}

/** A mapping or a list whose first character the cursor stands at. */
function readBlock(cursor: Cursor): YamlNode | undefined {
  if (cursor.depth > maxDepth / 2) return undefined;
  cursor.depth++;
  const block = isDash(cursor) ? readList(cursor) : readMap(cursor);
  cursor.depth--;
  return block;
}

function readList(cursor: Cursor): YamlList | undefined {
  const start = cursor.at;
  const column = columnOf(cursor);
  const items: YamlNode[] = [];
  let end = start;
  while (!cursor.done && columnOf(cursor) === column && isDash(cursor)) {
    cursor.at += 2;
    while (cursor.text.charCodeAt(cursor.at) === space) cursor.at++;
    if (cursor.at >= cursor.lineEnd || cursor.text.charCodeAt(cursor.at) === hash) return undefined;
    const item = keyEnd(cursor) < 0 ? readInline(cursor, column) : readMap(cursor);
    if (item === undefined) return undefined;
    items.push(item);
    end = item.end;
  }
  return cursor.done || columnOf(cursor) <= column ? { kind: "list", items, start, end } : undefined;
}

function readMap(cursor: Cursor): YamlMap | undefined {
  const { text } = cursor;
  const start = cursor.at;
  const column = columnOf(cursor);
  const entries: YamlEntry[] = [];
  const keys = new Set<string>();
  let end = start;
  do {
    const keyStart = cursor.at;
    const ends = keyEnd(cursor);
    if (ends < 0) return undefined;
    const key = text.slice(keyStart, ends);
    if (keys.has(key)) return undefined;
    keys.add(key);
    cursor.at = ends + 1;
    while (cursor.at < cursor.lineEnd && text.charCodeAt(cursor.at) === space) cursor.at++;
    const value = isLineOver(cursor) ? readBelow(cursor, column) : readInline(cursor, column);
    if (value === undefined) return undefined;
    entries.push({ key, keyStart, keyEnd: ends, value });
    end = value.end;
  } while (!cursor.done && columnOf(cursor) === column && !isDash(cursor));
  // A line further to the right would belong to the value above, one that begins with a dash to nobody.
  if (!cursor.done && (columnOf(cursor) > column || (columnOf(cursor) === column && isDash(cursor)))) return undefined;
  return { kind: "map", entries, start, end };
}

/** A comment needs a blank before it, which a key's colon or the blanks behind it have been. */
function isLineOver({ text, at, lineEnd }: Cursor): boolean {
  return at >= lineEnd || (text.charCodeAt(at) === hash && text.charCodeAt(at - 1) === space);
}

/** The value of a key that ends its line: further to the right, or a list in the key's own column. */
function readBelow(cursor: Cursor, column: number): YamlNode | undefined {
  nextLine(cursor);
  if (cursor.done) return undefined;
  if (columnOf(cursor) > column) return readBlock(cursor);
  return columnOf(cursor) === column && isDash(cursor) ? readBlock(cursor) : undefined;
}

/** The offset of the colon behind a plain key at the cursor, or -1. */
function keyEnd({ text, at, lineEnd }: Cursor): number {
  let end = at;
  while (isKeyCharacter(text.charCodeAt(end))) end++;
  if (end === at || text.charCodeAt(at) === dash || text.charCodeAt(end) !== colon) return -1;
  return end + 1 === lineEnd || text.charCodeAt(end + 1) === space ? end : -1;
}

function isKeyCharacter(c: number): boolean {
  return (c >= 0x61 && c <= 0x7a) || (c >= 0x41 && c <= 0x5a) || (c >= 0x30 && c <= 0x39) || c === 0x5f || c === dash;
}

/** A value that begins and ends on this line; goes to the next. `column` is that of the block it stands in. */
function readInline(cursor: Cursor, column: number): YamlNode | undefined {
  const { text, lineEnd } = cursor;
  const c = text.charCodeAt(cursor.at);
  const isFlow = c === openList || c === openMap || c === doubleQuote || c === singleQuote;
  const node = isFlow ? readFlow(cursor) : readPlain(cursor);
  if (node === undefined) return undefined;
  let after = node.end;
  while (after < lineEnd && text.charCodeAt(after) === space) after++;
  if (after < lineEnd && (text.charCodeAt(after) !== hash || after === node.end)) return undefined;
  nextLine(cursor);
  // A line further to the right would go on with this value.
  return cursor.done || columnOf(cursor) <= column ? node : undefined;
}

/** A plain scalar in a block: to the end of the line, or to a comment. */
function readPlain({ text, at, lineEnd }: Cursor): YamlScalar | undefined {
  if (!isPlainStart(text.charCodeAt(at))) return undefined;
  let end = at;
  for (; end < lineEnd; end++) {
    const c = text.charCodeAt(end);
    if (c === colon && (end + 1 >= lineEnd || text.charCodeAt(end + 1) === space)) return undefined;
    if (c === hash && text.charCodeAt(end - 1) === space) break;
  }
  while (text.charCodeAt(end - 1) === space) end--;
  return plainScalar(text, at, end);
}

function isPlainStart(c: number): boolean {
  return (
    (c >= 0x61 && c <= 0x7a) ||
    (c >= 0x41 && c <= 0x5a) ||
    (c >= 0x30 && c <= 0x39) ||
    c === 0x5f ||
    c === 0x2f ||
    c === 0x24
  );
}

/** The core schema (YAML 1.2.2 section 10.3.2), as far as it is plain: other numbers are the library's. */
function plainScalar(text: string, start: number, end: number): YamlScalar | undefined {
  const value = text.slice(start, end);
  const first = value.charCodeAt(0);
  if (first >= 0x30 && first <= 0x39) {
    if (/^(0|[1-9]\d{0,14})$/.test(value)) return { kind: "scalar", value: Number(value), start, end };
    if (/^[\d.eExXoO+\-a-fA-F]+$/.test(value) && !/^\d+-\d+-\d+$|^\d+\.\d+\.\d/.test(value)) return undefined;
  } else if (value.length <= 5) {
    if (value === "true" || value === "false") return { kind: "scalar", value: value === "true", start, end };
    if (/^(null|true|false)$/i.test(value)) return undefined;
  }
  return { kind: "scalar", value, start, end };
}

/** A quoted scalar or a flow collection, all of it on this line. Leaves the cursor behind it. */
function readFlow(cursor: Cursor): YamlNode | undefined {
  const { text, at } = cursor;
  const c = text.charCodeAt(at);
  if (c === openList || c === openMap) {
    if (cursor.depth > maxDepth / 2) return undefined;
    cursor.depth++;
    const collection = c === openList ? readFlowList(cursor) : readFlowMap(cursor);
    cursor.depth--;
    return collection;
  }
  const node = c === doubleQuote || c === singleQuote ? readQuoted(cursor, c) : readFlowPlain(cursor);
  if (node !== undefined) cursor.at = node.end;
  return node;
}

/** Without escapes: a backslash, or a doubled single quote, is the library's. */
function readQuoted({ text, at, lineEnd }: Cursor, quote: number): YamlScalar | undefined {
  for (let end = at + 1; end < lineEnd; end++) {
    const c = text.charCodeAt(end);
    if (c === 0x5c) return undefined;
    if (c !== quote) continue;
    if (text.charCodeAt(end + 1) === quote) return undefined;
    return { kind: "scalar", value: text.slice(at + 1, end), start: at, end: end + 1 };
  }
  return undefined;
}

/** A plain scalar between flow indicators; a colon only within (`https:8531`), blanks only as single words' separators. */
function readFlowPlain({ text, at, lineEnd }: Cursor): YamlScalar | undefined {
  if (!isPlainStart(text.charCodeAt(at)) || text.charCodeAt(at) === 0x24) return undefined;
  let end = at;
  while (end < lineEnd && isFlowCharacter(text.charCodeAt(end))) {
    if (text.charCodeAt(end) === colon && !isKeyCharacter(text.charCodeAt(end + 1))) break;
    end++;
  }
  while (text.charCodeAt(end - 1) === space) end--;
  return plainScalar(text, at, end);
}

function isFlowCharacter(c: number): boolean {
  return isKeyCharacter(c) || c === colon || c === space || c === 0x2e || c === 0x2f;
}

function readFlowList(cursor: Cursor): YamlList | undefined {
  const start = cursor.at;
  const items: YamlNode[] = [];
  const closed = readFlowItems(cursor, closeList, () => {
    const item = readFlow(cursor);
    if (item !== undefined) items.push(item);
    return item !== undefined;
  });
  return closed ? { kind: "list", items, start, end: cursor.at } : undefined;
}

function readFlowMap(cursor: Cursor): YamlMap | undefined {
  const start = cursor.at;
  const entries: YamlEntry[] = [];
  const closed = readFlowItems(cursor, closeMap, () => {
    const keyStart = cursor.at;
    const ends = keyEnd(cursor);
    const key = cursor.text.slice(keyStart, Math.max(ends, keyStart));
    if (ends < 0 || entries.some((entry) => entry.key === key)) return false;
    cursor.at = ends + 1;
    skipSpaces(cursor);
    const value = readFlow(cursor);
    if (value !== undefined) entries.push({ key, keyStart, keyEnd: ends, value });
    return value !== undefined;
  });
  return closed ? { kind: "map", entries, start, end: cursor.at } : undefined;
}

/** `[ item, item ]`: stands behind the closing bracket when it answers true. A comma before the bracket is the library's. */
function readFlowItems(cursor: Cursor, close: number, readItem: () => boolean): boolean {
  cursor.at++;
  skipSpaces(cursor);
  if (cursor.text.charCodeAt(cursor.at) !== close) {
    for (;;) {
      if (!readItem()) return false;
      skipSpaces(cursor);
      if (cursor.text.charCodeAt(cursor.at) !== comma) break;
      // `[a,b]` is two items to YAML, and looks like one: it is not plain.
      if (cursor.text.charCodeAt(cursor.at + 1) !== space) return false;
      cursor.at++;
      skipSpaces(cursor);
    }
  }
  if (cursor.at >= cursor.lineEnd || cursor.text.charCodeAt(cursor.at) !== close) return false;
  cursor.at++;
  return true;
}

function skipSpaces(cursor: Cursor): void {
  while (cursor.at < cursor.lineEnd && cursor.text.charCodeAt(cursor.at) === space) cursor.at++;
}
