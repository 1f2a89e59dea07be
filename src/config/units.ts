/** Durations and sizes with their units, as files write them. */

/** `500ms`, `5s`, `15m`, `2h`; no fractions, no leading zeros. */
export const durationPattern = /^(0|[1-9]\d{0,8})(ms|s|m|h)$/;
/** `512B`, `32KiB`, `1MiB`. */
export const sizePattern = /^(0|[1-9]\d{0,8})(B|KiB|MiB)$/;

const msPerUnit: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const bytesPerUnit: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 * 1024 };

/** Milliseconds, or undefined for what is no duration. */
export function parseDuration(text: string): number | undefined {
  return scaled(durationPattern.exec(text), msPerUnit);
}

/** Bytes, or undefined for what is no size. */
export function parseSize(text: string): number | undefined {
  return scaled(sizePattern.exec(text), bytesPerUnit);
}

/** The largest unit that gives a whole number. */
export function formatDuration(ms: number): string {
  const unit = ["h", "m", "s"].find((name) => ms > 0 && ms % (msPerUnit[name] ?? 1) === 0) ?? "ms";
  return `${ms / (msPerUnit[unit] ?? 1)}${unit}`;
}

/** The largest unit that gives a whole number. */
export function formatSize(bytes: number): string {
  const unit = ["MiB", "KiB"].find((name) => bytes > 0 && bytes % (bytesPerUnit[name] ?? 1) === 0) ?? "B";
  return `${bytes / (bytesPerUnit[unit] ?? 1)}${unit}`;
}

function scaled(match: RegExpExecArray | null, factors: Readonly<Record<string, number>>): number | undefined {
  const factor = factors[match?.[2] ?? ""];
  return factor === undefined ? undefined : Number(match?.[1]) * factor;
}

/** Milliseconds since the epoch; a day is its first instant, UTC. */
export function parseMoment(text: string): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?Z)?$/.test(text)) return undefined;
  const ms = Date.parse(text);
  // 31 February would be 3 March.
  return Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(text.slice(0, 10)) ? undefined : ms;
}
