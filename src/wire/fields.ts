/**
 * Header fields between two hops. Lists are Node's raw ones, `[name, value, name, value, …]`, latin1 and in the order
 * of the wire: the merged `headers` object drops duplicates, and what was dropped cannot be judged.
 */

import { foldName } from "./field-names.ts";

export type RawFields = readonly string[];

/** Fields that belong to one hop (RFC 9110 section 7.6.1), and those that this hop makes itself. */
const hopByHop: ReadonlySet<string> = new Set([
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
]);

/** Regenerated, whatever came: naming one of them in Connection removes nothing that we rely on. */
const regeneratedInRequests = ["host", "content-length", "expect"];

/** An ancient Range, which no policy judges, goes with them. */
const leftOutOfRequests: ReadonlySet<string> = new Set([...hopByHop, ...regeneratedInRequests, "request-range"]);

/** All values of a field, in order. */
export function fieldValues(fields: RawFields, name: string): readonly string[] {
  let values: string[] | undefined;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (isNamed(fields[i], name)) (values ??= []).push(fields[i + 1] ?? "");
  }
  return values ?? none;
}

/** True where there is such a field. */
export function hasField(fields: RawFields, name: string): boolean {
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (isNamed(fields[i], name)) return true;
  }
  return false;
}

/** Members of a comma-separated field over all its lines, trimmed and in lower case. */
export function fieldTokens(fields: RawFields, name: string): readonly string[] {
  const values = fieldValues(fields, name);
  const [first] = values;
  if (first === undefined) return none;
  // The usual: one word.
  if (values.length === 1 && first !== "" && !first.includes(",")) {
    const token = first.trim().toLowerCase();
    return token === "" ? none : [token];
  }
  return values
    .flatMap((value) => value.split(","))
    .map((token) => token.trim().toLowerCase())
    .filter((token) => token !== "");
}

const none: readonly string[] = Object.freeze([]);

/** `name` is in lower case. Most names differ in their length already. */
function isNamed(field: string | undefined, name: string): boolean {
  return field !== undefined && field.length === name.length && (field === name || field.toLowerCase() === name);
}

export type RequestForwarding = {
  readonly stripRange: boolean;
  readonly via: string;
  /** Stands in for the Max-Forwards that came; undefined leaves it as it is. */
  readonly maxForwards: number | undefined;
};

/**
 * The fields of a request that go on to the origin: without hop-by-hop fields and those that Connection nominates,
 * without `Request-Range` (an ancient Range that no policy judges), with our Via appended (RFC 9110 section 7.6.3).
 * Host, Content-Length and Expect are left out: the caller makes them.
 */
export function forwardedRequestFields(
  fields: RawFields,
  { stripRange, via, maxForwards }: RequestForwarding,
): RawFields {
  const nominated = fieldTokens(fields, "connection");
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const folded = foldName(name);
    if (leftOutOfRequests.has(folded) || nominated.includes(folded)) continue;
    if (stripRange && (folded === "range" || folded === "if-range")) continue;
    if (maxForwards !== undefined && folded === "max-forwards") continue;
    kept.push(name, fields[i + 1] ?? "");
  }
  if (maxForwards !== undefined) kept.push("Max-Forwards", String(maxForwards));
  kept.push("Via", via);
  return kept;
}

/** The fields of a response that go on to the client: values byte for byte, Via appended. */
export function forwardedResponseFields(fields: RawFields, via: string): string[] {
  const nominated = fieldTokens(fields, "connection");
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const folded = foldName(name);
    if (hopByHop.has(folded) || (folded !== "content-length" && nominated.includes(folded))) continue;
    kept.push(name, fields[i + 1] ?? "");
  }
  kept.push("Via", via);
  return kept;
}

/** True when a Via field names this pseudonym as a recipient: the request has been here before. */
export function namesInVia(fields: RawFields, pseudonym: string): boolean {
  const own = pseudonym.toLowerCase();
  return fieldTokens(fields, "via").some((hop) => hop.split(/[ \t]+/)[1] === own);
}
