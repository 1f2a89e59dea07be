/** Feeds the parsers of heads as a socket does: with ever longer prefixes of the same bytes. */

type Parse<Result> = (bytes: Buffer, scanned: number, maxBytes: number) => Result;
type Incomplete = { readonly kind: "incomplete"; readonly scanned: number };

/** The first answer that is no longer incomplete, or the last one, over prefixes of these lengths and all bytes. */
export function parseInPieces<Result extends { readonly kind: string } | Incomplete>(
  parse: Parse<Result>,
  bytes: Buffer,
  lengths: Iterable<number>,
  maxBytes: number,
): Result {
  let scanned = 0;
  for (const length of lengths) {
    const result = parse(bytes.subarray(0, length), scanned, maxBytes);
    if (!("scanned" in result)) return result;
    scanned = result.scanned;
  }
  return parse(bytes, scanned, maxBytes);
}

/** 1, 2, 3 … `last`. */
export function* upTo(last: number): Generator<number> {
  for (let length = 1; length <= last; length++) yield length;
}

/** Bytes of a latin1 string. */
export function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}
