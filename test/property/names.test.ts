/** Properties of names and patterns, held against oracles that are too simple to be wrong. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressOfBytes, cidrContains, parseAddress, parseCidr } from "../../src/names/address.ts";
import { formatAuthority, parseAuthority } from "../../src/names/authority.ts";
import { formatHost, parseHost, parseHostname } from "../../src/names/hostname.ts";
import { expandBraces } from "../../src/policy/glob.ts";
import { parsePattern } from "../../src/policy/pattern.ts";
import { compilePaths } from "../../src/policy/path.ts";

const runs = { numRuns: 300 };
const hostCharacters = "abcxyzABZ0189-_...";
const looseText = fc.string({ unit: anyOf(`${hostCharacters}*?{},[]:%/ é`), maxLength: 24 });
const label = fc.string({ unit: anyOf("ab0-_"), minLength: 1, maxLength: 4 });
const hostname = fc
  .tuple(fc.array(label, { maxLength: 5 }), fc.constantFrom("com", "corp", "co.uk", "example.com", "x"))
  .map(([labels, top]) => [...labels, top].join("."));
const bytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc.array(fc.constantFrom(0, 0, 0, 255, 1), { minLength: 16, maxLength: 16 }).map((list) => Uint8Array.from(list)),
);

describe("canonical spellings", () => {
  test("parsing a host twice is parsing it once", () => {
    const text = fc.oneof(hostname, fc.string({ unit: anyOf(hostCharacters), maxLength: 16 }), looseText);
    fc.assert(
      fc.property(text, (written) => {
        const host = parseHost(written);
        if (host === undefined) return;
        expect(parseHost(formatHost(host))).toEqual(host);
        expect(formatHost(host)).toMatch(/^([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])$/);
      }),
      runs,
    );
  });

  test("case and one trailing dot make no difference to a name", () => {
    fc.assert(
      fc.property(hostname, (name) => {
        expect(parseHostname(name)).toBe(name);
        expect(parseHostname(`${name.toUpperCase()}.`)).toBe(name);
        expect(parseHostname(`${name}..`)).toBeUndefined();
      }),
      runs,
    );
  });

  test("what URL takes for the same name, we do, or call it malformed", () => {
    const text = fc.oneof(
      hostname,
      looseText.filter((written) => !/[*?{}[\]:%/ é]/.test(written)),
    );
    fc.assert(
      fc.property(text, (written) => {
        const host = parseHost(written);
        if (host === undefined) return;
        expect(new URL(`http://${written}/`).hostname.replace(/\.$/, "")).toBe(formatHost(host));
      }),
      runs,
    );
  });

  test("an address survives being written, and URL writes it likewise", () => {
    fc.assert(
      fc.property(bytes, (list) => {
        const address = addressOfBytes(list);
        expect(parseAddress(address.text)).toEqual(address);
        const host = formatHost({ kind: "address", address });
        expect(new URL(`http://${host}/`).hostname).toBe(host);
      }),
      runs,
    );
  });

  test("an authority survives being written", () => {
    fc.assert(
      fc.property(hostname, bytes, fc.integer({ min: 1, max: 65535 }), (name, list, port) => {
        const address = formatHost({ kind: "address", address: addressOfBytes(list) });
        for (const host of [name, address]) {
          const authority = parseAuthority(`${host}:${port}`);
          expect(authority?.port).toBe(port);
          if (authority !== undefined) expect(formatAuthority(authority)).toBe(`${host}:${port}`);
        }
      }),
      runs,
    );
  });

  test("a block holds the addresses whose first bits are its own", () => {
    const binary = (list: Uint8Array) => [...list].map((byte) => byte.toString(2).padStart(8, "0")).join("");
    fc.assert(
      fc.property(bytes, bytes, fc.nat(128), (first, second, bits) => {
        const base = addressOfBytes(first);
        const prefix = bits % (base.bytes.length * 8 + 1);
        const kept = `${binary(base.bytes).slice(0, prefix)}${"0".repeat(base.bytes.length * 8 - prefix)}`;
        const start = addressOfBytes(Uint8Array.from(kept.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2)));
        fc.pre(start.family === base.family);
        const cidr = parseCidr(`${start.text}/${prefix}`);
        if ("problem" in cidr) throw new Error(cidr.problem);
        expect(cidrContains(cidr, base)).toBe(true);
        const other = addressOfBytes(second);
        const inside = other.family === base.family && binary(other.bytes).startsWith(kept.slice(0, prefix));
        expect(cidrContains(cidr, other)).toBe(inside);
      }),
      runs,
    );
  });
});

describe("patterns", () => {
  const spelling = fc.oneof(
    looseText,
    looseText.map((text) => `glob:${text}.example.com`),
    hostname.map((name) => ` HTTPS://*.${name.toUpperCase()}./`),
    hostname.map((name) => `**.${name}`),
    hostname.map((name) => `*${name}:8443`),
  );

  test("a reading never fails, and what it writes is read as itself", () => {
    fc.assert(
      fc.property(fc.oneof(spelling, fc.string({ unit: "binary", maxLength: 20 })), fc.boolean(), (text, shared) => {
        const reading = parsePattern(text, shared);
        if (reading.kind === "problem") {
          if (reading.instead === undefined) return;
          expect(parsePattern(reading.instead, shared)).toMatchObject({ kind: "patterns", rewritten: undefined });
          return;
        }
        for (const pattern of reading.patterns) {
          expect(JSON.stringify(parsePattern(pattern.text, shared))).toBe(
            JSON.stringify({ kind: "patterns", patterns: [pattern], rewritten: undefined }),
          );
        }
        if (reading.rewritten === undefined) return;
        const again = parsePattern(reading.rewritten, shared);
        expect(JSON.stringify(again)).toBe(JSON.stringify({ ...reading, rewritten: undefined }));
      }),
      { numRuns: 1000 },
    );
  });

  test("a canonical name is its own pattern", () => {
    fc.assert(
      fc.property(hostname, (name) => {
        const patterns = [{ kind: "exact", text: name }];
        expect(parsePattern(name, false)).toEqual({ kind: "patterns", patterns, rewritten: undefined });
      }),
      runs,
    );
  });

  test("a glob covers what a search over all ways to cut the name finds", () => {
    const part = fc.constantFrom("*", "?", "**", "a", "b", "a*", "*b", "a*b", "*a*", "?b", "ab");
    const glob = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("."));
    const name = fc.array(fc.constantFrom("a", "b", "ab", "aab", "abb", "ba"), { maxLength: 5 });
    fc.assert(
      fc.property(glob, name, (text, labels) => {
        const reading = parsePattern(`glob:${text}.x.corp`, false);
        fc.pre(reading.kind === "patterns");
        const [pattern] = reading.patterns;
        fc.pre(pattern?.kind === "glob");
        const found = coversLabels(`${text}.x.corp`.split("."), [...labels, "x", "corp"]);
        expect(pattern.matches([...labels, "x", "corp"].join("."))).toBe(found);
        expect(pattern.matches([...labels, "xx", "corp"].join("."))).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });

  test("braces expand to what a naive expansion gives", () => {
    const tree: fc.Arbitrary<string> = fc.letrec<{ text: string }>((tie) => ({
      text: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom("a", "b.c", "*", "0-1"),
        fc.array(tie("text"), { minLength: 2, maxLength: 3 }).map((parts) => `{${parts.join(",")}}`),
        fc.array(tie("text"), { minLength: 1, maxLength: 2 }).map((parts) => parts.join("")),
      ),
    })).text;
    fc.assert(
      fc.property(tree, (text) => {
        const expected = [...new Set(naiveExpansion(text))];
        const expanded = expandBraces(text);
        if ("problem" in expanded) expect(naiveExpansion(text).length).toBeGreaterThan(256);
        else expect([...expanded].sort()).toEqual(expected.sort());
      }),
      runs,
    );
  });

  test("a path glob never covers a path that leaves its literal prefix", () => {
    const segment = fc.constantFrom("a", "..", ".", "%2e%2e", "%2F", "", "b", "..;", "%252e", "a%5c..");
    const matcher = compilePaths(["/a/**", "/a/*/b"]);
    if ("problem" in matcher) throw new Error(matcher.problem);
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 6 }), (segments) => {
        const path = `/${segments.join("/")}`;
        if (matcher.judge(path) !== "match") return;
        for (const read of [path, decodeURIComponent(path), decodeURIComponent(decodeURIComponent(path))]) {
          expect(new URL(read, "http://a.example").pathname).toMatch(/^\/a(\/|$)/);
        }
      }),
      runs,
    );
  });
});

