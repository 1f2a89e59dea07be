import { describe, expect, test } from "vitest";
import { type Groups, groupName, identify } from "../../../src/identity/groups.ts";
import { matchesSubject, parseSubject } from "../../../src/identity/subject.ts";
import { parseAddress, parseCidr } from "../../../src/names/address.ts";

const group = { addresses: [], users: [], subjects: [], mode: undefined, perClient: undefined };
const block = parseCidr("10.0.0.0/8");
if ("problem" in block) throw new Error(block.problem);
const groups: Groups = [
  { ...group, name: "servers", addresses: [block] },
  { ...group, name: "kiosks", users: ["kiosk"], subjects: ["CN=kiosk*"] },
  { ...group, name: "shop", subjects: ["O=Corp,OU=shop"] },
];

describe("a client is in every group of which one thing fits", () => {
  test.each<
    [sentence: string, address: string, user: string | undefined, subject: string | undefined, names: string[]]
  >([
    ["its address", "10.1.2.3", undefined, undefined, ["servers"]],
    ["its user", "192.0.2.1", "kiosk", undefined, ["kiosks"]],
    ["a user is not a prefix, and case counts", "192.0.2.1", "Kiosk", undefined, []],
    ["its subject", "192.0.2.1", undefined, "C=DE\nCN=kiosk7", ["kiosks"]],
    ["address and user", "10.1.2.3", "kiosk", undefined, ["servers", "kiosks"]],
    ["all attributes of a pattern", "192.0.2.1", undefined, "OU=shop\nO=Corp\nCN=kiosk1", ["kiosks", "shop"]],
    ["one of two is not enough", "192.0.2.1", undefined, "O=Corp\nCN=x", []],
    ["nothing", "192.0.2.1", undefined, undefined, []],
  ])("%s", (_, address, user, subject, names) => {
    const proof = { user, subject: subject === undefined ? undefined : parseSubject(subject) };
    const client = identify(groups, parseAddress(address)!, proof);
    expect(client.groups.map((number) => groups[number]?.name)).toEqual(names);
    expect(groupName(groups, client)).toBe(names[0] ?? "_none");
  });
});

describe("patterns of subjects", () => {
  test.each<[pattern: string, subject: string, expected: boolean]>([
    ["CN=kiosk*", "CN=kiosk7", true],
    ["cn=kiosk*", "CN=kiosk7", true],
    ["CN=kiosk?", "CN=kiosk7", true],
    ["CN=kiosk?", "CN=kiosk77", false],
    ["CN=kiosk", "CN=kiosk7", false],
    ["CN=kiosk*", "CN=Kiosk7", false],
    ["CN=*kiosk*", "CN=a.kiosk.b", true],
    ["CN=kiosk*", "OU=kiosk7", false],
    ["CN=kiosk*", "O=CN=kiosk7", false],
    ["CN=kiosk*", "O=a\\, CN=kiosk7", false],
    ["O=A\\, B", "O=A\\, B", true],
    ["O=B\\C3\\BCro", "O=Büro", true],
    ["CN=a\\0ACN=b", "CN=a\\0ACN=b", true],
    ["CN=b", "CN=a\\0ACN=b", false],
    ["1.2.3.4=x", "1.2.3.4=x", true],
    ["nonsense", "CN=nonsense", false],
  ])("%s on %j is %s", (pattern, subject, expected) => {
    expect(matchesSubject(pattern, parseSubject(subject)!)).toBe(expected);
  });

  test("many stars cost little", () => {
    const subject = parseSubject(`CN=${"a".repeat(500)}b`)!;
    const startedAt = performance.now();
    expect(matchesSubject(`CN=${"*a".repeat(100)}c`, subject)).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(500);
  });

  test.each(["", "CN", "=x", "C N=x", ",CN=x"])("%j is no subject", (text) => {
    expect(parseSubject(text)).toBeUndefined();
  });
});
