/** Messages of HTTP/1.1 that are broken a little, for properties. */
import fc from "fast-check";
import { latin1 } from "./in-pieces.ts";

const piece = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      "\r\n",
      ": ",
      "a",
      " ",
      "Host: a.x.com\r\n",
      "Content-Length: 5\r\n",
      "\r\nTransfer-Encoding: chunked",
      "\r\n\r\n",
      "0",
      ";a=b",
    ),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom("\r", "\n", "\t", "\0", "\x7f", "\xe9", ":", "GET ", "HTTP/1.1", "http://", '"'),
  },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte)) },
);

const change = fc.record({
  at: fc.nat({ max: 120 }),
  removed: fc.nat({ max: 4 }),
  added: fc.string({ unit: piece, maxLength: 4 }),
});

/** One of these latin1 texts with something put in, taken out, or put in place of something else, up to three times. */
export function broken(texts: readonly string[]): fc.Arbitrary<Buffer> {
  return fc.tuple(fc.constantFrom(...texts), fc.array(change, { maxLength: 3 })).map(([whole, changes]) => {
    let text = whole;
    for (const { at, removed, added } of changes) text = text.slice(0, at) + added + text.slice(at + removed);
    return latin1(text);
  });
}
