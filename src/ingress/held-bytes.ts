/** Bytes that have come and that nobody has taken yet, in one piece. */

export type HeldBytes = {
  readonly length: () => number;
  /** All of them. What was shown or taken stays as it is. */
  readonly view: () => Buffer;
  readonly hold: (chunk: Buffer) => void;
  /** Hands out the first `length` of them; they are held no longer. */
  readonly take: (length: number) => Buffer;
  /** Holds the first `length` of them no longer. */
  readonly drop: (length: number) => void;
};

export function createHeldBytes(first: Buffer): HeldBytes {
  return new Held(first);
}

/**
 * Bytes `#from` to `#end` of `#buffer` are held. It grows twofold, so that a peer which sends single bytes does not make
 * the work grow with their square; the first chunk is held where it lies. Nothing is ever moved to the front: what was
 * taken may still wait in a socket's queue.
 */
class Held implements HeldBytes {
  #buffer: Buffer;
  #from = 0;
  #end: number;

  constructor(first: Buffer) {
    this.#buffer = first;
    this.#end = first.length;
  }

  length(): number {
    return this.#end - this.#from;
  }

  view(): Buffer {
    if (this.#from === this.#end) return none;
    if (this.#from === 0 && this.#end === this.#buffer.length) return this.#buffer;
    return this.#buffer.subarray(this.#from, this.#end);
  }

  hold(chunk: Buffer): void {
    if (this.#from === this.#end) {
      this.#buffer = chunk;
      this.#from = 0;
      this.#end = chunk.length;
      return;
    }
    if (this.#end + chunk.length > this.#buffer.length) this.#grow(this.length() + chunk.length);
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
  }

  take(length: number): Buffer {
    const taken = length >= this.length() ? this.view() : this.#buffer.subarray(this.#from, this.#from + length);
    this.drop(taken.length);
    return taken;
  }

  drop(length: number): void {
    this.#from = Math.min(this.#end, this.#from + length);
    if (this.#from < this.#end) return;
    // A connection may rest for hours, and has nothing here.
    this.#buffer = none;
    this.#from = this.#end = 0;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.length()));
    this.#buffer.copy(larger, 0, this.#from, this.#end);
    this.#end -= this.#from;
    this.#from = 0;
    this.#buffer = larger;
  }
}

const none = Buffer.alloc(0);
