/** Bytes that have come and that nobody has taken yet, in one piece. */

export type HeldBytes = {
  readonly length: () => number;
  /** All of them. What was shown or taken stays as it is. */
  readonly view: () => Buffer;
  /** `isLent`: the chunk is overwritten after this call, so it is copied. */
  readonly hold: (chunk: Buffer, isLent: boolean) => void;
  /** Hands out the first `length` of them; they are held no longer. */
  readonly take: (length: number) => Buffer;
};

export function createHeldBytes(first: Buffer): HeldBytes {
  // Bytes `from` to `end` of `buffer` are held. It grows twofold, so that a peer which sends single bytes does not make
  // the work grow with their square; the first chunk is held where it lies. Nothing is ever moved to the front: what
  // was taken may still wait in a socket's queue.
  let buffer = first;
  let from = 0;
  let end = first.length;

  const grow = (needed: number): void => {
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * (end - from)));
    buffer.copy(larger, 0, from, end);
    end -= from;
    from = 0;
    buffer = larger;
  };
  return {
    length: () => end - from,
    view: () => buffer.subarray(from, end),
    hold: (chunk, isLent) => {
      if (from === end && !isLent) {
        buffer = chunk;
        from = 0;
        end = chunk.length;
        return;
      }
      if (end + chunk.length > buffer.length) grow(end - from + chunk.length);
      chunk.copy(buffer, end);
      end += chunk.length;
    },
    take: (length) => {
      const taken = buffer.subarray(from, Math.min(end, from + length));
      from += taken.length;
      return taken;
    },
  };
}
