/**
 * The head of a plain HTTP request, WebSocket handshakes included, up to the decision: read, aimed, judged, recorded.
 * Nothing has left the proxy when it returns.
 */
import { type Authority, formatAuthority, parseAuthority } from "../names/authority.ts";
import { sameHost } from "../names/hostname.ts";
import type { RequestFacts } from "../policy/decide.ts";
import { denyAddress } from "../policy/decide-hello.ts";
import type { Allow } from "../policy/verdict.ts";
import { type RawFields, fieldValues, forwardedRequestFields, namesInVia } from "../wire/fields.ts";
import { parseRange } from "../wire/range.ts";
import type { Failure, Malformation, Outcome, Refusal } from "../wire/refusal.ts";
import type { Framing, HeadReading, RequestHead } from "../wire/request-head.ts";
import { parseRedirectedTarget, parseRequestTarget } from "../wire/request-target.ts";
import { type Connection, isAdmitted } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { type OpenExchange, denyOutright } from "./exchange.ts";
import { judgeTarget } from "./judge.ts";
import type { Reached } from "./reach.ts";
import { refusalOfDenial, refusalOfFailure, refusalOfMalformed } from "./refuse.ts";
import { type Passage, absoluteForm, parentFields, passageFor } from "./through-parent.ts";

/** What is to be told to the client in place of an answer; `outcome` is set where policy allowed the request. */
export type Refused = { readonly kind: "refused"; readonly refusal: Refusal; readonly outcome: Outcome | undefined };

/** An allowed request, and the head that goes to the origin. */
export type Admitted = {
  readonly kind: "admitted";
  readonly allow: Allow;
  readonly target: Authority;
  /** What was judged. */
  readonly asked: RequestFacts;
  /** Origin form, byte for byte as the client sent it; behind the target's authority where a parent is asked. */
  readonly path: string;
  /** The Host field for the origin. */
  readonly host: string;
  /** End-to-end fields with our Via, without Host, Content-Length and Expect; our credentials for a parent that is asked. */
  readonly fields: RawFields;
  /** The parent proxy that the request goes to, or a WebSocket through. */
  readonly passage: Passage | undefined;
  readonly framing: Framing;
  /** OPTIONS with `Max-Forwards: 0`: this proxy is the recipient (RFC 9110 section 7.6.2). */
  readonly isForProxy: boolean;
};

const httpPort = 80;

/** Judges a head that has been read, and notes everything in the exchange. */
export function admitRequest(
  context: IngressContext,
  connection: Connection,
  exchange: OpenExchange,
  head: RequestHead,
  reading: HeadReading,
  websocket: boolean,
): Admitted | Refused {
  const { event, ruleset } = exchange;
  const { method, rawFields, httpVersion } = head;
  const malformed = (how: Malformation, detail: string): Refused => {
    exchange.note(denyOutright("bad_request"));
    return { kind: "refused", refusal: refusalOfMalformed(how, detail, event), outcome: undefined };
  };

  if (reading.kind === "malformed") {
    if (reading.problem === "too_many_fields") context.metrics.limitRejected("fields");
    return malformed(reading.problem, reading.detail);
  }
  const { redirectedPort } = connection;
  const target =
    redirectedPort === undefined
      ? parseRequestTarget(method, head.url)
      : parseRedirectedTarget(method, head.url, reading.host, redirectedPort);
  if (target.kind === "malformed") return malformed("bad_request", `the request target ${target.detail}`);
  const { authority, path } = target;
  exchange.aim(authority);
  event.path = path;
  const named = reading.host === undefined ? authority : parseAuthority(reading.host, redirectedPort ?? httpPort);
  if (named === undefined) return malformed("bad_request", "the Host field is malformed");
  const hops = maxForwards(method, rawFields);
  if (hops === "malformed") return malformed("bad_request", "Max-Forwards is no number");
  const ranges = fieldValues(rawFields, "range");
  event.range = ranges.length === 0 ? undefined : ranges.join(", ");
  const range = parseRange(ranges).kind;
  event.rangeKind = range;
  const asked: RequestFacts = {
    kind: "http",
    ...authority,
    hostAgrees: sameHost(named.host, authority.host) && named.port === authority.port,
    listenerAdmits: isAdmitted(connection, ruleset),
    http: { method, path, range, websocket },
  };
  const verdict = judgeTarget(context, connection, ruleset, asked);
  exchange.note(verdict);
  if (verdict.kind === "deny") {
    return { kind: "refused", refusal: refusalOfDenial(verdict, event), outcome: undefined };
  }
  if (namesInVia(rawFields, context.via)) {
    return failed(exchange, "proxy_loop_detected", "this proxy stands in Via already");
  }
  const stripRange = verdict.rule?.rule.range === "strip";
  if (range !== "none" && stripRange) event.rangeKind = "stripped";
  const via = `${httpVersion} ${context.via}`;
  const passage = passageFor(context.settings.parents, authority, head);
  const isAsked = passage !== undefined && !websocket;
  const maxForwarded = hops === undefined ? undefined : hops - 1;
  const fields = forwardedRequestFields(rawFields, { stripRange, via, maxForwards: maxForwarded });
  return {
    kind: "admitted",
    allow: verdict,
    target: authority,
    asked,
    path: isAsked ? absoluteForm(authority, path) : path,
    host: formatAuthority(authority, httpPort),
    fields: isAsked ? [...fields, ...parentFields(passage)] : fields,
    passage,
    framing: reading.framing,
    isForProxy: hops === 0,
  };
}

/** Notes where the permit of an admitted request led: what was opened, or what the client is told instead. */
export function admitReached<Opened>(exchange: OpenExchange, allow: Allow, reached: Reached<Opened>): Opened | Refused {
  const { event } = exchange;
  switch (reached.kind) {
    case "failed":
      return failed(exchange, reached.failure, reached.detail);
    case "denied": {
      const denial = denyAddress(allow);
      exchange.note(denial);
      return { kind: "refused", refusal: refusalOfDenial(denial, event), outcome: undefined };
    }
    case "connected":
      exchange.conclude();
      event.dialMs = reached.dialMs;
      event.upstream = reached.destination.address;
      event.upstreamPort = reached.destination.port;
      return reached.opened;
  }
}

function failed({ event }: OpenExchange, failure: Failure, detail: string): Refused {
  return { kind: "refused", refusal: refusalOfFailure(failure, detail, event), outcome: failure };
}

/** Max-Forwards counts for TRACE, which no policy lets in, and OPTIONS; elsewhere it is a field like any other. */
function maxForwards(method: string, fields: RawFields): number | "malformed" | undefined {
  const [value, more] = fieldValues(fields, "max-forwards");
  if (value === undefined || method !== "OPTIONS") return undefined;
  return more === undefined && /^\d{1,9}$/.test(value) ? Number(value) : "malformed";
}
