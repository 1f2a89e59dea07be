import { expect, test } from "vitest";
import { parseBasicCredentials } from "../../../src/wire/basic-credentials.ts";

const base64 = (text: string | Uint8Array): string => Buffer.from(text).toString("base64");

test.each<[sentence: string, value: string, expected: readonly [user: string, password: string] | undefined]>([
  ["user and password", `Basic ${base64("kiosk:open sesame")}`, ["kiosk", "open sesame"]],
  ["the scheme in any case", `bAsIc ${base64("a:b")}`, ["a", "b"]],
  ["colons in the password", `Basic ${base64("a:b:c:")}`, ["a", "b:c:"]],
  ["an empty password", `Basic ${base64("a:")}`, ["a", ""]],
  ["UTF-8", `Basic ${base64("jürgen:pä")}`, ["jürgen", "pä"]],
  ["no user", `Basic ${base64(":b")}`, undefined],
  ["no colon", `Basic ${base64("ab")}`, undefined],
  ["nothing", "Basic", undefined],
  ["nothing behind the scheme", "Basic ", undefined],
  ["another scheme", `Digest ${base64("a:b")}`, undefined],
  ["two tokens", `Basic ${base64("a:b")} ${base64("a:b")}`, undefined],
  ["base64 with bits that mean nothing", "Basic YTpiY3==", undefined],
  ["base64 without its padding", "Basic YTpiYw", undefined],
  ["base64url", `Basic ${base64("a:\u00ff?\u00ff?").replace("+", "-").replace("/", "_")}x`, undefined],
  ["a NUL", `Basic ${base64("a\0:b")}`, undefined],
  ["a line feed in the password", `Basic ${base64("a:b\n")}`, undefined],
  ["no UTF-8", `Basic ${base64(Uint8Array.of(0x61, 0xff, 0x3a, 0x62))}`, undefined],
])("%s", (_, value, expected) => {
  const read = parseBasicCredentials(value);
  expect(read === undefined ? undefined : [read.user, read.password]).toEqual(expected);
});
