/** Range: valid is what the policy language says, counted again with numbers that have no limit. */
import { parseRange } from "../../src/wire/range.ts";
import { type FuzzPart, hold } from "./part.ts";
import type { Random } from "./random.ts";

const words = ["bytes=", "Bytes=", "-", ",", ", ", "\t", "0", "-0", "9007199254740991", "9007199254740992"];

/** Several fields are several lines. */
export function rangePart(parse: typeof parseRange = parseRange): FuzzPart {
  return {
    name: "range",
    seeds: ["bytes=0-1", "bytes=0-", "bytes=-5", "bytes=0-0,2-3, 5-", "bytes=1-2\nbytes=3-4", "items=1-2"].map((text) =>
      Buffer.from(text),
    ),
    words: [...words, "18446744073709551616", "=", "\n", " ", "+1", "1e3", "0x1", "\u0661"],
    generate: (random) => Buffer.from(generate(random)),
    maxCpuMs: 200,
    check: (input) => {
      const values = Buffer.from(input).toString("latin1").split("\n");
      const reading = parse(values);
      const expected = isValidRange(values) ? "valid" : "invalid";
      hold(reading.kind === expected, `${JSON.stringify(values)} is ${reading.kind}, and ought to be ${expected}`);
      hold(parse([]).kind === "none", "no field is a range");
      return `${reading.kind} ${values.length > 1} ${values.join("").split(",").length}`;
    },
  };
}

/** policy.md, "HTTP conditions": by hand, without a regular expression for the whole. */
export function isValidRange(values: readonly string[]): boolean {
  const [value = "", ...more] = values;
  if (more.length > 0 || value.slice(0, 6).toLowerCase() !== "bytes=") return false;
  const set = value.slice(6);
  // White space stands round commas, and at the end of the list, where the parser of the field has cut it off already.
  if (set.startsWith(" ") || set.startsWith("\t")) return false;
  const members = set.split(",").map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ""));
  if (members.length > 16) return false;
  let nextFree = 0n;
  return members.every((member, i) => {
    const dash = member.indexOf("-");
    const [first, last] = [member.slice(0, dash), member.slice(dash + 1)];
    if (dash < 0 || !isDigits(first) || !isDigits(last) || (first === "" && last === "")) return false;
    const isLast = i === members.length - 1;
    if (first === "") return isLast && last.length <= 19;
    const from = BigInt(first);
    if (first.length > 19 || from > BigInt(Number.MAX_SAFE_INTEGER) || from < nextFree) return false;
    if (last === "") return isLast;
    const to = BigInt(last);
    if (last.length > 19 || to > BigInt(Number.MAX_SAFE_INTEGER) || to < from) return false;
    nextFree = to + 1n;
    return true;
  });
}

function isDigits(text: string): boolean {
  return Array.from(text, (character) => "0123456789".includes(character)).every(Boolean);
}

function generate(random: Random): string {
  const members = Array.from({ length: 1 + random.below(random.chance(0.9) ? 5 : 20) }, (_, i) => {
    const from = i * 10 + random.below(12);
    const to = from + random.below(12) - (random.chance(0.1) ? 3 : 0);
    return random.pick([`${from}-${to}`, `${from}-${to}`, `${from}-${to}`, `${from}-`, `-${to}`, `0${from}-${to}`]);
  });
  return `${random.pick(["bytes=", "bytes=", "BYTES=", "bytes =", "items="])}${members.join(random.pick([",", ", ", " ,\t"]))}`;
}
