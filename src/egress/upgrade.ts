/**
 * The upstream leg of a WebSocket handshake (RFC 6455 section 4). Not http-proxy's: that relays the client's bytes
 * before the 101 and takes a 101 to any protocol for a WebSocket.
 */
import { createHash } from "node:crypto";
import { type IncomingMessage, request as httpRequest } from "node:http";
import type { Socket } from "node:net";
import { type RawFields, fieldTokens, fieldValues } from "../wire/fields.ts";
import type { Failure } from "../wire/refusal.ts";
import { DialledAgent } from "./dialled-agent.ts";
import { causeOf, setFields } from "./forward.ts";

export type HandshakeHead = {
  readonly path: string;
  readonly host: string;
  /** End-to-end fields, `Sec-WebSocket-*` among them. */
  readonly fields: RawFields;
};

export type HandshakeHandlers = {
  /** The origin switched: the socket is the receiver's, `early` is what the origin sent behind its 101. */
  readonly onSwitched: (fields: RawFields, socket: Socket, early: Buffer) => void;
  /** The origin answered with something else, which is for the client to read. */
  readonly onResponse: (response: IncomingMessage) => void;
  /** Called at most once, and not after one of the others or `abort`. */
  readonly onFailure: (failure: Failure, detail: string) => void;
};

/** RFC 6455 section 1.3. */
const acceptGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Sends the handshake over a dialled socket, which belongs to this exchange until `onSwitched` hands it over. */
export function requestUpgrade(
  upstream: Socket,
  head: HandshakeHead,
  timeoutMs: number,
  handlers: HandshakeHandlers,
): { readonly abort: () => void } {
  let over = false;
  const [key = ""] = fieldValues(head.fields, "sec-websocket-key");
  const deadline = setTimeout(() => fail("http_response_timeout", "the origin did not answer in time"), timeoutMs);
  const settle = (): boolean => {
    clearTimeout(deadline);
    const first = !over;
    over = true;
    return first;
  };
  const fail = (failure: Failure, detail: string): void => {
    if (!settle()) return;
    upstream.destroy();
    handlers.onFailure(failure, detail);
  };

  upstream.on("error", () => {});
  const request = httpRequest({ agent: new DialledAgent(upstream), method: "GET", path: head.path, setHost: false });
  request.setHeader("Host", head.host);
  setFields(request, head.fields);
  request.setHeader("Connection", "Upgrade");
  request.setHeader("Upgrade", "websocket");
  request.on("error", (error) => fail(...causeOf(error)));
  request.on("socket", () => upstream.resume());
  const onUnasked = (): void => fail("http_upgrade_failed", "the origin switched to something that was not asked for");
  request.on("upgrade", (response, _socket, early) => {
    if (!isWebSocket(response, key)) return onUnasked();
    if (settle()) handlers.onSwitched(response.rawHeaders, upstream, early);
  });
  request.on("response", (response) => {
    response.on("error", () => {});
    // Without an Upgrade field a 101 is a response like others to Node.
    if (response.statusCode === 101) return onUnasked();
    if (settle()) handlers.onResponse(response);
  });
  request.end();
  return {
    abort: () => {
      settle();
      request.destroy();
      upstream.destroy();
    },
  };
}

function isWebSocket({ rawHeaders }: IncomingMessage, key: string): boolean {
  const upgrade = fieldTokens(rawHeaders, "upgrade");
  const accept = fieldValues(rawHeaders, "sec-websocket-accept");
  const expected = createHash("sha1").update(`${key}${acceptGuid}`).digest("base64");
  return upgrade.length === 1 && upgrade[0] === "websocket" && accept.length === 1 && accept[0]?.trim() === expected;
}
