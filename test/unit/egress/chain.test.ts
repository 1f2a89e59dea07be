import { describe, expect, test } from "vitest";
import { createChain } from "../../../src/egress/chain.ts";

describe("a chain", () => {
  test("has what was added and not removed", () => {
    const chain = createChain<string>();
    const links = ["a", "b", "c"].map((value) => chain.add(value));
    chain.remove(links[1]!);
    chain.remove(links[1]!);
    const seen: string[] = [];
    chain.each((value) => seen.push(value));
    expect([seen.toSorted(), chain.size()]).toEqual([["a", "c"], 2]);
  });

  test("may be changed by who looks at it", () => {
    const chain = createChain<number>();
    const links = [1, 2, 3].map((value) => chain.add(value));
    const seen: number[] = [];
    chain.each((value) => {
      seen.push(value);
      for (const link of links) chain.remove(link);
      chain.add(4);
    });
    expect([seen.length, chain.size()]).toEqual([1, 1]);
  });

  test("what is gone names nobody that is there", () => {
    const chain = createChain<string>();
    const [first, second] = [chain.add("a"), chain.add("b")];
    chain.remove(second);
    expect([second.previous, second.next, first.previous, first.next]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
