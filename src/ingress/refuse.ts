/** Tells a client no, on a socket that is ours alone (CONNECT, upgrades, broken heads) or through a response. */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { explainDenial } from "../policy/explain.ts";
import type { Denial } from "../policy/verdict.ts";
import type { Exchange } from "../record/event.ts";
import { fieldValues } from "../wire/fields.ts";
import {
  type Failure,
  type Malformation,
  type Refusal,
  refuseDenial,
  refuseFailure,
  refuseMalformed,
  refusalBytes,
  renderRefusal,
} from "../wire/refusal.ts";
import type { RequestHead } from "../wire/request-head.ts";
import type { Connection } from "./connection.ts";
import type { IngressContext } from "./context.ts";
import { endLastResponse } from "./last-response.ts";
import { endAndLinger } from "./linger.ts";

/** The refusal of a denial that `exchange` has noted. */
export function refusalOfDenial(denial: Denial, exchange: Exchange): Refusal {
  const id = exchange.denial ?? "";
  const lines = [`Denied: ${describe(exchange)}.`, ...explainDenial(denial), ...hint(exchange)];
  return refuseDenial(denial.reason, id, lines);
}

/** The refusal of a head that could not be read; `detail` says what is wrong with it. */
export function refusalOfMalformed(how: Malformation, detail: string, exchange: Exchange): Refusal {
  return refuseMalformed(how, exchange.denial ?? "", [`Refused: ${detail}.`]);
}

/** The refusal of an allowed exchange that could not be carried out. */
export function refusalOfFailure(failure: Failure, detail: string, exchange: Exchange): Refusal {
  return refuseFailure(failure, [`Allowed, but failed: ${describe(exchange)}.`, `${failure}: ${detail}.`]);
}

/** The refusal of a request body that cannot be read, after the request itself was judged. */
export function refusalOfBrokenBody(): Refusal {
  const refusal = refuseMalformed("bad_request", "", ["Refused: the request body is malformed."]);
  return { ...refusal, reason: undefined, denial: undefined };
}

/**
 * Writes a refusal to a socket and closes it so that the refusal is read. `request` is what it answers, where one was
 * read. `closed` is called once.
 */
export function refuseSocket(
  context: IngressContext,
  socket: Socket,
  refusal: Refusal,
  request: RequestHead | undefined,
  closed: () => void,
): void {
  const accept = request === undefined ? undefined : fieldValues(request.rawFields, "accept")[0];
  const message = renderRefusal(refusal, accept, context.settings.denials.explain);
  // The answer to a HEAD has the fields of a body, and none (RFC 9110 section 9.3.2).
  const body = request?.method === "HEAD" ? Buffer.alloc(0) : message.body;
  endAndLinger(socket, refusalBytes({ ...message, body }), closed);
}

/** Writes a refusal through a response, which is the last on its connection. */
export function refuseResponse(
  context: IngressContext,
  connection: Connection,
  response: ServerResponse,
  refusal: Refusal,
): void {
  const accept = fieldValues(response.req.rawHeaders, "accept")[0];
  const message = renderRefusal(refusal, accept, context.settings.denials.explain);
  response.sendDate = false;
  response.writeHead(message.status, message.reasonPhrase, [...message.fields]);
  endLastResponse(connection, response, message.body);
}

function describe(exchange: Exchange): string {
  const { method, clientAddress } = exchange;
  // A connection that was refused as a whole has asked for nothing yet.
  return method === ""
    ? `a connection (client ${clientAddress})`
    : `${requestLine(exchange)} (client ${clientAddress})`;
}

function requestLine({ kind, method, host, port, path }: Exchange): string {
  const target = kind === "connect" ? `${host}:${port}` : `http://${host}${port === 80 ? "" : `:${port}`}${path}`;
  return `${method} ${target}`;
}

/** What to type to see more. */
function hint({ denial }: Exchange): readonly string[] {
  return denial === undefined ? [] : [`sallyport why ${denial}`];
}
