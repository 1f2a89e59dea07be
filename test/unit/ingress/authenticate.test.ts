import { describe, expect, test } from "vitest";
import { type Authenticate, type Credentials, createAuthenticate } from "../../../src/ingress/authenticate.ts";
import type { ComparePassword } from "../../../src/ingress/passwords.ts";
import { parseAddress } from "../../../src/names/address.ts";

const hash = `$2b$10$${"k".repeat(53)}`;
const users = new Map([["kiosk", hash]]);
const minuteMs = 60_000;

type Rig = {
  /** Comparisons so far: the password, and whether it was with the user's own hash. */
  readonly compared: (readonly [password: string, own: boolean])[];
  readonly ask: (credentials: string | undefined, address?: string) => Promise<Credentials["kind"]>;
  readonly authenticate: Authenticate;
  readonly pass: (ms: number) => void;
};

function rig(answer: ComparePassword = (password) => Promise.resolve(password === "right")): Rig {
  let nowMs = 1000;
  const compared: (readonly [string, boolean])[] = [];
  const authenticate = createAuthenticate({
    users,
    now: () => nowMs,
    compare: (password, against) => {
      compared.push([password, against === hash]);
      return answer(password, against);
    },
  });
  return {
    compared,
    authenticate,
    ask: async (credentials, address = "10.0.0.1") =>
      (await authenticate(credentials === undefined ? [] : fields(credentials), parseAddress(address)!)).kind,
    pass: (ms) => (nowMs += ms),
  };
}

function fields(credentials: string): string[] {
  return ["Host", "a", "Proxy-Authorization", `Basic ${Buffer.from(credentials).toString("base64")}`];
}

test("what was right is remembered for five minutes, and told at once", async () => {
  const { ask, authenticate, compared, pass } = rig();
  expect(await ask("kiosk:right")).toBe("user");
  pass(4 * minuteMs);
  expect(authenticate(fields("kiosk:right"), parseAddress("10.9.9.9")!)).toEqual({ kind: "user", name: "kiosk" });
  expect(compared).toHaveLength(1);
  pass(minuteMs + 1);
  expect(await ask("kiosk:right")).toBe("user");
  expect(compared).toHaveLength(2);
});

test("what was wrong is remembered for a minute", async () => {
  const { ask, compared, pass } = rig();
  expect([await ask("kiosk:wrong"), await ask("kiosk:wrong")]).toEqual(["refused", "refused"]);
  expect(compared).toHaveLength(1);
  pass(minuteMs + 1);
  expect(await ask("kiosk:wrong")).toBe("refused");
  expect(compared).toHaveLength(2);
});

test("an unknown user is compared with a hash of the same cost, and never fits", async () => {
  const { ask, compared } = rig(() => Promise.resolve(true));
  expect(await ask("nobody:right")).toBe("refused");
  expect(compared).toEqual([["right", false]]);
});

test.each<[sentence: string, fields: string[]]>([
  ["no field", []],
  ["two fields", [...fields("kiosk:right"), ...fields("kiosk:right")]],
  ["another scheme", ["Proxy-Authorization", "Bearer abc"]],
  ["the field for origins", ["Authorization", fields("kiosk:right")[3]!]],
])("%s is refused, and nothing is compared", (_, given) => {
  const { authenticate, compared } = rig();
  expect(authenticate(given, parseAddress("10.0.0.1")!)).toEqual({ kind: "refused" });
  expect(compared).toEqual([]);
});

test("the same credentials on many connections are compared once", async () => {
  const { ask, compared } = rig();
  expect(await Promise.all(Array.from({ length: 50 }, () => ask("kiosk:right")))).toEqual(
    Array.from({ length: 50 }, () => "user"),
  );
  expect(compared).toHaveLength(1);
});

describe("failures are limited for each client", () => {
  const guess = (all: Rig, count: number, address?: string): Promise<string[]> =>
    Promise.all(Array.from({ length: count }, (_, i) => all.ask(`kiosk:guess ${i} ${Math.random()}`, address)));
  const ten = Array.from({ length: 10 }, () => "refused");

  test("ten at once, then one in six seconds", async () => {
    const all = rig();
    expect(await guess(all, 30)).toEqual([...ten, ...Array.from({ length: 20 }, () => "limited")]);
    expect(all.compared).toHaveLength(10);
    all.pass(6_000);
    expect(await guess(all, 2)).toEqual(["refused", "limited"]);
    all.pass(minuteMs);
    expect(await guess(all, 10)).toEqual(ten);
  });

  test("others are not, nor is who is known already", async () => {
    const all = rig();
    expect(await all.ask("kiosk:right")).toBe("user");
    await guess(all, 30);
    expect(await all.ask("kiosk:right")).toBe("user");
    expect(await all.ask("kiosk:else", "10.0.0.2")).toBe("refused");
  });

  test("right ones take nothing away", async () => {
    const all = rig(() => Promise.resolve(true));
    for (let i = 0; i < 30; i++) expect(await all.ask(`kiosk:${i}`)).toBe("user");
  });

  test("the addresses of an IPv6 network are one client", async () => {
    const all = rig();
    expect(await guess(all, 10, "2001:db8::1")).toEqual(ten);
    expect(await guess(all, 1, "2001:db8::ffff:1")).toEqual(["limited"]);
    expect(await guess(all, 1, "2001:db8:0:1::1")).toEqual(["refused"]);
  });
});

test("where too many wait nothing is known, and nothing is remembered", async () => {
  let full = true;
  const all = rig(() => Promise.resolve(full ? undefined : true));
  for (let i = 0; i < 20; i++) expect(await all.ask("kiosk:right")).toBe("limited");
  full = false;
  expect(await all.ask("kiosk:right")).toBe("user");
});
