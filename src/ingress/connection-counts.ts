/** How many connections there are, in all and for each client. Memory is bounded by the limit on all of them. */

export type ConnectionCounts = {
  /** Counts one in, or says which limit forbids it. The client's own limit is looked at first. */
  readonly enter: (address: string, perClient: number) => "per_client" | "connections" | undefined;
  readonly leave: (address: string) => void;
  readonly total: () => number;
};

export function createConnectionCounts(limit: number): ConnectionCounts {
  const perAddress = new Map<string, number>();
  let total = 0;
  return {
    enter: (address, perClient) => {
      const count = perAddress.get(address) ?? 0;
      if (count >= perClient) return "per_client";
      if (total >= limit) return "connections";
      perAddress.set(address, count + 1);
      total += 1;
      return undefined;
    },
    leave: (address) => {
      const count = perAddress.get(address) ?? 0;
      if (count <= 1) perAddress.delete(address);
      else perAddress.set(address, count - 1);
      total -= 1;
    },
    total: () => total,
  };
}
