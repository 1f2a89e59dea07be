/** How values are shown to people. Texts that a client chose are hostile: nothing in them may be invisible or reorder what is around. */

/** Controls, formats (bidi overrides, zero width), surrogates and unassigned characters as `\u{…}`; line breaks stay. */
export function shown(text: string): string {
  return text.replace(
    /(?!\n)[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\u2028\u2029]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** `12.3 kB`, in powers of 1000. */
export function bytesText(bytes: number): string {
  return scaled(bytes, ["B", "kB", "MB", "GB", "TB"]);
}

/** `0.4`, `12`, `3.1 k` */
export function countText(count: number): string {
  return scaled(count, ["", "k", "M", "G"]).trim();
}

/** `now`, `12 s ago`, `3 min ago`, `2 h ago`, `4 d ago` */
export function agoText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** `1 client`, `2 clients` */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** `2026-11-21 10:00:00`, in the browser's time zone; the text itself where it is no instant. */
export function instantText(iso: string): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  const two = (value: number): string => String(value).padStart(2, "0");
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function scaled(value: number, units: readonly string[]): string {
  let [rest, power] = [Math.max(0, value), 0];
  while (rest >= 999.5 && power < units.length - 1) {
    rest /= 1000;
    power++;
  }
  const digits = rest < 10 && (power > 0 || !Number.isInteger(rest)) ? 1 : 0;
  return `${rest.toFixed(digits)} ${units[power] ?? ""}`;
}
