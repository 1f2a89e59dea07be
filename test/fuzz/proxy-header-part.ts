/** PROXY headers: total, final, and in agreement with a second, plain reader of what both versions allow. */
import { isIPv4, isIPv6 } from "node:net";
import { type ProxyHeaderReading, parseProxyHeader } from "../../src/wire/proxy-protocol.ts";
import { addresses4, addresses6, extension, proxyBlock } from "../support/proxy-header.ts";
import { isDeepStrictEqual } from "node:util";
import { type FuzzPart, hold } from "./part.ts";

const words = [
  "PROXY ",
  "TCP4 ",
  "TCP6 ",
  "UNKNOWN",
  "\r\n",
  "127.0.0.1 ",
  "::1 ",
  "65535",
  " ",
  "\r\n\r\n\0\r\nQUIT\n",
];

export function proxyHeaderPart(parse: typeof parseProxyHeader = parseProxyHeader): FuzzPart {
  return {
    name: "proxy-header",
    seeds: [
      ...["TCP4 192.0.2.7 10.0.0.1 1 2", "TCP6 2001:db8::7 ::1 1 2", "UNKNOWN"].map((text) =>
        Buffer.from(`PROXY ${text}\r\n`),
      ),
      proxyBlock(0x11, Buffer.concat([addresses4(), extension(1, Buffer.from("h2"))])),
      proxyBlock(0x21, addresses6()),
      proxyBlock(0x31, new Uint8Array(216)),
      proxyBlock(0, Buffer.from("x"), { command: 0x20 }),
    ],
    words,
    maxCpuMs: 200,
    check: (input) => {
      const reading = parse(input);
      for (const more of [Uint8Array.of(0), input, new Uint8Array(5000)]) {
        if (reading.kind === "incomplete") break;
        const longer = parse(Buffer.concat([input, more]));
        hold(isDeepStrictEqual(longer, reading), `more bytes turn ${JSON.stringify(reading)} into another answer`);
      }
      if (reading.kind === "incomplete") hold(input.length < 16 + 4096, "waits for more than any header has");
      if (reading.kind !== "header") return reading.kind === "malformed" ? reading.detail : reading.kind;
      hold(reading.length <= input.length, "a header that ends behind its bytes");
      hold(parse(input.subarray(0, reading.length - 1)).kind === "incomplete", "whole without its last byte");
      const source = sourceIn(Buffer.from(input));
      hold(source === textOf(reading), `read as ${textOf(reading)}, and it says ${source}`);
      return `header ${input[0]} ${reading.source?.family ?? "none"}`;
    },
  };
}

function textOf({ source }: Extract<ProxyHeaderReading, { kind: "header" }>): string {
  return source === undefined ? "peer" : Buffer.from(source.bytes).toString("hex");
}

/** Hex of the client's address, by hand; IPv4 in IPv6 is the former. */
function sourceIn(input: Buffer): string {
  if (input[0] === 0x50) {
    const [, protocol, source = ""] = input.subarray(0, input.indexOf("\r\n")).toString("latin1").split(" ");
    if (protocol === "UNKNOWN") return "peer";
    hold(protocol === "TCP4" ? isIPv4(source) : isIPv6(source), `${source} is no address of ${protocol}`);
    return protocol === "TCP4" ? hexOf4(source) : unmapped(hexOf6(source));
  }
  if (input[12] !== 0x21) return "peer";
  if (input[13] === 0x11) return input.subarray(16, 20).toString("hex");
  return input[13] === 0x21 ? unmapped(input.subarray(16, 32).toString("hex")) : "peer";
}

function hexOf4(text: string): string {
  return Buffer.from(text.split(".").map(Number)).toString("hex");
}

function hexOf6(text: string): string {
  const tail = /(\d+\.){3}\d+$/.exec(text)?.[0];
  const plain =
    tail === undefined
      ? text.toLowerCase()
      : text.slice(0, -tail.length).toLowerCase() + hexOf4(tail).replace(/^.{4}/, "$&:");
  const [left = "", right] = plain.split("::");
  const groups = (part: string): string[] =>
    (part === "" ? [] : part.split(":")).map((group) => group.padStart(4, "0"));
  if (right === undefined) return groups(left).join("");
  return (
    groups(left)
      .join("")
      .padEnd(32 - groups(right).length * 4, "0") + groups(right).join("")
  );
}

function unmapped(hex: string): string {
  return hex.startsWith(`${"0".repeat(20)}ffff`) ? hex.slice(24) : hex;
}
