/** The clients that two rulesets may treat differently: one of each combination of groups, before and after. */
import { type Client, type Groups, identify } from "../identity/groups.ts";
import { type Address, addressOfBytes, parseAddress } from "../names/address.ts";

/** The same client as each ruleset knows it. */
export type ClientPair = {
  readonly label: string;
  readonly before: Client;
  readonly after: Client;
  /** It is in other groups than before. */
  readonly moves: boolean;
};

/** First the client of no group, then the first address of every block of every group, then groups without blocks. */
export function pairClients(before: Groups, after: Groups): readonly ClientPair[] {
  const pairs = new Map<string, ClientPair>();
  const add = (old: Client, now: Client, text: string): void => {
    const [from, to] = [namesOf(before, old), namesOf(after, now)];
    const key = JSON.stringify([from, to]);
    const moves = from.join() !== to.join();
    const [was, is] = [from.join("+") || "no group", to.join("+") || "no group"];
    const label = moves ? `${text} (${was} → ${is})` : is;
    if (!pairs.has(key)) pairs.set(key, { label, before: old, after: now, moves });
  };
  add({ address: nobody, groups: [] }, { address: nobody, groups: [] }, "");
  for (const { addresses } of [...before, ...after]) {
    for (const { bytes } of addresses) {
      const address = addressOfBytes(bytes);
      add(identify(before, address), identify(after, address), address.text);
    }
  }
  // Groups of users or subjects are met by name.
  for (const { name } of [...before, ...after]) add(member(before, name), member(after, name), name);
  return [...pairs.values()];
}

const nobody = unspecified();

function member(groups: Groups, name: string): Client {
  const number = groups.findIndex((group) => group.name === name);
  return { address: nobody, groups: number < 0 ? [] : [number] };
}

function namesOf(groups: Groups, client: Client): readonly string[] {
  return client.groups.flatMap((number) => groups[number]?.name ?? []);
}

function unspecified(): Address {
  const address = parseAddress("0.0.0.0");
  if (address === undefined) throw new Error("0.0.0.0 is an address");
  return address;
}
