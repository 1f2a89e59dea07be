/** Memory that goes back to the allocator at once, in place of with some later garbage collection. */
import { MessageChannel } from "node:worker_threads";

/** Below it a free costs more than what it saves. */
const worthwhileBytes = 16 * 1024;

/** Nobody is at the other end. */
const nobody = new MessageChannel().port1;
nobody.close();

/**
 * Frees the bytes of a chunk, which is empty from then on; for who knows that nobody reads it any more. Does nothing
 * where it is small, or shares its memory with others.
 *
 * A socket without an inflow gets 64 KiB from the allocator for every read. Left to the collector they come back 32 MiB
 * at a time, which glibc returns to the kernel: every read then waits for 16 page faults, and for memory that no cache
 * holds (docs/benchmarks.md). Bytes that are transferred to a port that is closed are detached and dropped (HTML, "message
 * port post message steps": transferring comes before looking whether there is a port to send to).
 */
export function freeNow(chunk: Buffer): void {
  const { buffer } = chunk;
  if (chunk.length < worthwhileBytes || chunk.length !== buffer.byteLength) return;
  if (buffer instanceof ArrayBuffer) nobody.postMessage(undefined, [buffer]);
}
