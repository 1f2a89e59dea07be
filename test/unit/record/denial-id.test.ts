import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DenialCause, denialId } from "../../../src/record/denial-id.ts";

const cause: DenialCause = {
  host: "tlu.dl.delivery.mp.microsoft.com",
  port: 443,
  protocol: "connect",
  sni: undefined,
  reason: "scheme_mismatch",
  group: "_none",
};

const text = fc.string({ unit: "binary", maxLength: 12 });
const causes: fc.Arbitrary<DenialCause> = fc.record({
  host: text,
  port: fc.nat(65535),
  protocol: text,
  sni: fc.option(text, { nil: undefined }),
  reason: text,
  group: text,
});

describe("denialId", () => {
  test("is the same for ever: logs and tickets of years ago still lead to their cause", () => {
    expect(denialId(cause)).toBe("TTJNQ-1CQ9M");
  });

  test("is ten Crockford characters in two groups, whatever the parts", () => {
    fc.assert(fc.property(causes, (any) => /^[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}$/.test(denialId(any))));
  });

  test("is made of the first 50 bits of the digest, no bit lost and none used twice", () => {
    // Every character of every place must occur; a bit that is dropped or shared would leave half of them out.
    const seen = Array.from({ length: 10 }, () => new Set<string>());
    for (let port = 0; port < 2000; port++) {
      const characters = denialId({ ...cause, port })
        .replace("-", "")
        .split("");
      characters.forEach((character, place) => seen[place]!.add(character));
    }
    expect(seen.map((set) => set.size)).toEqual(Array.from({ length: 10 }, () => 32));
  });

  const others: Record<string, Partial<DenialCause>> = {
    "another host": { host: "a.example.com" },
    "another port": { port: 80 },
    "another protocol": { protocol: "http" },
    "an SNI": { sni: "a.example.com" },
    "an empty SNI, which is not the same as none": { sni: "" },
    "another reason": { reason: "no_rule" },
    "another group": { group: "servers" },
  };
  test.each(Object.entries(others))("differs for %s", (_, change) => {
    expect(denialId({ ...cause, ...change })).not.toBe(denialId(cause));
  });

  test("parts cannot run into each other", () => {
    expect(denialId({ ...cause, protocol: "a", sni: "b" })).not.toBe(
      denialId({ ...cause, protocol: 'a","b', sni: "" }),
    );
    expect(denialId({ ...cause, reason: "ab", group: "c" })).not.toBe(denialId({ ...cause, reason: "a", group: "bc" }));
  });
});
