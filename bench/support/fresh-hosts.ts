/** Hosts as they come off the wire: bytes, and a new string each time, so that no hash of an earlier one helps. */

export type FreshHosts = {
  readonly count: number;
  /** A string that nobody has seen: its hash is not known yet. */
  readonly make: (index: number) => string;
};

/** Lays the names out in one buffer, as a receive buffer would hold them. */
export function createFreshHosts(names: readonly string[]): FreshHosts {
  const bytes = Buffer.from(names.join(""), "latin1");
  const ends = new Int32Array(names.length + 1);
  for (const [i, name] of names.entries()) ends[i + 1] = ends[i]! + name.length;
  return { count: names.length, make: (index) => bytes.toString("latin1", ends[index], ends[index + 1]) };
}

/** One sample: `operations` of the contender, each with a fresh host, going on where the last sample ended. */
export function createSample(
  hosts: FreshHosts,
  operation: (hostname: string) => unknown,
  operations: number,
): () => void {
  let next = 0;
  return () => {
    for (let i = 0; i < operations; i++) {
      operation(hosts.make(next));
      if (++next === hosts.count) next = 0;
    }
  };
}
