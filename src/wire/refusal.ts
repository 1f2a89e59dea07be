/** What a client is told when it gets no answer from upstream: one table from cause to status (interface.md, "Refusals"). */
import { responseHeadBytes } from "./response-head-bytes.ts";

/** Causes that are no denial of the policy. The words of RFC 9209 section 2.3 are used where they exist. */
export type Failure = keyof typeof failures;

/** How an exchange ended that policy allowed. */
export type Outcome = "ok" | Failure | "client_aborted" | "idle_timeout" | "http_response_incomplete";

type Row = { readonly status: number; readonly error: string };

const failures = {
  dns_error: { status: 502, error: "dns_error" },
  dns_timeout: { status: 504, error: "dns_timeout" },
  connection_refused: { status: 502, error: "connection_refused" },
  destination_ip_unroutable: { status: 502, error: "destination_ip_unroutable" },
  connection_timeout: { status: 504, error: "connection_timeout" },
  connection_terminated: { status: 502, error: "connection_terminated" },
  http_response_timeout: { status: 504, error: "http_response_timeout" },
  http_protocol_error: { status: 502, error: "http_protocol_error" },
  http_response_header_section_size: { status: 502, error: "http_response_header_section_size" },
  /** A parent proxy said no. */
  http_request_denied: { status: 502, error: "http_request_denied" },
  http_upgrade_failed: { status: 502, error: "http_upgrade_failed" },
  proxy_loop_detected: { status: 502, error: "proxy_loop_detected" },
  connection_limit_reached: { status: 503, error: "connection_limit_reached" },
  proxy_internal_error: { status: 500, error: "proxy_internal_error" },
} as const satisfies Record<string, Row>;

/** All failures, for metrics that must exist from the start. */
export const failureWords: readonly Failure[] = Object.keys(failures).filter(
  (word): word is Failure => word in failures,
);

/** Rows for malformed requests: the reason is always `bad_request`, the status says how. */
const malformed = {
  bad_request: 400,
  head_timeout: 408,
  expectation_failed: 417,
  too_many_fields: 431,
  head_too_large: 431,
  coding_unknown: 501,
  version_unsupported: 505,
} as const;
export type Malformation = keyof typeof malformed;

/** One refusal, ready to be written. */
export type Refusal = {
  readonly status: number;
  /** Type of the Proxy-Status error (RFC 9209). */
  readonly error: string;
  /** Set for denials: a reason of the closed list. */
  readonly reason: string | undefined;
  /** Set for denials, `7F3KQ-2MX9A`. */
  readonly denial: string | undefined;
  /** Sentences for a person, the request first. */
  readonly lines: readonly string[];
};

/** How much a refusal says (`denials.explain`). */
export type ExplainLevel = "full" | "id" | "none";

/** A failure of ours or of the other side. */
export function refuseFailure(failure: Failure, lines: readonly string[]): Refusal {
  return { ...failures[failure], reason: undefined, denial: undefined, lines };
}

/** A request that cannot be read. */
export function refuseMalformed(how: Malformation, denial: string, lines: readonly string[]): Refusal {
  return { status: malformed[how], error: "http_request_error", reason: "bad_request", denial, lines };
}

/** A denial of the policy. */
export function refuseDenial(reason: string, denial: string, lines: readonly string[]): Refusal {
  return { ...rowOfReason(reason), reason, denial, lines };
}

/** Status and Proxy-Status error of a denial before any tunnel is open. */
export function rowOfReason(reason: string): Row {
  switch (reason) {
    case "bad_request":
      return { status: 400, error: "http_request_error" };
    case "limit_exceeded":
      return { status: 503, error: "connection_limit_reached" };
    case "auth_required":
      return { status: 407, error: "http_request_denied" };
    case "address_denied":
      return { status: 403, error: "destination_ip_prohibited" };
    default:
      return { status: 403, error: "http_request_denied" };
  }
}

/** A refusal as it goes on the wire. `fields` is `[name, value, …]`, complete and without Date. */
export type RefusalMessage = {
  readonly status: number;
  readonly reasonPhrase: string;
  readonly fields: readonly string[];
  readonly body: Buffer;
};

const retryAfterSeconds = "5";

