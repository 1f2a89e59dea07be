/** A file's text, and the line and column of every offset in it. */
import type { Place } from "../policy/rule.ts";

export type SourceText = {
  /** The path as the user gave it, for messages. */
  readonly file: string;
  readonly text: string;
  /** Offset of the first character of each line. */
  readonly lineStarts: readonly number[];
};

/** Takes the text of a file; a byte order mark is dropped, so that columns are those an editor shows. */
export function createSourceText(file: string, content: string): SourceText {
  const text = content.startsWith("\ufeff") ? content.slice(1) : content;
  const lineStarts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lineStarts.push(at + 1);
  return { file, text, lineStarts };
}

/** Line and column, both from 1, of an offset. */
export function placeAt(source: SourceText, offset: number): Place {
  let low = 0;
  let high = source.lineStarts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((source.lineStarts[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return { file: source.file, line: low + 1, column: offset - (source.lineStarts[low] ?? 0) + 1 };
}

/** The line that holds an offset, without white space around it. */
export function lineAt(source: SourceText, offset: number): string {
  const start = source.text.lastIndexOf("\n", offset - 1) + 1;
  const end = source.text.indexOf("\n", offset);
  return source.text.slice(start, end < 0 ? undefined : end).trim();
}
