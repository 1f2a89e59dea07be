import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type FamilyAnswer,
  combine,
  familyAnswer,
  maxAddresses,
  maxTtlMs,
  unanswered,
} from "../../../src/egress/dns-answer.ts";

function records(addresses: string, ttl = 60): FamilyAnswer {
  return familyAnswer(
    null,
    addresses.split(" ").map((address) => ({ address, ttl })),
  );
}

function failed(code: string): FamilyAnswer {
  return familyAnswer(Object.assign(new Error(code), { code }), undefined);
}

/** `addresses for ttl`, or `detail for ttl`. */
function told(a: FamilyAnswer, aaaa: FamilyAnswer, ipv6First = true): string {
  const { resolution, ttlMs } = combine(a, aaaa, { ipv6First, negativeTtlMs: 5_000 });
  if (resolution.kind === "addresses") return `${resolution.addresses.map(({ text }) => text).join(" ")} for ${ttlMs}`;
  return `${resolution.kind === "dns_error" ? resolution.detail : resolution.kind} for ${ttlMs}`;
}

describe("two answers made one", () => {
  test.each([
    [
      "families in turns, IPv6 first",
      records("1.1.1.1 2.2.2.2 3.3.3.3"),
      records("2a00::1"),
      true,
      "2a00::1 1.1.1.1 2.2.2.2 3.3.3.3 for 60000",
    ],
    [
      "IPv4 first where IPv6 cannot be reached",
      records("1.1.1.1 2.2.2.2"),
      records("2a00::1 2a00::2"),
      false,
      "1.1.1.1 2a00::1 2.2.2.2 2a00::2 for 60000",
    ],
    ["no address twice", records("1.1.1.1 1.1.1.1"), records("2a00::1 2a00:0::1"), true, "2a00::1 1.1.1.1 for 60000"],
    [
      "a mapped address in AAAA is IPv4, and no second one",
      records("1.1.1.1"),
      records("::ffff:1.1.1.1 ::ffff:2.2.2.2"),
      true,
      "1.1.1.1 2.2.2.2 for 60000",
    ],
    ["the shorter TTL counts", records("1.1.1.1", 60), records("2a00::1", 20), true, "2a00::1 1.1.1.1 for 20000"],
    ["TTL 0 is a second", records("1.1.1.1", 0), failed("ENODATA"), true, "1.1.1.1 for 1000"],
    ["a week is an hour", records("1.1.1.1", 604_800), failed("ENODATA"), true, `1.1.1.1 for ${maxTtlMs}`],
    ["AAAA that failed does not spoil A", records("1.1.1.1"), failed("ESERVFAIL"), true, "1.1.1.1 for 60000"],
    ["AAAA alone, and no A exists: kept for its TTL", failed("ENODATA"), records("2a00::1"), true, "2a00::1 for 60000"],
    [
      "AAAA alone because A failed: asked again soon",
      failed("ESERVFAIL"),
      records("2a00::1"),
      true,
      "2a00::1 for 5000",
    ],
    ["AAAA alone because A was silent: asked again soon", unanswered, records("2a00::1"), true, "2a00::1 for 5000"],
    ["no such name", failed("ENOTFOUND"), failed("ENOTFOUND"), true, "NXDOMAIN for 5000"],
    ["a name without addresses", failed("ENODATA"), failed("ENODATA"), true, "NODATA for 5000"],
    [
      "no A, and AAAA failed: it might have had some",
      failed("ENODATA"),
      failed("ESERVFAIL"),
      true,
      "SERVFAIL for 5000",
    ],
    ["A failed, whatever AAAA says", failed("EREFUSED"), failed("ENODATA"), true, "REFUSED for 5000"],
    ["silence", unanswered, unanswered, true, "dns_timeout for 5000"],
    ["no A, and AAAA silent", failed("ENODATA"), unanswered, true, "dns_timeout for 5000"],
    ["records that are no addresses", records("nonsense"), failed("ENODATA"), true, "NODATA for 5000"],
    ["no records and no error", familyAnswer(null, []), familyAnswer(null, undefined), true, "BADRESP for 5000"],
  ])("%s", (_title, a, aaaa, ipv6First, expected) => {
    expect(told(a, aaaa, ipv6First)).toBe(expected);
  });

  test("never more than 32 addresses, never one twice, and both families among the first two", () => {
    const count = fc.integer({ min: 1, max: 60 });
    fc.assert(
      fc.property(count, count, fc.boolean(), (fours, sixes, ipv6First) => {
        const a = records(Array.from({ length: fours }, (_, i) => `1.1.1.${i}`).join(" "));
        const aaaa = records(Array.from({ length: sixes }, (_, i) => `2a00::${i + 1}`).join(" "));
        const { resolution } = combine(a, aaaa, { ipv6First, negativeTtlMs: 0 });
        const addresses = resolution.kind === "addresses" ? resolution.addresses : [];
        expect(addresses.length).toBe(Math.min(maxAddresses, fours + sixes));
        expect(new Set(addresses.map(({ text }) => text)).size).toBe(addresses.length);
        expect(addresses.slice(0, 2).map(({ family }) => family)).toEqual(ipv6First ? [6, 4] : [4, 6]);
      }),
    );
  });
});