/** Writes a refusal for one client: as JSON where its Accept prefers that, and saying as much as `explain` lets it. */
export function renderRefusal(refusal: Refusal, accept: string | undefined, explain: ExplainLevel): RefusalMessage {
  const json = prefersJson(accept?.toLowerCase());
  const body = Buffer.from(json ? jsonBody(refusal, explain) : textBody(refusal, explain), "utf8");
  const fields = [
    "Content-Type",
    json ? "application/json" : "text/plain; charset=utf-8",
    "Content-Length",
    String(body.length),
    "Cache-Control",
    "no-store",
    "Proxy-Status",
    proxyStatus(refusal, explain),
  ];
  if (refusal.reason !== undefined && explain === "full") fields.push("X-Sallyport-Reason", refusal.reason);
  if (refusal.denial !== undefined && explain !== "none") fields.push("X-Sallyport-Denial", refusal.denial);
  if (refusal.status === 503) fields.push("Retry-After", retryAfterSeconds);
  if (refusal.status === 407) fields.push("Proxy-Authenticate", 'Basic realm="sallyport", charset="UTF-8"');
  fields.push("Connection", "close");
  return { status: refusal.status, reasonPhrase: reasonPhrase(refusal, explain), fields, body };
}

/** The whole message as bytes, for sockets that no HTTP server writes to any more. */
export function refusalBytes({ status, reasonPhrase: phrase, fields, body }: RefusalMessage): Buffer {
  return Buffer.concat([responseHeadBytes(status, phrase, fields), body]);
}

/** Clients show nothing else of a failed CONNECT, so the cause stands here. */
function reasonPhrase({ status, error, reason, denial }: Refusal, explain: ExplainLevel): string {
  if (explain === "none") return plainPhrase(status);
  if (reason === undefined || denial === undefined)
    return explain === "full" ? `Failed: ${error}` : plainPhrase(status);
  return explain === "full" ? `Denied: ${reason} ${denial}` : `Denied: ${denial}`;
}

function plainPhrase(status: number): string {
  if (status === 403) return "Forbidden";
  if (status === 407) return "Proxy Authentication Required";
  if (status === 503) return "Service Unavailable";
  return status >= 500 ? "Proxy Failure" : "Bad Request";
}

function proxyStatus({ error, reason, denial }: Refusal, explain: ExplainLevel): string {
  const head = `sallyport; error=${error}`;
  if (reason === undefined || denial === undefined || explain === "none") return head;
  return explain === "full" ? `${head}; details="${reason}; id=${denial}"` : `${head}; details="id=${denial}"`;
}

function textBody({ lines, denial, error }: Refusal, explain: ExplainLevel): string {
  if (explain === "full") return `${lines.join("\n")}\n`;
  if (explain === "none") return "Refused by the proxy.\n";
  return denial === undefined ? `Refused by the proxy: ${error}.\n` : `Refused by the proxy: ${denial}.\n`;
}

function jsonBody({ status, error, reason, denial, lines }: Refusal, explain: ExplainLevel): string {
  if (explain === "none") return `${JSON.stringify({ status, error })}\n`;
  if (explain === "id") return `${JSON.stringify({ status, error, denial })}\n`;
  return `${JSON.stringify({ status, error, reason, denial, message: lines.join("\n") })}\n`;
}

/** True when, in lower case, application/json stands before text/plain, or weighs more (RFC 9110 section 12.5.1). */
function prefersJson(accept: string | undefined): boolean {
  if (accept === undefined) return false;
  let json = 0;
  let text = 0;
  for (const part of accept.split(",")) {
    const [type = "", ...parameters] = part.split(";").map((piece) => piece.trim());
    const weight = Number(parameters.find((p) => p.startsWith("q="))?.slice(2) ?? "1");
    if (Number.isNaN(weight)) continue;
    if (type === "application/json" || type === "application/problem+json") json = Math.max(json, weight);
    else if (type === "text/plain" || type === "text/*" || type === "text/html" || type === "*/*")
      text = Math.max(text, weight);
  }
  return json > 0 && (json > text || (json === text && accept.indexOf("json") < firstText(accept)));
}

function firstText(accept: string): number {
  const at = accept.search(/text\/|\*\/\*/);
  return at < 0 ? accept.length : at;
}
