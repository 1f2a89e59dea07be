/**
 * Counters with labels, as plain numbers: prom-client hashes the labels at every `inc` (340 ns), so its own counters are
 * filled only when somebody scrapes.
 */
import { Counter, type Registry } from "prom-client";

/** One label and its closed list of words; `rest` stands for every word that is not in the list. */
export type Axis = { readonly label: string; readonly words: readonly string[]; readonly rest?: string };

/** A counter over up to three labels. */
export type CounterTable = {
  /** Adds to the series of these words, in the order of the axes. A word that no list knows is not counted. */
  readonly add: (amount: number, first?: string, second?: string, third?: string) => void;
};

/** A counter over names that are known only once a policy is loaded, and a closed list. */
export type NamedTable = {
  /** Names that get series, in order; the rest counts under the table's rest name. */
  readonly setNames: (names: readonly string[]) => void;
  readonly add: (name: string | undefined, word: string) => void;
};

const prefix = "sallyport_";
const noAxis: Axis = { label: "", words: [""] };

/**
 * All series exist from the start at 0, but for combinations that `occurs` rules out: those appear only if they are
 * counted after all.
 */
export function createCounterTable(
  registry: Registry,
  name: string,
  help: string,
  axes: readonly Axis[],
  occurs: (first: string, second: string, third: string) => boolean = () => true,
): CounterTable {
  const [first = noAxis, second = noAxis, third = noAxis] = axes;
  const firstAt = positions(first, second.words.length * third.words.length);
  const secondAt = positions(second, third.words.length);
  const thirdAt = positions(third, 1);
  const values = new Float64Array(first.words.length * second.words.length * third.words.length);
  const series = first.words.flatMap((a) =>
    second.words.flatMap((b) =>
      third.words.map((c) => ({ labels: labelsOf(axes, [a, b, c]), occurs: occurs(a, b, c) })),
    ),
  );
  const counter: Counter = new Counter({
    name: prefix + name,
    help,
    labelNames: axes.map((axis) => axis.label),
    registers: [registry],
    collect: () => {
      counter.reset();
      for (const [i, { labels, occurs: shown }] of series.entries()) {
        const value = values[i] ?? 0;
        if (shown || value > 0) counter.inc(labels, value);
      }
    },
  });
  return {
    add(amount, a = "", b = "", c = "") {
      const i = firstAt(a) + secondAt(b) + thirdAt(c);
      const value = values[i];
      if (value !== undefined) values[i] = value + amount;
    },
  };
}

/**
 * Names are given by the administrator's files, never by a client. At most `maxNames` of them have series. When names
 * change, those that stay keep their series and their counts; the series of the others end, as those of a process that
 * ended: adding their counts to the rest would look like traffic that never was. What a running exchange still counts
 * for a name that is gone goes to the rest.
 */
export function createNamedTable(
  registry: Registry,
  name: string,
  help: string,
  names: { readonly label: string; readonly rest: string; readonly maxNames: number },
  words: Axis,
): NamedTable {
  const width = words.words.length;
  const wordAt = positions(words, 1);
  let rows = new Map([[names.rest, 0]]);
  let values = new Float64Array(width);
  const counter: Counter = new Counter({
    name: prefix + name,
    help,
    labelNames: [names.label, words.label],
    registers: [registry],
    collect: () => {
      counter.reset();
      for (const [rowName, row] of rows) {
        for (const [i, word] of words.words.entries()) {
          counter.inc({ [names.label]: rowName, [words.label]: word }, values[row * width + i] ?? 0);
        }
      }
    },
  });
  return {
    setNames(wanted) {
      const kept = wanted.filter((known) => rows.has(known));
      const fresh = wanted.filter((unknown) => !rows.has(unknown));
      const shown = [...new Set([names.rest, ...kept, ...fresh])].slice(0, names.maxNames + 1);
      const next = new Float64Array(shown.length * width);
      for (const [row, rowName] of shown.entries()) {
        const from = rows.get(rowName);
        if (from !== undefined) next.set(values.subarray(from * width, (from + 1) * width), row * width);
      }
      rows = new Map(shown.map((rowName, row) => [rowName, row]));
      values = next;
    },
    add(rowName, word) {
      const row = (rowName === undefined ? undefined : rows.get(rowName)) ?? 0;
      const i = row * width + wordAt(word);
      const value = values[i];
      if (value !== undefined) values[i] = value + 1;
    },
  };
}

/** Offsets of an axis's words; NaN, which is no index, for a word that is not among them. */
function positions(axis: Axis, stride: number): (word: string) => number {
  const offsets = new Map(axis.words.map((word, i) => [word, i * stride]));
  const rest = (axis.rest === undefined ? undefined : offsets.get(axis.rest)) ?? Number.NaN;
  return (word) => offsets.get(word) ?? rest;
}

function labelsOf(axes: readonly Axis[], words: readonly string[]): Record<string, string> {
  return Object.fromEntries(axes.map((axis, i) => [axis.label, words[i] ?? ""]));
}