function anyOf(characters: string): fc.Arbitrary<string> {
  return fc.constantFrom(...characters.split(""));
}

function coversLabels(glob: readonly string[], labels: readonly string[]): boolean {
  const [first, ...rest] = glob;
  if (first === undefined) return labels.length === 0;
  if (first === "**") return labels.some((_, i) => coversLabels(rest, labels.slice(i))) || coversLabels(rest, []);
  const [label, ...others] = labels;
  return label !== undefined && coversText(first, label) && coversLabels(rest, others);
}

/** A whole label is at least one character, whatever its stars stand for. */
function coversText(glob: string, text: string): boolean {
  if (glob === "") return text === "";
  if (glob[0] === "*") return coversText(glob.slice(1), text) || (text !== "" && coversText(glob, text.slice(1)));
  return text !== "" && (glob[0] === "?" || glob[0] === text[0]) && coversText(glob.slice(1), text.slice(1));
}

/** Replaces the innermost braces, one at a time. */
function naiveExpansion(text: string): string[] {
  const innermost = /\{([^{}]*)\}/.exec(text);
  if (innermost === null) return text.split("\n");
  const [whole, inside = ""] = innermost;
  const before = text.slice(0, innermost.index);
  const after = text.slice(innermost.index + whole.length);
  return inside.split(",").flatMap((value) => naiveExpansion(`${before}${value}${after}`));
}
