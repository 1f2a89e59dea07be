/**
 * Header fields between two hops. Lists are Node's raw ones, `[name, value, name, value, …]`, latin1 and in the order
 * of the wire: the merged `headers` object drops duplicates, and what was dropped cannot be judged.
 */

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
const regeneratedInRequests: ReadonlySet<string> = new Set(["host", "content-length", "expect"]);

/** All values of a field, in order. */
export function fieldValues(fields: RawFields, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() === name) values.push(fields[i + 1] ?? "");
  }
  return values;
}

/** Members of a comma-separated field over all its lines, trimmed and in lower case. */
export function fieldTokens(fields: RawFields, name: string): string[] {
  return fieldValues(fields, name)
    .flatMap((value) => value.split(","))
    .map((token) => token.trim().toLowerCase())
    .filter((token) => token !== "");
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
  const nominated = new Set(fieldTokens(fields, "connection"));
  const kept: string[] = [];
  eachField(fields, (name, value, folded) => {
    if (hopByHop.has(folded) || regeneratedInRequests.has(folded) || nominated.has(folded)) return;
    if (folded === "request-range") return;
    if (stripRange && (folded === "range" || folded === "if-range")) return;
    if (maxForwards !== undefined && folded === "max-forwards") return;
    kept.push(name, value);
  });
  if (maxForwards !== undefined) kept.push("Max-Forwards", String(maxForwards));
  kept.push("Via", via);
  return kept;
}

/** The fields of a response that go on to the client: values byte for byte, Via appended. */
export function forwardedResponseFields(fields: RawFields, via: string): RawFields {
  const nominated = new Set(fieldTokens(fields, "connection"));
  const kept: string[] = [];
  eachField(fields, (name, value, folded) => {
    if (hopByHop.has(folded) || (nominated.has(folded) && folded !== "content-length")) return;
    kept.push(name, value);
  });
  kept.push("Via", via);
  return kept;
}

/** True when a Via field names this pseudonym as a recipient: the request has been here before. */
export function namesInVia(fields: RawFields, pseudonym: string): boolean {
  const own = pseudonym.toLowerCase();
  return fieldTokens(fields, "via").some((hop) => hop.split(/[ \t]+/)[1] === own);
}

function eachField(fields: RawFields, visit: (name: string, value: string, folded: string) => void): void {
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    visit(name, fields[i + 1] ?? "", name.toLowerCase());
  }
}
