/** What becomes of memory that has been freed: kept for the next buffer, in place of given back and faulted in again. */

/** Below the largest block that glibc learns from (DEFAULT_MMAP_THRESHOLD_MAX, 32 MiB on 64-bit systems). */
const learntBytes = 16 * 1024 * 1024;

/**
 * Lets glibc keep up to 32 MiB of freed memory. By default it gives back what is above 128 KiB, and an upload, of which
 * every read is a new buffer of 64 KiB, spent half its CPU on page faults (docs/benchmarks.md). glibc raises that limit
 * to twice the largest mapped block that was ever freed (mallopt(3), M_MMAP_THRESHOLD): this one is not touched, so it
 * costs no memory, and is freed with the next collection. Other allocators take no notice.
 */
export function keepFreedMemory(): void {
  Buffer.allocUnsafeSlow(learntBytes);
}
