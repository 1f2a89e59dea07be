/** Subjects of client certificates, and the patterns that groups name them by. */

/** One attribute of a subject: `CN` and its value, unescaped. */
export type SubjectAttribute = { readonly type: string; readonly value: string };

/**
 * Reads a subject, one attribute a line as `node:crypto` writes it, or the same parted by commas. Escapes are those of
 * RFC 4514. Types become upper case. Undefined where it is none.
 */
export function parseSubject(text: string): readonly SubjectAttribute[] | undefined {
  const attributes: SubjectAttribute[] = [];
  for (const part of splitUnescaped(text)) {
    const [, type, value] = /^\s*([A-Za-z][A-Za-z0-9.-]*|\d+(?:\.\d+)+)=(.*)$/s.exec(part) ?? [];
    if (type === undefined || value === undefined) return undefined;
    attributes.push({ type: type.toUpperCase(), value: unescape(value) });
  }
  return attributes.length === 0 ? undefined : attributes;
}

/**
 * True where each attribute of the pattern (`CN=kiosk*`, `O=Corp,OU=shops`) is one of the subject's. In a value `*` is
 * any text and `?` any character; case counts. Linear in the subject for each star.
 */
export function matchesSubject(pattern: string, subject: readonly SubjectAttribute[]): boolean {
  const wanted = parseSubject(pattern);
  if (wanted === undefined) return false;
  return wanted.every(({ type, value }) =>
    subject.some((attribute) => attribute.type === type && matchesGlob(value, attribute.value)),
  );
}

function splitUnescaped(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "," || text[i] === "\n") {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  return [...parts, text.slice(start)];
}

/** `\2C` is a byte in hex, of UTF-8; `\,` the character itself. */
function unescape(value: string): string {
  return value.replace(
    /(?:\\[0-9A-Fa-f]{2})+|\\(.)/gs,
    (escaped: string, single: string | undefined) =>
      single ?? Buffer.from(escaped.replaceAll("\\", ""), "hex").toString("utf8"),
  );
}

function matchesGlob(glob: string, text: string): boolean {
  let [g, t] = [0, 0];
  /** Where to go on when what follows the last star does not fit. */
  let [starAt, starText] = [-1, 0];
  while (t < text.length) {
    if (glob[g] === "*") {
      starAt = g;
      starText = t;
      g += 1;
    } else if (g < glob.length && (glob[g] === "?" || glob[g] === text[t])) {
      g += 1;
      t += 1;
    } else if (starAt >= 0) {
      starText += 1;
      t = starText;
      g = starAt + 1;
    } else return false;
  }
  while (glob[g] === "*") g += 1;
  return g === glob.length;
}
