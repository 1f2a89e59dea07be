/** What may reach an origin, and as what: the model that the differential fuzzing holds a real process against. */
import { isValidRange } from "./range-part.ts";
import { type Head, type RequestReading, membersOf, readRequest, valuesOf } from "./strict-http.ts";

/** The policy that the process runs with. All names lead to the recording origin. */
export const policy = {
  rules: [
    {
      id: "plain",
      hosts: ["plain.example.com", "second.example.com"],
      expect: "http",
      methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"],
      range: "allow",
    },
    { id: "strip", hosts: ["strip.example.com"], expect: "http", range: "strip" },
    { id: "get-only", hosts: ["get-only.example.com"], expect: "http", methods: ["GET"] },
    { id: "denied", hosts: ["denied.example.com"], action: "deny" },
  ],
};

/** A request as its origin is to see it. */
export type Forwarded = {
  readonly method: string;
  readonly path: string;
  readonly host: string;
  /** End-to-end fields but Host, Content-Length, Expect and Via: values by name in lower case. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly via: readonly string[];
  readonly framing: Head["framing"];
  readonly body: Buffer;
  /**
   * Broken is a body that ends early or is none: the origin may see a part of it, and never its end. With trailers a
   * body may be either: Node refuses some of them.
   */
  readonly ending: "whole" | "broken" | "either";
};

export type Expected = {
  /** Those that may be forwarded, in the order they were sent. */
  readonly forwarded: readonly Forwarded[];
  /** Requests that a strict reader finds, refused ones included. */
  readonly found: number;
  /** What is behind them: nothing, the beginning of another request, or what is none. */
  readonly rest: "nothing" | "incomplete" | "malformed";
  /** Every request may be forwarded and none ends its connection, so that all of them have to arrive. */
  readonly isPlain: boolean;
};

/** What a client's bytes may lead to at the most. */
export function expectedOf(bytes: Buffer): Expected {
  const forwarded: Forwarded[] = [];
  let isPlain = true;
  let found = 0;
  let at = 0;
  for (;;) {
    const reading = readRequest(bytes, at);
    const one = reading.head === undefined ? undefined : forwardedOf(reading.head, reading);
    if (one !== undefined) forwarded.push(one);
    if (reading.kind !== "request") {
      const isOver = bytes.subarray(at).every((byte) => byte === 0x0d || byte === 0x0a);
      return { forwarded, found, rest: isOver ? "nothing" : reading.kind, isPlain: isPlain && isOver };
    }
    found += 1;
    const isLast = membersOf(reading.head.fields, "connection").includes("close") || reading.head.version === "1.0";
    isPlain &&= one !== undefined && !isLast && !reading.hasTrailers && isUnremarkable(reading.head);
    // Whatever stands behind a tunnel or the last request of a connection is no request any more.
    if (reading.head.method === "CONNECT" || isLast) return { forwarded, found, rest: "nothing", isPlain };
    at = reading.end;
  }
}

const ruleOf = (host: string): (typeof policy.rules)[number] | undefined =>
  policy.rules.find((rule) => rule.hosts.includes(host) && rule.action === undefined);

/** Undefined where the policy or the form of the request forbids to send any of it. */
function forwardedOf(head: Head, reading: RequestReading): Forwarded | undefined {
  const { method, version, fields, framing } = head;
  const target = /^http:\/\/([^/?]*)([/?].*)?$/i.exec(head.target);
  const host = canonical(target?.[1] ?? "");
  const rule = ruleOf(host);
  const path = pathOf(method, target?.[2] ?? "");
  if (rule === undefined || path === undefined) return undefined;
  const methods: readonly string[] = rule.methods ?? ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
  if (!methods.includes(method)) return undefined;
  const named = valuesOf(fields, "host");
  if (named.length > 1 || (named.length === 0 && version === "1.1")) return undefined;
  if (named.length === 1 && canonical(named[0] ?? "") !== host) return undefined;
  if (framing === "chunked" && version === "1.0") return undefined;
  const length = Number(valuesOf(fields, "content-length")[0] ?? "0");
  if (length >= 1e15) return undefined;
  const hasBody = framing === "chunked" || length > 0;
  if (valuesOf(fields, "upgrade").length > 0 && hasBody) return undefined;
  if (membersOf(fields, "expect").some((value) => value !== "100-continue")) return undefined;
  const ranges = valuesOf(fields, "range");
  if (ranges.length > 0 && rule.range !== "strip" && (rule.range !== "allow" || !isValidRange(ranges)))
    return undefined;
  const hops = method === "OPTIONS" ? valuesOf(fields, "max-forwards") : [];
  if (hops.length > 1 || hops.some((value) => !/^\d{1,9}$/.test(value) || Number(value) === 0)) return undefined;
  return {
    method,
    path,
    host,
    fields: endToEnd(head, rule.range === "strip", hops[0]),
    via: valuesOf(fields, "via"),
    framing: hasBody ? framing : "none",
    body: reading.body,
    ending: reading.kind !== "request" ? "broken" : reading.hasTrailers ? "either" : "whole",
  };
}

function canonical(authority: string): string {
  return authority
    .replace(/:80$/, "")
    .replace(/\.$/, "")
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function pathOf(method: string, given: string): string | undefined {
  if (!/^[\x21\x22\x24-\x7e]*$/.test(given)) return undefined;
  if (given === "") return method === "OPTIONS" ? "*" : "/";
  return given.startsWith("/") ? given : `/${given}`;
}

const oneHop = [
  "connection",
  "proxy-connection",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-authentication-info",
  "request-range",
];
const remade = ["host", "content-length", "expect", "via"];

function endToEnd(
  { fields }: Head,
  stripsRange: boolean,
  hops: string | undefined,
): ReadonlyMap<string, readonly string[]> {
  const left = new Set([...oneHop, ...remade, ...membersOf(fields, "connection")]);
  if (stripsRange) for (const name of ["range", "if-range"]) left.add(name);
  const kept = new Map<string, string[]>();
  for (const [name, value] of fields) {
    const folded = name.toLowerCase();
    if (left.has(folded)) continue;
    const decremented = folded === "max-forwards" && hops !== undefined ? String(Number(hops) - 1) : value;
    kept.set(folded, [...(kept.get(folded) ?? []), decremented]);
  }
  return kept;
}

/** Not one of those that the proxy may refuse for what the model leaves to it. */
function isUnremarkable({ fields, target }: Head): boolean {
  const odd = ["upgrade", "expect", "via", "max-forwards", "range"];
  return fields.length < 100 && target.length < 4000 && odd.every((name) => valuesOf(fields, name).length === 0);
}
