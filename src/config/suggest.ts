/** "Did you mean": the known word that a misspelt one is closest to. */

/** The closest candidate within a third of the word's length (at least one edit), else undefined. */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  // Of one or two letters everything is one edit away.
  const allowed = word.length < 3 ? 0 : Math.max(1, Math.floor(word.length / 3));
  const folded = fold(word);
  let best: { readonly candidate: string; readonly distance: number } | undefined;
  for (const candidate of candidates) {
    const limit = best === undefined ? allowed : best.distance - 1;
    if (Math.abs(candidate.length - word.length) > limit) continue;
    const distance = editDistance(folded, fold(candidate));
    if (distance <= limit) best = { candidate, distance };
    if (distance === 0) break;
  }
  return best?.candidate;
}

/** `idle-timeout`, `idleTimeout` and `idle_timeout` are one word. */
function fold(word: string): string {
  return word
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .replaceAll("-", "_");
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
