/** What the console shows of /metrics (Prometheus's text format). */

export type Sample = {
  /** Milliseconds on any clock that does not jump. */
  readonly atMs: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** All exchanges; of them those denied, and those that report mode let pass. */
  readonly decided: number;
  readonly denied: number;
  readonly would: number;
  readonly tunnels: number;
  readonly version: string;
  readonly hash: string;
  /** Milliseconds since the epoch. */
  readonly loadedAtMs: number;
  readonly lastReloadWorked: boolean;
  /** Reloads by result. */
  readonly reloads: ReadonlyMap<string, number>;
};

/** Per second. */
export type Rates = {
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly decided: number;
  readonly denied: number;
  readonly would: number;
};

export function readMetrics(text: string, atMs: number): Sample {
  const sums = new Map<string, number>();
  const add = (key: string, value: number): void => void sums.set(key, (sums.get(key) ?? 0) + value);
  const reloads = new Map<string, number>();
  let [version, hash] = ["", ""];
  for (const [, name = "", labels = "", digits = ""] of text.matchAll(series)) {
    const value = Number(digits);
    if (name === "transferred_bytes_total") add(`bytes ${labelOf(labels, "direction")}`, value);
    else if (name === "decisions_total") {
      const isDenied = labelOf(labels, "verdict") === "deny";
      const isAllowed = labelOf(labels, "reason") === "allowed";
      add(isDenied ? "denied" : isAllowed ? "allowed" : "would", value);
    } else if (name === "policy_reloads_total") reloads.set(labelOf(labels, "result"), value);
    else if (name === "build_info") version = labelOf(labels, "version");
    else if (name === "policy_info") hash = labelOf(labels, "hash");
    else add(name, value);
  }
  const sum = (key: string): number => sums.get(key) ?? 0;
  return {
    atMs,
    bytesUp: sum("bytes up"),
    bytesDown: sum("bytes down"),
    decided: sum("denied") + sum("allowed") + sum("would"),
    denied: sum("denied"),
    would: sum("would"),
    tunnels: sum("tunnels_active"),
    version,
    hash,
    loadedAtMs: sum("policy_last_success_timestamp_seconds") * 1000,
    lastReloadWorked: sum("policy_last_reload_successful") === 1,
    reloads,
  };
}

/** Undefined where the counters began anew in between. */
export function ratesBetween(before: Sample, after: Sample): Rates | undefined {
  const seconds = (after.atMs - before.atMs) / 1000;
  const per = (key: "bytesUp" | "bytesDown" | "decided" | "denied" | "would"): number =>
    (after[key] - before[key]) / seconds;
  const rates = {
    bytesUp: per("bytesUp"),
    bytesDown: per("bytesDown"),
    decided: per("decided"),
    denied: per("denied"),
    would: per("would"),
  };
  return seconds > 0 && Object.values(rates).every((rate) => rate >= 0) ? rates : undefined;
}

const series =
  /^sallyport_(transferred_bytes_total|decisions_total|tunnels_active|policy_reloads_total|build_info|policy_info|policy_last_reload_successful|policy_last_success_timestamp_seconds)(?:\{([^}]*)\})? (\S+)$/gm;

function labelOf(labels: string, name: string): string {
  return new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? "";
}
